//! Middleware that codes answers on the fly, for clients that take them so (RFC 9110 §8.4): gzip, and with the feature
//! `dense` br and zstd.
//!
//! ```text
//! request ──▶ Compressed ──▶ application
//!                 ◀── Coding (a filter) ◀── its answer
//!                       │  of text, not secret, not coded yet ──▶ coded as it passes; kept if it has a strong ETag
//!                       └─ anything else ──▶ as it is
//! ```
//!
//! ```
//! use tidegate::{Environ, StartResponse};
//! use tidegate_compress::{Compressed, Compression};
//!
//! let site = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
//!     start_response.status(200).field("Content-Type", "text/plain").send("tide ".repeat(1_000))
//! };
//! let site = Compressed::new(site, &Compression::default());
//! # let mut hand = tidegate::conversation::ByHand::new(site);
//! # hand.receive(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
//! # let answer = hand.transmit_all();
//! # assert!(answer.len() < 500 && String::from_utf8_lossy(&answer).contains("\r\nContent-Encoding: gzip\r\n"));
//! ```
//!
//! An answer is coded if it is of a [type that is text](is_text), has 512 bytes or more, and the client takes a coding. Its
//! entity tag becomes a weak one, since the bytes are others; both forms are known by it, so an If-None-Match with it
//! is answered by the application as before. It says `Vary: Accept-Encoding`, coded or not. If its Vary names anything else, its
//! result is not kept: an application may have one tag for all that it depends on. Ranges are those of the
//! content as it is: an answer to one passes as it is.
//!
//! An answer that may be secret is never coded, since its length would tell something about the secret to those who can
//! choose a part of it (BREACH): an answer with Set-Cookie, or with `private` or `no-store` in its Cache-Control; one to a request with
//! Authorization, or with a Cookie, unless [`Compressed::regardless_of_cookies`] says that these do not matter. An
//! answer with `no-transform` in its Cache-Control or a digest of its content passes as it is, too. What an application must
//! keep secret beyond that (tokens in pages of a user who is known by an address, say), it must say by `private`.
//!
//! The memory of coders and of results is bounded ([`Bounds`]), for all event loops together: where that of coders is
//! used up, an answer is coded with less effort, or passes as it is. A coder works on the thread of the event loop, 64 KiB at a time: a longer answer that the application
//! gives at once is coded while the socket takes it, as a stream is, and others are answered in between. Content of more than
//! 1 MiB is coded in the fastest way, at some 100 MB/s. A stream that waits is flushed first, so nothing is held back.
//! `text/event-stream` passes as it is: a coder held for hours would serve one client.

mod coder;
mod filter;
mod results;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate::gateway::{Admission, MemoryAccount};
use tidegate::message::{Fields, Method, accepted_codings};
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};

pub use self::coder::{Coding, Effort, code};
#[cfg(feature = "dense")]
pub use self::coder::{code_against, dictionary_name};
pub use self::filter::is_text;
use self::filter::{Asked, Coded, Key};
use self::results::Results;

/// The bounds of what [`Compression`] takes. Of each it takes no more than an eighth of the server's
/// [`memory_bytes_max`](tidegate::limits::Limits::memory_bytes_max).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most memory for coders at work, in bytes. 32 MiB: fifty of gzip, or 4 to 32 of br or zstd, which make less effort where that
    /// is short.
    pub coders_bytes_max: usize,
    /// Most memory for results that are kept, in bytes. 32 MiB: the texts of a large site. Zero keeps none.
    pub results_bytes_max: usize,
    /// Longest result that is kept, in bytes. 1 MiB: longer ones are few, and would take the place of many.
    pub result_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { coders_bytes_max: 32 << 20, results_bytes_max: 32 << 20, result_bytes_max: 1 << 20 }
    }
}

/// The part of the server's memory that coders take at most, and so do results.
const MEMORY_SHARE: usize = 8;

/// Coders and their results, which the event loops of a server share. Clones are the same.
#[derive(Clone, Default)]
pub struct Compression(Arc<Shared>);

#[derive(Default)]
struct Shared {
    bounds: Bounds,
    /// The memory of coders at work, in bytes.
    coders_bytes: AtomicUsize,
    results: Mutex<Results>,
}

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compression").field("bounds", &self.0.bounds).finish_non_exhaustive()
    }
}

