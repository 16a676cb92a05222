//! The two ends of a connection, as an application sees them: the client, and the server that answers it.

use std::borrow::Cow;
use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

use super::{MemoryAccount, WakeSource};

/// The facts about a server that every application is told.
///
/// Make one with `ServerInfo { url_scheme: "https", ..ServerInfo::default() }`.
// It will grow and yet is not `#[non_exhaustive]`, which would forbid `..ServerInfo::default()` outside of this crate.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// The value of `SERVER_SOFTWARE` and of the `Server` field.
    pub software: Cow<'static, str>,
    /// The scheme of the server's URLs: `http` or `https`.
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

/// The address of the other end of a connection. It is half the size of an `Option<SocketAddr>`, since a
/// server may hold many thousands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The peer of a unix socket, which has no address.
    Unix,
    /// An IPv4 address.
    V4(SocketAddrV4),
    /// An IPv6 address, which is four times as long.
    V6(Box<SocketAddrV6>),
}

impl Peer {
    /// The address; none on a unix socket.
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

/// The client of a request.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// The number of the connection; one server never uses it twice.
    pub connection_id: u64,
    /// The address of the client's end.
    pub peer: &'a Peer,
    /// The address of the server's end; none on a unix socket.
    pub local: Option<&'a SocketAddr>,
    /// Whether the client is known to send nothing more. It may still wait for its answer.
    pub has_finished_sending: bool,
    /// The source of [`Wakeup`](super::Wakeup)s for this connection.
    pub wake_source: &'a dyn WakeSource,
    /// The account in which a [detached](super::Environ::detach) request counts its memory; none if nobody
    /// counts.
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
