//! Measures what it costs to be watched: CPU time for a request with `--status` and a live view open, beside a server
//! without it.
//!
//! ```text
//! cargo bench -p tidegate-cli --bench status                 10,000 idle connections beside 64 that ask
//! cargo bench -p tidegate-cli --bench status -- 1000 3       another number of them, and of rounds
//! ```
//!
//! Both servers are the program, in processes of their own; `tidegate bench` asks them in turns, and reads from `/proc`
//! what each has spent, all its threads together. The live view is one reader of server-sent events.

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

type Failure = Box<dyn Error>;

/// Connections that are idle, where nothing else is said.
const IDLE: &str = "10000";
/// Rounds, where nothing else is said. 9: the middle one of them moves little.
const ROUNDS: &str = "9";
/// The path that is asked for: a short answer, so that what is beside it shows.
const PATH: &str = "icon.svg";

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// A server that is ended when it is dropped.
struct Server {
    process: Child,
    url: String,
    /// The address of its status server, if it has one.
    status: Option<String>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(arguments: &[&str]) -> Result<Server, Failure> {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let said = BufReader::new(process.stderr.take().ok_or("no stderr")?);
        let mut server = Server { process, url: String::new(), status: None };
        let address =
            |line: &str| line.split("http://").nth(1).map(|rest| rest.split('/').next().unwrap().to_string());
        for line in said.lines() {
            let line = line?;
            if line.contains("shows its status") {
                server.status = address(&line);
            } else if let Some(address) = address(&line).filter(|_| line.contains("serves")) {
                server.url = format!("http://{address}/{PATH}");
                return Ok(server);
            }
        }
        Err("the server has not started".into())
    }

    /// Opens the live view, and counts the bytes that come.
    fn watch(&self) -> Result<Arc<AtomicU64>, Failure> {
        let address = self.status.as_ref().ok_or("no status server")?;
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
        let bytes = Arc::new(AtomicU64::new(0));
        let count = bytes.clone();
        thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                count.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        Ok(bytes)
    }
}

fn main() -> Result<(), Failure> {
    // cargo adds options of its own.
    let mut numbers = env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let idle = numbers.next().unwrap_or(IDLE.to_string());
    let rounds = numbers.next().unwrap_or(ROUNDS.to_string());
    let (watched, alone) = (Server::start(&["--status", "127.0.0.1:0"])?, Server::start(&[])?);
    let bytes = watched.watch()?;
    let mut rig = Command::new(PROGRAM);
    rig.args(["bench", &watched.url, "--against", &alone.url, "--idle", &idle, "--rounds", &rounds]);
    let done = rig.args(["--duration", "3s", "--json"]).stderr(Stdio::inherit()).output()?;
    let result: serde_json::Value = serde_json::from_slice(&done.stdout)?;
    println!("{idle} idle connections and 64 that ask, {rounds} rounds of 3 s");
    println!("{:24} {:>10} {:>10} {:>8} {:>16}", "", "watched", "alone", "ratio", "of the rounds");
    for (key, name) in
        [("cpu_us_per_request", "CPU µs a request"), ("requests_per_second", "requests a second")]
    {
        let figures = &result["compared"][key];
        let figure = |name: &str| figures[name].as_f64().unwrap_or(f64::NAN);
        let [one, other, ratio] = ["first", "second", "ratio"].map(figure);
        let (least, most) = (figure("least"), figure("most"));
        println!("{name:24} {one:>10.3} {other:>10.3} {ratio:>8.4} {least:>7.3} to {most:.3}");
    }
    println!("the live view has got {} MB", bytes.load(Ordering::Relaxed) / 1_000_000);
    Ok(())
}
