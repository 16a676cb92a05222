//! The current time, passed down as an argument.
//!
//! The event loop reads both clocks of the machine once a turn and hands the reading down as a
//! [`Now`]. Nothing below the reactor asks a clock, so a test or a simulation can let a minute
//! pass by adding to a number, and every decision of one turn agrees on the time. (Records for an
//! access log, which decide nothing, have a reading of their own.)
//!
//! ```
//! use std::time::Duration;
//! use tidegate::now::Moment;
//!
//! let accepted = Moment::START;
//! let deadline = accepted + Duration::from_secs(20);
//! assert!(deadline > accepted);
//! assert_eq!(deadline.since(accepted), Duration::from_secs(20));
//! ```

use std::ops::Add;
use std::time::Duration;

/// A point on the monotonic clock: nanoseconds since the server started (584 years fit).
///
/// Half the size of `std::time::Instant`, and one can be made without a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment when the server started.
    pub const START: Moment = Moment(0);

    /// The moment that lies `elapsed` after the start.
    pub fn from_start(elapsed: Duration) -> Moment {
        Moment(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The time from `earlier` to this moment; zero if that is not earlier.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// The nanoseconds from `earlier` to this moment, for those who only add them up.
    pub(crate) fn nanos_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, later: Duration) -> Moment {
        let nanos = u64::try_from(later.as_nanos()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(nanos))
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock: for deadlines.
    pub moment: Moment,
    /// The calendar: whole seconds since 1970-01-01T00:00:00Z, for the `Date` field and logs.
    pub unix_seconds: u64,
}
