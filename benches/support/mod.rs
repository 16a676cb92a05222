//! Helpers that the benches that count share.
//!
//! ```text
//!  Load ─▶ Clients ─▶ workbench under a tool ─▶ Counts ─▶ Figure ─▶ benches/budget.toml
//!          (load)     (example, process)        (here)    (budget)
//! ```
//!
//! Time is measured nowhere here: what is counted is the same on a busy machine and an idle one.
#![allow(dead_code, reason = "each bench compiles all of it and uses a part")]

pub mod allocations;
pub mod budget;
pub mod example;
pub mod load;
pub mod process;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use budget::Figure;
use load::{FILE_BYTES, Load};
use process::ServerProcess;

/// The reason why there is no figure.
pub type Failure = Box<dyn Error>;

/// Counts by name.
pub type Counts = BTreeMap<String, u64>;

/// Starts the server of a load under a tool: the workbench, or the program with a folder.
pub fn start_under(tool: &mut Command, load: &Load) -> Result<ServerProcess, Failure> {
    let name = tool.get_program().to_string_lossy().into_owned();
    let command = match load.name {
        // What is kept is looked at again now and then, which is not counted here: it depends on how much is asked for.
        "file" => tool.arg(example::program()?).arg("static").arg(folder()?).args(["--file-cache", "1h"]),
        // At a unix socket, so that there is one address to be read.
        "watched" => tool.arg(example::program()?).arg("--status").arg(status_address()),
        "not_watched" => tool.arg(example::program()?),
        _ => tool.arg(example::workbench()?),
    };
    let command = command.args(["--listen", "127.0.0.1:0"]);
    ServerProcess::start(command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{name} is not installed: apt-get install {name}").into(),
        _ => error.into(),
    })
}

/// Returns an address for the status server of a program. It stands in the system's folder: paths of sockets are short.
fn status_address() -> String {
    format!("unix:{}", std::env::temp_dir().join(format!("tidegate-{}", std::process::id())).display())
}

/// Makes a folder with the file of [`FILE`](load::FILE), and returns its path.
pub fn folder() -> Result<PathBuf, Failure> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("folder");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("file.txt"), vec![b'x'; FILE_BYTES])?;
    // One that has just changed may be opened anew.
    thread::sleep(Duration::from_millis(50));
    Ok(folder)
}

/// Counts what one request of a load costs: the difference of two runs that differ in length only, so that
/// starting, accepting and closing cancel. `count` runs the server for a number of requests.
pub fn per_request(
    load: &Load,
    lengths: [usize; 2],
    count: impl Fn(&Load, usize) -> Result<Counts, Failure>,
) -> Result<Figure, Failure> {
    let (short, long) = (count(load, lengths[0])?, count(load, lengths[1])?);
    let requests = (lengths[1] - lengths[0]) as f64;
    let parts = long.into_iter().filter_map(|(name, count)| {
        let more = count as f64 - short.get(&name).copied().unwrap_or(0) as f64;
        (more != 0.0).then_some((name, more / requests))
    });
    let parts: Vec<(String, f64)> = parts.collect();
    Ok(Figure { load: load.name, value: parts.iter().map(|(_, value)| value).sum(), parts })
}
