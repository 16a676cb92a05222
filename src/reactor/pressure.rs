//! Memory pressure: which connections give memory back when too much of it is held.
//!
//! Below three quarters of [`memory_bytes_max`](crate::limits::Limits::memory_bytes_max) memory is
//! [ample](crate::conversation::Memory) and nothing happens. Above that, each connection does without more by itself:
//! content goes to the disk, half a head waits, and nothing is produced for who is owed anything. That alone would let
//! those who do not move stop everybody else. So where it lasts, or the limit is passed, the connections that hold
//! much and have not moved for long give back what they hold: content that is on its way moves to the disk, who sends
//! content that the application does not read is turned away, and whoever does not read, or sends no more of a head, or
//! more requests than are answered, or leaves a tunnel waiting that holds much, is cut.
//!
//! Afterwards there is much that is free and still belongs to the process. [`Tide`] says when the time has
//! come to give it back to the system.

use std::cmp::Reverse;
use std::time::Duration;

use super::connection_id::ConnectionId;
use crate::now::Moment;

/// How long memory may be scarce before connections that stall give theirs back, and how long they must have
/// stalled then. 1 s: a client that is alive moves within a round trip or two, and nobody should wait much
/// longer for a place in memory.
pub(super) const STALL_MAX: Duration = Duration::from_secs(1);

/// Bytes of content that are moved to the disk at a time. 16 MiB: some 10 ms of copying into the system's
/// cache.
pub(super) const SPILLED_BYTES_MAX: usize = 16 << 20;

/// Memory in use above which it is worth while to give freed memory back to the system. 1 MiB: a few ordinary
/// exchanges never come near it.
const TIDE_BYTES_MIN: usize = 1 << 20;

/// How long memory must have been free before it is given back. 1 s: a burst has pauses, and would only take
/// again what it has just given.
const TIDE_PAUSE: Duration = Duration::from_secs(1);

/// The rise and fall of the memory in use.
#[derive(Debug, Default)]
pub(super) struct Tide {
    /// The most that was in use since memory was last given back.
    high_bytes: usize,
    /// The time since which less than half of that is in use.
    low_since: Option<Moment>,
}

impl Tide {
    /// Notes what is in use for a moment, in the middle of a turn.
    pub fn rise(&mut self, bytes: usize) {
        self.high_bytes = self.high_bytes.max(bytes);
    }

    /// Notes what is in use now. Returns whether freed memory is to be given back to the system, which the
    /// caller then does.
    pub fn note(&mut self, bytes: usize, now: Moment) -> bool {
        self.rise(bytes);
        let is_low = self.high_bytes >= TIDE_BYTES_MIN && bytes < self.high_bytes / 2;
        self.low_since = if is_low { self.low_since.or(Some(now)) } else { None };
        let is_over = self.due().is_some_and(|due| due <= now);
        if is_over {
            *self = Tide { high_bytes: bytes, low_since: None };
        }
        is_over
    }

    /// Returns when memory is to be given back, if nothing changes.
    pub fn due(&self) -> Option<Moment> {
        self.low_since.map(|since| since + TIDE_PAUSE)
    }
}

/// The memory that one connection holds although it is the peer's turn to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub id: ConnectionId,
    /// Bytes that count in the account of memory.
    pub bytes: usize,
    /// The time when the peer last took, or sent, a byte.
    pub moved: Moment,
}

impl Holding {
    /// The product of memory and time for which it was held in vain.
    fn cost(&self, now: Moment) -> u128 {
        // Those that have not stalled at all come last, in the order of what they hold.
        self.bytes as u128 * (now.since(self.moved).as_nanos() + 1)
    }
}

/// Sorts the connections that have stalled for at least `stall_min`, the most expensive first.
pub(super) fn most_expensive(mut holdings: Vec<Holding>, stall_min: Duration, now: Moment) -> Vec<Holding> {
    holdings.retain(|holding| now.since(holding.moved) >= stall_min);
    holdings.sort_unstable_by_key(|holding| Reverse(holding.cost(now)));
    holdings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_a_second_after_it_has_become_free_and_once() {
        let mut tide = Tide::default();
        let mut note = |millis, bytes| tide.note(bytes, Moment::START + Duration::from_millis(millis));
        // Little is never worth it.
        assert!(!note(0, 500_000) && !note(10, 0) && !note(2_000, 0));
        assert!(!note(3_000, 40_000_000) && !note(3_500, 10_000));
        // The burst goes on, and pauses again.
        assert!(!note(4_000, 30_000_000) && !note(4_100, 0) && !note(5_099, 0));
        assert!(note(5_100, 0));
        assert!(!note(9_000, 0));
        assert_eq!(tide.due(), None);
    }

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
