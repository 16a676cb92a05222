//! Deadlines, ordered.
//!
//! A binary heap of (moment, connection): the first is the next. Beside it stands for each place in the slab where
//! in the heap its timer is, so that any can be taken out. Both are plain arrays: 20 bytes a timer, where a search
//! tree that is filled in order takes 37, and nothing is allocated to set one.
//!
//! A deadline that moves away, as it does with each request of a kept connection, is not moved here: the timer goes
//! off too early, finds the connection well, and is set again. So a request that finishes in time touches no timer,
//! and a connection costs one operation a timeout, not one a request.

use super::connection_id::ConnectionId;
use crate::now::Moment;

/// The timers, at most one for each connection.
pub(super) struct Timers {
    /// The heap: no timer is before its parent, which for the one at `n` is at `(n - 1) / 2`.
    heap: Vec<(Moment, ConnectionId)>,
    /// The position in the heap of the timer of the connection at each place of the slab, if it has one.
    positions: Vec<u32>,
}

impl Timers {
    /// Makes an empty heap with room for `count` timers. Memory that was never written to costs nothing.
    pub fn with_capacity(count: usize) -> Timers {
        Timers { heap: Vec::with_capacity(count), positions: Vec::with_capacity(count) }
    }

    /// The number of timers that are set.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Sets the timer of a connection. If it has one, only an earlier deadline changes anything.
    pub fn arm(&mut self, id: ConnectionId, deadline: Option<Moment>) {
        let Some(deadline) = deadline else {
            return;
        };
        match self.position(id) {
            Some(position) if self.heap[position].0 <= deadline => {}
            position => self.set(position, id, deadline),
        }
    }

    #[inline(never)]
    fn set(&mut self, position: Option<usize>, id: ConnectionId, deadline: Moment) {
        let position = match position {
            Some(position) => {
                self.heap[position].0 = deadline;
                position
            }
            None => {
                if self.positions.len() <= id.index() {
                    self.positions.resize(id.index() + 1, 0);
                }
                self.heap.push((deadline, id));
                self.heap.len() - 1
            }
        };
        self.rise(position);
    }

    /// Removes the timer of a connection, if it has one.
    pub fn disarm(&mut self, id: ConnectionId) {
        if let Some(position) = self.position(id) {
            self.remove(position);
        }
    }

    /// Returns the position in the heap of a connection's timer. The position noted for its place in the slab
    /// may belong to a connection that is gone.
    fn position(&self, id: ConnectionId) -> Option<usize> {
        let position = *self.positions.get(id.index())? as usize;
        self.heap.get(position).filter(|(_, of)| *of == id).map(|_| position)
    }

    /// The next moment for which a timer is set.
    pub fn next(&self) -> Option<Moment> {
        self.heap.first().map(|(moment, _)| *moment)
    }

    /// Removes a timer that has gone off, and returns its connection.
    pub fn pop_due(&mut self, now: Moment) -> Option<ConnectionId> {
        let (_, id) = *self.heap.first().filter(|(moment, _)| *moment <= now)?;
        self.remove(0);
        Some(id)
    }

    /// Removes a timer; the last of the heap fills the gap.
    fn remove(&mut self, position: usize) {
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            // It moves one way at most: where it has risen, what is below it now was below its parent before.
            self.rise(position);
            self.sink(position);
        }
    }

    /// Moves a timer up until its parent is not after it, and notes the positions of all that it has met.
    fn rise(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.heap[parent] <= self.heap[position] {
                break;
            }
            self.heap.swap(parent, position);
            self.note(position);
            position = parent;
        }
        self.note(position);
    }

    /// Moves a timer down until no child is before it.
    fn sink(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            let before = (left..self.heap.len().min(left + 2)).min_by_key(|&child| self.heap[child]);
            let Some(child) = before.filter(|&child| self.heap[child] < self.heap[position]) else {
                return self.note(position);
            };
            self.heap.swap(child, position);
            self.note(position);
            position = child;
        }
    }

    fn note(&mut self, position: usize) {
        let (_, id) = self.heap[position];
        // Limits::check keeps the number of connections below 2^31.
        self.positions[id.index()] = position as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn moment(number: u64) -> Moment {
        Moment::from_start(std::time::Duration::from_nanos(number))
    }

    /// Asserts that the heap is one, and every timer is where it is noted.
    fn check(timers: &Timers, expected: &BTreeSet<(Moment, ConnectionId)>, step: u64) {
        assert_eq!(timers.next(), expected.first().map(|(moment, _)| *moment), "step {step}");
        assert_eq!(timers.heap.iter().copied().collect::<BTreeSet<_>>(), *expected, "step {step}");
        for (position, (_, id)) in timers.heap.iter().enumerate() {
            assert_eq!(timers.positions[id.index()] as usize, position, "step {step}");
        }
    }

    #[test]
    fn timers_set_moved_and_taken_away_go_off_in_order() {
        let ids: Vec<_> = (0..40).map(|index| ConnectionId::new(index, index + 7)).collect();
        let (mut timers, mut expected) = (Timers::with_capacity(0), BTreeSet::new());
        let mut armed: Vec<Option<Moment>> = vec![None; ids.len()];
        let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (which, when) = ((random >> 40) as usize % ids.len(), random >> 55);
            match (random >> 33) % 4 {
                0 | 1 => {
                    if let Some(old) = armed[which].filter(|old| *old > moment(when)) {
                        expected.remove(&(old, ids[which]));
                    }
                    timers.arm(ids[which], Some(moment(when)));
                    armed[which] = Some(armed[which].map_or(moment(when), |old| old.min(moment(when))));
                    expected.extend(armed[which].map(|moment| (moment, ids[which])));
                }
                2 => {
                    armed[which].take().inspect(|moment| assert!(expected.remove(&(*moment, ids[which]))));
                    timers.disarm(ids[which]);
                }
                _ => {
                    let due = expected.first().copied().filter(|(due, _)| *due <= moment(when));
                    assert_eq!(timers.pop_due(moment(when)), due.map(|(_, id)| id), "step {step}");
                    if let Some(first) = due {
                        expected.pop_first();
                        armed[first.1.index()] = None;
                    }
                }
            }
            check(&timers, &expected, step);
        }
    }

    #[test]
    fn timer_that_has_gone_off_is_not_taken_away_again() {
        let (one, other) = (ConnectionId::new(0, 1), ConnectionId::new(1, 2));
        let mut timers = Timers::with_capacity(2);
        timers.arm(one, Some(moment(1)));
        timers.arm(other, Some(moment(2)));
        assert_eq!(timers.pop_due(moment(1)), Some(one));
        timers.disarm(one);
        assert_eq!(timers.next(), Some(moment(2)));
    }

    #[test]
    fn timer_of_a_connection_is_not_that_of_the_next_in_its_place() {
        let (old, new) = (ConnectionId::new(0, 1), ConnectionId::new(0, 2));
        let mut timers = Timers::with_capacity(1);
        timers.arm(old, Some(moment(1)));
        timers.disarm(new);
        assert_eq!(timers.next(), Some(moment(1)));
    }
}
