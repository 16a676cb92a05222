//! Counters of an event loop, for whoever [observes](super::observer) it.
//!
//! One thread writes them, that of the loop, and any thread may read them: so to add is to load and to store, and
//! costs no more than a plain number. Readers see each of them as it was a moment ago, and not all as of the same
//! moment.
//!
//! To look at the clock costs more than all of that, and as much as a hundredth of a short answer. The loop looks
//! twice in a turn: before it, and before the next wait. Exchanges that began and ended between two looks share the
//! time out evenly, as long as they are [quick](QUICK); whatever takes longer is worth a look of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::clock::Clock;
use crate::conversation::{Figures, Outcome};
use crate::now::Moment;

/// The upper bounds of the buckets of each histogram. From 10 µs, which no turn with an answer in it takes less
/// than, to 10 s, three for each power of ten less one: what doubles shows, and a scrape stays short.
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

/// The time that exchanges of a turn take on average at most for the next turn to read the clock once for all of
/// its own. 250 µs: who takes longer pays less than a thousandth for a look of its own. Fifty times what a short
/// answer takes, so that a tool under which everything is as much slower counts what happens without it.
const QUICK: Duration = Duration::from_micros(250);

/// The first bucket that can hold a time of so many binary digits. The bounds lie so far apart that it is this one
/// or the next.
const FIRST_OF_LENGTH: [u8; 65] = {
    let mut buckets = [0; 65];
    let mut length = 0;
    while length < buckets.len() {
        let least = if length == 0 { 0 } else { 1 << (length - 1) };
        let mut bucket = 0;
        while bucket < BOUNDS.len() && BOUNDS[bucket] < least {
            bucket += 1;
        }
        buckets[length] = bucket as u8;
        length += 1;
    }
    buckets
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
    /// Looks after memory, and writes the access log. The time to describe the server to whoever observes it is
    /// counted here, too, though it is spent between two turns.
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
    /// How long exchanges took: from the turn in which the request was complete to the end of the answer. Those of
    /// one turn are taken to have ended at even distances, if those of the turn before took less than 250 µs each,
    /// and are added when it ends.
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

    fn take(&self) -> u64 {
        let count = self.get();
        self.0.store(0, Relaxed);
        count
    }
}

#[derive(Debug, Default)]
#[repr(C)]
struct Times {
    nanos: Cell,
    counts: [Cell; BUCKETS.len() + 1],
}

impl Times {
    fn add(&self, nanos: u64) {
        let first = usize::from(FIRST_OF_LENGTH[(u64::BITS - nanos.leading_zeros()) as usize]);
        let is_above = BOUNDS.get(first).is_some_and(|bound| nanos > *bound);
        self.counts[first + usize::from(is_above)].add(1);
        self.nanos.add(nanos);
    }

    /// Adds this many times at even distances: the first is one distance above `above`, the last is `last`.
    fn add_evenly(&self, count: u64, above: u64, last: u64) {
        let spread = last.saturating_sub(above);
        let mut below = 0;
        for (bucket, bound) in BOUNDS.iter().enumerate().filter(|(_, bound)| **bound >= above) {
            if *bound >= last {
                self.counts[bucket].add(count - below);
                below = count;
                break;
            }
            let up_to_bound = count * (bound - above) / spread;
            self.counts[bucket].add(up_to_bound - below);
            below = up_to_bound;
        }
        self.counts[BOUNDS.len()].add(count - below);
        self.nanos.add(count * above + spread * (count + 1) / 2);
    }

    fn read(&self) -> Histogram {
        let counts = std::array::from_fn(|bucket| self.counts[bucket].get());
        Histogram { counts, sum: Duration::from_nanos(self.nanos.get()) }
    }
}

/// The counters of one loop, which it adds to. Those that each turn adds to stand together: after a wait they may
/// have to come from afar, line by line.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Meter {
    /// The moment when the turn under way began, in nanoseconds, or 0.
    turn_begun: AtomicU64,
    /// The beginning of the exchanges whose end is not timed one by one: that of the turn under way; or the
    /// greatest number, if all of them are.
    shared_begin: AtomicU64,
    /// Exchanges that have ended since the clock was last read, and share the time.
    sharing: Cell,
    /// Exchanges of the turn under way that were timed one by one.
    timed: Cell,
    /// Whether the exchanges of the last turn that had any were [quick](QUICK).
    is_quick: AtomicBool,
    clock: Clock,
    events: Cell,
    content_bytes: Cell,
    exchanges: [Cell; 6],
    steps: [Cell; Step::ALL.len()],
    turn_times: Times,
    exchange_times: Times,
    accepted: Cell,
    aborted: Cell,
}

