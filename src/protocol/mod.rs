//! HTTP/1.0 and 1.1 on one connection (RFC 9112): no sockets, no clock, no log.
//!
//! ```text
//! bytes in ─▶ ReceiveBuffer ─▶ parse_head ─▶ ParsedHead ─┐
//!                              BodyDecoder ─▶ content    │   Http1: request machine,
//!                                                        ├── response machine,
//! bytes out ◀── ResponseEncoder (head) ◀── status, fields│   persistence
//!               BodyEncoder (pieces) ◀──── content ──────┘
//! ```
//!
//! Everything here is a function of bytes: feed it from a file, a test or a socket. "More bytes are
//! needed" is a value, not an error; an error is the peer's fault, and names status and section.
//! What it deliberately does not do: buffer output, call applications, know the time.
//!
//! Read in this order: [`error`](ProtocolError), [`parse_head`], [`HeadSemantics`], [`RequestFraming`],
//! [`ChunkedDecoder`], [`Trailers`], [`Persistence`], [`ResponseEncoder`], the tables of [`RequestState`] and
//! [`ResponseState`], and [`Http1`], which ties them together and shows a dialogue by hand. Why it is as
//! strict as it is stands in [`failures`].

mod chunked;
mod error;
pub mod failures;
mod framing;
mod head_parser;
mod http1;
mod persistence;
mod receive_buffer;
mod response_encoder;
mod semantics;
mod state;
mod trailers;

pub use chunked::{CHUNK_EXTENSION_BYTES_MAX, ChunkedDecoder, Decoded, TRAILER_BYTES_MAX};
pub use error::ProtocolError;
pub use framing::{BodyDecoder, FramingFields, RequestFraming, parse_content_length};
pub use head_parser::{
    EMPTY_LINES_MAX, FieldSlots, ParsedHead, blank_lines, has_head_end, parse_head, parse_request_line,
};
pub use http1::{Http1, RETRY_AFTER_SECONDS, Savepoint};
pub use persistence::{CloseReason, Persistence};
pub use receive_buffer::ReceiveBuffer;
pub use response_encoder::{
    BodyEncoder, CONTINUE, ContentWish, ResponseContext, ResponseEncoder, ServerFields, TrailerWish,
};
pub use semantics::{Expectation, HeadSemantics};
pub use state::{RequestEvent, RequestState, ResponseEvent, ResponseState};
pub use trailers::Trailers;
