//! Hands one exchange over between two sides: Java, which answers it on any of its threads, and the event loop, which
//! serves its connection.
//!
//! No thread of Java's waits in here. One that has to wait (for room, for content) says so, and waits in Java, where it can
//! be interrupted and seen; [`Interest`] tells the loop whom to call: the thread by a [signal](crate::ffi::signal), or an
//! event that a thread of the pool takes from the queue.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate::gateway::{
    Body, BodyStream, FileRange, GatewayError, Later, Piece, Reservation, StartResponse, Tunnel, Upgrade,
    Wakeup,
};
use tidegate::message::Fields;
use tidegate::now::Moment;

use crate::ffi::signal;
use crate::head::Head;
use crate::request::{Content, Request, name_block};
use tidegate_jobs::{Jobs, Place};

/// Bytes from the client that wait for the owner of a tunnel, above which no more are read; and bytes for the client, below
/// which a thread that had to wait goes on, where it may not only make less. 64 KiB: the most that a socket takes at once.
const BYTES_HIGH: usize = 64 * 1024;

/// A job for a thread.
#[derive(Clone)]
pub(crate) enum Job {
    /// A request that nobody has taken yet.
    Request(Arc<Handoff>),
    /// Something has come of an exchange whose thread did not wait for it.
    Event(i64, Event),
    /// A task of Java's own, in Java's own queue.
    Task,
}

/// The queue of a connector.
pub(crate) type Queue = Jobs<Job, Arc<Handoff>>;

/// An event that Java is told of, as `Endpoint` in Java has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Readable = 1,
    Writable = 2,
    /// The client is gone.
    Gone = 3,
}

/// The state that the two sides share.
pub(crate) struct Handoff {
    state: Mutex<State>,
    wakeup: Wakeup,
    queue: Arc<Queue>,
    /// Bytes of content that wait for the client, above which the thread that makes more waits, too.
    outbox_bytes_high: usize,
}

struct State {
    /// The number by which Java names the exchange; 0 before it has one.
    id: i64,
    /// The request, until a thread takes it.
    block: Option<Vec<u8>>,
    content: Content,
    _reservation: Option<Reservation>,
    upgrade: Option<Upgrade>,
    hints: Vec<Head>,
    answer: Answer,
    outbox: VecDeque<Vec<u8>>,
    outbox_bytes: usize,
    trailers: Vec<(String, Vec<u8>)>,
    end: Option<End>,
    /// The bytes that the client has sent into a tunnel, and nobody has read.
    inbox: Vec<u8>,
    inflow: Inflow,
    reader: Interest,
    writer: Interest,
    pace: Pace,
    client: ClientState,
}

/// The response, as far as it is known.
enum Answer {
    /// The status is not known yet.
    Unknown,
    /// The head is known; the content follows in pieces.
    Begun(Head),
    /// The response has been passed on to the client.
    Passed,
    /// The response is complete; without content it answers HEAD.
    Whole(Head, Option<Vec<u8>>),
    /// The head, and the file that is the content.
    File(Head, FileRange),
    /// The connection becomes a tunnel.
    Upgrade(Head),
}

/// The end of what is sent.
enum End {
    Complete,
    /// The application has failed, or its response cannot be sent.
    Failed(String),
}

/// The fate of what a client sends into a tunnel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inflow {
    /// There is no tunnel.
    None,
    Open,
    /// The inbox is full: the connection is woken once it is not.
    Blocked,
    Ended,
}

/// The one who waits for something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interest {
    Nobody,
    /// A thread, which is signalled.
    Thread,
    /// Any thread that takes the event from the queue.
    Anybody,
    /// A thread that is signalled, and any thread that takes the event.
    Both,
}

impl Interest {
    fn with(self, asker: Asker) -> Interest {
        match (self, asker) {
            (Interest::Nobody | Interest::Thread, Asker::Thread) => Interest::Thread,
            (Interest::Nobody | Interest::Anybody, Asker::Anybody) => Interest::Anybody,
            (Interest::Anybody | Interest::Both, Asker::Thread)
            | (Interest::Thread | Interest::Both, Asker::Anybody) => Interest::Both,
            (_, Asker::Nobody) => self,
        }
    }

