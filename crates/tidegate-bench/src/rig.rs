//! The rig: many connections on one thread, one event loop over them.
//!
//! ```text
//!  connect ─▶ warm up ─▶ measure ─▶ drain ─▶ Measurement
//!     │          └───────────┴── requests are handed out as the schedule says
//!     └── all connections are opened; idle ones make their request
//!
//!  a turn of the loop:  wait ─▶ events ─▶ remainders ─▶ what is due ─▶ every 100 ms: tick ─▶ phase
//! ```
//!
//! The measured latency of an answer ends with the read that brought its last byte: the clock is
//! asked once for each turn of a connection, right behind its reads.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;

use super::alarm::Alarm;
use super::client::{Answer, Client, Life, Role};
use super::doubt::Doubt;
use super::observed::{Observed, Process};
use super::options::Load;
use super::progress::Progress;
use super::request::Request;
use super::schedule::Schedule;
use super::surroundings::Surroundings;
use super::tally::Tally;

/// Events that are taken from the system at a time.
const EVENTS_PER_TURN: usize = 256;
/// Bytes that are read at a time, into one buffer for all connections.
const SCRATCH_BYTES: usize = 64 * 1024;
/// The interval at which connections without events are served: slow readers, those that drip, timeouts,
/// progress.
const TICK: Duration = Duration::from_millis(100);
/// How long a closed loop waits for its last answers, and an open one goes on sending requests that are late.
const DRAIN: Duration = Duration::from_secs(1);

/// How often a rig that is conducted asks whether it may go on.
const CONDUCTOR_LOOK: Duration = Duration::from_millis(5);

/// How long the server may take to end a connection that it has announced to end. 50 ms: more than a server
/// that does so takes; one that does not would be measured by our patience.
pub(super) const END_PATIENCE: Duration = Duration::from_millis(50);

const ALARM: Token = Token(usize::MAX);

/// The phase of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// The rig opens connections.
    Connecting,
    /// The rig sends requests, and does not measure.
    WarmingUp,
    /// The rig sends requests, and measures.
    Measuring,
    /// The rig waits for the last answers, and if none came lately, finds out whether one will ever come.
    Draining,
    /// The measurement is over.
    Done,
}

/// A conductor lets several rigs measure at the same time.
pub(super) trait Conductor {
    /// Whether the rig may go on, now that its connections are open. It is asked until it may.
    fn may_warm_up(&self) -> bool;

    /// Hears that a phase has begun.
    fn has_begun(&self, phase: Phase);
}

/// The result of one measurement.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    pub tally: Tally,
    /// The length of the measured time.
    pub time: Duration,
    /// Answers up to the end of the measured time, by which the server's CPU time is divided.
    pub answered_in_time: u64,
    /// Connections of each kind that were open at the end.
    pub active_held: usize,
    pub idle_held: usize,
    pub slow_held: usize,
    pub drip_held: usize,
    /// The server's processes before the first connection, with all idle ones, as measuring began, and at its
    /// end.
    pub server: Option<[Observed; 4]>,
    /// The machine at the same moments.
    pub machine: Option<[Surroundings; 4]>,
    /// The share of the measured time in which the rig was busy.
    pub own_busy: f64,
    /// A sentence about the server, if it was gone at the end.
    pub gone: Option<String>,
}

/// The event loop of a measurement.
pub(super) struct Rig<'r> {
    pub(super) load: &'r Load,
    pub(super) request: &'r Request,
    pub(super) address: SocketAddr,
    pub(super) interrupted: &'r AtomicBool,
    pub(super) progress: &'r Progress,
    pub(super) server: Option<&'r Process>,
    /// The conductor; none for a rig that measures alone.
    pub(super) conductor: Option<&'r dyn Conductor>,
    /// Connections that were begun so far.
    pub(super) opened: usize,
    pub(super) poll: Poll,
    pub(super) alarm: Alarm,
    pub(super) clients: Slab<Client>,
    /// Connections that are yet to be opened.
    pub(super) to_open: VecDeque<Role>,
    /// The number of connections that are being opened.
    pub(super) opening: usize,
    /// Connections that wait for their peer to close, with the time since when, the longest first.
    pub(super) ending: VecDeque<(Instant, usize)>,
    /// Connections that will be opened again later.
    pub(super) resting: VecDeque<(Instant, Role)>,
    /// Connections that could send a request, the longest free first.
    pub(super) free: VecDeque<usize>,
    /// The number of connections that may still be opened with `--close`, each for one request.
    pub(super) spare: usize,
    /// Connections with more to read than a turn takes.
    pub(super) more: Vec<usize>,
    /// Due times of requests whose connection was closed before the peer had begun them.
    pub(super) again: VecDeque<Instant>,
    pub(super) has_connected: bool,
    pub(super) schedule: Schedule,
    pub(super) phase: Phase,
    pub(super) phase_until: Instant,
    pub(super) next_tick: Instant,
    pub(super) tally: Tally,
    /// The doubt whether the server is still there, after a failure.
    pub(super) doubt: Option<Doubt>,
    pub(super) observations: Observations,
    pub(super) scratch: Vec<u8>,
    pub(super) answers: Vec<Answer>,
}

