//! Whether reactors scale: one and two of them in turns, and nginx with one and two workers, on all cores of the machine,
//! which the load takes its part of.
//!
//! So the CPU time of a request counts first: nothing shared is nothing more to pay for a second one. Requests a second
//! are bounded by what the load leaves. And system calls are counted: threads that share something wait for each other
//! by `futex`.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::client::{self, Load, Request};
use super::process::ServerProcess;
use super::profiles;
use super::servers::{self, Kind};
use super::table::median;
use super::{ROUND, ROUNDS, nginx};

const CONNECTIONS: usize = 64;
const OF_NGINX: &str =
    "keepalive_requests 1000000000; location = /pipeline { default_type text/plain; return 200 ok; }";

struct Contender {
    name: &'static str,
    workers: usize,
    process: ServerProcess,
}

/// CPU microseconds of a request, requests a second, cores that server and load took.
type Figures = [f64; 4];

/// # Errors
/// Returns the error of a server or of the load.
pub fn measure(folder: &Path) -> io::Result<()> {
    let mut contenders = Vec::new();
    for workers in [1, 2] {
        let entry = servers::entry(folder, workers);
        let process = ServerProcess::start(Command::new(&entry[0]).args(&entry[1..]))?;
        contenders.push(Contender { name: "tidegate", workers, process });
    }
    for workers in [1, 2] {
        match nginx::start_workers(folder, folder, workers, servers::of_nginx(OF_NGINX)) {
            Ok(process) => contenders.push(Contender { name: "nginx", workers, process }),
            Err(error) => println!("without nginx: {error}"),
        }
    }
    compare("50 items as JSON", vec![profiles::page(50, 6)], 1, &contenders[..2])?;
    compare("a short text, 16 at a time", profiles::texts(Kind::Tidegate), 16, &contenders)?;
    // nginx's workers end with it only if it is asked.
    contenders.into_iter().try_for_each(|contender| contender.process.end())?;
    println!("\na short text, {CONNECTIONS} connections: system calls for 1,000 answers (strace)");
    [1, 2].into_iter().try_for_each(|reactors| count(folder, reactors))
}

/// Counts system calls of the entry, and prints them.
fn count(folder: &Path, reactors: usize) -> io::Result<()> {
    let output = folder.join("strace");
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-c", "-o"]).arg(&output).args(servers::entry(folder, reactors));
    let server = match ServerProcess::start(&mut command) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("  strace is missing: apt-get install strace");
            return Ok(());
        }
        server => server?,
    };
    let load = Load {
        requests: profiles::texts(Kind::Tidegate),
        connections: CONNECTIONS,
        depth: 1,
        requests_of_each: None,
    };
    client::run(server.address, &load, ROUND, || Ok(()))?;
    server.end()?;
    let table = fs::read_to_string(&output)?;
    // `% time  seconds  usecs/call  calls  [errors]  name`.
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some((words.last()?.to_string(), words.get(3)?.parse::<u64>().ok()?))
    };
    let calls: Vec<(String, u64)> =
        table.lines().filter_map(row).filter(|(name, _)| name != "total").collect();
    let of = |name: &str| {
        let count: u64 = calls.iter().filter(|(other, _)| other == name).map(|(_, count)| count).sum();
        count as f64
    };
    // Each answer is sent by itself.
    let thousands = of("sendto") / 1e3;
    let told: Vec<String> = ["epoll_wait", "recvfrom", "sendto", "futex"]
        .iter()
        .map(|name| format!("{name} {:.2}", of(name) / thousands))
        .collect();
    println!("  {reactors} of {:.0} answers: {}", thousands * 1e3, told.join(", "));
    Ok(())
}

fn compare(what: &str, requests: Vec<Request>, depth: usize, contenders: &[Contender]) -> io::Result<()> {
    println!("\n{what}, {CONNECTIONS} connections: µs of CPU, requests/s, cores of server and load");
    let load = Load { requests, connections: CONNECTIONS, depth, requests_of_each: None };
    let mut rounds: Vec<Vec<Figures>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (contender, rounds) in contenders.iter().zip(&mut rounds) {
            rounds.push(round(contender, &load)?);
        }
    }
    for (contender, rounds) in contenders.iter().zip(&rounds) {
        let of = |at: usize| median(rounds.iter().map(|figures| figures[at]).collect());
        let (name, workers) = (contender.name, contender.workers);
        println!("  {name:<9} {workers}  {:>7.2}  {:>8.0}/s  {:.2} + {:.2}", of(0), of(1), of(2), of(3));
    }
    Ok(())
}

fn round(contender: &Contender, load: &Load) -> io::Result<Figures> {
    let mark = || Ok((contender.process.cpu_with_children()?, of_load()));
    let (counted, elapsed, [before, after]) = client::run(contender.process.address, load, ROUND, mark)?;
    let (seconds, answers) = (elapsed.as_secs_f64(), counted.answers as f64);
    let [server, load] = [after.0 - before.0, after.1 - before.1].map(|time: Duration| time.as_secs_f64());
    Ok([server * 1e6 / answers, answers / seconds, server / seconds, load / seconds])
}

/// CPU time of this process.
fn of_load() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
