//! The facts about a server that do not change while it runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The description of the server that is shown.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The thing that is served, for people.
    pub serves: String,
    /// The addresses on which it is, for people.
    pub addresses: Vec<String>,
    /// The time when it was started.
    started: Instant,
    unix_started: Duration,
}

impl Facts {
    /// Describes a server that is being started.
    pub fn new(serves: impl Into<String>, addresses: impl IntoIterator<Item = String>) -> Facts {
        Facts {
            serves: serves.into(),
            addresses: addresses.into_iter().collect(),
            started: Instant::now(),
            unix_started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        }
    }

    /// The version of the server.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// How long it has run.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The time of the start, since 1970.
    pub(crate) fn unix_started(&self) -> Duration {
        self.unix_started
    }
}
