//! The intake of a request: a head, or the content that belongs to one.

use std::borrow::Cow;
use std::mem;

use super::deadline::{Flow, of_body};
use super::turn::Turn;
use crate::gateway::{Feed, GatewayError, IncomingContent, OwnedContent, Wakeup};
use crate::limits::Limits;
use crate::message::Fields;
use crate::now::Moment;
use crate::protocol::{Http1, ProtocolError, RequestState, ResponseState, Trailers};

/// The message for the operator when content is refused for want of room.
const NO_ROOM: &str = "no room is left for temporary files: spool_bytes_max is reached";

/// The part of a request that is being taken in before the application is called.
pub(super) enum Intake {
    /// The next head; the protocol knows whether it has begun.
    Head,
    /// The content of the request whose head is complete. It is boxed, so that exchanges without are small.
    Content(Box<Collected>),
}

/// A request whose content is collected before its application is called.
#[derive(Default)]
pub(super) struct Collected {
    /// The bytes of the head, which is parsed again in the end. That is simpler than storing where in the
    /// bytes everything was, and happens only to content that came in pieces.
    pub head: Vec<u8>,
    /// The content that has come so far.
    pub content: OwnedContent,
    /// The trailer lines that have come after it, as they came. They must never be taken for lines of the
    /// head.
    pub trailers: Vec<u8>,
    /// The length of the content in bytes, if the head has declared it.
    length: Option<u64>,
    /// The progress of the content, for its deadline.
    pub arrival: Flow,
}

/// Whether more can come from the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerSide {
    /// The peer can send more.
    Open,
    /// The peer has ended its side; it may still wait for answers.
    Ended,
}

/// The result of taking in content.
pub(super) enum Taken {
    /// This many bytes of input were used, and more is to come.
    Part(usize),
    /// This many bytes of input were used, the last of them; and the whole request.
    Whole(usize, Collected),
}

impl Collected {
    /// Begins to collect, at the moment when the head was complete.
    pub fn new(head: &[u8], length: Option<u64>, now: Moment) -> Collected {
        Collected { head: head.to_vec(), length, arrival: Flow::new(now), ..Collected::default() }
    }

    /// Checks that there is room for all that was announced.
    ///
    /// # Errors
    /// Returns the error when there never will be room, or when there is none now.
    pub fn find_place(&self, turn: &mut Turn<'_>) -> Result<(), ProtocolError> {
        let place = self.length.map_or(Ok(()), |length| turn.place_for(length));
        if place == Err(ProtocolError::NoPlaceForContent) {
            turn.journal.failure(None, &GatewayError::new(NO_ROOM));
        }
        place
    }

    /// Takes in what has come. Once all has, this is used up.
    ///
    /// # Errors
    /// Returns the error when the framing is broken, when there is too much content or no room for it, or
    /// when the rest cannot come.
    pub fn take(
        &mut self,
        input: &[u8],
        peer_side: PeerSide,
        http: &mut Http1,
        turn: &mut Turn<'_>,
    ) -> Result<Taken, ProtocolError> {
        if input.is_empty() && peer_side == PeerSide::Ended {
            return Err(ProtocolError::IncompleteRequest);
        }
        let Deframed { used, content, trailers } = decode_all(http, input)?;
        if !trailers.is_empty() {
            self.trailers.extend_from_slice(trailers);
        }
        let memory_bytes_max = turn.content_memory_bytes_max(self.length);
        if memory_bytes_max > 0 {
            self.content.make_room(content.len(), self.length);
        }
        if let Err(error) = self.content.append(&content, memory_bytes_max, turn.disk) {
            turn.journal.failure(None, &error.into());
            return Err(ProtocolError::NoPlaceForContent);
        }
        self.arrival.arrived(used as u64, turn.context.now.moment, &turn.context.limits);
        Ok(match http.request() {
            RequestState::Complete => Taken::Whole(used, mem::take(self)),
            _ => Taken::Part(used),
        })
    }

