//! The program `tidegate`: from the command line to a running server.
//!
//! It is a library for those who embed the program as a whole: the package `tidegate-cli`, which is no more than its `main`,
//! and the Python package, which has further options ([`Extension`]). It promises nothing to others: what it does is in the package `tidegate`.
//!
//! ```text
//! arguments ──parse──▶ Options ──run──▶ gateway (welcome | static files) ─┐
//!                         │        ──▶ limits, descriptors ───────────────┼─▶ bind ─▶ announce ─▶ serve
//!                         ▼        ──▶ logger, access log, signals ───────┘               │
//!                      Refusal (help, version, what is wrong) ──▶ exit status ◀───────────┘
//! ```
//!
//! `tidegate bench` serves nothing: it asks other servers (the package `tidegate-bench`). `tidegate explain` serves itself.

mod console;
mod descriptors;
mod environment;
mod explain;
mod folder;
mod heap;
mod log_place;
mod options;
mod precompress;
mod privileges;
mod signals;
mod sockets;
mod welcome;

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

pub use tidegate_bench::{Size, Span};
pub use tidegate_status::{Facts, PoolState, StatusServer};

pub use self::console::{finish, print, say};
pub use self::descriptors::{make_room_beside, make_room_for};
pub use self::environment::Lookup;
pub use self::folder::{BesideFolders, FolderOptions, Mount, Mounts, parse_mount};
pub use self::heap::{give_back, keep_what_is_free, share_one_heap};
pub use self::log_place::LogPlace;
pub use self::options::{Extension, NoExtension, Options, Others, Refusal, parse, parse_with};
pub use self::sockets::{bind, give_away, give_log_away};

use tidegate::access_log::AccessLog;
use tidegate::gateway::Gateway;
use tidegate::limits::Limits;
use tidegate::server::Listener;
use tidegate::{BoundServer, ListenAddress, Server};
use tidegate_logs::{CombinedLog, JsonLog, LineQueue, LogFile, ReopenHandle};
use tidegate_status::Explainer;

use self::folder::Site;
use self::log_place::{Severity, Syslog};
use self::options::{AccessLogFormat, Command};
use self::signals::{Again, ProgramSignals};

/// The name of the access log in messages.
pub const ACCESS_LOG: &str = "the access log";

/// Exit status of a program that has served and was shut down.
pub const EXIT_DONE: u8 = 0;
/// Exit status when the system refuses something.
pub const EXIT_FAILED: u8 = 1;
/// Exit status when the command line makes no sense.
pub const EXIT_USAGE: u8 = 2;

/// Runs the whole program: from the arguments of the process to its exit status.
pub fn main() -> ExitCode {
    let status = match parse::<NoExtension>(env::args_os()) {
        Ok((options, _)) => run(&options),
        Err(refusal) => refusal.print(),
    };
    ExitCode::from(status)
}

/// Carries out the command line, and returns the exit status. The options of an extension are its own affair.
pub fn run(options: &Options) -> u8 {
    let _finish = FinishLog;
    if let Err(error) = options.prepare_process() {
        say(&format!("tidegate: {error}"));
        return EXIT_FAILED;
    }
    let done = match options.command() {
        Some(Command::Bench(options)) => tidegate_bench::run(options, make_room_for),
        Some(Command::Explain(options)) => explain::run(options),
        Some(Command::Precompress { folder, options }) => {
            precompress::run(folder, options).map(|done| say(&done))
        }
        Some(Command::Static { folder, options: of_folder, .. }) => serve(options, Some((folder, of_folder))),
        None => serve(options, None),
    };
    match done {
        Ok(()) => EXIT_DONE,
        Err(reason) => {
            say(&format!("tidegate: {reason}"));
            EXIT_FAILED
        }
    }
}

/// Flushes the log when the program ends, however that happens.
struct FinishLog;

impl Drop for FinishLog {
    fn drop(&mut self) {
        finish();
    }
}

