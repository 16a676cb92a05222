//! The server, ready to use: addresses, limits, and an application.
//!
//! ```no_run
//! use tidegate::limits::Limits;
//! use tidegate::Server;
//!
//! let server = Server::new()
//!     .listen("127.0.0.1:8000".parse()?)
//!     .listen("unix:/run/tidegate.sock".parse()?)
//!     .limits(Limits { body_bytes_max: 1 << 20, ..Limits::default() })
//!     .bind()?;
//! for address in server.addresses() {
//!     println!("listening on {address}");
//! }
//! let handle = server.handle();
//! std::thread::spawn(move || {
//!     // … and when the time has come:
//!     handle.drain();
//! });
//! server.serve(|environ, start_response| {
//!     start_response.status(200).field("Content-Type", "text/plain").send(environ.path())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Testing your application
//!
//! Over a real socket: port 0 is a free one, and `addresses` tells which.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::thread;
//!
//! use tidegate::{Body, Environ, GatewayError, Server, StartResponse};
//!
//! fn application(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
//!     start_response.status(200).send(environ.path())
//! }
//!
//! let server = Server::new().listen("127.0.0.1:0".parse()?).bind()?;
//! let address = server.addresses()[0].socket_addr().ok_or("a unix socket")?;
//! let handle = server.handle();
//! let running = thread::spawn(move || server.run(application));
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"GET /tide HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n/tide"));
//!
//! handle.stop();
//! running.join().expect("the server has panicked")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Without a socket, a thread or a clock: [`ByHand`](crate::conversation::ByHand) takes bytes and gives bytes, and time
//! passes when it is told so. Timeouts are tested without waiting for them.
//!
//! ```
//! use std::time::Duration;
//!
//! use tidegate::conversation::ByHand;
//! use tidegate::{Environ, StartResponse};
//!
//! let mut hand = ByHand::new(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
//!     let tomorrow = environ.now() + Duration::from_secs(86_400);
//!     Ok(start_response.at(tomorrow, |start_response| start_response.status(200).send("Good morning")))
//! });
//! hand.receive(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
//! assert!(hand.transmit_all().is_empty());
//! hand.pass(Duration::from_secs(86_400));
//! assert!(hand.transmit_all().ends_with(b"\r\n\r\nGood morning"));
//! ```

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::conversation::{AccessLog, ExchangeRecord, Wanted};
use crate::gateway::{Body, Environ, Gateway, GatewayError, LoopHooks, ServerInfo, StartResponse};
use crate::limits::{InvalidLimit, Limits};
pub use crate::reactor::{
    Act, BUCKETS, BudgetSnapshot, Cause, ConnectionSnapshot, Counters, EventSource, GuestLoop, Histogram,
    InterestState, InvalidAddress, ListenAddress, Listener, ListenerSnapshot, MemorySnapshot, Names,
    Observer, Operation, OurSideState, QueuesSnapshot, SeenEvent, ServerHandle, Snapshot, Step, SystemCall,
    Witness, spool_bytes_by_default,
};
use crate::reactor::{BoundLoop, Settings};

/// Most addresses of one server. 1,024: more than anybody listens on.
const LISTENERS_MAX: usize = 1024;
/// Most event loops of one server. 1,024: more processors than a machine has.
const REACTORS_MAX: usize = 1024;

/// Serves an application on one address until the process ends: the shortest way.
///
/// ```no_run
/// tidegate::serve("127.0.0.1:8000", |_environ, start_response| {
///     start_response.status(200).field("Content-Type", "text/plain").send("Hello, World!")
/// })
/// .unwrap();
/// ```
///
/// Messages go to the [log](crate#logs), such as `serving on http://127.0.0.1:8000/` at level `info`. Signals
/// are left alone: by default Ctrl-C ends the process at once, with whatever is in flight. To finish that
/// first, let a thread that handles signals have a [`ServerHandle`], which shows how.
///
/// # Errors
/// Returns the error when the address is invalid, or cannot be bound.
pub fn serve<F>(address: &str, application: F) -> io::Result<()>
where
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Result<Body, GatewayError>,
{
    Server::new().listen(address.parse()?).bind()?.serve(application)
}