    fn without(self, asker: Asker) -> Interest {
        match (self, asker) {
            (Interest::Thread, Asker::Thread) | (Interest::Anybody, Asker::Anybody) => Interest::Nobody,
            (Interest::Both, Asker::Thread) => Interest::Anybody,
            (Interest::Both, Asker::Anybody) => Interest::Thread,
            (Interest::Nobody | Interest::Thread | Interest::Anybody, _)
            | (Interest::Both, Asker::Nobody) => self,
        }
    }

    fn has_thread(self) -> bool {
        matches!(self, Interest::Thread | Interest::Both)
    }

    fn has_anybody(self) -> bool {
        matches!(self, Interest::Anybody | Interest::Both)
    }
}

/// Whether the answer has a deadline.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Timed,
    /// The client has left while the thread was at it, and nobody has been told: Java does not find it before it goes on.
    Left,
    /// An asynchronous exchange has timeouts of Tomcat's own.
    Async,
}

/// The state of the client at the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientState {
    Waiting,
    /// The client sends nothing more; it may have left.
    HasFinished,
    /// Nobody waits: the connection is broken, or was answered.
    Gone,
}

/// The outcome of giving a part of the response, as Java is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// There is room for more.
    Room = 0,
    /// The next part has to wait.
    Full = 1,
    /// Nobody takes it.
    Gone = -1,
    /// The head must not be sent; the client is told of an error.
    Invalid = -2,
}

/// The direction in which something is waited for, as `Native` in Java has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read = 1,
    Write = 2,
}

/// The one who is told of a direction that is not ready, as `Native` in Java has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Nobody; whoever is told by now still is.
    Nobody = 0,
    /// The thread that asks, and waits.
    Thread = 1,
    /// Any thread, by an event.
    Anybody = 2,
}

/// The outcome of a read, but for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Bytes(usize),
    Pending,
    End,
    Broken,
}

