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
//! 1. The request is complete before the call. No slow client ever holds an application.
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
mod content;
mod deferred;
mod environ;
mod error;
mod start_response;
mod wakeup;

use std::time::Duration;

pub use body::{Body, BodyKind, BodyStream, Content, FileRange, Later, Piece, Pieces};
pub use content::{OwnedContent, RequestContent, Spool, SpoolFile};
pub use deferred::{DeferredAnswer, Responder, Response, deferred};
pub use environ::{Client, Environ, OwnedEnviron, Peer, ServerInfo};
pub use error::{GatewayError, Misuse};
pub use start_response::{ResponseHead, ResponseSink, StartResponse, Writer};
pub use wakeup::{NoWake, WakeSource, Wakeup};

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

    /// Whether it can take another request. While it cannot, none is read from any connection; it is asked
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
