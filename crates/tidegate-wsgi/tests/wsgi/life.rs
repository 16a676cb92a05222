//! An application in a folder of its own, which a test may change while it is served, and clients that
//! come all the time and tell what became of them.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::environment;
use super::support::loopback::{Client, wait_until};
use super::support::process::{self, Answer, PATIENCE, Program};
use super::support::temp_folder::TempFolder;

/// Answers `VERSION PID MULTIPROCESS`, and tells in files that it was loaded and called.
const SOURCE: &str = r#"
import os, sys, time

VERSION = "{VERSION}"
FOLDER = os.path.dirname(os.path.abspath(__file__))

def tell(name, text):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write(text + "\n")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/wait/"):
        tell(path[6:] + ".here", str(os.getpid()))
        while not os.path.exists(os.path.join(FOLDER, path[6:] + ".go")):
            time.sleep(0.005)
    if environ["REQUEST_METHOD"] == "POST":
        tell("posts", environ["wsgi.input"].read().decode())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{VERSION} {os.getpid()} {environ['wsgi.multiprocess']}".encode()]

tell("loads", f"{VERSION} {os.getpid()}")
"#;
/// Cannot be imported.
pub const BROKEN: &str = "raise RuntimeError('this version is broken on purpose')\n";
/// The number of clients at a time.
const CLIENTS: usize = 3;

/// The application in this version.
pub fn source(version: &str) -> String {
    SOURCE.replace("{VERSION}", version)
}

/// A served `app:app`, and the folder that it is in.
pub struct Life {
    pub program: Program,
    pub folder: TempFolder,
}

/// A folder with version `one`.
pub fn folder() -> TempFolder {
    let folder = TempFolder::new();
    folder.write("app.py", source("one"));
    folder
}

/// The installed command, in that folder.
pub fn command(folder: &TempFolder) -> Command {
    in_folder(environment::tidegate(), folder)
}

