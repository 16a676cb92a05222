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
    /// How far a sweep is, of which this is one turn. Then there is one bar, for all of it.
    pub whole: Option<Whole>,
}

/// How far a sweep is, and how long it will take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    turns: usize,
    done: usize,
    /// The time that the turns so far have taken.
    spent: Duration,
    /// The time that a turn takes at least.
    turn: Duration,
    began: Instant,
}

impl Whole {
    pub fn new(turns: usize, turn: Duration) -> Whole {
        Whole { turns, done: 0, spent: Duration::ZERO, turn, began: Instant::now() }
    }

    /// Counts a turn that has taken this time.
    pub fn end_turn(&mut self, time: Duration) {
        self.done += 1;
        self.spent += time;
        self.began = Instant::now();
    }

    /// Formats the bar and the time left, when this turn has taken `time` so far.
    fn show(&self, time: Duration) -> String {
        let done = u32::try_from(self.done).unwrap_or(u32::MAX);
        let turn = self.spent.checked_div(done).unwrap_or_default().max(self.turn);
        let all = turn * u32::try_from(self.turns).unwrap_or(u32::MAX);
        let so_far = turn * done + time.min(turn);
        let left = all.saturating_sub(so_far).as_secs();
        let bar = bar(so_far.as_millis() as usize, all.as_millis() as usize);
        format!("{bar} {}:{:02} left · ", left / 60, left % 60)
    }
}

impl Progress {
    pub fn on_stderr() -> Progress {
        Progress { is_shown: io::stderr().is_terminal(), label: String::new(), whole: None }
    }

    /// Shows what is being done, with a bar for it, and a remark.
    fn show(&self, what: &str, bar: &str, remark: &str) {
        if self.is_shown {
            let (whole, bar) = match &self.whole {
                Some(whole) => (whole.show(whole.began.elapsed()), ""),
                None => (String::new(), bar),
            };
            // Nobody may be left to see it.
            let _ = write!(io::stderr(), "{CLEAR}{whole}{}{what}{bar}{remark}", self.label);
        }
    }

    /// Shows nothing: of several processes of the rig, one speaks for all.
    pub fn silent() -> Progress {
        Progress { is_shown: false, label: String::new(), whole: None }
    }

    /// Shows how far several processes of the rig are.
    pub fn show_parts(&self, all: usize, connected: usize, measuring: usize) {
        if measuring > 0 {
            self.show("measuring ", "", &format!("with {all} processes"));
        } else {
            self.show("connecting ", &bar(connected, all), &format!(" {connected} of {all} processes"));
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
        let show = |what: &str, bar: &str, remark: &str| self.progress.show(what, bar, remark);
        match self.phase {
            Phase::Connecting => {
                let (open, all) = (self.clients.len() - self.opening, self.load.total());
                let remark = format!(" {} of {}", thousands(open as u64), thousands(all as u64));
                show("connecting ", &bar(open, all), &remark);
            }
            Phase::WarmingUp => show("warming up ", &bar_of_time(left, self.load.warm_up), ""),
            Phase::Measuring => {
                let seconds = self.tally.time(now).as_secs_f64().max(1e-3);
                let rate = thousands((self.tally.answered as f64 / seconds) as u64);
                let bar = bar_of_time(left, self.load.duration);
                show("measuring ", &bar, &format!(" {rate} requests/s"));
            }
            Phase::Draining | Phase::Done => show("waiting for the last answers", "", ""),
        }
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
    fn time_left_follows_from_the_turns_so_far() {
        let second = Duration::from_secs(1);
        let mut whole = Whole::new(100, second);
        assert!(whole.show(Duration::ZERO).ends_with(" 1:40 left · "));
        (0..50).for_each(|_| whole.end_turn(2 * second));
        let text = whole.show(second);
        assert!(text.contains(&"=".repeat(15)) && text.ends_with(" 1:39 left · "), "{text}");
        // However long a turn takes, it is one.
        assert!(whole.show(100 * second).ends_with(" 1:38 left · "));
    }

    #[test]
    fn bar_is_as_long_as_its_share() {
        for (done, all, filled) in [(0, 10, 0), (5, 10, 15), (10, 10, 30), (11, 10, 30), (0, 0, 30)] {
            let bar = bar(done, all);
            assert_eq!((bar.matches('=').count(), bar.len()), (filled, BAR_WIDTH + 2), "{done} of {all}");
        }
    }
}
