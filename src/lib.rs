//! A hand-rolled event-loop HTTP/1.1 server. One thread waits for sockets, parses what arrives,
//! calls the application through one trait, and writes what the socket takes.
//!
//! ```no_run
//! use tidegate::serve;
//!
//! fn main() -> std::io::Result<()> {
//!     serve("127.0.0.1:8000", |environ, start_response| {
//!         let greeting = format!("Hello, {}!\n", environ.path().trim_start_matches('/'));
//!         start_response.status(200).field("Content-Type", "text/plain").send(greeting)
//!     })
//! }
//! ```
//!
//! # What next
//!
//! | task | where |
//! |---|---|
//! | read a request | [`Environ`]: [path](Environ::path) and routes, [content](Environ::content) and forms |
//! | answer it | [`StartResponse`]; all ways to, and the contract, are in [`gateway`] |
//! | answer piece by piece | [`BodyStream`](gateway::BodyStream); [from a file](gateway::ResponseHead::file) |
//! | answer from another thread | [`deferred`](gateway::deferred); as the content grows, [`channel`](gateway::channel) |
//! | wait for another server | [`Environ::watch`] |
//! | speak WebSocket | [other protocols](gateway#other-protocols) |
//! | add fields, a password, mounts | the package `tidegate-middleware` |
//! | write middleware | [`middleware`](gateway::middleware) |
//! | serve a folder | the package `tidegate-files` |
//! | write an adapter | [adapters](gateway#adapters) |
//! | set limits, listen on several addresses | [`Server`], [`Limits`](limits::Limits) |
//! | use several processors | [`BoundServer::run_each`] |
//! | end by a signal | [`ServerHandle`] |
//! | log requests | [`access_log`], and the package `tidegate-logs` |
//! | test an application | [testing your application](server#testing-your-application) |
//! | learn how an event loop works | [the picture](#the-picture), and on from there |
//!
//! # Logs
//!
//! Failures are reported through the crate `log`, and without a logger nobody hears of them: a 500
//! stays without an explanation. Programs install one first, `env_logger::init()` for instance.
//! `error` is what an application did, `warn` what an operator can mend, `info` what the server does
//! as a whole, `debug` a connection, `trace` a turn of one.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `sockets` | yes | faster or safer system calls where there are some; no API |
//!
//! Without features the library has four dependencies: mio, slab, httparse and log. A program that is
//! built with `panic = "abort"` gives up that a panic is a 500.
//!
//! # The picture
//!
//! ```text
//!           fill                                    call                      next piece
//!  socket ───────▶ bytes ─▶ head ─▶ Environ ──────────────▶ Gateway ─▶ start_response + Body
//!  (reactor)       (protocol)       (gateway)               (application)        │
//!                                                                                ▼
//!  socket ◀─────── OutputQueue ◀─── ResponseEncoder · BodyEncoder ◀───── status, fields, pieces
//!           flush  (conversation)   (protocol)
//! ```
//!
//! One way round, no call back up. A connection's turn is always the same four steps: *fill* reads,
//! *advance* parses, calls the application and draws its pieces, *flush* writes, *settle* asks the
//! conversation what it wants now.
//!
//! # The layers
//!
//! A module imports only from those above it in this table, and a test sees to it.
//!
//! | layer | modules | knows |
//! |---|---|---|
//! | words | [`limits`], [`now`], [`message`] | HTTP's nouns (RFC 9110) |
//! | protocol | [`protocol`] | RFC 9112: bytes to requests, responses to bytes |
//! | gateway | [`gateway`] | what an application sees; not the protocol |
//! | conversation | [`conversation`] | protocol and gateway for one connection, still without a socket |
//! | reactor | (private) | epoll and kqueue through mio; the only place with sockets and clocks |
//! | facade | [`server`], [`access_log`] | the server, ready to use |
//!
//! The program `tidegate`, the load rig, log files, and the adapters to folders, Python and servlets are packages of
//! their own, in `crates/`.
//!
//! Read them in this order to learn how an event-loop server works; each opens with what it is for. The states are
//! those in which something is waited for. Each of them has a deadline, except where the server waits for an answer that
//! the application has promised without a moment: then it waits for as long as the client does.
//!
//! # In a loop of one's own
//!
//! All layers but the reactor are public, and free of sockets, clocks and threads: the protocol without its I/O, as h11
//! has it for Python. A program with another kind of loop drives a [`Conversation`](conversation::Conversation): it
//! asks what that [wants](conversation::Wants), does it, and tells it what has come and what time it is.
//! `examples/own_loop.rs` does so with blocking sockets and a thread for each connection,
//! [`ByHand`](conversation::ByHand) without any socket, for tests and learners. The protocol alone, without
//! applications, is [`protocol::Http1`].

#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

#[cfg(not(unix))]
compile_error!("tidegate runs on Unix: Linux, macOS and the BSDs");

pub mod access_log;
pub mod conversation;
pub mod gateway;
pub mod limits;
pub mod message;
pub mod now;
pub mod protocol;
mod reactor;
pub mod server;

pub use gateway::{Body, Environ, Gateway, GatewayError, StartResponse};
pub use server::{BoundServer, InvalidAddress, ListenAddress, Server, ServerHandle, serve};
