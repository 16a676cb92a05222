//! The workbench (`examples/workbench.rs`), built as users get it, as a process under a tool that counts.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Failure;

/// Builds it in the profile `release`, whatever profile the bench itself has, and says where it is.
pub fn build() -> Result<PathBuf, Failure> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--example", "workbench", "--message-format=json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables = messages.filter(|message| message["target"]["name"] == "workbench");
    let path = executables.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.filter(|_| output.status.success()).ok_or_else(|| "the workbench cannot be built".into())
}

/// The workbench at work.
pub struct Workbench {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Workbench {
    /// Starts it with this command line, of which it is the last part.
    pub fn start(mut command: Command) -> Result<Workbench, Failure> {
        let tool = command.get_program().to_string_lossy().into_owned();
        let command = command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("{tool} is not installed: apt-get install {tool}"),
            _ => format!("{tool}: {error}"),
        })?;
        let stderr = child.stderr.take().ok_or("a pipe was asked for")?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut workbench = Workbench { address, child, stderr: BufReader::new(stderr) };
        workbench.address = workbench.announced().map_err(|said| format!("{tool} has said:\n{said}"))?;
        Ok(workbench)
    }

    /// The address that it says it listens on, or all that was said instead.
    fn announced(&mut self) -> Result<SocketAddr, String> {
        let mut said = String::new();
        loop {
            let start = said.len();
            match self.stderr.read_line(&mut said) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(said),
            }
            if let Some((_, address)) = said[start..].split_once("workbench on http://") {
                return address.trim_end().trim_end_matches('/').parse().map_err(|_| said);
            }
        }
    }

    /// Stops it as soon as it waits for something to do, so that whatever is sent meanwhile meets it at
    /// once when it goes on. The wait is interrupted each time, and begins anew.
    pub fn pause(&self) -> io::Result<()> {
        // Asleep: it sleeps nowhere else.
        self.await_state("S")?;
        kill_process(Pid::from_child(&self.child), Signal::STOP)?;
        // In small where it is being traced.
        self.await_state("Tt")
    }

    /// Lets it go on.
    pub fn resume(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }

    /// Nothing tells when a process is in one of these states: it is looked at until it is.
    fn await_state(&self, awaited: &str) -> io::Result<()> {
        loop {
            // `PID (name) STATE …`
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
            match stat.split_once(") ").and_then(|(_, rest)| rest.chars().next()) {
                Some('Z') => return Err(io::Error::other("the workbench has ended")),
                Some(state) if awaited.contains(state) => return Ok(()),
                _ => thread::yield_now(),
            }
        }
    }

    /// Ends it, and returns when the tool has ended too and written what it has counted.
    pub fn end(mut self) -> io::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        // A tool that is another process keeps the pipe open until it is done.
        self.stderr.read_to_end(&mut Vec::new()).map(|_| ())
    }
}

impl Drop for Workbench {
    /// Where something has failed, it must not stay.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
