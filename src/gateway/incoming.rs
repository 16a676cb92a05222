//! Request content that is passed on as it comes.
//!
//! ```text
//!  socket ─▶ Feed::push ─▶ [ buffer ] ─▶ IncomingContent::next_piece ─▶ application
//!                 ▲                               │
//!                 └── the socket is not read ◀────┘ while the buffer is full
//! ```
//!
//! Content that fills a good part of a read is not copied: [`Feed::take_over`] passes on the memory in which it lies.
//!
//! The server keeps one half, the application has the other. Each wakes the other when there is something to
//! do for it, so that neither waits in vain.

use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::read_buffer::ReadBuffer;
use super::{MemoryAccount, OwnedContent, Piece, Reservation, Wakeup};
use crate::message::Fields;

/// Bytes of a temporary file that are read at a time. 64 KiB: the most that a socket takes at once.
const FILE_PIECE_BYTES: u64 = 64 * 1024;

/// Longest piece whose memory is kept while the next one is waited for. 64 KiB: to get so much anew takes a moment, and
/// what is longer are uploads, of which many may wait.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Trailer fields that own their names and values.
pub(crate) type OwnedTrailers = Vec<(String, Vec<u8>)>;

/// Request content in pieces, read while it arrives: see [`Admission::AsItComes`](super::Admission::AsItComes).
///
/// It is read with the words of an answer that is [drawn](super::BodyStream): a piece, nothing yet, or the end. While the
/// application does not read, no more than [`output_bytes_high`](crate::limits::Limits::output_bytes_high) bytes are kept
/// for it, and a read; then the client has to wait. Its connection is woken when more has come: the
/// [`Later`](super::Later) or [`BodyStream`](super::BodyStream) that answers is asked again.
///
/// It may be sent to another thread, which can [wait](IncomingContent::wait_for_piece) for a piece there, or
/// [be woken](IncomingContent::wake_when_readable). Dropped before its end, it says that nobody wants the rest: that is
/// thrown away, and the connection ends after the answer. Content that was there before the call is read in
/// the same manner.
///
/// An answer may begin before the content ends, and content is read while the client does not read the answer. But where
/// both are full, one of them has to give way: a client that sends everything before it reads is cut after
/// [`write_timeout`](crate::limits::Limits::write_timeout) by an answer that grows with the content. Such an answer is
/// for clients that are known to do both at a time.
///
/// The content breaks off when the client leaves, or breaks a rule or a limit, when the answer ends before the content
/// does, and when the server stops: whoever reads or waits gets an error. How long a client may take is the server's
/// business ([`body_timeout`](crate::limits::Limits::body_timeout)); the time in which the application does not read does
/// not count.
pub struct IncomingContent {
    source: Source,
    /// The piece that is lent at the moment.
    current: ReadBuffer,
    /// The trailer fields, as far as they are known.
    trailers: OwnedTrailers,
    /// The account of memory, in which content that came whole counts until it is dropped.
    reservation: Option<Reservation>,
}

/// The source of the pieces.
enum Source {
    /// The server passes the pieces on.
    Feed { channel: Arc<Channel>, wakeup: Wakeup },
    /// All of the content has come.
    AtHand(OwnedContent),
}

/// The server's half of [`IncomingContent`].
#[derive(Debug)]
pub(crate) struct Feed(Arc<Channel>);

/// The place where both halves meet.
#[derive(Debug)]
struct Channel {
    shared: Mutex<ChannelState>,
    /// Signalled when there is something to read, if a thread waits for that.
    readable: Condvar,
}

#[derive(Debug)]
struct ChannelState {
    buffer: ReadBuffer,
    /// The capacity of the piece that is lent at the moment.
    lent_bytes: usize,
    trailers: OwnedTrailers,
    arrival: Arrival,
    /// Whether the server has stopped reading the socket because the buffer is full.
    is_blocked: bool,
    reader: Reader,
    invitation: Invitation,
    /// The account of memory, in which this counts once the connection is done with it.
    reservation: Option<Reservation>,
}

/// The moment at which a client that waits to be asked for its content (`Expect: 100-continue`) is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invitation {
    /// The client is asked after the call, or does not wait.
    AfterCall,
    /// The client is asked when the application has found nothing to read.
    WhenRead,
    /// The application has found nothing: the client is asked now.
    Due,
}

