//! Measures what it costs to be watched: CPU time for a request with `--status`, beside a server without it.
//!
//! ```text
//! cargo bench -p tidegate-cli --bench status                 10,000 idle connections beside 64 that ask
//! cargo bench -p tidegate-cli --bench status -- 1000 40 5    another number of them, of groups and of slices
//! ```
//!
//! Four servers make a group: one that nobody watches, another such, which shows how much of a figure is chance, one
//! with `--status`, and one whose live view is open besides. Each is the program, in a process of its own. They are
//! asked in turns, for slices of 100 ms, and Linux says in nanoseconds what all threads of each have spent, in the
//! kernel, too. So whatever else the machine does meets all of them.
//!
//! Two things made former figures differ by up to 7 % where nothing differed, and are dealt with:
//!
//! - *Who sleeps when.* A client on another processor reads while the server writes: whether it has to be woken for an
//!   answer, which the server pays for, and how many requests a turn of the loop finds, depends on which of the two is
//!   faster by a hair. Here servers and client share one processor, and servers do not preempt (`SCHED_BATCH`): a turn
//!   finds all requests that were sent, and its last answer wakes the client.
//! - *Where memory lies.* Of a process and its ten thousand sockets that is decided once, and no number of slices averages
//!   it out. The greater part is where the system puts program, heap and stack, which is left to chance against
//!   attackers: here all servers have the same addresses (`setarch --addr-no-randomize`). For the rest, groups are what
//!   counts: each is started anew, in another order, and the interval is that of resampled groups.
//!
//! Needs Linux, and taskset, setarch and chrt of util-linux.

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
/// Groups of servers, where nothing else is said.
const GROUPS: usize = 20;
/// Slices of each group, where nothing else is said.
const SLICES: usize = 5;
/// How long a slice lasts.
const SLICE: Duration = Duration::from_millis(100);
/// How long servers are left alone, to see what they spend then: some frames of the live view.
const REST: Duration = Duration::from_secs(3);
/// How long the idle connections may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections that ask, where many do.
const ASKING: usize = 64;
/// The interval holds this share of the resampled medians.
const CONFIDENCE: f64 = 0.95;
/// A request with a short answer, so that what is beside it shows.
const REQUEST: &[u8] = b"GET /icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");
/// Set in the process that measures, which stands on the processor of the servers.
const PINNED: &str = "TIDEGATE_BENCH_IS_PINNED";

/// The way in which a server of a group is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arm {
    /// By nobody.
    Alone,
    /// By nobody either: it is compared with the first, and those that are watched with both.
    Control,
    /// By a status server, at which nobody looks.
    Status,
    /// By a status server, and somebody has the live view open.
    LiveView,
}

impl Arm {
    const ALL: [Arm; 4] = [Arm::Alone, Arm::Control, Arm::Status, Arm::LiveView];

    fn name(self) -> &'static str {
        match self {
            Arm::Alone => "not watched",
            Arm::Control => "not watched either",
            Arm::Status => "--status",
            Arm::LiveView => "--status, and a live view is open",
        }
    }
}

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
    /// Bytes of the live view.
    seen: Arc<AtomicU64>,
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in [Some(&mut self.process), self.rig.as_mut()].into_iter().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Makes a command that runs on one processor.
fn on_processor(number: usize) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &number.to_string()]);
    command
}

/// The processor of whatever is not measured.
fn other_processor() -> usize {
    thread::available_parallelism().map_or(0, |count| usize::from(count.get() > 1))
}

