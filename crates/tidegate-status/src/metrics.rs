//! Renders counters and snapshots for monitoring.
//!
//! In OpenMetrics 1.0 for whoever asks for it, as Prometheus does, and in the text format that is older (0.0.4) for all
//! others. They differ in the names of counters, and in what they say of units and of the end.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::time::Duration;

use tidegate::conversation::{Shutdown, StageName};
use tidegate::server::{BUCKETS, Counters, Histogram, OurSideState, Snapshot, Step};

use crate::facts::Facts;

/// The format that metrics are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Text,
}

impl Format {
    /// Chooses by the field Accept of a request.
    pub fn of(accept: Option<&[u8]>) -> Format {
        let accept = accept.unwrap_or_default().to_ascii_lowercase();
        let name = b"application/openmetrics-text";
        match accept.windows(name.len()).any(|window| window == name) {
            true => Format::OpenMetrics,
            false => Format::Text,
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The type of a family of metrics.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// The exposition that is being written.
struct Exposition {
    format: Format,
    out: String,
    family: &'static str,
    kind: Type,
}

impl Exposition {
    /// Begins a family. A unit is the end of its name.
    fn family(&mut self, kind: Type, name: &'static str, unit: &'static str, help: &str) -> &mut Self {
        (self.family, self.kind) = (name, kind);
        let (shown, kind) = match (self.format, kind) {
            (Format::OpenMetrics, Type::Counter) => (name.to_string(), "counter"),
            (Format::OpenMetrics, Type::Info) => (name.to_string(), "info"),
            (Format::Text, Type::Counter) => (format!("{name}_total"), "counter"),
            (Format::Text, Type::Info) => (format!("{name}_info"), "gauge"),
            (_, Type::Gauge) => (name.to_string(), "gauge"),
            (_, Type::Histogram) => (name.to_string(), "histogram"),
        };
        // A string takes everything.
        let _ = writeln!(self.out, "# TYPE {shown} {kind}");
        if self.format == Format::OpenMetrics && !unit.is_empty() {
            let _ = writeln!(self.out, "# UNIT {shown} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {shown} {help}");
        self
    }

    /// Adds a sample of the family.
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let suffix = match self.kind {
            Type::Counter => "_total",
            Type::Info => "_info",
            Type::Gauge | Type::Histogram => "",
        };
        self.line(suffix, labels, value);
        self
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.out.push_str(self.family);
        self.out.push_str(suffix);
        if !labels.is_empty() {
            self.out.push('{');
            for (index, (name, value)) in labels.iter().enumerate() {
                let separator = if index > 0 { "," } else { "" };
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = write!(self.out, "{separator}{name}=\"{value}\"");
            }
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn histogram(&mut self, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut count = 0;
        let bounds = BUCKETS.iter().map(|bound| bound.as_secs_f64().to_string());
        for (in_bucket, bound) in histogram.counts.iter().zip(bounds.chain(["+Inf".to_string()])) {
            count += in_bucket;
            // Some readers of OpenMetrics want a point in each bound.
            let bound = if bound.contains(['.', 'I']) { bound } else { format!("{bound}.0") };
            self.line("_bucket", &[labels, &[("le", &bound)]].concat(), count);
        }
        self.line("_sum", labels, histogram.sum.as_secs_f64());
        self.line("_count", labels, count);
    }
}

/// Renders all metrics. Of loops that have not answered there are the counters only.
pub(crate) fn metrics(
    format: Format,
    facts: &Facts,
    counters: &[Counters],
    snapshots: &[Arc<Snapshot>],
) -> String {
    let mut out = Exposition { format, out: String::new(), family: "", kind: Type::Gauge };
    out.family(Type::Info, "tidegate_build", "", "The version of the server.");
    out.sample(&[("version", facts.version())], 1);
    let start = "tidegate_start_time_seconds";
    out.family(Type::Gauge, start, "seconds", "The time of the start, since 1970.");
    out.sample(&[], facts.unix_started().as_secs_f64());
    let numbers: Vec<String> = (0..counters.len()).map(|number| number.to_string()).collect();
    let loops: Vec<(&str, &Counters)> = numbers.iter().map(String::as_str).zip(counters).collect();
    write_loops(&mut out, &loops);
    write_exchanges(&mut out, &loops);
    let snapshots: Vec<(&str, &Snapshot)> =
        snapshots.iter().map(|snapshot| (numbers[snapshot.reactor].as_str(), &**snapshot)).collect();
    write_pools(&mut out, facts);
    if !snapshots.is_empty() {
        write_connections(&mut out, &snapshots);
        write_means(&mut out, &snapshots);
    }
    if format == Format::OpenMetrics {
        out.out.push_str("# EOF\n");
    }
    out.out
}

/// Adds a sample for each loop.
fn each<T>(out: &mut Exposition, loops: &[(&str, &T)], value: impl Fn(&T) -> u64) {
    for (number, of_loop) in loops {
        out.sample(&[("reactor", number)], value(of_loop));
    }
}

fn write_loops(out: &mut Exposition, loops: &[(&str, &Counters)]) {
    out.family(Type::Counter, "tidegate_loop_turns", "", "Turns of the event loop.");
    each(out, loops, |counters| counters.turns);
    out.family(Type::Counter, "tidegate_loop_events", "", "Events that the system has reported to the loop.");
    each(out, loops, |counters| counters.events);
    let help = "Time that turns of the loop were spent on, by the function; wait is idleness, and watch_memory has what it \
                takes to describe connections for this status, too.";
    out.family(Type::Counter, "tidegate_loop_step_seconds", "seconds", help);
    for (number, counters) in loops {
        for (step, time) in Step::ALL.iter().zip(counters.steps) {
            out.sample(&[("reactor", number), ("step", step.name())], time.as_secs_f64());
        }
    }
    let help = "How long turns of the loop took, without the wait before them.";
    out.family(Type::Histogram, "tidegate_loop_turn_seconds", "seconds", help);
    for (number, counters) in loops {
        out.histogram(&[("reactor", number)], &counters.turn_times);
    }
    let help = "For how long the turn under way has lasted; 0 while the loop waits.";
    out.family(Type::Gauge, "tidegate_loop_turn_age_seconds", "seconds", help);
    for (number, counters) in loops {
        let age = counters.turn_begun.map_or(Duration::ZERO, |begun| counters.read.since(begun));
        out.sample(&[("reactor", number)], age.as_secs_f64());
    }
    out.family(Type::Counter, "tidegate_connections_accepted", "", "Connections that were accepted.");
    each(out, loops, |counters| counters.accepted);
}

/// Adds the pools of threads, if there are any.
fn write_pools(out: &mut Exposition, facts: &Facts) {
    let states: Vec<_> = facts.pools.iter().map(|pool| (pool.name, pool.state())).collect();
    if states.is_empty() {
        return;
    }
    out.family(Type::Gauge, "tidegate_pool_threads", "", "Threads of a pool.");
    for (name, state) in &states {
        out.sample(&[("pool", name)], state.threads);
    }
    out.family(Type::Gauge, "tidegate_pool_threads_busy", "", "Threads of a pool that are at work.");
    for (name, state) in &states {
        out.sample(&[("pool", name)], state.busy);
    }
    out.family(Type::Gauge, "tidegate_pool_waiting", "", "Jobs that wait for a thread of a pool.");
    for (name, state) in &states {
        out.sample(&[("pool", name)], state.waiting);
    }
}

fn write_exchanges(out: &mut Exposition, loops: &[(&str, &Counters)]) {
    let help = "Exchanges that have ended, by the status of the answer; none means without one.";
    out.family(Type::Counter, "tidegate_exchanges", "", help);
    for (number, counters) in loops {
        for (class, count) in ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(counters.exchanges) {
            out.sample(&[("reactor", number), ("status", class)], count);
        }
    }
    let help = "Exchanges whose answer was cut, by a failure, a deadline, or a client that left.";
    out.family(Type::Counter, "tidegate_exchanges_aborted", "", help);
    each(out, loops, |counters| counters.aborted);
    let help = "Content of answers, without heads and framing.";
    out.family(Type::Counter, "tidegate_response_content_bytes", "bytes", help);
    each(out, loops, |counters| counters.content_bytes);
    let help = "How long exchanges took, from the complete request to the end of the answer. Those that one turn of the loop \
                answers in less than 250 microseconds each share its time out evenly.";
    out.family(Type::Histogram, "tidegate_exchange_seconds", "seconds", help);
    for (number, counters) in loops {
        out.histogram(&[("reactor", number)], &counters.exchange_times);
    }
}

fn write_connections(out: &mut Exposition, snapshots: &[(&str, &Snapshot)]) {
    out.family(Type::Gauge, "tidegate_connections", "", "Open connections, by the stage that they are in.");
    for (number, snapshot) in snapshots {
        for stage in StageName::ALL {
            let is_here = |one: &&tidegate::server::ConnectionSnapshot| one.state.stage == stage;
            let count = snapshot.connections.iter().filter(is_here).count();
            out.sample(&[("reactor", number), ("stage", stage.path())], count);
        }
    }
    out.family(Type::Gauge, "tidegate_connections_max", "", "Most connections at a time.");
    each(out, snapshots, |snapshot| snapshot.connections_max as u64);
    let help = "Connections whose client has not taken all of its answer yet.";
    out.family(Type::Gauge, "tidegate_connections_owing", "", help);
    each(out, snapshots, |snapshot| {
        let owing = snapshot.connections.iter().filter(|one| one.our_side == OurSideState::Backlog);
        owing.count() as u64
    });
    out.family(Type::Gauge, "tidegate_owed_bytes", "bytes", "Bytes that clients have not taken yet.");
    each(out, snapshots, |snapshot| snapshot.connections.iter().map(|one| one.owed_bytes as u64).sum());
    let help = "Connections that wait for a turn which no event will bring, by the list that they stand in.";
    out.family(Type::Gauge, "tidegate_loop_listed", "", help);
    for (number, snapshot) in snapshots {
        let queues = snapshot.queues;
        for (list, length) in [
            ("Ready", queues.ready),
            ("Starved", queues.starved),
            ("woken", queues.woken),
            ("Corked", queues.corked),
        ] {
            out.sample(&[("reactor", number), ("list", list)], length);
        }
    }
    out.family(Type::Gauge, "tidegate_timers", "", "Timers that are set.");
    each(out, snapshots, |snapshot| snapshot.queues.timers as u64);
}

fn write_means(out: &mut Exposition, snapshots: &[(&str, &Snapshot)]) {
    let help =
        "Memory that is held for connections, and by requests that applications took to other threads.";
    out.family(Type::Gauge, "tidegate_memory_bytes", "bytes", help);
    for (number, snapshot) in snapshots {
        for (holder, bytes) in
            [("connections", snapshot.memory.connections), ("detached", snapshot.memory.detached)]
        {
            out.sample(&[("reactor", number), ("holder", holder)], bytes);
        }
    }
    out.family(Type::Gauge, "tidegate_memory_max_bytes", "bytes", "The limit of that memory.");
    each(out, snapshots, |snapshot| snapshot.memory.max as u64);
    out.family(Type::Gauge, "tidegate_gateway_ready", "", "Whether the application takes another request.");
    each(out, snapshots, |snapshot| u64::from(snapshot.is_gateway_ready));
    out.family(Type::Gauge, "tidegate_draining", "", "Whether the server is about to end.");
    each(out, snapshots, |snapshot| u64::from(snapshot.shutdown != Shutdown::No));
    let queues = || {
        snapshots.iter().flat_map(|(number, snapshot)| {
            let listeners = snapshot.listeners.iter();
            listeners.filter_map(move |one| Some((*number, one.address.as_str(), one.queue?)))
        })
    };
    out.family(Type::Gauge, "tidegate_accept_queue", "", "Connections that wait to be accepted.");
    for (number, address, (waiting, _)) in queues() {
        out.sample(&[("reactor", number), ("listener", address)], waiting);
    }
    out.family(Type::Gauge, "tidegate_accept_queue_max", "", "Most connections that the system lets wait.");
    for (number, address, (_, max)) in queues() {
        out.sample(&[("reactor", number), ("listener", address)], max);
    }
}
