//! Access logs for tidegate: one line for each exchange, in the formats that log readers understand.
//!
//! ```text
//! 127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /x HTTP/1.1" 200 13 "-" "curl/8.5.0"
//! {"time":"1994-11-06T08:49:37Z","peer":"127.0.0.1","method":"GET","target":"/x",…}
//! ```
//!
//! The first is the Combined Log Format of NCSA and Apache, the second JSON (RFC 8259), one object
//! a line. A [`FormattedLog`] writes what its format says, in the words of gunicorn. What a client
//! sent can neither end a line nor forge another: it is escaped.
//!
//! Lines collect in memory, and leave in one write at the end of a turn of the loop. A writer that
//! fails is reported once; from then on lines are dropped, and the server serves on. A [`LogFile`] can
//! be moved away and opened again while the server runs. Before a writer that may stall, such as a pipe,
//! belongs a [`LineQueue`]: it costs lines where the loop would wait, and tries again where a writer has failed.
//!
//! ```
//! use tidegate::access_log::{AccessLog, ExchangeRecord, Outcome, RequestLine};
//! use tidegate::message::Version;
//! use tidegate::now::{Moment, Now};
//! use tidegate_logs::CombinedLog;
//!
//! let mut written = Vec::new();
//! let mut log = CombinedLog::new(&mut written);
//! log.record(&ExchangeRecord {
//!     peer: "127.0.0.1:4711".parse().ok(),
//!     request: Some(RequestLine { method: "GET", target: "/x", version: Version::Http11 }),
//!     status: 200,
//!     content_bytes: 13,
//!     request_fields: &[None, Some(b"a \"quote\"".to_vec())],
//!     response_fields: &[],
//!     variables: &[],
//!     begun: Moment::START,
//!     ended: Now { moment: Moment::START, unix_seconds: 784_111_777 },
//!     outcome: Outcome::Complete,
//! });
//! log.flush();
//! assert_eq!(
//!     String::from_utf8(written).unwrap(),
//!     "127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] \"GET /x HTTP/1.1\" 200 13 \"-\" \
//!      \"a \\x22quote\\x22\"\n"
//! );
//! ```

mod combined;
mod escaped;
mod file;
mod format;
mod formatted;
mod json;
mod line_queue;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

pub use self::combined::CombinedLog;
pub use self::file::{LogFile, ReopenHandle};
pub use self::format::{InvalidLogFormat, LogFormat};
pub use self::formatted::FormattedLog;
pub use self::json::JsonLog;
pub use self::line_queue::{END_PATIENCE, LineQueue, QUEUE_BYTES_MAX};

/// Bytes of lines beyond which they are written before the turn is over. 64 KiB: the capacity of a pipe.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The places of the two fields in [`Wanted::default`](tidegate::access_log::Wanted::default).
const REFERER: usize = 0;
const USER_AGENT: usize = 1;

/// Lines on their way to a writer.
#[derive(Debug)]
struct Lines<W> {
    /// The writer; none once it has failed.
    writer: Option<W>,
    buffer: Vec<u8>,
}

impl<W: Write> Lines<W> {
    fn new(writer: W) -> Lines<W> {
        Lines { writer: Some(writer), buffer: Vec::new() }
    }

    fn append(&mut self, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) {
        if self.writer.is_none() {
            return;
        }
        // Writing to a Vec does not fail.
        let _ = write(&mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        if let Err(error) = writer.write_all(&self.buffer).and_then(|()| writer.flush()) {
            log::warn!("the access log cannot be written and ends here: {error}");
            self.writer = None;
        }
        self.buffer.clear();
    }
}
