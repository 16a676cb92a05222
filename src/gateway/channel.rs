//! Content from another thread, piece by piece, ready-made: a channel from a thread to a client.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{BodyStream, GatewayError, Piece, Wakeup};
use crate::now::Moment;

/// Bytes that a sender may be ahead of the connection, unless [`SentContent::bytes_max`] says otherwise. 64 KiB: the most
/// that a socket takes at once.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// Makes a channel from another thread to the client of one request, in two halves: the [`ContentSender`] goes to that
/// thread, the [`SentContent`] is the content of the response here.
///
/// The thread waits while the client reads slowly, and hears when nobody reads any more. Status and fields are decided
/// before; where they are not known yet, [`deferred`](super::deferred) gives the whole answer later.
///
/// ```
/// use std::io::Write;
///
/// use tidegate::gateway::channel;
/// use tidegate::{Body, Environ, GatewayError, StartResponse};
///
/// fn countdown(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
///     let (mut sender, content) = channel(environ.wakeup());
///     std::thread::Builder::new().spawn(move || {
///         for number in (1..=10_000).rev() {
///             // The error says that nobody reads any more.
///             writeln!(sender, "{number}")?;
///         }
///         sender.end();
///         std::io::Result::Ok(())
///     })?;
///     start_response.status(200).field("Content-Type", "text/plain").stream(content)
/// }
/// # fn is_gateway(_: impl tidegate::Gateway) {}
/// # is_gateway(countdown);
/// ```
pub fn channel(wakeup: Wakeup) -> (ContentSender, SentContent) {
    let pipe = Pipe {
        state: Mutex::new(State {
            bytes: Vec::new(),
            ahead_bytes_max: AHEAD_BYTES_MAX,
            phase: ContentPhase::Open { client_has_finished: false },
        }),
        has_changed: Condvar::new(),
    };
    let pipe = Arc::new(pipe);
    (ContentSender { pipe: pipe.clone(), wakeup }, SentContent { pipe, lent: Vec::new() })
}

/// The part that both halves share.
#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    /// Tells senders that there is room, or that nobody reads any more.
    has_changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes that were sent, and not taken by the connection.
    bytes: Vec<u8>,
    ahead_bytes_max: usize,
    phase: ContentPhase,
}

/// The phase of the content. The bytes that were sent before it ended are still to be taken.
#[derive(Debug)]
enum ContentPhase {
    /// More is to come.
    Open {
        /// Whether the client sends nothing more; it may have left.
        client_has_finished: bool,
    },
    /// All of it was sent.
    Ended,
    /// The content cannot be completed.
    Broken(GatewayError),
    /// Nobody takes any more of it.
    Closed,
}

impl State {
    fn room(&self) -> usize {
        self.ahead_bytes_max.saturating_sub(self.bytes.len())
    }
}

impl Pipe {
    /// Locks the state; a thread that panicked meanwhile left it whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason for which nothing more can be sent.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Nobody reads any more: the client has left or did not read, or the server has stopped.
    Gone,
    /// There is no room for it now; only [`ContentSender::try_send`] says so.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Gone => "nobody reads the content any more",
            SendError::Full => "there is no room for more content now",
        })
    }
}

impl Error for SendError {}

impl From<SendError> for io::Error {
    fn from(error: SendError) -> io::Error {
        let kind = match error {
            SendError::Gone => io::ErrorKind::BrokenPipe,
            SendError::Full => io::ErrorKind::WouldBlock,
        };
        io::Error::new(kind, error)
    }
}

/// The sending half of a [`channel`], for any thread; on that of the event loop, only [`ContentSender::try_send`] is
/// of use.
///
/// Content that is complete ends with [`ContentSender::end`]. Dropped before, also by a panic, it breaks the response
/// off in a way that the client can tell from an ending, and the log says so.
///
/// It writes, too ([`io::Write`]): nothing has to be flushed, and small writes are gathered.
#[derive(Debug)]
pub struct ContentSender {
    pipe: Arc<Pipe>,
    wakeup: Wakeup,
}

