//! Middleware: gateways around gateways, PEP 3333's other half.
//!
//! To the server it is a gateway like any other, and to the gateway inside it the server:
//!
//! ```text
//!   server ── call ──▶ middleware ── call ──▶ application
//!          ◀─ answer ─ Filter ◀──── answer ──
//! ```
//!
//! On the way in it can answer itself, [set](crate::Environ::set) a variable, or
//! [shift](crate::Environ::enter) the path. Nothing more is needed for that than a [`Gateway`](crate::Gateway) that
//! owns another one; `BasicAuth` and `Mounts` of the package `tidegate-middleware` are two. What it says in
//! [`admit`](crate::Gateway::admit) should go with what it does in `call`: a client that is answered without the
//! application need not send content first.
//!
//! On the way out a [`Filter`] sees one response, however it is given: at once, written, as a stream, from a file, or
//! [later](crate::gateway::Later) from another thread. It can add fields and drop some, watch the content pass, and
//! change it. `WithFields` of the same package is the shortest.
//!
//! ```
//! use tidegate::gateway::middleware::{Filter, Passage, PassingHead};
//! use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};
//!
//! /// Says everything louder.
//! struct Loud<G>(G);
//!
//! impl<G: Gateway> Gateway for Loud<G> {
//!     fn call(
//!         &mut self,
//!         environ: &mut Environ<'_>,
//!         start_response: StartResponse<'_>,
//!     ) -> Result<Body, GatewayError> {
//!         start_response.through(Louder(Vec::new()), |start_response| self.0.call(environ, start_response))
//!     }
//! }
//!
//! /// One response of it; the content that leaves is lent from here.
//! struct Louder(Vec<u8>);
//!
//! impl Filter for Louder {
//!     fn head(&mut self, head: &mut PassingHead<'_>) -> Passage {
//!         head.field("X-Volume", "11");
//!         Passage::Changed
//!     }
//!
//!     fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
//!         self.0 = content.to_ascii_uppercase();
//!         Ok(&self.0)
//!     }
//!
//!     fn end(&mut self) -> Result<&[u8], GatewayError> {
//!         Ok(b"!")
//!     }
//! }
//! # let app = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
//! #     start_response.status(200).pieces(["low", " tide"])
//! # };
//! # let mut hand = tidegate::conversation::ByHand::new(Loud(app));
//! # hand.receive(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
//! # let answer = String::from_utf8(hand.transmit_all()).unwrap();
//! # assert!(answer.contains("\r\nX-Volume: 11\r\n") && answer.ends_with("\r\n\r\nLOW TIDE!"), "{answer}");
//! ```
//!
//! What a filter is spared: framing, HEAD, 204 and 304 are the server's, as for everybody. What it costs: nothing
//! where there is none; with one, a call of each of its methods, and an allocation where the answer outlasts the call
//! of the application.
//!
//! An error, or a panic, of the application passes through as an error, which the server answers with 500 and logs;
//! a filter adds its fields to that in [`Filter::failure`], and hears nothing else of it. What the server refuses by
//! itself (400, 408, 413, …) has met no gateway, and so no middleware.

mod filter;
mod held;

pub use filter::{Filter, Passage, PassingHead};
