//! Measures what a second reactor costs and brings: one and two of them in turns, and nginx with one worker and two, on
//! all cores of the machine, of which the load takes its part.
//!
//! Counts come first, since neither the machine nor the load has a part in them: if reactors share nothing, two of
//! them take the same instructions and system calls for a request as one, and no `futex`, by which threads wait for each
//! other. A cache line that both write would not be seen there, but in the CPU time of a request. Requests a second
//! are bounded by what the load leaves of the processors; requests in a second of the server's CPU time are not.
//!
//! A second reactor brings something to be seen where an application computes: then the load takes but a few hundredths of a processor, and
//! the servers have nearly all of two. nginx computes, too: it looks for a regular expression that backtracks. How long
//! either takes for a request does not matter, since each is compared with itself.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::arena::{self, Expected, Load, Request};
use super::clients::{ask, connect};
use super::nginx;
use super::process::ServerProcess;
use super::server;
use super::table::{Goal, Row, median};

const INSTRUCTIONS: Goal =
    Goal::at_most("user instructions of a request with 2 reactors, beyond those with 1", 10.0, 2.0, "");
const FUTEXES: Goal = Goal::at_most("calls of futex for 1,000 requests with 2 reactors", 0.0, 0.0, "");
const CALLS: Goal = Goal::at_most("system calls of a request with 2 reactors", 3.01, 3.0, "");
/// With two reactors half as many requests meet in a turn of a loop, and share less of its waiting. That costs nginx as much.
const COST: Goal = Goal::at_most("CPU time of a request with 2 reactors, to that with 1", 1.5, 1.0, "");
const PIPELINED_COST: Goal = Goal::at_most("the same of requests that come 16 at a time", 1.3, 1.0, "");

/// The load takes a part of both processors, and a second reactor what is left.
const GAIN: Goal = Goal::at_least(
    "requests/s with 2 reactors to those with 1, some 100 µs computed for each",
    1.6,
    1.9,
    "×",
);
/// The path for which nginx computes: `(a+)+` takes twice as many steps for each further `a`.
const COMPUTED_BY_NGINX: &str = "/computed?aaaaaaaaaaa";

/// Rounds of each server, and how long each is.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1200);
const CONNECTIONS: usize = 64;
/// Connections that are asked in turn where requests are counted, and the requests of the two runs.
const COUNTED_CONNECTIONS: usize = 16;
const LENGTHS: [usize; 2] = [800, 3_200];
const OF_NGINX: &str = "keepalive_requests 1000000000;
    location = /plaintext { default_type text/plain; return 200 \"Hello, World!\"; }
    location = /computed { if ($args ~ \"^(a+)+[0-9]$\") { return 404; } default_type text/plain; return 200 \"Hello, World!\"; }";

struct Contender {
    name: &'static str,
    reactors: usize,
    process: ServerProcess,
}

/// CPU microseconds of a request, requests a second, cores that server and load took.
type Figures = [f64; 4];

pub fn measure(_connections: usize) -> Vec<Row> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("reactors.{}", std::process::id()));
    let made = fs::create_dir_all(&folder);
    let made = || made.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()));
    let instructions = made().and_then(|()| beyond_one(&folder));
    let calls = made().and_then(|()| calls(&folder));
    let costs = made().and_then(|()| costs(&folder));
    let gain = made().and_then(|()| gain(&folder));
    let _ = fs::remove_dir_all(&folder);
    let again = |error: &io::Error| io::Error::new(error.kind(), error.to_string());
    vec![
        row(INSTRUCTIONS, instructions),
        match &calls {
            Ok((_, futexes, note)) => FUTEXES.measured(*futexes).note(note),
            Err(error) => FUTEXES.failed(again(error)),
        },
        row(CALLS, calls.map(|(all, ..)| (all, String::new()))),
        match &costs {
            Ok([one_at_a_time, _]) => COST.measured(one_at_a_time.0).note(&one_at_a_time.1),
            Err(error) => COST.failed(again(error)),
        },
        row(PIPELINED_COST, costs.map(|[_, pipelined]| pipelined)),
        row(GAIN, gain),
    ]
}

fn row(goal: Goal, measured: io::Result<(f64, String)>) -> Row {
    match measured {
        Ok((figure, note)) => goal.measured(figure).note(note),
        Err(error) => goal.failed(error),
    }
}

