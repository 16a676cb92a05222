//! Request content that is passed on as it comes.
//!
//! ```text
//!  socket ─▶ Feed::push ─▶ [ buffer ] ─▶ IncomingContent::next_piece ─▶ application
//!                 ▲                               │
//!                 └── the socket is not read ◀────┘ while the buffer is full
//! ```
//!
//! The server keeps one half, the application has the other. Each wakes the other when there is something to
//! do for it, so that neither waits in vain.

use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{OwnedContent, Piece, Wakeup};

/// Bytes of a temporary file that are read at a time. 64 KiB: the most that a socket takes at once.
const FILE_PIECE_BYTES: u64 = 64 * 1024;

/// Request content in pieces, read while it arrives: see [`Admission::AsItComes`](super::Admission::AsItComes).
///
/// It is read with the words of an answer that is [drawn](super::BodyStream): a piece, nothing yet, or the end. While the
/// application does not read, no more than [`output_bytes_high`](crate::limits::Limits::output_bytes_high) bytes are kept
/// for it, and a read; then the client has to wait. Its connection is woken when more has come: the
/// [`Later`](super::Later) or [`BodyStream`](super::BodyStream) that answers is asked again.
///
/// It may be sent to another thread. Dropped before its end, it says that nobody wants the rest: that is
/// thrown away, and the connection ends after the answer. Content that was there before the call is read in
/// the same manner.
pub struct IncomingContent {
    source: Source,
    /// The piece that is lent at the moment.
    current: Vec<u8>,
}

/// The source of the pieces.
enum Source {
    /// The server passes the pieces on.
    Feed { shared: Arc<Mutex<Shared>>, wakeup: Wakeup },
    /// All of the content has come.
    AtHand(OwnedContent),
}

/// The server's half of [`IncomingContent`].
#[derive(Debug)]
pub(crate) struct Feed(Arc<Mutex<Shared>>);

#[derive(Debug)]
struct Shared {
    buffer: Vec<u8>,
    stage: Stage,
    /// Whether the server has stopped reading the socket because the buffer is full.
    is_blocked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// More content is to come.
    Coming,
    /// The rest of the content is in the buffer.
    Ended,
    /// The content will never be complete.
    Broken,
    /// The application wants no more of the content.
    Unwanted,
}

impl IncomingContent {
    /// Makes content of what has come whole.
    pub(super) fn at_hand(content: OwnedContent) -> IncomingContent {
        IncomingContent { source: Source::AtHand(content), current: Vec::new() }
    }

    /// Takes the next piece. `Pending` names no moment: the connection is woken when there is more.
    ///
    /// # Errors
    /// Returns [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the content broke off: the client has left, or has
    /// broken a rule or a limit. The server answers that itself, or breaks the response off. Returns what reading says
    /// when the content lies in a temporary file.
    pub fn next_piece(&mut self) -> io::Result<Piece<'_>> {
        self.current.clear();
        match &mut self.source {
            Source::Feed { shared, wakeup } => {
                let mut shared = open(shared);
                if shared.buffer.is_empty() {
                    return match shared.stage {
                        Stage::Coming => Ok(Piece::Pending { until: None }),
                        Stage::Ended | Stage::Unwanted => Ok(Piece::End),
                        Stage::Broken => Err(io::ErrorKind::UnexpectedEof.into()),
                    };
                }
                mem::swap(&mut self.current, &mut shared.buffer);
                if mem::take(&mut shared.is_blocked) {
                    drop(shared);
                    wakeup.wake();
                }
            }
            Source::AtHand(OwnedContent::Memory(bytes)) => self.current = mem::take(bytes),
            Source::AtHand(OwnedContent::Spooled { file, .. }) => {
                file.take(FILE_PIECE_BYTES).read_to_end(&mut self.current)?;
            }
        }
        if self.current.is_empty() { Ok(Piece::End) } else { Ok(Piece::Data(&self.current)) }
    }
}

impl Drop for IncomingContent {
    fn drop(&mut self) {
        if let Source::Feed { shared, wakeup } = &self.source {
            let mut shared = open(shared);
            if shared.stage == Stage::Coming {
                shared.stage = Stage::Unwanted;
                drop(shared);
                wakeup.wake();
            }
        }
    }
}

impl fmt::Debug for IncomingContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Feed { shared, .. } => f.debug_tuple("IncomingContent").field(&*open(shared)).finish(),
            Source::AtHand(content) => f.debug_tuple("IncomingContent").field(content).finish(),
        }
    }
}

impl Feed {
    /// Makes the two halves. `wakeup` is that of the connection.
    pub(crate) fn new(wakeup: Wakeup) -> (Feed, IncomingContent) {
        let shared = Shared { buffer: Vec::new(), stage: Stage::Coming, is_blocked: false };
        let shared = Arc::new(Mutex::new(shared));
        let feed = Feed(shared.clone());
        (feed, IncomingContent { source: Source::Feed { shared, wakeup }, current: Vec::new() })
    }

    /// Appends content that has come.
    pub(crate) fn push(&self, bytes: &[u8]) {
        open(&self.0).buffer.extend_from_slice(bytes);
    }

    /// Notes that all content has come.
    pub(crate) fn end(&self) {
        self.become_unless_unwanted(Stage::Ended);
    }

    /// Notes that the rest will not come.
    pub(crate) fn break_off(&self) {
        self.become_unless_unwanted(Stage::Broken);
    }

    fn become_unless_unwanted(&self, stage: Stage) {
        let mut shared = open(&self.0);
        if shared.stage == Stage::Coming {
            shared.stage = stage;
        }
    }

    /// Whether the application does not want any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        open(&self.0).stage == Stage::Unwanted
    }

    /// Whether there is room for more, of which `bytes_high` may wait. If not, the application will wake the
    /// connection once it has read.
    pub(crate) fn has_room(&self, bytes_high: usize) -> bool {
        let mut shared = open(&self.0);
        shared.is_blocked = shared.buffer.len() >= bytes_high;
        !shared.is_blocked
    }

    /// The memory it takes, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        open(&self.0).buffer.capacity()
    }
}

/// Locks the state that the halves share; a thread that panicked meanwhile left it whole.
fn open(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