impl Compression {
    /// Makes a middleware that takes no more than these bounds say.
    pub fn new(bounds: Bounds) -> Compression {
        Compression(Arc::new(Shared { bounds, ..Shared::default() }))
    }

    /// The memory that coders at work take, in bytes.
    pub fn coders_bytes(&self) -> usize {
        self.0.coders_bytes.load(Ordering::Relaxed)
    }

    /// The memory that results take, in bytes.
    pub fn results_bytes(&self) -> usize {
        self.results().bytes()
    }

    /// Takes memory for a coder that makes this effort, if enough is left.
    fn hire(&self, coding: Coding, effort: Effort, account: Option<&MemoryAccount>) -> Option<Hired> {
        let bytes = coding.held_bytes(effort);
        let bytes_max = share(self.0.bounds.coders_bytes_max, account);
        let hired = Hired { of: self.clone(), bytes };
        // What is too much is given back as it is dropped.
        let before = self.0.coders_bytes.fetch_add(bytes, Ordering::Relaxed);
        (before + bytes <= bytes_max).then_some(hired)
    }

    /// Whether a result of this length is kept.
    fn is_kept(&self, length: usize) -> bool {
        length <= self.0.bounds.result_bytes_max.min(self.0.bounds.results_bytes_max)
    }

    fn keep(&self, key: Key, result: Vec<u8>, account: Option<&MemoryAccount>) {
        let bytes_max = share(self.0.bounds.results_bytes_max, account);
        self.results().keep(key, result.into(), bytes_max, account);
    }

    fn result(&self, key: &Key) -> Option<Arc<[u8]>> {
        self.results().get(key)
    }

    fn results(&self) -> MutexGuard<'_, Results> {
        self.0.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn share(bytes_max: usize, account: Option<&MemoryAccount>) -> usize {
    bytes_max.min(account.map_or(usize::MAX, |account| account.bytes_max() / MEMORY_SHARE))
}

/// The memory of a coder, which counts until this is dropped.
struct Hired {
    of: Compression,
    bytes: usize,
}

impl Drop for Hired {
    fn drop(&mut self) {
        self.of.0.coders_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A gateway that codes the answers of another one.
///
/// Put it around all other middleware that adds fields to answers: it goes by what they say.
#[derive(Clone, Debug)]
pub struct Compressed<G> {
    gateway: G,
    compression: Compression,
    cookies: Cookies,
}

/// The meaning of a request's cookies for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cookies {
    /// Cookies may say who is asking, and the answer may hold what others must not know.
    Matter,
    /// The answer is the same without cookies.
    DoNotMatter,
}

impl<G> Compressed<G> {
    /// Wraps this gateway.
    pub fn new(gateway: G, compression: &Compression) -> Compressed<G> {
        Compressed { gateway, compression: compression.clone(), cookies: Cookies::Matter }
    }

    /// Codes answers to requests with cookies, too: for applications whose answers do not depend on them, such as files.
    #[must_use]
    pub fn regardless_of_cookies(self) -> Compressed<G> {
        Compressed { cookies: Cookies::DoNotMatter, ..self }
    }

    /// The coding in which the client is to have the answer; none if the answer stays as it is.
    fn coding_for(&self, environ: &Environ<'_>) -> Option<Coding> {
        let fields = environ.fields();
        let is_secret = fields.get("Authorization").is_some()
            || self.cookies == Cookies::Matter && fields.get("Cookie").is_some();
        if is_secret || !matches!(environ.method(), Method::GET | Method::HEAD | Method::POST) {
            return None;
        }
        first_accepted(fields)
    }
}

/// The coding that a client likes best.
fn first_accepted(fields: Fields<'_>) -> Option<Coding> {
    fields.get("Accept-Encoding")?;
    let name = *accepted_codings(fields, &Coding::ALL.map(Coding::name)).first()?;
    Coding::ALL.into_iter().find(|coding| coding.name() == name)
}

impl<G: Gateway> Gateway for Compressed<G> {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let coding = self.coding_for(environ);
        let filter = Coded::new(&self.compression, Asked::by(environ, coding));
        start_response.through(filter, |start_response| self.gateway.call(environ, start_response))
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        self.gateway.admit(environ)
    }
}
