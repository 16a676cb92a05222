//! The two ends of a connection, as an application sees them: the client, and the server that speaks for it.

use std::borrow::Cow;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{MemoryAccount, WakeSource};

/// What a server says of itself to every application.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// `SERVER_SOFTWARE`, and the value of the `Server` field.
    pub software: Cow<'static, str>,
    /// `http` or `https`.
    pub url_scheme: &'static str,
    /// Whether other threads may call the same application (`wsgi.multithread`).
    pub multithread: bool,
    /// Whether other processes run the same application (`wsgi.multiprocess`).
    pub multiprocess: bool,
}

impl Default for ServerInfo {
    fn default() -> ServerInfo {
        ServerInfo {
            software: Cow::Borrowed(concat!("tidegate/", env!("CARGO_PKG_VERSION"))),
            url_scheme: "http",
            multithread: false,
            multiprocess: false,
        }
    }
}

/// The other end of a connection. Half the size of an `Option<SocketAddr>`: a server may hold many thousands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A unix socket's, which has no address.
    Unix,
    /// IPv4.
    V4(SocketAddrV4),
    /// IPv6, which is four times as long.
    V6(Box<SocketAddrV6>),
}

impl Peer {
    /// Its address; none on a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Peer::Unix => None,
            Peer::V4(address) => Some(SocketAddr::V4(*address)),
            Peer::V6(address) => Some(SocketAddr::V6(**address)),
        }
    }
}

impl From<Option<SocketAddr>> for Peer {
    fn from(address: Option<SocketAddr>) -> Peer {
        match address {
            None => Peer::Unix,
            Some(SocketAddr::V4(address)) => Peer::V4(address),
            Some(SocketAddr::V6(address)) => Peer::V6(Box::new(address)),
        }
    }
}

/// Who is asking.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// Names the connection; never used twice by one server.
    pub connection_id: u64,
    /// The other end.
    pub peer: &'a Peer,
    /// This end; none on a unix socket.
    pub local: Option<&'a SocketAddr>,
    /// Whether the client is known to send nothing more. It may still wait for its answer.
    pub has_finished_sending: bool,
    /// Where [`Wakeup`](super::Wakeup)s for this connection come from.
    pub wake_source: &'a dyn WakeSource,
    /// Where a [detached](super::Environ::detach) request counts the memory that it holds; none where nobody counts.
    pub memory: Option<&'a MemoryAccount>,
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection_id", &self.connection_id)
            .field("peer", &self.peer)
            .field("local", &self.local)
            .field("has_finished_sending", &self.has_finished_sending)
            .finish_non_exhaustive()
    }
}
