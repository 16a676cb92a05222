//! Finds out whether the server is still there.
//!
//! Failures are figures, and most servers recover from what has caused them. One that is gone does not,
//! and a measurement of it is none, however good its figures were until then. So the first failure after an
//! answer is the beginning of a doubt, and the next answer its end, whoever gets it. Where a doubt lasts until
//! nothing more is measured, the server is asked again by connections of their own ([`Role::Probe`]), which are
//! not measured: ten times within a second, or once where nothing comes before the timeout. If all of it is in vain,
//! the server is gone.
//!
//! ```text
//!  answer · failure · answer · failure · failure ─▶ end of what is measured ─▶ probe · probe · … · gone
//!                              └── in doubt since then                           └── answered: there it is
//! ```

use std::time::Instant;

use super::client::Role;
use super::rig::{Phase, Rig};

/// Failed probes after which a server counts as gone. They are sent one a tick, so together they take a
/// second.
const PROBES: u32 = 10;

/// The way in which a server fails to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A connection cannot be made.
    Refused,
    /// The connection was lost.
    Lost,
    /// Nothing came within the timeout.
    Late,
    /// The bytes received are not a response.
    Malformed,
}

/// The state after a failure, until the next answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    since: Instant,
    /// The latest failure.
    failure: Failure,
    /// Whether a probe is under way.
    is_probed: bool,
    /// Probes that have failed so far.
    failed_probes: u32,
}

impl Doubt {
    /// Whether every probe has failed.
    fn is_over(&self) -> bool {
        self.failed_probes >= PROBES
    }
}

impl Rig<'_> {
    /// Notes a failure. A server that has never answered is not worth a doubt.
    #[inline(never)]
    pub(super) fn suspect(&mut self, role: Role, failure: Failure, now: Instant) {
        if self.tally.answered_in_all == 0 {
            return;
        }
        let doubt =
            self.doubt.get_or_insert(Doubt { since: now, failure, is_probed: false, failed_probes: 0 });
        doubt.failure = failure;
        if role == Role::Probe {
            doubt.is_probed = false;
            // Who is not answered in time need not ask again.
            doubt.failed_probes += if failure == Failure::Late { PROBES } else { 1 };
        }
    }

    /// Opens a probe if one is due.
    pub(super) fn probe(&mut self) {
        match &mut self.doubt {
            Some(doubt) if self.phase == Phase::Draining && !doubt.is_probed && !doubt.is_over() => {
                doubt.is_probed = true;
                self.to_open.push_front(Role::Probe);
            }
            Some(_) | None => {}
        }
    }

    /// Whether the server has failed and has not been found gone or alive yet.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some_and(|doubt| !doubt.is_over())
    }

    /// Describes the end of a server that has turned out to be gone, and adds it to the notes.
    pub(super) fn gone(&mut self) -> Option<String> {
        let doubt = self.doubt.filter(Doubt::is_over)?;
        let reason = match doubt.failure {
            Failure::Refused => "no connection can be made",
            Failure::Lost => "connections end without an answer",
            Failure::Late => "nothing comes within the timeout",
            Failure::Malformed => "what comes is no response",
        };
        // None, if it went while it was warmed up.
        let seconds = self.tally.time(doubt.since).as_secs_f64();
        let gone = format!("stopped answering after {seconds:.2} s of measuring: {reason}");
        self.tally.note(gone.clone());
        Some(gone)
    }
}
