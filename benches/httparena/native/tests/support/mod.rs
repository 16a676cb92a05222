//! Helpers that the tests of the entry share with those of the program and of the library.
#![allow(dead_code, reason = "other tests use the rest")]

#[path = "../../../../../tests/support/loopback.rs"]
pub mod loopback;
#[path = "../../../../../crates/tidegate-cli/tests/support/process.rs"]
pub mod process;
#[path = "../../../../../tests/support/response.rs"]
pub mod response;
#[path = "../../../../../tests/support/temp_folder.rs"]
pub mod temp_folder;
