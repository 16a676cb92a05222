//! Tests the entry for HttpArena in Python as it is validated there, without a container.

#[path = "../../../benches/httparena/data.rs"]
mod data;
// Other tests use the rest.
#[allow(dead_code)]
#[path = "wsgi/environment.rs"]
mod environment;
mod support;
#[path = "../../../benches/httparena/validation.rs"]
mod validation;

use support::process::{self, Program};
use validation::{Check, Entry};

/// Plays one check against the entry, with as many processes as it is to have on two processors.
fn play(check: Check) {
    let data = validation::make_data();
    let mut command = process::command(environment::tidegate());
    command.args(["app:application", "--bind", "127.0.0.1:0", "--workers", "2", "--threads", "1"]);
    command.current_dir(environment::root().join("benches/httparena/python"));
    command.env("ARENA_DATA", data.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    let program = Program::start_command(&mut command, 1);
    check(&Entry { address: program.authority().parse().unwrap(), data: &data });
}

macro_rules! checks {
    ($($name:ident),* $(,)?) => { $(
        #[test]
        fn $name() {
            play(validation::$name);
        }
    )* };
}

checks! {
    sums, fragments, fragments_of_many, pipeline, limited_connections, json, uploads, files, files_are_fresh,
}
