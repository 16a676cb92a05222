//! Helpers that the tests of the program share: the program as a child process, a browser, and from the
//! tests of the library a raw client and a server in a thread.
// Each test crate compiles all of it and uses a part.
#![allow(dead_code)]

pub mod browser;
#[path = "../../../../tests/support/loopback.rs"]
pub mod loopback;
pub mod process;
#[path = "../../../../tests/support/response.rs"]
pub mod response;
#[path = "../../../../tests/support/temp_folder.rs"]
pub mod temp_folder;