impl Handoff {
    pub fn new(
        request: Request,
        upgrade: Option<Upgrade>,
        wakeup: Wakeup,
        queue: Arc<Queue>,
        outbox_bytes_high: usize,
    ) -> Handoff {
        let state = State {
            id: 0,
            block: Some(request.block),
            content: request.content,
            _reservation: request.reservation,
            upgrade,
            hints: Vec::new(),
            answer: Answer::Unknown,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            trailers: Vec::new(),
            end: None,
            inbox: Vec::new(),
            inflow: Inflow::None,
            reader: Interest::Nobody,
            writer: Interest::Nobody,
            pace: Pace::Timed,
            client: ClientState::Waiting,
        };
        // With room for nothing at all, who waits would never go on.
        Handoff { state: Mutex::new(state), wakeup, queue, outbox_bytes_high: outbox_bytes_high.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the request, to answer it under this number; none if nobody waits for the answer any more.
    pub fn take(&self, id: i64) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let mut block = state.block.take()?;
        state.id = id;
        name_block(&mut block, id);
        Some(block)
    }

    /// Asks for a turn of the connection, in which it takes notice of what there is.
    pub fn wake(&self) {
        self.wakeup.wake();
    }

    /// Notes that the exchange goes on after its thread has returned: only Tomcat's own timeouts end it. Java finds it by its
    /// number from now on, so an event tells it of a client that has left before.
    pub fn go_async(&self) {
        let mut state = self.lock();
        let was_left = mem::replace(&mut state.pace, Pace::Async) == Pace::Left;
        let (id, must_tell) = (state.id, was_left && state.end.is_none());
        drop(state);
        if must_tell {
            self.queue.push_now(Job::Event(id, Event::Gone));
        }
    }

    /// Adds the fields of an interim response.
    pub fn hint(&self, fields: Head) -> Given {
        let mut state = self.lock();
        if state.client == ClientState::Gone {
            return Given::Gone;
        }
        state.hints.push(fields);
        drop(state);
        self.wake();
        Given::Room
    }

    /// Gives the whole response; content is none for an answer to HEAD that knows nothing of it.
    pub fn answer(self: &Arc<Self>, head: Head, content: Option<Vec<u8>>) -> Given {
        let mut state = self.lock();
        if state.client == ClientState::Gone {
            return Given::Gone;
        }
        state.answer = Answer::Whole(head, content);
        self.finish(state);
        Given::Room
    }

    /// Gives a response with a part of a file for its content.
    pub fn answer_with_file(self: &Arc<Self>, head: Head, range: FileRange) -> Given {
        let mut state = self.lock();
        if state.client == ClientState::Gone {
            return Given::Gone;
        }
        state.answer = Answer::File(head, range);
        self.finish(state);
        Given::Room
    }

    fn finish(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        state.end = Some(End::Complete);
        drop(state);
        // The loop may look for answers by itself soon.
        if self.queue.finish(self.clone()) {
            self.wake();
        }
    }

    /// Takes over the connection, if the client has asked for that.
    pub fn upgrade(&self, head: Head) -> Given {
        let mut state = self.lock();
        match state.client {
            ClientState::Gone => return Given::Gone,
            _ if state.upgrade.is_none() => {
                drop(state);
                self.fail(
                    "the response is 101, and the client has not asked for another protocol".to_string(),
                );
                return Given::Invalid;
            }
            ClientState::Waiting | ClientState::HasFinished => {}
        }
        state.answer = Answer::Upgrade(head);
        state.inflow = Inflow::Open;
        drop(state);
        self.wake();
        Given::Room
    }

    /// Begins a response whose content follows, unless it has begun, and adds a piece of content.
    pub fn push(&self, head: Option<Head>, piece: Vec<u8>) -> Given {
        let mut state = self.lock();
        if state.client == ClientState::Gone {
            return Given::Gone;
        }
        if let Some(head) = head {
            state.answer = Answer::Begun(head);
        }
        if !piece.is_empty() {
            state.outbox_bytes += piece.len();
            state.outbox.push_back(piece);
        }
        let is_full = state.outbox_bytes >= self.outbox_bytes_high;
        let given = if is_full { Given::Full } else { Given::Room };
        drop(state);
        self.wake();
        given
    }

    /// Ends the content, with trailer fields behind it.
    pub fn end(&self, trailers: Vec<(String, Vec<u8>)>) {
        let mut state = self.lock();
        state.trailers = trailers;
        state.end.get_or_insert(End::Complete);
        drop(state);
        self.wake();
    }

    /// Notes that the response cannot be completed: it becomes a 500, or is broken off.
    pub fn fail(&self, error: String) {
        self.lock().end.get_or_insert(End::Failed(error));
        self.wake();
    }

    /// Notes that Java is done with the exchange.
    pub fn close(&self) {
        let mut state = self.lock();
        let content = mem::take(&mut state.content);
        if state.end.is_none() {
            state.end = Some(match state.inflow {
                Inflow::None => End::Failed("the application has ended without an answer".to_string()),
                // That is how a tunnel ends.
                Inflow::Open | Inflow::Blocked | Inflow::Ended => End::Complete,
            });
            drop(state);
            self.wake();
        } else {
            drop(state);
        }
        drop(content);
    }

    /// Reads content of the request, or what came through the tunnel.
    pub fn read(&self, into: &mut [u8]) -> Reading {
        let mut state = self.lock();
        let state = &mut *state;
        if !state.inbox.is_empty() {
            let count = state.inbox.len().min(into.len());
            into[..count].copy_from_slice(&state.inbox[..count]);
            state.inbox.drain(..count);
            if state.inflow == Inflow::Blocked {
                state.inflow = Inflow::Open;
                self.wake();
            }
            return Reading::Bytes(count);
        }
        match state.content.read(into) {
            Ok(Some(0)) if state.is_tunnel_open() => Reading::Pending,
            Ok(Some(0)) => Reading::End,
            Ok(Some(count)) => Reading::Bytes(count),
            Ok(None) if state.client == ClientState::Gone => Reading::Broken,
            Ok(None) => Reading::Pending,
            Err(_) => Reading::Broken,
        }
    }

    /// Shows the trailer fields of content that has come to its end.
    pub fn with_trailers<R>(&self, look: impl FnOnce(Fields<'_>) -> R) -> R {
        match &self.lock().content {
            Content::Incoming(incoming, ..) => look(incoming.trailers()),
            Content::Nothing | Content::Memory(..) | Content::Spooled(_) => look(Fields::EMPTY),
        }
    }

    /// Drops what has not been read of the content: nobody will.
    pub fn stop_reading(&self) {
        let content = mem::take(&mut self.lock().content);
        drop(content);
    }

    /// Asks whether one direction is ready. If it is not, this asker is told once it is, beside others; Tomcat asks for an event
    /// while a thread of the application waits.
    pub fn await_readiness(&self, direction: Direction, asker: Asker) -> bool {
        let mut state = self.lock();
        let is_ready = state.client == ClientState::Gone
            || match direction {
                Direction::Write => self.has_room(&state),
                Direction::Read => state.is_readable(),
            };
        let interest = match direction {
            Direction::Read => &mut state.reader,
            Direction::Write => &mut state.writer,
        };
        *interest = if is_ready { interest.without(asker) } else { interest.with(asker) };
        is_ready
    }

    /// Whether a thread that makes content, and had to wait, may go on.
    fn has_room(&self, state: &State) -> bool {
        state.outbox_bytes < self.outbox_bytes_high.min(BYTES_HIGH)
    }

    /// Tells whoever waits that something has changed. On the thread of the loop only.
    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let is_gone = state.client == ClientState::Gone;
        let mut calls = [None; 2];
        if state.writer != Interest::Nobody && (is_gone || self.has_room(&state)) {
            let interest = mem::replace(&mut state.writer, Interest::Nobody);
            calls[0] = Some((interest, Direction::Write, Event::Writable));
        }
        if state.reader != Interest::Nobody && (is_gone || state.is_readable()) {
            let interest = mem::replace(&mut state.reader, Interest::Nobody);
            calls[1] = Some((interest, Direction::Read, Event::Readable));
        }
        let id = state.id;
        drop(state);
        for (interest, direction, event) in calls.into_iter().flatten() {
            if interest.has_thread() {
                signal(id, direction);
            }
            if interest.has_anybody() {
                // Once the queue is closed, no thread is left to hear of it.
                self.queue.push_now(Job::Event(id, event));
            }
        }
    }
}

impl State {
    fn is_tunnel_open(&self) -> bool {
        matches!(self.inflow, Inflow::Open | Inflow::Blocked) && self.client != ClientState::Gone
    }