impl Server {
    fn start(arm: Arm, idle: usize, other: usize) -> Result<Server, Failure> {
        let mut command = on_processor(0);
        command.args([
            "setarch",
            "--addr-no-randomize",
            "chrt",
            "--batch",
            "0",
            PROGRAM,
            "--listen",
            "127.0.0.1:0",
            "--idle-timeout",
            "1h",
        ]);
        if matches!(arm, Arm::Status | Arm::LiveView) {
            command.args(["--status", "127.0.0.1:0"]);
        }
        let mut process = command.stderr(Stdio::piped()).spawn()?;
        let said = BufReader::new(process.stderr.take().ok_or("no stderr")?);
        let mut server = Server {
            process,
            address: String::new(),
            status: None,
            rig: None,
            asking: Vec::new(),
            answer_bytes: 0,
            seen: Arc::default(),
        };
        server.read_addresses(said)?;
        server.connect(idle, other)?;
        if arm == Arm::LiveView {
            server.watch()?;
        }
        Ok(server)
    }

    fn read_addresses(&mut self, said: impl BufRead) -> Result<(), Failure> {
        let address =
            |line: &str| line.split("http://").nth(1).map(|rest| rest.split('/').next().unwrap().to_string());
        for line in said.lines() {
            let line = line?;
            if line.contains("shows its status") {
                self.status = address(&line);
            } else if let Some(address) = address(&line).filter(|_| line.contains("serves")) {
                self.address = address;
                return Ok(());
            }
        }
        Err("the server has not started".into())
    }

    /// Opens the live view, and counts the bytes that come.
    fn watch(&self) -> Result<(), Failure> {
        let address = self.status.as_ref().ok_or("no status server")?;
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
        let seen = self.seen.clone();
        thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                seen.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
        Ok(())
    }

