//! Hands one request over between two threads: the one that answers it, and the one that serves its
//! connection.
//!
//! Nothing in here belongs to Python. Blocks are copied, so that the event loop never has to hold the
//! interpreter's lock, not even to drop something.
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
use super::sending::{send_file, send_nothing, send_whole};
use tidegate_jobs::{Glance, Jobs, Place};

/// Bytes of content that wait for the client, above which the thread that makes more waits, too. 64 KiB: the
/// most that a socket takes at once.
const BLOCK_BYTES_HIGH: usize = 64 * 1024;

/// How long a request must wait for a thread before a slow reader has to give one up. 1 s: a queue that is
/// worked off sooner needs none.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The error of a response that was broken off because its client kept a thread waiting.
const TOO_SLOW: &str = "the client has read too slowly while others waited for a thread (--reader-wait-max)";

/// Requests that wait for a thread, and those with answers that the loop has not collected.
pub(super) type Waiting = Jobs<Arc<Handoff>, Arc<Handoff>>;

/// The state that the two threads share.
pub(super) struct Handoff {
    state: Mutex<State>,
    /// Signalled when all blocks were taken, or nobody will take any more.
    room: Condvar,
    wakeup: Wakeup,
}

struct State {
    /// The request, until a thread takes it.
    request: Option<OwnedEnviron>,
    hints: Vec<Head>,
    answer: Answer,
    blocks: VecDeque<Vec<u8>>,
    block_bytes: usize,
    /// Whether the thread waits for room. A notification that nobody waits for would be one more system call
    /// for each answer.
    is_waiting: bool,
    waits: Waits,
    end: Option<End>,
    client: ClientState,
}

/// The times that one answer has waited for room.
#[derive(Default)]
struct Waits {
    /// The sum of all these times.
    total: Duration,
    /// The last look at the queue: when it was, and which requests waited for a thread.
    look: Option<(Instant, Glance)>,
}

/// The response, as far as it is known.
enum Answer {
    /// The status is not known yet.
    Unknown,
    /// The head is known; the content follows in blocks.
    Begun(Head),
    /// The response has been passed on to the client.
    Passed,
    /// The response is complete; without content it answers HEAD.
    Whole(Head, Option<Vec<u8>>),
    /// The head, and the file that is the content.
    File(Head, FileRange),
}

/// The end of the content.
enum End {
    Complete,
    /// The application has failed with this error, which the thread has logged already.
    Failed(String),
}

/// The state of the client at the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientState {
    Waiting,
    /// The client sends nothing more; it may have left.
    HasFinished,
    /// Nobody waits: the connection is broken, was answered, or reads too slowly.
    Gone,
}

/// The error that nobody waits for the answer any more.
#[derive(Debug)]
pub(super) struct Gone;

/// Whether there is room for more blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Left,
    Full,
}