/// Serves a folder or the welcome application until it is shut down. An error is one sentence.
fn serve(options: &Options, folder: Option<(&Path, &FolderOptions)>) -> Result<(), String> {
    let what =
        folder.map_or("the welcome application".to_string(), |(folder, _)| folder.display().to_string());
    // Tried once, so that what is wrong with the folder is said before anything is served.
    let site = folder.map(|(folder, rules)| Site::new(folder, rules, options.reactors())).transpose()?;
    let gateway = |_: usize| match &site {
        None => Ok(Box::new(welcome::Welcome) as Box<dyn Gateway>),
        Some(site) => site.gateway(),
    };
    if options.only_checks() {
        options.identity()?;
        say("tidegate: nothing is wrong with options and files");
        return Ok(());
    }
    let mut limits = options.limits().clone();
    let kept = || site.as_ref().map_or(0, Site::descriptors_kept_max);
    limits.connections_max = make_room_beside(limits.connections_max, kept);
    // From here on a signal is an event, even if it comes before the server does.
    let signals = ProgramSignals::install().map_err(|error| error.to_string())?;
    let (server, log) = server(options, limits).map_err(|error| error.to_string())?;
    let bind = |server: Server, address| Ok(server.listener(bind(options, address)?));
    let server = options.addresses().iter().try_fold(server, bind).map_err(with_way_out)?;
    let mut server = server.reactors(options.reactors()).bind().map_err(with_way_out)?;
    let facts = |addresses| facts(&what, site.as_ref(), addresses);
    let _status = show_status(options, &mut server, None, facts).map_err(with_way_out)?;
    sockets::give_away(options, &server.addresses())?;
    options.become_user()?;
    let again = Again { folder: site.as_ref().map(Site::reopening), log, errors: options.log_file() };
    signals.forward_to(server.handle(), again).map_err(|error| error.to_string())?;
    announce(&server.addresses(), &what);
    let served = match options.explain() {
        None => server.run_each(gateway),
        Some(connections) => gateway(0).and_then(|gateway| explained(server, gateway, connections)),
    };
    served.map_err(|error| error.to_string())
}

/// Serves, and tells on stdout what the event loop does for the first few connections. Nobody waits for the reader.
fn explained(server: BoundServer, gateway: Box<dyn Gateway>, connections: u64) -> io::Result<()> {
    let lines = LineQueue::new("the explanation", stdout()?)?;
    let explainer = Explainer::new(move |told| lines.append(told.as_bytes()));
    server.run_witnessed(explainer.gateway(gateway), connections, explainer.witness())
}

/// Says what is served, and by which threads beside the loops.
fn facts(what: &str, site: Option<&Site<'_>>, addresses: Vec<String>) -> Facts {
    let facts = Facts::new(what, addresses);
    match site.and_then(Site::users) {
        Some(users) => facts.pool("passwords", move || users.state()),
        None => facts,
    }
}

/// Binds the address on which one of several workers is shown, from 0: the address of `--status` for the first, the ports
/// after it for the others, or its path with their number. A unix socket is given to those who the options say.
///
/// # Errors
/// Returns the error when there is no such address, or when it cannot be bound, or not be given away.
pub fn bind_status(options: &Options, worker: u16) -> io::Result<Option<Listener>> {
    let Some(address) = options.status() else { return Ok(None) };
    let address = status_address(address, worker).map_err(io::Error::other)?;
    let listener = Listener::bind(&address)?;
    give_away(options, &[listener.address()]).map_err(io::Error::other)?;
    Ok(Some(listener))
}

/// The address on which a worker is shown, from 0.
///
/// # Errors
/// Returns a sentence when there is none.
pub fn status_address(first: &ListenAddress, worker: u16) -> Result<ListenAddress, String> {
    match first {
        _ if worker == 0 => Ok(first.clone()),
        ListenAddress::Tcp(address) if address.port() == 0 => Ok(first.clone()),
        ListenAddress::Tcp(address) => {
            let mut address = *address;
            let port = address.port().checked_add(worker);
            address.set_port(port.ok_or("--status needs a port for each of --workers, one after the other")?);
            Ok(ListenAddress::Tcp(address))
        }
        ListenAddress::Unix(path) => {
            let mut path = path.clone().into_os_string();
            path.push(format!(".{}", worker + 1));
            Ok(ListenAddress::Unix(path.into()))
        }
        ListenAddress::Descriptor(_) => {
            Err("--status takes a port or a path with --workers: each has one of its own".to_string())
        }
    }
}

