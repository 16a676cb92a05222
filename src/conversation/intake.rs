//! The intake of a request before its application is called: a head, or the content that belongs to one.

use std::borrow::Cow;
use std::mem;

use super::deadline::Flow;
use super::turn::Turn;
use crate::gateway::{GatewayError, OwnedContent};
use crate::now::Moment;
use crate::protocol::{Http1, ProtocolError, RequestState};

/// The message for the operator when content is refused for want of room.
const NO_ROOM: &str = "no room is left for temporary files: spool_bytes_max is reached";

/// The part of a request that is read before its application is called.
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
    /// The trailer lines after the content, as they came. They must never be taken for lines of the head.
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
    /// The request is whole, and this many bytes of input were the last of it.
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

    /// Takes in content that has arrived. Once all has, this is used up.
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

/// Input without its framing.
pub(super) struct Deframed<'i> {
    /// The number of input bytes that were used.
    pub used: usize,
    /// The content among them.
    pub content: Cow<'i, [u8]>,
    /// The part of a trailer section among them.
    pub trailers: &'i [u8],
}

/// Removes the framing from as much of the input as possible. Content is gathered first, because a chunk can
/// be a single byte, and each append a system call.
pub(super) fn decode_all<'i>(http: &mut Http1, input: &'i [u8]) -> Result<Deframed<'i>, ProtocolError> {
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
