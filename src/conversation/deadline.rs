//! Until when a state may last: pure functions of state and limits, so that no deadline can go
//! stale.

use std::time::Duration;

use crate::limits::Limits;
use crate::now::Moment;

/// A head must end then. It began when its first byte came, the first one when the connection was
/// accepted; no byte extends it, so that dripping one at a time gains nothing.
pub fn of_head(begun: Moment, limits: &Limits) -> Moment {
    begun + limits.head_timeout
}

/// A kept connection must begin a request then.
pub fn of_idle(since: Moment, limits: &Limits) -> Moment {
    since + limits.idle_timeout
}

/// How something long has moved so far: request content on its way in, or output on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// When it began.
    pub begun: Moment,
    /// When the last byte moved.
    pub last_byte: Moment,
    /// How many bytes have moved, framing included.
    pub bytes: u64,
}

impl Flow {
    /// One that begins now.
    pub fn new(now: Moment) -> Flow {
        Flow { begun: now, last_byte: now, bytes: 0 }
    }

    /// Bytes have moved; none change nothing.
    pub fn moved(&mut self, bytes: u64, now: Moment) {
        if bytes > 0 {
            self.last_byte = now;
            self.bytes += bytes;
        }
    }

    /// It must move again then: neither may it stall for longer than `timeout`, nor may its average
    /// rate be too low. Each byte buys `1 / rate_min` seconds, from `timeout` after the beginning on.
    fn deadline(self, timeout: Duration, rate_min: u32) -> Moment {
        let stalled = self.last_byte + timeout;
        let Some(bought_millis) = self.bytes.saturating_mul(1_000).checked_div(rate_min.into()) else {
            return stalled;
        };
        stalled.min(self.begun + timeout + Duration::from_millis(bought_millis))
    }
}

/// More content must come then.
pub fn of_body(arrival: Flow, limits: &Limits) -> Moment {
    arrival.deadline(limits.body_timeout, limits.body_rate_min)
}

/// The peer must take more of what it is owed then.
pub fn of_output(departure: Flow, limits: &Limits) -> Moment {
    departure.deadline(limits.write_timeout, limits.output_rate_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    #[test]
    fn content_may_neither_stall_nor_drip() {
        let limits = Limits::default();
        let check = |begun, last, bytes, expected_millis| {
            let arrival = Flow { begun: at(begun), last_byte: at(last), bytes };
            let expected = Moment::START + Duration::from_millis(expected_millis);
            assert_eq!(of_body(arrival, &limits), expected, "{bytes} bytes");
        };
        check(10, 10, 0, 40_000);
        check(10, 30, 499, 40_998);
        check(10, 30, 5_000, 50_000);
        check(10, 300, 1_000_000, 330_000);
        let unlimited = Limits { body_rate_min: 0, ..limits };
        let dripping = Flow { begun: at(0), last_byte: at(1000), bytes: 1000 };
        assert_eq!(of_body(dripping, &unlimited), at(1030));
    }
}