impl Meter {
    pub fn new(clock: Clock) -> Meter {
        Meter {
            turn_begun: AtomicU64::new(0),
            shared_begin: AtomicU64::new(u64::MAX),
            sharing: Cell::default(),
            timed: Cell::default(),
            is_quick: AtomicBool::new(false),
            clock,
            events: Cell::default(),
            content_bytes: Cell::default(),
            exchanges: Default::default(),
            steps: Default::default(),
            turn_times: Times::default(),
            exchange_times: Times::default(),
            accepted: Cell::default(),
            aborted: Cell::default(),
        }
    }

    pub fn read(&self) -> Counters {
        let begun = self.turn_begun.load(Relaxed);
        let turn_times = self.turn_times.read();
        Counters {
            read: self.clock.moment(),
            turn_begun: (begun > 0).then(|| Moment::from_start(Duration::from_nanos(begun))),
            turns: turn_times.count(),
            events: self.events.get(),
            accepted: self.accepted.get(),
            exchanges: std::array::from_fn(|class| self.exchanges[class].get()),
            aborted: self.aborted.get(),
            content_bytes: self.content_bytes.get(),
            steps: std::array::from_fn(|step| Duration::from_nanos(self.steps[step].get())),
            turn_times,
            exchange_times: self.exchange_times.read(),
        }
    }

    /// Counts an exchange that has ended just now.
    #[inline]
    pub fn note_exchange(&self, figures: Figures) {
        let class = usize::from(figures.status / 100).min(self.exchanges.len() - 1);
        self.exchanges[class].add(1);
        if figures.outcome == Outcome::Aborted {
            self.aborted.add(1);
        }
        self.content_bytes.add(figures.content_bytes);
        if figures.begun.nanos_since(Moment::START) == self.shared_begin.load(Relaxed) {
            self.sharing.add(1);
        } else {
            self.time(figures.begun);
        }
    }

    /// Counts the time since this moment, which was spent on whoever observes, and returns the present one.
    pub fn note_answer(&self, since: Moment) -> Moment {
        let now = self.clock.moment();
        self.steps[Step::WatchMemory as usize].add(now.nanos_since(since));
        now
    }

    /// Looks at the clock for one exchange that ends.
    #[inline(never)]
    fn time(&self, begun: Moment) {
        self.timed.add(1);
        self.exchange_times.add(self.clock.moment().nanos_since(begun));
    }
}

/// A stop watch for one turn of the loop. To look at the clock costs as much as a step that finds nothing to do: so
/// such a step is not timed, and what little it takes is counted with the next one.
pub(super) struct Laps<'m> {
    meter: &'m Meter,
    begun: Moment,
    /// The end of the last step that was timed.
    last: Moment,
    /// Exchanges that have shared time.
    shared: u64,
}

