//! The result as programs read it (RFC 8259). What is not known is null.

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
    let side = |side: &Side| {
        let rounds: Vec<_> = side.rounds.iter().map(|round| measurement(side, round, load)).collect();
        format!("[{}]", rounds.join(","))
    };
    let compared = compare(first, second).into_iter().map(|compared| {
        let [one, other] = compared.medians.map(number);
        let [least, most] = compared.spread.map(number);
        let ratio = optional(compared.ratio);
        let figures = [("first", one), ("second", other), ("ratio", ratio), ("least", least), ("most", most)];
        (compared.key, object(&figures))
    });
    let medians = object(&compared.collect::<Vec<_>>());
    let all = [("first", side(first)), ("second", side(second)), ("compared", medians)];
    format!("{}\n", object(&all))
}

fn measurement(side: &Side, round: &Measurement, load: &Load) -> String {
    let tally = &round.tally;
    let mut latencies: Vec<_> = QUANTILES
        .iter()
        .map(|(share, _, key)| (*key, number(micros(tally.latency.quantile(*share)))))
        .collect();
    latencies.push(("max", number(micros(tally.latency.longest()))));
    let notes: Vec<_> = tally.notes.iter().map(|note| quoted(note)).collect();
    object(&[
        ("url", quoted(&side.target.to_string())),
        ("load", asked(load)),
        ("seconds", number(round.time.as_secs_f64())),
        ("requests_per_second", number(round.requests_per_second())),
        ("answered", tally.answered.to_string()),
        ("unsent", tally.unsent.to_string()),
        ("latency_us", object(&latencies)),
        ("received_bytes", tally.received.to_string()),
        ("errors", object(&tally.errors.named().map(|(name, count)| (name, count.to_string())))),
        (
            "held",
            object(&[
                ("active", round.active_held.to_string()),
                ("idle", round.idle_held.to_string()),
                ("slow_readers", round.slow_held.to_string()),
                ("drip", round.drip_held.to_string()),
            ]),
        ),
        (
            "in_all",
            object(&[
                ("sent", tally.sent_in_all.to_string()),
                ("answered", tally.answered_in_all.to_string()),
                ("answered_slowly", tally.answered_slowly.to_string()),
            ]),
        ),
        ("server", server(side, round, load)),
        ("own_busy_share", number(round.own_busy)),
        ("notes", format!("[{}]", notes.join(","))),
    ])
}

fn asked(load: &Load) -> String {
    object(&[
        ("connections", load.connections.to_string()),
        ("idle", load.idle.to_string()),
        ("slow_readers", load.slow_readers.to_string()),
        ("drip", load.drip.to_string()),
        ("rate", optional(load.rate)),
        ("pipeline", load.pipeline.to_string()),
        ("close", load.closes.to_string()),
        ("seconds", number(load.duration.as_secs_f64())),
        ("warm_up_seconds", number(load.warm_up.as_secs_f64())),
        ("timeout_seconds", number(load.timeout.as_secs_f64())),
    ])
}

fn server(side: &Side, round: &Measurement, load: &Load) -> String {
    let process = match &side.process {
        Ok(process) => process,
        Err(reason) => return object(&[("unknown", quoted(reason))]),
    };
    let pids: Vec<_> = process.pids().iter().map(ToString::to_string).collect();
    let resident = |index: usize| round.resident().map_or("null".to_string(), |all| all[index].to_string());
    object(&[
        ("pids", format!("[{}]", pids.join(","))),
        ("cpu_us_per_request", optional(round.cpu_micros_per_request())),
        ("cpu_share", optional(round.server_share())),
        ("resident_before", resident(0)),
        ("resident_with_idle", resident(1)),
        ("resident_at_end", resident(2)),
        ("bytes_per_idle_connection", optional(round.bytes_per_idle(load))),
    ])
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!("{{{}}}", members.join(","))
}

fn optional(figure: Option<f64>) -> String {
    figure.map_or_else(|| "null".to_string(), number)
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