    /// Connects clients: those that are idle, which the rig holds, and those that ask.
    fn connect(&mut self, idle: usize, other: usize) -> Result<(), Failure> {
        let mut rig = on_processor(other);
        rig.args([
            PROGRAM,
            "bench",
            &format!("http://{}/", self.address),
            "--connections",
            "1",
            "--rate",
            "1",
        ]);
        rig.args(["--idle", &idle.to_string(), "--duration", "1h"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let rig = self.rig.insert(rig.spawn()?);
        let begun = Instant::now();
        while fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count() < idle {
            if rig.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                return Err("the rig does not hold the idle connections".into());
            }
            thread::sleep(Duration::from_millis(50));
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

    /// Asks for the time of a slice on this many connections: all send, then all read, the last first, since nobody
    /// is woken for the others then. Returns the CPU time for a request, in nanoseconds.
    fn ask(&mut self, connections: usize) -> Result<f64, Failure> {
        let (begun, before, mut requests) = (Instant::now(), self.cpu_nanos()?, 0);
        let mut answer = vec![0; self.answer_bytes];
        while begun.elapsed() < SLICE {
            for stream in &mut self.asking[..connections] {
                stream.write_all(REQUEST)?;
            }
            for stream in self.asking[..connections].iter_mut().rev() {
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

/// The figures of one group, by arm.
struct Group {
    /// CPU time for a request in nanoseconds, with many connections that ask and with one: the median of all slices.
    nanos: [[f64; Arm::ALL.len()]; 2],
    /// The ratio of that to the time of those that nobody watches, in the same slice: the median, too.
    ratios: [[f64; Arm::ALL.len()]; 2],
    /// The share of a processor that is spent while nobody asks.
    rest: [f64; Arm::ALL.len()],
}

/// Starts a group and measures it.
fn measure(number: usize, idle: usize, slices: usize, other: usize) -> Result<Group, Failure> {
    let arms = Arm::ALL.len();
    let mut servers: [Option<Server>; Arm::ALL.len()] = [const { None }; Arm::ALL.len()];
    for place in 0..arms {
        // Each is the first as often as the others.
        let arm = (place + number) % arms;
        servers[arm] = Some(Server::start(Arm::ALL[arm], idle, other)?);
    }
    let mut servers = servers.map(|server| server.expect("each arm was started"));
    let mut figures = [const { [const { Vec::new() }; Arm::ALL.len()] }; 2];
    for slice in 0..slices + 1 {
        for (figures, connections) in figures.iter_mut().zip([ASKING, 1]) {
            for place in 0..arms {
                let arm = (place + slice) % arms;
                let nanos = servers[arm].ask(connections)?;
                // The first warms up.
                if slice > 0 {
                    figures[arm].push(nanos);
                }
            }
        }
    }
    let cpu = |servers: &[Server; 4]| -> Result<Vec<f64>, Failure> {
        servers.iter().map(Server::cpu_nanos).collect()
    };
    let before = cpu(&servers)?;
    thread::sleep(REST);
    let after = cpu(&servers)?;
    let rest = std::array::from_fn(|arm| (after[arm] - before[arm]) / REST.as_nanos() as f64);
    if servers[Arm::LiveView as usize].seen.load(Ordering::Relaxed) == 0 {
        return Err("the live view has shown nothing".into());
    }
    let nanos = figures.each_ref().map(|load| load.each_ref().map(|figures| median(figures.clone())));
    let ratios = figures.each_ref().map(|load| {
        std::array::from_fn(|arm| {
            let not_watched = load[0].iter().zip(&load[1]).map(|(one, other)| match Arm::ALL[arm] {
                Arm::Alone | Arm::Control => *one,
                Arm::Status | Arm::LiveView => (one + other) / 2.0,
            });
            median(load[arm].iter().zip(not_watched).map(|(nanos, base)| nanos / base).collect())
        })
    });
    Ok(Group { nanos, ratios, rest })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2] + figures[(figures.len() - 1) / 2]) / 2.0
}

/// The interval of the medians of resampled figures.
fn interval(figures: &[f64]) -> [f64; 2] {
    // Any sequence does that is the same in each run (xorshift).
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut any = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % figures.len()
    };
    let mut medians: Vec<f64> =
        (0..10_000).map(|_| median((0..figures.len()).map(|_| figures[any()]).collect())).collect();
    medians.sort_by(f64::total_cmp);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    [tail, 1.0 - tail].map(|share| medians[(medians.len() as f64 * share) as usize])
}

fn main() -> Result<(), Failure> {
    // cargo adds options of its own.
    let arguments = || env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let other = match env::var(PINNED) {
        Ok(other) => other.parse()?,
        Err(_) => {
            let mut command = on_processor(0);
            command.env(PINNED, other_processor().to_string()).arg(env::current_exe()?).args(arguments());
            return if command.status()?.success() { Ok(()) } else { Err("it could not be measured".into()) };
        }
    };
    let numbers = arguments().map(|number| number.parse()).collect::<Result<Vec<usize>, _>>()?;
    let number = |place: usize, default: usize| numbers.get(place).copied().unwrap_or(default);
    let (idle, groups, slices) = (number(0, IDLE), number(1, GROUPS), number(2, SLICES));
    println!("{idle} idle connections; {groups} groups of servers, {slices} slices of {SLICE:?} each");
    let groups = (0..groups).map(|number| measure(number, idle, slices, other));
    let groups = groups.collect::<Result<Vec<Group>, _>>()?;
    for (load, asking) in [ASKING, 1].into_iter().enumerate() {
        println!(
            "\n{:36} {:>9} {:>9} {:>24}",
            format!("{asking} ask at a time"),
            "a request",
            "more",
            "95 % of resampled groups"
        );
        for (arm, name) in Arm::ALL.map(|arm| (arm as usize, arm.name())) {
            let micros = median(groups.iter().map(|group| group.nanos[load][arm] / 1e3).collect());
            print!("{name:36} {micros:>6.2} µs");
            if arm > 0 {
                let more: Vec<f64> =
                    groups.iter().map(|group| (group.ratios[load][arm] - 1.0) * 100.0).collect();
                let [low, high] = interval(&more);
                print!(" {:>+7.2} % {low:>+14.2} to {high:+.2} %", median(more));
            }
            println!();
        }
    }
    println!("\n{:36} {:>19}", "nobody asks", "of a processor");
    for (arm, name) in Arm::ALL.map(|arm| (arm as usize, arm.name())) {
        let share = median(groups.iter().map(|group| group.rest[arm] * 100.0).collect());
        println!("{name:36} {share:>17.2} %");
    }
    Ok(())
}
