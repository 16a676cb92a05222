//! The options of `tidegate bench`, and the [`Plan`] that they amount to once they are checked.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::parts::{self, PROCESSES_MAX, Part};
use super::request::Request;
use super::sweep::points::Points;
use super::target::Target;
use crate::units::{Rate, Size, Span};

/// Turns of each server in a comparison. 5: an odd number has a middle, and one bad turn among five does no
/// harm.
const ROUNDS: usize = 5;
/// Turns of each server at each point of a sweep. 3: the fewest that have a middle.
const ROUNDS_OF_SWEEP: usize = 3;
/// Connections that send requests, where nothing else is said: as wrk's usual example has them.
const CONNECTIONS: usize = 64;
/// How long to measure once. 10 s: less is noise on most machines.
const DURATION: Duration = Duration::from_secs(10);
/// How long to measure at each point of a sweep. 3 s: three rounds at ten points then take two minutes.
const DURATION_OF_SWEEP: Duration = Duration::from_secs(3);
/// Longest content of a request: it is kept in memory, once for each request of a pipeline.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// The options of `tidegate bench`.
#[derive(Args, Debug)]
pub struct BenchOptions {
    /// The URL to request: http://HOST[:PORT]/PATH; NAME=URL also names the server
    #[arg(value_name = "URL")]
    url: String,
    /// Connections that send requests [default: 64]
    #[arg(long, short, value_name = "COUNT")]
    connections: Option<usize>,
    /// Further connections that make one request each and then stay silent
    #[arg(long, value_name = "COUNT", default_value = "0")]
    idle: usize,
    /// Measure at several numbers of connections: 10..10000 (as 10, 20, 50, 100, …), or a list, 10,100,1000
    #[arg(long, value_name = "POINTS")]
    sweep: Option<Points>,
    /// Measure at several numbers of idle connections, beside those that send requests
    #[arg(long, value_name = "POINTS", conflicts_with = "idle")]
    sweep_idle: Option<Points>,
    /// How long to measure [default: 10s; 3s at each point of a sweep]
    #[arg(long, short, value_name = "TIME")]
    duration: Option<Span>,
    /// How long to send requests before measuring begins
    #[arg(long, value_name = "TIME", default_value = "1s")]
    warm_up: Span,
    /// Requests a second, each due at its own time, whatever became of those before (open loop)
    ///
    /// Latency counts from when a request was due: a server that stalls is not spared the requests
    /// that would have come meanwhile (no coordinated omission). Without a rate, each connection asks
    /// again as soon as it is answered (closed loop).
    #[arg(long, short, value_name = "REQUESTS")]
    rate: Option<Rate>,
    /// Requests in flight on a connection at a time
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pipeline: usize,
    /// One request a connection
    #[arg(long)]
    close: bool,
    /// A field of the requests, 'Name: value'; may be repeated
    #[arg(long, short = 'H', value_name = "FIELD")]
    header: Vec<String>,
    /// The method [default: GET, or POST if there is content]
    #[arg(long, short, value_name = "METHOD")]
    method: Option<String>,
    /// Content of the requests: a file, or @SIZE (as in @64k) for that many bytes
    #[arg(long, value_name = "FILE|@SIZE")]
    body: Option<String>,
    /// Further connections that send requests but read the answers at 10 KiB a second
    #[arg(long, value_name = "COUNT", default_value = "0")]
    slow_readers: usize,
    /// Further connections that send a head, ten bytes a second
    #[arg(long, value_name = "COUNT", default_value = "0")]
    drip: usize,
    /// An address of this machine to connect from, each with ports of its own; may be repeated
    ///
    /// Without it the system chooses, but beyond 20,000 connections to 127.0.0.1 they come from 127.0.0.2, 127.0.0.3 and
    /// so on (Linux).
    #[arg(long, value_name = "ADDRESS")]
    source: Vec<IpAddr>,
    /// Processes of the rig, or auto for as many as the limit of descriptors demands
    #[arg(long, value_name = "COUNT", default_value = "1")]
    processes: Processes,
    /// The task of one of these processes
    #[arg(long, value_name = "TASK", hide = true)]
    part: Option<String>,
    /// How long an answer may take before its connection is given up
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: Span,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Print the result of a sweep as comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Draw the distribution of latencies into an SVG file; of a sweep each curve, into FILE-throughput.svg and so on
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write a page about a sweep, with its curves, the machine, and how to read them
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Another server to compare with: all are measured in turns; may be repeated with --sweep
    #[arg(long, value_name = "URL")]
    against: Vec<String>,
    /// Turns that each server gets [default: 5; 3 at each point of a sweep]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
}

