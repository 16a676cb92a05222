//! What one request's two threads share: the one that answers, and the one that serves.
//!
//! ```text
//!   pool thread (Python)                Exchange                      event loop (no Python)
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

use super::head::Head;
use super::sending::{send_file, send_nothing, send_whole};
use crate::gateway::{Body, BodyStream, FileRange, GatewayError, Later, Piece, StartResponse, Wakeup};
use crate::now::Moment;

/// Content that waits for the client, above which the thread that makes more waits, too. 64 KiB: what
/// a socket takes at once.
const BLOCK_BYTES_HIGH: usize = 64 * 1024;

/// The two threads' common ground.
pub(super) struct Exchange {
    state: Mutex<State>,
    /// Blocks were taken, or nobody will take any more.
    room: Condvar,
    wakeup: Wakeup,
}

struct State {
    hints: Vec<Head>,
    answer: Answer,
    blocks: VecDeque<Vec<u8>>,
    block_bytes: usize,
    /// Whether the thread waits for room. To notify nobody is a system call, too, and would be made for each
    /// answer: 0.4 µs of it.
    is_waiting: bool,
    end: Option<End>,
    client: Client,
}

/// What is known of the response.
enum Answer {
    /// Not even its status.
    Unknown,
    /// Its head; the content follows in pieces.
    Begun(Head),
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
    /// Nobody: the connection is broken, or was answered.
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
    pub fn new(wakeup: Wakeup) -> Exchange {
        let state = State {
            hints: Vec::new(),
            answer: Answer::Unknown,
            blocks: VecDeque::new(),
            block_bytes: 0,
            is_waiting: false,
            end: None,
            client: Client::Waiting,
        };
        Exchange { state: Mutex::new(state), room: Condvar::new(), wakeup }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Waits until there is room for more, for however long the client takes. Must not be called with
    /// the interpreter's lock held.
    ///
    /// # Errors
    /// Nobody waits for more.
    pub fn wait_for_room(&self) -> Result<(), Gone> {
        let mut state = self.lock();
        while state.block_bytes >= BLOCK_BYTES_HIGH && state.client != Client::Gone {
            state.is_waiting = true;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
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

/// The server's place in an exchange: once it is empty, nobody waits any more, and a thread that waits
/// for room learns of it at once.
struct Seat(Arc<Exchange>);

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.client = Client::Gone;
        if state.is_waiting {
            self.0.room.notify_all();
        }
    }
}

/// The server's half before the head is known.
pub(super) struct Awaited {
    seat: Seat,
    /// When the application has taken too long.
    until: Option<Moment>,
    /// Bytes of the request, which waits for a thread or is being answered.
    request_bytes: usize,
}

impl Awaited {
    /// The answer of this exchange, or of the server if there is none by then.
    pub fn wait(
        exchange: Arc<Exchange>,
        request_bytes: usize,
        until: Option<Moment>,
        start_response: StartResponse<'_>,
    ) -> Body {
        start_response.later(until, Awaited { seat: Seat(exchange), until, request_bytes })
    }
}

impl Later for Awaited {
    fn resume(self: Box<Self>, mut start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let mut state = self.seat.0.lock();
        for hint in mem::take(&mut state.hints) {
            let fields: Vec<_> = hint.fields().iter().collect();
            // Judged when they were given, but for those that have no place in a 103: those are dropped.
            let _ = start_response.inform(103, &fields);
        }
        match (mem::replace(&mut state.answer, Answer::Unknown), &state.end) {
            (Answer::Whole(head, Some(content)), _) => send_whole(&head, content, start_response),
            (Answer::Whole(head, None), _) => send_nothing(&head, true, start_response),
            (Answer::File(head, range), _) => send_file(&head, range, start_response),
            (Answer::Begun(head), _) => {
                drop(state);
                let stream = Blocks { seat: self.seat, current: Vec::new() };
                head.write(start_response).stream(stream)
            }
            (Answer::Unknown, Some(End::Failed(error))) => Err(GatewayError::new(error.clone())),
            (Answer::Unknown, Some(End::Complete)) => {
                Err(GatewayError::new("the application's thread has ended without an answer"))
            }
            (Answer::Unknown, None) if self.until.is_some_and(|until| until <= start_response.now()) => {
                too_late(start_response)
            }
            (Answer::Unknown, None) => {
                drop(state);
                Ok(start_response.later_boxed(self.until, self))
            }
        }
    }

    fn client_has_finished(&mut self) {
        self.seat.0.lock().client = Client::HasFinished;
    }

    fn held_bytes(&self) -> usize {
        self.request_bytes
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
        let mut state = self.seat.0.lock();
        if let Some(block) = state.blocks.pop_front() {
            state.block_bytes -= block.len();
            if state.is_waiting && state.block_bytes < BLOCK_BYTES_HIGH {
                self.seat.0.room.notify_all();
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
        self.seat.0.lock().client = Client::HasFinished;
    }

    fn held_bytes(&self) -> usize {
        self.current.len() + self.seat.0.lock().block_bytes
    }
}
