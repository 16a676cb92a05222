//! Content that goes on to the application as it comes, while the answer is under way.

use super::deadline::{Flow, of_body};
use super::intake::{Deframed, PeerSide, decode_all};
use super::turn::Turn;
use crate::gateway::{Feed, IncomingContent, MemoryAccount, ReadBuffer, Wakeup};
use crate::limits::Limits;
use crate::message::Fields;
use crate::now::Moment;
use crate::protocol::{Http1, ProtocolError, RequestState, ResponseState, Trailers};

/// Content that is passed on to an application which is already answering.
pub(super) struct Relay {
    feed: Feed,
    /// The trailer lines after the content, as they came.
    trailers: Vec<u8>,
    arrival: Flow,
    /// The time since which the peer is not waited for, because the application or its answer comes first.
    paused: Option<Moment>,
    sender: Sender,
    /// The account in which content counts that outlives the relay.
    account: Option<MemoryAccount>,
}

/// The state of a client that sends content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// The client sends its content.
    Sends,
    /// The client has said that it waits to be asked (RFC 9110 §10.1.1), and nothing has come.
    Waits,
}

impl Relay {
    /// Begins at the moment when the head was complete. The other half is the application's.
    pub fn new(sender: Sender, turn: &Turn<'_>) -> (Relay, IncomingContent) {
        let (feed, content) = Feed::new(Wakeup::new(turn.client.wake_source.waker()));
        let (arrival, account) = (Flow::new(turn.context.now.moment), turn.client.memory.cloned());
        (Relay { feed, trailers: Vec::new(), arrival, paused: None, sender, account }, content)
    }

    /// Whether the client waits to be asked: it has said so, none of its content has come, and nothing of the answer
    /// has gone out, which tells it as much.
    pub fn is_held_back(&self, response: ResponseState) -> bool {
        self.sender == Sender::Waits && response == ResponseState::Unstarted
    }

    /// Whether a client that waits to be asked is to be asked now.
    pub fn must_ask(&self, response: ResponseState) -> bool {
        self.is_held_back(response) && !self.feed.waits_for_reader() && !self.feed.is_unwanted()
    }

    /// Passes on what has come, if there is room, and returns how many bytes of input were used.
    ///
    /// # Errors
    /// Returns the error when the framing is broken, when there is too much content, or when the rest cannot
    /// come.
    pub fn take(
        &mut self,
        input: &[u8],
        peer_side: PeerSide,
        http: &mut Http1,
        turn: &Turn<'_>,
    ) -> Result<usize, ProtocolError> {
        if http.request() == RequestState::Complete {
            return Ok(0);
        }
        if input.is_empty() && peer_side == PeerSide::Ended {
            return Err(ProtocolError::IncompleteRequest);
        }
        if input.is_empty() || !self.claim_room(turn.output_bytes_high()) {
            return Ok(0);
        }
        let Deframed { used, content, trailers } = decode_all(http, input)?;
        self.note_arrival(used, turn);
        self.trailers.extend_from_slice(trailers);
        self.feed.push(&content, self.trailers_at_end(http));
        Ok(used)
    }

    /// Whether the next `count` bytes are nothing but content, for a reader who waits for it.
    pub fn takes_over(&self, count: usize, http: &Http1) -> bool {
        http.content_ahead() >= count as u64 && self.feed.is_drained()
    }

    /// Passes on the memory in which content has come, without copying it. This reader
    /// [takes it over](Relay::takes_over).
    ///
    /// # Errors
    /// Returns the error of the framing, which has none where only content is.
    pub fn take_over(
        &mut self,
        buffer: ReadBuffer,
        http: &mut Http1,
        turn: &Turn<'_>,
    ) -> Result<(), ProtocolError> {
        let used = http.read_content(buffer.filled())?.consumed;
        debug_assert_eq!(used, buffer.filled().len(), "all of it is content");
        self.note_arrival(used, turn);
        self.feed.take_over(buffer, self.trailers_at_end(http));
        Ok(())
    }

    /// Notes that bytes have come: a client that sends, asked or not, waits no more.
    fn note_arrival(&mut self, bytes: usize, turn: &Turn<'_>) {
        let now = turn.context.now.moment;
        self.sender = Sender::Sends;
        self.note_waiting(true, now);
        self.arrival.arrived(bytes as u64, now, &turn.context.limits);
    }

    /// Returns the trailer fields, perhaps none, once all has come.
    fn trailers_at_end(&self, http: &Http1) -> Option<Vec<(String, Vec<u8>)>> {
        let is_complete = http.request() == RequestState::Complete;
        is_complete.then(|| Fields::new(&Trailers::parse(&self.trailers)).to_owned())
    }

    /// Whether the application has dropped its half.
    pub fn is_unwanted(&self) -> bool {
        self.feed.is_unwanted()
    }

    /// Whether more is to come, and there is room for it, of which `bytes_high` may wait for the application.
    pub fn has_room(&self, bytes_high: usize) -> bool {
        self.feed.has_room(bytes_high)
    }

    /// Answers as [`has_room`](Relay::has_room) does. If there is none, the application wakes the connection once it has
    /// read.
    pub fn claim_room(&self, bytes_high: usize) -> bool {
        self.feed.claim_room(bytes_high)
    }

    /// Notes whether nothing but more content is waited for from now on: other time does not count.
    pub fn note_waiting(&mut self, is_waiting: bool, now: Moment) {
        match (is_waiting, self.paused) {
            (true, Some(since)) => {
                self.arrival.pause(now.since(since));
                self.paused = None;
            }
            (false, None) => self.paused = Some(now),
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Whether nothing but more content is waited for.
    pub fn is_waiting(&self) -> bool {
        self.paused.is_none()
    }

    /// Returns when more content must have come; none while something else comes first.
    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        self.is_waiting().then(|| of_body(self.arrival, limits))
    }

    /// Returns the moment since which no content has come; none while something else comes first.
    pub fn stalled_since(&self) -> Option<Moment> {
        self.is_waiting().then_some(self.arrival.last_byte)
    }

    /// Returns the moment since which content has waited here for an application that does not read it.
    pub fn unread_since(&self) -> Option<Moment> {
        self.paused.filter(|_| !self.feed.is_drained() && self.feed.memory_bytes() > 0)
    }

    /// Gives back memory that holds nothing. Returns whether that was at least half.
    pub fn trim(&self) -> bool {
        self.feed.trim()
    }

    /// Throws away what the application has not read. It hears that the content breaks off.
    pub fn discard(&self) {
        self.feed.discard();
    }

    pub fn memory_in_use(&self) -> usize {
        self.feed.memory_bytes() + self.trailers.capacity()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.feed.let_go(self.account.as_ref());
    }
}
