//! What one request's two threads share: the one that answers, and the one that serves.
//!
//! ```text
//!   pool thread (Python)                Exchange                      event loop (no Python)
//!        ◀── takes it ────────── request ◀─────────────────────────── call; taken back where nobody waits any more
//!   hint(fields) ──────────────▶ hints ─────────────────────────────▶ 103
//!   begin(head) ───────────────▶ head ──────────────────────────────▶ status, fields
//!   write(block) ──────────────▶ blocks, up to BLOCK_BYTES_HIGH ────▶ content, as the socket takes it
//!        ◀── waits for room ─────┘                  drained ─────────┘
//!   end ───────────────────────▶ end ───────────────────────────────▶ the end of the response
//!   is_gone? ◀───────────────── client ◀───────────────────────────── dropped, or told
//! ```
//!
//! Nothing in here belongs to Python: blocks are copied, so that the event loop never has to hold the
//! interpreter's lock, not even to drop something.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate::gateway::{
    Body, BodyStream, FileRange, GatewayError, Later, OwnedEnviron, Piece, StartResponse, Wakeup,
};
use tidegate::now::Moment;

use super::head::Head;
use super::jobs::{Glance, Jobs, Place};
use super::sending::{send_file, send_nothing, send_whole};

/// Content that waits for the client, above which the thread that makes more waits, too. 64 KiB: what
/// a socket takes at once.
const BLOCK_BYTES_HIGH: usize = 64 * 1024;

/// How long somebody must wait for a thread before a slow reader has to give one up. 1 s: a queue that is worked off
/// sooner does without it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a response was broken off whose client kept a thread waiting.
const TOO_SLOW: &str = "the client has read too slowly while others waited for a thread (--reader-wait-max)";

/// Exchanges that wait for a thread, and those whose answers the loop has not been told of.
pub(super) type Waiting = Jobs<Arc<Exchange>, Arc<Exchange>>;

/// The two threads' common ground.
pub(super) struct Exchange {
    state: Mutex<State>,
    /// All blocks were taken, or nobody will take any more.
    room: Condvar,
    wakeup: Wakeup,
}

struct State {
    /// Until a thread takes it.
    request: Option<OwnedEnviron>,
    hints: Vec<Head>,
    answer: Answer,
    blocks: VecDeque<Vec<u8>>,
    block_bytes: usize,
    /// Whether the thread waits for room. To notify nobody is a system call, too, and would be made for each
    /// answer: 0.4 µs of it.
    is_waiting: bool,
    waits: Waits,
    end: Option<End>,
    client: Client,
}

/// The waits for room of one exchange.
#[derive(Default)]
struct Waits {
    /// All of them together.
    total: Duration,
    /// When it was last seen who waits for a thread, and who that was.
    look: Option<(Instant, Glance)>,
}

/// What is known of the response.
enum Answer {
    /// Not even its status.
    Unknown,
    /// Its head; the content follows in pieces.
    Begun(Head),
    /// The response has been passed on to the client.
    Passed,
    /// All of it; without content it is an answer to HEAD.
    Whole(Head, Option<Vec<u8>>),
    /// Its head, and the file that is the content.
    File(Head, FileRange),
}

/// How the content ends.
enum End {
    Complete,
    /// With this error, which is in the log of the thread already.
    Failed(String),
}

/// Who waits at the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Waiting,
    /// It sends nothing more; it may have left.
    HasFinished,
    /// Nobody: the connection is broken, was answered, or reads too slowly.
    Gone,
}

/// Nobody waits for the answer any more.
#[derive(Debug)]
pub(super) struct Gone;

/// Whether more blocks are welcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Left,
    Full,
}