    /// Whether a read would return something: bytes, the end, or an error.
    fn is_readable(&mut self) -> bool {
        match self.inflow {
            Inflow::None => self.content.is_readable(),
            Inflow::Open | Inflow::Blocked | Inflow::Ended => {
                !self.inbox.is_empty() || !self.is_tunnel_open()
            }
        }
    }

    /// Takes the next piece out.
    fn pop(&mut self) -> Option<Vec<u8>> {
        let piece = self.outbox.pop_front()?;
        self.outbox_bytes -= piece.len();
        Some(piece)
    }
}

impl Content {
    /// Reads content into a buffer; none if there is nothing to read yet, 0 at the end.
    fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Content::Nothing => Ok(Some(0)),
            Content::Memory(bytes, read) => Ok(Some(copy(bytes, read, into))),
            Content::Spooled(tidegate::gateway::OwnedContent::Spooled { file, .. }) => {
                file.read(into).map(Some)
            }
            Content::Spooled(_) => Ok(Some(0)),
            Content::Incoming(incoming, piece, read) => {
                if *read == piece.len() {
                    match incoming.next_piece()? {
                        Piece::Data(bytes) => {
                            (*piece, *read) = (bytes.to_vec(), 0);
                        }
                        Piece::Pending { .. } => return Ok(None),
                        Piece::End => return Ok(Some(0)),
                    }
                }
                Ok(Some(copy(piece, read, into)))
            }
        }
    }

    fn is_readable(&mut self) -> bool {
        match self {
            Content::Nothing | Content::Memory(..) | Content::Spooled(_) => true,
            Content::Incoming(incoming, piece, read) => {
                if *read < piece.len() {
                    return true;
                }
                match incoming.next_piece() {
                    Ok(Piece::Data(bytes)) => {
                        (*piece, *read) = (bytes.to_vec(), 0);
                        true
                    }
                    Ok(Piece::Pending { .. }) => false,
                    Ok(Piece::End) | Err(_) => true,
                }
            }
        }
    }
}