/// A server that is being described: its addresses, its limits, its access log. [`bind`](Server::bind) makes one that can
/// run.
#[derive(Default)]
pub struct Server {
    endpoints: Vec<Endpoint>,
    settings: Settings,
    access_log: Option<Box<dyn AccessLog + Send>>,
    /// The number of reactors beyond the first, so that the default is one.
    more_reactors: usize,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("endpoints", &self.endpoints)
            .field("limits", &self.settings.limits)
            .field("info", &self.settings.server)
            .field("reactors", &(self.more_reactors + 1))
            .finish_non_exhaustive()
    }
}

/// A place where a server listens.
#[derive(Debug)]
enum Endpoint {
    /// An address that the server binds.
    Address(ListenAddress),
    /// A socket that is bound already.
    Bound(Listener),
}

impl Server {
    /// Makes a server without an address, with the default limits.
    pub fn new() -> Server {
        Server::default()
    }

    /// Adds an address to listen on: a text that is parsed, or a [`SocketAddr`](std::net::SocketAddr) with `.into()`.
    pub fn listen(mut self, address: ListenAddress) -> Server {
        self.endpoints.push(Endpoint::Address(address));
        self
    }

    /// Adds a socket that is bound already.
    pub fn listener(mut self, listener: Listener) -> Server {
        self.endpoints.push(Endpoint::Bound(listener));
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Server {
        self.settings.limits = limits;
        self
    }

    /// Sets the facts that applications and clients are told about the server.
    pub fn info(mut self, info: ServerInfo) -> Server {
        self.settings.server = info;
        self
    }

    /// Sets the log that records each exchange.
    pub fn access_log(mut self, log: impl AccessLog + Send + 'static) -> Server {
        self.access_log = Some(Box::new(log));
        self
    }

    /// Lets a finished response wait for others of the same turn of the loop, so that all are written
    /// together: no call of the application begins while one has waited for longer than `hold_max`, so
    /// it is late by that and one call at most. Pieces of streams never wait.
    ///
    /// Zero, the default, writes each at once. Half a millisecond saves up to a third of the CPU time
    /// where a call takes far longer than a write, as with frameworks in Python; where it takes no longer,
    /// it saves nothing.
    pub fn hold_responses(mut self, hold_max: Duration) -> Server {
        self.settings.hold_max = hold_max;
        self
    }

    /// Calls `act` when much of the memory that requests and responses have taken has been free for a second. It runs on
    /// the thread of the event loop, between turns.
    ///
    /// Allocators keep what is freed, in case it is needed again: after a burst of uploads an idle server may
    /// hold tens of megabytes. Only the program that has chosen the allocator knows how it gives them back; glibc has
    /// `malloc_trim`, which the program `tidegate` calls.
    pub fn at_low_tide(mut self, act: impl Fn() + Send + Sync + 'static) -> Server {
        self.settings.at_low_tide = Arc::new(act);
        self
    }

    /// Runs several event loops, on a thread each, with its own connections and its own gateway: see
    /// [`BoundServer::run_each`]. Each listens on a socket of its own where the system shares connections
    /// out between them (Linux). Bounds of all connections together are divided among the loops.
    ///
    /// One is the default, and enough until it has a processor of its own to fill.
    pub fn reactors(mut self, count: usize) -> Server {
        self.more_reactors = count.saturating_sub(1);
        self
    }

    /// Binds every address. From now on clients can connect, and wait until the server runs.
    ///
    /// # Errors
    /// Returns the error of the system when an address cannot be bound; or [`InvalidServer`], of the kind
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), when the description makes no sense.
    pub fn bind(self) -> io::Result<BoundServer> {
        let mut settings = self.settings;
        settings.limits.check().map_err(InvalidServer::Limit)?;
        if self.endpoints.is_empty() {
            return Err(InvalidServer::NoAddress.into());
        }
        if self.endpoints.len() > LISTENERS_MAX {
            return Err(InvalidServer::Addresses.into());
        }
        let bind = |place| match place {
            Endpoint::Address(address) => Listener::bind(&address),
            Endpoint::Bound(listener) => Ok(listener),
        };
        let listeners = self.endpoints.into_iter().map(bind).collect::<io::Result<Vec<_>>>()?;
        let count = self.more_reactors + 1;
        if count > REACTORS_MAX {
            return Err(InvalidServer::Reactors.into());
        }
        settings.limits = settings.limits.divided(count);
        // All that one reactor has was checked before.
        settings.limits.check().map_err(|limit| InvalidServer::LimitOfEach { count, limit })?;
        let mut logs = shared_out(self.access_log, count);
        let mut sets = Vec::with_capacity(count);
        for _ in 1..count {
            sets.push(listeners.iter().map(Listener::sibling).collect::<io::Result<Vec<_>>>()?);
        }
        sets.insert(0, listeners);
        let new_loop = |listeners| {
            let log = logs.pop().flatten();
            BoundLoop::new(listeners, settings.clone(), log)
        };
        let mut loops = sets.into_iter().map(new_loop).collect::<io::Result<Vec<_>>>()?;
        BoundLoop::join(&mut loops);
        Ok(BoundServer { loops })
    }
}

