//! The delivery of a response that outlasts the call of its application.

use super::foreign::{Asking, Foreign, guard};
use super::intake::PeerSide;
use super::outlet::Outlet;
use super::record::Wanted;
use super::sink::{Concluded, Sink};
use super::stage::StageName;
use super::tunnel::{Moved, Tunneled};
use super::turn::Turn;
use crate::gateway::{
    BodyStream, Content, FileRange, GatewayError, Later, Misuse, Piece, Remainder, StartResponse,
};
use crate::limits::Limits;
use crate::message::{Fields, InvalidResponse};
use crate::now::Moment;

/// Bytes of a file that are read at a time. 64 KiB: the most that a socket takes at once.
const FILE_PIECE_BYTES: u64 = 64 * 1024;
/// Longest file that is read even where files are sent. 16 KiB: as cheap, and the head leaves in the same
/// write, as do the responses around it in a pipeline.
const READ_FILE_BYTES_MAX: u64 = 16 * 1024;

/// A response on its way out, once its application was called.
pub(super) enum Delivery {
    /// The application will answer later; the response is not known.
    Deferred(Deferred),
    /// The content is drawn from a stream.
    Stream(DrawnStream),
    /// The file stands in the output queue, and nothing is queued behind it.
    QueuedFile(QueuedFile),
    /// The content is read from a file, from the beginning of this range on.
    ReadFile(FileRange),
    /// The application has taken over the connection.
    Tunnel(Box<Tunneled>),
}

/// The result of a step of a delivery.
pub(super) enum DeliveryStep {
    /// The next step belongs to this other delivery.
    Next(Delivery),
    /// This delivery can go on at once.
    Again,
    /// The delivery can go on, after this many bytes of input were used.
    Consumed(usize),
    /// The delivery cannot go on before something happens: the application is pending, the queue is full, or
    /// the turn is over.
    Blocked,
    /// All content was handed over.
    Complete,
}

/// An answer whose status is not known yet.
pub(super) struct Deferred {
    asking: Asking,
    answer: Foreign<Box<dyn Later>>,
}

/// Content that is drawn.
pub(super) struct DrawnStream {
    asking: Asking,
    departure: Departure,
    stream: Foreign<Box<dyn BodyStream>>,
}

/// The time when the pieces of a stream are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Departure {
    /// Several pieces together, as many as there is room for.
    Together,
    /// Each piece before the next is asked for.
    OneByOne,
}

/// A file in the output queue.
pub(super) struct QueuedFile {
    /// The length of the file when it was queued.
    length: u64,
}

impl Delivery {
    /// Begins to deliver what remains after the call of an application. A file is queued if it is long enough
    /// and can be sent; otherwise it is read.
    pub fn of(remainder: Remainder, outlet: Outlet<'_>, turn: &Turn<'_>) -> Delivery {
        match remainder {
            Remainder::Stream(stream) => Delivery::Stream(DrawnStream::new(stream)),
            Remainder::File(range) => {
                let is_sent = turn.disk.sends_files() && range.length > READ_FILE_BYTES_MAX;
                if is_sent && outlet.http.wants_content() {
                    let length = range.length;
                    outlet.out.push_file(range);
                    return Delivery::QueuedFile(QueuedFile { length });
                }
                Delivery::ReadFile(range)
            }
            Remainder::Tunnel(tunnel) => {
                Delivery::Tunnel(Box::new(Tunneled::new(tunnel, turn.context.now.moment)))
            }
            Remainder::Later { until, answer } => Delivery::Deferred(Deferred {
                asking: Asking::WhenWoken { until },
                answer: Foreign::new(answer),
            }),
        }
    }

