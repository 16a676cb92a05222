//! Runs the program `tidegate` as its users do: started with arguments, asked over real sockets, ended by
//! signals.
#![allow(dead_code)] // Each test file uses its own part of this.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longest wait for anything: longer than anything takes on a busy machine, so only a failure waits for it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running program; killed when it is dropped.
pub struct Program {
    child: Child,
    /// The addresses of all announcements, in order.
    pub addresses: Vec<String>,
    pub stdout: Lines,
    pub stderr: Lines,
}

/// How a program ended by itself.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The command, without arguments.
pub fn tidegate() -> Command {
    command(path())
}

/// Returns the path of the program. Cargo tells it the tests of its package, and no others.
pub fn path() -> &'static str {
    match option_env!("CARGO_BIN_EXE_tidegate") {
        Some(path) => path,
        None => panic!("only the tests of tidegate-cli have the program"),
    }
}

/// Makes a command without arguments, and without what the environment of the tests would add to them.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let is_own = name.to_string_lossy().starts_with("TIDEGATE_");
        if is_own || ["PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"].iter().any(|other| name == *other) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the program until it ends by itself.
pub fn run(arguments: &[&str]) -> Ended {
    run_command(tidegate().args(arguments))
}

/// Runs a command until it ends by itself.
pub fn run_command(command: &mut Command) -> Ended {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap()));
    let Some(status) = wait(&mut child) else {
        let _ = child.kill();
        panic!("{command:?} does not end");
    };
    Ended { code: status.code(), stdout: stdout.rest(), stderr: stderr.rest() }
}

impl Program {
    /// Starts the program on a free port of this machine, and waits until it serves.
    pub fn start(arguments: &[&str]) -> Program {
        Program::start_command(tidegate().args(["--listen", "127.0.0.1:0"]).args(arguments), 1)
    }

    /// Starts a command, and waits for a number of announcements.
    pub fn start_command(command: &mut Command, announcements: usize) -> Program {
        Program::start_with_stdout(command, Stdio::piped(), announcements)
    }

    /// Starts a command with this stdout.
    pub fn start_with_stdout(command: &mut Command, stdout: Stdio, announcements: usize) -> Program {
        Program::start_with(command, Stdio::null(), stdout, announcements)
    }

    /// Starts a command with this stdin and stdout.
    pub fn start_with(command: &mut Command, stdin: Stdio, stdout: Stdio, announcements: usize) -> Program {
        let mut child = command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map_or_else(|| Lines::of(io::empty()), Lines::of);
        let stderr = Lines::of(child.stderr.take().unwrap());
        let mut program = Program { child, addresses: Vec::new(), stdout, stderr };
        program.hear_announcements(announcements);
        program
    }

    /// Waits until `count` addresses have been announced.
    pub fn hear_announcements(&mut self, count: usize) {
        while self.addresses.len() < count {
            let line = self.stderr.next_with("tidegate serves ");
            let address = line.rsplit_once(" on ").unwrap().1.strip_suffix(" (Ctrl-C stops)");
            self.addresses.push(address.unwrap().to_string());
        }
    }

    /// `127.0.0.1:port` of the first address.
    pub fn authority(&self) -> &str {
        let address = &self.addresses[0];
        address.strip_prefix("http://").unwrap().strip_suffix('/').unwrap()
    }

    /// The URL of a path at the first address.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority())
    }

    /// A new connection to the first address.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.authority()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends GET for a target as it is, on a connection of its own.
    pub fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], b"")
    }

    /// Sends one request on a connection of its own.
    pub fn ask(&self, method: &str, target: &str, fields: &[&str], content: &[u8]) -> Answer {
        ask_over(self.connect(), method, target, fields, content)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the program has ended.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child).expect("tidegate does not end")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child) -> Option<ExitStatus> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// The lines of a pipe, as they come.
pub struct Lines(Mutex<Receiver<String>>);

impl Lines {
    /// Reads lines in the background.
    pub fn of(pipe: impl Read + Send + 'static) -> Lines {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines(Mutex::new(receiver))
    }

    /// The next line.
    pub fn next(&self) -> String {
        self.0.lock().unwrap().recv_timeout(PATIENCE).expect("a line")
    }

    /// Returns the next line that contains this text; others are skipped.
    pub fn next_with(&self, text: &str) -> String {
        let mut skipped = String::new();
        loop {
            // Let go before a panic, which still shows what there is.
            let received = self.0.lock().unwrap().recv_timeout(PATIENCE);
            match received {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => skipped += &format!("{line}\n"),
                Err(error) => panic!("no line with {text:?}: {error}, but:\n{skipped}"),
            }
        }
    }

    /// Returns the next line if it comes within this time.
    pub fn next_within(&self, time: Duration) -> Option<String> {
        self.0.lock().unwrap().recv_timeout(time).ok()
    }

    /// Returns all lines until the pipe is closed.
    pub fn rest(&self) -> String {
        let mut rest = String::new();
        loop {
            let received = self.0.lock().unwrap().recv_timeout(PATIENCE);
            match received {
                Ok(line) => rest += &format!("{line}\n"),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("the pipe stays open:\n{rest}"),
            }
        }
    }
}

/// One response, read to the end of the connection.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub head: String,
    pub content: Vec<u8>,
}

impl Answer {
    /// Reads a response that ends with its connection.
    pub fn read(stream: &mut impl Read) -> Answer {
        let mut bytes = Vec::new();
        let result = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{result:?}, {}", bytes.escape_ascii()));
        let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap();
        let code = head[9..12].parse().unwrap();
        Answer { code, head, content: bytes[end + 4..].to_vec() }
    }

    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// Sends one request and reads until the server closes.
pub fn ask_over(
    mut stream: impl Read + Write,
    method: &str,
    target: &str,
    fields: &[&str],
    content: &[u8],
) -> Answer {
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for field in fields {
        request += &format!("{field}\r\n");
    }
    if !content.is_empty() {
        request += &format!("Content-Length: {}\r\n", content.len());
    }
    request += "\r\n";
    // The server may answer and close before it has read all: that is no failure of the test.
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(content));
    Answer::read(&mut stream)
}

/// Tries again until something holds that no event announces.
pub fn eventually<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) if start.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
