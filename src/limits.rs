//! Every bound of the server, in one place: its unit in the name, its default, and the reason.
//!
//! All limits are on by default. A limit that is passed has a fixed outcome (a status code or a
//! closed connection), named beside it.
//!
//! They bound what clients do, and the time that the server waits for them. They do not bound the time that an
//! application takes: an answer that is [later](crate::gateway::Later) or a stream that is
//! [pending](crate::gateway::Piece::Pending) without a moment is waited for until it comes or the client leaves.
//! The application gives that moment.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// The most field lines that any configuration can allow in one head.
///
/// The slots for parsed field lines stand on the stack, 32 bytes each; this bounds that to 4 KiB.
pub const FIELDS_CAPACITY: usize = 128;

/// The bounds on what a peer may take of the server's memory and time.
///
/// ```
/// use tidegate::limits::Limits;
///
/// let limits = Limits { body_bytes_max: 1 << 20, ..Limits::default() };
/// assert_eq!(limits.head_bytes_max, 32 * 1024);
/// assert!(limits.check().is_ok());
/// ```
// It will grow and yet is not `#[non_exhaustive]`, which would forbid `..Limits::default()` outside of this crate.
// Whoever writes that does not notice a new limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line, its line end included; beyond it 414. 8 KiB: RFC 9112 §3 asks for at
    /// least 8,000 octets; Apache and nginx take 8 KiB.
    pub request_line_bytes_max: usize,
    /// Longest head, request line and all field lines together; beyond it 431. 32 KiB: nginx's
    /// four buffers of 8 KiB; browsers with many cookies stay below 16 KiB.
    pub head_bytes_max: usize,
    /// Most field lines in a head, at most [`FIELDS_CAPACITY`]; beyond it 431. 100: as Apache and
    /// gunicorn.
    pub fields_max: usize,
    /// Longest request content, after decoding; beyond it 413, before it is read where
    /// Content-Length tells. 1 GiB: as waitress; uploads larger than that want an object store.
    pub body_bytes_max: u64,
    /// Request content kept in memory while that is ample (see [`Limits::memory_bytes_max`]); what is longer goes to a
    /// temporary file without a name. 8 MiB: forms and photographs fit, and what would not fit has to be written in one
    /// go when that is found out, which takes a few milliseconds.
    pub body_memory_bytes_max: usize,
    /// Request content in temporary files, for all connections together and as long as the application keeps
    /// it; beyond it 503, or 413 for content that is longer than all of it, before it is read where
    /// Content-Length tells. None, the default: half of what is free in the folder for temporary files when
    /// the server starts, since others write there too; 4 GiB where the system does not say.
    pub spool_bytes_max: Option<u64>,
    /// Connections at a time; beyond it the longest idle one makes room for a new one, and if none has been
    /// idle for a second, one that has brought no whole request for a second (with 408 if it has begun one;
    /// less time where others come without a pause), and then one that was answered just now; if all are
    /// busy, new ones wait in the listen queue. 16,384: ten thousand and room to spare, at about 100 bytes
    /// each while they idle.
    pub connections_max: usize,
    /// Bytes held for all connections together: heads in part, content in memory, output owed, and requests that
    /// applications have taken to other threads. From three quarters of it on, content goes to temporary files at once,
    /// half a head waits to be read on, and no more content is produced for a client that has not taken what is there.
    /// Where that lasts for a second, or beyond it, those who hold most and have moved least give theirs back: content
    /// moves to the disk, who sends content that the application does not read is turned away (503), the others are
    /// cut. At least twice [`Limits::head_bytes_max`], for each of several event loops. 256 MiB: a small machine
    /// survives it.
    pub memory_bytes_max: usize,
    /// Output owed to one peer above which nothing more is produced for it and nothing more read
    /// from it. 64 KiB: one write fills a socket's default send buffer.
    pub output_bytes_high: usize,

    /// Longest time from accept, or from the first byte of a later head, to the head's end; beyond
    /// it 408. Absolute: no byte extends it. 20 s: Apache's `RequestReadTimeout`.
    pub head_timeout: Duration,
    /// Longest time without a byte of request content; beyond it 408. 30 s.
    pub body_timeout: Duration,
    /// Least rate of request content, in bytes a second; a client that stays behind it for longer than
    /// [`Limits::body_timeout`] gets 408. Being ahead of it pays for slowness of three such timeouts at
    /// most. 500: Apache's `MinRate`. Zero turns it off.
    pub body_rate_min: u32,
    /// Longest time that a kept connection waits for the next request; then it is closed without
    /// a word. 75 s: as nginx. Zero is refused, where nginx keeps no connection: answers say so with
    /// `Connection: close` if none is to be kept.
    pub idle_timeout: Duration,
    /// Longest time without the peer taking a byte that is owed to it; then the connection is cut.
    /// 30 s.
    pub write_timeout: Duration,
    /// Least rate at which a peer takes what it is owed, in bytes a second; a client that stays behind it for longer than
    /// [`Limits::write_timeout`] is cut. Being ahead of it pays for slowness of three such timeouts at
    /// most. 500: as for content. Zero turns it off.
    pub output_rate_min: u32,
    /// How long a connection that was refused is still read, and what it sends thrown away, so
    /// that the error response is not lost to a TCP reset (RFC 9112 §9.6). 5 s: as nginx.
    pub linger_timeout: Duration,
    /// Longest time that a client waits, unread, for a gateway that [takes no
    /// request](crate::gateway::LoopHooks::is_ready); beyond it 503 with Retry-After. It is not the time that an
    /// answer may take: that is the moment which the application gives with [`later`](crate::StartResponse::later),
    /// [`until`](crate::gateway::DeferredAnswer::until) or [`Pending`](crate::gateway::Piece::Pending). 30 s: as
    /// gunicorn lets an answer take, and half of what nginx waits for.
    pub gateway_timeout: Duration,
    /// Longest time without a byte in either direction on a connection that an application has taken over
    /// ([`Tunnel`](crate::gateway::Tunnel)); then it is cut. 1 h: as HAProxy's examples have it for tunnels. People
    /// leave a page open for long, and an application that wants to know sooner whether a client is there pings it.
    pub tunnel_timeout: Duration,
    /// How long a graceful shutdown waits for what is in flight; then it is cut. 30 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            request_line_bytes_max: 8 * 1024,
            head_bytes_max: 32 * 1024,
            fields_max: 100,
            body_bytes_max: 1 << 30,
            body_memory_bytes_max: 8 << 20,
            spool_bytes_max: None,
            connections_max: 16_384,
            memory_bytes_max: 256 << 20,
            output_bytes_high: 64 * 1024,
            head_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(30),
            body_rate_min: 500,
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            output_rate_min: 500,
            linger_timeout: Duration::from_secs(5),
            gateway_timeout: Duration::from_secs(30),
            tunnel_timeout: Duration::from_secs(3600),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// The share of one of several event loops: bounds on all connections together are divided.
    pub(crate) fn divided(&self, count: usize) -> Limits {
        Limits {
            connections_max: self.connections_max.div_ceil(count),
            memory_bytes_max: self.memory_bytes_max.div_ceil(count),
            spool_bytes_max: self.spool_bytes_max.map(|bytes| bytes.div_ceil(count as u64)),
            ..self.clone()
        }
    }

    /// Checks that a server could serve with these limits.
    ///
    /// # Errors
    /// The first limit that makes no sense, and why.
    pub fn check(&self) -> Result<(), InvalidLimit> {
        let positive: [(&str, u64); 10] = [
            ("request_line_bytes_max", self.request_line_bytes_max as u64),
            ("head_bytes_max", self.head_bytes_max as u64),
            ("fields_max", self.fields_max as u64),
            ("connections_max", self.connections_max as u64),
            ("output_bytes_high", self.output_bytes_high as u64),
            ("memory_bytes_max", self.memory_bytes_max as u64),
            ("head_timeout", self.head_timeout.as_nanos() as u64),
            ("body_timeout", self.body_timeout.as_nanos() as u64),
            ("idle_timeout", self.idle_timeout.as_nanos() as u64),
            ("write_timeout", self.write_timeout.as_nanos() as u64),
        ];
        if let Some((limit, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(InvalidLimit::Zero { limit });
        }
        if self.fields_max > FIELDS_CAPACITY {
            return Err(InvalidLimit::TooMuch { limit: "fields_max", most: FIELDS_CAPACITY });
        }
        // A head that comes in two reads is kept meanwhile, and not read on from three quarters of it on.
        let least = self.head_bytes_max.saturating_mul(2);
        if self.memory_bytes_max < least {
            return Err(InvalidLimit::LessThanTwoHeads { limit: "memory_bytes_max", least });
        }
        if self.connections_max > CONNECTIONS_CAPACITY {
            return Err(InvalidLimit::TooMuch { limit: "connections_max", most: CONNECTIONS_CAPACITY });
        }
        Ok(())
    }
}

