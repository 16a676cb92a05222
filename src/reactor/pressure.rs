//! Memory pressure: which connections give memory back when too much of it is held.
//!
//! Below three quarters of [`memory_bytes_max`](crate::limits::Limits::memory_bytes_max) memory is
//! [ample](crate::conversation::Memory) and nothing happens. Above that, each connection does without more by itself:
//! content goes to the disk, half a head waits, and nothing is produced for who is owed anything. That alone would let
//! those who do not move stop everybody else. So where it lasts, or the limit is passed, the connections that hold
//! much and have not moved for long give back what they hold: content that is on its way moves to the disk, and
//! whoever does not read, or sends no more of a head, is cut.

use std::cmp::Reverse;
use std::time::Duration;

use super::connections::ConnectionId;
use crate::now::Moment;

/// How long memory may be scarce before those who stall give theirs back, and how long they must have stalled then. 1 s:
/// a client that is alive moves within a round trip or two, and nobody should wait much longer for a place in memory.
pub(super) const STALL_MAX: Duration = Duration::from_secs(1);

/// Content that is moved to the disk at a time. 16 MiB: some 10 ms of copying into the system's cache.
pub(super) const SPILLED_BYTES_MAX: usize = 16 << 20;

/// What a connection holds although it is the peer's turn to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub id: ConnectionId,
    /// Bytes that count in the account of memory.
    pub bytes: usize,
    /// When the peer last took, or sent, a byte.
    pub moved: Moment,
}

impl Holding {
    /// How much memory was held for how long, for nothing.
    fn cost(&self, now: Moment) -> u128 {
        // Who has stalled for no time at all comes last, in the order of what it holds.
        self.bytes as u128 * (now.since(self.moved).as_nanos() + 1)
    }
}

/// Those that have stalled for at least `stall_min`, the most expensive first.
pub(super) fn most_expensive(mut holdings: Vec<Holding>, stall_min: Duration, now: Moment) -> Vec<Holding> {
    holdings.retain(|holding| now.since(holding.moved) >= stall_min);
    holdings.sort_unstable_by_key(|holding| Reverse(holding.cost(now)));
    holdings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_much_for_long_comes_first_and_who_moves_last() {
        let now = Moment::START + Duration::from_secs(10);
        let holding = |index, bytes, stalled_millis: u64| Holding {
            id: ConnectionId::new(index, 1),
            bytes,
            moved: Moment::START + Duration::from_millis(10_000 - stalled_millis),
        };
        let all = vec![
            holding(0, 9_000_000, 0),
            holding(1, 1_000, 5_000),
            holding(2, 800_000, 2_000),
            holding(3, 800_000, 3_000),
        ];
        let order = |stall_min| -> Vec<usize> {
            most_expensive(all.clone(), stall_min, now).iter().map(|holding| holding.id.index()).collect()
        };
        assert_eq!(order(Duration::ZERO), [3, 2, 1, 0]);
        assert_eq!(order(Duration::from_millis(2_500)), [3, 1]);
    }
}