impl Handoff {
    pub fn new(request: OwnedEnviron, wakeup: Wakeup) -> Handoff {
        let state = State {
            request: Some(request),
            hints: Vec::new(),
            answer: Answer::Unknown,
            blocks: VecDeque::new(),
            block_bytes: 0,
            is_waiting: false,
            waits: Waits::default(),
            end: None,
            client: ClientState::Waiting,
        };
        Handoff { state: Mutex::new(state), room: Condvar::new(), wakeup }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the request, to answer it; none if nobody waits for the answer any more.
    pub fn take_request(&self) -> Option<OwnedEnviron> {
        self.lock().request.take()
    }

    /// Whether the thread's work helps nobody for now: its client has heard nothing yet, or is gone. A client
    /// that is being sent content, however long that may take, does not count.
    pub fn is_unanswered(&self) -> bool {
        let state = self.lock();
        matches!(state.answer, Answer::Unknown) || state.client == ClientState::Gone
    }

    /// Whether nobody waits for the answer.
    pub fn is_gone(&self) -> bool {
        self.lock().client == ClientState::Gone
    }

    /// Whether the client has ended its side.
    pub fn client_has_finished(&self) -> bool {
        self.lock().client != ClientState::Waiting
    }

    /// Adds the fields of an interim response.
    pub fn hint(&self, fields: &Head) {
        self.lock().hints.push(fields.clone());
        self.wakeup.wake();
    }

    /// Begins a response whose content follows in blocks.
    pub fn begin(&self, head: &Head) {
        self.lock().answer = Answer::Begun(head.clone());
    }

    /// Adds a block. If that fills the room, the thread must [wait](Handoff::wait_for_room) before it makes
    /// another.
    ///
    /// # Errors
    /// Returns [`Gone`] when nobody waits for it.
    pub fn push(&self, block: Vec<u8>) -> Result<Room, Gone> {
        let mut state = self.lock();
        state.block_bytes += block.len();
        state.blocks.push_back(block);
        let room = state.room()?;
        drop(state);
        self.wakeup.wake();
        Ok(room)
    }

    /// Tells whether there is room for a block.
    ///
    /// # Errors
    /// Returns [`Gone`] when nobody waits for it.
    pub fn room(&self) -> Result<Room, Gone> {
        self.lock().room()
    }

    /// Asks for a turn of the connection, in which it takes notice of what there is.
    pub fn wake(&self) {
        self.wakeup.wake();
    }

    /// Waits until there is room for more, but no longer than the client is granted. Must not be called with
    /// the interpreter's lock held.
    ///
    /// # Errors
    /// Returns [`Gone`] when nobody waits for more, or when the client reads too slowly; its response is then
    /// broken off.
    pub fn wait_for_room(&self, patience: &Patience) -> Result<(), Gone> {
        let mut state = self.lock();
        while state.block_bytes >= BLOCK_BYTES_HIGH && state.client != ClientState::Gone {
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
                state.client = ClientState::Gone;
                state.end.get_or_insert(End::Failed(TOO_SLOW.to_string()));
                self.wakeup.wake();
            }
        }
        state.is_waiting = false;
        if state.client == ClientState::Gone { Err(Gone) } else { Ok(()) }
    }

    /// Sets the whole response at once; content is none for an answer to HEAD that knows nothing of it. The
    /// connection is not woken here, since answers may wait for others.
    pub fn answer(&self, head: &Head, content: Option<Vec<u8>>) {
        let mut state = self.lock();
        state.answer = Answer::Whole(head.clone(), content);
        state.end = Some(End::Complete);
    }

    /// Sets a response with a file for its content.
    pub fn answer_with_file(&self, head: &Head, range: FileRange) {
        let mut state = self.lock();
        state.answer = Answer::File(head.clone(), range);
        state.end = Some(End::Complete);
    }

    /// Ends the content: there are no more blocks.
    pub fn end(&self) {
        self.end_with(End::Complete);
    }

    /// Notes that the application has failed.
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
            ClientState::Gone => Err(Gone),
            _ if self.block_bytes >= BLOCK_BYTES_HIGH => Ok(Room::Full),
            ClientState::Waiting | ClientState::HasFinished => Ok(Room::Left),
        }
    }
}

/// The time that one answer may wait for its client to read, in all its waits together. It may wait on while
/// nobody else needs the thread.
pub(super) struct Patience {
    jobs: Arc<Waiting>,
    /// The longest time; none for as long as it takes.
    max: Option<Duration>,
}

impl Patience {
    pub fn new(jobs: Arc<Waiting>, max: Option<Duration>) -> Patience {
        Patience { jobs, max }
    }

    /// Adds another wait. Returns whether they are too long together, and some request has waited for a
    /// thread for a while.
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

/// The server's place in the handoff. When it is dropped, nobody waits any more: a thread that waits for room
/// learns of it at once, and a request that still waits for a thread goes, with all its content.
struct Seat {
    handoff: Arc<Handoff>,
    place: Place<Arc<Handoff>, Arc<Handoff>>,
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.handoff.lock()
    }

    /// Lets other requests come first, since this client may have left.
    fn client_has_finished(&self) {
        let mut state = self.lock();
        state.client = ClientState::HasFinished;
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
        state.client = ClientState::Gone;
        if state.is_waiting {
            self.handoff.room.notify_all();
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
    /// The moment when the application has taken too long.
    until: Option<Moment>,
}

impl Awaited {
    /// Returns the answer to this request, or the server's own if there is none in time.
    pub fn wait(
        handoff: Arc<Handoff>,
        place: Place<Arc<Handoff>, Arc<Handoff>>,
        until: Option<Moment>,
        start_response: StartResponse<'_>,
    ) -> Body {
        let awaited = Awaited { seat: Seat { handoff, place }, until };
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
    /// The block that is lent to the connection.
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
                self.seat.handoff.room.notify_all();
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
