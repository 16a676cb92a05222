//! Several processes of the rig that measure together, since a process has no more descriptors than the system allows.
//!
//! ```text
//!  parent                             each part
//!    │ starts them with --part ──────▶ opens its connections
//!    │◀──────────────── "connected" ── waits
//!    │ "go", when all are ───────────▶ warms up, measures
//!    │◀── "measuring", "measured" ───
//!    │◀── the measurement, as JSON ─── ends
//!    └─ adds them up
//! ```
//!
//! A part is this program, started with the words that it was started with. The parent observes the server.

use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use super::observed::{Observed, Process};
use super::options::{Load, Processes};
use super::progress::Progress;
use super::rig::{Conductor, Measurement, Phase};
use super::surroundings::Surroundings;
use super::wire;

/// Most processes of the rig. 64: more than a million connections with 20,000 descriptors each.
pub(super) const PROCESSES_MAX: usize = 64;
/// Descriptors of a process that are no connections.
const SPARE: u64 = 64;
/// Connections from which on the rig has addresses of its own: the system has some 28,000 ports for one.
const CONNECTIONS_WITHOUT_ADDRESS: usize = 20_000;
/// Connections from each of these addresses. 5,000: with more than half of its ports taken the system looks for a free
/// one longer and longer, up to milliseconds for each connection.
const CONNECTIONS_OF_ADDRESS: usize = 5_000;
/// How often the parent looks whether it was interrupted.
const LOOK: Duration = Duration::from_millis(50);

/// The number of connections that one process may hold, once it has raised its limit.
pub(super) fn room_of_process() -> usize {
    let most = getrlimit(Resource::Nofile).maximum;
    most.map_or(usize::MAX, |most| usize::try_from(most.saturating_sub(SPARE)).unwrap_or(usize::MAX).max(1))
}

/// Raises the limit of this process for its share of a load. Returns how many connections all of them may hold.
pub(super) fn make_room(
    processes: Processes,
    wanted: usize,
    make_room_for: impl FnOnce(usize) -> usize,
) -> usize {
    if processes == Processes::Exactly(1) {
        return make_room_for(wanted);
    }
    // This one measures alone if it is enough, and whatever it starts has its limit.
    let room = room_of_process();
    make_room_for(wanted.min(room));
    processes.room(room)
}

/// The addresses that connections are made from: those given, or as many of 127.0.0.0/8 as it takes, or none where
/// the system chooses. Each process gets equally many.
pub(super) fn sources(
    given: &[IpAddr],
    address: SocketAddr,
    connections: usize,
    processes: usize,
) -> Vec<IpAddr> {
    let is_loopback = matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback());
    let count = connections.div_ceil(processes).div_ceil(CONNECTIONS_OF_ADDRESS) * processes;
    // Elsewhere 127.0.0.1 is the only one of them that is set up.
    if !given.is_empty()
        || !is_loopback
        || connections <= CONNECTIONS_WITHOUT_ADDRESS
        || !cfg!(target_os = "linux")
    {
        return given.to_vec();
    }
    (0..count as u32).map(|index| IpAddr::V4(Ipv4Addr::from_bits(0x7f00_0002 + index))).collect()
}

/// The task of one process.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The number of the server, as the command line has them.
    pub server: usize,
    pub load: Load,
}

impl Part {
    /// Divides a load among processes.
    pub fn divide(server: usize, load: &Load, count: usize) -> Vec<Part> {
        let share = |all: usize, index: usize| all / count + usize::from(index < all % count);
        let part = |index: usize| {
            let connections = share(load.connections, index);
            let rate = load.rate.map(|rate| rate * connections as f64 / load.connections as f64);
            Part {
                server,
                load: Load {
                    connections,
                    idle: share(load.idle, index),
                    slow_readers: share(load.slow_readers, index),
                    drip: share(load.drip, index),
                    rate: rate.filter(|rate| *rate > 0.0),
                    sources: dealt(&load.sources, index, count),
                    ..load.clone()
                },
            }
        };
        (0..count).map(part).collect()
    }

    /// Writes the task as a word of a command line.
    fn encode(&self) -> String {
        let load = &self.load;
        let sources: Vec<String> = load.sources.iter().map(ToString::to_string).collect();
        json!([self.server, load.connections, load.idle, load.slow_readers, load.drip, load.rate, sources])
            .to_string()
    }

