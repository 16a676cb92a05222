//! Counters of an event loop, for whoever [observes](super::observer) it.
//!
//! One thread writes them, that of the loop, and any thread may read them: so to add is to load and to store, and
//! costs no more than a plain number. Readers see each of them as it was a moment ago, and not all as of the same
//! moment.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::clock::Clock;
use crate::conversation::{ExchangeRecord, Outcome};
use crate::now::Moment;

/// The upper bounds of the buckets of each histogram. From 10 µs, which no turn with an answer in it takes less than, to
/// 10 s, three for each power of ten less one: what doubles shows, and a scrape stays short.
pub const BUCKETS: [Duration; 13] = [
    Duration::from_micros(10),
    Duration::from_micros(30),
    Duration::from_micros(100),
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// The upper bounds in nanoseconds, in which times are added up.
const BOUNDS: [u64; BUCKETS.len()] = {
    let mut bounds = [0; BUCKETS.len()];
    let mut bucket = 0;
    while bucket < BUCKETS.len() {
        bounds[bucket] = BUCKETS[bucket].as_nanos() as u64;
        bucket += 1;
    }
    bounds
};

/// A step of a turn of the loop, by the name of the function that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Waits for events.
    Wait,
    /// Gives a turn to the connections that events are about, and delivers finished responses.
    Dispatch,
    /// Accepts connections.
    Accept,
    /// Gives a turn to the connections that other threads have woken.
    Wake,
    /// Gives a turn to the connections that stopped early.
    TakeUpRemainders,
    /// Gives a turn to the connections whose timer has gone off.
    Expire,
    /// Looks after memory, and writes the access log.
    WatchMemory,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Step; 7] = [
        Step::Wait,
        Step::Dispatch,
        Step::Accept,
        Step::Wake,
        Step::TakeUpRemainders,
        Step::Expire,
        Step::WatchMemory,
    ];

    /// The name of the function.
    pub fn name(self) -> &'static str {
        match self {
            Step::Wait => "wait",
            Step::Dispatch => "dispatch",
            Step::Accept => "accept",
            Step::Wake => "wake",
            Step::TakeUpRemainders => "take_up_remainders",
            Step::Expire => "expire",
            Step::WatchMemory => "watch_memory",
        }
    }
}

/// The counters of an event loop, as they were when they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The moment at which they were read, by the clock of the loop.
    pub read: Moment,
    /// The beginning of the turn that is under way; none if the loop waits.
    pub turn_begun: Option<Moment>,
    /// Turns of the loop.
    pub turns: u64,
    /// Events that the system has reported.
    pub events: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Exchanges that have ended, by the hundreds of their status; 0 stands for those without an answer.
    pub exchanges: [u64; 6],
    /// Exchanges whose answer was cut.
    pub aborted: u64,
    /// Bytes of content in their answers.
    pub content_bytes: u64,
    /// The time that was spent in each [step](Step::ALL).
    pub steps: [Duration; Step::ALL.len()],
    /// How long turns took, without the wait before them.
    pub turn_times: Histogram,
    /// How long exchanges took: from the turn in which the request was complete to the end of the answer.
    pub exchange_times: Histogram,
}

/// Times, counted by how long they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The times in each of the [buckets](BUCKETS), and above the last; not cumulated.
    pub counts: [u64; BUCKETS.len() + 1],
    /// The sum of all times.
    pub sum: Duration,
}

impl Histogram {
    /// The number of times.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Cell {
    fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug, Default)]
struct Times {
    counts: [Cell; BUCKETS.len() + 1],
    nanos: Cell,
}

impl Times {
    fn add(&self, nanos: u64) {
        let bucket = BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket].add(1);
        self.nanos.add(nanos);
    }

    fn read(&self) -> Histogram {
        let counts = std::array::from_fn(|bucket| self.counts[bucket].get());
        Histogram { counts, sum: Duration::from_nanos(self.nanos.get()) }
    }
}

