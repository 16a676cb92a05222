//! Measures tidegate as Tomcat's connector beside Tomcat's own, NIO, in one run.
//!
//! ```text
//! cargo bench -p tidegate-servlet                            all of it, some eight minutes
//! cargo bench -p tidegate-servlet -- hello --starts 3        one load, with each Java started three times
//! ```
//!
//! | load | finds out |
//! |---|---|
//! | `hello` | what a request costs when 64 connections ask a servlet for `/plaintext` |
//! | `slow` | the same for 32 connections beside 1,000 that send a head, ten bytes a second |
//! | `idle` | what a connection costs that has asked for something once: native memory, and what lives in Java's heap |
//!
//! Three Javas with the same Tomcat and the same flags run side by side, pinned to one processor; the rig of `tidegate-bench`
//! is pinned to another, and loads one after the other, A B C A B C. Nothing is measured before all of them have been loaded
//! until their compilers rest ([`SETTLED`]): before that, a request costs two to five times as much, and most of it is
//! compiling, which shares the processor. Two Javas do not compile the same program alike, so what matters has several starts.
//!
//! It needs what the tests need, `taskset`, and two processors.

#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/servlet/environment.rs"]
mod environment;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../../../benches/support/process.rs"]
mod process;

use std::error::Error;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use clap::{Args, Command as CommandLine, FromArgMatches};
use serde_json::Value;
use tidegate_bench::BenchOptions;

/// The share of a server's processor time that its compilers take, below which Java counts as warm.
const SETTLED: f64 = 0.02;
/// Turns after which it is measured even so.
const SETTLING_TURNS_MAX: usize = 10;
/// Seconds of a turn.
const TURN_SECONDS: u32 = 4;
/// Turns of each server that count, for each start of the Javas.
const TURNS: usize = 5;
/// Connections that idle.
const IDLE: usize = 9_900;
/// Connections that drip.
const DRIPPING: usize = 1_000;

/// The heap is there from the start, all of it: what the process takes beyond it is native memory.
/// Where it listens is found in the table of IPv4.
const FLAGS: [&str; 4] = ["-Xmx256m", "-Xms256m", "-XX:+AlwaysPreTouch", "-Djava.net.preferIPv4Stack=true"];
const NIO: &str = "org.apache.coyote.http11.Http11NioProtocol";
const TIDEGATE: &str = "tidegate.TidegateProtocol";
/// No bound that another would not have, and no time-out that would end what is to idle.
const BOUNDS: [&str; 2] = ["maxConnections=16000", "keepAliveTimeout=600000"];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A connector that takes its turns.
struct Contender {
    name: &'static str,
    protocol: &'static str,
    attributes: &'static [&'static str],
}

/// The last is what the others are compared with.
const CONTENDERS: [Contender; 3] = [
    Contender { name: "tidegate, threads=\"1\"", protocol: TIDEGATE, attributes: &["threads=1"] },
    Contender { name: "tidegate", protocol: TIDEGATE, attributes: &[] },
    Contender { name: "NIO", protocol: NIO, attributes: &["maxKeepAliveRequests=-1", "acceptCount=16384"] },
];

/// A load under which connectors are compared.
struct Load {
    name: &'static str,
    about: &'static str,
    options: &'static [&'static str],
}

const LOADS: [Load; 2] = [
    Load { name: "hello", about: "64 connections ask for /plaintext", options: &["-c", "64"] },
    Load {
        name: "slow",
        about: "32 connections ask for it beside 1,000 that drip",
        options: &["-c", "32", "--drip", "1000"],
    },
];

fn main() -> Result<()> {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.first().map(String::as_str) {
        Some("rig") => return play_rig(&words),
        // A test of all targets is none of the time that things take.
        _ if !std::env::args().any(|word| word == "--bench") => return Ok(()),
        _ => {}
    }
    let mut starts = 1;
    if let Some(at) = words.iter().position(|word| word == "--starts") {
        starts = words.get(at + 1).ok_or("--starts needs a number")?.parse()?;
        words.drain(at..at + 2);
    }
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| word == name);
    process::allow_descriptors((IDLE + 2 * DRIPPING) as u64);
    for load in LOADS.iter().filter(|load| is_wanted(load.name)) {
        compare(load, starts)?;
    }
    if is_wanted("idle") {
        compare_idle()?;
    }
    Ok(())
}

// A server.

