//! The life of the rig's connections: they are opened, send requests, read answers, are lost and opened
//! again.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Interest, Token};

use super::client::{Client, Life, Outcome, Role};
use super::doubt::Failure;
use super::rig::{END_PATIENCE, Phase, Rig};
use super::schedule::Schedule;

/// Reads in one turn: a megabyte, so that an endless answer does not keep the others waiting.
const READS_PER_TURN: usize = 16;
/// A read that may fill all of the buffer.
const ALL_OF_SCRATCH: usize = usize::MAX;
/// Bytes that a slow reader reads in a tick, ten times a second: 10 KiB a second, as over a very bad line.
const SLOW_READ_BYTES: usize = 1024;
/// Connections that are being opened at a time: half of the shortest queue that servers listen with.
const OPENING_MAX: usize = 64;
/// How long the rig waits before it opens a refused or broken connection again.
const REST: Duration = Duration::from_millis(50);

impl Rig<'_> {
    /// Opens connections that are waiting for it.
    pub(super) fn open_some(&mut self) -> Result<(), String> {
        while self.opening < OPENING_MAX {
            let Some(role) = self.to_open.pop_front() else { break };
            self.open(role, None)?;
        }
        Ok(())
    }

    /// Chooses the address of the next connection, in turns.
    fn next_source(&mut self) -> Option<IpAddr> {
        let sources = &self.load.sources;
        self.opened += 1;
        sources.get(self.opened.checked_rem(sources.len())?).copied()
    }

    /// Opens a connection, for a request that is due if there is one.
    fn open(&mut self, role: Role, due: Option<Instant>) -> Result<(), String> {
        let (now, source) = (Instant::now(), self.next_source());
        let entry = self.clients.vacant_entry();
        let token = Token(entry.key());
        let client = Client::connect(self.address, source, role, now).and_then(|mut client| {
            self.poll.registry().register(
                &mut client.stream,
                token,
                Interest::READABLE | Interest::WRITABLE,
            )?;
            Ok(client)
        });
        match client {
            Ok(mut client) => {
                if let Some(due) = due {
                    client.ask(due, now, self.request);
                    self.tally.sent_in_all += 1;
                }
                entry.insert(client);
                self.opening += 1;
                Ok(())
            }
            Err(error) => self.refused(role, due, &error, now),
        }
    }

    /// Notes a connection that could not be made. If none ever was, there is nothing to measure.
    fn refused(
        &mut self,
        role: Role,
        due: Option<Instant>,
        error: &io::Error,
        now: Instant,
    ) -> Result<(), String> {
        let address = self.address;
        if error.kind() == ErrorKind::AddrNotAvailable {
            self.tally.note(format!(
                "no local port was left for a connection to {address}: --source ADDRESS gives the rig more of them"
            ));
            if role == Role::Probe {
                // Then it cannot be found out.
                self.doubt = None;
            }
        } else if !self.has_connected {
            return Err(format!("cannot connect to {address}: {error}"));
        } else {
            self.tally.note(format!("a connection to {address} could not be made: {error}"));
            let is_late = error.kind() == ErrorKind::TimedOut;
            self.suspect(role, if is_late { Failure::Late } else { Failure::Refused }, now);
        }
        if due.map_or(self.tally.is_measuring(now), |due| self.tally.counts(due, now)) {
            self.tally.errors.connect += 1;
        }
        if !matches!(role, Role::Idle | Role::Probe) {
            self.resting.push_back((now + REST, role));
        }
        Ok(())
    }

    /// Handles one event, which is a hint.
    pub(super) fn event(&mut self, event: &Event) -> Result<(), String> {
        let key = event.token().0;
        let Some(client) = self.clients.get_mut(key) else { return Ok(()) };
        if client.life == Life::Connecting {
            match client.establish() {
                Ok(true) => self.established(key),
                Ok(false) => return Ok(()),
                Err(error) => return self.unestablished(key, &error),
            }
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(key, event.is_read_closed() || event.is_error());
        }
        if event.is_writable() {
            self.flush(key);
        }
        Ok(())
    }

    fn established(&mut self, key: usize) {
        let now = Instant::now();
        self.opening -= 1;
        self.has_connected = true;
        if self.phase == Phase::Connecting {
            // As long as it goes on, it is waited for.
            self.phase_until = now + self.load.timeout;
        }
        self.clients[key].touched = now;
        match self.clients[key].role {
            Role::Active if self.load.closes => self.flush(key),
            Role::Active => self.feed(key, now),
            Role::Idle | Role::SlowReader | Role::Drip | Role::Probe => self.ask_beside(key, now),
        }
    }

    fn unestablished(&mut self, key: usize, error: &io::Error) -> Result<(), String> {
        let client = self.clients.remove(key);
        self.opening -= 1;
        self.refused(client.role, client.in_flight.front().copied(), error, Instant::now())
    }

    /// Sends one request on a connection that is not measured.
    fn ask_beside(&mut self, key: usize, now: Instant) {
        let client = &mut self.clients[key];
        client.ask(now, now, self.request);
        self.tally.sent_in_all += 1;
        if client.role != Role::Drip {
            self.flush(key);
        }
    }

    /// Reads the answers to a connection.
    pub(super) fn read(&mut self, key: usize, to_end: bool) {
        // A remainder may be that of a connection whose place has another one by now.
        let reads = |client: &Client| client.role != Role::SlowReader && client.life != Life::Connecting;
        if self.clients.get(key).is_some_and(reads) {
            self.fill(key, READS_PER_TURN, ALL_OF_SCRATCH, to_end);
        }
    }

    fn fill(&mut self, key: usize, reads: usize, bytes_max: usize, to_end: bool) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let room = self.scratch.len().min(bytes_max);
        let scratch = &mut self.scratch[..room];
        let (bytes, outcome) = client.fill(scratch, reads, self.request, to_end, &mut self.answers);
        let now = Instant::now();
        // Not by any byte: an answer that drips takes its time, too.
        if !self.answers.is_empty() {
            client.touched = now;
        }
        if self.tally.is_measuring(now) {
            self.tally.received += bytes;
        }
        self.tally.answered_in_all += self.answers.len() as u64;
        if !self.answers.is_empty() {
            self.doubt = None;
        }
        for answer in self.answers.drain(..) {
            match client.role {
                Role::Active => self.tally.answer(answer.due, answer.status, now),
                Role::SlowReader | Role::Drip => self.tally.answered_slowly += 1,
                Role::Idle | Role::Probe => {}
            }
        }
        match outcome {
            Outcome::Open => self.go_on(key, now),
            Outcome::More => {
                if client.role != Role::SlowReader {
                    self.more.push(key);
                }
                self.go_on(key, now);
            }
            Outcome::Ended | Outcome::Broken | Outcome::Malformed(_) => self.lose(key, outcome, now),
        }
    }

    /// Continues a connection after a read.
    fn go_on(&mut self, key: usize, now: Instant) {
        let client = &mut self.clients[key];
        let is_over = client.role == Role::Active && self.load.closes && client.in_flight.is_empty();
        if client.life == Life::Open && is_over {
            // It was asked to close, and says no more about it.
            client.life = Life::Ending;
        }
        match client.life {
            Life::Connecting => return,
            Life::Ending => return self.ending.push_back((now, key)),
            Life::Open => {}
        }
        match client.role {
            Role::Active if self.load.closes => {}
            Role::Active => self.feed(key, now),
            Role::SlowReader | Role::Drip if client.in_flight.is_empty() => self.ask_beside(key, now),
            Role::SlowReader | Role::Drip | Role::Idle | Role::Probe => {}
        }
    }

    /// Closes connections that the server was to close and has not, so that they are not waited for instead
    /// of measured.
    pub(super) fn end_what_does_not_end(&mut self, now: Instant) {
        while let Some((since, key)) = self.ending.front().copied() {
            if since + END_PATIENCE > now {
                break;
            }
            self.ending.pop_front();
            // The place in the slab may have another connection by now, with an entry of its own.
            let is_it = |client: &&Client| client.life == Life::Ending && client.touched <= since;
            let Some(client) = self.clients.get(key).filter(is_it) else { continue };
            // One that reads slowly has not come to the end yet.
            if client.role == Role::Active {
                self.tally.note(format!(
                    "the server does not end connections by itself: each was waited for {} ms",
                    END_PATIENCE.as_millis()
                ));
            }
            self.lose(key, Outcome::Ended, now);
        }
    }

    /// Gives a connection as many requests as are due and fit.
    fn feed(&mut self, key: usize, now: Instant) {
        while self.clients[key].in_flight.len() < self.load.pipeline {
            let Some(due) = self.take_request(now) else { break };
            self.clients[key].ask(due, now, self.request);
            self.tally.sent_in_all += 1;
        }
        let client = &mut self.clients[key];
        if client.in_flight.len() < self.load.pipeline && !client.is_queued {
            client.is_queued = true;
            self.free.push_back(key);
        }
        self.flush(key);
    }

    fn flush(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if client.life == Life::Open && client.role != Role::Drip {
            // A failure to write is met again by the read that follows from it, which also has what
            // the peer has said before.
            if client.flush(self.request, usize::MAX).is_err() {
                self.fill(key, READS_PER_TURN, ALL_OF_SCRATCH, true);
            }
        }
    }

    fn take_request(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_sending(now) {
            return None;
        }
        self.again.pop_front().or_else(|| self.schedule.take(now))
    }

    /// Whether a request is due now.
    pub(super) fn has_request(&self, now: Instant) -> bool {
        let is_due = match self.schedule {
            Schedule::Closed => true,
            Schedule::Open { .. } => self.schedule.next_due().is_some_and(|due| due <= now),
        };
        self.is_sending(now) && (is_due || !self.again.is_empty())
    }

    /// Hands out due requests to free connections.
    pub(super) fn dispatch(&mut self) -> Result<(), String> {
        let now = Instant::now();
        while self.has_request(now) {
            let Some(key) = self.free.pop_front() else { break };
            // The place in the slab may have another connection by now.
            if let Some(client) = self.clients.get_mut(key) {
                client.is_queued = false;
                if client.role == Role::Active && client.life == Life::Open {
                    self.feed(key, now);
                }
            }
        }
        while self.spare > 0 && self.has_request(now) {
            let Some(due) = self.take_request(now) else { break };
            self.spare -= 1;
            self.open(Role::Active, Some(due))?;
        }
        Ok(())
    }

    /// Handles the loss of a connection.
    fn lose(&mut self, key: usize, outcome: Outcome, now: Instant) {
        let client = self.clients.remove(key);
        let is_failure = outcome != Outcome::Ended;
        // Nothing is owed to one that is idle, but it was to stay.
        if is_failure || client.role == Role::Idle {
            let is_malformed = matches!(outcome, Outcome::Malformed(_));
            self.suspect(client.role, if is_malformed { Failure::Malformed } else { Failure::Lost }, now);
        }
        if client.role == Role::Active {
            for (place, due) in client.in_flight.into_iter().enumerate() {
                let counts = u64::from(self.tally.counts(due, now));
                match outcome {
                    Outcome::Ended if self.load.rate.is_some() => self.again.push_back(due),
                    Outcome::Malformed(_) if place == 0 => self.tally.errors.malformed += counts,
                    Outcome::Broken | Outcome::Malformed(_) => self.tally.errors.reset += counts,
                    Outcome::Ended | Outcome::Open | Outcome::More => {}
                }
            }
            if let Outcome::Malformed(what) = outcome {
                self.tally.note(format!("the server has sent {what}"));
            }
        }
        self.open_again(client.role, is_failure, now);
    }

    fn open_again(&mut self, role: Role, is_failure: bool, now: Instant) {
        match role {
            Role::Idle | Role::Probe => {}
            Role::Active if is_failure => self.resting.push_back((now + REST, role)),
            Role::Active if self.load.closes => self.spare += 1,
            Role::Active => self.to_open.push_back(role),
            Role::SlowReader | Role::Drip => self.resting.push_back((now + REST, role)),
        }
    }

    /// Serves connections that have no events: those that are slow on purpose, and those that receive
    /// nothing.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), String> {
        while self.resting.front().is_some_and(|(until, _)| *until <= now) {
            match self.resting.pop_front() {
                Some((_, Role::Active)) if self.load.closes => self.spare += 1,
                Some((_, role)) => self.to_open.push_back(role),
                None => {}
            }
        }
        let keys: Vec<usize> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(client) = self.clients.get_mut(key) else { continue };
            let is_late = now.saturating_duration_since(client.touched) > self.load.timeout;
            match (client.life, client.role) {
                (Life::Open, Role::SlowReader) => self.fill(key, 1, SLOW_READ_BYTES, false),
                (Life::Open, Role::Drip) => {
                    // What is in the way is met by the read that follows from it.
                    let _ = client.flush(self.request, 1);
                }
                (Life::Open, Role::Active | Role::Idle | Role::Probe) if client.in_flight.is_empty() => {}
                (Life::Ending, _) => {}
                _ if is_late => self.time_out(key, now)?,
                _ => {}
            }
        }
        self.probe();
        self.show();
        Ok(())
    }

    /// Gives up a connection whose answer has taken too long.
    fn time_out(&mut self, key: usize, now: Instant) -> Result<(), String> {
        if self.clients[key].life == Life::Connecting {
            return self.unestablished(key, &ErrorKind::TimedOut.into());
        }
        let client = self.clients.remove(key);
        if client.role == Role::Active {
            client.in_flight.iter().for_each(|due| self.tally.give_up(*due, now));
        }
        self.suspect(client.role, Failure::Late, now);
        self.open_again(client.role, false, now);
        Ok(())
    }
}
