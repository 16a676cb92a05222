//! The conversation's side of a connection that its application has taken over.

use std::mem;

use super::context::Shutdown;
use super::deadline::of_tunnel;
use super::foreign::{Asking, Foreign, guard};
use super::intake::PeerSide;
use super::outlet::Outlet;
use super::turn::Turn;
use crate::gateway::{Content, GatewayError, Misuse, Piece, Tunnel};
use crate::limits::Limits;
use crate::now::Moment;

/// The state of a connection after 101.
pub(super) struct Tunneled {
    tunnel: Foreign<Box<dyn Tunnel>>,
    asking: Asking,
    inflow: Inflow,
    /// The time when a byte last moved, in either direction.
    moved: Moment,
    /// Whether the application knows that the server drains.
    knows_of_drain: bool,
}

/// The fate of bytes from the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inflow {
    /// The application takes them.
    Open,
    /// The application takes no bytes before it was asked for a piece, and the socket is not read.
    Refused,
    /// The application knows that there will be no more.
    Ended,
}

/// The outcome of one step of a tunnel.
pub(super) enum Moved {
    /// This many bytes from the peer were taken, or the application was told something: more may be done.
    On(usize),
    /// All that can be done now was done.
    Blocked,
    /// The application has ended it.
    Ended,
}

impl Tunneled {
    pub fn new(tunnel: Box<dyn Tunnel>, now: Moment) -> Tunneled {
        Tunneled {
            tunnel: Foreign::new(tunnel),
            asking: Asking::Now,
            inflow: Inflow::Open,
            moved: now,
            knows_of_drain: false,
        }
    }

    /// Draws bytes to be sent, as far as there is room for them, and hands over bytes that have come. In this order,
    /// since whoever was asked for a piece may have made room for more input.
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
        if turn.context.shutdown != Shutdown::No && !mem::replace(&mut self.knows_of_drain, true) {
            self.tell(|tunnel| tunnel.server_is_draining())?;
        }
        while self.asking == Asking::Now && outlet.out.owed() < output_bytes_high && turn.may_draw() {
            if self.inflow == Inflow::Refused {
                // What it does now may make room.
                self.inflow = Inflow::Open;
            }
            let tunnel = self.tunnel.get().ok_or(Misuse::Abandoned)?;
            match guard(|| tunnel.next_piece(now))? {
                Piece::Data(bytes) => {
                    self.moved = now;
                    outlet.write(Content::Borrowed(bytes));
                    turn.note_drawn();
                }
                Piece::Pending { until } => self.asking = Asking::WhenWoken { until },
                Piece::End => return Ok(Moved::Ended),
            }
        }
        match (self.inflow, peer_side) {
            (Inflow::Open, _) if !input.is_empty() => self.offer(input, now),
            (Inflow::Open, PeerSide::Ended) => {
                self.inflow = Inflow::Ended;
                self.tell(|tunnel| tunnel.receive_end())?;
                Ok(Moved::On(0))
            }
            (Inflow::Open | Inflow::Refused | Inflow::Ended, _) => Ok(Moved::Blocked),
        }
    }

    /// Offers bytes from the peer. Whoever has taken some is asked for a piece again.
    fn offer(&mut self, input: &[u8], now: Moment) -> Result<Moved, GatewayError> {
        let tunnel = self.tunnel.get().ok_or(Misuse::Abandoned)?;
        match guard(|| tunnel.receive(input))?.min(input.len()) {
            0 => {
                self.inflow = Inflow::Refused;
                Ok(Moved::Blocked)
            }
            taken => {
                (self.asking, self.moved) = (Asking::Now, now);
                Ok(Moved::On(taken))
            }
        }
    }

    /// Tells the application something, after which it is asked for a piece again.
    fn tell(&mut self, tell: impl FnOnce(&mut dyn Tunnel)) -> Result<(), GatewayError> {
        let tunnel = self.tunnel.get().ok_or(Misuse::Abandoned)?;
        self.asking = Asking::Now;
        guard(|| {
            tell(tunnel.as_mut());
            Ok(())
        })
    }

    /// Whether the application is to be told that the server drains.
    pub fn is_to_be_told_of_drain(&self) -> bool {
        !self.knows_of_drain
    }

    /// Whether the application takes bytes from the peer.
    pub fn is_open(&self) -> bool {
        self.inflow == Inflow::Open
    }

    pub fn asking(&self) -> Asking {
        self.asking
    }

    pub fn wake(&mut self) {
        self.asking = Asking::Now;
    }

    pub fn notify_of_end(&mut self) {
        self.tunnel.notify(|tunnel| tunnel.client_has_finished());
    }

    /// Returns the moment since which nothing has moved, if the peer is waited for.
    pub fn silent_since(&self) -> Option<Moment> {
        let waits_for_peer = self.is_open() && self.asking != Asking::Now;
        waits_for_peer.then_some(self.moved)
    }

    /// Returns when the connection is given up, unless something moves before.
    pub fn deadline(&self, limits: &Limits) -> Moment {
        of_tunnel(self.moved, limits)
    }

    pub fn memory_in_use(&self) -> usize {
        self.tunnel.measure(|tunnel| tunnel.held_bytes())
    }
}
