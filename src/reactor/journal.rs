//! Passes the reports of the pure layers on to the log and the access log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::clock::Clock;
use super::meter::Meter;
use crate::conversation::{AccessLog, ExchangeRecord, Figures, Journal, RequestLine, Wanted};
use crate::gateway::{GatewayError, Peer};
use crate::now::Now;

/// The journal of one event loop.
pub(super) struct LoopJournal {
    access_log: Option<Box<dyn AccessLog + Send>>,
    /// The counters; none if nobody observes the loop.
    meter: Option<Arc<Meter>>,
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
        let wanted = access_log.as_ref().map_or(Wanted::counts(), |log| log.wanted());
        LoopJournal { access_log, meter: None, wanted, is_told_of_proxy_headers: false, unflushed: 0, clock }
    }

    /// Counts exchanges from now on, besides logging them.
    pub fn observe(&mut self, meter: Arc<Meter>) {
        self.meter = Some(meter);
    }

    /// Flushes the access log at the end of a turn of the loop, if there is anything to flush.
    pub fn flush(&mut self) -> bool {
        let has_records = self.unflushed > 0;
        if has_records {
            self.unflushed = 0;
            self.write(|log| log.flush());
        }
        has_records
    }

    /// Logs an exchange that has ended just now, if there is an access log.
    #[inline(never)]
    fn log(&mut self, record: &ExchangeRecord<'_>) {
        if self.access_log.is_none() {
            return;
        }
        // The time of the turn is from before the application was called, which may have taken long.
        let record = ExchangeRecord { ended: self.clock.read(), ..*record };
        self.unflushed += 1;
        self.write(|log| log.record(&record));
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
        (self.access_log.is_some() || self.meter.is_some()).then_some(&self.wanted)
    }

    fn exchange(&mut self, record: &ExchangeRecord<'_>) {
        if let Some(meter) = &self.meter {
            let ExchangeRecord { status, content_bytes, begun, outcome, .. } = *record;
            meter.note_exchange(Figures { status, content_bytes, begun, outcome });
        }
        self.log(record);
    }

    fn figures(&mut self, figures: Figures, peer: &Peer, now: Now) {
        if let Some(meter) = &self.meter {
            meter.note_exchange(figures);
        }
        if self.access_log.is_some() {
            self.log(&figures.record(peer, now));
        }
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