fn copy(from: &[u8], read: &mut usize, into: &mut [u8]) -> usize {
    let rest = &from[*read..];
    let count = rest.len().min(into.len());
    into[..count].copy_from_slice(&rest[..count]);
    *read += count;
    count
}

/// The server's place in the handoff. When it is dropped, nobody waits any more: who waits for room or content learns of it
/// at once, and a request that still waits for a thread goes, with all its content.
struct Seat {
    handoff: Arc<Handoff>,
    place: Place<Job, Arc<Handoff>>,
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.handoff.lock()
    }

    /// Lets other requests come first, since this client may have left.
    fn client_has_finished(&self) {
        let mut state = self.lock();
        state.client = ClientState::HasFinished;
        let is_waiting_for_thread = state.block.is_some();
        drop(state);
        if is_waiting_for_thread {
            self.place.step_back();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.lock();
        // Who writes finds out by that; who has not begun may wait for long.
        let has_broken =
            state.end.is_none() && (matches!(state.answer, Answer::Unknown) || state.inflow != Inflow::None);
        state.client = ClientState::Gone;
        let block = state.block.take();
        state.outbox.clear();
        let (id, has_listener) = (state.id, state.reader.has_anybody() || state.writer.has_anybody());
        let is_unheard = has_broken && !has_listener;
        if is_unheard && state.pace == Pace::Timed {
            state.pace = Pace::Left;
        }
        let must_tell = is_unheard && state.pace == Pace::Async;
        self.handoff.tell(state);
        if block.is_some() {
            self.place.give_up();
        } else if must_tell {
            // Nobody would find out before something is written.
            self.handoff.queue.push_now(Job::Event(id, Event::Gone));
        }
    }
}

/// The server's half before the head is known.
pub(crate) struct Awaited {
    seat: Seat,
    /// The moment when the application has taken too long.
    until: Option<Moment>,
}

impl Awaited {
    /// Returns the answer to this request, or the server's own if there is none in time.
    pub fn wait(
        handoff: Arc<Handoff>,
        place: Place<Job, Arc<Handoff>>,
        until: Option<Moment>,
        start_response: StartResponse<'_>,
    ) -> Body {
        let awaited = Awaited { seat: Seat { handoff, place }, until };
        start_response.later(until, awaited)
    }
}

