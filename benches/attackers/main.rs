//! Measures what well-behaved clients notice of badly behaved ones, one kind of these after the other.
//!
//! ```text
//! cargo bench --bench attackers                          all of it, some four minutes
//! cargo bench --bench attackers -- heads uploads         these kinds only
//! cargo bench --bench attackers -- heads --rounds 9      more rounds than three
//! ```
//!
//! 32 good clients ask for a short answer again and again, each on a new connection after 256 requests: first alone,
//! then beside 1,000 attackers of one kind, in turns. What they keep is the median over the rounds of their requests a
//! second beside attackers, in proportion to those just before, alone. The longest answer is that of any of them
//! in any round, from the first attacker's coming to the last one's leaving; the wait for a new connection is part of it.
//!
//! | kind | what each attacker does | who is asked |
//! |---|---|---|
//! | `heads` | half a head, then a byte a second | the application in `server.rs` |
//! | `silent` | a connection, and not a byte | the same |
//! | `house` | as one or the other of these, and there are only 1,000 places | the same |
//! | `listings` | asks for a listing of 900 kB, eight times and once a second more, and reads nothing | `tidegate static` |
//! | `long` | asks for an answer without end, and reads nothing | the application |
//! | `contents` | a head, and a byte of content a second | the same |
//! | `uploads` | 500 kB, all of it or all but a byte; a reset ten seconds later, and again: 100 uploads a second | the same |
//! | `stuck` | asks for a view that never returns (504 after two seconds), and again; the pool has 1,024 places | the same |
//! | `pool` | the same, but the pool has 64 places: of who finds it full, everybody waits, and for a second at most | the same |
//!
//! Whoever is cut comes back within a second. nginx is asked the same where it has something like it: one worker, a
//! folder with `autoindex` and `dav_methods PUT`, everything else as it is by default.
//!
//! The server is a process of its own and has a core for itself; good clients and attackers share the others, so what
//! attackers need there is taken from the good clients, too, whatever server is asked.

mod bad;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../support/clients.rs"]
mod clients;
mod cores;
#[path = "../support/example.rs"]
#[allow(dead_code, reason = "the workbench is not attacked")]
mod example;
mod folder;
mod good;
#[path = "../support/nginx.rs"]
mod nginx;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../support/process.rs"]
mod process;
mod server;
#[allow(dead_code, reason = "other benches use the rest")]
#[path = "../support/table.rs"]
mod table;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bad::{Attack, Manner, Then};
use clients::request;
use cores::Cores;
use folder::Folder;
use good::{Fared, Good};
use process::{ServerProcess, allow_descriptors};
use table::{Goal, Row, median};

const GOOD: usize = 32;
const ATTACKERS: usize = 1_000;
const ROUNDS: usize = 3;
const ALONE: Duration = Duration::from_secs(1);
const BESIDE: Duration = Duration::from_secs(2);
/// The time within which all attackers have come.
const COMING: Duration = Duration::from_millis(1_200);
/// The time within which the first uploads have come, too, all of them at about the same time.
const UPLOADS_COMING: Duration = Duration::from_secs(4);
/// The time within which all of them have left, and the server has noticed.
const LEAVING: Duration = Duration::from_millis(500);
const UPLOAD_BYTES: usize = 500_000;
/// Places of nginx for connections, for kinds that set no number: as tidegate has by default.
const NGINX_PLACES: usize = 16_384;
/// Places that nginx takes itself, among others for its listening sockets.
const NGINX_OWN_PLACES: usize = 3;
/// Descriptors that this process and the servers need.
const DESCRIPTORS: u64 = 5_000;

/// Bounds that the good clients' figures must keep, and should.
const KEPT: [f64; 2] = [95.0, 99.0];
/// Bounds on the longest answer in milliseconds: what it may take, and what it should.
const LONGEST: [f64; 2] = [500.0, 100.0];
/// Bounds on the answer that there is no place: within a gateway's timeout, and half a second.
const LONGEST_IN_VAIN: [f64; 2] = [1_500.0, 1_100.0];

/// A kind of attackers.
struct Kind {
    name: &'static str,
    what: &'static str,
    manner: fn() -> Manner,
    own: Own,
    has_nginx: bool,
    coming: Duration,
    goals: [[f64; 2]; 2],
}

/// The way in which tidegate is started.
#[derive(Clone, Copy)]
enum Own {
    Folder,
    Application { connections: usize, places: usize },
}

const APPLICATION: Own = Own::Application { connections: 16_384, places: 1_024 };
const FULL_HOUSE: Own = Own::Application { connections: 1_000, places: 1_024 };
const FULL_POOL: Own = Own::Application { connections: 16_384, places: 64 };

const fn kind(
    name: &'static str,
    what: &'static str,
    manner: fn() -> Manner,
    own: Own,
    has_nginx: bool,
) -> Kind {
    Kind { name, what, manner, own, has_nginx, coming: COMING, goals: [KEPT, LONGEST] }
}