/// The one who waits for something to read, besides the connection. It is known, because to signal a condition costs a
/// system call even if nobody waits for it.
#[derive(Debug)]
enum Reader {
    /// Nobody waits.
    Away,
    /// A thread waits.
    Thread,
    /// This waker is to be used, once.
    Waker(Waker),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
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
    /// Makes content of what has come whole, with the trailer fields that came after it.
    pub(super) fn at_hand(content: OwnedContent, trailers: OwnedTrailers) -> IncomingContent {
        let current = ReadBuffer::default();
        IncomingContent { source: Source::AtHand(content), current, trailers, reservation: None }
    }

    /// Counts the memory of content that came whole in this account, until it is dropped.
    pub(super) fn count_in(&mut self, account: &MemoryAccount) {
        if let Source::AtHand(OwnedContent::Memory(bytes)) = &self.source {
            self.reservation = Some(account.reserve(bytes.capacity()));
        }
    }

    /// Takes the next piece. `Pending` names no moment: the connection is woken when there is more.
    ///
    /// # Errors
    /// Returns [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when the content broke off. The server tells the client
    /// that itself, or breaks the response off. Returns what reading says when the content lies in a temporary file.
    pub fn next_piece(&mut self) -> io::Result<Piece<'_>> {
        self.current.clear();
        match &mut self.source {
            Source::Feed { channel, wakeup } => {
                let mut shared = channel.open();
                if shared.buffer.is_empty() {
                    return match shared.arrival {
                        Arrival::Coming => {
                            // What comes next for whomever is read into memory that is in the processor's cache yet.
                            if self.current.capacity().max(shared.buffer.capacity()) > KEPT_BYTES_MAX {
                                self.current = ReadBuffer::default();
                                (shared.buffer, shared.lent_bytes) = (ReadBuffer::default(), 0);
                            }
                            invite(shared, wakeup);
                            Ok(Piece::Pending { until: None })
                        }
                        Arrival::Ended | Arrival::Unwanted => {
                            self.trailers.append(&mut shared.trailers);
                            Ok(Piece::End)
                        }
                        Arrival::Broken => Err(io::ErrorKind::UnexpectedEof.into()),
                    };
                }
                mem::swap(&mut self.current, &mut shared.buffer);
                shared.lent_bytes = self.current.capacity();
                if mem::take(&mut shared.is_blocked) {
                    drop(shared);
                    wakeup.wake();
                }
            }
            Source::AtHand(OwnedContent::Memory(bytes)) => self.current = mem::take(bytes).into(),
            Source::AtHand(OwnedContent::Spooled { file, .. }) => {
                let mut piece = mem::take(&mut self.current).into_memory();
                file.take(FILE_PIECE_BYTES).read_to_end(&mut piece)?;
                self.current = piece.into();
            }
        }
        if self.current.is_empty() { Ok(Piece::End) } else { Ok(Piece::Data(self.current.filled())) }
    }

    /// Waits for the next piece, for no longer than `timeout`: for threads of the application's own. On the thread of the
    /// server it would wait in vain, since nothing comes meanwhile. Never returns `Pending`.
    ///
    /// # Errors
    /// Returns [`TimedOut`](io::ErrorKind::TimedOut) when nothing has come in time; more may come later. Otherwise the
    /// errors of [`next_piece`](IncomingContent::next_piece), as soon as they are known.
    pub fn wait_for_piece(&mut self, timeout: Duration) -> io::Result<Piece<'_>> {
        if let Source::Feed { channel, wakeup } = &self.source {
            invite(channel.open(), wakeup);
            let waits = |shared: &mut ChannelState| {
                let is_readable = shared.is_readable();
                shared.reader = if is_readable { Reader::Away } else { Reader::Thread };
                !is_readable
            };
            let waited = channel.readable.wait_timeout_while(channel.open(), timeout, waits);
            let (mut shared, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
            if outcome.timed_out() {
                shared.reader = Reader::Away;
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        self.next_piece()
    }

    /// Whether there is something to read: a piece, the end, or an error. If so, the next piece is not `Pending`.
    pub fn is_readable(&self) -> bool {
        match &self.source {
            Source::Feed { channel, .. } => channel.open().is_readable(),
            Source::AtHand(_) => true,
        }
    }

    /// Wakes `waker` as soon as there [is something to read](IncomingContent::is_readable), once, and at once if there
    /// is: for those who wait on neither the server's thread nor one of their own. Only the last one is kept. It is
    /// called on the server's thread, and so must not block.
    pub fn wake_when_readable(&mut self, waker: &Waker) {
        if let Source::Feed { channel, wakeup } = &self.source {
            // To clone a waker and to drop the last one may run any code: not with the lock in hand.
            let mut reader = Reader::Waker(waker.clone());
            let mut shared = channel.open();
            if !shared.is_readable() {
                mem::swap(&mut shared.reader, &mut reader);
                return invite(shared, wakeup);
            }
        }
        waker.wake_by_ref();
    }

    /// Lets a client that waits to be asked for its content (`Expect: 100-continue`) wait until somebody tries to
    /// read, and not only until the call returns: for those who may yet refuse it, elsewhere.
    pub fn ask_when_read(&mut self) {
        if let Source::Feed { channel, .. } = &self.source {
            channel.open().invitation = Invitation::WhenRead;
        }
    }

    /// The trailer fields that came after the content: see [`Environ::trailers`](super::Environ::trailers). They are
    /// there once the end was read.
    pub fn trailers(&self) -> Fields<'_> {
        Fields::new(&self.trailers)
    }
}

