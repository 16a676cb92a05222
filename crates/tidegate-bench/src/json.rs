//! The result as programs read it (RFC 8259). What is not known is null.

use std::fmt;

use super::comparison::compare;
use super::options::Load;
use super::result::{QUANTILES, Side, micros};
use super::rig::Measurement;

/// One server.
pub(super) fn single(side: &Side, load: &Load) -> String {
    let round =
        side.rounds.first().map_or_else(|| "null".to_string(), |round| measurement(side, round, load));
    format!("{round}\n")
}

/// Two servers.
pub(super) fn both(first: &Side, second: &Side, load: &Load) -> String {
    let side = |side: &Side| list(side.rounds.iter().map(|round| measurement(side, round, load)));
    let mut medians = Object::new();
    for compared in compare(first, second) {
        let ([one, other], [least, most]) = (compared.medians, compared.spread);
        let mut figures = Object::new();
        figures.number("first", one).number("second", other).optional("ratio", compared.ratio);
        medians.put(compared.key, &figures.number("least", least).number("most", most));
    }
    let mut all = Object::new();
    all.put("first", &side(first)).put("second", &side(second)).put("compared", &medians);
    let mut gone = Object::new();
    gone.put("first", &first.is_gone).put("second", &second.is_gone);
    all.put("gone", &gone);
    format!("{all}\n")
}

fn measurement(side: &Side, round: &Measurement, load: &Load) -> String {
    let tally = &round.tally;
    let mut latencies = Object::new();
    for (share, _, key) in QUANTILES {
        latencies.number(key, round.quantile_micros(share));
    }
    latencies.number("max", micros(tally.latency.longest()));
    let mut errors = Object::new();
    for (name, count) in tally.errors.named() {
        errors.put(name, &count);
    }
    let mut held = Object::new();
    held.put("active", &round.active_held).put("idle", &round.idle_held);
    held.put("slow_readers", &round.slow_held).put("drip", &round.drip_held);
    let mut in_all = Object::new();
    in_all.put("sent", &tally.sent_in_all).put("answered", &tally.answered_in_all);
    in_all.put("answered_slowly", &tally.answered_slowly);
    let mut all = Object::new();
    all.put("url", &quoted(&side.target.to_string())).put("load", &asked(load));
    all.number("seconds", round.time.as_secs_f64());
    all.number("requests_per_second", round.requests_per_second());
    all.put("answered", &tally.answered).put("unsent", &tally.unsent).put("latency_us", &latencies);
    all.put("received_bytes", &tally.received).put("errors", &errors).put("held", &held);
    all.put("in_all", &in_all).put("server", &server(side, round, load));
    all.number("own_busy_share", round.own_busy).put("gone", &round.gone.is_some());
    all.put("notes", &list(tally.notes.iter().map(|note| quoted(note))));
    all.to_string()
}

fn asked(load: &Load) -> Object {
    let mut asked = Object::new();
    asked.put("connections", &load.connections).put("idle", &load.idle);
    asked.put("slow_readers", &load.slow_readers).put("drip", &load.drip);
    asked.optional("rate", load.rate).put("pipeline", &load.pipeline).put("close", &load.closes);
    asked.number("seconds", load.duration.as_secs_f64());
    asked.number("warm_up_seconds", load.warm_up.as_secs_f64());
    asked.number("timeout_seconds", load.timeout.as_secs_f64());
    asked
}

fn server(side: &Side, round: &Measurement, load: &Load) -> Object {
    let mut server = Object::new();
    let process = match &side.process {
        Ok(process) => process,
        Err(reason) => {
            server.put("unknown", &quoted(reason));
            return server;
        }
    };
    server.put("pids", &list(process.pids().iter().map(ToString::to_string)));
    server.optional("cpu_us_per_request", round.cpu_micros_per_request());
    server.optional("cpu_share", round.server_share());
    let names = ["resident_before", "resident_with_idle", "resident_at_end"];
    for (index, name) in names.into_iter().enumerate() {
        server.optional(name, round.resident().map(|all| all[index] as f64));
    }
    server.optional("bytes_per_idle_connection", round.bytes_per_idle(load));
    server
}

/// An object, as far as it is written. Members go into it one by one: an array of all of them, each
/// with a text of its own, would be three times as much code.
struct Object(String);

impl Object {
    fn new() -> Object {
        Object(String::new())
    }

    /// One more member, whose value is shown as JSON.
    fn put(&mut self, name: &str, value: &dyn fmt::Display) -> &mut Object {
        let separator = if self.0.is_empty() { "" } else { "," };
        self.0 += &format!("{separator}{}:{value}", quoted(name));
        self
    }

    fn number(&mut self, name: &str, value: f64) -> &mut Object {
        self.put(name, &number(value))
    }

    fn optional(&mut self, name: &str, value: Option<f64>) -> &mut Object {
        // What is no number is null.
        self.number(name, value.unwrap_or(f64::NAN))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.0)
    }
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", Vec::from_iter(values).join(","))
}

/// To the thousandth: what is finer was not measured.
fn number(number: f64) -> String {
    if number.is_finite() { format!("{}", (number * 1e3).round() / 1e3) } else { "null".to_string() }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted += &format!("\\u{:04x}", u32::from(character)),
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_and_read_as_it_was() {
        for text in ["plain", "\"\\\n\u{7f}\u{85}é"] {
            assert_eq!(serde_json::from_str::<String>(&quoted(text)).unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_numbers_or_null() {
        for (value, expected) in [(1.23456, "1.235"), (2.0, "2"), (f64::NAN, "null"), (f64::INFINITY, "null")]
        {
            assert_eq!(number(value), expected);
        }
    }
}
