//! A measurement on its way from one process of the rig to another, as JSON, and the sum of several.

use std::time::Duration;

use serde_json::{Value, json};

use super::histogram::Histogram;
use super::rig::Measurement;
use super::surroundings::Surroundings;
use super::tally::{Errors, Tally};

/// Writes a measurement. Figures of server and machine are not part of it, except the time of the process itself.
pub(super) fn encode(measurement: &Measurement) -> Value {
    let tally = &measurement.tally;
    let own = measurement.machine.map(|[_, _, start, end]| end.own.saturating_sub(start.own));
    json!({
        "time": nanos(measurement.time),
        "answered_in_time": measurement.answered_in_time,
        "held": [measurement.active_held, measurement.idle_held, measurement.slow_held, measurement.drip_held],
        "own": nanos(own.unwrap_or_default()),
        "own_busy": measurement.own_busy,
        "gone": measurement.gone,
        "latency": tally.latency.pairs(),
        "longest": nanos(tally.latency.longest()),
        "answered": tally.answered,
        "unsent": tally.unsent,
        "errors": tally.errors.named().map(|(_, count)| count),
        "received": tally.received,
        "sent_in_all": tally.sent_in_all,
        "answered_in_all": tally.answered_in_all,
        "answered_slowly": tally.answered_slowly,
        "notes": tally.notes,
    })
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Reads a measurement.
///
/// # Errors
/// Returns the reason that the other process had, if that could not measure.
pub(super) fn decode(text: &str) -> Result<Measurement, String> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    if let Some(reason) = value["failed"].as_str() {
        return Err(reason.to_string());
    }
    read(&value).ok_or_else(|| format!("a process of the rig has said {text:?}"))
}

fn read(value: &Value) -> Option<Measurement> {
    let number = |name: &str| value[name].as_u64();
    let numbers =
        |name: &str| value[name].as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
    let pairs = value["latency"].as_array()?.iter().map(|pair| Some((pair[0].as_u64()?, pair[1].as_u64()?)));
    let mut tally = Tally::new(false);
    tally.latency = Histogram::from_pairs(pairs.collect::<Option<Vec<_>>>()?, number("longest")?);
    tally.answered = number("answered")?;
    tally.unsent = number("unsent")?;
    let [connect, reset, timeout, status, malformed] = numbers("errors")?.try_into().ok()?;
    tally.errors = Errors { connect, reset, timeout, status, malformed };
    tally.received = number("received")?;
    tally.sent_in_all = number("sent_in_all")?;
    tally.answered_in_all = number("answered_in_all")?;
    tally.answered_slowly = number("answered_slowly")?;
    let notes = value["notes"].as_array()?.iter().filter_map(Value::as_str);
    tally.notes = notes.map(ToString::to_string).collect();
    let [active_held, idle_held, slow_held, drip_held] =
        numbers("held")?.into_iter().map(|count| count as usize).collect::<Vec<_>>().try_into().ok()?;
    let nothing = Surroundings { busy: None, kernel: None, own: Duration::ZERO };
    let own = Surroundings { own: Duration::from_nanos(number("own")?), ..nothing };
    Some(Measurement {
        tally,
        time: Duration::from_nanos(number("time")?),
        answered_in_time: number("answered_in_time")?,
        active_held,
        idle_held,
        slow_held,
        drip_held,
        server: None,
        machine: Some([nothing, nothing, nothing, own]),
        own_busy: value["own_busy"].as_f64()?,
        gone: value["gone"].as_str().map(ToString::to_string),
    })
}

/// Adds two measurements that were made at the same time. The rig is as busy as the busiest of its processes.
pub(super) fn add(mut one: Measurement, other: Measurement) -> Measurement {
    let (sum, more) = (&mut one.tally, &other.tally);
    sum.latency.merge(&more.latency);
    sum.answered += more.answered;
    sum.unsent += more.unsent;
    sum.errors.connect += more.errors.connect;
    sum.errors.reset += more.errors.reset;
    sum.errors.timeout += more.errors.timeout;
    sum.errors.status += more.errors.status;
    sum.errors.malformed += more.errors.malformed;
    sum.received += more.received;
    sum.sent_in_all += more.sent_in_all;
    sum.answered_in_all += more.answered_in_all;
    sum.answered_slowly += more.answered_slowly;
    more.notes.iter().for_each(|note| sum.note(note.clone()));
    one.answered_in_time += other.answered_in_time;
    one.active_held += other.active_held;
    one.idle_held += other.idle_held;
    one.slow_held += other.slow_held;
    one.drip_held += other.drip_held;
    // The shortest, so that a sum of those that were cut short is not told as whole.
    one.time = one.time.min(other.time);
    one.own_busy = one.own_busy.max(other.own_busy);
    one.gone = one.gone.or(other.gone);
    if let (Some([.., sum]), Some([.., more])) = (&mut one.machine, &other.machine) {
        sum.own += more.own;
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(micros: u64) -> Measurement {
        let mut tally = Tally::new(false);
        tally.latency.record(Duration::from_micros(micros));
        tally.answered = 1;
        tally.errors.status = 2;
        tally.note("a note".to_string());
        let moment = |own| Surroundings { busy: None, kernel: None, own };
        let zero = moment(Duration::ZERO);
        Measurement {
            tally,
            time: Duration::from_secs(2),
            answered_in_time: 3,
            active_held: 4,
            idle_held: 5,
            slow_held: 6,
            drip_held: 7,
            server: None,
            machine: Some([zero, zero, zero, moment(Duration::from_millis(micros))]),
            own_busy: 0.5,
            gone: None,
        }
    }

    #[test]
    fn measurement_arrives_as_it_was() {
        let text = encode(&measurement(1_234_567)).to_string();
        assert_eq!(encode(&decode(&text).unwrap()).to_string(), text);
        assert_eq!(decode("{\"failed\":\"why\"}").unwrap_err(), "why");
        assert!(decode("{}").is_err() && decode("x").is_err());
    }

    #[test]
    fn sum_has_all_of_both() {
        let sum = add(measurement(10), measurement(30));
        assert_eq!((sum.tally.latency.total(), sum.tally.answered, sum.idle_held), (2, 2, 10));
        assert_eq!(sum.tally.latency.longest(), Duration::from_micros(30));
        assert_eq!((sum.tally.errors.status, sum.tally.notes.len()), (4, 1));
        assert_eq!(sum.machine.unwrap()[3].own, Duration::from_millis(40));
    }
}
