//! The words of HTTP (RFC 9110): method, status, field, target, head, date.
//!
//! Plain values that know nothing of connections, encodings or applications; `protocol` reads and
//! writes them, `gateway` shows them to applications.
//!
//! ```
//! use tidegate::message::{Method, RequestTarget};
//!
//! let target = RequestTarget::parse(Method("GET"), "/search?q=tide").unwrap();
//! assert_eq!(target.raw_path(), "/search");
//! assert_eq!(target.query(), Some("q=tide"));
//! ```

mod accept_encoding;
mod date;
mod field_block;
mod fields;
mod method;
mod percent;
mod request;
mod response;
mod status;
mod target;
mod trailer;
mod words;

pub use accept_encoding::{accepted_codings, weight};
pub use date::{Calendar, HttpDate};
pub use field_block::FieldBlock;
pub use fields::{
    ConnectionOption, DECIMAL_DIGITS_MAX, FieldLines, Fields, format_decimal, is_field_name, is_field_value,
    list_items, parse_decimal,
};
pub use method::Method;
pub(crate) use percent::split_first_decoded;
pub use percent::{percent_decode, percent_decode_text};
pub use request::{RequestHead, Version};
pub use response::{ContentLength, FieldRole, InvalidResponse};
pub use status::StatusCode;
pub use target::{InvalidTarget, RequestTarget, is_host, split_port};
pub use trailer::may_be_trailer;
