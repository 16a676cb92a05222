//! The options of `tidegate bench`, and the [`Plan`] that they amount to once they are checked.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::request::Request;
use super::target::Target;
use crate::units::{Rate, Size, Span};

/// Turns of each server in a comparison. 5: an odd number has a middle, and one bad turn among five does no
/// harm.
const ROUNDS: usize = 5;
/// Longest content of a request: it is kept in memory, once for each request of a pipeline.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// The options of `tidegate bench`.
#[derive(Args, Debug)]
pub struct BenchOptions {
    /// The URL to request: http://HOST[:PORT]/PATH
    #[arg(value_name = "URL")]
    url: String,
    /// Connections that send requests
    #[arg(long, short, value_name = "COUNT", default_value = "64")]
    connections: usize,
    /// Further connections that make one request each and then stay silent
    #[arg(long, value_name = "COUNT", default_value = "0")]
    idle: usize,
    /// How long to measure
    #[arg(long, short, value_name = "TIME", default_value = "10s")]
    duration: Span,
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
    /// How long an answer may take before its connection is given up
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: Span,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Draw the distribution of latencies into an SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Another server to compare with: both are measured in turns
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// Turns that each of two servers gets [default: 5]
    #[arg(long, value_name = "COUNT", requires = "against")]
    rounds: Option<usize>,
}

/// A measurement to be made, with all options checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub target: Target,
    pub against: Option<Target>,
    pub rounds: usize,
    pub load: Load,
    pub json: bool,
    pub plot: Option<PathBuf>,
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
        let load = Load {
            connections: options.connections,
            idle: options.idle,
            slow_readers: options.slow_readers,
            drip: options.drip,
            duration: options.duration.time(),
            warm_up: options.warm_up.time(),
            rate: options.rate.map(Rate::per_second),
            pipeline: options.pipeline,
            closes: options.close,
            timeout: options.timeout.time(),
        };
        check_load(&load)?;
        if options.rounds == Some(0) {
            return Err("--rounds 0 measures nothing".to_string());
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
        Ok(Plan {
            target: Target::parse(&options.url)?,
            against: options.against.as_deref().map(Target::parse).transpose()?,
            rounds: options.against.as_ref().map_or(1, |_| options.rounds.unwrap_or(ROUNDS)),
            load,
            json: options.json,
            plot: options.plot.clone(),
            method: method.to_string(),
            fields: options.header.clone(),
            content,
        })
    }

    /// Encodes the request that goes to a server.
    pub fn request(&self, target: &Target) -> Request {
        Request::encode(target, &self.method, &self.fields, &self.content, &self.load)
    }
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