    /// Reads a task; all that it does not say is as in the load that is given.
    pub fn decode(text: &str, load: &Load) -> Option<Part> {
        let value: Value = serde_json::from_str(text).ok()?;
        let number =
            |index: usize| value.get(index)?.as_u64().and_then(|number| usize::try_from(number).ok());
        let sources = value.get(6)?.as_array()?.iter().map(|source| source.as_str()?.parse().ok());
        Some(Part {
            server: number(0)?,
            load: Load {
                connections: number(1)?,
                idle: number(2)?,
                slow_readers: number(3)?,
                drip: number(4)?,
                rate: value.get(5)?.as_f64(),
                sources: sources.collect::<Option<_>>()?,
                ..load.clone()
            },
        })
    }
}

/// The addresses of one part: each belongs to one, as long as there are enough.
fn dealt(sources: &[IpAddr], index: usize, count: usize) -> Vec<IpAddr> {
    let first = if sources.len() < count { index.checked_rem(sources.len()).unwrap_or(0) } else { index };
    sources.iter().skip(first).step_by(count).copied().collect()
}

/// The parent's word to a part, and the part's about its phases.
#[derive(Debug)]
pub(super) struct Pipe {
    may_go_on: AtomicBool,
    has_told: AtomicBool,
}

impl Pipe {
    /// Begins to listen to the parent. When the parent is gone, or wants no more, it is as an interruption.
    pub fn listen(interrupted: &std::sync::Arc<AtomicBool>) -> std::sync::Arc<Pipe> {
        let pipe = Pipe { may_go_on: AtomicBool::new(false), has_told: AtomicBool::new(false) };
        let pipe = std::sync::Arc::new(pipe);
        let (of_thread, interrupted) = (pipe.clone(), interrupted.clone());
        thread::spawn(move || {
            for _ in io::stdin().lock().lines().map_while(Result::ok) {
                of_thread.may_go_on.store(true, Ordering::Relaxed);
            }
            interrupted.store(true, Ordering::Relaxed);
        });
        pipe
    }
}

impl Conductor for Pipe {
    fn may_warm_up(&self) -> bool {
        if !self.has_told.swap(true, Ordering::Relaxed) {
            tell("connected");
        }
        self.may_go_on.load(Ordering::Relaxed)
    }

    fn has_begun(&self, phase: Phase) {
        match phase {
            Phase::Measuring => tell("measuring"),
            Phase::Draining => tell("measured"),
            Phase::Connecting | Phase::WarmingUp | Phase::Done => {}
        }
    }
}