/// Counts the instructions of a request that two reactors take more than one, with callgrind.
fn beyond_one(folder: &Path) -> io::Result<(f64, String)> {
    let output = folder.join("callgrind");
    let tool = || {
        let mut command = Command::new("valgrind");
        command.args(["-q", "--tool=callgrind"]).arg(format!("--callgrind-out-file={}", output.display()));
        command
    };
    let read = |profile: &str| {
        let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
        total
            .and_then(|total| total.trim().parse().ok())
            .map(|total| vec![("instructions".to_string(), total)])
    };
    let count =
        |reactors| Ok::<f64, io::Error>(of(&per_request(reactors, tool, &output, read)?, "instructions"));
    let (one, two) = (count(1)?, count(2)?);
    Ok((two - one, format!("{two:.1} and {one:.1}")))
}

/// Counts the system calls of a request with two reactors, and those of `futex` for a thousand, with strace.
fn calls(folder: &Path) -> io::Result<(f64, f64, String)> {
    let output = folder.join("strace");
    let tool = || {
        let mut command = Command::new("strace");
        // With -D strace is the child, and the process that is started and ended here the server.
        command.args(["-D", "-f", "-c", "-o"]).arg(&output);
        command
    };
    // `% time  seconds  usecs/call  calls  [errors]  name`, and below them the total.
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let calls = words.get(3)?.parse().ok()?;
        words.last().filter(|name| **name != "total").map(|name| (name.to_string(), calls))
    };
    let read = |table: &str| Some(table.lines().filter_map(row).collect());
    let calls = per_request(2, tool, &output, read)?;
    let told: Vec<String> = calls.iter().map(|(name, calls)| format!("{name} {calls:.3}")).collect();
    Ok((calls.iter().map(|(_, calls)| calls).sum(), 1e3 * of(&calls, "futex"), told.join(", ")))
}

fn of(counts: &[(String, f64)], name: &str) -> f64 {
    counts.iter().find(|(other, _)| other == name).map_or(0.0, |(_, count)| *count)
}

/// Counts what a request costs under a tool that writes its counts when the server ends: the difference of two runs, in
/// which one connection asks at a time, so that how many requests a turn of the loop meets is not chance.
fn per_request(
    reactors: usize,
    tool: impl Fn() -> Command,
    output: &Path,
    read: impl Fn(&str) -> Option<Vec<(String, u64)>>,
) -> io::Result<Vec<(String, f64)>> {
    let run = |requests: usize| {
        let mut command = tool();
        let server =
            command.arg(std::env::current_exe()?).args([server::SERVE_REACTORS, &reactors.to_string()]);
        let server = ServerProcess::start(server).map_err(|error| missing(&tool(), error))?;
        let mut clients = Vec::new();
        for _ in 0..COUNTED_CONNECTIONS {
            clients.push(connect(server.address)?);
        }
        for number in 0..requests {
            ask(&mut clients[number % COUNTED_CONNECTIONS], "/plaintext")?;
        }
        // The connections end later, so that no part of their end is counted.
        server.end()?;
        read(&fs::read_to_string(output)?).ok_or_else(|| io::Error::other("the tool has counted nothing"))
    };
    let (short, long) = (run(LENGTHS[0])?, run(LENGTHS[1])?);
    let requests = (LENGTHS[1] - LENGTHS[0]) as f64;
    let more = long.into_iter().filter_map(|(name, count)| {
        let before = short.iter().find(|(other, _)| *other == name).map_or(0, |(_, count)| *count);
        (count != before).then(|| (name, (count as f64 - before as f64) / requests))
    });
    Ok(more.collect())
}

fn missing(command: &Command, error: io::Error) -> io::Error {
    let name = command.get_program().to_string_lossy().into_owned();
    match error.kind() {
        ErrorKind::NotFound => io::Error::other(format!("{name} is not installed: apt-get install {name}")),
        _ => error,
    }
}

/// Starts tidegate with one reactor and with two.
fn ours() -> io::Result<Vec<Contender>> {
    let start =
        |reactors| Ok(Contender { name: "tidegate", reactors, process: server::with_reactors(reactors)? });
    [1, 2].into_iter().map(start).collect()
}