/// The server's figures between the phases.
#[derive(Default)]
pub(super) struct Observations {
    server: Vec<Observed>,
    machine: Vec<Surroundings>,
    /// The time spent waiting for events while measuring.
    waited: Duration,
    answered_in_time: u64,
    time: Duration,
}

impl<'r> Rig<'r> {
    /// Prepares a measurement.
    ///
    /// # Errors
    /// Returns the error of the system when it grants no poll or no timer.
    pub fn new(
        load: &'r Load,
        request: &'r Request,
        address: SocketAddr,
        interrupted: &'r AtomicBool,
        progress: &'r Progress,
        server: Option<&'r Process>,
    ) -> io::Result<Rig<'r>> {
        let poll = Poll::new()?;
        let now = Instant::now();
        let kept = if load.closes { 0 } else { load.connections };
        let roles = [(Role::Idle, load.idle), (Role::Active, kept), (Role::SlowReader, load.slow_readers)];
        let roles = roles.into_iter().chain([(Role::Drip, load.drip)]);
        Ok(Rig {
            alarm: Alarm::new(poll.registry(), ALARM)?,
            poll,
            clients: Slab::new(),
            to_open: roles.flat_map(|(role, count)| std::iter::repeat_n(role, count)).collect(),
            opening: 0,
            ending: VecDeque::new(),
            resting: VecDeque::new(),
            free: VecDeque::new(),
            spare: load.connections - kept,
            more: Vec::new(),
            again: VecDeque::new(),
            has_connected: false,
            schedule: Schedule::Closed,
            phase: Phase::Connecting,
            phase_until: now + load.timeout,
            next_tick: now,
            tally: Tally::new(load.rate.is_some()),
            doubt: None,
            observations: Observations::default(),
            scratch: vec![0; SCRATCH_BYTES],
            answers: Vec::new(),
            load,
            request,
            address,
            interrupted,
            progress,
            server,
            conductor: None,
            opened: 0,
        })
    }

    /// Lets a conductor say when to begin.
    pub fn conducted_by(mut self, conductor: &'r dyn Conductor) -> Rig<'r> {
        self.conductor = Some(conductor);
        self
    }

    /// Measures, and returns the result.
    ///
    /// # Errors
    /// Returns a sentence when there is nothing to measure: nobody listens, or the system refuses
    /// connections.
    pub fn run(mut self) -> Result<Measurement, String> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.observe();
        while self.phase < Phase::Done {
            self.open_some()?;
            let patience = self.patience(Instant::now()).map_err(|error| error.to_string())?;
            self.wait(&mut events, patience).map_err(|error| error.to_string())?;
            for event in events.iter().filter(|event| event.token() != ALARM) {
                self.event(event)?;
            }
            for key in std::mem::take(&mut self.more) {
                self.read(key, true);
            }
            self.dispatch()?;
            let now = Instant::now();
            self.end_what_does_not_end(now);
            if self.next_tick <= now {
                self.next_tick = now + TICK;
                self.tick(now)?;
            }
            self.advance(now);
        }
        Ok(self.finish())
    }

    /// Waits for events. The time that this takes tells whether the rig keeps up: a rig that the server
    /// preempts uses little CPU, and does not wait either.
    fn wait(&mut self, events: &mut Events, patience: Duration) -> io::Result<()> {
        let start = Instant::now();
        let waited = self.poll.poll(events, Some(patience));
        if self.phase == Phase::Measuring {
            self.observations.waited += start.elapsed();
        }
        match waited {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// How long the next wait may take.
    fn patience(&self, now: Instant) -> io::Result<Duration> {
        let has_room = !self.free.is_empty() || self.spare > 0;
        if !self.more.is_empty() || (has_room && self.has_request(now)) {
            return Ok(Duration::ZERO);
        }
        let end = self.ending.front().map(|(since, _)| *since + END_PATIENCE);
        let next = end.into_iter().chain([self.next_tick, self.phase_until]).min().unwrap_or(now);
        let coarse = next.saturating_duration_since(now);
        match self.schedule.next_due().filter(|_| has_room && self.is_sending(now)) {
            Some(due) if due < now + coarse => self.alarm.set(due.saturating_duration_since(now)),
            Some(_) | None => Ok(coarse),
        }
    }

    /// Whether the rig hands out requests now.
    pub(super) fn is_sending(&self, now: Instant) -> bool {
        match self.phase {
            Phase::WarmingUp | Phase::Measuring => true,
            // Late ones of an open loop, for a while.
            Phase::Draining => self.load.rate.is_some() && now < self.last_call(),
            Phase::Connecting | Phase::Done => false,
        }
    }

    /// Begins the next phase if this one is over.
    fn advance(&mut self, now: Instant) {
        let is_interrupted = self.interrupted.load(Ordering::Relaxed);
        let is_over = now >= self.phase_until || (is_interrupted && self.phase < Phase::Draining);
        match self.phase {
            Phase::Connecting if is_interrupted => self.phase = Phase::Done,
            // An idle connection that takes its time is not waited for: it is counted as not held.
            Phase::Connecting if (is_over || self.is_settled()) && !self.may_warm_up() => {
                self.phase_until = now + CONDUCTOR_LOOK;
            }
            Phase::Connecting if is_over || self.is_settled() => {
                self.observe();
                self.phase = Phase::WarmingUp;
                self.phase_until = now + self.load.warm_up;
                let until = now + self.load.warm_up + self.load.duration;
                self.schedule = Schedule::new(self.load.rate, now, until);
            }
            Phase::WarmingUp if is_interrupted => self.phase = Phase::Done,
            Phase::WarmingUp if is_over => {
                self.observe();
                self.phase = Phase::Measuring;
                // Where the schedule ends, to the nanosecond: no request is due in both or neither.
                let begin = self.phase_until;
                self.phase_until = begin + self.load.duration;
                self.tally.begin(begin, self.phase_until);
                self.tell();
            }
            Phase::Measuring if is_over => {
                self.tally.end(now);
                self.schedule.end(now);
                self.observe();
                self.observations.answered_in_time = self.tally.answered;
                self.observations.time = self.tally.time(now);
                self.phase = Phase::Draining;
                self.phase_until = now + DRAIN + self.load.timeout;
                self.tell();
            }
            Phase::Draining if is_over || self.is_drained(now) => self.phase = Phase::Done,
            Phase::Connecting | Phase::WarmingUp | Phase::Measuring | Phase::Draining | Phase::Done => {}
        }
    }

    fn may_warm_up(&self) -> bool {
        self.conductor.is_none_or(Conductor::may_warm_up)
    }

    fn tell(&self) {
        if let Some(conductor) = self.conductor {
            conductor.has_begun(self.phase);
        }
    }

    /// Whether every connection is open, and every idle one has its answer.
    fn is_settled(&self) -> bool {
        let waits = |client: &Client| client.role == Role::Idle && !client.in_flight.is_empty();
        self.opening == 0
            && self.to_open.is_empty()
            && self.resting.is_empty()
            && !self.clients.iter().any(|(_, client)| waits(client))
    }

    /// The time until which a closed loop waits for its last answers, and an open one still sends.
    fn last_call(&self) -> Instant {
        self.phase_until - self.load.timeout
    }

    /// Whether the measured connections wait for no answer any more, and the server is known to be there or
    /// gone.
    fn is_drained(&self, now: Instant) -> bool {
        let is_owed = |client: &Client| client.role == Role::Active && !client.in_flight.is_empty();
        let is_all_sent = self.again.is_empty() && self.schedule.next_due().is_none();
        if self.is_in_doubt() || (self.is_sending(now) && !is_all_sent) {
            return false;
        }
        let is_patient = self.load.rate.is_some() || now < self.last_call();
        !is_patient || !self.clients.iter().any(|(_, client)| is_owed(client))
    }

    /// Takes the figures of the server's processes, and those of the machine.
    fn observe(&mut self) {
        self.observations.machine.push(Surroundings::observe());
        self.observations.server.extend(self.server.and_then(Process::observe));
    }

    fn finish(mut self) -> Measurement {
        let now = Instant::now();
        let overdue = self.clients.iter().filter(|(_, client)| client.role == Role::Active);
        for due in overdue.flat_map(|(_, client)| &client.in_flight) {
            // What an open loop still waits for has taken all the time that it may.
            if self.load.rate.is_some() {
                self.tally.give_up(*due, now);
            }
        }
        while let Schedule::Open { .. } = self.schedule {
            let Some(due) = self.again.pop_front().or_else(|| self.schedule.take(now)) else { break };
            self.tally.leave_unsent(due, now);
        }
        let held = |role| {
            let is_held = |client: &Client| client.role == role && client.life == Life::Open;
            self.clients.iter().filter(|(_, client)| is_held(client)).count()
        };
        let idle_held = |client: &Client| {
            client.role == Role::Idle && client.life == Life::Open && client.in_flight.is_empty()
        };
        let time = self.observations.time.as_secs_f64().max(1e-9);
        Measurement {
            own_busy: (1.0 - self.observations.waited.as_secs_f64() / time).max(0.0),
            active_held: held(Role::Active),
            idle_held: self.clients.iter().filter(|(_, client)| idle_held(client)).count(),
            slow_held: held(Role::SlowReader),
            drip_held: held(Role::Drip),
            time: self.observations.time,
            answered_in_time: self.observations.answered_in_time,
            gone: self.gone(),
            server: self.observations.server.try_into().ok(),
            machine: self.observations.machine.try_into().ok(),
            tally: self.tally,
        }
    }
}
