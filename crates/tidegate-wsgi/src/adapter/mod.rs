//! WSGI: Python applications, unmodified, in this process (PEP 3333).
//!
//! One server, many frameworks, with no change to either side: that is what the interface is for.
//! The server builds an `environ`, calls the application with it and a `start_response`, and sends what
//! the application returns:
//!
//! ```text
//!       server                                                  application (Flask, Django, …)
//!
//!   1   request ──▶ environ                 environ.rs
//!   2   application(environ, start_response) ────────────────▶  def application(environ, start_response):
//!   3                                       call.rs  ◀────────      start_response('200 OK', fields)
//!   4                                       reply.rs ◀────────      return [b'Hello, World!']
//!   5   head, framing, blocks ──▶ socket    sending.rs
//! ```
//!
//! The two halves of the contract, as they are in this code:
//!
//! ```text
//!   environ: dict                                      start_response(status, fields, exc_info=None)
//!   ┌──────────────────────┬─────────────────────┐     ┌────────────────────────────────────────────┐
//!   │ REQUEST_METHOD       │ 'GET'               │     │ status, fields: judged here and now        │
//!   │ PATH_INFO            │ '/tide', decoded    │     │   ──▶ Head, with a FieldBlock (head.rs)    │
//!   │ QUERY_STRING         │ 'high=1'            │     │ a second time: only with exc_info, and     │
//!   │ SERVER_NAME, …_PORT  │ 'a.example', '8000' │     │   while nothing was sent; it replaces all  │
//!   │ HTTP_…               │ each other field    │     │ returns write(data), which sends at once   │
//!   │ wsgi.input           │ the content, whole  │     └────────────────────────────────────────────┘
//!   │ wsgi.errors          │ sys.stderr          │       the head leaves with the first block that is
//!   │ wsgi.file_wrapper, … │ what the server can │       not empty, or at the end: until then the
//!   └──────────────────────┴─────────────────────┘       application may change its mind
//! ```
//!
//! Where the application runs is the other question, and there are two answers. Both go through the public
//! gateway trait, and nothing else of the server is known here:
//!
//! | | [`Inline`] (`--threads 1`) | [`Pool`] (`--threads N`) |
//! |---|---|---|
//! | the application runs | on the thread of the event loop | on N threads of Python |
//! | for | applications that never wait | all others |
//! | while it waits | nobody is served | others are; N at a time |
//! | the interpreter's lock | held for a turn of the loop, let go while the loop waits | never touched by the loop |
//! | a block of a stream | is on its way before the next is asked for | waits in the handoff, which holds 64 KiB at most |
//! | an answer that takes too long | a supervisor ends the process | 504, and the thread is left to finish; a supervisor replaces a process in which all are stuck |
//!
//! What PEP 3333 leaves to the server, and what was chosen:
//!
//! - The request is complete before the call. So `wsgi.input` never waits, `wsgi.input_terminated` is true,
//!   content that came in chunks has a CONTENT_LENGTH, and a slow client holds nobody.
//! - Content-Length is added where the content is a list or tuple, or one block that is all; otherwise the
//!   content is chunked (HTTP/1.1) or ended by the end of the connection (1.0). Of more than was declared
//!   the rest is cut off; with less the connection is broken off.
//! - `close()` is called once, whatever happens: at the end, after an error, when no more is wanted, when the
//!   client is gone. An answer that is all there is sent after it, inline.
//! - An exception before the head has left is a 500 without a word of it, with the traceback on
//!   `wsgi.errors`; afterwards the response is broken off. SystemExit is an exception like any other.
//! - Fields of the connection are refused, but for `Connection: close`, which is obeyed.
//!
//! Beyond PEP 3333 the environ has `wsgi.early_hints` (a callable: 103, RFC 8297),
//! `tidegate.client_disconnected` (a callable: whether the client has ended its side; inline that is known
//! only from before the call), and `REQUEST_URI` (the target as it was sent).
//!
//! To read: `environ.rs`, `call.rs` and `reply.rs` are the contract; `inline.rs` is the short way; `pool.rs`,
//! `jobs.rs`, `handoff.rs` and `desk.rs` the long one. All that is unsafe is in `ffi.rs`.

mod call;
mod desk;
mod environ;
mod ffi;
mod field_memo;
mod file_wrapper;
mod forked;
mod handoff;
mod head;
mod inline;
mod input;
mod interpreter;
mod names;
mod outlet;
mod pool;
mod reply;
mod sending;
mod stack;
mod trust;

pub(crate) use desk::RunningCall;
pub use environ::Deployment;
pub(crate) use ffi::duplicate_descriptor;
pub use inline::{Inline, InlineHooks};
pub(crate) use interpreter::report;
pub use pool::{Crew, Pool, PoolHooks};
pub use trust::TrustedProxies;
