//! One line on a terminal that shows how far a measurement is. If stderr is no terminal there is none.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::figures::thousands;
use super::rig::{Phase, Rig};

/// Characters of the bar.
const BAR_WIDTH: usize = 30;
/// Moves the cursor to the beginning of the line, and clears the line.
const CLEAR: &str = "\r\x1b[K";

/// The line of progress.
#[derive(Debug)]
pub(super) struct Progress {
    is_shown: bool,
    /// The name of the measurement, shown before the bar if there are several.
    pub label: String,
}

impl Progress {
    pub fn on_stderr() -> Progress {
        Progress { is_shown: io::stderr().is_terminal(), label: String::new() }
    }

    fn show(&self, text: &str) {
        if self.is_shown {
            // Nobody may be left to see it.
            let _ = write!(io::stderr(), "{CLEAR}{}{text}", self.label);
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "{CLEAR}");
        }
    }
}

impl Rig<'_> {
    /// Shows how far the measurement is.
    pub(super) fn show(&self) {
        let now = Instant::now();
        let left = self.phase_until.saturating_duration_since(now);
        self.progress.show(&match self.phase {
            Phase::Connecting => {
                let (open, all) = (self.clients.len() - self.opening, self.load.total());
                format!(
                    "connecting {} {} of {}",
                    bar(open, all),
                    thousands(open as u64),
                    thousands(all as u64)
                )
            }
            Phase::WarmingUp => format!("warming up {}", bar_of_time(left, self.load.warm_up)),
            Phase::Measuring => {
                let seconds = self.tally.time(now).as_secs_f64().max(1e-3);
                let rate = thousands((self.tally.answered as f64 / seconds) as u64);
                format!("measuring {} {rate} requests/s", bar_of_time(left, self.load.duration))
            }
            Phase::Draining | Phase::Done => "waiting for the last answers".to_string(),
        });
    }
}

fn bar_of_time(left: Duration, all: Duration) -> String {
    let done = all.saturating_sub(left);
    let bar = bar(done.as_millis() as usize, all.as_millis() as usize);
    format!("{bar} {:.1} of {:.1} s", done.as_secs_f64(), all.as_secs_f64())
}

fn bar(done: usize, all: usize) -> String {
    let filled = (done * BAR_WIDTH).checked_div(all).unwrap_or(BAR_WIDTH).min(BAR_WIDTH);
    format!("[{}{}]", "=".repeat(filled), " ".repeat(BAR_WIDTH - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_is_as_long_as_its_share() {
        for (done, all, filled) in [(0, 10, 0), (5, 10, 15), (10, 10, 30), (11, 10, 30), (0, 0, 30)] {
            let bar = bar(done, all);
            assert_eq!((bar.matches('=').count(), bar.len()), (filled, BAR_WIDTH + 2), "{done} of {all}");
        }
    }
}
