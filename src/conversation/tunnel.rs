//! The conversation's side of a connection that its application has taken over.

use super::deadline::of_tunnel;
use super::foreign::{Foreign, Readiness, guard};
use super::intake::PeerSide;
use super::outlet::Outlet;
use super::turn::Turn;
use crate::gateway::{Content, GatewayError, Misuse, Piece, Tunnel};
use crate::limits::Limits;
use crate::now::Moment;

/// The state of a connection after 101.
pub(super) struct Tunneled {
    tunnel: Foreign<Box<dyn Tunnel>>,
    readiness: Readiness,
    inflow: Inflow,
    /// The time when a byte last moved, in either direction.
    moved: Moment,
}

/// The fate of bytes from the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inflow {
    /// The application takes them.
    Open,
    /// The application takes none before it is woken, and the socket is not read.
    Refused,
    /// The application knows that there will be no more.
    Ended,
}

/// The outcome of one step of a tunnel.
pub(super) enum Moved {
    /// This many bytes from the peer were taken; more may be.
    In(usize),
    /// All that can leave now has done so.
    Out,
    /// The application has ended it.
    Ended,
}

impl Tunneled {
    pub fn new(tunnel: Box<dyn Tunnel>, now: Moment) -> Tunneled {
        Tunneled {
            tunnel: Foreign::new(tunnel),
            readiness: Readiness::Ready,
            inflow: Inflow::Open,
            moved: now,
        }
    }

    /// Hands over bytes that have come, and draws bytes to be sent, as far as there is room for them.
    ///
    /// # Errors
    /// Returns an error when the application has failed, or wants the connection to be cut.
    pub fn advance(
        &mut self,
        input: &[u8],
        peer_side: PeerSide,
        output_bytes_high: usize,
        mut outlet: Outlet<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Moved, GatewayError> {
        let now = turn.context.now.moment;
        let tunnel = self.tunnel.get().ok_or(Misuse::Abandoned)?;
        if self.inflow == Inflow::Open && !input.is_empty() {
            let taken = guard(|| tunnel.receive(input))?.min(input.len());
            if taken > 0 {
                (self.readiness, self.moved) = (Readiness::Ready, now);
                return Ok(Moved::In(taken));
            }
            self.inflow = Inflow::Refused;
        } else if self.inflow == Inflow::Open && peer_side == PeerSide::Ended {
            guard(|| {
                tunnel.receive_end();
                Ok(())
            })?;
            (self.readiness, self.inflow) = (Readiness::Ready, Inflow::Ended);
        }
        while self.readiness == Readiness::Ready && outlet.out.owed() < output_bytes_high && turn.may_draw() {
            match guard(|| tunnel.next_piece(now))? {
                Piece::Data(bytes) => {
                    self.moved = now;
                    outlet.write(Content::Borrowed(bytes));
                }
                Piece::Pending { until } => self.readiness = Readiness::Pending { until },
                Piece::End => return Ok(Moved::Ended),
            }
        }
        Ok(Moved::Out)
    }

    /// Whether the application takes bytes from the peer.
    pub fn is_open(&self) -> bool {
        self.inflow == Inflow::Open
    }

    pub fn readiness(&self) -> Readiness {
        self.readiness
    }

    pub fn wake(&mut self) {
        self.readiness = Readiness::Ready;
        if self.inflow == Inflow::Refused {
            self.inflow = Inflow::Open;
        }
    }

    pub fn notify_of_end(&mut self) {
        self.tunnel.notify(|tunnel| tunnel.client_has_finished());
    }

    /// Returns when the connection is given up, unless something moves before.
    pub fn deadline(&self, limits: &Limits) -> Moment {
        of_tunnel(self.moved, limits)
    }

    pub fn memory_in_use(&self) -> usize {
        self.tunnel.measure(|tunnel| tunnel.held_bytes())
    }
}
