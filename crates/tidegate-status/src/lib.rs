//! Shows a running server to people and to monitoring, on an address of its own.
//!
//! | path | shows |
//! |---|---|
//! | `/` | the live view: every connection by its state, what it waits for, and what turns of the loop are spent on |
//! | `/events` | the frames of that view, as server-sent events |
//! | `/metrics` | counters and histograms, as OpenMetrics or in Prometheus' older format |
//! | `/health` | 200, or 503 while the server drains or one of its loops does not answer |
//! | `/connections.json` | every connection; `?reactor=0&place=7` only one |
//!
//! The status server is a tidegate server itself, with an event loop on a thread of its own. So it answers while the application of the
//! other one blocks that loop, and can say so; and no path of the application is taken.
//!
//! ```text
//!  browser ──▶ loop of the status server ──ask──▶ the observed loop, between two turns
//!     ▲              │ renders                                │
//!     └──────────────┴──────────◀── wake-up ◀── Snapshot ◀────┘
//! ```
//!
//! Nobody is asked while nobody looks.
//!
//! [`Explainer`] tells as a story what the loop does for a connection; it needs no status server.

mod events;
mod explain;
mod facts;
mod frame;
mod gateway;
mod inbox;
mod json;
mod metrics;
mod pools;
pub mod words;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tidegate::limits::Limits;
use tidegate::server::{Listener, Observer};
use tidegate::{ListenAddress, Server, ServerHandle};

use self::gateway::StatusGateway;

pub use self::explain::Explainer;
pub use self::facts::Facts;
pub use self::pools::PoolState;

/// Most connections to the status server. 64: some browsers, a scraper or two, and what asks for health.
const CONNECTIONS_MAX: usize = 64;
/// Most memory for them: the description of ten thousand connections takes 5 MB.
const MEMORY_BYTES_MAX: usize = 64 << 20;
/// How long the status server may go on when the other one has ended. 100 ms: to end the streams of browsers.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(100);

/// A status server that runs. It ends when this is dropped.
pub struct StatusServer {
    address: ListenAddress,
    handle: ServerHandle,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl fmt::Debug for StatusServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusServer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl StatusServer {
    /// Shows the server that is observed on this address.
    ///
    /// # Errors
    /// Returns the error when the address is not [private](check_address), cannot be bound, or when the system grants no
    /// thread.
    pub fn start(address: ListenAddress, observer: Observer, facts: Facts) -> io::Result<StatusServer> {
        check_address(&address).map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
        StatusServer::start_on(Listener::bind(&address)?, observer, facts)
    }

    /// Shows the server that is observed on an address that was bound before, by another process perhaps.
    ///
    /// # Errors
    /// Returns the error when the address is not [private](check_address), or when the system grants no thread.
    pub fn start_on(listener: Listener, observer: Observer, facts: Facts) -> io::Result<StatusServer> {
        let limits = Limits {
            connections_max: CONNECTIONS_MAX,
            memory_bytes_max: MEMORY_BYTES_MAX,
            drain_timeout: DRAIN_TIMEOUT,
            body_bytes_max: 0,
            ..Limits::default()
        };
        let bound = Server::new().limits(limits).listener(listener).bind()?;
        let (address, handle) = (bound.addresses().remove(0), bound.handle());
        // A descriptor may be anything.
        check_address(&address).map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
        let gateway = StatusGateway::new(observer, facts, matches!(address, ListenAddress::Tcp(_)));
        let thread = thread::Builder::new().name("status".to_string()).spawn(move || {
            let ran = bound.run(gateway);
            if let Err(error) = &ran {
                log::error!("the status server has ended: {error}");
            }
            ran
        })?;
        Ok(StatusServer { address, handle, thread: Some(thread) })
    }

    /// The address, with the real port.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }
}

impl Drop for StatusServer {
    fn drop(&mut self) {
        self.handle.drain();
        if let Some(thread) = self.thread.take() {
            // Its error was logged.
            let _ = thread.join();
        }
    }
}

/// Checks that an address can be reached from this machine only: addresses of clients, and what they ask for, are nobody
/// else's business.
///
/// # Errors
/// Returns a sentence that says what is wrong.
pub fn check_address(address: &ListenAddress) -> Result<(), String> {
    match address {
        ListenAddress::Tcp(address) if !is_loopback(*address) => Err(format!(
            "the status is for this machine only: {address} is no loopback address; take 127.0.0.1:PORT or unix:PATH"
        )),
        ListenAddress::Tcp(_) | ListenAddress::Unix(_) | ListenAddress::Descriptor(_) => Ok(()),
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