/// Uses a waker of the application's on the thread of the server, where its panic must end nothing.
fn wake(waker: Waker) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
        // To drop what was thrown is the application's code, too.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
    }
}

/// Has the client asked for its content, if that was to wait for this.
fn invite(mut shared: MutexGuard<'_, ChannelState>, wakeup: &Wakeup) {
    if shared.invitation == Invitation::WhenRead && !shared.is_readable() {
        shared.invitation = Invitation::Due;
        drop(shared);
        wakeup.wake();
    }
}

impl Drop for IncomingContent {
    fn drop(&mut self) {
        if let Source::Feed { channel, wakeup } = &self.source {
            let mut shared = channel.open();
            (shared.buffer, shared.lent_bytes, shared.reservation) = (ReadBuffer::default(), 0, None);
            if shared.arrival == Arrival::Coming {
                shared.arrival = Arrival::Unwanted;
                drop(shared);
                wakeup.wake();
            }
        }
    }
}

impl fmt::Debug for IncomingContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Feed { channel, .. } => f.debug_tuple("IncomingContent").field(&*channel.open()).finish(),
            Source::AtHand(content) => f.debug_tuple("IncomingContent").field(content).finish(),
        }
    }
}

impl Feed {
    /// Makes the two halves. `wakeup` is that of the connection.
    pub(crate) fn new(wakeup: Wakeup) -> (Feed, IncomingContent) {
        let shared = ChannelState {
            buffer: ReadBuffer::default(),
            lent_bytes: 0,
            trailers: Vec::new(),
            arrival: Arrival::Coming,
            is_blocked: false,
            reader: Reader::Away,
            invitation: Invitation::AfterCall,
            reservation: None,
        };
        let channel = Arc::new(Channel { shared: Mutex::new(shared), readable: Condvar::new() });
        let feed = Feed(channel.clone());
        let source = Source::Feed { channel, wakeup };
        let current = ReadBuffer::default();
        (feed, IncomingContent { source, current, trailers: Vec::new(), reservation: None })
    }

    /// Appends content that has come. With the last of it come the trailer fields, and that it is the last is known at
    /// once: whoever has read all may drop its half.
    pub(crate) fn push(&self, bytes: &[u8], trailers_at_end: Option<OwnedTrailers>) {
        self.change(|shared| {
            shared.buffer.append(bytes);
            shared.end(trailers_at_end);
        });
    }

    /// Takes content that has come, and the memory in which it lies, in place of [appending](Feed::push) it. The
    /// reader must [have read all](Feed::is_drained) that came before.
    pub(crate) fn take_over(&self, buffer: ReadBuffer, trailers_at_end: Option<OwnedTrailers>) {
        self.change(|shared| {
            shared.buffer = buffer;
            shared.end(trailers_at_end);
        });
    }

    /// Notes that the connection is done with the content: the rest will not come. What has come and was not read counts
    /// in the account from now on, until the application drops its half.
    pub(crate) fn let_go(&self, account: Option<&MemoryAccount>) {
        self.change(|shared| shared.arrival = Arrival::Broken);
        let mut shared = self.0.open();
        let bytes = shared.memory_bytes();
        shared.reservation = account.filter(|_| bytes > 0).map(|account| account.reserve(bytes));
    }

    /// Breaks the content off, and throws away what was not read.
    pub(crate) fn discard(&self) {
        // What has come whole, but not to the application, breaks off for that, too.
        let is_wanted = |shared: &ChannelState| match shared.arrival {
            Arrival::Coming => true,
            Arrival::Ended => !shared.buffer.is_empty(),
            Arrival::Broken | Arrival::Unwanted => false,
        };
        self.change_if(is_wanted, |shared| {
            (shared.buffer, shared.arrival) = (ReadBuffer::default(), Arrival::Broken)
        });
    }

