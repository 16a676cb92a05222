//! Wake-ups from anywhere: a queue of connection ids that can be filled from any thread.
//!
//! One system call wakes the loop, however many wake-ups are queued meanwhile: a flag says that it
//! has been made. The loop lowers the flag *before* it empties the queue, so a wake-up can come
//! too often, but never get lost.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::connections::ConnectionId;
use crate::gateway::WakeSource;

/// The queue, shared by the loop and everybody who can wake a connection.
pub(super) struct WakeupQueue {
    waker: mio::Waker,
    is_notified: AtomicBool,
    woken: Mutex<Vec<Arc<ConnectionWaker>>>,
}

impl WakeupQueue {
    pub fn new(waker: mio::Waker) -> WakeupQueue {
        WakeupQueue { waker, is_notified: AtomicBool::new(false), woken: Mutex::new(Vec::new()) }
    }

    /// Wakes the loop, for whatever reason.
    pub fn notify(&self) {
        if !self.is_notified.swap(true, Ordering::AcqRel) {
            // It can only fail where the loop has ended, and nobody is left to be woken.
            let _ = self.waker.wake();
        }
    }

    /// Whether the loop has been woken and not looked yet. Its flag tells, and the event in the
    /// selector is only there to end the wait: mio's poll(2) back end can lose one to a registration
    /// at the same moment.
    pub fn is_notified(&self) -> bool {
        self.is_notified.load(Ordering::Acquire)
    }

    /// Empties the queue, and appends the connections in it.
    pub fn drain(&self, into: &mut Vec<ConnectionId>) {
        // Read, too: what was done before the loop was woken is seen by whoever looks from here on.
        self.is_notified.swap(false, Ordering::AcqRel);
        let woken = mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        into.extend(woken.into_iter().map(|waker| {
            waker.is_queued.store(false, Ordering::Release);
            waker.id
        }));
    }

    fn push(&self, waker: &Arc<ConnectionWaker>) {
        // Who wakes a thousand times a turn stands in the queue once.
        if !waker.is_queued.swap(true, Ordering::AcqRel) {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(waker.clone());
            self.notify();
        }
    }
}

/// Makes wakers for the connection whose turn it is; costs nothing until one is asked for.
pub(super) struct Wakes {
    pub queue: Arc<WakeupQueue>,
    pub id: ConnectionId,
}

impl WakeSource for Wakes {
    fn waker(&self) -> Waker {
        let is_queued = AtomicBool::new(false);
        Waker::from(Arc::new(ConnectionWaker { queue: self.queue.clone(), id: self.id, is_queued }))
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
