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
#[derive(Clone, Debug)]
pub struct MemoryAccount {
    reserved: Arc<AtomicUsize>,
    bytes_max: usize,
}

impl Default for MemoryAccount {
    fn default() -> MemoryAccount {
        MemoryAccount::with_limit(usize::MAX)
    }
}

impl MemoryAccount {
    /// Makes an account of a server that may hold this many bytes, connections and all.
    pub fn with_limit(bytes_max: usize) -> MemoryAccount {
        MemoryAccount { reserved: Arc::default(), bytes_max }
    }

    /// [`memory_bytes_max`](crate::limits::Limits::memory_bytes_max) of the server, of which caches take a part. Nothing
    /// is refused beyond it.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Counts `bytes` bytes until the reservation is dropped, on whatever thread.
    pub fn reserve(&self, bytes: usize) -> Reservation {
        // Nothing is published by the counter: it is only added up.
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        Reservation { account: self.clone(), bytes }
    }

    /// The number of bytes that are reserved now.
    pub fn bytes(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }
}

/// A part of a [`MemoryAccount`]: bytes that count until this is dropped.
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
        self.account.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