    /// Does as much as can be done now.
    ///
    /// # Errors
    /// Returns the error when the application has failed, or its file cannot be read.
    pub fn advance(
        &mut self,
        input: &[u8],
        peer_side: PeerSide,
        outlet: Outlet<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<DeliveryStep, GatewayError> {
        let output_bytes_high = self.output_bytes_high(turn.output_bytes_high());
        let is_full = outlet.out.owed() >= output_bytes_high;
        match self {
            Delivery::Deferred(deferred) => deferred.resume(outlet, turn),
            Delivery::QueuedFile(queued) => Ok(queued.leave(outlet)),
            Delivery::Stream(_) | Delivery::ReadFile(_) if is_full => Ok(DeliveryStep::Blocked),
            Delivery::Stream(stream) => stream.draw(output_bytes_high, outlet, turn),
            Delivery::ReadFile(range) => read_on(range, outlet, turn),
            Delivery::Tunnel(tunnel) => {
                Ok(match tunnel.advance(input, peer_side, output_bytes_high, outlet, turn)? {
                    Moved::On(bytes) => DeliveryStep::Consumed(bytes),
                    Moved::Blocked => DeliveryStep::Blocked,
                    Moved::Ended => DeliveryStep::Complete,
                })
            }
        }
    }

    /// Returns how many owed bytes stop production; for most deliveries it is `usual`.
    pub fn output_bytes_high(&self, usual: usize) -> usize {
        match self {
            // Each of its pieces leaves before it is asked for the next, and the file before the end.
            Delivery::Stream(DrawnStream { departure: Departure::OneByOne, .. })
            | Delivery::QueuedFile(_) => 1,
            Delivery::Stream(DrawnStream { departure: Departure::Together, .. })
            | Delivery::Deferred(_)
            | Delivery::ReadFile(_)
            | Delivery::Tunnel(_) => usual,
        }
    }

    /// The name of the delivery's stage.
    pub fn stage(&self) -> StageName {
        match self {
            Delivery::Deferred(_) => StageName::Deferred,
            Delivery::Stream(_) => StageName::Stream,
            Delivery::QueuedFile(_) => StageName::QueuedFile,
            Delivery::ReadFile(_) => StageName::ReadFile,
            Delivery::Tunnel(_) => StageName::Tunnel,
        }
    }

    /// Returns when the application is to be asked for more. Of a file nobody is asked.
    pub fn asking(&self) -> Asking {
        match self {
            Delivery::Deferred(deferred) => deferred.asking,
            Delivery::Stream(stream) => stream.asking,
            Delivery::Tunnel(tunnel) => tunnel.asking(),
            Delivery::QueuedFile(_) | Delivery::ReadFile(_) => Asking::Now,
        }
    }

    /// Whether bytes from the peer go to the application as they come.
    pub fn takes_input(&self) -> bool {
        match self {
            Delivery::Tunnel(tunnel) => tunnel.is_open(),
            Delivery::Deferred(_) | Delivery::Stream(_) | Delivery::QueuedFile(_) | Delivery::ReadFile(_) => {
                false
            }
        }
    }

    /// Returns when the delivery is given up, whatever the application says.
    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        match self {
            Delivery::Tunnel(tunnel) => Some(tunnel.deadline(limits)),
            Delivery::Deferred(_) | Delivery::Stream(_) | Delivery::QueuedFile(_) | Delivery::ReadFile(_) => {
                None
            }
        }
    }

    /// Notes that the application is to be asked again.
    pub fn wake(&mut self) {
        match self {
            Delivery::Deferred(Deferred { asking, .. }) | Delivery::Stream(DrawnStream { asking, .. }) => {
                *asking = Asking::Now;
            }
            Delivery::Tunnel(tunnel) => tunnel.wake(),
            Delivery::QueuedFile(_) | Delivery::ReadFile(_) => {}
        }
    }

    /// Tells the application that its client has ended its side.
    pub fn notify_of_end(&mut self) {
        match self {
            Delivery::Deferred(Deferred { answer, .. }) => {
                answer.notify(|answer| answer.client_has_finished())
            }
            Delivery::Stream(DrawnStream { stream, .. }) => {
                stream.notify(|stream| stream.client_has_finished())
            }
            Delivery::Tunnel(tunnel) => tunnel.notify_of_end(),
            Delivery::QueuedFile(_) | Delivery::ReadFile(_) => {}
        }
    }

    /// The memory that the application says it holds for this answer, in bytes.
    pub fn memory_in_use(&self) -> usize {
        match self {
            Delivery::Deferred(Deferred { answer, .. }) => answer.measure(|answer| answer.held_bytes()),
            Delivery::Stream(DrawnStream { stream, .. }) => stream.measure(|stream| stream.held_bytes()),
            Delivery::Tunnel(tunnel) => tunnel.memory_in_use(),
            Delivery::QueuedFile(_) | Delivery::ReadFile(_) => 0,
        }
    }

    /// Reads the rest of a queued file that cannot be sent.
    pub fn take_back(&mut self, rest: FileRange, mut outlet: Outlet<'_>) {
        if let Delivery::QueuedFile(queued) = self {
            outlet.count_file(queued.length.saturating_sub(rest.length));
            *self = Delivery::ReadFile(rest);
        }
    }
}

