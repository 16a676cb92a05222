//! The gateway: what an application sees of the server, and all it needs to know.
//!
//! ```text
//!            call(environ, start_response)
//!   server ───────────────────────────────▶ application
//!          ◀───────────────────────────────
//!              Ok(Body) or Err(GatewayError)
//! ```
//!
//! It is the interface of the Python Web Server Gateway Interface (PEP 3333) and of CGI (RFC
//! 3875), in Rust: an *environ* that describes the request under the standard's names, a
//! *start_response* that takes status and fields, and a *body* that is handed over at once, drawn
//! piece by piece while the socket takes it, read from a file, or given later by somebody else.
//!
//! The contract:
//!
//! 1. The request is complete before the call. No slow client ever holds an application. One that can
//!    answer by the head alone says so beforehand ([`Gateway::admit`]), and no content is collected for it.
//! 2. [`StartResponse`] is used up by starting the response, and only starting gives a [`Body`]:
//!    to forget it, or to do it twice, does not compile.
//! 3. A field with CR, LF or NUL in it is an error of the application (500), never bytes on the
//!    wire.
//! 4. The framing is the server's: no application sees chunks, and none can break the framing.
//! 5. Too many bytes for a declared Content-Length are cut off; too few, or a failure midway, end
//!    the connection in a way that the client can tell.
//! 6. An error or a panic in the call is a 500, unless content was handed over before; later than
//!    that it breaks the response off. Either way the next connection does not notice.
//! 7. A gateway must not block: it holds the only thread. What takes time answers [later](Later).
//!
//! A closure is an application:
//!
//! ```
//! use tidegate::{Body, Environ, GatewayError, StartResponse};
//!
//! fn hello(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
//!     let greeting = format!("Hello, {}!", environ.path());
//!     start_response.status(200).field("Content-Type", "text/plain").send(greeting)
//! }
//! # fn is_gateway(_: impl tidegate::Gateway) {}
//! # is_gateway(hello);
//! ```
//!
//! This layer knows nothing of protocol, sockets or clocks; whatever implements [`ResponseSink`]
//! can call an application, a test included.

mod body;
mod client;
mod content;
mod deferred;
mod environ;
mod error;
mod memory;
mod owned_environ;
mod start_response;
mod wakeup;

use std::time::Duration;

pub use body::{Body, BodyKind, BodyStream, Content, FileRange, Later, Piece, Pieces};
pub use client::{Client, Peer, ServerInfo};
pub use content::{OwnedContent, RequestContent, Spool, SpoolFile, SpoolRoom};
pub use deferred::{DeferredAnswer, Responder, Response, deferred};
pub use environ::Environ;
pub use error::{GatewayError, Misuse};
pub use memory::{MemoryAccount, Reservation};
pub use owned_environ::OwnedEnviron;
pub use start_response::{ResponseHead, ResponseSink, StartResponse, Writer};
pub use wakeup::{NoWake, WakeSource, Wakeup};

/// How an application takes a request whose content has not come with its head.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// The content is collected, all of it, and then the application is called.
    #[default]
    Collect,
    /// The application answers by the head alone: it is called at once, and finds no content.
    FromHead,
}

/// An application, or an adapter to many of them.
///
/// Every function and closure of this shape is one. The server calls it from its only thread, one
/// request at a time, so it may own what it needs.
pub trait Gateway {
    /// Answers one request.
    ///
    /// # Errors
    /// An error is answered with 500 and logged; its text never reaches the client.
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError>;

    /// Judges a request by its head, before its content is collected. Asked only where content is still to come:
    /// what has come whole with its head has cost nothing.
    ///
    /// With [`Admission::FromHead`], [`call`](Gateway::call) follows at once and gives the answer, whatever that is:
    /// 405, 413, 401, a page. Its environ is the same as here: `CONTENT_LENGTH` is what the head says (none
    /// where the content is chunked), the content is empty. The client is not asked for its content (no 100
    /// (Continue)), and none that comes is taken for a request: the answer says `Connection: close`, and what the client
    /// sends after it is thrown away for [`linger_timeout`](crate::limits::Limits::linger_timeout), so that the
    /// answer is not lost (RFC 9112 §9.6). A short answer is best: who sends all before it reads takes a
    /// long one late, or never.
    ///
    /// A panic is a 500.
    ///
    /// ```
    /// use tidegate::gateway::Admission;
    /// use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};
    ///
    /// /// Takes content from those who know the word.
    /// struct Guarded;
    ///
    /// impl Guarded {
    ///     fn knows(environ: &Environ<'_>) -> bool {
    ///         environ.field("Authorization") == Some(b"Bearer ebb")
    ///     }
    /// }
    ///
    /// impl Gateway for Guarded {
    ///     fn admit(&self, environ: &Environ<'_>) -> Admission {
    ///         if Guarded::knows(environ) { Admission::Collect } else { Admission::FromHead }
    ///     }
    ///
    ///     fn call(
    ///         &mut self,
    ///         environ: &mut Environ<'_>,
    ///         start_response: StartResponse<'_>,
    ///     ) -> Result<Body, GatewayError> {
    ///         match Guarded::knows(environ) {
    ///             true => start_response.status(200).send(format!("{} bytes", environ.content().len())),
    ///             false => start_response.status(401).field("WWW-Authenticate", "Bearer").send(""),
    ///         }
    ///     }
    /// }
    /// # use tidegate::conversation::{ByHand, Wants};
    /// # let mut hand = ByHand::new(Guarded);
    /// # hand.receive(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    /// # assert!(hand.transmit().starts_with(b"HTTP/1.1 401 "));
    /// ```
    fn admit(&self, environ: &Environ<'_>) -> Admission {
        let _ = environ;
        Admission::Collect
    }

    /// Lets the server wait for events: calls `wait` once. A gateway to an interpreter lets go of its
    /// lock meanwhile, and looks for signals afterwards; the others have nothing to do here.
    ///
    /// Called once a turn of the loop, and never while an application runs.
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        wait();
    }

    /// How long the server may wait for events at most; none for as long as nothing happens. Asked before each
    /// wait. For gateways that do not wake the server for everything that they have to say.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Whether it can take another request. While it cannot, none is read from any connection, and who has waited
    /// for longer than [`gateway_timeout`](crate::limits::Limits::gateway_timeout) is told 503; it is asked
    /// again in each turn of the loop, which an answer that has become ready begins.
    fn is_ready(&self) -> bool {
        true
    }
}

impl<F> Gateway for F
where
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Result<Body, GatewayError>,
{
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        self(environ, start_response)
    }
}

macro_rules! boxed_gateway {
    ($($boxed:ty),*) => {
        $(impl Gateway for $boxed {
            fn call(
                &mut self,
                environ: &mut Environ<'_>,
                start_response: StartResponse<'_>,
            ) -> Result<Body, GatewayError> {
                (**self).call(environ, start_response)
            }

            fn admit(&self, environ: &Environ<'_>) -> Admission {
                (**self).admit(environ)
            }

            fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
                (**self).wait(wait);
            }

            fn patience(&self) -> Option<Duration> {
                (**self).patience()
            }

            fn is_ready(&self) -> bool {
                (**self).is_ready()
            }
        })*
    };
}

// One by one: a general implementation for boxes would overlap with the one for closures.
boxed_gateway!(Box<dyn Gateway>, Box<dyn Gateway + Send>, &mut dyn Gateway);