impl ContentSender {
    /// Sends any number of bytes. Waits for room while the client reads slowly; how long that may take is a matter of
    /// the limits of the server, [`write_timeout`](crate::limits::Limits::write_timeout) and
    /// [`output_rate_min`](crate::limits::Limits::output_rate_min).
    ///
    /// # Errors
    /// Returns an error when nobody reads any more: whoever makes content for this client alone may stop.
    pub fn send(&self, content: impl AsRef<[u8]>) -> Result<(), SendError> {
        let mut rest = content.as_ref();
        loop {
            let count = self.send_some(rest)?;
            rest = &rest[count..];
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Sends all of these bytes if there is room for them, and none of them otherwise. A piece that is longer than the
    /// room there ever is goes when nothing else waits. It never waits: the thread of an event loop of its own may
    /// call it, and so may that of the server's, which would wait for itself in [`ContentSender::send`].
    ///
    /// # Errors
    /// Returns an error when there is no room, or nobody reads any more.
    pub fn try_send(&self, content: impl AsRef<[u8]>) -> Result<(), SendError> {
        let content = content.as_ref();
        let state = self.pipe.lock();
        match state.phase {
            ContentPhase::Open { .. } if state.bytes.is_empty() || content.len() <= state.room() => {
                self.append(state, content);
                Ok(())
            }
            ContentPhase::Open { .. } => Err(SendError::Full),
            ContentPhase::Ended | ContentPhase::Broken(_) | ContentPhase::Closed => Err(SendError::Gone),
        }
    }

    /// Sends as many bytes as there is room for, at least one. Waits until there is some.
    fn send_some(&self, content: &[u8]) -> Result<usize, SendError> {
        let mut state = self.pipe.lock();
        loop {
            let ContentPhase::Open { .. } = state.phase else { return Err(SendError::Gone) };
            let room = state.room();
            if room > 0 || content.is_empty() {
                let count = content.len().min(room);
                self.append(state, &content[..count]);
                return Ok(count);
            }
            state = self.pipe.has_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn append(&self, mut state: MutexGuard<'_, State>, content: &[u8]) {
        let (was_empty, capacity) = (state.bytes.is_empty(), state.bytes.capacity());
        state.bytes.extend_from_slice(content);
        let has_grown = state.bytes.capacity() > capacity;
        drop(state);
        // Else it was woken for those before, and has not come yet. While its client does not read, it comes only to have
        // its memory counted.
        if has_grown || (was_empty && !content.is_empty()) {
            self.wakeup.wake();
        }
    }

    /// Ends the content: all of it was sent. If nobody reads any more, that makes no difference.
    pub fn end(self) {
        self.conclude(ContentPhase::Ended);
    }

    /// Breaks the response off, since its content cannot be completed. The reason is for the log.
    pub fn abort(self, reason: impl Into<GatewayError>) {
        self.conclude(ContentPhase::Broken(reason.into()));
    }

    /// Whether nobody reads any more, so that long work on the next piece would be in vain.
    pub fn is_abandoned(&self) -> bool {
        matches!(self.pipe.lock().phase, ContentPhase::Closed)
    }

    /// Whether the client has ended its side of the connection: it has left, or still reads, which cannot be told
    /// apart before something is sent.
    pub fn client_has_finished(&self) -> bool {
        matches!(
            self.pipe.lock().phase,
            ContentPhase::Closed | ContentPhase::Open { client_has_finished: true }
        )
    }

    /// Ends the content in this way, unless it has ended already.
    fn conclude(&self, end: ContentPhase) {
        let mut state = self.pipe.lock();
        if let ContentPhase::Open { .. } = state.phase {
            state.phase = end;
            drop(state);
            self.wakeup.wake();
        }
    }
}

impl Drop for ContentSender {
    fn drop(&mut self) {
        self.conclude(ContentPhase::Broken(GatewayError::new(
            "the sender of its content was dropped before the end",
        )));
    }
}

impl io::Write for ContentSender {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        Ok(self.send_some(content)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The half of a [`channel`] that is the content of a response. It never waits.
#[derive(Debug)]
pub struct SentContent {
    pipe: Arc<Pipe>,
    /// The bytes that the server has been lent.
    lent: Vec<u8>,
}

impl SentContent {
    /// Sets how many bytes the sender may be ahead of the connection, one at least. The connection holds as many more at
    /// most, besides what it holds of every answer ([`output_bytes_high`](crate::limits::Limits::output_bytes_high)).
    #[must_use]
    pub fn bytes_max(self, bytes: usize) -> SentContent {
        self.pipe.lock().ahead_bytes_max = bytes.max(1);
        self
    }
}

impl BodyStream for SentContent {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        self.lent.clear();
        let mut state = self.pipe.lock();
        if !state.bytes.is_empty() {
            mem::swap(&mut state.bytes, &mut self.lent);
            drop(state);
            self.pipe.has_changed.notify_all();
            return Ok(Piece::Data(&self.lent));
        }
        if let ContentPhase::Open { .. } = state.phase {
            // It may wait for long: neither half keeps a buffer meanwhile.
            state.bytes = Vec::new();
            drop(state);
            self.lent = Vec::new();
            return Ok(Piece::Pending { until: None });
        }
        match mem::replace(&mut state.phase, ContentPhase::Closed) {
            ContentPhase::Broken(reason) => Err(reason),
            ContentPhase::Open { .. } | ContentPhase::Ended | ContentPhase::Closed => Ok(Piece::End),
        }
    }

    fn client_has_finished(&mut self) {
        if let ContentPhase::Open { client_has_finished } = &mut self.pipe.lock().phase {
            *client_has_finished = true;
        }
    }

    fn held_bytes(&self) -> usize {
        self.lent.capacity() + self.pipe.lock().bytes.capacity()
    }
}

impl Drop for SentContent {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        state.phase = ContentPhase::Closed;
        // The sender may live on for long.
        let unread = mem::take(&mut state.bytes);
        drop(state);
        drop(unread);
        self.pipe.has_changed.notify_all();
    }
}
