//! A server in a process of its own, seen from outside: its address, its CPU time and its memory.
//!
//! Its costs are read from `/proc` (proc(5)), so this works on Linux only; elsewhere asking is an error that
//! says so.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// The length of a tick of `/proc/PID/stat`: a hundredth of a second wherever Linux runs (USER_HZ).
const TICK: Duration = Duration::from_millis(10);
/// The place of the user time in `/proc/PID/stat`, counted after the name in parentheses; system time
/// follows.
const UTIME: usize = 11;

/// A running server; killed when it is dropped.
pub struct ServerProcess {
    child: Child,
    /// The thread that reads the server's messages, until the pipe is closed.
    reader: Option<JoinHandle<()>>,
    /// The address that it listens on.
    pub address: SocketAddr,
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// The whole; used pages of the program file are included.
    pub all: u64,
    /// The part that belongs to no file: heap and stacks.
    pub anonymous: u64,
}

impl ServerProcess {
    /// Starts a server that says on stderr at which port of 127.0.0.1 it listens.
    ///
    /// # Errors
    /// Returns an error when it cannot be started, or ends before it has said so; the error then has what it
    /// said instead.
    pub fn start(command: &mut Command) -> io::Result<ServerProcess> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = child.stderr.take().into_iter().flat_map(|stderr| BufReader::new(stderr).lines());
        let mut said = Vec::new();
        let address = lines.find_map(|line| {
            said.push(line.ok()?);
            address_in(said.last()?)
        });
        // Nobody waits for room in a pipe that is not read.
        let reader = Some(thread::spawn(move || lines.for_each(drop)));
        match address {
            Some(address) => Ok(ServerProcess { child, reader, address }),
            None => {
                let (status, said) = (child.wait()?, said.join("\n"));
                Err(io::Error::other(format!("{command:?} does not listen: {status}\n{said}")))
            }
        }
    }

    /// Starts a server that says nothing, and is told where to listen. It may not do so yet.
    pub fn start_at(address: SocketAddr, command: &mut Command) -> io::Result<ServerProcess> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(ServerProcess { child, reader: None, address })
    }

    /// User and system time since it was started.
    pub fn cpu(&self) -> io::Result<Duration> {
        cpu_of(self.child.id())
    }

    /// User and system time of the process and of those that it has started.
    pub fn cpu_with_children(&self) -> io::Result<Duration> {
        let id = self.child.id();
        let children = self.read(&format!("task/{id}/children"))?;
        let mut all = children.split_whitespace().filter_map(|id| id.parse().ok());
        all.try_fold(cpu_of(id)?, |sum, id| Ok(sum + cpu_of(id)?))
    }

    /// Returns what it holds at this moment.
    pub fn resident(&self) -> io::Result<Resident> {
        let rollup = self.read("smaps_rollup")?;
        let bytes = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"));
            let kilobytes = line.and_then(|line| line.trim().parse::<u64>().ok());
            kilobytes.map(|count| count * 1024).ok_or_else(|| io::Error::other(format!("no {name} there")))
        };
        Ok(Resident { all: bytes("Rss:")?, anonymous: bytes("Anonymous:")? })
    }

    /// Halts the server until it is dropped or [goes on](ServerProcess::go_on); not in the middle of a turn,
    /// but as soon as it waits for something to do. Returns when it is halted, so bytes that are sent then
    /// meet it at once when it goes on. The wait is interrupted, and begins anew.
    pub fn halt(&self) -> io::Result<()> {
        // Asleep: it sleeps nowhere else.
        self.await_state("S")?;
        self.signal(Signal::STOP)?;
        // In small where it is being traced.
        self.await_state("Tt")
    }

    /// Looks until the process is in this state, since nothing tells of it.
    fn await_state(&self, awaited: &str) -> io::Result<()> {
        loop {
            match self.read("stat")?.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next()) {
                Some('Z') => return Err(io::Error::other("the server has ended")),
                Some(state) if awaited.contains(state) => return Ok(()),
                _ => thread::yield_now(),
            }
        }
    }

    /// Ends the halt.
    pub fn go_on(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends the server, and returns when a tracer has ended as well: they share the pipe.
    pub fn end(mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        self.child.wait()?;
        match self.reader.take().map(JoinHandle::join) {
            Some(Err(_)) => Err(io::Error::other("what the server says could not be read")),
            _ => Ok(()),
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32).ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(pid, signal)?)
    }

    fn read(&self, what: &str) -> io::Result<String> {
        read(self.child.id(), what)
    }
}

/// Reads a file of a process below `/proc`.
fn read(id: u32, what: &str) -> io::Result<String> {
    let path = format!("/proc/{id}/{what}");
    fs::read_to_string(&path).map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
}

/// User and system time of a process.
fn cpu_of(id: u32) -> io::Result<Duration> {
    let stat = read(id, "stat")?;
    // The name may have blanks and parentheses of its own.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    let ticks = fields.skip(UTIME).take(2).map(|field| field.parse::<u32>().unwrap_or(0));
    Ok(TICK * ticks.sum::<u32>())
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds the address in `… on http://127.0.0.1:8000/ …`, or without the rest of an URL.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(SocketAddr::from(([127, 0, 0, 1], digits.parse().ok()?)))
}

/// Raises the limit of open files of this process and those that it starts, as far as the system allows.
/// Returns the limit that then holds.
pub fn allow_descriptors(wanted: u64) -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let possible = maximum.map_or(wanted, |maximum| wanted.min(maximum));
    match current {
        Some(current) if current < possible => {
            match setrlimit(Resource::Nofile, Rlimit { current: Some(possible), maximum }) {
                Ok(()) => possible,
                Err(_) => current,
            }
        }
        _ => possible,
    }
}
