//! Pools of threads that work beside the event loops: what waits for them, and how many are busy.

use std::fmt;
use std::sync::Arc;

/// The state of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// The number of threads.
    pub threads: usize,
    /// Threads that are at work.
    pub busy: usize,
    /// Jobs that wait for a thread.
    pub waiting: usize,
}

/// A pool that is shown, and how its state is found out.
#[derive(Clone)]
pub(crate) struct Pool {
    /// The work that the pool is for, in a word.
    pub name: &'static str,
    look: Arc<dyn Fn() -> PoolState + Send + Sync>,
}

impl Pool {
    pub fn new(name: &'static str, look: impl Fn() -> PoolState + Send + Sync + 'static) -> Pool {
        Pool { name, look: Arc::new(look) }
    }

    /// Returns the present state of the pool.
    pub fn state(&self) -> PoolState {
        (self.look)()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name).finish_non_exhaustive()
    }
}
