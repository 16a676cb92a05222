//! Tests the contract of the workbench (see `tests/support/contract.rs`) against its WSGI edition.

use super::environment;
use super::served::{Mode, Served};
use super::support::contract::{Edition, check_column};

pub fn play(mode: Mode) {
    let served = Served::start_with("workbench:application", mode, |command| {
        command.current_dir(environment::root().join("examples/wsgi"));
    });
    let serves_beside_sleepers = mode == Mode::Threads;
    let edition = Edition { address: served.address(), serves_beside_sleepers, resets: true };
    check_column("WSGI", &edition);
    assert_eq!(served.get("/plaintext").to_string(), "200 length: Hello, World!");
}
