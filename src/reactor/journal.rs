//! Passes the reports of the pure layers on to the log and the access log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::clock::Clock;
use super::meter::Meter;
use crate::conversation::{AccessLog, ExchangeRecord, Journal, RequestLine, Wanted};
use crate::gateway::GatewayError;

/// The journal of one event loop.
pub(super) struct LoopJournal {
    access_log: Option<Box<dyn AccessLog + Send>>,
    /// The parts of an exchange that the access log has asked for.
    wanted: Wanted,
    /// Whether the operator was told of a PROXY header. Once is enough: where one comes, all do.
    is_told_of_proxy_headers: bool,
    /// The number of records that the access log has not flushed.
    unflushed: usize,
    clock: Clock,
}

impl LoopJournal {
    pub fn new(access_log: Option<Box<dyn AccessLog + Send>>, clock: Clock) -> LoopJournal {
        let wanted = access_log.as_ref().map_or(Wanted::nothing(), |log| log.wanted());
        LoopJournal { access_log, wanted, is_told_of_proxy_headers: false, unflushed: 0, clock }
    }

    /// Counts exchanges from now on, besides logging them.
    pub fn observe(&mut self, meter: Arc<Meter>) {
        let metered = MeteredLog { meter, log: self.access_log.take() };
        self.wanted = metered.wanted();
        self.access_log = Some(Box::new(metered));
    }

    /// Flushes the access log at the end of a turn of the loop.
    pub fn flush(&mut self) {
        if self.unflushed > 0 {
            self.unflushed = 0;
            self.write(|log| log.flush());
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut (dyn AccessLog + Send))) {
        write_guarded(&mut self.access_log, write);
    }
}

/// Writes to an access log, if there is one. A panic in it ends the log, and nothing else.
fn write_guarded(
    access_log: &mut Option<Box<dyn AccessLog + Send>>,
    write: impl FnOnce(&mut (dyn AccessLog + Send)),
) {
    let Some(log) = access_log else {
        return;
    };
    if catch_unwind(AssertUnwindSafe(|| write(&mut **log))).is_err() {
        log::error!("the access log has panicked: it ends here");
        let broken = access_log.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
    }
}

impl Journal for LoopJournal {
    fn wanted(&self) -> Option<&Wanted> {
        self.access_log.as_ref().map(|_| &self.wanted)
    }

    fn exchange(&mut self, record: &ExchangeRecord<'_>) {
        self.unflushed += 1;
        // The time of the turn is from before the application was called, which may have taken long.
        let record = ExchangeRecord { ended: self.clock.read(), ..*record };
        self.write(|log| log.record(&record));
    }

    fn failure(&mut self, request: Option<RequestLine<'_>>, error: &GatewayError) {
        match request {
            // Escaped: a target can hold what a terminal would obey.
            Some(line) => log::error!("{} {}: {error}", line.method, line.target.escape_debug()),
            None => log::error!("{error}"),
        }
    }

    fn proxy_header(&mut self) {
        if !std::mem::replace(&mut self.is_told_of_proxy_headers, true) {
            log::warn!(
                "a client was refused that began with a PROXY header, which this server does not expect: turn it \
                 off in the proxy (send-proxy, proxy_protocol), which can say X-Forwarded-For instead"
            );
        }
    }
}

/// An access log that counts exchanges, and passes them on to another, if there is one.
struct MeteredLog {
    meter: Arc<Meter>,
    log: Option<Box<dyn AccessLog + Send>>,
}

impl AccessLog for MeteredLog {
    fn wanted(&self) -> Wanted {
        self.log.as_ref().map_or(Wanted::nothing(), |log| log.wanted())
    }

    fn record(&mut self, record: &ExchangeRecord<'_>) {
        self.meter.note_exchange(record);
        // A panic in the other log ends that one, and not the counting.
        write_guarded(&mut self.log, |log| log.record(record));
    }

    fn flush(&mut self) {
        write_guarded(&mut self.log, |log| log.flush());
    }
}