/// A Java that serves the workbench; killed when it is dropped.
struct Server {
    child: Child,
    url: String,
    folder: PathBuf,
}

impl Server {
    fn start(contender: &Contender) -> Result<Server> {
        let prepared = environment::prepared();
        let folder = std::env::temp_dir().join(format!(
            "tidegate-beside-nio-{}-{}",
            std::process::id(),
            contender.name.len()
        ));
        fs::create_dir_all(&folder)?;
        let path = [
            prepared.harness.display().to_string(),
            environment::connector().display().to_string(),
            environment::tomcat(),
        ];
        let mut command = Command::new("taskset");
        command
            .args(["-c", "0", "java"])
            .args(FLAGS)
            .arg(environment::library())
            .arg("-cp")
            .arg(path.join(":"));
        command.args(["Embedded", contender.protocol]).arg(&folder).args(BOUNDS).args(contender.attributes);
        command.arg(format!("/@{}", prepared.workbench.display()));
        // The harness goes when its stdin does.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = child.stderr.take().into_iter().flat_map(|said| BufReader::new(said).lines());
        let url = lines.by_ref().map_while(io::Result::ok).find_map(|line| {
            let (_, rest) = line.split_once("http://")?;
            Some(format!("http://{}/plaintext", rest.split('/').next()?))
        });
        thread::spawn(move || lines.for_each(drop));
        let mut server = Server { child, url: String::new(), folder };
        server.url = url.ok_or_else(|| format!("{} does not start", contender.name))?;
        Ok(server)
    }

    fn path(&self, below: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{below}", self.child.id()))
    }

    /// The seconds of processor time of its compilers so far. Those that were idle for long are gone, with theirs.
    fn compiler_seconds(&self) -> Result<f64> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(self.path("task"))?.flatten() {
            let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if name.contains("Compiler") {
                let times = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                nanoseconds += times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0_u64);
            }
        }
        Ok(Duration::from_nanos(nanoseconds).as_secs_f64())
    }

    /// Bytes of native memory, and bytes that live in Java's heap.
    fn memory(&self) -> Result<(f64, f64)> {
        // It collects before it counts.
        let mut command = Command::new("jcmd");
        let histogram = environment::run(command.arg(self.child.id().to_string()).arg("GC.class_histogram"))?;
        let total = histogram.lines().rev().find(|line| line.starts_with("Total")).unwrap_or_default();
        let live = total.split_whitespace().nth(2).ok_or("no total in the histogram")?.parse()?;
        let status = fs::read_to_string(self.path("status"))?;
        let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.strip_suffix("kB"));
        let kilobytes: f64 = anonymous.ok_or("no RssAnon")?.trim().parse()?;
        Ok((kilobytes * 1024.0, live))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

// The rig.

/// Plays the rig, as a process of its own.
fn play_rig(words: &[String]) -> Result<()> {
    let matches = BenchOptions::augment_args(CommandLine::new("rig")).get_matches_from(words);
    let options = BenchOptions::from_arg_matches(&matches)?;
    let room = |wanted: usize| usize::try_from(process::allow_descriptors(wanted as u64)).unwrap_or(0);
    Ok(tidegate_bench::run(&options, room)?)
}

fn rig(url: &str, options: &[&str]) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "1"]).arg(std::env::current_exe().unwrap_or_default());
    command.args(["rig", "--json", url]).args(options);
    command
}

/// One turn of one server.
struct Turn {
    micros: f64,
    p99: f64,
    per_second: f64,
    answered: f64,
    compiling: f64,
}

fn take_turn(server: &Server, options: &[&str]) -> Result<Turn> {
    let before = server.compiler_seconds()?;
    let seconds = TURN_SECONDS.to_string();
    let said =
        environment::run(rig(&server.url, options).args(["--warm-up", "1s", "-d"]).arg(seconds + "s"))?;
    let compiling = (server.compiler_seconds()? - before).max(0.0) / f64::from(TURN_SECONDS + 1);
    let json: Value = serde_json::from_str(&said)?;
    let number =
        |path: &str| json.pointer(path).and_then(Value::as_f64).ok_or(format!("no {path} in {said}"));
    let errors = json["errors"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64());
    if errors.sum::<u64>() > 0 {
        return Err(format!("{}: {}", server.url, json["errors"]).into());
    }
    Ok(Turn {
        micros: number("/server/cpu_us_per_request")?,
        p99: number("/latency_us/p99")? / 1e3,
        per_second: number("/requests_per_second")?,
        answered: number("/answered")?,
        compiling,
    })
}

