//! The charts of a sweep: which figures over which axis, for the page and for files.

use std::time::Duration;

use super::chart::{Bar, Chart, Line, Mark, Scale, bars};
use crate::figures::{amount, latency, thousands, three_digits};
use crate::histogram::Histogram;
use crate::options::Axis;
use crate::sweep::curve::{Chapter, Figure, Point};

/// Points of a distribution's curve.
const POINTS: u32 = 300;
/// The most nines that a distribution shows.
const NINES_MAX: f64 = 6.0;

/// A chart of a sweep, drawn for the page and for a file.
pub(crate) struct Drawn {
    /// The name that tells its file from others.
    pub name: String,
    pub inline: String,
    pub file: String,
}

impl Drawn {
    fn of(chapter: &Chapter, name: &str, chart: &Chart) -> Drawn {
        // The first chart has the width of the page.
        let inline = chart.inline(name != "throughput");
        Drawn { name: file_name(chapter.axis, name), inline, file: chart.file() }
    }
}

/// The name of a chart's file, behind that of `--plot`.
pub(crate) fn file_name(axis: Axis, name: &str) -> String {
    match axis {
        Axis::Active => name.to_string(),
        Axis::Idle => format!("idle-{name}"),
    }
}

/// Draws requests a second.
pub(crate) fn throughput(chapter: &Chapter, subtitle: &str) -> Option<Drawn> {
    let name = |value: f64| thousands(value.round() as u64);
    let chart =
        linear(chapter, Figure::RequestsPerSecond, "Requests a second", "requests/s", subtitle, name)?;
    Some(Drawn::of(chapter, "throughput", &chart))
}

/// Draws the server's time for each request.
pub(crate) fn cpu(chapter: &Chapter, subtitle: &str) -> Option<Drawn> {
    let name = |value: f64| three_digits(value).trim_end_matches('0').trim_end_matches('.').to_string();
    let name = move |value: f64| if value == 0.0 { "0".to_string() } else { name(value) };
    let title = "CPU time of the server for a request";
    let chart = linear(chapter, Figure::CpuMicros, title, "µs a request", subtitle, name)?;
    Some(Drawn::of(chapter, "cpu", &chart))
}

/// Draws the server's resident memory.
pub(crate) fn memory(chapter: &Chapter, subtitle: &str) -> Option<Drawn> {
    let name = |value: f64| if value == 0.0 { "0".to_string() } else { short_amount(value) };
    let title = "Resident memory of the server";
    let chart = linear(chapter, Figure::Resident, title, "RSS", subtitle, name)?;
    Some(Drawn::of(chapter, "memory", &chart))
}

