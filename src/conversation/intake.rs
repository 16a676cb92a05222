//! What is being taken in: a head, or the content that belongs to one.

use std::borrow::Cow;
use std::mem;

use super::deadline::{Flow, of_body};
use super::turn::Turn;
use crate::gateway::{Feed, GatewayError, IncomingContent, OwnedContent, Wakeup};
use crate::limits::Limits;
use crate::now::Moment;
use crate::protocol::{Http1, ProtocolError, RequestState};

/// Said to the operator of content that is refused by its length.
const NO_ROOM: &str = "no room is left for temporary files: spool_bytes_max is reached";

/// What is being taken in before the application is called.
pub(super) enum Intake {
    /// The next head, of which the protocol knows whether it has begun.
    Head,
    /// The content of the request whose head is complete. In a box, so that exchanges without are small.
    Content(Box<Collected>),
}

/// A request whose content is collected before its application is called.
#[derive(Default)]
pub(super) struct Collected {
    /// The head, which is parsed again in the end: that is cheaper to understand than to store
    /// where in the bytes everything was, and happens only to content that came in pieces.
    pub head: Vec<u8>,
    /// What has come of the content.
    pub content: OwnedContent,
    /// The lines that have come behind it, as they came: never to be taken for lines of the head.
    pub trailers: Vec<u8>,
    /// Bytes of content, where the head has said it.
    length: Option<u64>,
    /// How the content has come so far, for its deadline.
    pub arrival: Flow,
}

/// Whether more can come from the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerSide {
    /// It can.
    Open,
    /// The peer has ended its side; it may still wait for answers.
    Ended,
}

/// What has come of content.
pub(super) enum Taken {
    /// This many bytes of input, and more is to come.
    Part(usize),
    /// This many bytes of input, the last of them; and the whole request.
    Whole(usize, Collected),
}

impl Collected {
    /// Begins to collect, at the moment when the head was complete.
    pub fn new(head: &[u8], length: Option<u64>, now: Moment) -> Collected {
        Collected { head: head.to_vec(), length, arrival: Flow::new(now), ..Collected::default() }
    }

    /// Looks whether there is a place for all that was announced.
    ///
    /// # Errors
    /// There never will be one, or there is none now.
    pub fn find_place(&self, turn: &mut Turn<'_>) -> Result<(), ProtocolError> {
        let place = self.length.map_or(Ok(()), |length| turn.place_for(length));
        if place == Err(ProtocolError::NoPlaceForContent) {
            turn.journal.failure(None, &GatewayError::new(NO_ROOM));
        }
        place
    }

    /// Takes in what has come. Where all has, nothing is left of this.
    ///
    /// # Errors
    /// Broken framing, too much content, no place for it, or nothing more of it that can come.
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

    /// Moves what has come from memory to the disk.
    ///
    /// # Errors
    /// There is no place.
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
    arrival: Flow,
    /// Since when nothing is read: the application takes its time, by no fault of the peer.
    paused: Option<Moment>,
}

impl Passing {
    /// Begins at the moment when the head was complete. The other half is the application's.
    pub fn new(wakeup: Wakeup, now: Moment) -> (Passing, IncomingContent) {
        let (feed, content) = Feed::new(wakeup);
        (Passing { feed, arrival: Flow::new(now), paused: None }, content)
    }

    /// Passes on what has come, if there is room: how many bytes of input were used.
    ///
    /// # Errors
    /// Broken framing, too much content, or nothing more of it that can come.
    pub fn take(
        &mut self,
        input: &[u8],
        peer_side: PeerSide,
        http: &mut Http1,
        turn: &Turn<'_>,
    ) -> Result<usize, ProtocolError> {
        if input.is_empty() && peer_side == PeerSide::Ended {
            return Err(ProtocolError::IncompleteRequest);
        }
        if input.is_empty() || !self.feed.has_room(turn.output_bytes_high()) {
            return Ok(0);
        }
        // Whoever reads as it comes has answered without knowing the trailers, and does without them.
        let Deframed { used, content, trailers: _ } = decode_all(http, input)?;
        self.feed.push(&content);
        self.arrival.arrived(used as u64, turn.context.now.moment, &turn.context.limits);
        if http.request() == RequestState::Complete {
            self.feed.end();
        }
        Ok(used)
    }

    /// Whether the application has let go of it.
    pub fn is_unwanted(&self) -> bool {
        self.feed.is_unwanted()
    }

    /// Whether there is room for more, of which `bytes_high` may wait for the application.
    pub fn has_room(&self, bytes_high: usize) -> bool {
        self.feed.has_room(bytes_high)
    }

    /// Notes whether the socket is read from now on: the time in which it is not does not count.
    pub fn note_reading(&mut self, is_read: bool, now: Moment) {
        match (is_read, self.paused) {
            (true, Some(since)) => {
                self.arrival.pause(now.since(since));
                self.paused = None;
            }
            (false, None) => self.paused = Some(now),
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Whether the socket is read.
    pub fn is_read(&self) -> bool {
        self.paused.is_none()
    }

    /// When more must have come; none while nothing is read.
    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        self.is_read().then(|| of_body(self.arrival, limits))
    }

    /// Since when nothing has come; none while nothing is read.
    pub fn stalled_since(&self) -> Option<Moment> {
        self.is_read().then_some(self.arrival.last_byte)
    }

    pub fn memory_in_use(&self) -> usize {
        self.feed.memory_bytes()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.feed.break_off();
    }
}

/// Input without its framing.
struct Deframed<'i> {
    /// How many bytes of input were used.
    used: usize,
    /// The content among them.
    content: Cow<'i, [u8]>,
    /// The part of a trailer section among them.
    trailers: &'i [u8],
}

/// Takes the framing off all of the input, or as much as there is. Content is gathered first, because a chunk can be a
/// single byte, and each append a system call.
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
