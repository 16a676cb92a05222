//! The change of protocol: after 101 (Switching Protocols), both directions of a connection belong to the application.

use std::fmt;

use super::{Body, Environ, GatewayError, Remainder, ResponseSink, StartResponse, Tunnel};
use crate::message::Version;

/// Proof that a client has asked for another protocol; only [`Environ::upgrade`] gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    protocol: String,
}

impl Environ<'_> {
    /// Returns proof that the client offers to go on in this protocol, such as `websocket`, once it gets 101
    /// (RFC 9110 §7.8). None if it does not, or speaks HTTP/1.0.
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
    /// Adds a field line, as [`ResponseHead::field`](super::ResponseHead::field) does.
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
        Ok(Body::with(Remainder::Tunnel(Box::new(tunnel))))
    }
}
