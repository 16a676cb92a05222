//! The result for programs, as JSON (RFC 8259). A figure that is unknown is null.

use serde_json::{Map, Value, json};

use super::comparison::compare;
use super::options::Load;
use super::result::{QUANTILES, Side, micros};
use super::rig::Measurement;

/// The result for one server.
pub(super) fn single(side: &Side, load: &Load) -> String {
    let round = side.rounds.first().map(|round| measurement(side, round, load));
    format!("{}\n", json!(round))
}

/// The result for two servers that were compared.
pub(super) fn both(first: &Side, second: &Side, load: &Load) -> String {
    let side =
        |side: &Side| -> Value { side.rounds.iter().map(|round| measurement(side, round, load)).collect() };
    let mut compared = Map::new();
    for figure in compare(first, second) {
        let ([one, other], [least, most]) = (figure.medians.map(rounded), figure.spread.map(rounded));
        let ratio = figure.ratio.map(rounded);
        let figures = json!({ "first": one, "second": other, "ratio": ratio, "least": least, "most": most });
        compared.insert(figure.key.to_string(), figures);
    }
    let all = json!({
        "first": side(first),
        "second": side(second),
        "compared": compared,
        "gone": { "first": first.is_gone, "second": second.is_gone },
    });
    format!("{all}\n")
}

fn measurement(side: &Side, round: &Measurement, load: &Load) -> Value {
    let tally = &round.tally;
    let mut latencies: Map<String, Value> = QUANTILES
        .iter()
        .map(|(share, _, key)| (key.to_string(), rounded(round.quantile_micros(*share))))
        .collect();
    latencies.insert("max".to_string(), rounded(micros(tally.latency.longest())));
    let errors: Map<String, Value> =
        tally.errors.named().into_iter().map(|(name, count)| (name.to_string(), json!(count))).collect();
    json!({
        "url": side.target.to_string(),
        "load": asked(load),
        "seconds": rounded(round.time.as_secs_f64()),
        "requests_per_second": rounded(round.requests_per_second()),
        "answered": tally.answered,
        "unsent": tally.unsent,
        "latency_us": latencies,
        "received_bytes": tally.received,
        "errors": errors,
        "held": {
            "active": round.active_held,
            "idle": round.idle_held,
            "slow_readers": round.slow_held,
            "drip": round.drip_held,
        },
        "in_all": {
            "sent": tally.sent_in_all,
            "answered": tally.answered_in_all,
            "answered_slowly": tally.answered_slowly,
        },
        "server": server(side, round, load),
        "own_busy_share": rounded(round.own_busy),
        "gone": round.gone.is_some(),
        "notes": tally.notes,
    })
}

pub(super) fn asked(load: &Load) -> Value {
    json!({
        "connections": load.connections,
        "idle": load.idle,
        "slow_readers": load.slow_readers,
        "drip": load.drip,
        "rate": load.rate.map(rounded),
        "pipeline": load.pipeline,
        "close": load.closes,
        "seconds": rounded(load.duration.as_secs_f64()),
        "warm_up_seconds": rounded(load.warm_up.as_secs_f64()),
        "timeout_seconds": rounded(load.timeout.as_secs_f64()),
    })
}

fn server(side: &Side, round: &Measurement, load: &Load) -> Value {
    let process = match &side.process {
        Ok(process) => process,
        Err(reason) => return json!({ "unknown": reason }),
    };
    let resident = |index: usize| round.resident().map(|all| all[index]);
    json!({
        "pids": process.pids(),
        "cpu_us_per_request": round.cpu_micros_per_request().map(rounded),
        "cpu_share": round.server_share().map(rounded),
        "resident_before": resident(0),
        "resident_with_idle": resident(1),
        "resident_at_end": resident(2),
        "bytes_per_idle_connection": round.bytes_per_idle(load).map(rounded),
    })
}

/// Rounds to the thousandth, since nothing finer was measured. A value that is not a number becomes null.
pub(super) fn rounded(number: f64) -> Value {
    json!((number * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_or_null() {
        for (value, expected) in
            [(1.23456, json!(1.235)), (f64::NAN, Value::Null), (f64::INFINITY, Value::Null)]
        {
            assert_eq!(rounded(value), expected);
        }
    }
}