fn short_amount(bytes: f64) -> String {
    let text = amount(bytes as u64);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// Draws median latency, and that of the slowest hundredth and thousandth, on one scale.
pub(crate) fn latencies(chapter: &Chapter, subtitle: &str) -> Vec<Drawn> {
    let figures = [
        (Figure::P50, "p50", "Median latency (p50)"),
        (Figure::P99, "p99", "Latency that 99 % stay below (p99)"),
        (Figure::P999, "p999", "Latency that 99.9 % stay below (p99.9)"),
    ];
    let spreads = |edge: fn(&crate::sweep::curve::Spread) -> f64| {
        let points = chapter.curves.iter().flat_map(|curve| &curve.points);
        let all = points.flat_map(|point| figures.map(|(figure, ..)| point.spread(figure)));
        all.flatten().map(|spread| edge(&spread)).collect::<Vec<f64>>()
    };
    let low = spreads(|spread| spread.least).into_iter().reduce(f64::min);
    let high = spreads(|spread| spread.most).into_iter().reduce(f64::max);
    let Some((low, high)) = low.zip(high) else { return Vec::new() };
    let draw = |(figure, name, title): (Figure, &str, &str)| {
        let y = times(low * 1e3, high * 1e3);
        // Figures are in microseconds, the scale in nanoseconds.
        let lines = lines(chapter, figure, 1e3);
        let chart =
            Chart { title: title.to_string(), subtitle: subtitle.to_string(), x: numbers(chapter), y, lines };
        Drawn::of(chapter, name, &chart)
    };
    figures.into_iter().map(draw).collect()
}

/// Draws the distribution of latencies at the most connections.
pub(crate) fn distribution(chapter: &Chapter) -> Option<Drawn> {
    let number = *chapter.numbers().last()?;
    let curves: Vec<_> = chapter
        .curves
        .iter()
        .enumerate()
        .filter_map(|(look, curve)| {
            let point = curve.points.iter().find(|point| point.connections == number)?;
            (point.latency.total() > 0).then(|| (curve.name.clone(), point.latency.clone(), look))
        })
        .collect();
    if curves.is_empty() {
        return None;
    }
    let what = if chapter.axis == Axis::Idle { " idle" } else { "" };
    let subtitle = format!("at {}{what} connections, all rounds together", thousands(number as u64));
    let chart = percentiles("Latency by percentile", &subtitle, &curves);
    Some(Drawn::of(chapter, "percentiles", &chart))
}

/// Draws how the memory of a connection divides between server and kernel, at the most connections.
pub(crate) fn each(chapter: &Chapter) -> Option<Drawn> {
    let number = *chapter.numbers().last()?;
    let mut rows = Vec::new();
    for curve in &chapter.curves {
        let Some(point) = curve.points.iter().find(|point| point.connections == number) else { continue };
        let Some(server) = point.spread(Figure::BytesEach) else { continue };
        let kernel = point.spread(Figure::KernelEach).map(|spread| spread.median);
        let [of_server, of_kernel] = [server.median, kernel.unwrap_or(0.0)];
        let kernel = match kernel {
            Some(kernel) => format!("{} bytes of the kernel's", thousands(kernel.round() as u64)),
            None => "the kernel's not known (administrators may look, from 1,000 connections on)".to_string(),
        };
        let text = format!("{} bytes of the server's, {kernel}", thousands(of_server.round() as u64));
        rows.push(Bar { name: curve.name.clone(), parts: [of_server, of_kernel], text });
    }
    if rows.is_empty() {
        return None;
    }
    let title = format!("Memory for each of {} connections", thousands(number as u64));
    let legend = ["server: heap and stacks", "kernel: its end of the socket, without buffers"];
    let [inline, file] = [false, true].map(|is_file| bars(&title, legend, &rows, is_file));
    Some(Drawn { name: file_name(chapter.axis, "each"), inline, file })
}

fn linear(
    chapter: &Chapter,
    figure: Figure,
    title: &str,
    unit: &str,
    subtitle: &str,
    name: impl Fn(f64) -> String,
) -> Option<Chart> {
    let points = chapter.curves.iter().flat_map(|curve| &curve.points);
    let most = points.filter_map(|point| Some(point.spread(figure)?.most)).reduce(f64::max)?;
    Some(Chart {
        title: title.to_string(),
        subtitle: subtitle.to_string(),
        x: numbers(chapter),
        y: Scale::from_zero(unit, most, name),
        lines: lines(chapter, figure, 1.0),
    })
}

/// The axis of connections.
fn numbers(chapter: &Chapter) -> Scale {
    let numbers = chapter.numbers();
    let [low, high] = [numbers.first(), numbers.last()].map(|number| number.copied().unwrap_or(1) as f64);
    let title = if chapter.axis == Axis::Idle { "idle connections" } else { "connections" };
    let ticks = numbers.iter().map(|number| (*number as f64, thousands(*number as u64)));
    Scale::logarithmic(title, low, high, ticks.collect())
}

fn lines(chapter: &Chapter, figure: Figure, factor: f64) -> Vec<Line> {
    let line = |(look, curve): (usize, &crate::sweep::curve::Curve)| Line {
        name: curve.name.clone(),
        marks: curve.points.iter().filter_map(|point| mark(&curve.name, point, figure, factor)).collect(),
        is_dense: false,
        look,
    };
    chapter.curves.iter().enumerate().map(line).collect()
}

fn mark(name: &str, point: &Point, figure: Figure, factor: f64) -> Option<Mark> {
    let spread = point.spread(figure)?;
    let number = thousands(point.connections as u64);
    let mut hint = format!("{name}, {number} connections: {}", figure.show(spread.median));
    if spread.most > spread.least {
        hint += &format!(" ({} to {})", figure.show(spread.least), figure.show(spread.most));
    }
    let remarks = point.remarks();
    remarks.iter().for_each(|remark| hint += &format!("\n{remark}"));
    Some(Mark {
        x: point.connections as f64,
        y: spread.median * factor,
        spread: (point.rounds.len() > 1).then_some((spread.least * factor, spread.most * factor)),
        is_doubtful: !remarks.is_empty(),
        hint,
    })
}

/// Draws distributions, by the convention of HdrHistogram: to the right each step is one more nine, so that the few
/// slow requests have as much room as the many fast ones.
pub(crate) fn percentiles(title: &str, subtitle: &str, curves: &[(String, Histogram, usize)]) -> Chart {
    let most = curves.iter().map(|(_, latency, _)| latency.total()).max().unwrap_or(0).max(10);
    let nines = (most as f64).log10().min(NINES_MAX);
    let ticks = (0..=nines as u32).map(|nines| (f64::from(nines), share_name(nines)));
    let mut ticks: Vec<_> = ticks.collect();
    ticks.insert(1, (std::f64::consts::LOG10_2, "50 %".to_string()));
    let nanos = |time: Duration| time.as_nanos().max(1_000) as f64;
    let known = || curves.iter().filter(|(_, latency, _)| latency.total() > 0);
    let low = known().map(|(_, latency, _)| nanos(latency.quantile(0.0))).reduce(f64::min).unwrap_or(1e3);
    let high = known().map(|(_, latency, _)| nanos(latency.longest())).reduce(f64::max).unwrap_or(1e6);
    let lines = curves.iter().map(|(name, latency, look)| Line {
        name: name.clone(),
        marks: distribution_marks(latency, nines),
        is_dense: true,
        look: *look,
    });
    Chart {
        title: title.to_string(),
        subtitle: subtitle.to_string(),
        x: Scale::linear("share of requests (%)", 0.0, nines, ticks),
        y: times(low, high),
        lines: lines.collect(),
    }
}

fn distribution_marks(latency: &Histogram, nines: f64) -> Vec<Mark> {
    if latency.total() == 0 {
        return Vec::new();
    }
    // One request of all is the last share that means something.
    let all = (latency.total() as f64).log10();
    let last = all.min(nines);
    let mark = |step: u32| {
        let x = last * f64::from(step) / f64::from(POINTS);
        let share = if step == POINTS && all <= nines { 1.0 } else { 1.0 - 10_f64.powf(-x) };
        let y = latency.quantile(share).as_nanos().max(1_000) as f64;
        Mark { x, y, spread: None, is_doubtful: false, hint: String::new() }
    };
    (0..=POINTS).map(mark).collect()
}

/// A logarithmic scale of times, in nanoseconds, that ends at round ones.
fn times(low: f64, high: f64) -> Scale {
    let below = steps().take_while(|step| *step <= low).last().unwrap_or(low);
    let above = steps().find(|step| *step >= high).unwrap_or(high);
    let is_wide = above / below > 2e3;
    let within = steps().filter(|step| (below..=above).contains(step));
    let ticks = within.filter(|step| !is_wide || is_power_of_ten(*step)).map(|step| (step, axis_time(step)));
    Scale::logarithmic("latency", below, above, ticks.collect())
}

/// Yields 1, 2 and 5 times each power of ten, in nanoseconds.
fn steps() -> impl Iterator<Item = f64> {
    (2..14).flat_map(|power| [1, 2, 5].map(|factor| (factor * 10_u64.pow(power)) as f64))
}

fn is_power_of_ten(step: f64) -> bool {
    step.log10().fract() < 1e-9
}

/// Formats a time on the axis, `10 µs`: a round time needs no digits after the point.
fn axis_time(nanos: f64) -> String {
    let text = latency(Duration::from_nanos(nanos as u64));
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        Some(_) | None => text,
    }
}

/// Names a share: `99.9 %` for three nines.
fn share_name(nines: u32) -> String {
    match nines {
        0 => "0 %".to_string(),
        1 => "90 %".to_string(),
        2 => "99 %".to_string(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distribution_names_its_curves_and_the_units_of_its_axes() {
        let mut latency = Histogram::new();
        (1..=10_000).for_each(|micros| latency.record(Duration::from_micros(micros)));
        let curves = [("http://a/?b<c&d".into(), latency, 0), ("nothing".into(), Histogram::new(), 1)];
        let svg = percentiles("x", "y", &curves).file();
        for part in ["http://a/?b&lt;c&amp;d", "99.99 %", "10 ms", "share of requests (%)"] {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn times_on_the_axis_are_round() {
        for (micros, expected) in
            [(1.0, "1 µs"), (50.0, "50 µs"), (200.0, "200 µs"), (5_000.0, "5 ms"), (100_000.0, "100 ms")]
        {
            assert_eq!(axis_time(micros * 1e3), expected);
        }
    }
}