/// The reason why a server cannot be as it was described.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum InvalidServer {
    /// The server has no address to listen on.
    NoAddress,
    /// The server has more than 1,024 addresses.
    Addresses,
    /// The server has more than 1,024 reactors.
    Reactors,
    /// A limit makes no sense.
    Limit(InvalidLimit),
    /// A limit makes no sense where several reactors share it.
    LimitOfEach {
        /// The number of reactors.
        count: usize,
        /// The error in the share of each.
        limit: InvalidLimit,
    },
    /// The server has several reactors, and a gateway for one: [`BoundServer::run_each`] makes one for each.
    OneGateway,
}

impl fmt::Display for InvalidServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidServer::NoAddress => {
                write!(f, "no address to listen on: call `Server::listen` (1 to {LISTENERS_MAX} of them)")
            }
            InvalidServer::Addresses => write!(f, "a server has 1 to {LISTENERS_MAX} addresses"),
            InvalidServer::Reactors => write!(f, "a server has 1 to {REACTORS_MAX} reactors"),
            InvalidServer::Limit(limit) => limit.fmt(f),
            InvalidServer::LimitOfEach { count, limit } => write!(f, "for each of {count} reactors, {limit}"),
            InvalidServer::OneGateway => write!(f, "several reactors need a gateway each"),
        }
    }
}

/// Says the same as [`Display`](fmt::Display): `main` shows the error that it returns in this form.
impl fmt::Debug for InvalidServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for InvalidServer {}

impl From<InvalidServer> for io::Error {
    fn from(invalid: InvalidServer) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, invalid)
    }
}

/// A server whose addresses are bound.
pub struct BoundServer {
    /// The event loops, one at least.
    loops: Vec<BoundLoop>,
}