impl Exchange {
    pub fn new(request: OwnedEnviron, wakeup: Wakeup) -> Exchange {
        let state = State {
            request: Some(request),
            hints: Vec::new(),
            answer: Answer::Unknown,
            blocks: VecDeque::new(),
            block_bytes: 0,
            is_waiting: false,
            waits: Waits::default(),
            end: None,
            client: Client::Waiting,
        };
        Exchange { state: Mutex::new(state), room: Condvar::new(), wakeup }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request, to be answered; none where nobody waits for that any more.
    pub fn take_request(&self) -> Option<OwnedEnviron> {
        self.lock().request.take()
    }

    /// Whether a thread that works for it does so in vain for now: its client knows nothing yet, or is gone. Whoever
    /// is being sent content, however long that may take, is not waiting.
    pub fn is_unanswered(&self) -> bool {
        let state = self.lock();
        matches!(state.answer, Answer::Unknown) || state.client == Client::Gone
    }

    /// Whether nobody waits for the answer.
    pub fn is_gone(&self) -> bool {
        self.lock().client == Client::Gone
    }

    /// Whether the client has ended its side.
    pub fn client_has_finished(&self) -> bool {
        self.lock().client != Client::Waiting
    }

    /// Fields of an interim response.
    pub fn hint(&self, fields: &Head) {
        self.lock().hints.push(fields.clone());
        self.wakeup.wake();
    }

    /// The head of a response whose content follows in blocks.
    pub fn begin(&self, head: &Head) {
        self.lock().answer = Answer::Begun(head.clone());
    }

    /// A block. If it fills the exchange, the thread must [wait](Exchange::wait_for_room) before it makes
    /// another.
    ///
    /// # Errors
    /// Nobody waits for it.
    pub fn push(&self, block: Vec<u8>) -> Result<Room, Gone> {
        let mut state = self.lock();
        state.block_bytes += block.len();
        state.blocks.push_back(block);
        let room = state.room()?;
        drop(state);
        self.wakeup.wake();
        Ok(room)
    }

    /// Whether a block would be welcome.
    ///
    /// # Errors
    /// Nobody waits for it.
    pub fn room(&self) -> Result<Room, Gone> {
        self.lock().room()
    }

    /// Begins a turn of the connection, in which it takes notice of what there is.
    pub fn wake(&self) {
        self.wakeup.wake();
    }

    /// Waits until there is room for more, for as long as there is patience with the client. Must not be
    /// called with the interpreter's lock held.
    ///
    /// # Errors
    /// Nobody waits for more; or the client reads too slowly, and its response is broken off.
    pub fn wait_for_room(&self, patience: &Patience) -> Result<(), Gone> {
        let mut state = self.lock();
        while state.block_bytes >= BLOCK_BYTES_HIGH && state.client != Client::Gone {
            state.is_waiting = true;
            let begun = Instant::now();
            state = match patience.max {
                None => self.room.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(_) => {
                    let waited = self.room.wait_timeout(state, LOOK_INTERVAL);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.waits.total += begun.elapsed();
            if patience.is_over(&mut state.waits) {
                state.client = Client::Gone;
                state.end.get_or_insert(End::Failed(TOO_SLOW.to_string()));
                self.wakeup.wake();
            }
        }
        state.is_waiting = false;
        if state.client == Client::Gone { Err(Gone) } else { Ok(()) }
    }

    /// The whole response at once; none for an answer to HEAD that knows nothing of its content. Like a file it
    /// may wait for others: nobody is woken for it here.
    pub fn answer(&self, head: &Head, content: Option<Vec<u8>>) {
        let mut state = self.lock();
        state.answer = Answer::Whole(head.clone(), content);
        state.end = Some(End::Complete);
    }

    /// A response with a file for its content.
    pub fn answer_with_file(&self, head: &Head, range: FileRange) {
        let mut state = self.lock();
        state.answer = Answer::File(head.clone(), range);
        state.end = Some(End::Complete);
    }

    /// There are no more blocks.
    pub fn end(&self) {
        self.end_with(End::Complete);
    }

    /// The application has failed.
    pub fn fail(&self, error: String) {
        self.end_with(End::Failed(error));
    }

    fn end_with(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.wakeup.wake();
    }
}

impl State {
    fn room(&self) -> Result<Room, Gone> {
        match self.client {
            Client::Gone => Err(Gone),
            _ if self.block_bytes >= BLOCK_BYTES_HIGH => Ok(Room::Full),
            Client::Waiting | Client::HasFinished => Ok(Room::Left),
        }
    }
}

/// How long one answer may wait for its client to read, in all its waits together. It may wait on while nobody
/// else needs the thread.
pub(super) struct Patience {
    jobs: Arc<Waiting>,
    /// None: for ever.
    max: Option<Duration>,
}

impl Patience {
    pub fn new(jobs: Arc<Waiting>, max: Option<Duration>) -> Patience {
        Patience { jobs, max }
    }

    /// After another wait: whether it was too much, and somebody has waited for a thread for a while.
    fn is_over(&self, waits: &mut Waits) -> bool {
        if self.max.is_none_or(|max| waits.total < max) {
            return false;
        }
        let now = Instant::now();
        let (at, then) = *waits.look.get_or_insert_with(|| (now, self.jobs.glance()));
        if now.duration_since(at) < LOOK_INTERVAL {
            return false;
        }
        let glance = self.jobs.glance();
        waits.look = Some((now, glance));
        glance.has_somebody_waited_since(then)
    }
}

/// The server's place in an exchange: once it is empty, nobody waits any more. A thread that waits for room learns
/// of it at once, and a request that still waits for a thread goes, with all its content.
struct Seat {
    exchange: Arc<Exchange>,
    place: Place<Arc<Exchange>, Arc<Exchange>>,
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.exchange.lock()
    }

    /// The client may have left: the living come first.
    fn client_has_finished(&self) {
        let mut state = self.lock();
        state.client = Client::HasFinished;
        let is_waiting_for_thread = state.request.is_some();
        drop(state);
        if is_waiting_for_thread {
            self.place.step_back();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.client = Client::Gone;
        if state.is_waiting {
            self.exchange.room.notify_all();
        }
        let request = state.request.take();
        drop(state);
        if request.is_some() {
            self.place.give_up();
        }
    }
}

/// The server's half before the head is known.
pub(super) struct Awaited {
    seat: Seat,
    /// When the application has taken too long.
    until: Option<Moment>,
}

impl Awaited {
    /// The answer of this exchange, or of the server if there is none by then.
    pub fn wait(
        exchange: Arc<Exchange>,
        place: Place<Arc<Exchange>, Arc<Exchange>>,
        until: Option<Moment>,
        start_response: StartResponse<'_>,
    ) -> Body {
        let awaited = Awaited { seat: Seat { exchange, place }, until };
        start_response.later(until, awaited)
    }
}

impl Later for Awaited {
    fn resume(self: Box<Self>, mut start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let mut state = self.seat.lock();
        for hint in mem::take(&mut state.hints) {
            let fields: Vec<_> = hint.fields().iter().collect();
            // Judged when they were given, but for those that have no place in a 103: those are dropped.
            let _ = start_response.inform(103, &fields);
        }
        match (mem::replace(&mut state.answer, Answer::Passed), &state.end) {
            (Answer::Whole(head, Some(content)), _) => send_whole(&head, content, start_response),
            (Answer::Whole(head, None), _) => send_nothing(&head, true, start_response),
            (Answer::File(head, range), _) => send_file(&head, range, start_response),
            (Answer::Begun(head), _) => {
                drop(state);
                let stream = Blocks { seat: self.seat, current: Vec::new() };
                head.write(start_response).stream(stream)
            }
            (Answer::Unknown | Answer::Passed, Some(End::Failed(error))) => {
                Err(GatewayError::new(error.clone()))
            }
            (Answer::Unknown | Answer::Passed, Some(End::Complete)) | (Answer::Passed, None) => {
                Err(GatewayError::new("the application's thread has ended without an answer"))
            }
            (Answer::Unknown, None) if self.until.is_some_and(|until| until <= start_response.now()) => {
                too_late(start_response)
            }
            (Answer::Unknown, None) => {
                state.answer = Answer::Unknown;
                drop(state);
                Ok(start_response.later_boxed(self.until, self))
            }
        }
    }

    fn client_has_finished(&mut self) {
        self.seat.client_has_finished();
    }
}

fn too_late(start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    start_response
        .status(504)
        .field("Content-Type", "text/plain; charset=utf-8")
        .send("504 Gateway Timeout: the application took too long.\n")
}

/// The server's half while content comes.
struct Blocks {
    seat: Seat,
    /// The block that is lent.
    current: Vec<u8>,
}

impl BodyStream for Blocks {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        let mut state = self.seat.lock();
        if let Some(block) = state.blocks.pop_front() {
            state.block_bytes -= block.len();
            // Not before all are taken: it would make one, and wait again, at two context switches a block. The client does
            // not wait for it, for as long as the connection owes it what was taken.
            if state.is_waiting && state.blocks.is_empty() {
                self.seat.exchange.room.notify_all();
            }
            drop(state);
            self.current = block;
            return Ok(Piece::Data(&self.current));
        }
        match &state.end {
            None => Ok(Piece::Pending { until: None }),
            Some(End::Complete) => Ok(Piece::End),
            Some(End::Failed(error)) => Err(GatewayError::new(error.clone())),
        }
    }

    fn client_has_finished(&mut self) {
        self.seat.client_has_finished();
    }

    fn held_bytes(&self) -> usize {
        self.current.len() + self.seat.lock().block_bytes
    }
}
