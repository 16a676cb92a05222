//! Gateways around gateways for tidegate: what most sites put around their application, and short enough to be copied.
//!
//! | gateway | what it does |
//! |---|---|
//! | [`BasicAuth`] | lets pass who knows a password |
//! | [`Mounts`] | shares requests out between applications, by host and prefix |
//! | [`WithFields`] | adds fields to every answer |
//!
//! How such a gateway is written stands in [`tidegate::gateway::middleware`]. `tidegate-compress`, which codes answers on the
//! fly, is one more.
//!
//! ```no_run
//! use tidegate::{Environ, Server, StartResponse};
//! use tidegate_middleware::{BasicAuth, Mounts, WithFields};
//!
//! let home = |_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("home");
//! let engine = |_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("hot");
//! let engine = BasicAuth::new(engine, "the engine room")?.user("ebb", "and flow")?;
//! let site = WithFields::new(Mounts::new().at("/", home).at("/engine", engine)).set("X-Frame-Options", "DENY")?;
//! Server::new().listen("127.0.0.1:8000".parse()?).bind()?.run(site)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

mod basic_auth;
mod mounts;
mod with_fields;

pub use basic_auth::{BasicAuth, InvalidUser};
pub use mounts::Mounts;
pub use with_fields::WithFields;
