//! Counts memory that outlives its connection: what applications hold of requests, until they let go of it.
//!
//! A request that moves to another thread may be held there long after its client has left. The connection, which
//! counts what it holds itself, is gone by then; so a detached request counts for itself, wherever it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts bytes that are held outside of connections. Clones count together.
///
/// ```
/// use tidegate::gateway::MemoryAccount;
///
/// let account = MemoryAccount::default();
/// let reservation = account.reserve(500);
/// assert_eq!(account.bytes(), 500);
/// drop(reservation);
/// assert_eq!(account.bytes(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryAccount(Arc<AtomicUsize>);

impl MemoryAccount {
    /// Counts `bytes` bytes until the reservation is dropped, on whatever thread.
    pub fn reserve(&self, bytes: usize) -> Reservation {
        // Nothing is published by the counter: it is only added up.
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Reservation { account: self.clone(), bytes }
    }

    /// The number of bytes that are reserved now.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    account: MemoryAccount,
    bytes: usize,
}

impl Reservation {
    /// The account that the reservation counts in.
    pub(super) fn account(&self) -> &MemoryAccount {
        &self.account
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