/// Starts nginx with one worker and with two, as far as it is there.
fn theirs(folder: &Path) -> Vec<Contender> {
    let mut contenders = Vec::new();
    for workers in [1, 2] {
        let directives =
            nginx::Directives { connections: 1024, of_events: nginx::ACCEPT_ALL, of_server: OF_NGINX };
        match nginx::start_workers(folder, folder, workers, directives) {
            Ok(process) => contenders.push(Contender { name: "nginx", reactors: workers, process }),
            Err(error) => println!("without nginx: {error}"),
        }
    }
    contenders
}

/// Ends them: nginx's workers end with it only if it is asked.
fn end(contenders: Vec<Contender>) -> io::Result<()> {
    contenders.into_iter().try_for_each(|contender| contender.process.end())
}

/// Lets servers take turns, and returns the cost of a request with two reactors in proportion to that with one: one
/// request at a time, and sixteen.
fn costs(folder: &Path) -> io::Result<[(f64, String); 2]> {
    let mut contenders = ours()?;
    contenders.extend(theirs(folder));
    let plain = |depth| compare("/plaintext", depth, &contenders).map(|rounds| spread(&rounds, 0));
    let compared = [plain(1)?, plain(16)?];
    end(contenders)?;
    Ok(compared)
}

/// Returns how many times as many requests two reactors answer as one, where their application computes, and beside it the same of
/// two workers of nginx.
fn gain(folder: &Path) -> io::Result<(f64, String)> {
    let (ours, theirs) = (ours()?, theirs(folder));
    let (gained, note) = spread(&compare(server::COMPUTED, 1, &ours)?, 1);
    let of_nginx = match theirs.len() {
        2 => {
            let (gained, note) = spread(&compare(COMPUTED_BY_NGINX, 1, &theirs)?, 1);
            format!("; of nginx {gained:.2} ({note})")
        }
        _ => String::new(),
    };
    end(ours)?;
    end(theirs)?;
    Ok((gained, note + &of_nginx))
}

/// The figure of the second contender in proportion to that of the first: its median, and what lies between.
fn spread(rounds: &[Vec<Figures>], at: usize) -> (f64, String) {
    let ratios: Vec<f64> = rounds[0].iter().zip(&rounds[1]).map(|(one, two)| two[at] / one[at]).collect();
    let (least, most) =
        (ratios.iter().copied().fold(f64::INFINITY, f64::min), ratios.iter().copied().fold(0.0, f64::max));
    (median(ratios), format!("{least:.2} to {most:.2} in {ROUNDS} rounds"))
}

fn compare(path: &str, depth: usize, contenders: &[Contender]) -> io::Result<Vec<Vec<Figures>>> {
    println!("{path}, {CONNECTIONS} connections, {depth} requests at a time on each:");
    let request = Request {
        bytes: format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes(),
        expected: Expected::Content("Hello, World!".to_string()),
    };
    let load = Load { requests: vec![request], connections: CONNECTIONS, depth, requests_of_each: None };
    let mut rounds: Vec<Vec<Figures>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (contender, rounds) in contenders.iter().zip(&mut rounds) {
            rounds.push(round(contender, &load)?);
        }
    }
    for (contender, rounds) in contenders.iter().zip(&rounds) {
        let of = |at: usize| median(rounds.iter().map(|figures| figures[at]).collect());
        let (name, reactors, cost) = (contender.name, contender.reactors, of(0));
        println!(
            "  {name:<9} {reactors}  {cost:>6.2} µs of CPU a request, {:>7.0} requests in a second of it, {:>7.0} in a second; \
             cores of server and load {:.2} + {:.2}",
            1e6 / cost,
            of(1),
            of(2),
            of(3)
        );
    }
    Ok(rounds)
}

fn round(contender: &Contender, load: &Load) -> io::Result<Figures> {
    let mark = || Ok((contender.process.cpu_with_children()?, of_load()));
    let (counted, elapsed, [before, after]) = arena::run(contender.process.address, load, ROUND, mark)?;
    let (seconds, answers) = (elapsed.as_secs_f64(), counted.answers as f64);
    let [server, load] = [after.0 - before.0, after.1 - before.1].map(|time: Duration| time.as_secs_f64());
    Ok([server * 1e6 / answers, answers / seconds, server / seconds, load / seconds])
}

/// CPU time of this process.
fn of_load() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
