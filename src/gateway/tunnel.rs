//! Connections that are taken over: after 101 (Switching Protocols), both directions belong to the application.

use std::fmt;

use super::{Body, BodyKind, BodyStream, Environ, GatewayError, ResponseSink, StartResponse};
use crate::message::Version;

/// An application's end of a connection that it has taken over: a WebSocket (RFC 6455), for one.
///
/// What it sends is [drawn](BodyStream::next_piece) as the content of any answer; what the client sends is handed to it,
/// beginning with what has come behind the request already. Its end ends the connection, and so does an error, in a way that
/// the client can tell. Dropping it is its end, too: the connection has broken, or nothing has moved in either direction for
/// [`tunnel_timeout`](crate::limits::Limits::tunnel_timeout), or the server has stopped.
///
/// A server that shuts down waits for it as for any answer, for
/// [`drain_timeout`](crate::limits::Limits::drain_timeout).
pub trait Tunnel: BodyStream {
    /// Takes bytes from the client: answers how many of them it has taken, from the first on. What it leaves is offered
    /// again with what comes next. With 0 it takes none before its [`Wakeup`](super::Wakeup) is used, and meanwhile the
    /// socket is not read: so a slow application slows its client down, and bounds its own memory.
    ///
    /// After bytes were taken, [`next_piece`](BodyStream::next_piece) is asked again.
    ///
    /// # Errors
    /// Returns an error when the connection is to be cut.
    fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError>;

    /// Learns that the client has ended its side, and all that it has sent was taken. It may still read.
    fn receive_end(&mut self) {}
}

/// Proof that a client has asked for another protocol; what [`Environ::upgrade`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    protocol: String,
}

impl Environ<'_> {
    /// Says whether the client offers to go on in this protocol, once it hears 101 (RFC 9110 §7.8): `websocket`, for one.
    /// None where it does not, or speaks HTTP/1.0.
    pub fn upgrade(&self, protocol: &str) -> Option<Upgrade> {
        let lists = |field: &str, wanted: &str| {
            let of_this_name = self.fields().iter().filter(|(name, _)| name.eq_ignore_ascii_case(field));
            let mut members = of_this_name.flat_map(|(_, value)| value.split(|byte| *byte == b','));
            members.any(|member| member.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
        };
        let is_offered =
            self.version() == Version::Http11 && lists("Connection", "upgrade") && lists("Upgrade", protocol);
        is_offered.then(|| Upgrade { protocol: protocol.to_string() })
    }
}

/// The head of a 101 response, which is being written.
pub struct UpgradeHead<'a> {
    sink: &'a mut dyn ResponseSink,
}

impl fmt::Debug for UpgradeHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpgradeHead").finish_non_exhaustive()
    }
}

impl<'a> StartResponse<'a> {
    /// Begins a 101 (Switching Protocols) response, for a client that has [asked](Environ::upgrade) for it. The fields
    /// `Connection` and `Upgrade` are the server's.
    ///
    /// ```
    /// use tidegate::gateway::{BodyStream, Piece, Tunnel};
    /// use tidegate::now::Moment;
    /// use tidegate::{Body, Environ, GatewayError, StartResponse};
    ///
    /// /// Sends back each byte.
    /// #[derive(Default)]
    /// struct Echo {
    ///     waiting: Vec<u8>,
    ///     current: Vec<u8>,
    ///     has_ended: bool,
    /// }
    ///
    /// impl BodyStream for Echo {
    ///     fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
    ///         self.current = std::mem::take(&mut self.waiting);
    ///         match self.current.is_empty() {
    ///             true if self.has_ended => Ok(Piece::End),
    ///             true => Ok(Piece::Pending { until: None }),
    ///             false => Ok(Piece::Data(&self.current)),
    ///         }
    ///     }
    /// }
    ///
    /// impl Tunnel for Echo {
    ///     fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError> {
    ///         self.waiting.extend_from_slice(bytes);
    ///         Ok(bytes.len())
    ///     }
    ///
    ///     fn receive_end(&mut self) {
    ///         self.has_ended = true;
    ///     }
    /// }
    ///
    /// fn gateway(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     match environ.upgrade("echo") {
    ///         Some(upgrade) => start_response.upgrade(&upgrade).tunnel(Echo::default()),
    ///         None => start_response.status(400).send("Ask for the protocol echo.\n"),
    ///     }
    /// }
    /// # let mut hand = tidegate::conversation::ByHand::new(gateway);
    /// # hand.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nlow");
    /// # let answer = hand.transmit_all();
    /// # assert!(answer.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n") && answer.ends_with(b"\r\n\r\nlow"));
    /// # hand.receive(b" tide");
    /// # assert_eq!(hand.transmit_all(), b" tide");
    /// ```
    pub fn upgrade(self, upgrade: &Upgrade) -> UpgradeHead<'a> {
        self.sink.begin_upgrade(&upgrade.protocol);
        UpgradeHead { sink: self.sink }
    }
}

impl UpgradeHead<'_> {
    /// Adds a field line, as [`ResponseHead::field`](super::ResponseHead::field).
    pub fn field(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.sink.field(name, value.as_ref());
        self
    }

    /// Ends the head; from now on the connection is the tunnel's.
    ///
    /// # Errors
    /// Returns a [`Misuse`](super::Misuse) when a field is wrong, or content of the request is still coming.
    pub fn tunnel(self, tunnel: impl Tunnel + 'static) -> Result<Body, GatewayError> {
        self.sink.end_upgrade()?;
        Ok(Body::new(BodyKind::Tunnel(Box::new(tunnel))))
    }
}
