//! What several test crates share: a strict reader of responses, a raw client, a server in a
//! thread, and the program as a child process.
// Each test crate compiles all of it and uses a part.
#![allow(dead_code)]

pub mod differential;
pub mod driver;
pub mod loopback;
pub mod naive;
// Of the program, which exists only with this feature.
#[cfg(feature = "cli")]
pub mod process;
pub mod random;
pub mod response;
pub mod temp_folder;