    /// Gives back memory that holds nothing. Returns whether that was at least half.
    pub(crate) fn trim(&self) -> bool {
        self.0.open().buffer.trim()
    }

    /// Changes what is to be read while more is wanted, and tells whoever waits for that.
    fn change(&self, change: impl FnOnce(&mut ChannelState)) {
        self.change_if(|shared| shared.arrival == Arrival::Coming, change);
    }

    /// Changes what is to be read in a state of this kind, and tells whoever waits for that.
    fn change_if(&self, applies: impl FnOnce(&ChannelState) -> bool, change: impl FnOnce(&mut ChannelState)) {
        let mut shared = self.0.open();
        if !applies(&shared) {
            return;
        }
        change(&mut shared);
        if !shared.is_readable() {
            return;
        }
        let reader = mem::replace(&mut shared.reader, Reader::Away);
        drop(shared);
        match reader {
            Reader::Away => {}
            Reader::Thread => self.0.readable.notify_one(),
            Reader::Waker(waker) => wake(waker),
        }
    }

    /// Whether the application does not want any more.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.0.open().arrival == Arrival::Unwanted
    }

    /// Whether more is wanted, and all that has come was read.
    pub(crate) fn is_drained(&self) -> bool {
        !self.0.open().is_readable()
    }

    /// Whether a client that waits to be asked for its content is to wait until the application reads.
    pub(crate) fn waits_for_reader(&self) -> bool {
        self.0.open().invitation == Invitation::WhenRead
    }

    /// Whether there is more to come, and room for it, of which `bytes_high` may wait.
    pub(crate) fn has_room(&self, bytes_high: usize) -> bool {
        self.0.open().has_room(bytes_high)
    }

    /// Answers as [`has_room`](Feed::has_room) does. If there is more to come and no room, the application will wake the
    /// connection once it has read.
    pub(crate) fn claim_room(&self, bytes_high: usize) -> bool {
        let mut shared = self.0.open();
        let has_room = shared.has_room(bytes_high);
        shared.is_blocked = !has_room && shared.arrival == Arrival::Coming;
        has_room
    }

    /// The memory in bytes of the content in both halves.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.open().memory_bytes()
    }
}

impl Channel {
    /// Locks the state that the halves share; a thread that panicked meanwhile left it whole.
    fn open(&self) -> MutexGuard<'_, ChannelState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChannelState {
    fn has_room(&self, bytes_high: usize) -> bool {
        self.arrival == Arrival::Coming && self.buffer.filled().len() < bytes_high
    }

    fn is_readable(&self) -> bool {
        !self.buffer.is_empty() || self.arrival != Arrival::Coming
    }

    fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.lent_bytes
    }

    /// Notes that nothing more comes, if there are trailer fields at the end.
    fn end(&mut self, trailers_at_end: Option<OwnedTrailers>) {
        if let Some(trailers) = trailers_at_end {
            (self.arrival, self.trailers) = (Arrival::Ended, trailers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_changes_hands_is_not_copied() {
        let mut scratch = ReadBuffer::for_reads_of(8);
        let (feed, mut content) = Feed::new(Wakeup::new(Waker::noop().clone()));
        for (bytes, trailers) in [(b"low ", None), (b"tide", Some(Vec::new()))] {
            scratch.memory()[..4].copy_from_slice(bytes);
            let address = scratch.memory().as_ptr();
            assert!(feed.is_drained());
            feed.take_over(scratch.hand_over(4), trailers);
            assert!(!feed.is_drained());
            let piece = content.next_piece();
            assert!(matches!(piece, Ok(Piece::Data(piece)) if piece == bytes && piece.as_ptr() == address));
        }
        assert!(matches!(content.next_piece(), Ok(Piece::End)));
    }

    #[test]
    fn reader_that_waits_keeps_no_memory_of_what_was_long() {
        let (feed, mut content) = Feed::new(Wakeup::new(Waker::noop().clone()));
        for (bytes, kept) in [(1_000, true), (200_000, false), (3, true)] {
            for _ in 0..3 {
                feed.push(&vec![b'x'; bytes], None);
                assert!(matches!(content.next_piece(), Ok(Piece::Data(piece)) if piece.len() == bytes));
                assert!(feed.memory_bytes() >= bytes);
            }
            assert!(matches!(content.next_piece(), Ok(Piece::Pending { until: None })));
            assert_eq!(feed.memory_bytes() > 0, kept, "{bytes} bytes");
        }
    }
}
