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
//! 1. The request is complete before the call, so no slow client holds an application. An application that can
//!    answer by the head alone, or wants the content as it comes, says so beforehand ([`Gateway::admit`]).
//! 2. [`StartResponse`] is used up by starting the response, and only starting gives a [`Body`]:
//!    to forget it, or to do it twice, does not compile.
//! 3. A field with CR, LF or NUL in it is an error of the application (500), never bytes on the
//!    wire.
//! 4. The framing is the server's: no application sees chunks, and none can break the framing.
//! 5. Too many bytes for a declared Content-Length are cut off; too few, or a failure midway, end
//!    the connection in a way that the client can tell.
//! 6. An error or a panic in the call is a 500, unless content was handed over before; later than
//!    that it breaks the response off. Either way the next connection does not notice.
//! 7. A gateway must not block: it holds the only thread. Nor may a [stream](BodyStream), an answer that is resumed
//!    [later](Later), a [tunnel](Tunnel) or a [filter](middleware::Filter), which run on the same one. What takes time
//!    answers later, from another thread.
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
//! # Other threads
//!
//! What takes time belongs on another thread, and the connection waits for it without one. [`deferred`] is for whole
//! answers, status and all: its [`Responder`] gives one [`Response`]. [`channel`] is for content that grows: status
//! and fields are sent at once, and a [`ContentSender`] sends the rest piece by piece. `examples/later.rs` does both.
//!
//! - **The client paces the thread.** [`ContentSender::send`] waits for room, and there is room for 64 KiB
//!   ([`SentContent::bytes_max`]). So an answer of any length takes no more memory, however slowly it is read.
//! - **A client that has left ends the work.** Then sending fails, and [`ContentSender::is_abandoned`] tells a thread
//!   that has nothing to send yet; for a whole answer it is [`Responder::is_abandoned`].
//! - **The end has to be said.** [`ContentSender::end`] does; a thread that panics, or returns early with `?`, drops the
//!   sender without it. Then the response is broken off, which the client can tell from an end (rule 5). A
//!   [`Responder`] that is dropped is a 500.
//! - **Any kind of thread will do**: one for each answer, as in the example, or a pool's. The server starts none and
//!   waits for none. Who waits in `send` when it stops hears that nobody reads any more.
//!
//! # Middleware
//!
//! A gateway around a gateway can answer itself, set variables of the environ, add fields to every answer, watch the
//! content, and change it as it streams. [`middleware`] tells how, and the package `tidegate-middleware` has three:
//! fields, a password, and mounts by host and prefix.
//!
//! # Adapters
//!
//! An adapter is a gateway that passes requests on to something else: to the files of a folder (the package
//! `tidegate-files`), to Python (`tidegate-wsgi`), to servlets (`tidegate-servlet`). It knows this module and the
//! package of its own field, and neither the protocol nor the event loop. To write one:
//!
//! 1. Translate the [`Environ`] into the words of the other side: look variables up with [`get`](Environ::get), or
//!    pass all of them on with [`variables`](Environ::variables).
//! 2. Never block in [`call`](Gateway::call). What takes time goes to a thread or a child process as an
//!    [owned copy](Environ::detach), and the answer comes back through [`deferred`], or any [`Later`].
//! 3. Hand long content over as a [`BodyStream`] or a [`FileRange`]: back-pressure and framing are the server's.
//! 4. Answer with a status what the client has done wrong, and return `Err` for what an operator has to mend: that is a
//!    500, and a line in the log.
//!
//! ```
//! use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};
//!
//! /// Sends everybody to another host.
//! struct MovedTo(&'static str);
//!
//! impl Gateway for MovedTo {
//!     fn call(
//!         &mut self,
//!         environ: &mut Environ<'_>,
//!         start_response: StartResponse<'_>,
//!     ) -> Result<Body, GatewayError> {
//!         let location = format!("https://{}{}", self.0, environ.target().raw_path());
//!         start_response.status(308).field("Location", location).send("")
//!     }
//! }
//! ```
//!
//! # Other descriptors
//!
//! An answer under way can wait for a socket or a pipe of its own: a database's, a FastCGI program's, a child's.
//! [`Environ::watch`] puts it on the server's event loop, in place of a thread that waits. Readiness is a wake-up of the
//! connection, and no more: [`Later::resume`] or [`BodyStream::next_piece`] is called, as by [`Wakeup::wake`], and tries
//! whatever it waits for. `examples/fetch.rs` fetches from another server in this way.
//!
//! - **Try first, then wait.** The loop tells when a descriptor *becomes* ready, once; one that is ready when its watch
//!   begins is told of, too. So read until a call says [`WouldBlock`](std::io::ErrorKind::WouldBlock) before you return
//!   [`Piece::Pending`] or say [later](StartResponse::later) again. An answer that stops before that, with bytes
//!   left unread, may wait forever.
//! - **Every wake-up is a hint.** It may come for nothing, for another descriptor of the same answer, or for one that
//!   is no longer watched. Connections that are woken have their turn after those whose clients have sent something.
//! - **The deadline is yours.** A backend that says nothing wakes nobody: give a moment with `later` and `Pending`, and
//!   answer 504 then. The server closes nothing that an application has opened, but drops the answer when it is known
//!   that the client is gone, and all of them when it stops.
//! - **Who owns what.** [`Watched`] owns what it watches, and takes it out of the loop before it is closed. So no
//!   event comes for a number that meanwhile belongs to another file. It may outlive its connection, in a pool or on
//!   another thread: then its events wake nobody. An answer that takes it out of a pool [ends the
//!   watch](Watched::into_inner), and watches it anew for the connection at hand.
//! - **What it costs.** To begin a watch takes two system calls, and to end it one. It needs no descriptor and no
//!   memory of the loop's. But what is watched is a descriptor that clients cannot have: where none is left, the
//!   application cannot open it, and says 503.
//! - **What can be watched**: sockets, pipes, terminals, timers, other selectors. Files of a disk cannot: they are always
//!   ready, and block nevertheless. [`file`](ResponseHead::file) is for them.
//! - An answer that opens a second descriptor later keeps a [`Watcher`]. Where nobody runs an event loop, as in a test
//!   with [`ByHand`](crate::conversation::ByHand), watching says [`Unsupported`](std::io::ErrorKind::Unsupported).
//!
//! # Other protocols
//!
//! A client that [asks](Environ::upgrade) for another protocol gets it by [`StartResponse::upgrade`]: after 101
//! (Switching Protocols) both directions of the connection belong to the application, which is a [`Tunnel`] then.
//! `examples/websocket.rs` is a WebSocket, with a library for the frames.
//!
//! - **Shake hands.** The server checks `Connection` and `Upgrade` of the request, and writes both in its answer. What
//!   the protocol asks for besides is the application's part: for a WebSocket (RFC 6455 §4.2) to check
//!   `Sec-WebSocket-Version` and `Sec-WebSocket-Key`, and to answer with `Sec-WebSocket-Accept`, as a
//!   [field](UpgradeHead::field).
//! - **Take bytes first, and work when asked for a piece.** [`Tunnel::receive`] only stores them. Then the client's
//!   reading paces the work, and the answers that wait have a bound: no piece is asked for while much is owed to the
//!   client.
//! - **Bound what you store.** When it is full, `receive` returns 0, and the socket is not read. What was refused is
//!   offered again after the next piece was asked for. A tunnel that waits for something else before there is room
//!   uses the [`Wakeup`].
//! - **Watch the silence.** [`tunnel_timeout`](crate::limits::Limits::tunnel_timeout) is long. A protocol with pings
//!   gives the moment of the next one with [`Piece::Pending`], and ends the tunnel of a client that does not answer.
//! - **Check who asks.** A browser lets any page open a WebSocket to any server, with the cookies of that server. Compare
//!   the field `Origin`.
//! - **Say goodbye.** A server that shuts down [says so](Tunnel::server_is_draining). What was given before
//!   [`Piece::End`] reaches the client, even one that goes on sending.
//!
//! # Hooks
//!
//! A gateway is one method, [`Gateway::call`]. Those who drive an interpreter take part in the event loop besides:
//! [`LoopHooks`].
//!
//! # Trailers
//!
//! What is known only once all of the content is there (a checksum, a signature, how it went) can follow it, as fields
//! of a trailer section (RFC 9110 §6.5). In both directions they stand apart from the fields of the head, which were
//! decided upon long before: fields that frame, route, authenticate or change a message, or say of which kind its
//! content is, [cannot be trailers](crate::message::may_be_trailer).
//!
//! *Of a request* they are read by [`Environ::trailers`], and go with it to another thread
//! ([`Environ::detach`]). They become neither [fields](Environ::fields) nor variables. Those that cannot be trailers
//! are left out.
//!
//! *Of a response* a stream gives them when it has ended: [`BodyStream::trailers`]. They are sent where the content is
//! chunked and the client has said `TE: trailers`; the stream is not even asked where they could not be. So nothing
//! belongs there that a client cannot do without. One that cannot be a trailer, or has CR, LF or NUL in it, is a failure
//! midway (rule 5). To announce them in a `Trailer` field is the application's part.
//!
//! ```
//! use tidegate::gateway::{BodyStream, Piece};
//! use tidegate::now::Moment;
//! use tidegate::{Environ, GatewayError, StartResponse};
//!
//! /// Counts what it gives.
//! struct Counted<S>(S, u64);
//!
//! impl<S: BodyStream> BodyStream for Counted<S> {
//!     fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
//!         let piece = self.0.next_piece(now)?;
//!         if let Piece::Data(bytes) = piece {
//!             self.1 += bytes.len() as u64;
//!         }
//!         Ok(piece)
//!     }
//!
//!     fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
//!         vec![("X-Count".to_string(), self.1.to_string().into_bytes())]
//!     }
//! }
//!
//! let application = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
//!     let pieces = tidegate::gateway::Pieces::new(["low ", "tide"].into_iter());
//!     start_response.status(200).field("Trailer", "X-Count").stream(Counted(pieces, 0))
//! };
//! # let mut hand = tidegate::conversation::ByHand::new(application);
//! # hand.receive(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
//! # assert!(hand.transmit_all().ends_with(b"4\r\ntide\r\n0\r\nX-Count: 8\r\n\r\n"));
//! ```
//!
//! # The server's side
//!
//! This layer knows nothing of protocol, sockets or clocks; whatever implements [`ResponseSink`]
//! can call an application, a test included. Applications never need what is there for that: [`Remainder`], [`Client`],
//! [`WakeSource`], [`NoWake`], [`Selector`], [`Spool`], [`SpoolFile`], [`SpoolRoom`], [`MemoryAccount`], [`Reservation`].