/// A command in that folder. It must see each change of a source, however soon it comes.
pub fn in_folder(program: impl AsRef<std::ffi::OsStr>, folder: &TempFolder) -> Command {
    let mut command = process::command(program);
    command.current_dir(folder.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

impl Life {
    /// Serves version `one` on a free port.
    pub fn start(arguments: &[&str]) -> Life {
        Life::start_in(folder(), arguments)
    }

    pub fn start_in(folder: TempFolder, arguments: &[&str]) -> Life {
        let mut life = Life::start_unheard(folder, arguments);
        life.program.hear_announcements(1);
        life
    }

    /// Starts a program that may never come to serve anything.
    pub fn start_unheard(folder: TempFolder, arguments: &[&str]) -> Life {
        let mut command = command(&folder);
        command.args(["app:app", "--bind", "127.0.0.1:0"]).args(arguments);
        Life { program: Program::start_command(&mut command, 0), folder }
    }

    /// Replaces the source, all at once.
    pub fn change(&self, source: &str) {
        let beside = self.folder.write("beside", source);
        fs::rename(beside, self.folder.path().join("app.py")).unwrap();
    }

    pub fn address(&self) -> SocketAddr {
        self.program.authority().parse().unwrap()
    }

    /// Returns the answer of the application.
    pub fn get(&self) -> Told {
        Told::of(&self.program.get("/").text())
    }

    /// Begins a request that is in the application when this returns, and returns the process that it is in.
    /// It waits there until [`release`](Life::release).
    pub fn begin(&self, id: &str) -> (Client, u32) {
        let mut client = Client::connect(self.address());
        client.send(format!("GET /wait/{id} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let here = format!("{id}.here");
        wait_until(&here, || self.told(&here).ends_with('\n'));
        (client, self.told(&here).trim().parse().unwrap())
    }

    pub fn release(&self, id: &str) {
        self.folder.write(&format!("{id}.go"), "");
    }

    /// Returns what the application has written to a file so far.
    pub fn told(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// Returns how often a version was loaded.
    pub fn loads(&self, version: &str) -> usize {
        self.told("loads").lines().filter(|line| line.split(' ').next() == Some(version)).count()
    }

    /// Waits until `count` processes have loaded a version.
    pub fn wait_for_loads(&self, version: &str, count: usize) {
        wait_until(&format!("{count} loads of {version}"), || self.loads(version) >= count);
    }

    /// Ends the server in order, and returns its messages since anybody last read them.
    pub fn end(mut self) -> String {
        self.program.signal(Signal::TERM);
        assert_eq!(self.program.wait().code(), Some(0));
        self.program.stderr.rest()
    }
}

/// A failure shows what the server said.
impl Drop for Life {
    fn drop(&mut self) {
        if thread::panicking() {
            while let Some(line) = self.program.stderr.next_within(Duration::from_millis(10)) {
                eprintln!("server: {line}");
            }
        }
    }
}

/// The application's answer about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub version: String,
    pub pid: u32,
    pub is_one_of_several: bool,
}

impl Told {
    pub fn of(text: &str) -> Told {
        let words: Vec<&str> = text.split(' ').collect();
        let [version, pid, several] = words[..] else { panic!("not of this application: {text:?}") };
        Told { version: version.to_string(), pid: pid.parse().unwrap(), is_one_of_several: several == "True" }
    }
}

/// Sends a signal to a worker.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Clients that come one after another, each with a connection of its own, until they are told to stop.
pub struct Crowd {
    is_over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    answers: Vec<Told>,
    failures: Vec<String>,
}

impl Crowd {
    pub fn at(life: &Life) -> Crowd {
        let address = life.address();
        let mut crowd = Crowd { is_over: Arc::default(), seen: Arc::default(), threads: Vec::new() };
        for _ in 0..CLIENTS {
            let (is_over, seen) = (crowd.is_over.clone(), crowd.seen.clone());
            crowd.threads.push(thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let outcome = visit(address);
                    let mut seen = seen.lock().unwrap();
                    match outcome {
                        Ok(told) => seen.answers.push(told),
                        Err(error) => seen.failures.push(error.to_string()),
                    }
                    drop(seen);
                    // A machine with few cores has to start processes meanwhile.
                    thread::sleep(Duration::from_millis(3));
                }
            }));
        }
        crowd
    }

    /// Waits until the last answers are all of this version.
    pub fn wait_for(&self, version: &str) {
        self.wait_until(&format!("only {version} answers"), |answers| {
            let last = answers.iter().rev().take(60);
            last.clone().count() == 60 && last.into_iter().all(|told| told.version == version)
        });
    }

    pub fn wait_until(&self, what: &str, is_enough: impl Fn(&[Told]) -> bool) {
        wait_until(what, || {
            self.check(what);
            is_enough(&self.seen.lock().unwrap().answers)
        });
    }

    /// Lets the clients go. Each of them must have got its answer.
    pub fn end(mut self) -> Vec<Told> {
        self.leave();
        self.check("the end");
        std::mem::take(&mut self.seen.lock().unwrap().answers)
    }

    /// Asserts that nobody was refused or left without an answer.
    fn check(&self, until: &str) {
        let seen = self.seen.lock().unwrap();
        let (answers, failures) = (seen.answers.len(), seen.failures.len());
        let first: Vec<String> = seen.failures.iter().take(5).cloned().collect();
        // The clients go on meanwhile.
        drop(seen);
        assert_eq!(failures, 0, "until {until}, {answers} were answered; failures: {first:?}");
    }

    fn leave(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Plays one client: connects, asks, and reads to the end.
fn visit(address: SocketAddr) -> io::Result<Told> {
    let said = |what: &str| {
        let what = what.to_string();
        move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
    };
    let mut stream = TcpStream::connect(address).map_err(said("connecting"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").map_err(said("asking"))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(said("reading"))?;
    if bytes.is_empty() {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer"));
    }
    let answer = Answer::read(&mut &bytes[..]);
    match answer.code {
        200 => Ok(Told::of(&answer.text())),
        code => Err(io::Error::other(format!("answered with {code}"))),
    }
}