/// Shows the server for as long as the result lives: on a listener that was [bound](bind_status) for it, else on the address
/// of `--status`, if there is one. `facts` says what is shown beside its loops.
///
/// # Errors
/// Returns the error when the address cannot be bound, or its socket not be given away.
pub fn show_status(
    options: &Options,
    server: &mut BoundServer,
    listener: Option<Listener>,
    facts: impl FnOnce(Vec<String>) -> Facts,
) -> io::Result<Option<StatusServer>> {
    let Some(listener) = listener.map_or_else(|| bind_status(options, 0), |listener| Ok(Some(listener)))?
    else {
        return Ok(None);
    };
    let addresses = server.addresses().iter().map(ListenAddress::to_string).collect();
    let status = StatusServer::start_on(listener, server.observer(), facts(addresses))?;
    say(&format!("tidegate shows its status on {}", status.address()));
    Ok(Some(status))
}

/// Says what can be done where an address cannot be had.
fn with_way_out(error: io::Error) -> String {
    let way_out = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; something listens there already: choose another with --listen :8001, or a free one with :0"
        }
        io::ErrorKind::PermissionDenied if error.to_string().contains("http://") => {
            "; ports below 1024 are root's: choose another with --listen :8080, or allow this one with \
             \"setcap cap_net_bind_service=+ep\" on the program"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this machine has no such address: --listen :PORT is all that it has"
        }
        _ => "",
    };
    format!("{error}{way_out}")
}

/// Makes a server with these limits and the access log of the options, without an address yet.
fn server(options: &Options, limits: Limits) -> io::Result<(Server, Option<ReopenHandle>)> {
    keep_what_is_free();
    let server = Server::new().limits(limits).at_low_tide(give_back);
    Ok(match access_log(options)? {
        Some((log, handle)) => (server.access_log(log), handle),
        None => (server, None),
    })
}

/// An access log, and the handle that reopens its file if it has one.
pub type OpenLog = (Box<dyn AccessLog + Send>, Option<ReopenHandle>);

/// Makes the log of `--access-log` and `--access-log-file`.
///
/// # Errors
/// Returns the error when stdout is closed, when the file cannot be written, or when the system grants no thread to write to
/// it.
pub fn access_log(options: &Options) -> io::Result<Option<OpenLog>> {
    let format = options.access_log();
    if format == AccessLogFormat::Off {
        return Ok(None);
    }
    let (lines, handle) = access_log_lines(options.access_log_place().unwrap_or(&LogPlace::Stream))?;
    let log: Box<dyn AccessLog + Send> = match format {
        AccessLogFormat::Json => Box::new(JsonLog::new(lines)),
        AccessLogFormat::Combined | AccessLogFormat::Off => Box::new(CombinedLog::new(lines)),
    };
    Ok(Some((log, handle)))
}

/// Opens the place of an access log. The handle reopens the file, if it is one.
///
/// # Errors
/// Returns the same errors as [`access_log`].
pub fn access_log_lines(place: &LogPlace) -> io::Result<(LineQueue, Option<ReopenHandle>)> {
    match place {
        LogPlace::Stream => Ok((stdout_lines()?, None)),
        LogPlace::File(path) => {
            let file = LogFile::open(path).map_err(|error| {
                let path = path.display();
                io::Error::new(error.kind(), format!("cannot write the access log to {path}: {error}"))
            })?;
            let handle = file.handle();
            // It may be a FIFO, or on a disk that hangs.
            Ok((LineQueue::new(ACCESS_LOG, file)?, Some(handle)))
        }
        LogPlace::Syslog(socket) => {
            let syslog = Syslog::connect(socket.clone(), Severity::INFO)?;
            Ok((LineQueue::new(ACCESS_LOG, syslog)?, None))
        }
    }
}

/// Opens stdout for an access log. The standard library's own would keep lines that it could not write.
///
/// # Errors
/// Returns the error when stdout is closed, or when the system grants no thread to write to it.
pub fn stdout_lines() -> io::Result<LineQueue> {
    LineQueue::new(ACCESS_LOG, stdout()?)
}

/// Opens stdout once more.
fn stdout() -> io::Result<File> {
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

/// Tells the operator where something is served, one line an address.
pub fn announce(addresses: &[ListenAddress], what: &str) {
    for address in addresses {
        say(&format!("tidegate serves {what} on {address} (Ctrl-C stops)"));
    }
}
