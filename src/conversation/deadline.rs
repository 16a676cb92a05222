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

/// How request content has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When the head had ended.
    pub begun: Moment,
    /// When the last byte came.
    pub last_byte: Moment,
    /// How many bytes came, framing included.
    pub bytes: u64,
}

/// More content must come then: neither may it stall, nor may its average rate be too low. Each
/// byte buys `1 / body_rate_min` seconds, from `body_timeout` after the beginning on.
pub fn of_body(arrival: Arrival, limits: &Limits) -> Moment {
    let stalled = arrival.last_byte + limits.body_timeout;
    let Some(bought) = arrival.bytes.checked_div(limits.body_rate_min.into()) else {
        return stalled;
    };
    let too_slow = arrival.begun + limits.body_timeout + Duration::from_secs(bought);
    stalled.min(too_slow)
}

/// The peer must take something of what it is owed then.
pub fn of_output(progressed: Moment, limits: &Limits) -> Moment {
    progressed + limits.write_timeout
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
        let check = |begun, last, bytes, expected| {
            let arrival = Arrival { begun: at(begun), last_byte: at(last), bytes };
            assert_eq!(of_body(arrival, &limits), at(expected), "{bytes} bytes");
        };
        check(10, 10, 0, 40);
        check(10, 30, 499, 40);
        check(10, 30, 5_000, 50);
        check(10, 300, 1_000_000, 330);
        let unlimited = Limits { body_rate_min: 0, ..limits };
        let dripping = Arrival { begun: at(0), last_byte: at(1000), bytes: 1000 };
        assert_eq!(of_body(dripping, &unlimited), at(1030));
    }
}
