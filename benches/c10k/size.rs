//! Measures how large the program is.

use std::fs;
use std::io;
use std::process::Command;

use super::example;
use super::table::{Goal, Row};

const SIZE: Goal = Goal::at_most("the program, stripped", 1500.0, 800.0, "kB");

pub fn measure(_connections: usize) -> Vec<Row> {
    vec![stripped().map_or_else(|error| SIZE.failed(error), |bytes| SIZE.measured(bytes as f64 / 1e3))]
}

fn stripped() -> io::Result<u64> {
    let copy = std::env::temp_dir().join(format!("tidegate-stripped-{}", std::process::id()));
    let status = Command::new("strip").arg("-o").arg(&copy).arg(example::program()?).status();
    let length = fs::metadata(&copy).map(|metadata| metadata.len());
    // Where strip has failed there is none.
    let _ = fs::remove_file(&copy);
    match status {
        Ok(status) if status.success() => length,
        Ok(status) => Err(io::Error::other(format!("strip: {status}"))),
        Err(error) => Err(io::Error::new(error.kind(), format!("strip: {error}"))),
    }
}