impl BenchOptions {
    fn is_sweep(&self) -> bool {
        self.sweep.is_some() || self.sweep_idle.is_some()
    }

    /// Checks options that make no sense together, or not without another.
    fn check_combination(&self) -> Result<(), String> {
        let refuse = |why: &str| Err(why.to_string());
        match self {
            _ if self.rounds == Some(0) => refuse("--rounds 0 measures nothing"),
            _ if self.sweep.is_some() && self.sweep_idle.is_none() && self.connections.is_some() => {
                refuse("--sweep and --connections both say how many connections there are: choose one")
            }
            _ if self.is_sweep() => Ok(()),
            _ if self.csv => refuse("--csv prints the points of a sweep: it needs --sweep or --sweep-idle"),
            _ if self.report.is_some() => {
                refuse("--report is about a sweep: it needs --sweep or --sweep-idle")
            }
            _ if self.rounds.is_some() && self.against.is_empty() => {
                refuse("--rounds needs another server, --against URL, or a --sweep")
            }
            _ if self.against.len() > 1 => {
                refuse("--against more than once needs a --sweep; that of one point is --sweep 64")
            }
            _ => Ok(()),
        }
    }
}

/// A server that is to be measured, as it was named.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// The name in curves and tables; without one of its own the URL without its scheme.
    pub name: String,
    pub target: Target,
}

impl Server {
    /// Parses `URL`, or `NAME=URL`.
    fn parse(text: &str) -> Result<Server, String> {
        let named = text.split_once('=').filter(|(name, _)| !name.contains(['/', '?', ':']));
        let target = Target::parse(named.map_or(text, |(_, url)| url))?;
        let name = match named {
            Some((name, _)) if name.trim().is_empty() => {
                return Err(format!("{text:?}: NAME=URL has no name"));
            }
            Some((name, _)) => name.trim().to_string(),
            None => text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/').to_string(),
        };
        Ok(Server { name, target })
    }
}

/// The number of processes that the rig has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Processes {
    /// The number that descriptors demand.
    Auto,
    Exactly(usize),
}

impl Processes {
    /// The number of connections that all processes may hold together, if one may hold `room`.
    pub fn room(self, room: usize) -> usize {
        match self {
            Processes::Auto => room.saturating_mul(PROCESSES_MAX),
            Processes::Exactly(count) => room.saturating_mul(count),
        }
    }

    /// The number of processes that it takes for these connections.
    fn count(self, connections: usize) -> usize {
        match self {
            Processes::Auto => connections.div_ceil(parts::room_of_process()).max(1),
            Processes::Exactly(count) => count,
        }
    }
}

impl FromStr for Processes {
    type Err = String;

    fn from_str(text: &str) -> Result<Processes, String> {
        match text.parse() {
            Ok(count @ 1..=PROCESSES_MAX) => Ok(Processes::Exactly(count)),
            _ if text == "auto" => Ok(Processes::Auto),
            _ => Err(format!("a number of processes is 1 to {PROCESSES_MAX}, or auto")),
        }
    }
}

/// The form in which figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Json,
    Csv,
}

/// A measurement to be made, with all options checked.
#[derive(Debug)]
pub(super) struct Plan {
    /// The servers that take turns; the first is that of the URL.
    pub servers: Vec<Server>,
    pub rounds: usize,
    pub load: Load,
    /// The numbers of connections that send requests, in a sweep.
    pub active: Option<Points>,
    /// The numbers of idle connections, in a sweep.
    pub idle: Option<Points>,
    pub form: Form,
    pub plot: Option<PathBuf>,
    pub report: Option<PathBuf>,
    pub processes: Processes,
    part: Option<String>,
    method: String,
    fields: Vec<String>,
    content: Vec<u8>,
}

