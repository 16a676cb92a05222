//! Runs an application with the installed command, and asks it and its process.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::environment;
use super::support::loopback::{Client, wait_until};
use super::support::process::{self, Program};
use super::support::response::Response;
use super::support::temp_folder::TempFolder;

/// The two ways in which the server runs applications. A test holds in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The application runs on the thread of the event loop.
    Inline,
    /// The application runs in a pool of threads.
    Threads,
}

impl Mode {
    pub fn threads(self) -> usize {
        match self {
            Mode::Inline => 1,
            Mode::Threads => 4,
        }
    }
}

/// A server with an application; killed when it is dropped.
pub struct Served {
    pub program: Program,
    pub mode: Mode,
    /// The folder for files that the application writes.
    pub folder: TempFolder,
}

/// The command that serves an application of `tests/wsgi/`, in a folder of its own for files.
pub fn command(application: &str, mode: Mode, folder: &TempFolder) -> Command {
    let mut command = process::command(environment::tidegate());
    let threads = mode.threads().to_string();
    command.args([application, "--bind", "127.0.0.1:0", "--threads", &threads]);
    command.current_dir(environment::folder()).env("PROBE_FOLDER", folder.path());
    // The folder of the tests is left as it is.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

impl Served {
    pub fn start(application: &str, mode: Mode) -> Served {
        Served::start_with(application, mode, |_| {})
    }

    /// Starts the command with additions to its command line or environment.
    pub fn start_with(application: &str, mode: Mode, change: impl FnOnce(&mut Command)) -> Served {
        let folder = TempFolder::new();
        let mut command = command(application, mode, &folder);
        change(&mut command);
        Served { program: Program::start_command(&mut command, 1), mode, folder }
    }

    pub fn address(&self) -> SocketAddr {
        self.program.authority().parse().unwrap()
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// The response to a GET on a connection of its own.
    pub fn get(&self, target: &str) -> Response {
        self.connect().get(target)
    }

    /// The response to one request in raw bytes, on a connection of its own.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        let request = request.as_ref();
        let method = request.split(|byte| *byte == b' ').next().unwrap_or_default();
        let mut client = self.connect();
        // It may be refused before it was taken whole.
        let _ = client.try_send(request);
        client.read(&String::from_utf8_lossy(method))
    }

    /// The lines that the application noted for a request.
    pub fn notes(&self, id: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(format!("{id}.notes"))).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }

    pub fn wait_for_note(&self, id: &str, note: &str) {
        wait_until(&format!("{id} notes {note:?}"), || self.notes(id).iter().any(|line| line == note));
    }

    /// Lets an application go on that waits for it.
    pub fn open_gate(&self, id: &str) {
        self.folder.write(&format!("{id}.gate"), "");
    }

    /// Returns the numbers of open descriptors and threads of the process.
    #[cfg(target_os = "linux")]
    pub fn holds(&self) -> (usize, usize) {
        let count = |what: &str| fs::read_dir(format!("/proc/{}/{what}", self.program.id())).unwrap().count();
        (count("fd"), count("task"))
    }

    /// Resident memory, in bytes.
    #[cfg(target_os = "linux")]
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// Returns the most resident memory that there ever was, in bytes.
    #[cfg(target_os = "linux")]
    pub fn resident_peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Returns how often the threads of the pool have gone to sleep.
    #[cfg(target_os = "linux")]
    pub fn sleeps_of_the_pool(&self) -> u64 {
        let process = self.program.id();
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|task| task.unwrap().path());
        let pool = tasks.filter(|task| !task.ends_with(process.to_string()));
        let sleeps = |task: PathBuf| {
            let status = fs::read_to_string(task.join("status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        pool.map(sleeps).sum()
    }

    #[cfg(target_os = "linux")]
    fn status_bytes(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// A failure shows what the server said.
impl Drop for Served {
    fn drop(&mut self) {
        if thread::panicking() {
            let stderr = &self.program.stderr;
            while let Some(line) = stderr.next_within(Duration::from_millis(10)) {
                eprintln!("{:?}: {line}", self.mode);
            }
        }
    }
}

/// `{"Wörld"}` → what a query can carry.
pub fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