impl fmt::Debug for BoundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundServer").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl BoundServer {
    /// The addresses, with the real ports.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.loops[0].listeners().iter().map(Listener::address).collect()
    }

    /// Returns a handle that shuts the server down from another thread.
    pub fn handle(&self) -> ServerHandle {
        self.loops[0].handle()
    }

    /// Returns an observer of this server: from now on it counts its turns and exchanges, and answers questions for
    /// its state between two turns. That costs a few readings of the clock in a turn; a server without an observer
    /// pays nothing.
    pub fn observer(&mut self) -> Observer {
        BoundLoop::observer(&mut self.loops)
    }

    /// Serves until it is shut down.
    ///
    /// A closure that is given to `run` needs the types of its parameters, since [`Gateway`] is implemented by other
    /// types, too; [`serve`](BoundServer::serve) infers them:
    ///
    /// ```no_run
    /// # use tidegate::{Environ, Server, StartResponse};
    /// # let bound = || Server::new().listen("127.0.0.1:8000".parse()?).bind();
    /// bound()?.run(|_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("low"))?;
    /// bound()?.serve(|_, start_response| start_response.status(200).send("tide"))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns the error when waiting for events fails; nothing that a client or the application does ends a
    /// server. A server with several reactors needs a gateway for each, and is refused: see
    /// [`BoundServer::run_each`].
    pub fn run(self, gateway: impl Gateway) -> io::Result<()> {
        self.into_only()?.run(Box::new(gateway), None)
    }

    /// Serves as [`BoundServer::run`] does, with hooks in the event loop: see [`LoopHooks`].
    ///
    /// # Errors
    /// Returns the same errors as [`BoundServer::run`].
    pub fn run_with_hooks(self, gateway: impl Gateway, hooks: impl LoopHooks) -> io::Result<()> {
        self.into_only()?.run(Box::new(gateway), Some(Box::new(hooks)))
    }

    /// Serves as [`BoundServer::run`] does, before a witness, who sees what the loop does for the first few
    /// connections: each system call, and the states before and after it. Later connections have no witness. The loop
    /// waits for the witness, and a panic of the witness ends it.
    ///
    /// ```no_run
    /// use tidegate::Server;
    /// use tidegate::now::Moment;
    /// use tidegate::server::Act;
    /// # use tidegate::{Environ, StartResponse};
    ///
    /// let server = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
    /// # let gateway = |_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("");
    /// server.run_witnessed(gateway, 1, |connection: Option<u64>, at: Moment, act: &Act<'_>| {
    ///     println!("{connection:?} {at:?} {act:?}");
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns the same errors as [`BoundServer::run`].
    pub fn run_witnessed(
        self,
        gateway: impl Gateway,
        connections: u64,
        witness: impl Witness,
    ) -> io::Result<()> {
        self.into_only()?.run_witnessed(Box::new(gateway), connections, Box::new(witness))
    }

    /// Serves in somebody else's event loop, which waits and gives turns: see [`GuestLoop`].
    ///
    /// # Errors
    /// Returns the errors of [`BoundServer::run`]; and the error when no descriptor is left, or when the
    /// system has none that can be polled for events, as systems without epoll or kqueue.
    pub fn into_loop<'g>(self, gateway: impl Gateway + 'g) -> io::Result<GuestLoop<'g>> {
        GuestLoop::new(self.into_only()?, Box::new(gateway))
    }

    /// Returns the only event loop.
    fn into_only(mut self) -> io::Result<BoundLoop> {
        self.log_addresses();
        match (self.loops.pop(), &self.loops[..]) {
            (Some(only), []) => Ok(only),
            _ => Err(InvalidServer::OneGateway.into()),
        }
    }

    /// Serves with every reactor until all are shut down: the first on this thread, the others on threads
    /// of their own. `gateway` makes the gateway of each, on its thread, from its number.
    ///
    /// ```no_run
    /// use tidegate::{Environ, Server, StartResponse};
    ///
    /// let server = Server::new().listen("127.0.0.1:8000".parse()?).reactors(4).bind()?;
    /// server.run_each(|number| {
    ///     Ok(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
    ///         start_response.status(200).send(format!("from reactor {number}"))
    ///     })
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns the errors of [`BoundServer::run`], the error of `gateway`, or that of a system that has no
    /// thread left. An error of one reactor ends all.
    pub fn run_each<G, F>(self, gateway: F) -> io::Result<()>
    where
        G: Gateway,
        F: Fn(usize) -> io::Result<G> + Sync,
    {
        self.log_addresses();
        let gateway = &gateway;
        let run = |number: usize, event_loop: BoundLoop| {
            let others = StopOthers(event_loop.handle());
            let ran = gateway(number).and_then(|gateway| event_loop.run(Box::new(gateway), None));
            if ran.is_ok() {
                std::mem::forget(others);
            }
            ran
        };
        std::thread::scope(|scope| {
            let mut loops = self.loops.into_iter().enumerate();
            let first = loops.next();
            let spawn = |(number, event_loop): (usize, BoundLoop)| {
                let others = StopOthers(event_loop.handle());
                let thread = std::thread::Builder::new().name(format!("reactor-{number}"));
                let spawned = thread.spawn_scoped(scope, move || run(number, event_loop));
                if spawned.is_ok() {
                    std::mem::forget(others);
                }
                spawned
            };
            let threads: Vec<_> = loops.map(spawn).collect();
            let mut result = first.map_or(Ok(()), |(number, event_loop)| run(number, event_loop));
            for thread in threads {
                let panicked = |_| Err(io::Error::other("a reactor has panicked"));
                result = result.and(thread.and_then(|thread| thread.join().unwrap_or_else(panicked)));
            }
            result
        })
    }

    fn log_addresses(&self) {
        for address in self.addresses() {
            log::info!("serving on {address}");
        }
    }

    /// Serves as [`BoundServer::run`] does, for a closure whose parameters need no types.
    ///
    /// # Errors
    /// Returns the same errors as [`BoundServer::run`].
    pub fn serve<F>(self, application: F) -> io::Result<()>
    where
        F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Result<Body, GatewayError>,
    {
        self.run(application)
    }
}

