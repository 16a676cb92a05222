//! Renders what is known of a server: as a frame of the live view, and as a list of connections.

use std::time::Duration;

use tidegate::conversation::Shutdown;
use tidegate::now::Moment;
use tidegate::server::{ConnectionSnapshot, Counters, ListenerSnapshot, Snapshot, Step};

use crate::facts::Facts;
use crate::json::{Object, display, list, text};
use crate::words::{letter, otherwise, wish};

/// Most connections that a frame describes one by one; of more it has the marks only. 64: as many as a person looks at.
const DESCRIBED_MAX: usize = 64;
/// The mark of a place without a connection.
const NOBODY: u8 = b'.';

/// The seconds from one moment to a later one, with milliseconds.
fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

/// The name of a state of the server.
pub(crate) fn shutdown_name(shutdown: Shutdown) -> &'static str {
    match shutdown {
        Shutdown::No => "serving",
        Shutdown::Draining => "draining",
        Shutdown::HandingOver(_) => "handing over",
    }
}

/// Renders the facts, with which a live view begins.
pub(crate) fn hello(facts: &Facts) -> String {
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object.text("version", facts.version()).text("serves", &facts.serves);
    object.list("addresses", &facts.addresses, |out, address| text(out, address));
    object.list("steps", Step::ALL, |out, step| text(out, step.name()));
    object.list("legend", crate::words::legend(), |out, (letter, name, meaning)| {
        let mut object = Object::begin(out);
        object.text("letter", &letter.to_string()).text("name", name).text("meaning", meaning);
        object.end();
    });
    object.end();
    out
}

/// Renders a frame of the live view. Of a loop that has not answered, only the counters are known.
pub(crate) fn frame(facts: &Facts, counters: &[Counters], snapshots: &[std::sync::Arc<Snapshot>]) -> String {
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    object.number("uptime", seconds(facts.uptime()));
    object.list("loops", counters.iter().enumerate(), |out, (number, counters)| {
        let snapshot = snapshots.iter().find(|snapshot| snapshot.reactor == number);
        let mut object = Object::begin(out);
        object.number("reactor", number);
        write_counters(&mut object, counters);
        if let Some(snapshot) = snapshot {
            write_snapshot(&mut object, snapshot);
        }
        object.end();
    });
    object.list("pools", &facts.pools, |out, pool| {
        let state = pool.state();
        let mut object = Object::begin(out);
        object.text("name", pool.name).number("threads", state.threads);
        object.number("busy", state.busy).number("waiting", state.waiting);
        object.end();
    });
    object.end();
    out
}

fn write_counters(object: &mut Object<'_>, counters: &Counters) {
    object.number("turns", counters.turns).number("events", counters.events);
    object.number("accepted", counters.accepted).number("aborted", counters.aborted);
    object.list("exchanges", counters.exchanges, display);
    object.list("steps", counters.steps, |out, time| display(out, time.as_nanos()));
    object.number("read", counters.read.since(Moment::START).as_nanos());
    object.list("times", counters.exchange_times.counts, display);
    object.list("turn_times", counters.turn_times.counts, display);
    let lasts = counters.turn_begun.map(|begun| seconds(counters.read.since(begun)));
    object.optional("turn_lasts", lasts);
}

fn write_snapshot(object: &mut Object<'_>, snapshot: &Snapshot) {
    object.text("state", shutdown_name(snapshot.shutdown));
    let left = snapshot.drain_until.map(|until| seconds(until.since(snapshot.taken)));
    object.optional("drain_left", left).number("gateway_ready", snapshot.is_gateway_ready);
    object
        .number("connections", snapshot.connections.len())
        .number("connections_max", snapshot.connections_max);
    let memory = snapshot.memory;
    object.number("memory", memory.connections + memory.detached).number("memory_max", memory.max);
    object.number("detached", memory.detached).number("memory_scarce", memory.is_scarce);
    let queues = snapshot.queues;
    object.number("ready", queues.ready).number("starved", queues.starved).number("woken", queues.woken);
    object.number("corked", queues.corked).number("timers", queues.timers);
    object.number("events_max", snapshot.budget.events).number("accepts_max", snapshot.budget.accepts);
    let owed: usize = snapshot.connections.iter().map(|connection| connection.owed_bytes).sum();
    object.number("owed", owed);
    object.list("listeners", &snapshot.listeners, write_listener);
    object.text("marks", &marks(snapshot));
    if snapshot.connections.len() <= DESCRIBED_MAX {
        object.list("described", &snapshot.connections, |out, connection| {
            describe(out, snapshot, connection);
        });
    }
}

fn write_listener(out: &mut String, listener: &ListenerSnapshot) {
    let mut object = Object::begin(out);
    object.text("address", &listener.address).text("accepting", listener.accepting);
    object.optional("queue", listener.queue.map(|(waiting, _)| waiting));
    object.optional("queue_max", listener.queue.map(|(_, max)| max));
    object.end();
}

/// Returns one letter for each place.
fn marks(snapshot: &Snapshot) -> String {
    let places = snapshot.connections.last().map_or(0, |last| last.place + 1);
    let mut marks = vec![NOBODY; places];
    for connection in &snapshot.connections {
        marks[connection.place] = letter(connection) as u8;
    }
    String::from_utf8(marks).unwrap_or_default()
}

/// Renders a list of connections: all, those of one loop, or the one at a place. The loops that are missing from it, since
/// they have not answered, are named.
pub(crate) fn connections(
    snapshots: &[std::sync::Arc<Snapshot>],
    silent: &[usize],
    reactor: Option<usize>,
    place: Option<usize>,
) -> String {
    let mut out = String::new();
    let mut object = Object::begin(&mut out);
    let asked = snapshots.iter().filter(|snapshot| reactor.is_none_or(|number| snapshot.reactor == number));
    let all = asked.flat_map(|snapshot| snapshot.connections.iter().map(move |one| (snapshot, one)));
    let found = all.filter(|(_, connection)| place.is_none_or(|place| connection.place == place));
    list(object.value("connections"), found, |out, (snapshot, connection)| {
        describe(out, snapshot, connection);
    });
    if !silent.is_empty() {
        object.list("silent_reactors", silent, display);
    }
    object.end();
    out.push('\n');
    out
}

/// Renders one connection.
fn describe(out: &mut String, snapshot: &Snapshot, connection: &ConnectionSnapshot) {
    let mut object = Object::begin(out);
    object.number("number", connection.number);
    object.number("reactor", snapshot.reactor).number("place", connection.place);
    match connection.peer {
        Some(peer) => object.text("peer", &peer.to_string()),
        None => object.text("peer", "unix"),
    };
    object.number("listener", connection.listener);
    object.text("stage", connection.state.stage.path());
    object.text("request", connection.state.request.name());
    object.text("response", connection.state.response.name());
    object.text("output", &format!("{:?}", connection.our_side));
    object.text("wants", &format!("{:?}", connection.wants));
    object.text("waits_for", wish(connection));
    object.optional("seconds_left", connection.deadline.map(|until| seconds(until.since(snapshot.taken))));
    object.text("otherwise", if connection.deadline.is_some() { otherwise(connection) } else { "" });
    object.number("owed_bytes", connection.owed_bytes).number("memory_bytes", connection.memory_bytes);
    object.text("interest", &format!("{:?}", connection.interest));
    object.list("readiness", connection.readiness.iter(), text);
    object.list("lists", connection.lists.iter(), text);
    object.end();
}
