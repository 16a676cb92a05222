//! Helpers that the tests of servlets share with those of the program and of the library: a command as a child
//! process, a browser, a raw client, and the contract of the workbench.
// Each test crate compiles all of it and uses a part.
#![allow(dead_code)]

#[path = "../../../tidegate-cli/tests/support/browser.rs"]
pub mod browser;
#[path = "../../../../tests/support/contract.rs"]
pub mod contract;
#[path = "../../../../tests/support/loopback.rs"]
pub mod loopback;
#[path = "../../../tidegate-cli/tests/support/process.rs"]
pub mod process;
#[path = "../../../../tests/support/response.rs"]
pub mod response;
#[path = "../../../../tests/support/temp_folder.rs"]
pub mod temp_folder;