/// The load to put on a server.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub connections: usize,
    pub idle: usize,
    pub slow_readers: usize,
    pub drip: usize,
    pub duration: Duration,
    pub warm_up: Duration,
    /// Requests a second; none for a closed loop.
    pub rate: Option<f64>,
    pub pipeline: usize,
    pub closes: bool,
    pub timeout: Duration,
    /// Addresses to connect from; none where the system chooses.
    pub sources: Vec<IpAddr>,
}

impl Load {
    /// The number of all connections together.
    pub fn total(&self) -> usize {
        [self.connections, self.idle, self.slow_readers, self.drip].into_iter().fold(0, usize::saturating_add)
    }
}

impl Plan {
    /// Turns options into a plan.
    ///
    /// # Errors
    /// Returns a sentence about the option that makes no sense.
    pub fn of(options: &BenchOptions) -> Result<Plan, String> {
        options.check_combination()?;
        let duration = if options.is_sweep() { DURATION_OF_SWEEP } else { DURATION };
        let load = Load {
            connections: options.connections.unwrap_or(CONNECTIONS),
            idle: options.idle,
            slow_readers: options.slow_readers,
            drip: options.drip,
            duration: options.duration.map_or(duration, Span::time),
            warm_up: options.warm_up.time(),
            rate: options.rate.map(Rate::per_second),
            pipeline: options.pipeline,
            closes: options.close,
            timeout: options.timeout.time(),
            sources: options.source.clone(),
        };
        let (active, idle) = (options.sweep.clone(), options.sweep_idle.clone());
        match options.is_sweep() {
            true => {
                loads(&load, active.as_ref(), idle.as_ref()).try_for_each(|(_, load)| check_load(&load))?
            }
            false => check_load(&load)?,
        }
        options.header.iter().try_for_each(|field| check_field(field))?;
        let content = options.body.as_deref().map(read_content).transpose()?.unwrap_or_default();
        let default = if options.body.is_some() { "POST" } else { "GET" };
        let method = options.method.as_deref().unwrap_or(default);
        if method.is_empty() || !method.bytes().all(is_token_byte) || method == "CONNECT" {
            return Err(format!("--method {method:?} is none that can be measured"));
        }
        if (content.len() as u64).saturating_mul(load.pipeline as u64) > BODY_BYTES_MAX {
            return Err("--body times --pipeline is more than 256 MiB".to_string());
        }
        let rounds = match options {
            _ if options.is_sweep() => options.rounds.unwrap_or(ROUNDS_OF_SWEEP),
            _ if options.against.is_empty() => 1,
            _ => options.rounds.unwrap_or(ROUNDS),
        };
        let plan = Plan {
            servers: servers(options)?,
            rounds,
            load,
            active,
            idle,
            form: match (options.json, options.csv) {
                (true, _) => Form::Json,
                (false, true) => Form::Csv,
                (false, false) => Form::Table,
            },
            plot: options.plot.clone(),
            report: options.report.clone(),
            processes: options.processes,
            part: options.part.clone(),
            method: method.to_string(),
            fields: options.header.clone(),
            content,
        };
        plan.part().transpose()?;
        Ok(plan)
    }

    /// Whether there is more than one point to measure.
    pub fn is_sweep(&self) -> bool {
        self.active.is_some() || self.idle.is_some()
    }

    /// Returns the load of each point of a sweep: first those that vary active connections, then those that vary
    /// idle ones.
    pub fn loads(&self) -> impl Iterator<Item = (Axis, Load)> {
        loads(&self.load, self.active.as_ref(), self.idle.as_ref())
    }

    /// The task of this process, if it is one of several that measure together.
    pub fn part(&self) -> Option<Result<Part, String>> {
        let part = Part::decode(self.part.as_ref()?, &self.load);
        Some(
            part.filter(|part| part.server < self.servers.len())
                .ok_or_else(|| "--part is no task".to_string()),
        )
    }

