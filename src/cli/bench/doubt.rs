//! Whether the server is still there.
//!
//! Failures are figures, and most servers recover from what has caused them. One that is gone does not,
//! and a measurement of it is none, however good its figures were until then. So the first failure after an
//! answer is the beginning of a doubt, and the next answer its end, whoever gets it. Where a doubt lasts until
//! nothing more is measured, the server is asked again by connections of their own ([`Role::Probe`]), which are
//! in no figure: ten times within a second, or once where nothing comes before the timeout. If all of it is in vain,
//! the server is gone.
//!
//! ```text
//!  answer · failure · answer · failure · failure ─▶ end of what is measured ─▶ probe · probe · … · gone
//!                              └── in doubt since then                           └── answered: there it is
//! ```

use std::time::{Duration, Instant};

use super::client::Role;
use super::rig::{Phase, Rig};

/// Probes that must have failed, one a tick: together a second.
const PROBES: u32 = 10;

/// In what way a server does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A connection cannot be made.
    Refused,
    /// A connection was lost.
    Lost,
    /// Nothing has come within the timeout.
    Late,
    /// What has come is no response.
    Malformed,
}

/// Since the last answer, something has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    since: Instant,
    /// The latest failure.
    failure: Failure,
    /// Probes that have come to nothing.
    failed_probes: u32,
}

impl Doubt {
    /// Whether there is nothing left to try.
    fn is_over(&self) -> bool {
        self.failed_probes >= PROBES
    }
}

/// A server that does not answer any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone {
    /// How long it was measured until then.
    after: Duration,
    failure: Failure,
}

impl Gone {
    /// What has happened, behind the name of the server.
    pub fn describe(&self) -> String {
        let reason = match self.failure {
            Failure::Refused => "no connection can be made",
            Failure::Lost => "connections end without an answer",
            Failure::Late => "nothing comes within the timeout",
            Failure::Malformed => "what comes is no response",
        };
        let after = self.after.as_secs_f64();
        match self.after {
            Duration::ZERO => format!("stopped answering before measuring began: {reason}"),
            _ => format!("stopped answering {after:.2} s after measuring began: {reason}"),
        }
    }
}

impl Rig<'_> {
    /// Something has failed. A server that has never answered is not worth a doubt.
    pub(super) fn suspect(&mut self, role: Role, failure: Failure, now: Instant) {
        if self.tally.answered_in_all == 0 {
            return;
        }
        let doubt = self.doubt.get_or_insert(Doubt { since: now, failure, failed_probes: 0 });
        doubt.failure = failure;
        if role == Role::Probe {
            // Who is not answered in time need not ask again.
            doubt.failed_probes += if failure == Failure::Late { PROBES } else { 1 };
        }
    }

    /// Opens a probe, if there is one to be sent.
    pub(super) fn probe(&mut self) {
        let is_wanted = self.phase == Phase::Draining && self.is_in_doubt();
        let is_probe = |role: Role| role == Role::Probe;
        let is_sent = self.clients.iter().any(|(_, client)| is_probe(client.role));
        if is_wanted && !is_sent && !self.to_open.iter().any(|role| is_probe(*role)) {
            self.to_open.push_front(Role::Probe);
        }
    }

    /// Whether it is still to be found out if the server is there.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubt.is_some_and(|doubt| !doubt.is_over())
    }

    /// Whether the server has turned out to be gone, and since when.
    pub(super) fn gone(&self) -> Option<Gone> {
        let doubt = self.doubt.filter(Doubt::is_over)?;
        Some(Gone { after: self.tally.time(doubt.since), failure: doubt.failure })
    }
}
