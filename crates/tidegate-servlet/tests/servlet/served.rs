//! Runs an embedded Tomcat with one of two connectors, and asks it.

use std::io::{PipeWriter, Write, pipe};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::environment;
use super::support::loopback::{Client, wait_until};
use super::support::process::{self, Program};
use super::support::response::Response;
use super::support::temp_folder::TempFolder;

/// Flags of every Java in the tests: a small heap, and no compiler that first learns for a minute.
pub const FLAGS: [&str; 4] =
    ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"];

/// The code with which a JVM ends that SIGTERM has stopped: 128 and the signal's number.
pub const ENDED_BY_TERM: i32 = 143;

/// The connector that serves an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connector {
    /// Tomcat's own, which every difference is explained against.
    Tomcat,
    /// Tidegate.
    Tidegate,
}

impl Connector {
    fn class(self) -> &'static str {
        match self {
            Connector::Tomcat => "org.apache.coyote.http11.Http11NioProtocol",
            Connector::Tidegate => "tidegate.TidegateProtocol",
        }
    }
}

/// A Java with an embedded Tomcat, which serves the examples, the probes and the workbench; killed when it is dropped.
pub struct Served {
    pub program: Program,
    pub connector: Connector,
    commands: PipeWriter,
    _folder: TempFolder,
}

impl Served {
    pub fn start(connector: Connector) -> Served {
        Served::start_with(connector, &[], &[])
    }

    /// Starts it with further flags for Java, and further attributes for the connector.
    pub fn start_with(connector: Connector, flags: &[&str], attributes: &[&str]) -> Served {
        Served::start_in("java", connector, flags, attributes)
    }

    /// Starts it in another Java than the one that compiles.
    pub fn start_in(java: &str, connector: Connector, flags: &[&str], attributes: &[&str]) -> Served {
        let prepared = environment::prepared();
        let folder = TempFolder::new();
        let path = [
            prepared.harness.display().to_string(),
            environment::connector().display().to_string(),
            environment::tomcat(),
        ];
        let (reader, commands) = pipe().unwrap();
        let mut command = process::command(java);
        command.args(FLAGS).arg(environment::library()).args(flags).arg("-cp").arg(path.join(":"));
        command.args(["Embedded", connector.class()]).arg(folder.path()).args(attributes);
        command.arg(format!("/@{}", prepared.workbench.display()));
        command.arg(format!("/probe@{}", prepared.probe.display()));
        command.arg(format!("/examples@{}", environment::EXAMPLES));
        let program = start(&mut command, reader.into());
        Served { program, connector, commands, _folder: folder }
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

    /// Lets the program obey a command, and waits until it has.
    pub fn command(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
        self.program.stdout.next_with(&format!("done: {command}"));
    }

    /// Gives the program a command.
    pub fn start_command(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    /// Ends the program as a service manager does, and returns all that it has said.
    pub fn end(mut self) -> String {
        self.program.signal(Signal::TERM);
        assert_eq!(self.program.wait().code(), Some(ENDED_BY_TERM));
        self.program.stdout.rest() + &self.program.stderr.rest()
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The number of open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.program.id())).unwrap().count()
    }

    /// The number of objects of a class that something still holds. Java collects before it counts.
    pub fn objects(&self, class: &str) -> usize {
        let mut command = Command::new("jcmd");
        let histogram =
            environment::run(command.arg(self.program.id().to_string()).arg("GC.class_histogram"));
        let histogram = histogram.unwrap();
        // `12:  3  96  tidegate.Channel`
        let mut lines = histogram.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|words| words.get(3) == Some(&class));
        line.map_or(0, |words| words[1].parse().unwrap())
    }

    /// The words that the application noted under this name.
    pub fn notes(&self, id: &str) -> String {
        self.get(&format!("/probe/heard/all?of={id}")).text()
    }

    /// Waits for a note of the application, and returns all that it has noted.
    pub fn wait_for_note(&self, id: &str, note: &str) -> String {
        let mut notes = String::new();
        wait_until(&format!("{id} notes {note}"), || {
            notes = self.notes(id);
            notes.split(' ').any(|word| word == note)
        });
        notes
    }
}

fn start(command: &mut Command, stdin: Stdio) -> Program {
    Program::start_with(command, stdin, Stdio::piped(), 1)
}

/// A failure shows what the server said.
impl Drop for Served {
    fn drop(&mut self) {
        if thread::panicking() {
            // Where its threads are, if it is still there.
            let threads = environment::run(Command::new("jstack").arg(self.program.id().to_string()));
            eprintln!("{:?}: {}", self.connector, threads.unwrap_or_default());
            while let Some(line) = self.program.stderr.next_within(Duration::from_millis(10)) {
                eprintln!("{:?}: {line}", self.connector);
            }
        }
    }
}