    /// Divides a load among as many processes as measure a server.
    pub fn parts(&self, server: usize, address: SocketAddr, load: &Load) -> Vec<Part> {
        let processes = self.processes.count(load.total());
        let sources = parts::sources(&load.sources, address, load.total(), processes);
        Part::divide(server, &Load { sources, ..load.clone() }, processes)
    }

    /// Encodes the request that goes to a server.
    pub fn request(&self, target: &Target) -> Request {
        Request::encode(target, &self.method, &self.fields, &self.content, &self.load)
    }
}

/// The kind of connections whose number varies in a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// Connections that send requests.
    Active,
    /// Connections that are silent, beside others that send requests.
    Idle,
}

fn loads(load: &Load, active: Option<&Points>, idle: Option<&Points>) -> impl Iterator<Item = (Axis, Load)> {
    let counts = |points: Option<&Points>| points.map(|points| points.counts().to_vec()).unwrap_or_default();
    let (load, other) = (load.clone(), load.clone());
    let active = counts(active).into_iter().map(move |connections| Load { connections, ..load.clone() });
    let idle = counts(idle).into_iter().map(move |idle| Load { idle, ..other.clone() });
    active.map(|load| (Axis::Active, load)).chain(idle.map(|load| (Axis::Idle, load)))
}

/// Takes the URLs of all servers. Two of the same name could not be told apart.
fn servers(options: &BenchOptions) -> Result<Vec<Server>, String> {
    let urls = std::iter::once(&options.url).chain(&options.against);
    let servers = urls.map(|url| Server::parse(url)).collect::<Result<Vec<_>, _>>()?;
    for (index, server) in servers.iter().enumerate() {
        if options.is_sweep() && servers[..index].iter().any(|other| other.name == server.name) {
            return Err(format!("two servers have the name {:?}: tell them apart by NAME=URL", server.name));
        }
    }
    Ok(servers)
}

fn check_load(load: &Load) -> Result<(), String> {
    let refuse = |why: &str| Err(why.to_string());
    match load {
        _ if load.total() == 0 => refuse("without connections there is nothing to measure"),
        _ if load.total() > 1 << 20 => refuse("that is more than a million connections"),
        Load { duration: Duration::ZERO, .. } => refuse("--duration 0 measures nothing"),
        Load { timeout: Duration::ZERO, .. } => refuse("--timeout 0 leaves no time for an answer"),
        Load { pipeline: 0, .. } => refuse("--pipeline 0 asks for nothing"),
        Load { pipeline: 2.., closes: true, .. } => {
            refuse("--close is one request a connection, and --pipeline several: choose one")
        }
        Load { rate: Some(rate), .. } if !(*rate > 0.0 && *rate <= 1e8) => {
            refuse("--rate is a number of requests a second, more than 0 and at most 100 million")
        }
        Load { rate: Some(_), connections: 0, .. } => refuse("--rate needs --connections that ask"),
        Load { .. } => Ok(()),
    }
}

/// Checks that a field reads `Name: value`, and is not one that the rig itself must send.
fn check_field(field: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("--header {field:?}: {why}"));
    let Some((name, value)) = field.split_once(':') else {
        return refuse("a field is 'Name: value'");
    };
    if name.is_empty() || !name.bytes().all(is_token_byte) || value.bytes().any(|b| b < b' ' && b != b'\t') {
        return refuse("a field is 'Name: value', in one line");
    }
    match &*name.to_ascii_lowercase() {
        "content-length" | "transfer-encoding" => refuse("the length follows from --body"),
        "connection" => refuse("the connection follows from --close"),
        _ => Ok(()),
    }
}

/// Whether a byte belongs to a token (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn read_content(body: &str) -> Result<Vec<u8>, String> {
    if let Some(size) = body.strip_prefix('@') {
        let size: Size = size.parse().map_err(|error| format!("--body {body:?}: {error}"))?;
        if size.bytes() > BODY_BYTES_MAX {
            return Err(format!("--body {body:?} is more than 256 MiB"));
        }
        return Ok(vec![b'x'; size.in_memory()]);
    }
    fs::read(body).map_err(|error| format!("--body {body:?} cannot be read: {error}"))
}
