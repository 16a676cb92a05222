//! The server's side of one connection: the four steps of the reactor, with a simulated socket.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use super::application::Shared;
use super::rng::Rng;
use super::socket::{End, Socket};
use tidegate::conversation::{Conversation, Farewell, Flow, Life, OutputQueue, Turn, Wants, of_output};
use tidegate::gateway::WakeSource;
use tidegate::limits::Limits;
use tidegate::now::Moment;

/// Why a connection has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Event,
    Remainder,
    Wake,
    Timer,
}

/// What is known of a connection in the reactor.
pub struct Served {
    pub number: usize,
    pub socket: Socket,
    pub conversation: Conversation,
    pub backlog: Option<(OutputQueue, Flow)>,
    pub lingers_until: Option<Moment>,
    pub woken: Arc<Woken>,
    /// An event waits to be dispatched; it stands in the ready list; it was asked for room.
    pub has_event: bool,
    pub is_ready: bool,
    pub waits_for_room: bool,
    is_readable: bool,
    is_writable: bool,
    is_told: bool,
    pub is_gone: bool,
    /// Cut for a reason that the conversation does not know.
    pub is_abandoned: bool,
}

/// A wake-up that is on its way.
#[derive(Default)]
pub struct Woken(pub AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Hands out the wakers of one connection.
pub struct Wakes(pub Arc<Woken>);

impl WakeSource for Wakes {
    fn waker(&self) -> Waker {
        Waker::from(self.0.clone())
    }
}

/// What a turn needs besides the connection.
pub struct Around<'a, 't> {
    pub turn: Turn<'t>,
    pub scratch: &'a mut [u8],
    pub out: &'a mut OutputQueue,
    pub rng: &'a mut Rng,
    pub ledger: &'a Shared,
}

impl Served {
    pub fn new(number: usize, capacity: usize, now: Moment) -> Served {
        Served {
            number,
            socket: Socket::new(capacity),
            conversation: Conversation::new(now),
            backlog: None,
            lingers_until: None,
            woken: Arc::default(),
            has_event: true,
            is_ready: false,
            waits_for_room: false,
            is_readable: true,
            is_writable: true,
            is_told: false,
            is_gone: false,
            is_abandoned: false,
        }
    }

    pub fn owed(&self) -> usize {
        self.backlog.as_ref().map_or(0, |(queue, _)| queue.owed())
    }

    pub fn wants(&self, limits: &Limits) -> Wants {
        self.conversation.wants(self.owed(), limits)
    }

    pub fn deadline(&self, limits: &Limits) -> Option<Moment> {
        let of_conversation = self.conversation.deadline(limits);
        match (self.lingers_until, &self.backlog) {
            (Some(until), _) => Some(until),
            (None, None) => of_conversation,
            (None, Some((_, departure))) if self.conversation.is_idle() => {
                Some(of_output(*departure, limits))
            }
            (None, Some((_, departure))) => {
                let of_output = of_output(*departure, limits);
                Some(of_conversation.map_or(of_output, |deadline| deadline.min(of_output)))
            }
        }
    }

    /// A last look at the socket, because the server shuts down.
    pub fn look_again(&mut self) {
        self.is_readable = true;
        self.is_ready = true;
    }

    /// Everything that can be done now.
    pub fn turn(&mut self, cause: Cause, around: &mut Around<'_, '_>) {
        match cause {
            Cause::Event => {
                self.has_event = false;
                self.is_readable = true;
                self.is_writable = true;
            }
            Cause::Remainder => self.is_ready = false,
            Cause::Wake => self.woken.0.store(false, Ordering::Relaxed),
            Cause::Timer => {}
        }
        if let Some(until) = self.lingers_until {
            return self.linger(until, around);
        }
        if cause == Cause::Timer && self.is_stalled(around) {
            self.is_writable = true;
        }
        let result = self.converse(cause, around);
        if result.is_err() || (cause == Cause::Timer && self.is_stalled(around)) {
            return self.abandon(around);
        }
        self.settle(around);
    }

    /// The connection is broken, or to be cut.
    pub fn abandon(&mut self, around: &mut Around<'_, '_>) {
        around.out.clear();
        let farewell = self.conversation.abandon(&mut around.turn);
        let is_reset = farewell == Farewell::Reset || self.backlog.is_some();
        self.is_abandoned = true;
        self.close(if is_reset { End::Reset } else { End::Fin });
    }

    fn close(&mut self, end: End) {
        // A client that has broken the connection reads no end of any kind.
        let end = if self.socket.is_broken { End::Reset } else { end };
        self.socket.end = self.socket.end.or(Some(end));
        self.is_gone = true;
        self.backlog = None;
        self.conversation = Conversation::new(Moment::START);
    }

    fn converse(&mut self, cause: Cause, around: &mut Around<'_, '_>) -> io::Result<()> {
        let now = around.turn.around.now.moment;
        self.backlog = match self.backlog.take() {
            None => {
                let mut out = std::mem::take(around.out);
                let result = self.steps(cause, around, &mut out);
                *around.out = out;
                result?;
                (!around.out.is_empty()).then(|| (around.out.split_off(), Flow::new(now)))
            }
            Some((mut queue, mut departure)) => {
                let result = self.steps(cause, around, &mut queue);
                let written = match result {
                    Ok(written) => written,
                    Err(error) => {
                        self.backlog = Some((queue, departure));
                        return Err(error);
                    }
                };
                if queue.is_empty() {
                    self.conversation.delivered(now);
                    None
                } else {
                    departure.moved(written as u64, now);
                    Some((queue, departure))
                }
            }
        };
        Ok(())
    }

    fn steps(
        &mut self,
        cause: Cause,
        around: &mut Around<'_, '_>,
        out: &mut OutputQueue,
    ) -> io::Result<usize> {
        self.begin(cause, around, out);
        let mut flushed = 0;
        loop {
            self.note(around, out);
            match self.conversation.wants(out.owed(), &around.turn.around.limits) {
                Wants::Read if self.is_readable => self.fill_and_advance(around, out)?,
                Wants::Turn if !around.turn.budget.is_spent() => {
                    self.conversation.advance(&mut around.turn, out);
                }
                Wants::Read | Wants::Turn | Wants::Write | Wants::Application | Wants::Close(_) => {
                    let count = self.flush(around.rng, out)?;
                    flushed += count;
                    if count == 0 || !out.is_empty() {
                        return Ok(flushed);
                    }
                }
            }
        }
    }

    /// The application's side knows how much is owed when it is called.
    fn note(&self, around: &Around<'_, '_>, out: &OutputQueue) {
        let account = &mut around.ledger.borrow_mut().accounts[self.number];
        account.owed = out.owed();
        account.drawn = 0;
    }

    fn begin(&mut self, cause: Cause, around: &mut Around<'_, '_>, out: &mut OutputQueue) {
        self.note(around, out);
        if self.is_to_be_told(out.owed(), &around.turn.around.limits) {
            self.is_told = true;
            around.ledger.borrow_mut().accounts[self.number].is_woken = true;
            self.conversation.client_has_finished(&mut around.turn, out);
            self.note(around, out);
        }
        let now = around.turn.around.now.moment;
        match cause {
            Cause::Wake => {
                around.ledger.borrow_mut().accounts[self.number].is_woken = true;
                self.conversation.wake(&mut around.turn, out);
            }
            Cause::Timer if self.conversation.is_idle() && !out.is_empty() => {}
            Cause::Timer
                if self
                    .conversation
                    .deadline(&around.turn.around.limits)
                    .is_some_and(|deadline| deadline <= now) =>
            {
                self.conversation.expire(&mut around.turn, out);
            }
            Cause::Timer | Cause::Event | Cause::Remainder => {}
        }
    }

    fn is_to_be_told(&self, owed: usize, limits: &Limits) -> bool {
        self.socket.has_client_ended
            && !self.is_told
            && self.conversation.wants(owed, limits) == Wants::Application
    }

    fn fill_and_advance(&mut self, around: &mut Around<'_, '_>, out: &mut OutputQueue) -> io::Result<()> {
        match self.socket.read(around.scratch, around.rng) {
            Ok(0) => {
                self.is_readable = false;
                self.conversation.receive_end(&mut around.turn, out);
            }
            Ok(count) => {
                self.socket.read_by_server += count;
                self.conversation.receive(&around.scratch[..count], &mut around.turn, out);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                if around.turn.around.life == Life::Draining {
                    self.conversation.finish_if_idle(around.turn.around.now.moment);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn flush(&mut self, rng: &mut Rng, out: &mut OutputQueue) -> io::Result<usize> {
        let mut flushed = 0;
        while self.is_writable && !out.is_empty() {
            let first = out.slices().next().unwrap_or_default();
            match self.socket.write(first, rng) {
                Ok(written) => {
                    out.consume(written);
                    flushed += written;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_writable = false;
                    self.waits_for_room = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(flushed)
    }

    fn settle(&mut self, around: &mut Around<'_, '_>) {
        let limits = &around.turn.around.limits;
        let is_again = match self.wants(limits) {
            Wants::Close(Farewell::Reset) => return self.close(End::Reset),
            Wants::Close(Farewell::Clean) if !self.is_readable => return self.close(End::Fin),
            Wants::Close(Farewell::Linger | Farewell::Clean) => {
                self.socket.end = Some(End::Fin);
                let until = around.turn.around.now.moment + limits.linger_timeout;
                self.lingers_until = Some(until);
                return self.linger(until, around);
            }
            Wants::Turn => true,
            Wants::Read => self.is_readable,
            Wants::Application => self.is_to_be_told(self.owed(), limits),
            Wants::Write => false,
        };
        self.is_ready |= is_again || (self.owed() > 0 && self.is_writable);
    }

    fn linger(&mut self, until: Moment, around: &mut Around<'_, '_>) {
        if until <= around.turn.around.now.moment {
            return self.close(End::Fin);
        }
        while self.is_readable {
            match self.socket.read(around.scratch, around.rng) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.is_readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return self.close(End::Fin),
                Ok(_) => {}
            }
        }
    }

    fn is_stalled(&self, around: &Around<'_, '_>) -> bool {
        let now = around.turn.around.now.moment;
        self.backlog
            .as_ref()
            .is_some_and(|(_, departure)| of_output(*departure, &around.turn.around.limits) <= now)
    }
}
