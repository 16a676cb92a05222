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
//! # Middleware
//!
//! A gateway around a gateway can answer itself, set variables of the environ, add fields to every answer, watch the
//! content, and change it as it streams. [`middleware`] tells how, and has three: [fields](middleware::WithFields),
//! [a password](middleware::BasicAuth), and [mounts](middleware::Mounts) by host and prefix.
//!
//! # Hooks
//!
//! A gateway is one method, [`Gateway::call`]. Those who drive an interpreter take part in the event loop besides:
//! [`LoopHooks`].
//!
//! This layer knows nothing of protocol, sockets or clocks; whatever implements [`ResponseSink`]
//! can call an application, a test included.

mod body;
mod call;
mod client;
mod content;
mod deferred;
mod environ;
mod error;
mod hooks;
mod incoming;
mod memory;
pub mod middleware;
mod owned_environ;
mod sink;
mod start_response;
mod wakeup;

pub use body::{Body, BodyKind, BodyStream, FileRange, FileStream, Later, Piece, Pieces};
pub use call::{Admission, Gateway};
pub use client::{Client, Peer, ServerInfo};
pub use content::{OwnedContent, RequestContent, Spool, SpoolFile, SpoolRoom};
pub use deferred::{DeferredAnswer, Responder, Response, deferred};
pub use environ::Environ;
pub use error::{GatewayError, Misuse};
pub use hooks::LoopHooks;
pub(crate) use incoming::Feed;
pub use incoming::IncomingContent;
pub use memory::{MemoryAccount, Reservation};
pub use owned_environ::OwnedEnviron;
pub use sink::{Content, ResponseSink, StartResponse};
pub use start_response::{ResponseHead, Writer};
pub use wakeup::{NoWake, WakeSource, Wakeup};