/// Measures all of them under a load, and prints a table.
fn compare(load: &Load, starts: usize) -> Result<()> {
    let mut turns: [Vec<Turn>; 3] = [Vec::new(), Vec::new(), Vec::new()];
    for start in 1..=starts {
        let servers = CONTENDERS.iter().map(Server::start).collect::<Result<Vec<_>>>()?;
        settle(&servers, load)?;
        for turn in 1..=TURNS {
            for (server, turns) in servers.iter().zip(&mut turns) {
                turns.push(take_turn(server, load.options)?);
            }
            eprintln!("{}: start {start} of {starts}, turn {turn} of {TURNS}", load.name);
        }
    }
    println!("\n{}: {}; medians of {} turns (least–most)\n", load.name, load.about, turns[0].len());
    println!("| | CPU µs a request | ratio to NIO | requests/s | p99 ms | requests | compiling |");
    println!("|---|---|---|---|---|---|---|");
    let peer = Spread::of(&turns[2], |turn| turn.micros).median;
    for (contender, turns) in CONTENDERS.iter().zip(&turns) {
        let of = |figure: fn(&Turn) -> f64| Spread::of(turns, figure);
        let (micros, p99, rate) = (of(|turn| turn.micros), of(|turn| turn.p99), of(|turn| turn.per_second));
        let answered: f64 = turns.iter().map(|turn| turn.answered).sum();
        println!(
            "| {} | {} | {:.2} | {} | {} | {answered} | {:.1} % |",
            contender.name,
            micros.show(1),
            micros.median / peer,
            rate.show(0),
            p99.show(2),
            of(|turn| turn.compiling).median * 100.0
        );
    }
    Ok(())
}

/// Loads all of them until none compiles much any more.
fn settle(servers: &[Server], load: &Load) -> Result<()> {
    for turn in 1..=SETTLING_TURNS_MAX {
        let mut said = Vec::new();
        let mut most: f64 = 0.0;
        for server in servers {
            let taken = take_turn(server, load.options)?;
            said.push(format!("{:.1} µs, {:.0} % compiling", taken.micros, taken.compiling * 100.0));
            most = most.max(taken.compiling);
        }
        eprintln!("{}: settling, turn {turn}: {}", load.name, said.join("; "));
        if most < SETTLED {
            break;
        }
    }
    Ok(())
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(turns: &[Turn], figure: fn(&Turn) -> f64) -> Spread {
        let mut figures: Vec<f64> = turns.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        Spread { least: figures[0], median: figures[figures.len() / 2], most: figures[figures.len() - 1] }
    }

    fn show(&self, decimals: usize) -> String {
        format!("{:.decimals$} ({:.decimals$}–{:.decimals$})", self.median, self.least, self.most)
    }
}

// Connections that idle.

fn compare_idle() -> Result<()> {
    println!("\nidle: {IDLE} connections that have asked for something once; bytes of each\n");
    println!("| | native | in Java's heap | together |");
    println!("|---|---|---|---|");
    for contender in &CONTENDERS {
        let server = Server::start(contender)?;
        // What only the first connections cost, and the first look, is not that of the others.
        for _ in 0..2 {
            let count = (IDLE / 10).to_string();
            environment::run(&mut rig(&server.url, &["-c", "64", "--idle", &count, "-d", "3s"]))?;
            server.memory()?;
        }
        let before = server.memory()?;
        let count = IDLE.to_string();
        let options = ["-c", "1", "--rate", "1", "--idle", &count, "-d", "20s"];
        let mut holder = rig(&server.url, &options).stdout(Stdio::piped()).spawn()?;
        wait_for_connections(&server, IDLE)?;
        thread::sleep(Duration::from_secs(1));
        let with = server.memory()?;
        let each = |with: f64, before: f64| (with - before) / IDLE as f64;
        let (native, heap) = (each(with.0, before.0), each(with.1, before.1));
        println!("| {} | {native:.0} | {heap:.0} | {:.0} |", contender.name, native + heap);
        holder.kill()?;
        holder.wait()?;
    }
    Ok(())
}

/// Waits until the server has so many sockets.
fn wait_for_connections(server: &Server, count: usize) -> Result<()> {
    for _ in 0..300 {
        if fs::read_dir(server.path("fd"))?.count() > count {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(format!("{} has not {count} connections after 30 s", server.url).into())
}
