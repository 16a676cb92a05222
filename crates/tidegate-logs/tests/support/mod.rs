//! Helpers from the tests of the library: a raw client, and a server in a thread.
// A part of them is used.
#![allow(dead_code)]

#[path = "../../../../tests/support/loopback.rs"]
pub mod loopback;
#[path = "../../../../tests/support/response.rs"]
pub mod response;
#[path = "../../../../tests/support/temp_folder.rs"]
pub mod temp_folder;
