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

use std::io;
use std::time::Duration;

pub use crate::conversation::{AccessLog, ExchangeRecord, Outcome, RequestLine, Wanted};
use crate::gateway::{Body, Environ, Gateway, GatewayError, ServerInfo, StartResponse};
use crate::limits::Limits;
use crate::reactor::EventLoop;
pub use crate::reactor::{InvalidAddress, ListenAddress, Listener, ServerHandle};

/// Most addresses of one server.
const LISTENERS_MAX: usize = 1024;

/// Serves an application on one address until the process ends: the shortest way.
///
/// ```no_run
/// tidegate::serve("127.0.0.1:8000", |_environ, start_response| {
///     start_response.status(200).field("Content-Type", "text/plain").send("Hello, World!")
/// })
/// .unwrap();
/// ```
///
/// # Errors
/// An address that is none, or cannot be bound.
pub fn serve<F>(address: &str, application: F) -> io::Result<()>
where
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Result<Body, GatewayError>,
{
    Server::new().listen(address.parse()?).bind()?.serve(application)
}

/// What a server is to be.
#[derive(Default)]
pub struct Server {
    places: Vec<Place>,
    limits: Limits,
    info: ServerInfo,
    access_log: Option<Box<dyn AccessLog + Send>>,
    hold_max: Duration,
}

/// Where a server is to listen.
enum Place {
    /// On an address that it binds.
    Address(ListenAddress),
    /// On a socket that is bound already.
    Bound(Listener),
}

impl Server {
    /// A server without an address, with the default limits.
    pub fn new() -> Server {
        Server::default()
    }

    /// Adds an address to listen on.
    pub fn listen(mut self, address: ListenAddress) -> Server {
        self.places.push(Place::Address(address));
        self
    }

    /// Adds a socket that is bound already.
    pub fn listener(mut self, listener: Listener) -> Server {
        self.places.push(Place::Bound(listener));
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: Limits) -> Server {
        self.limits = limits;
        self
    }

    /// Sets what the server says of itself.
    pub fn info(mut self, info: ServerInfo) -> Server {
        self.info = info;
        self
    }

    /// Sets who is told of each exchange.
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
        self.hold_max = hold_max;
        self
    }

    /// Binds every address. From now on clients can connect, and wait until the server runs.
    ///
    /// # Errors
    /// No address, a limit that makes no sense, or an address that cannot be bound; the text says
    /// which.
    pub fn bind(self) -> io::Result<BoundServer> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        self.limits.check().map_err(invalid)?;
        if self.places.is_empty() || self.places.len() > LISTENERS_MAX {
            return Err(invalid(format!("a server has 1 to {LISTENERS_MAX} addresses")));
        }
        let bind = |place| match place {
            Place::Address(address) => Listener::bind(&address),
            Place::Bound(listener) => Ok(listener),
        };
        let listeners = self.places.into_iter().map(bind).collect::<io::Result<Vec<_>>>()?;
        let mut event_loop = EventLoop::new(listeners, self.limits, self.info, self.access_log)?;
        event_loop.hold_responses(self.hold_max);
        Ok(BoundServer { event_loop })
    }
}

/// A server whose addresses are bound.
pub struct BoundServer {
    event_loop: EventLoop,
}

impl BoundServer {
    /// The addresses, with the real ports.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.event_loop.listeners().iter().map(Listener::address).collect()
    }

    /// A handle that shuts the server down from another thread.
    pub fn handle(&self) -> ServerHandle {
        self.event_loop.handle()
    }

    /// Serves until it is shut down.
    ///
    /// # Errors
    /// What waiting for events says; nothing that a client or the application does ends a server.
    pub fn run(self, mut gateway: impl Gateway) -> io::Result<()> {
        for address in self.addresses() {
            log::info!("serving on {address}");
        }
        self.event_loop.run(&mut gateway)
    }

    /// As [`BoundServer::run`], for a closure whose parameters need no types.
    ///
    /// # Errors
    /// As [`BoundServer::run`].
    pub fn serve<F>(self, application: F) -> io::Result<()>
    where
        F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Result<Body, GatewayError>,
    {
        self.run(application)
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
        assert!(error.is_some_and(|text| text.contains("addresses")));
        let limits = Limits { connections_max: 0, ..Limits::default() };
        let address = ListenAddress::Tcp(([127, 0, 0, 1], 0).into());
        let error = Server::new().listen(address).limits(limits).bind().err();
        assert!(error.is_some_and(|error| error.to_string().contains("connections_max")));
    }
}
