//! Tests the entry as HttpArena validates it, without a container.

#[path = "../../data.rs"]
mod data;
#[path = "support/mod.rs"]
mod support;
#[path = "../../validation.rs"]
mod validation;

use std::process::Command;

use serde_json::Value;

use support::process::Program;
use validation::{Check, Entry};

/// Plays one check against the entry, started anew.
fn play(check: Check) {
    let data = validation::make_data();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-httparena"));
    command.args(["--listen", "127.0.0.1:0", "--data"]).arg(data.path());
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

/// A profile that nobody knows, or that nothing here plays, would count as passed.
#[test]
fn entries_take_part_in_no_profile_that_is_not_played() {
    for meta in [include_str!("../meta.json"), include_str!("../../python/meta.json")] {
        let meta: Value = serde_json::from_str(meta).unwrap();
        for profile in meta["tests"].as_array().unwrap() {
            let played = ["baseline", "latency-1m", "latency-10k", "pipelined", "limited-conn"];
            assert!(played.contains(&profile.as_str().unwrap()), "{profile}");
        }
    }
}

/// A query without numbers is refused, and nobody is harmed.
#[test]
fn nonsense_is_refused() {
    play(|entry| {
        for target in ["/baseline11", "/baseline11?a=1", "/baseline11?a=x&b=1", "/json/3", "/json/3?m="] {
            let mut client = support::loopback::Client::connect(entry.address);
            assert_eq!(client.get(target).code, 400, "{target}");
        }
        for target in ["/", "/json/", "/json/x?m=1", "/json/-1?m=1"] {
            let mut client = support::loopback::Client::connect(entry.address);
            assert_eq!(client.get(target).code, 404, "{target}");
        }
        let mut client = support::loopback::Client::connect(entry.address);
        let most = i64::MAX;
        assert_eq!(client.get(&format!("/baseline11?a={most}&b=1")).code, 400);
        assert_eq!(client.get(&format!("/json/50?m={most}")).code, 200);
    });
}