const KINDS: [Kind; 9] = [
    kind("heads", "heads that drip", heads, APPLICATION, true),
    kind("silent", "silent connections", silent, APPLICATION, true),
    kind("house", "both, 1,000 places for all", both, FULL_HOUSE, true),
    kind("listings", "listings of 900 kB, unread", listings, Own::Folder, true),
    kind("long", "answers without end, unread", long, APPLICATION, true),
    kind("contents", "contents that drip", contents, APPLICATION, true),
    Kind {
        coming: UPLOADS_COMING,
        ..kind("uploads", "100 abandoned uploads of 500 kB a second", uploads, APPLICATION, true)
    },
    kind("stuck", "stuck views, a pool of 1,024", stuck, APPLICATION, false),
    // Of those who find a full pool none is better than the others: nothing is kept, only told in time.
    Kind {
        goals: [[0.0, 0.0], LONGEST_IN_VAIN],
        ..kind("pool", "stuck views, a pool of 64", stuck, FULL_POOL, false)
    },
];

const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nX: ";

fn heads() -> Manner {
    Manner { openings: vec![HALF_HEAD.to_vec()], then: Then::Send(b"x".to_vec()) }
}

fn silent() -> Manner {
    Manner { openings: vec![Vec::new()], then: Then::Read }
}

fn both() -> Manner {
    Manner { openings: vec![HALF_HEAD.to_vec(), Vec::new()], then: Then::Read }
}

fn listings() -> Manner {
    Manner { openings: vec![request("/many/").repeat(8)], then: Then::Send(request("/many/")) }
}

fn long() -> Manner {
    Manner { openings: vec![request("/long")], then: Then::Send(request("/long")) }
}

fn contents() -> Manner {
    Manner { openings: vec![upload_head(100_000)], then: Then::Send(b"x".to_vec()) }
}

fn uploads() -> Manner {
    let upload = [upload_head(UPLOAD_BYTES), vec![b'x'; UPLOAD_BYTES]].concat();
    let almost = upload[..upload.len() - 1].to_vec();
    Manner { openings: vec![upload, almost], then: Then::Reset }
}

fn stuck() -> Manner {
    Manner { openings: vec![request("/stuck")], then: Then::Read }
}

fn upload_head(bytes: usize) -> Vec<u8> {
    format!("PUT /upload/a HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n").into_bytes()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, connections, places] = &arguments[..]
        && first == server::SERVE
    {
        return Ok(server::serve(connections.parse()?, places.parse()?)?);
    }
    let (wanted, rounds) = parse(arguments)?;
    if allow_descriptors(DESCRIPTORS) < DESCRIPTORS {
        return Err(format!("{DESCRIPTORS} descriptors are not allowed (ulimit -Hn)").into());
    }
    let bench = Bench { cores: Cores::divide()?, folder: Folder::new()?, rounds };
    let (mut kept, mut longest) = (Vec::new(), Vec::new());
    for kind in wanted {
        println!("{} …", kind.name);
        let [of_kept, of_longest] = bench.rows(kind);
        kept.push(of_kept);
        longest.push(of_longest);
    }
    println!("\nRequests a second that {GOOD} good clients keep beside {ATTACKERS} attackers:");
    table::print(&kept);
    println!("\nTheir longest answer:");
    table::print(&longest);
    Ok(())
}

/// Parses the kinds and the number of rounds.
fn parse(arguments: Vec<String>) -> Result<(Vec<&'static Kind>, usize), Box<dyn Error>> {
    let (mut wanted, mut rounds, mut arguments) = (Vec::new(), ROUNDS, arguments.into_iter());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo says that this is a bench.
            "--bench" => {}
            "--rounds" => {
                let count = arguments.next().and_then(|count| count.parse().ok()).filter(|count| *count > 0);
                rounds = count.ok_or("--rounds takes a number of rounds")?;
            }
            name => match KINDS.iter().find(|kind| kind.name == name) {
                Some(kind) => wanted.push(kind),
                None => {
                    let names = KINDS.map(|kind| kind.name).join(", ");
                    return Err(format!("there is no kind {name:?} of attackers; there are {names}").into());
                }
            },
        }
    }
    if wanted.is_empty() {
        wanted = KINDS.iter().collect();
    }
    Ok((wanted, rounds))
}

struct Bench {
    cores: Cores,
    folder: Folder,
    rounds: usize,
}

/// The figures of one server and one kind of attackers.
#[derive(Default)]
struct Found {
    /// The share of the requests a second that is kept, in percent.
    kept: f64,
    /// The share that is kept of the requests for each second that the server's process runs, in percent:
    /// other processes on the machine, the attackers among them, have no part in it.
    kept_by_cpu: f64,
    /// Requests a second.
    alone: f64,
    /// The longest answer in milliseconds.
    longest: f64,
    refused: u64,
    cuts: usize,
    /// The server's memory in bytes, at most.
    resident: u64,
}

