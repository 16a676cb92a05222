//! The time: read here, and nowhere below.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::conversation::Stopwatch;
use crate::now::{Moment, Now};

/// Both clocks of the machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    /// Makes a clock whose moments begin now.
    pub fn start() -> Clock {
        Clock { started: Instant::now() }
    }

    pub fn read(&self) -> Now {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { moment: self.moment(), unix_seconds: since_1970.as_secs() }
    }

    pub fn moment(&self) -> Moment {
        Moment::from_start(self.started.elapsed())
    }

    /// Converts a moment to the system's; none if it is too far away for that.
    pub fn instant(&self, moment: Moment) -> Option<Instant> {
        self.started.checked_add(moment.since(Moment::START))
    }
}

impl Stopwatch for Clock {
    fn moment(&self) -> Moment {
        Clock::moment(self)
    }
}