/// The counters of one loop, which it adds to.
#[derive(Debug)]
pub(super) struct Meter {
    clock: Clock,
    /// The moment when the turn under way began, in nanoseconds, or 0.
    turn_begun: AtomicU64,
    turns: Cell,
    events: Cell,
    accepted: Cell,
    exchanges: [Cell; 6],
    aborted: Cell,
    content_bytes: Cell,
    steps: [Cell; Step::ALL.len()],
    turn_times: Times,
    exchange_times: Times,
}

impl Meter {
    pub fn new(clock: Clock) -> Meter {
        Meter {
            clock,
            turn_begun: AtomicU64::new(0),
            turns: Cell::default(),
            events: Cell::default(),
            accepted: Cell::default(),
            exchanges: Default::default(),
            aborted: Cell::default(),
            content_bytes: Cell::default(),
            steps: Default::default(),
            turn_times: Times::default(),
            exchange_times: Times::default(),
        }
    }

    pub fn read(&self) -> Counters {
        let begun = self.turn_begun.load(Relaxed);
        Counters {
            read: self.clock.moment(),
            turn_begun: (begun > 0).then(|| Moment::from_start(Duration::from_nanos(begun))),
            turns: self.turns.get(),
            events: self.events.get(),
            accepted: self.accepted.get(),
            exchanges: std::array::from_fn(|class| self.exchanges[class].get()),
            aborted: self.aborted.get(),
            content_bytes: self.content_bytes.get(),
            steps: std::array::from_fn(|step| Duration::from_nanos(self.steps[step].get())),
            turn_times: self.turn_times.read(),
            exchange_times: self.exchange_times.read(),
        }
    }

    /// Counts an exchange that has ended at this moment.
    pub fn note_exchange(&self, record: &ExchangeRecord<'_>, ended: Moment) {
        let class = usize::from(record.status / 100).min(self.exchanges.len() - 1);
        self.exchanges[class].add(1);
        self.aborted.add(u64::from(record.outcome == Outcome::Aborted));
        self.content_bytes.add(record.content_bytes);
        self.exchange_times.add(ended.nanos_since(record.begun));
    }
}

/// A stop watch for one turn of the loop. To look at the clock costs as much as a step that finds nothing to do: so
/// such a step is not timed, and what little it takes is counted with the next one.
pub(super) struct Laps<'m> {
    meter: &'m Meter,
    begun: Moment,
    /// The end of the last step that was timed.
    last: Moment,
}

impl<'m> Laps<'m> {
    /// Begins a turn at this moment, after a wait that has lasted since the turn before.
    pub fn begin(meter: &'m Meter, last: Moment, begun: Moment, events: usize) -> Laps<'m> {
        meter.turn_begun.store(begun.nanos_since(Moment::START).max(1), Relaxed);
        meter.steps[Step::Wait as usize].add(begun.nanos_since(last));
        meter.events.add(events as u64);
        Laps { meter, begun, last: begun }
    }

    /// Ends a step.
    pub fn end(&mut self, step: Step, was_busy: bool) {
        if !was_busy {
            return;
        }
        let now = self.meter.clock.moment();
        self.meter.steps[step as usize].add(now.nanos_since(self.last));
        self.last = now;
    }

    /// Ends the turn, in which this many connections were accepted, and returns the moment.
    pub fn finish(self, accepted: u32) -> Moment {
        let Laps { meter, begun, last } = self;
        meter.turns.add(1);
        meter.accepted.add(accepted.into());
        meter.turn_times.add(last.nanos_since(begun));
        meter.turn_begun.store(0, Relaxed);
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_in_the_first_bucket_that_holds_them() {
        let times = Times::default();
        for micros in [0, 10, 11, 30, 10_000_000, 10_000_001] {
            times.add(micros * 1_000);
        }
        let histogram = times.read();
        assert_eq!((histogram.counts[0], histogram.counts[1], histogram.count()), (2, 2, 6));
        assert_eq!(histogram.counts[BUCKETS.len() - 1..], [1, 1]);
        assert_eq!(histogram.sum, Duration::from_micros(20_000_052));
        assert!(BUCKETS.is_sorted());
    }
}