impl Bench {
    /// Makes the rows for the requests that are kept, and for the longest answer.
    fn rows(&self, kind: &Kind) -> [Row; 2] {
        let [kept_goal, longest_goal] = kind.goals;
        let kept = Goal::at_least(kind.what, kept_goal[0], kept_goal[1], "%");
        let longest = Goal::at_most(kind.what, longest_goal[0], longest_goal[1], "ms");
        let own = match self.own(kind.own).and_then(|server| self.attack(&server, kind)) {
            Ok(own) => own,
            Err(error) => {
                let again = io::Error::new(error.kind(), error.to_string());
                return [kept.failed(error), longest.failed(again)];
            }
        };
        let nginx =
            kind.has_nginx.then(|| self.nginx(kind.own).and_then(|server| self.attack(&server, kind)));
        let (beside, waited) = match nginx {
            None => (String::new(), String::new()),
            Some(Ok(nginx)) => (
                format!("; nginx: {}", nginx.told_of_rates(Some(nginx.kept))),
                format!("; nginx: {:.0} ms, {}", nginx.longest, nginx.told_of_cuts()),
            ),
            Some(Err(error)) => (format!("; nginx: {error}"), String::new()),
        };
        [
            kept.measured(own.kept).note(own.told_of_rates(None) + &beside),
            longest.measured(own.longest).note(own.told_of_cuts() + &waited),
        ]
    }

    fn own(&self, own: Own) -> io::Result<ServerProcess> {
        let mut command = match own {
            Own::Folder => {
                let mut command = self.cores.command(example::program()?);
                command.args(["--bind", "127.0.0.1:0", "static"]).arg(self.folder.root());
                command
            }
            Own::Application { connections, places } => {
                let mut command = self.cores.command(std::env::current_exe()?);
                command.args([server::SERVE, &connections.to_string(), &places.to_string()]);
                command
            }
        };
        ServerProcess::start(&mut command)
    }

    /// Starts nginx with as many places as tidegate has, and some for what nginx counts besides.
    fn nginx(&self, own: Own) -> io::Result<ServerProcess> {
        let places = match own {
            Own::Application { connections, .. } => connections + NGINX_OWN_PLACES,
            Own::Folder => NGINX_PLACES,
        };
        let of_server = "location / { autoindex on; } location /upload/ { dav_methods PUT; }";
        let directives = nginx::Directives { connections: places, of_events: "", of_server };
        let (folder, root) = (self.folder.path(), self.folder.root());
        nginx::start(folder, &root, directives, |program| self.cores.command(program))
    }

    fn attack(&self, server: &ServerProcess, kind: &Kind) -> io::Result<Found> {
        let (address, manner) = (server.address, Arc::new((kind.manner)()));
        let mut good = Good::meet(address, GOOD)?;
        let (mut kept, mut kept_by_cpu, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        let mut found = Found::default();
        for _ in 0..self.rounds {
            let (fared_alone, cpu_alone) = on_cpu(server, &mut good, ALONE)?;
            let attack = Attack::start(address, ATTACKERS, manner.clone());
            let coming = good.ask_for(kind.coming)?;
            let (beside, cpu_beside) = on_cpu(server, &mut good, BESIDE)?;
            found.resident = found.resident.max(server.resident()?.all);
            attack.call_off();
            let leaving = good.ask_for(LEAVING)?;
            found.cuts += attack.end()?;
            found.count(&[coming, beside, leaving]);
            let per_cpu = |fared: &Fared, cpu: Duration| fared.answered as f64 / cpu.as_secs_f64();
            kept.push(100.0 * beside.rate() / fared_alone.rate());
            kept_by_cpu.push(100.0 * per_cpu(&beside, cpu_beside) / per_cpu(&fared_alone, cpu_alone));
            alone.push(fared_alone.rate());
        }
        (found.kept, found.kept_by_cpu, found.alone) = (median(kept), median(kept_by_cpu), median(alone));
        Ok(found)
    }
}

/// Lets the good clients ask for this long, and returns how long the server's process ran meanwhile.
fn on_cpu(server: &ServerProcess, good: &mut Good, length: Duration) -> io::Result<(Fared, Duration)> {
    let before = server.cpu()?;
    let fared = good.ask_for(length)?;
    Ok((fared, server.cpu()? - before))
}

impl Found {
    fn count(&mut self, whiles: &[Fared]) {
        for fared in whiles {
            self.refused += fared.refused;
            self.longest = self.longest.max(fared.longest.as_secs_f64() * 1e3);
        }
    }

    fn told_of_rates(&self, kept: Option<f64>) -> String {
        let kept = kept.map(|kept| format!("{kept:.1} % ")).unwrap_or_default();
        let (by_cpu, resident) = (self.kept_by_cpu, self.resident as f64 / 1e6);
        format!("{kept}of {:.0} a second; {by_cpu:.1} % by CPU time; RSS {resident:.0} MB", self.alone)
    }

    fn told_of_cuts(&self) -> String {
        format!("{} good requests in vain, {} attackers cut", self.refused, self.cuts)
    }
}