impl Deferred {
    /// Asks for the answer that was to come later, unless it is still pending.
    fn resume(&mut self, mut outlet: Outlet<'_>, turn: &mut Turn<'_>) -> Result<DeliveryStep, GatewayError> {
        if let Asking::WhenWoken { .. } = self.asking {
            return Ok(DeliveryStep::Blocked);
        }
        let answer = self.answer.take().ok_or(Misuse::Abandoned)?;
        let wanted = turn.journal.wanted().and_then(Wanted::details);
        let mut sink = Sink::new(outlet.reborrow(), wanted, turn.context, turn.wire);
        let result = guard(|| answer.resume(StartResponse::new(&mut sink)));
        match sink.conclude(result) {
            Concluded::Complete => Ok(DeliveryStep::Complete),
            Concluded::Remains(remainder) => Ok(DeliveryStep::Next(Delivery::of(remainder, outlet, turn))),
            Concluded::Failed(error) => Err(error),
        }
    }
}

impl DrawnStream {
    fn new(stream: Box<dyn BodyStream>) -> DrawnStream {
        let departure = match guard(|| Ok(stream.is_prompt())) {
            Ok(true) => Departure::OneByOne,
            // Should it panic here, it will again when it is drawn.
            Ok(false) | Err(_) => Departure::Together,
        };
        DrawnStream { asking: Asking::Now, departure, stream: Foreign::new(stream) }
    }

    /// Draws pieces while there is room for them, unless the application is pending.
    fn draw(
        &mut self,
        output_bytes_high: usize,
        mut outlet: Outlet<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<DeliveryStep, GatewayError> {
        if let Asking::WhenWoken { .. } = self.asking {
            return Ok(DeliveryStep::Blocked);
        }
        let stream = self.stream.get().ok_or(Misuse::Abandoned)?;
        while outlet.out.owed() < output_bytes_high {
            if !outlet.http.wants_content() {
                return Ok(DeliveryStep::Complete);
            }
            if !turn.may_draw() {
                return Ok(DeliveryStep::Blocked);
            }
            if output_bytes_high == 1 {
                // The application may take its time for each piece that leaves by itself: others come between.
                turn.budget.pieces = 0;
            }
            match guard(|| stream.next_piece(turn.context.now.moment))? {
                Piece::Data(bytes) => {
                    outlet.write(Content::Borrowed(bytes));
                    turn.note_drawn();
                }
                Piece::Pending { until } => {
                    self.asking = Asking::WhenWoken { until };
                    return Ok(DeliveryStep::Blocked);
                }
                Piece::End => return end_with_trailers(stream.as_mut(), outlet),
            }
        }
        Ok(DeliveryStep::Blocked)
    }
}

/// Ends the response with the trailer fields of the stream, if the client takes them.
fn end_with_trailers(stream: &mut dyn BodyStream, outlet: Outlet<'_>) -> Result<DeliveryStep, GatewayError> {
    if outlet.http.wants_trailers() {
        let trailers = guard(|| Ok(stream.trailers()))?;
        outlet.http.end_with_trailers(outlet.out.buffer(), Fields::new(&trailers))?;
    }
    Ok(DeliveryStep::Complete)
}

impl QueuedFile {
    /// Ends the delivery once all of the file has been sent. Only then does it count as sent content: nobody
    /// can know before how much of it will be.
    fn leave(&self, mut outlet: Outlet<'_>) -> DeliveryStep {
        if outlet.out.file().is_some() {
            return DeliveryStep::Blocked;
        }
        outlet.count_file(self.length);
        DeliveryStep::Complete
    }
}

/// Reads the next part of a file.
fn read_on(
    range: &mut FileRange,
    mut outlet: Outlet<'_>,
    turn: &mut Turn<'_>,
) -> Result<DeliveryStep, GatewayError> {
    if range.length == 0 || !outlet.http.wants_content() {
        return Ok(DeliveryStep::Complete);
    }
    let wanted = range.length.min(FILE_PIECE_BYTES);
    // Without framing around it, it can be read right to where it leaves from.
    let read = turn.disk.read_at(&range.file, range.offset, wanted as usize, outlet.out.buffer())?;
    if read == 0 {
        return Err(InvalidResponse::TooShort { missing: range.length }.into());
    }
    range.offset += read as u64;
    range.length -= read as u64;
    outlet.count_file(read as u64);
    Ok(DeliveryStep::Again)
}
