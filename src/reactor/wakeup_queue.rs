//! A queue of wake-ups: ids of connections, put in by any thread.
//!
//! One system call wakes the loop, however many wake-ups are queued meanwhile, and none is made while it is
//! awake anyway. The loop notes that it has heard *before* it empties the queue, so a wake-up can come too
//! often, but never get lost.
//!
//! ```text
//!   Awake ──fall_asleep──▶ Asleep ──notify: wakes it──▶ Called ──drain──▶ Awake
//!     └──────────────────── notify ────────────────────────▲
//! ```

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::connection_id::ConnectionId;
use super::watch::LoopSelector;
use crate::gateway::{WakeSource, Watcher};

/// The loop is at work, and looks here before it waits.
const AWAKE: u8 = 0;
/// The loop waits, or is about to.
const ASLEEP: u8 = 1;
/// The loop has been woken, and has not looked yet.
const CALLED: u8 = 2;

/// The queue, shared by the loop and everybody who can wake a connection.
pub(super) struct WakeupQueue {
    waker: mio::Waker,
    state: AtomicU8,
    woken: Mutex<Vec<Arc<ConnectionWaker>>>,
}

impl WakeupQueue {
    pub fn new(waker: mio::Waker) -> WakeupQueue {
        WakeupQueue { waker, state: AtomicU8::new(AWAKE), woken: Mutex::new(Vec::new()) }
    }

    /// Wakes the loop, for whatever reason.
    pub fn notify(&self) {
        if self.state.swap(CALLED, Ordering::AcqRel) == ASLEEP {
            // It can only fail where the loop has ended, and nobody is left to be woken.
            let _ = self.waker.wake();
        }
    }

    /// Whether the loop has been woken and has not looked yet. The state tells; the event in the selector
    /// only ends the wait, since mio's poll(2) back end can lose it to a registration at the same moment.
    pub fn is_notified(&self) -> bool {
        self.state.load(Ordering::Acquire) == CALLED
    }

    /// Notes that the loop is about to wait. Returns false if it must not, since it has been woken meanwhile.
    pub fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Notes that the wait is over, whatever has ended it.
    pub fn wake_up(&self) {
        let _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Empties the queue, and appends the connections in it.
    pub fn drain(&self, into: &mut Vec<ConnectionId>) {
        // `AcqRel`, though it stores: what a waker wrote before it woke the loop is seen from here on.
        self.state.swap(AWAKE, Ordering::AcqRel);
        let woken = mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        into.extend(woken.into_iter().map(|waker| {
            // `AcqRel`: a waker that found it queued did not push, and what it wrote before must be visible from here on.
            waker.is_queued.swap(false, Ordering::AcqRel);
            waker.id
        }));
    }

    fn push(&self, waker: &Arc<ConnectionWaker>) {
        // A connection that is woken a thousand times in a turn is queued once.
        if !waker.is_queued.swap(true, Ordering::AcqRel) {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(waker.clone());
            self.notify();
        }
    }
}

/// Makes wakers for the connection whose turn it is; costs nothing until one is asked for.
pub(super) struct Wakes {
    pub queue: Arc<WakeupQueue>,
    pub selector: Arc<LoopSelector>,
    pub id: ConnectionId,
}

impl WakeSource for Wakes {
    fn waker(&self) -> Waker {
        let is_queued = AtomicBool::new(false);
        Waker::from(Arc::new(ConnectionWaker { queue: self.queue.clone(), id: self.id, is_queued }))
    }

    fn watcher(&self) -> Watcher {
        Watcher::new(self.selector.clone(), self.id.watch_token().0)
    }
}

struct ConnectionWaker {
    queue: Arc<WakeupQueue>,
    id: ConnectionId,
    is_queued: AtomicBool,
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.queue.push(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.push(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    /// Whether a wait for events would end at once.
    fn is_woken(poll: &mut Poll) -> bool {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn loop_is_woken_once_where_it_sleeps_and_never_where_it_is_awake() {
        let mut poll = Poll::new().unwrap();
        let queue = WakeupQueue::new(mio::Waker::new(poll.registry(), Token(0)).unwrap());
        queue.notify();
        assert!(!is_woken(&mut poll), "it is awake");
        assert!(!queue.fall_asleep() && queue.is_notified(), "and must not sleep before it has looked");
        queue.drain(&mut Vec::new());
        assert!(queue.fall_asleep());
        queue.notify();
        assert!(is_woken(&mut poll));
        queue.notify();
        assert!(!is_woken(&mut poll), "it was woken already");
        queue.wake_up();
        assert!(queue.is_notified(), "to wake up is not to look");
        queue.drain(&mut Vec::new());
        assert!(queue.fall_asleep());
        queue.wake_up();
        queue.notify();
        assert!(!is_woken(&mut poll), "something else has ended its sleep");
    }
}
