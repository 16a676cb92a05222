//! When requests are due: at once (closed loop), or each at a time of its own (open loop).

use std::time::{Duration, Instant};

/// Hands out requests.
#[derive(Debug)]
pub(super) enum Schedule {
    /// Every connection that can send a request does so at once.
    Closed,
    /// Request `next` is due `next` periods after the start.
    Open { start: Instant, rate: f64, next: u64, until: Instant },
}

impl Schedule {
    /// Begins a schedule now, at this rate or without one, up to a time.
    pub fn new(rate: Option<f64>, start: Instant, until: Instant) -> Schedule {
        match rate {
            None => Schedule::Closed,
            Some(rate) => Schedule::Open { start, rate, next: 0, until },
        }
    }

    /// Returns when the next request is due, if that is known beforehand and there is one.
    pub fn next_due(&self) -> Option<Instant> {
        match *self {
            Schedule::Closed => None,
            Schedule::Open { start, rate, next, until } => {
                // From the start each time, so that no error adds up.
                let due = start + Duration::from_secs_f64(next as f64 / rate);
                (due < until).then_some(due)
            }
        }
    }

    /// Takes the next request, if one is due by now.
    pub fn take(&mut self, now: Instant) -> Option<Instant> {
        match self {
            Schedule::Closed => Some(now),
            Schedule::Open { .. } => {
                let due = self.next_due().filter(|due| *due <= now)?;
                if let Schedule::Open { next, .. } = self {
                    *next += 1;
                }
                Some(due)
            }
        }
    }

    /// Ends the schedule: no later request becomes due.
    pub fn end(&mut self, now: Instant) {
        if let Schedule::Open { until, .. } = self {
            *until = now.min(*until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rate: f64, seconds: u64, expected: u64) {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let mut schedule = Schedule::new(Some(rate), start, end);
        let mut taken = 0;
        while let Some(due) = schedule.take(end) {
            let expected = Duration::from_secs_f64(taken as f64 / rate);
            assert_eq!(due - start, expected, "{rate}/s, request {taken}");
            taken += 1;
        }
        assert_eq!(taken, expected, "{rate}/s for {seconds} s");
    }

    #[test]
    fn open_loop_has_as_many_requests_as_its_rate_says() {
        check(200.0, 2, 400);
        check(0.5, 4, 2);
        check(1_000_000.0, 1, 1_000_000);
    }

    #[test]
    fn request_of_an_open_loop_is_not_given_before_it_is_due() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Some(10.0), start, start + Duration::from_secs(1));
        assert_eq!(schedule.take(start), Some(start));
        assert_eq!(schedule.take(start + Duration::from_millis(99)), None);
        assert_eq!(schedule.next_due(), Some(start + Duration::from_millis(100)));
        schedule.end(start + Duration::from_millis(50));
        assert_eq!(schedule.next_due(), None);
    }

    #[test]
    fn closed_loop_asks_at_once() {
        let now = Instant::now();
        assert_eq!(Schedule::new(None, now, now).take(now), Some(now));
    }
}