    /// Moves content from memory to the disk.
    ///
    /// # Errors
    /// Returns the error when there is no room.
    pub fn spill(&mut self, turn: &mut Turn<'_>) -> Result<(), ProtocolError> {
        self.content.spill(turn.disk).map_err(|error| {
            turn.journal.failure(None, &error.into());
            ProtocolError::NoPlaceForContent
        })
    }

    pub fn memory_in_use(&self) -> usize {
        self.head.len() + self.content.memory_bytes() + self.trailers.capacity()
    }
}

/// Content that is passed on to an application that answers already.
pub(super) struct Passing {
    feed: Feed,
    /// The trailer lines that have come after it, as they came.
    trailers: Vec<u8>,
    arrival: Flow,
    /// The time since which nothing is waited for, because the application or its answer comes first: that is no fault
    /// of the peer.
    paused: Option<Moment>,
    sender: Sender,
}

/// The state of a client that sends content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sender {
    /// The client sends its content.
    Sends,
    /// The client has said that it waits to be asked (RFC 9110 §10.1.1), and nothing has come.
    Waits,
}

impl Passing {
    /// Begins at the moment when the head was complete. The other half is the application's.
    pub fn new(wakeup: Wakeup, sender: Sender, now: Moment) -> (Passing, IncomingContent) {
        let (feed, content) = Feed::new(wakeup);
        (Passing { feed, trailers: Vec::new(), arrival: Flow::new(now), paused: None, sender }, content)
    }

    /// Whether the client waits to be asked: it has said so, nothing has come of its content, and nothing of the answer, which
    /// tells it as much.
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
        // Who sends, asked or not, waits no more.
        self.sender = Sender::Sends;
        let now = turn.context.now.moment;
        self.note_waiting(true, now);
        self.arrival.arrived(used as u64, now, &turn.context.limits);
        self.trailers.extend_from_slice(trailers);
        let is_complete = http.request() == RequestState::Complete;
        let trailers = is_complete.then(|| Fields::new(&Trailers::parse(&self.trailers)).to_owned());
        self.feed.push(&content, trailers);
        Ok(used)
    }

    /// Whether the application has dropped its half.
    pub fn is_unwanted(&self) -> bool {
        self.feed.is_unwanted()
    }

    /// Whether more is to come, and there is room for it, of which `bytes_high` may wait for the application.
    pub fn has_room(&self, bytes_high: usize) -> bool {
        self.feed.has_room(bytes_high)
    }

    /// Answers as [`has_room`](Passing::has_room) does. If there is none, the application wakes the connection once it has
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

    /// Returns when more must have come; none while something else comes first.
    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        self.is_waiting().then(|| of_body(self.arrival, limits))
    }

    /// Returns since when nothing has come; none while something else comes first.
    pub fn stalled_since(&self) -> Option<Moment> {
        self.is_waiting().then_some(self.arrival.last_byte)
    }

    pub fn memory_in_use(&self) -> usize {
        self.feed.memory_bytes() + self.trailers.capacity()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.feed.break_off();
    }
}

/// Input without its framing.
struct Deframed<'i> {
    /// The number of input bytes that were used.
    used: usize,
    /// The content among them.
    content: Cow<'i, [u8]>,
    /// The part of a trailer section among them.
    trailers: &'i [u8],
}

/// Removes the framing from as much of the input as possible. Content is gathered first, because a chunk can
/// be a single byte, and each append a system call.
fn decode_all<'i>(http: &mut Http1, input: &'i [u8]) -> Result<Deframed<'i>, ProtocolError> {
    let (mut used, mut trailers) = (0, &input[..0]);
    let mut content = Cow::Borrowed(&input[..0]);
    while let RequestState::Body(_) = http.request() {
        let decoded = http.read_content(&input[used..])?;
        if decoded.consumed == 0 {
            break;
        }
        used += decoded.consumed;
        // Nothing but its end can follow it, so that all of it is in one piece.
        if !decoded.trailers.is_empty() {
            trailers = decoded.trailers;
        }
        if content.is_empty() {
            content = Cow::Borrowed(decoded.content);
        } else if !decoded.content.is_empty() {
            content.to_mut().extend_from_slice(decoded.content);
        }
    }
    Ok(Deframed { used, content, trailers })
}
