//! The facts about a server that do not change while it runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::pools::{Pool, PoolState};

/// The description of the server that is shown.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The description of what is served, for people.
    pub serves: String,
    /// The addresses on which it is served, for people.
    pub addresses: Vec<String>,
    /// The pools of threads that work beside the loops.
    pub(crate) pools: Vec<Pool>,
    /// The time when the server was started.
    started: Instant,
    unix_started: Duration,
}

impl Facts {
    /// Describes a server that is being started.
    pub fn new(serves: impl Into<String>, addresses: impl IntoIterator<Item = String>) -> Facts {
        Facts {
            serves: serves.into(),
            addresses: addresses.into_iter().collect(),
            pools: Vec::new(),
            started: Instant::now(),
            unix_started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// Adds a pool of threads that work beside the loops. `name` is a word for what it is for; `look` finds out its state, and
    /// is called for each frame, on the thread of the status server: it must not wait for long.
    #[must_use]
    pub fn pool(mut self, name: &'static str, look: impl Fn() -> PoolState + Send + Sync + 'static) -> Facts {
        self.pools.push(Pool::new(name, look));
        self
    }

    /// The version of the server.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Returns how long the server has run.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The time of the start, since 1970.
    pub(crate) fn unix_started(&self) -> Duration {
        self.unix_started
    }
}
