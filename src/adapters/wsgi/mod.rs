//! WSGI: Python applications, unmodified, in this process (PEP 3333).

mod call;
mod environ;
mod exchange;
mod ffi;
mod field_memo;
mod file_wrapper;
mod head;
mod inline;
mod input;
mod interpreter;
mod jobs;
mod names;
mod outlet;
mod pool;
mod reply;
mod sending;
mod trust;

pub use environ::Surroundings;
pub(crate) use ffi::adopt_descriptor;
pub use inline::Inline;
pub use pool::{Crew, Pool};
pub use trust::TrustedProxies;
