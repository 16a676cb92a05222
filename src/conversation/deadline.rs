//! Deadlines of states: pure functions of state and limits, so that none can go stale.

use std::time::Duration;

use crate::limits::Limits;
use crate::now::Moment;

/// Returns when a head must have ended. It begins with its first byte, the first one when the connection is
/// accepted; no byte extends it, so that dripping one at a time gains nothing.
pub fn of_head(begun: Moment, limits: &Limits) -> Moment {
    begun + limits.head_timeout
}

/// Returns when a kept connection must begin a request.
pub fn of_idle(since: Moment, limits: &Limits) -> Moment {
    since + limits.idle_timeout
}

/// Returns when something must move in a connection that was taken over.
pub fn of_tunnel(moved: Moment, limits: &Limits) -> Moment {
    moved + limits.tunnel_timeout
}

/// The timeouts that bytes can pay for in advance. Three: a client that has begun well may stutter for a
/// minute and a half (at the default of 30 s), as on a train in a tunnel; without a bound a fast start would
/// pay for hours of a byte a second.
const CREDIT_TIMEOUTS: u32 = 3;

/// The progress of something long: request content on its way in, or output on its way out.
///
/// Each byte pays for the time that it may take at the least rate. The credit is bounded, so that the rate is
/// one of the last few timeouts, not an average since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The time when the last byte moved.
    pub last_byte: Moment,
    /// The time up to which the bytes have paid.
    pub paid_until: Moment,
}

/// The pace at which something long has to move.
#[derive(Clone, Copy)]
struct Pace {
    /// The longest time without a byte, and the longest time of being behind.
    timeout: Duration,
    /// The minimum rate in bytes a second; 0 demands none.
    rate_min: u32,
}

impl Flow {
    /// Makes a flow that begins now.
    pub fn new(now: Moment) -> Flow {
        Flow { last_byte: now, paid_until: now }
    }

    /// Notes that bytes of content have arrived, framing included; zero bytes change nothing.
    pub fn arrived(&mut self, bytes: u64, now: Moment, limits: &Limits) {
        self.moved(bytes, now, Pace::of_body(limits));
    }

    /// Notes that bytes of output have left; zero bytes change nothing.
    pub fn departed(&mut self, bytes: u64, now: Moment, limits: &Limits) {
        self.moved(bytes, now, Pace::of_output(limits));
    }

    fn moved(&mut self, bytes: u64, now: Moment, pace: Pace) {
        if bytes > 0 {
            self.last_byte = now;
            let paid_until = self.paid_until + pace.time_of(bytes);
            self.paid_until = paid_until.min(now + pace.timeout * CREDIT_TIMEOUTS);
        }
    }

    /// Excuses a time in which nothing could move, by nobody's fault.
    pub fn pause(&mut self, time: Duration) {
        self.last_byte = self.last_byte + time;
        self.paid_until = self.paid_until + time;
    }

    /// Returns when the flow must move again: it may neither stall for longer than the timeout, nor stay behind the
    /// minimum rate for as long.
    fn deadline(self, pace: Pace) -> Moment {
        let stalled = self.last_byte + pace.timeout;
        if pace.rate_min == 0 { stalled } else { stalled.min(self.paid_until + pace.timeout) }
    }
}

impl Pace {
    fn of_body(limits: &Limits) -> Pace {
        Pace { timeout: limits.body_timeout, rate_min: limits.body_rate_min }
    }

    fn of_output(limits: &Limits) -> Pace {
        Pace { timeout: limits.write_timeout, rate_min: limits.output_rate_min }
    }

    /// Returns how long these bytes may take.
    fn time_of(self, bytes: u64) -> Duration {
        let nanos = bytes.saturating_mul(1_000_000_000).checked_div(self.rate_min.into());
        Duration::from_nanos(nanos.unwrap_or(0))
    }
}

/// Returns when more content must come.
pub fn of_body(arrival: Flow, limits: &Limits) -> Moment {
    arrival.deadline(Pace::of_body(limits))
}

/// Returns when the peer must take more of what it is owed.
pub fn of_output(departure: Flow, limits: &Limits) -> Moment {
    departure.deadline(Pace::of_output(limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    /// Asserts when content must move again that began at 10 s and came as the pairs of second and bytes say.
    fn check(limits: &Limits, moves: &[(u64, u64)], expected_millis: u64) {
        let mut arrival = Flow::new(at(10));
        for (second, bytes) in moves {
            arrival.arrived(*bytes, at(*second), limits);
        }
        let expected = Moment::START + Duration::from_millis(expected_millis);
        assert_eq!(of_body(arrival, limits), expected, "{moves:?}");
    }

    #[test]
    fn content_may_neither_stall_nor_drip() {
        let limits = Limits::default();
        check(&limits, &[], 40_000);
        check(&limits, &[(30, 0)], 40_000);
        check(&limits, &[(30, 499)], 40_998);
        check(&limits, &[(30, 5_000)], 50_000);
        check(&limits, &[(20, 1_000), (30, 4_000)], 50_000);
        check(&limits, &[(300, 1_000_000)], 330_000);
        // One byte a second, at 500 of them.
        let drip: Vec<_> = (11..=40).map(|second| (second, 1)).collect();
        check(&limits, &drip, 40_060);
        let unlimited = Limits { body_rate_min: 0, ..limits };
        check(&unlimited, &[(1000, 1000)], 1_030_000);
    }

    #[test]
    fn fast_start_pays_for_three_timeouts_and_no_more() {
        let limits = Limits::default();
        let burst = (10, 5_000_000);
        let dripping_until = |last| std::iter::once(burst).chain((11..=last).map(|second| (second, 1)));
        // Every byte is in time, and then none is any more: 3 timeouts that were paid for, and one for being behind.
        check(&limits, &dripping_until(99).collect::<Vec<_>>(), 129_000);
        check(&limits, &dripping_until(129).collect::<Vec<_>>(), 130_238);
        // A peer that is always faster than the least rate is never behind.
        let steady: Vec<_> = (11..=1_000).map(|second| (second, 501)).collect();
        check(&limits, &steady, 1_030_000);
        let mut departure = Flow::new(at(0));
        departure.departed(5_000_000, at(0), &limits);
        (1..=119).for_each(|second| departure.departed(1, at(second), &limits));
        assert_eq!(of_output(departure, &limits), at(120) + Duration::from_millis(238));
    }
}
