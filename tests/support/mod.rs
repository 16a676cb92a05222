//! Helpers that several test crates share: a strict reader of responses, a raw client, a server in a
//! thread, and the contract of the workbench.
// Each test crate compiles all of it and uses a part.
#![allow(dead_code)]

pub mod contract;
pub mod differential;
pub mod driver;
pub mod loopback;
pub mod naive;
pub mod random;
pub mod response;
pub mod temp_folder;
