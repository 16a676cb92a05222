//! Counts answers and errors, and decides when they count.
//!
//! In a closed loop an answer counts if it comes within the measured time; in an open loop a request
//! counts if it was *due* within it, whenever its answer comes: what a slow server owes at the end is
//! part of the result.

use std::time::{Duration, Instant};

use super::histogram::Histogram;

/// Errors, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Errors {
    /// Connections that could not be made.
    pub connect: u64,
    /// Requests whose connection was reset, or ended before their answer did.
    pub reset: u64,
    /// Requests that were given up.
    pub timeout: u64,
    /// Answers with a status of 400 or more.
    pub status: u64,
    /// Answers that were not valid responses.
    pub malformed: u64,
}

impl Errors {
    pub fn total(&self) -> u64 {
        self.named().iter().map(|(_, count)| count).sum()
    }

    /// Each kind of error with its name, for people and for programs.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("connect", self.connect),
            ("reset", self.reset),
            ("timeout", self.timeout),
            ("status", self.status),
            ("malformed", self.malformed),
        ]
    }
}

/// Counts of one measurement.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// The latencies of answers, and for requests that were given up or never sent, how long they had waited.
    pub latency: Histogram,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were due and never sent, because no connection was free.
    pub unsent: u64,
    pub errors: Errors,
    /// Bytes received.
    pub received: u64,
    /// Requests sent by connections of every kind, at any time.
    pub sent_in_all: u64,
    /// Answers to all of these requests.
    pub answered_in_all: u64,
    /// Answers to connections that read slowly, and to those that drip.
    pub answered_slowly: u64,
    /// Notes on what the system refused, and on malformed answers: each once.
    pub notes: Vec<String>,
    is_open_loop: bool,
    from: Option<Instant>,
    until: Option<Instant>,
}

impl Tally {
    pub fn new(is_open_loop: bool) -> Tally {
        Tally {
            latency: Histogram::new(),
            answered: 0,
            unsent: 0,
            errors: Errors::default(),
            received: 0,
            sent_in_all: 0,
            answered_in_all: 0,
            answered_slowly: 0,
            notes: Vec::new(),
            is_open_loop,
            from: None,
            until: None,
        }
    }

    /// Begins the measured time, which will end at `until`.
    pub fn begin(&mut self, now: Instant, until: Instant) {
        (self.from, self.until) = (Some(now), Some(until));
    }

    /// Ends the measured time.
    pub fn end(&mut self, now: Instant) {
        self.until = self.until.map(|until| until.min(now));
    }

    /// Returns how long the measurement has lasted so far.
    pub fn time(&self, now: Instant) -> Duration {
        let Some(from) = self.from else { return Duration::ZERO };
        self.until.map_or(now, |until| until.min(now)).saturating_duration_since(from)
    }

    /// Whether a request that was due at one time counts if it is answered or given up at another.
    pub fn counts(&self, due: Instant, now: Instant) -> bool {
        let decisive = if self.is_open_loop { due } else { now };
        self.from.is_some_and(|from| from <= decisive) && self.until.is_some_and(|until| decisive < until)
    }

    /// Whether an event counts that happens now and belongs to no request.
    pub fn is_measuring(&self, now: Instant) -> bool {
        self.from.is_some() && self.until.is_some_and(|until| now < until)
    }

    /// Counts an answer.
    pub fn answer(&mut self, due: Instant, status: u16, now: Instant) {
        if self.counts(due, now) {
            self.answered += 1;
            self.errors.status += u64::from(status >= 400);
            self.latency.record(now.saturating_duration_since(due));
        }
    }

    /// Counts a request that was given up.
    pub fn give_up(&mut self, due: Instant, now: Instant) {
        if self.counts(due, now) {
            self.errors.timeout += 1;
            self.latency.record(now.saturating_duration_since(due));
        }
    }

    /// Counts a request that was due and that no connection could send.
    pub fn leave_unsent(&mut self, due: Instant, now: Instant) {
        if self.counts(due, now) {
            self.unsent += 1;
            self.latency.record(now.saturating_duration_since(due));
        }
    }

    /// Adds a note, unless it is there already.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(is_open_loop: bool, due_millis: u64, now_millis: u64, expected: bool) {
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let mut tally = Tally::new(is_open_loop);
        assert!(!tally.counts(at(due_millis), at(now_millis)));
        tally.begin(at(10), at(20));
        assert_eq!(tally.counts(at(due_millis), at(now_millis)), expected, "{due_millis}, {now_millis}");
    }

    #[test]
    fn answer_counts_in_a_closed_loop_when_it_comes_in_time() {
        check(false, 5, 10, true);
        check(false, 5, 9, false);
        check(false, 15, 20, false);
    }

    #[test]
    fn request_counts_in_an_open_loop_when_it_was_due_in_time() {
        check(true, 9, 15, false);
        check(true, 10, 15, true);
        check(true, 19, 1000, true);
        check(true, 20, 20, false);
    }

    #[test]
    fn requests_that_nobody_answered_have_waited() {
        let now = Instant::now();
        let mut tally = Tally::new(true);
        tally.begin(now, now + Duration::from_secs(1));
        tally.give_up(now, now + Duration::from_secs(9));
        tally.leave_unsent(now, now + Duration::from_secs(2));
        assert_eq!((tally.errors.timeout, tally.unsent, tally.answered), (1, 1, 0));
        assert_eq!((tally.latency.total(), tally.latency.longest()), (2, Duration::from_secs(9)));
    }
}