/// Stops all reactors when one ends by an error or a panic.
struct StopOthers(ServerHandle);

impl Drop for StopOthers {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Makes one access log for each of several reactors: the same one behind a lock.
fn shared_out(
    log: Option<Box<dyn AccessLog + Send>>,
    count: usize,
) -> Vec<Option<Box<dyn AccessLog + Send>>> {
    match log {
        Some(log) if count > 1 => {
            let shared = SharedLog(Arc::new(Mutex::new(log)));
            (0..count).map(|_| Some(Box::new(shared.clone()) as Box<dyn AccessLog + Send>)).collect()
        }
        log => vec![log],
    }
}

/// An access log that several reactors write to.
#[derive(Clone)]
struct SharedLog(Arc<Mutex<Box<dyn AccessLog + Send>>>);

impl SharedLog {
    /// Uses the log, unless it has panicked: then it is left alone by the loop that has seen that, and by the
    /// others too.
    fn with<R>(&self, act: impl FnOnce(&mut dyn AccessLog) -> R) -> Option<R> {
        self.0.lock().ok().map(|mut log| act(&mut **log))
    }
}

impl AccessLog for SharedLog {
    fn wanted(&self) -> Wanted {
        self.with(|log| log.wanted()).unwrap_or_default()
    }

    fn record(&mut self, record: &ExchangeRecord<'_>) {
        self.with(|log| log.record(record));
    }

    fn flush(&mut self) {
        self.with(|log| log.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_server_can_run_in_another_thread() {
        fn check<T: Send>() {}
        check::<BoundServer>();
        check::<ServerHandle>();
    }

    #[test]
    fn server_without_an_address_or_with_senseless_limits_says_so() {
        let error = Server::new().bind().err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.starts_with("no address to listen on")));
        let error = Server::new().bind().err().map(|error| format!("{error:?}"));
        assert!(error.is_some_and(|text| text.contains("call `Server::listen`")));
        let limits = Limits { connections_max: 0, ..Limits::default() };
        let address = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let error = Server::new().listen(address).limits(limits).bind().err();
        assert!(error.is_some_and(|error| error.to_string().contains("connections_max")));
    }
}
