//! Loads the entry as HttpArena's profiles do, in turns with hyper, may_minihttp and nginx, and measures the CPU time of
//! a request.
//!
//! ```text
//! cargo bench -p tidegate-httparena                          all profiles, some ten minutes
//! cargo bench -p tidegate-httparena -- baseline upload       these only
//! ```
//!
//! | profile | requests | connections |
//! |---|---|---|
//! | `short` | a short text | 64, 512 |
//! | `close` | the same, each on a connection of its own | 64, 512 |
//! | `baseline` | a GET, a POST with a length, a chunked POST, in rotation | 512, 4,096 |
//! | `pipelined` | the short text, 16 at a time | 512, 4,096 |
//! | `limited-conn` | those of `baseline`, ten on each connection | 512, 4,096 |
//! | `json` | seven pages of 1 to 50 items | 512, 4,096 |
//! | `static` | twenty files, coded if they are | 512, 4,096 |
//! | `upload` | 20 MB each; CPU time of a gigabyte, and memory | 32, 256 |
//!
//! Each server has one thread and a core for itself, the load another. hyper and may_minihttp are built from `peers/`, by
//! the same profile. nginx answers with a fixed text, since it cannot compute. may_minihttp is not asked with chunks,
//! which it does not read, and never for files, which it would block for. Three profiles are also for a bare epoll loop,
//! which parses nothing; `short` and `close` are none of the arena's.

#[path = "../../c10k/bare.rs"]
mod bare;
mod client;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../../support/clients.rs"]
mod clients;
#[path = "../../attackers/cores.rs"]
mod cores;
#[path = "../data.rs"]
mod data;
#[path = "../../support/nginx.rs"]
mod nginx;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../../support/process.rs"]
mod process;
mod profiles;
mod servers;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../../support/table.rs"]
mod table;

use std::error::Error;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use process::allow_descriptors;
use profiles::{PROFILES, Profile};
use servers::{Server, Servers};
use table::median;

/// Rounds of each server, and how long each is.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1200);
/// Uploads take longer to be even.
const ROUND_OF_UPLOADS: Duration = Duration::from_millis(2500);
const DESCRIPTORS: u64 = 10_000;
const MEGABYTE: f64 = 1e6;

/// The figures of one round.
struct Round {
    /// CPU time of a request in microseconds, or of a gigabyte of content in milliseconds.
    cost: f64,
    requests_per_second: f64,
    /// The most memory that was resident so far.
    resident: f64,
    /// Connections without a single answer after three seconds.
    starved: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some(servers::SERVE_BARE) {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        eprintln!("listens on {}", listener.local_addr()?);
        return Ok(bare::serve(listener)?);
    }
    // Cargo says that this is a bench; nobody else has options to give.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_known = |name: &String| PROFILES.iter().any(|profile| profile.name == name);
    if let Some(unknown) = wanted.iter().find(|name| !is_known(name)) {
        return Err(format!("there is no profile {unknown:?}").into());
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|other| other == name);
    allow_descriptors(DESCRIPTORS);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("httparena.{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    data::write(&folder)?;
    let result = measure(&folder, is_wanted);
    fs::remove_dir_all(&folder)?;
    result
}

fn measure(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<(), Box<dyn Error>> {
    servers::build()?;
    let cores = cores::Cores::divide()?;
    let servers = Servers::start(folder, &cores)?;
    for profile in PROFILES.iter().filter(|profile| is_wanted(profile.name)) {
        for connections in profile.connections {
            play(profile, connections, &servers)?;
        }
    }
    Ok(())
}

/// Lets the servers take turns, and prints what came of it.
fn play(profile: &Profile, connections: usize, servers: &Servers) -> io::Result<()> {
    let unit = if profile.is_upload() { "ms of CPU/GB" } else { "µs of CPU" };
    println!("\n{}, {connections} connections: {unit} (of tidegate's), rounds, requests/s", profile.name);
    let takers: Vec<&Server> = servers.all.iter().filter(|server| profile.is_for(server.kind)).collect();
    let mut rounds: Vec<Vec<Round>> = takers.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (server, rounds) in takers.iter().zip(&mut rounds) {
            match round(profile, connections, server) {
                Ok(round) => rounds.push(round),
                Err(error) => println!("  {:<9} {error}", server.kind.name()),
            }
        }
    }
    let of = |rounds: &[Round], figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let first = of(&rounds[0], |round| round.cost);
    for (server, rounds) in takers.iter().zip(&rounds) {
        let costs = || rounds.iter().map(|round| round.cost);
        let (least, most) = (costs().fold(f64::INFINITY, f64::min), costs().fold(0.0, f64::max));
        let (cost, rate) = (of(rounds, |round| round.cost), of(rounds, |round| round.requests_per_second));
        let megabytes = rounds.iter().map(|round| round.resident).fold(0.0, f64::max) / MEGABYTE;
        let starved = rounds.iter().map(|round| round.starved).fold(0.0, f64::max);
        let starved = if starved > 0.0 { format!("  {starved} without an answer") } else { String::new() };
        println!(
            "  {:<9} {cost:>8.2} ({:.2})  {least:.2} to {most:.2}  {rate:>8.0}/s  {megabytes:.0} MB resident{starved}",
            server.kind.name(),
            cost / first
        );
    }
    Ok(())
}

fn round(profile: &Profile, connections: usize, server: &Server) -> io::Result<Round> {
    let load = profile.load(connections, server.kind);
    let length = if profile.is_upload() { ROUND_OF_UPLOADS } else { ROUND };
    let (counted, elapsed, [before, after]) =
        client::run(server.process.address, &load, length, || server.process.cpu())?;
    let cpu = (after - before).as_secs_f64();
    let cost = match profile.is_upload() {
        true => cpu * 1e3 / (counted.bytes_sent as f64 / 1e9),
        false => cpu * 1e6 / counted.answers as f64,
    };
    let requests_per_second = counted.answers as f64 / elapsed.as_secs_f64();
    let resident = server.process.resident()?.all as f64;
    Ok(Round { cost, requests_per_second, resident, starved: counted.starved as f64 })
}