mod body;
mod call;
mod channel;
mod client;
mod content;
mod deferred;
mod environ;
mod error;
mod hooks;
mod incoming;
mod memory;
pub mod middleware;
mod owned_content;
mod owned_environ;
mod read_buffer;
mod sink;
mod start_response;
mod upgrade;
mod wakeup;
mod watch;

pub use body::{Body, BodyStream, FileRange, FileStream, Later, Piece, Pieces, Remainder, Tunnel};
pub use call::{Admission, Gateway};
pub use channel::{ContentSender, SendError, SentContent, channel};
pub use client::{Client, Peer, ServerInfo};
pub use content::RequestContent;
pub use deferred::{DeferredAnswer, Responder, Response, deferred};
pub use environ::{Environ, MountPoint};
pub use error::{GatewayError, Misuse};
pub use hooks::LoopHooks;
pub(crate) use incoming::Feed;
pub use incoming::IncomingContent;
pub use memory::{MemoryAccount, Reservation};
pub use owned_content::{OwnedContent, Spool, SpoolFile, SpoolRoom};
pub use owned_environ::OwnedEnviron;
pub(crate) use read_buffer::ReadBuffer;
pub use sink::{Content, ResponseSink, StartResponse};
pub use start_response::{ResponseHead, Writer};
pub use upgrade::{Upgrade, UpgradeHead};
pub use wakeup::{NoWake, WakeSource, Wakeup};
pub use watch::{Interest, Selector, Watched, Watcher};
