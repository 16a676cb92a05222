//! Adapters: gateways that pass requests on to something else.
//!
//! | adapter | feature | for |
//! |---|---|---|
//! | `StaticFiles` | `static-files` | the files of one folder: the module `static_files` says how |
//!
//! The adapter of Python applications (PEP 3333) is a package of its own, `tidegate-wsgi`.
//!
//! An adapter is an ordinary [`Gateway`](crate::Gateway). It knows the gateway layer and the
//! package of its own field, and neither the protocol, nor the reactor, nor its neighbours. To
//! write one:
//!
//! 1. Translate the [`Environ`](crate::Environ) into the words of the other side: look variables
//!    up with `get`, or pass all of them on with `variables`.
//! 2. Never block in `call`. What takes time goes to a thread or a child process as an
//!    [owned copy](crate::Environ::detach), and the answer comes back through
//!    [`deferred`](crate::gateway::deferred), or any [`Later`](crate::gateway::Later).
//! 3. Hand long content over as a [`BodyStream`](crate::gateway::BodyStream) or a
//!    [`FileRange`](crate::gateway::FileRange): back-pressure and framing are the server's.
//! 4. Answer with a status what the client has done wrong, and return `Err` for what an operator
//!    has to mend: that is a 500, and a line in the log.
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

#[cfg(feature = "static-files")]
pub mod html;
#[cfg(feature = "static-files")]
pub mod static_files;

#[cfg(all(test, feature = "static-files"))]
mod recording;

#[cfg(feature = "static-files")]
#[doc(no_inline)]
pub use static_files::{FileCache, Links, Moved, Reopening, Rules, StaticFiles, media_type};
