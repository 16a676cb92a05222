//! Where the reports of the pure layers end: in the log and in the access log.

use crate::conversation::{AccessLog, ExchangeRecord, Journal, RequestLine};
use crate::gateway::GatewayError;

/// The journal of one event loop.
#[derive(Default)]
pub(super) struct LoopJournal {
    access_log: Option<Box<dyn AccessLog + Send>>,
    /// Records that the access log has not flushed.
    unflushed: usize,
}

impl LoopJournal {
    pub fn new(access_log: Option<Box<dyn AccessLog + Send>>) -> LoopJournal {
        LoopJournal { access_log, unflushed: 0 }
    }

    /// The turn of the loop is over.
    pub fn flush(&mut self) {
        if self.unflushed > 0
            && let Some(log) = &mut self.access_log
        {
            log.flush();
            self.unflushed = 0;
        }
    }
}

impl Journal for LoopJournal {
    fn wants_exchanges(&self) -> bool {
        self.access_log.is_some()
    }

    fn exchange(&mut self, record: &ExchangeRecord<'_>) {
        if let Some(log) = &mut self.access_log {
            log.record(record);
            self.unflushed += 1;
        }
    }

    fn failure(&mut self, request: Option<RequestLine<'_>>, error: &GatewayError) {
        match request {
            // Escaped: a target can hold what a terminal would obey.
            Some(line) => log::error!("{} {}: {error}", line.method, line.target.escape_debug()),
            None => log::error!("{error}"),
        }
    }
}
