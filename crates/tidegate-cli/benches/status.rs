//! Measures what it costs to be watched: CPU time for a request with `--status`, beside a server without it.
//!
//! ```text
//! cargo bench -p tidegate-cli --bench status                 10,000 idle connections beside 64 that ask, 2 pairs of 40 slices
//! cargo bench -p tidegate-cli --bench status -- 1000 3 20    another number of them, of pairs and of slices
//! ```
//!
//! Both servers of a pair are the program, in processes of their own. They are asked in turns, for slices of 300 ms, and Linux says in
//! nanoseconds what all threads of each have spent, in the kernel, too. So whatever else the machine does meets both, and the
//! middle one of many ratios says more than a long measurement. Each pair is started anew, since two processes of the same program
//! differ by where its memory lies. The live view is one reader of server-sent events. What two servers without `--status` differ by
//! shows how much of a figure is chance.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Failure = Box<dyn Error>;

/// Connections that are idle, where nothing else is said.
const IDLE: usize = 10_000;
/// Pairs of servers, where nothing else is said.
const PAIRS: usize = 2;
/// Slices of each pair, where nothing else is said. 40: half of them lie within 3 % of the middle one.
const SLICES: usize = 40;
/// How long a slice lasts.
const SLICE: Duration = Duration::from_millis(300);
/// How long the idle connections may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that ask, where many do.
const ASKING: usize = 64;
/// A request with a short answer, so that what is beside it shows.
const REQUEST: &[u8] = b"GET /icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// A server that is ended when it is dropped.
struct Server {
    process: Child,
    address: String,
    /// The address of its status server, if it has one.
    status: Option<String>,
    /// The load rig, which holds the connections that are idle.
    rig: Option<Child>,
    /// Connections that ask.
    asking: Vec<TcpStream>,
    /// The length of an answer.
    answer_bytes: usize,
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in [Some(&mut self.process), self.rig.as_mut()].into_iter().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Server {
    fn start(arguments: &[&str]) -> Result<Server, Failure> {
        let mut command = Command::new(PROGRAM);
        command
            .args(["--listen", "127.0.0.1:0", "--idle-timeout", "1h"])
            .args(arguments)
            .stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let said = BufReader::new(process.stderr.take().ok_or("no stderr")?);
        let mut server = Server {
            process,
            address: String::new(),
            status: None,
            rig: None,
            asking: Vec::new(),
            answer_bytes: 0,
        };
        let address =
            |line: &str| line.split("http://").nth(1).map(|rest| rest.split('/').next().unwrap().to_string());
        for line in said.lines() {
            let line = line?;
            if line.contains("shows its status") {
                server.status = address(&line);
            } else if let Some(address) = address(&line).filter(|_| line.contains("serves")) {
                server.address = address;
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

    /// Connects clients: those that are idle, which the rig holds, and those that ask.
    fn connect(&mut self, idle: usize) -> Result<(), Failure> {
        let mut rig = Command::new(PROGRAM);
        rig.args(["bench", &format!("http://{}/", self.address), "--connections", "1", "--rate", "1"]);
        rig.args(["--idle", &idle.to_string(), "--duration", "1h"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let rig = self.rig.insert(rig.spawn()?);
        let begun = Instant::now();
        while fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count() < idle {
            if rig.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err("the rig does not hold the idle connections".into());
            }
            thread::sleep(Duration::from_millis(100));
        }
        for _ in 0..ASKING {
            let mut stream = TcpStream::connect(&self.address)?;
            stream.set_nodelay(true)?;
            stream.write_all(REQUEST)?;
            let mut answer = [0; 4_096];
            let mut length = 0;
            while self.answer_bytes == 0 || length < self.answer_bytes {
                let read = stream.read(&mut answer[length..])?;
                length += read;
                match (read, self.answer_bytes) {
                    (0, _) => return Err("the server has closed".into()),
                    (_, 0) => self.answer_bytes = answer_bytes(&answer[..length]).unwrap_or(0),
                    _ => {}
                }
            }
            self.asking.push(stream);
        }
        Ok(())
    }

    /// Asks for the time of a slice on this many connections: all send, then all read. Returns the CPU time for a request, in
    /// nanoseconds.
    fn ask(&mut self, connections: usize) -> Result<f64, Failure> {
        let (begun, before, mut requests) = (Instant::now(), self.cpu_nanos()?, 0);
        let mut answer = vec![0; self.answer_bytes];
        while begun.elapsed() < SLICE {
            for stream in &mut self.asking[..connections] {
                stream.write_all(REQUEST)?;
            }
            for stream in &mut self.asking[..connections] {
                stream.read_exact(&mut answer)?;
            }
            requests += connections;
        }
        Ok((self.cpu_nanos()? - before) / requests as f64)
    }

    /// The time that all threads have spent on a processor (`/proc/PID/task/TID/schedstat`), in nanoseconds.
    fn cpu_nanos(&self) -> Result<f64, Failure> {
        let mut all = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            all += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
        }
        Ok(all)
    }
}

/// Returns how long an answer is that begins with these bytes, once its head is there.
fn answer_bytes(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "))?;
    Some(head.len() + 4 + length.parse::<usize>().ok()?)
}

/// The way in which the first server of a pair is watched; the second has no status server.
#[derive(Clone, Copy)]
enum Watch {
    /// By nobody: this is a control.
    No,
    /// By a status server, at which nobody looks.
    Status,
    /// By somebody who has the live view open.
    LiveView,
}

/// Measures a pair of servers, and adds the CPU time of both for a request in each slice, with many clients that ask and with one.
fn measure(watch: Watch, idle: usize, slices: usize, into: &mut [Vec<[f64; 2]>; 2]) -> Result<(), Failure> {
    let status: &[&str] = if matches!(watch, Watch::No) { &[] } else { &["--status", "127.0.0.1:0"] };
    let (mut watched, mut alone) = (Server::start(status)?, Server::start(&[])?);
    watched.connect(idle)?;
    alone.connect(idle)?;
    let bytes = if matches!(watch, Watch::LiveView) { Some(watched.watch()?) } else { None };
    for slice in 0..slices + 2 {
        for (figures, connections) in into.iter_mut().zip([ASKING, 1]) {
            // Neither is always the first.
            let pair = if slice % 2 == 0 {
                let one = watched.ask(connections)?;
                [one, alone.ask(connections)?]
            } else {
                let other = alone.ask(connections)?;
                [watched.ask(connections)?, other]
            };
            // The first two warm up.
            if slice >= 2 {
                figures.push(pair);
            }
        }
    }
    match bytes.map(|bytes| bytes.load(Ordering::Relaxed)) {
        Some(0) => Err("the live view has shown nothing".into()),
        _ => Ok(()),
    }
}

fn main() -> Result<(), Failure> {
    // cargo adds options of its own.
    let numbers =
        env::args().skip(1).filter(|argument| !argument.starts_with('-')).map(|number| number.parse());
    let numbers = numbers.collect::<Result<Vec<usize>, _>>()?;
    let number = |place: usize, default: usize| numbers.get(place).copied().unwrap_or(default);
    let (idle, pairs, slices) = (number(0, IDLE), number(1, PAIRS), number(2, SLICES));
    println!("{idle} idle connections; {pairs} pairs of servers, {slices} slices of {SLICE:?} each");
    println!("{:36} {:>14} {:>7} {:>16}", "CPU time for a request", "not watched", "ratio", "half of slices");
    for (name, watch) in [
        ("neither is watched", Watch::No),
        ("--status", Watch::Status),
        ("--status, and a live view is open", Watch::LiveView),
    ] {
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..pairs {
            measure(watch, idle, slices, &mut figures)?;
        }
        for (figures, asking) in figures.iter().zip([ASKING, 1]) {
            let sorted = |figure: fn(&[f64; 2]) -> f64| {
                let mut sorted: Vec<f64> = figures.iter().map(figure).collect();
                sorted.sort_by(f64::total_cmp);
                sorted
            };
            let (micros, ratios) = (sorted(|pair| pair[1] / 1e3), sorted(|pair| pair[0] / pair[1]));
            let at = |sorted: &[f64], quarters: usize| sorted[sorted.len() * quarters / 4];
            let (middle, ratio) = (at(&micros, 2), at(&ratios, 2));
            let (low, high) = (at(&ratios, 1), at(&ratios, 3));
            println!("{name:33} {asking:>2} {middle:>11.2} µs {ratio:>7.3} {low:>7.3} to {high:.3}");
        }
    }
    Ok(())
}
