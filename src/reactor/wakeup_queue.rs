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
    woken: Mutex<Vec<ConnectionId>>,
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

    /// Empties the queue into `into`, which must be empty: the two change places.
    pub fn drain(&self, into: &mut Vec<ConnectionId>) {
        self.is_notified.store(false, Ordering::Release);
        mem::swap(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner), into);
    }

    fn push(&self, id: ConnectionId) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        self.notify();
    }
}

/// Makes wakers for the connection whose turn it is; costs nothing until one is asked for.
pub(super) struct Wakes {
    pub queue: Arc<WakeupQueue>,
    pub id: ConnectionId,
}

impl WakeSource for Wakes {
    fn waker(&self) -> Waker {
        Waker::from(Arc::new(ConnectionWaker { queue: self.queue.clone(), id: self.id }))
    }
}

struct ConnectionWaker {
    queue: Arc<WakeupQueue>,
    id: ConnectionId,
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.queue.push(self.id);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.push(self.id);
    }
}