/// Tells the parent something. Should it be gone, the part ends by itself.
fn tell(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Tells the parent the result of a part.
pub(super) fn report(result: Result<Measurement, String>) {
    tell(&match result {
        Ok(measurement) => wire::encode(&measurement).to_string(),
        Err(reason) => json!({ "failed": reason }).to_string(),
    });
}

/// The parts under way, ended when they are dropped.
struct Parts {
    children: Vec<(Child, Option<ChildStdin>)>,
    said: Receiver<Option<String>>,
}

impl Parts {
    fn start(parts: &[Part]) -> io::Result<Parts> {
        let (sender, said) = channel();
        let mut all = Parts { children: Vec::new(), said };
        for part in parts {
            let mut child = command(part)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
            all.children.push((child, stdin));
            let sender: Sender<Option<String>> = sender.clone();
            thread::spawn(move || {
                let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
                // Nobody may be left to hear it.
                lines.map_while(Result::ok).for_each(|line| drop(sender.send(Some(line))));
                let _ = sender.send(None);
            });
        }
        Ok(all)
    }

    fn go(&mut self) {
        for stdin in self.children.iter_mut().filter_map(|(_, stdin)| stdin.as_mut()) {
            // One that is gone says so itself.
            let _ = stdin.write_all(b"go\n");
        }
    }

    /// Lets all parts end early.
    fn interrupt(&mut self) {
        self.children.iter_mut().for_each(|(_, stdin)| *stdin = None);
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        for (child, stdin) in &mut self.children {
            *stdin = None;
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Makes the command that starts this program once more, as a part.
fn command(part: &Part) -> io::Result<Command> {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let mut command = Command::new(env::current_exe()?);
    command.args(words).arg(format!("--{PART}")).arg(part.encode());
    Ok(command)
}

/// The option that makes a process a part.
pub(super) const PART: &str = "part";

/// Measures with several processes of the rig.
///
/// # Errors
/// Returns a sentence when nothing could be measured.
pub(super) fn measure(
    parts: &[Part],
    server: Option<&Process>,
    interrupted: &AtomicBool,
    progress: &Progress,
) -> Result<Measurement, String> {
    let mut watch = Watch::default();
    watch.observe(server);
    let cannot = |error: io::Error| format!("the rig cannot start itself once more: {error}");
    let mut all = Parts::start(parts).map_err(cannot)?;
    let [mut connected, mut measuring, mut measured, mut ended] = [0; 4];
    let mut results = Vec::new();
    while ended < parts.len() {
        if interrupted.load(Ordering::Relaxed) {
            all.interrupt();
        }
        progress.show_parts(parts.len(), connected, measuring);
        let line = match all.said.recv_timeout(LOOK) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match line.as_deref() {
            None => {
                ended += 1;
                // One that is well tells its result before it ends. The others would wait for it for ever.
                if results.len() < ended {
                    return Err("a process of the rig has ended before its time".to_string());
                }
            }
            Some("connected") => {
                connected += 1;
                if connected == parts.len() {
                    watch.observe(server);
                    all.go();
                }
            }
            Some("measuring") => {
                measuring += 1;
                if measuring == parts.len() {
                    watch.observe(server);
                }
            }
            Some("measured") => {
                measured += 1;
                if measured == 1 {
                    watch.observe(server);
                }
            }
            Some(result) => match wire::decode(result) {
                Ok(measurement) => results.push(measurement),
                Err(reason) => return Err(reason),
            },
        }
    }
    let mut sum = results.into_iter().reduce(wire::add).ok_or("there is no process of the rig")?;
    watch.complete(&mut sum);
    Ok(sum)
}

/// The figures of server and machine, at the moments that a measurement has.
#[derive(Default)]
struct Watch {
    server: Vec<Observed>,
    machine: Vec<Surroundings>,
}

impl Watch {
    fn observe(&mut self, server: Option<&Process>) {
        self.machine.push(Surroundings::observe());
        self.server.extend(server.and_then(Process::observe));
    }

    /// Adds the figures to the sum of the parts, whose own time is the rig's.
    fn complete(self, sum: &mut Measurement) {
        let own = sum.machine.map(|[_, _, start, end]| end.own.saturating_sub(start.own)).unwrap_or_default();
        sum.server = self.server.try_into().ok();
        sum.machine = self.machine.try_into().ok();
        if let Some([.., end]) = &mut sum.machine {
            end.own += own;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        let second = Duration::from_secs(1);
        Load {
            connections: 10,
            idle: 7,
            slow_readers: 0,
            drip: 1,
            duration: second,
            warm_up: second,
            rate: Some(100.0),
            pipeline: 1,
            closes: false,
            timeout: second,
            sources: ["127.0.0.2", "127.0.0.3"].map(|source| source.parse().unwrap()).to_vec(),
        }
    }

    #[test]
    fn parts_are_the_whole() {
        let parts = Part::divide(1, &load(), 3);
        let sum = |count: fn(&Load) -> usize| parts.iter().map(|part| count(&part.load)).sum::<usize>();
        assert_eq!(sum(|load| load.connections), 10);
        assert_eq!((sum(|load| load.idle), sum(|load| load.drip)), (7, 1));
        let rate: f64 = parts.iter().filter_map(|part| part.load.rate).sum();
        assert!((rate - 100.0).abs() < 1e-9);
        assert_eq!(parts[2].load.sources, [IpAddr::from([127, 0, 0, 2])]);
        assert_eq!(Part::divide(1, &load(), 1)[0].load.sources, load().sources);
    }

    #[test]
    fn part_is_read_as_it_was_written() {
        for part in Part::divide(2, &load(), 3) {
            let read = Part::decode(&part.encode(), &load()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{part:?}"));
        }
        for text in ["", "[]", "[1,2,3,4,5,6,7]", "{}"] {
            assert!(Part::decode(text, &load()).is_none(), "{text}");
        }
    }

    #[test]
    fn addresses_are_as_many_as_ports_demand() {
        let (here, there) = ("127.0.0.1:80".parse().unwrap(), "192.0.2.1:80".parse().unwrap());
        assert!(sources(&[], here, 20_000, 1).is_empty() && sources(&[], there, 100_000, 6).is_empty());
        if cfg!(target_os = "linux") {
            let all = sources(&[], here, 100_000, 6);
            assert_eq!((all.len(), all[0], all[23]), (24, [127, 0, 0, 2].into(), [127, 0, 0, 25].into()));
        }
        let given = ["192.0.2.7".parse().unwrap()];
        assert_eq!(sources(&given, there, 100_000, 6), given);
    }
}
