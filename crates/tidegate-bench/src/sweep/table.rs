//! A sweep for people: one table for each kind of connections, with a line for each server at each point.

use std::fmt::Write;

use super::Sweep;
use super::curve::{Chapter, Curve, Figure, Point, Spread};
use crate::figures::thousands;
use crate::options::Plan;
use crate::table::describe_manner;

/// The columns, as far as anything is known of them.
const COLUMNS: [Figure; 9] = [
    Figure::RequestsPerSecond,
    Figure::P50,
    Figure::P99,
    Figure::P999,
    Figure::Errors,
    Figure::CpuMicros,
    Figure::Resident,
    Figure::BytesEach,
    Figure::KernelEach,
];

/// Formats the whole result.
pub(super) fn print(sweep: &Sweep, plan: &Plan) -> String {
    let mut text = String::new();
    for curve in sweep.chapters.first().into_iter().flat_map(|chapter| &chapter.curves) {
        let _ = writeln!(text, "{}  {}  ({})", curve.name, curve.url, curve.who);
    }
    let _ = writeln!(
        text,
        "{}; medians of up to {} rounds in turns, ±: half the way from least to most, of the median",
        describe_manner(&plan.load),
        sweep.rounds
    );
    sweep.chapters.iter().for_each(|chapter| text += &table(chapter));
    let told = sweep.shortfalls.iter().chain(&sweep.notes);
    told.enumerate().for_each(|(index, line)| {
        let _ = writeln!(text, "{}note: {line}", if index == 0 { "\n" } else { "" });
    });
    text
}

fn table(chapter: &Chapter) -> String {
    let columns: Vec<Figure> = COLUMNS.into_iter().filter(|figure| chapter.knows(*figure)).collect();
    let headings = columns.iter().map(|figure| figure.heading().to_string());
    let mut lines = vec![["connections", "server"].map(String::from).into_iter().chain(headings).collect()];
    let mut remarks = vec![String::new()];
    for number in chapter.numbers() {
        for (curve, point) in at(chapter, number) {
            let cells = columns.iter().map(|figure| cell(*figure, point.spread(*figure)));
            lines.push([thousands(number as u64), curve.name.clone()].into_iter().chain(cells).collect());
            remarks.push(point.remarks().join("; "));
        }
    }
    format!("\n{}\n\n{}", chapter.title(), aligned(&lines, &remarks))
}

/// The servers that were measured at a number of connections.
fn at(chapter: &Chapter, number: usize) -> impl Iterator<Item = (&Curve, &Point)> {
    let point = move |curve: &Curve| curve.points.iter().position(|point| point.connections == number);
    chapter.curves.iter().filter_map(move |curve| Some((curve, &curve.points[point(curve)?])))
}

fn cell(figure: Figure, spread: Option<Spread>) -> String {
    match spread {
        None => "–".to_string(),
        Some(Spread { median, least, most }) if figure == Figure::RequestsPerSecond && most > least => {
            format!("{} ±{:.0} %", figure.show(median), 50.0 * (most - least) / median.max(1e-9))
        }
        Some(spread) => figure.show(spread.median),
    }
}

/// Lays cells out in columns: the second to the left, all others to the right.
fn aligned(lines: &[Vec<String>], remarks: &[String]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for (line, remark) in lines.iter().zip(remarks) {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            1 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        let cells: Vec<String> = cells.collect();
        let remark = if remark.is_empty() { String::new() } else { format!("  ({remark})") };
        let _ = writeln!(text, "{}{remark}", cells.join("  ").trim_end());
    }
    text
}