impl<'m> Laps<'m> {
    /// Begins a turn at this moment, after a wait that has lasted since the turn before.
    pub fn begin(meter: &'m Meter, last: Moment, begun: Moment, events: usize) -> Laps<'m> {
        let nanos = begun.nanos_since(Moment::START);
        meter.turn_begun.store(nanos.max(1), Relaxed);
        let shared_begin = if meter.is_quick.load(Relaxed) { nanos } else { u64::MAX };
        meter.shared_begin.store(shared_begin, Relaxed);
        meter.steps[Step::Wait as usize].add(begun.nanos_since(last));
        meter.events.add(events as u64);
        Laps { meter, begun, last: begun, shared: 0 }
    }

    /// Ends a step.
    pub fn end(&mut self, step: Step, was_busy: bool) {
        if !was_busy {
            return;
        }
        let now = self.meter.clock.moment();
        self.meter.steps[step as usize].add(now.nanos_since(self.last));
        self.share_out(now);
        self.last = now;
    }

    /// Shares the time since the last step that was timed out among the exchanges that have ended in it.
    fn share_out(&mut self, now: Moment) {
        let count = self.meter.sharing.take();
        if count > 0 {
            let [above, last] = [self.last, now].map(|moment| moment.nanos_since(self.begun));
            self.meter.exchange_times.add_evenly(count, above, last);
            self.shared += count;
        }
    }

    /// Ends the turn, in which this many connections were accepted, and returns the moment.
    pub fn finish(mut self, accepted: u32) -> Moment {
        // A step that is not timed can have ended some.
        if self.meter.sharing.get() > 0 {
            self.share_out(self.meter.clock.moment());
        }
        let Laps { meter, begun, last, shared } = self;
        let turn = last.nanos_since(begun);
        if accepted > 0 {
            meter.accepted.add(accepted.into());
        }
        meter.turn_times.add(turn);
        meter.turn_begun.store(0, Relaxed);
        match meter.timed.take() + shared {
            0 => {}
            ended => meter.is_quick.store(turn / ended <= QUICK.as_nanos() as u64, Relaxed),
        }
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
        for nanos in BOUNDS.into_iter().flat_map(|bound| [bound - 1, bound, bound + 1]).chain([1, u64::MAX]) {
            let times = Times::default();
            times.add(nanos);
            let bucket = BOUNDS.iter().position(|bound| nanos <= *bound).unwrap_or(BOUNDS.len());
            assert_eq!(times.counts[bucket].get(), 1, "{nanos}");
        }
    }

    #[test]
    fn times_at_even_distances_are_counted_as_if_each_were_added() {
        for (count, above, last) in [
            (1, 0, 0),
            (1, 0, 7_000),
            (3, 0, 9),
            (64, 0, 250_000),
            (64, 30_000, 30_000),
            (7, 29_000, 36_000),
            (128, 9_999, 2_500_047),
            (10, 9_000_000_000, 11_000_000_000),
            (2, 20_000_000_000, 20_000_000_002),
        ] {
            let (together, one_by_one) = (Times::default(), Times::default());
            together.add_evenly(count, above, last);
            (1..=count).for_each(|place| one_by_one.add(above + (last - above) * place / count));
            let [together, one_by_one] = [together, one_by_one].map(|times| times.read());
            assert_eq!(together.counts, one_by_one.counts, "{count} times from {above} to {last}");
            let difference = together.sum.abs_diff(one_by_one.sum);
            assert!(difference <= Duration::from_nanos(count), "{difference:?}");
        }
    }

    /// Takes a turn that began at this moment, in which this many exchanges begin and end. Returns how many of them
    /// have been timed before the step ends.
    fn turn(meter: &Meter, begun: Moment, count: u64) -> u64 {
        let before = meter.exchange_times.read().count();
        let mut laps = Laps::begin(meter, begun, begun, 0);
        for _ in 0..count {
            meter.note_exchange(Figures { status: 200, content_bytes: 1, begun, outcome: Outcome::Complete });
        }
        let timed = meter.exchange_times.read().count() - before;
        laps.end(Step::Dispatch, true);
        laps.finish(0);
        assert_eq!(meter.exchange_times.read().count() - before, count, "all of them are counted");
        timed
    }

    #[test]
    fn clock_is_read_once_for_all_exchanges_of_a_turn_as_long_as_they_are_quick() {
        let clock = Clock::start();
        let meter = Meter::new(clock);
        // A turn that begins later than now takes no time, however busy the machine is.
        let quick = Moment::START + Duration::from_secs(3_600);
        let slow = Moment::START;
        while clock.moment().since(slow) < QUICK * 5 {
            std::thread::yield_now();
        }
        assert_eq!(turn(&meter, quick, 4), 4, "nothing is known yet");
        assert_eq!(turn(&meter, quick, 4), 0);
        assert_eq!(turn(&meter, slow, 4), 0, "nobody knows beforehand that it will be slow");
        assert_eq!(turn(&meter, slow, 4), 4);
        assert_eq!(turn(&meter, slow, 0), 0);
        assert_eq!(turn(&meter, quick, 4), 4, "a turn without exchanges says nothing of them");
        assert_eq!(turn(&meter, quick, 4), 0);
    }

    #[test]
    fn exchange_that_began_in_an_earlier_turn_is_timed_for_itself() {
        let meter = Meter::new(Clock::start());
        let quick = Moment::START + Duration::from_secs(3_600);
        turn(&meter, quick, 1);
        let laps = Laps::begin(&meter, quick, quick, 0);
        meter.note_exchange(Figures {
            status: 0,
            content_bytes: 0,
            begun: Moment::START,
            outcome: Outcome::Aborted,
        });
        assert_eq!(meter.exchange_times.read().count(), 2);
        // One that ends in no step that is timed is not lost either.
        meter.note_exchange(Figures {
            status: 200,
            content_bytes: 0,
            begun: quick,
            outcome: Outcome::Complete,
        });
        laps.finish(0);
        assert_eq!(meter.exchange_times.read().count(), 3);
        assert_eq!((meter.read().exchanges, meter.read().aborted), ([1, 0, 2, 0, 0, 0], 1));
    }
}
