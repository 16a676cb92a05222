//! Serves Python applications by tidegate in the process of their interpreter: WSGI (PEP 3333).
//!
//! | module | has |
//! |---|---|
//! | [`adapter`] | the gateway that calls an application: inline, or on a pool of threads |
//! | `extension` | the module `tidegate._tidegate`, the native half of the Python package (`python/tidegate`) |
//! | `options`, `access` | what the command line of the Python package has beside that of the program, and its access log |
//!
//! `pip install .` in the root of the repository builds and installs it.

mod access;
pub mod adapter;
mod extension;
mod options;

pub use adapter::{Crew, Deployment, Inline, Pool, TrustedProxies};
