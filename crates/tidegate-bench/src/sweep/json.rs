//! A sweep for programs, as JSON (RFC 8259). A figure that is unknown is null.

use serde_json::{Map, Value, json};

use super::Sweep;
use super::curve::{Chapter, Curve, Figure, Point, longest};
use crate::json::{asked, rounded};
use crate::options::{Axis, Plan};

/// Formats the whole result.
pub(super) fn print(sweep: &Sweep, plan: &Plan) -> String {
    let chapters: Value = sweep.chapters.iter().map(chapter).collect();
    let all = json!({
        "load": asked(&plan.load),
        "rounds": sweep.rounds,
        "sweeps": chapters,
        "shortfalls": sweep.shortfalls,
        "notes": sweep.notes,
    });
    format!("{all}\n")
}

fn chapter(chapter: &Chapter) -> Value {
    let servers: Value = chapter.curves.iter().map(curve).collect();
    json!({ "axis": axis(chapter.axis), "servers": servers })
}

/// The name of an axis for programs.
pub(super) fn axis(axis: Axis) -> &'static str {
    match axis {
        Axis::Active => "active",
        Axis::Idle => "idle",
    }
}

fn curve(curve: &Curve) -> Value {
    let points: Value = curve.points.iter().map(point).collect();
    json!({ "name": curve.name, "url": curve.url, "process": curve.who, "points": points })
}

fn point(point: &Point) -> Value {
    let mut figures = Map::new();
    for figure in Figure::ALL {
        let spread = point.spread(figure).map(|spread| {
            let [median, least, most] = [spread.median, spread.least, spread.most].map(rounded);
            json!({ "median": median, "least": least, "most": most })
        });
        figures.insert(figure.key().to_string(), json!(spread));
    }
    let held: Vec<usize> = point.rounds.iter().map(|round| round.held).collect();
    json!({
        "connections": point.connections,
        "rounds": point.rounds.len(),
        "held": held,
        "longest_us": rounded(longest(point)),
        "figures": figures,
        "remarks": point.remarks(),
    })
}