impl Later for Awaited {
    fn resume(mut self: Box<Self>, mut start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let mut state = self.seat.handoff.lock();
        for hint in mem::take(&mut state.hints) {
            let fields: Vec<_> = hint.fields().iter().collect();
            // Judged when they were given, but for those that have no place in a 103: those are dropped.
            let _ = start_response.inform(103, &fields);
        }
        match (mem::replace(&mut state.answer, Answer::Passed), &state.end) {
            (Answer::Unknown, None) => {
                state.answer = Answer::Unknown;
                if state.pace == Pace::Async {
                    self.until = None;
                }
                let is_too_late = self.until.is_some_and(|until| until <= start_response.now());
                self.seat.handoff.tell(state);
                match is_too_late {
                    true => too_late(start_response),
                    false => Ok(start_response.later_boxed(self.until, self)),
                }
            }
            (Answer::Unknown | Answer::Passed, Some(End::Failed(error))) => {
                Err(GatewayError::new(error.clone()))
            }
            (Answer::Unknown | Answer::Passed, Some(End::Complete)) | (Answer::Passed, None) => {
                Err(GatewayError::new("the application has ended without an answer"))
            }
            // What has begun is sent, as it would have been if the failure had come later, and then broken off.
            (Answer::Whole(..) | Answer::File(..) | Answer::Upgrade(_), Some(End::Failed(error))) => {
                Err(GatewayError::new(error.clone()))
            }
            (Answer::Whole(head, content), _) => {
                drop(state);
                send_whole(&head, content, start_response)
            }
            (Answer::File(head, range), _) => {
                drop(state);
                head.write(start_response).file(range)
            }
            (Answer::Begun(head), _) => {
                drop(state);
                head.write(start_response).stream(Pieces { seat: self.seat, current: Vec::new() })
            }
            (Answer::Upgrade(head), _) => {
                let upgrade = state.upgrade.clone();
                drop(state);
                let upgrade =
                    upgrade.ok_or_else(|| GatewayError::new("there is no other protocol to go on in"))?;
                let written = start_response.upgrade(&upgrade);
                let written =
                    head.fields().iter().fold(written, |written, (name, value)| written.field(name, value));
                written.tunnel(Pieces { seat: self.seat, current: Vec::new() })
            }
        }
    }

    fn client_has_finished(&mut self) {
        self.seat.client_has_finished();
    }
}

/// Sends content of known length. What the application has declared counts more than what it gives: too
/// much is cut off, and too little breaks the connection off, so that the client can tell.
fn send_whole(
    head: &Head,
    content: Option<Vec<u8>>,
    start_response: StartResponse<'_>,
) -> Result<Body, GatewayError> {
    let response = head.write(start_response);
    match (content, head.declared_length()) {
        (None, _) => response.finish(),
        (Some(content), None) => response.send(content),
        (Some(content), Some(declared)) if declared == content.len() as u64 => response.send(content),
        (Some(content), Some(_)) => {
            let mut writer = response.start()?;
            writer.write(content)?;
            writer.finish()
        }
    }
}

fn too_late(start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    start_response
        .status(504)
        .field("Content-Type", "text/plain; charset=utf-8")
        .send("504 Gateway Timeout: the application took too long.\n")
}

/// The server's half while content comes, or a tunnel is open.
struct Pieces {
    seat: Seat,
    /// The piece that is lent to the connection.
    current: Vec<u8>,
}

impl BodyStream for Pieces {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        let mut state = self.seat.handoff.lock();
        if let Some(piece) = state.pop() {
            // Who waits goes on while there still is something for the client, and not for each piece: it would make one, and
            // wait again, at two context switches a piece.
            self.seat.handoff.tell(state);
            self.current = piece;
            return Ok(Piece::Data(&self.current));
        }
        match &state.end {
            None => {
                self.seat.handoff.tell(state);
                Ok(Piece::Pending { until: None })
            }
            Some(End::Complete) => Ok(Piece::End),
            Some(End::Failed(error)) => Err(GatewayError::new(error.clone())),
        }
    }

    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        mem::take(&mut self.seat.lock().trailers)
    }

    fn client_has_finished(&mut self) {
        self.seat.client_has_finished();
    }

    fn held_bytes(&self) -> usize {
        let state = self.seat.lock();
        self.current.len() + state.outbox_bytes + state.inbox.capacity()
    }
}

impl Tunnel for Pieces {
    fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError> {
        let mut state = self.seat.handoff.lock();
        let count = bytes.len().min(BYTES_HIGH.saturating_sub(state.inbox.len()));
        if count == 0 {
            state.inflow = Inflow::Blocked;
            return Ok(0);
        }
        state.inbox.extend_from_slice(&bytes[..count]);
        self.seat.handoff.tell(state);
        Ok(count)
    }