/// Most connections whose ids differ.
const CONNECTIONS_CAPACITY: usize = u32::MAX as usize / 2;

/// A limit with which nothing could be served, or not everything; `limit` is the name of its field.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum InvalidLimit {
    /// The limit is zero.
    Zero {
        /// The name of the limit's field.
        limit: &'static str,
    },
    /// The limit is beyond what the server is made for.
    TooMuch {
        /// The name of the limit's field.
        limit: &'static str,
        /// The greatest possible value.
        most: usize,
    },
    /// The limit is less than twice the longest head: a head could wait forever to be read on.
    LessThanTwoHeads {
        /// The name of the limit's field.
        limit: &'static str,
        /// The least possible value.
        least: usize,
    },
}

impl InvalidLimit {
    /// The name of the limit: that of its field in [`Limits`].
    pub fn limit(&self) -> &'static str {
        match self {
            InvalidLimit::Zero { limit }
            | InvalidLimit::TooMuch { limit, .. }
            | InvalidLimit::LessThanTwoHeads { limit, .. } => limit,
        }
    }

    /// Returns the rest of a sentence that begins with the name of the limit, and says what is wrong with it.
    pub fn reason(&self) -> String {
        match self {
            InvalidLimit::Zero { limit: "idle_timeout" } => {
                "must not be zero: clients would be told that their connection is kept, and find it closed"
                    .to_string()
            }
            InvalidLimit::Zero { .. } => "must not be zero: nothing could be served".to_string(),
            InvalidLimit::TooMuch { most, .. } => format!("can be at most {most}"),
            InvalidLimit::LessThanTwoHeads { least, .. } => format!(
                "must be at least {least}, twice the longest head: else one could wait forever to be read on"
            ),
        }
    }
}

impl fmt::Display for InvalidLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.limit(), self.reason())
    }
}

/// Says the same as [`Display`](fmt::Display): `main` shows the error that it returns in this form.
impl fmt::Debug for InvalidLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for InvalidLimit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_forbid_everything_are_refused_by_name() {
        let limits = Limits { fields_max: 0, ..Limits::default() };
        assert!(limits.check().unwrap_err().to_string().contains("fields_max"));
        let limits = Limits { fields_max: FIELDS_CAPACITY + 1, ..Limits::default() };
        assert!(limits.check().unwrap_err().to_string().contains("128"));
        let limits = Limits { idle_timeout: Duration::ZERO, ..Limits::default() };
        assert!(
            limits.check().unwrap_err().to_string().starts_with("idle_timeout must not be zero: clients")
        );
        let limits = Limits { head_bytes_max: 1000, memory_bytes_max: 2000, ..Limits::default() };
        assert_eq!(limits.check(), Ok(()));
        assert!(
            limits
                .divided(2)
                .check()
                .unwrap_err()
                .to_string()
                .contains("memory_bytes_max must be at least 2000")
        );
    }
}
