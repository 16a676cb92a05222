//! Shares out the cores: the server has a core for itself, good clients and attackers share the others.

use std::fs;
use std::io;
use std::process::{self, Command};

/// The core of the server: the last that this process may use.
pub struct Cores {
    server: usize,
}

impl Cores {
    /// Moves this thread, and those that it will start, to the others.
    ///
    /// # Errors
    /// Returns an error when there is only one core, or when `taskset` is missing.
    pub fn divide() -> io::Result<Cores> {
        let mut cores = allowed()?;
        let server = cores.pop().filter(|_| !cores.is_empty());
        let server = server.ok_or_else(|| io::Error::other("it takes two cores: one is the server's"))?;
        let list = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let pid = process::id().to_string();
        let output = Command::new("taskset").args(["-cp", &list, &pid]).output();
        match output.map_err(|error| missing("taskset", &error))?.status {
            status if status.success() => Ok(Cores { server }),
            status => Err(io::Error::other(format!("taskset -cp {list} {pid}: {status}"))),
        }
    }

    /// A command that runs a program on the server's core, and no longer than this process.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", &self.server.to_string()]).arg(program);
        command
    }
}

fn missing(program: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{program} cannot be run: {error} (apt-get install util-linux)"))
}

/// Parses `Cpus_allowed_list` of proc(5), like `0-2,5`.
fn allowed() -> io::Result<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse().ok()?)
    };
    let ranges = list.and_then(|list| list.trim().split(',').map(range).collect::<Option<Vec<_>>>());
    let ranges =
        ranges.ok_or_else(|| io::Error::other("/proc/self/status does not say which cores there are"))?;
    Ok(ranges.into_iter().flatten().collect())
}