    fn receive_end(&mut self) {
        let mut state = self.seat.handoff.lock();
        state.inflow = Inflow::Ended;
        self.seat.handoff.tell(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use std::time::Duration;

    fn new(outbox_bytes_high: usize) -> (Arc<Queue>, Arc<Handoff>, Seat) {
        let queue: Arc<Queue> = Arc::new(Jobs::new(1, 1));
        let request = Request { block: vec![0; 16], content: Content::Nothing, reservation: None };
        let wakeup = Wakeup::new(Waker::noop().clone());
        let handoff = Arc::new(Handoff::new(request, None, wakeup, queue.clone(), outbox_bytes_high));
        let place = queue.push(Job::Request(handoff.clone()));
        let seat = Seat { handoff: handoff.clone(), place };
        (queue, handoff, seat)
    }

    /// Takes the request as a thread does.
    fn take(queue: &Queue, handoff: &Handoff, id: i64) {
        assert!(matches!(queue.try_take(false).job, Some(Job::Request(_))));
        assert!(handoff.take(id).is_some());
    }

    fn next_event(queue: &Queue) -> Option<(i64, Event)> {
        match queue.try_take(false).job? {
            Job::Event(id, event) => Some((id, event)),
            Job::Request(_) | Job::Task => panic!("the queue has another job"),
        }
    }

    /// An asynchronous exchange without a timeout would never end if nobody told it that its client has left.
    #[test]
    fn exchange_that_goes_on_is_told_once_that_its_client_has_left() {
        for leaves_first in [true, false] {
            let (queue, handoff, seat) = new(BYTES_HIGH);
            take(&queue, &handoff, 7);
            if leaves_first {
                drop(seat);
                assert_eq!(next_event(&queue), None, "Java cannot find it yet");
                handoff.go_async();
            } else {
                handoff.go_async();
                assert_eq!(next_event(&queue), None, "the client is there");
                drop(seat);
            }
            assert_eq!(next_event(&queue), Some((7, Event::Gone)), "leaves first: {leaves_first}");
            handoff.go_async();
            assert_eq!(next_event(&queue), None, "leaves first: {leaves_first}");
        }
    }

    #[test]
    fn exchange_that_has_been_answered_is_not_told_of_its_client() {
        let (queue, handoff, seat) = new(BYTES_HIGH);
        take(&queue, &handoff, 7);
        handoff.end(Vec::new());
        drop(seat);
        handoff.go_async();
        assert_eq!(next_event(&queue), None);
    }

    #[test]
    fn thread_waits_at_a_bound_that_is_smaller_than_what_a_socket_takes() {
        for (bound, least) in [(1000, 1000), (0, 1)] {
            let (queue, handoff, seat) = new(bound);
            take(&queue, &handoff, 7);
            assert_eq!(handoff.push(None, vec![0; least - 1]), Given::Room, "{bound}");
            assert!(handoff.await_readiness(Direction::Write, Asker::Nobody), "{bound}");
            assert_eq!(handoff.push(None, vec![0]), Given::Full, "{bound}");
            assert!(!handoff.await_readiness(Direction::Write, Asker::Anybody), "{bound}");
            let mut pieces = Pieces { seat, current: Vec::new() };
            while handoff.lock().outbox_bytes > 0 {
                assert!(
                    matches!(pieces.next_piece(Moment::from_start(Duration::ZERO)), Ok(Piece::Data(_))),
                    "{bound}"
                );
            }
            assert_eq!(next_event(&queue), Some((7, Event::Writable)), "{bound}");
        }
    }

    /// A flush that only asks whether there is room does not take an event away from the listener that waits for it.
    #[test]
    fn question_does_not_take_the_place_of_who_waits() {
        let (queue, handoff, seat) = new(BYTES_HIGH);
        take(&queue, &handoff, 7);
        assert_eq!(handoff.push(None, vec![0; BYTES_HIGH]), Given::Full);
        assert!(!handoff.await_readiness(Direction::Write, Asker::Anybody));
        assert!(!handoff.await_readiness(Direction::Write, Asker::Nobody));
        drop(seat);
        assert_eq!(next_event(&queue), Some((7, Event::Writable)));
    }
}
