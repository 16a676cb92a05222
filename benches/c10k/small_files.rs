//! Measures CPU time of requests for files of up to 64 KiB, in turns with nginx, h2o and lighttpd, as far as they are
//! installed. Each has one thread and its cache of files: tidegate and h2o as they come, lighttpd and nginx with the
//! directives below.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::arena::{self, Expected, Load, Request};
use super::clients::connect;
use super::example;
use super::files::Folder;
use super::nginx;
use super::process::ServerProcess;
use super::table::{Goal, Row, median};

/// Lengths of files, how many there are, and the bound: to what the best of the others takes.
const CASES: [(Goal, usize, usize); 4] = [
    (Goal::at_most("CPU of a request for a file of 1 KiB, to the best other", 1.1, 1.0, "×"), 1 << 10, 1),
    (Goal::at_most("… of 4 KiB", 1.1, 1.0, "×"), 4 << 10, 1),
    (Goal::at_most("… of 4 KiB, 10,000 files in turn", 1.1, 1.0, "×"), 4 << 10, 10_000),
    (Goal::at_most("… of 64 KiB", 1.1, 1.0, "×"), 64 << 10, 1),
];
const CONNECTIONS: usize = 64;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1200);
/// Longest wait for a server to listen.
const PATIENCE: Duration = Duration::from_secs(5);
const OF_NGINX: &str = "open_file_cache max=20000; open_file_cache_valid 1s; keepalive_requests 1000000000;";

struct Contender {
    name: &'static str,
    process: ServerProcess,
    /// CPU microseconds of a request, of each round.
    costs: Vec<f64>,
}

pub fn measure(_connections: usize) -> Vec<Row> {
    let folder = Folder::new();
    let measured = |(goal, bytes, count): (Goal, usize, usize)| {
        let folder = folder.as_ref().map_err(|error| io::Error::other(error.to_string()));
        let row = folder.and_then(|folder| compare(goal, folder, bytes, count));
        row.unwrap_or_else(|error| goal.failed(error))
    };
    CASES.into_iter().map(measured).collect()
}

fn compare(goal: Goal, folder: &Folder, bytes: usize, count: usize) -> io::Result<Row> {
    let name = |number: usize| format!("{bytes}-{number}.txt");
    for number in 0..count {
        fs::write(folder.root().join(name(number)), vec![b'x'; bytes])?;
    }
    // A file that has just changed is not kept.
    thread::sleep(Duration::from_millis(50));
    let request = |number: usize| Request {
        bytes: format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", name(number)).into_bytes(),
        expected: Expected::Bytes(bytes),
    };
    let load = Load {
        requests: (0..count).map(request).collect(),
        connections: CONNECTIONS,
        depth: 1,
        requests_of_each: None,
    };
    let mut contenders = contenders(folder)?;
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            let cpu = || contender.process.cpu();
            let (counted, _, [before, after]) = arena::run(contender.process.address, &load, ROUND, cpu)?;
            contender.costs.push((after - before).as_secs_f64() * 1e6 / counted.answers as f64);
        }
    }
    let medians: Vec<f64> = contenders.iter().map(|contender| median(contender.costs.clone())).collect();
    let told: Vec<String> = contenders
        .iter()
        .zip(&medians)
        .map(|(contender, cost)| format!("{} {cost:.2} µs ({:.2})", contender.name, cost / medians[0]))
        .collect();
    let best = medians[1..].iter().copied().fold(f64::INFINITY, f64::min);
    match best.is_finite() {
        true => Ok(goal.measured(medians[0] / best).note(told.join(", "))),
        false => Err(io::Error::other("there is no other server: apt-get install nginx-light h2o lighttpd")),
    }
}

/// Starts all servers there are; tidegate is the first.
fn contenders(folder: &Folder) -> io::Result<Vec<Contender>> {
    let mut own = Command::new(example::program()?);
    own.args(["--bind", "127.0.0.1:0", "static"]).arg(folder.root());
    let mut all =
        vec![Contender { name: "tidegate", process: ServerProcess::start(&mut own)?, costs: Vec::new() }];
    let (own, root) = (folder.path(), folder.root());
    let directives = nginx::Directives { connections: 1024, of_events: "", of_server: OF_NGINX };
    let others = [
        ("nginx", nginx::start(own, &root, directives, |program| Command::new(program))),
        ("h2o", start(own, &root, "h2o", &["-c"], of_h2o)),
        ("lighttpd", start(own, &root, "/usr/sbin/lighttpd", &["-D", "-f"], of_lighttpd)),
    ];
    for (name, process) in others {
        match process {
            Ok(process) => all.push(Contender { name, process, costs: Vec::new() }),
            Err(error) => println!("without {name}: {error}"),
        }
    }
    Ok(all)
}

/// Starts a server with its configuration in a file, and waits until it listens.
fn start(
    folder: &Path,
    root: &Path,
    program: &str,
    arguments: &[&str],
    configuration: fn(SocketAddr, &Path) -> String,
) -> io::Result<ServerProcess> {
    // It was free a moment ago: neither has a port 0.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let path = folder.join("configuration");
    fs::write(&path, configuration(address, root))?;
    let process = ServerProcess::start_at(address, Command::new(program).args(arguments).arg(&path))?;
    let start = Instant::now();
    while connect(address).is_err() {
        if start.elapsed() > PATIENCE {
            return Err(io::Error::other("it does not listen"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(process)
}

fn of_h2o(address: SocketAddr, root: &Path) -> String {
    let (port, root) = (address.port(), root.display());
    format!(
        "listen: {{host: 127.0.0.1, port: {port}}}\nnum-threads: 1\nhttp1-request-timeout: 300\n\
         hosts: {{default: {{paths: {{/: {{file.dir: {root}}}}}}}}}\n"
    )
}

fn of_lighttpd(address: SocketAddr, root: &Path) -> String {
    let (port, root) = (address.port(), root.display());
    format!(
        "server.bind = \"127.0.0.1\"\nserver.port = {port}\nserver.document-root = \"{root}\"\n\
         server.max-connections = 1024\nserver.max-keep-alive-requests = 1000000000\n\
         mimetype.assign = (\".txt\" => \"text/plain\")\n"
    )
}
