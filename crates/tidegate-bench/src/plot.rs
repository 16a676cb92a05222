//! Draws latencies as SVG: the share of the requests that was answered within each time.
//!
//! Both axes are logarithmic, to the right with one nine more for each step, so that the few slow
//! requests have as much room as the many fast ones.

use std::fmt::Write;
use std::time::Duration;

use super::figures::latency;
use super::histogram::Histogram;

/// The size of the picture, and of the plot area within it.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 86.0;
const RIGHT: f64 = 830.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = 430.0;
/// Points of a curve.
const POINTS: u32 = 400;
/// The most nines that the axis shows.
const NINES_MAX: f64 = 6.0;
/// Two colours that everybody can tell apart, in print, too.
const COLOURS: [&str; 2] = ["#0b6e99", "#d9480f"];

/// A curve and its name.
pub(super) type Curve = (String, Histogram);

/// Draws curves.
pub(super) fn draw(curves: &[Curve], subtitle: &str) -> String {
    let field = Field::around(curves);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <title>Latency by percentile</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (index, (name, _)) in curves.iter().enumerate() {
        let (y, colour) = (26.0 + 20.0 * index as f64, COLOURS[index % COLOURS.len()]);
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{}\" width=\"18\" height=\"4\" fill=\"{colour}\"/>",
            y - 6.0
        );
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{y}\" font-weight=\"600\">{}</text>",
            LEFT + 26.0,
            escaped(name)
        );
    }
    let y = 26.0 + 20.0 * curves.len() as f64;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{y}\" fill=\"#666\">{}</text>", escaped(subtitle));
    field.draw_axes(&mut svg);
    for (index, (_, histogram)) in curves.iter().enumerate() {
        field.draw_curve(&mut svg, histogram, COLOURS[index % COLOURS.len()]);
    }
    svg + "</svg>\n"
}

/// The ranges that the axes cover.
struct Field {
    /// The number of nines at the right edge.
    nines: f64,
    /// Nanoseconds at the bottom and at the top, as powers of ten.
    bottom: f64,
    top: f64,
}

impl Field {
    fn around(curves: &[Curve]) -> Field {
        let most = curves.iter().map(|(_, histogram)| histogram.total()).max().unwrap_or(0).max(10);
        let fastest = curves.iter().map(|(_, histogram)| histogram.quantile(0.0)).min();
        let slowest = curves.iter().map(|(_, histogram)| histogram.longest()).max();
        let power = |time: Option<Duration>| (time.unwrap_or_default().as_nanos().max(1_000) as f64).log10();
        let (bottom, top) = (power(fastest), power(slowest));
        let bottom = step_below(bottom);
        Field { nines: (most as f64).log10().min(NINES_MAX), bottom, top: step_above(top).max(bottom + 0.3) }
    }

    fn x(&self, nines: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * nines / self.nines
    }

    fn y(&self, power: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (power - self.bottom) / (self.top - self.bottom)
    }

    fn draw_axes(&self, svg: &mut String) {
        let mut line = |x1: f64, y1: f64, x2: f64, y2: f64| {
            let _ = writeln!(
                svg,
                "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#e3e3e3\"/>"
            );
        };
        let shares = (0..=self.nines as u32).map(|nines| (f64::from(nines), share_name(nines)));
        let shares: Vec<_> = shares.chain([(std::f64::consts::LOG10_2, "50 %".to_string())]).collect();
        let times = times_between(self.bottom, self.top);
        shares.iter().for_each(|(nines, _)| line(self.x(*nines), TOP, self.x(*nines), BOTTOM));
        times.iter().for_each(|(power, _)| line(LEFT, self.y(*power), RIGHT, self.y(*power)));
        for (nines, name) in &shares {
            let (x, y) = (self.x(*nines), BOTTOM + 20.0);
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{name}</text>");
        }
        for (power, time) in &times {
            let (x, y, name) = (LEFT - 8.0, self.y(*power) + 4.0, axis_time(*time));
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{name}</text>");
        }
        let (middle, below) = (f64::midpoint(LEFT, RIGHT), BOTTOM + 48.0);
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#666\">share of requests (%)</text>"
        );
        let height = f64::midpoint(TOP, BOTTOM);
        let _ = writeln!(
            svg,
            "<text transform=\"translate(20 {height}) rotate(-90)\" text-anchor=\"middle\" \
             fill=\"#666\">answered within (µs, ms, s)</text>"
        );
    }

    fn draw_curve(&self, svg: &mut String, histogram: &Histogram, colour: &str) {
        if histogram.total() == 0 {
            return;
        }
        // One request of all is the last share that means something.
        let last = (histogram.total() as f64).log10().min(self.nines);
        let mut points = String::new();
        for step in 0..=POINTS {
            let nines = last * f64::from(step) / f64::from(POINTS);
            let is_last = step == POINTS && (histogram.total() as f64).log10() <= self.nines;
            let share = if is_last { 1.0 } else { 1.0 - 10_f64.powf(-nines) };
            let time = histogram.quantile(share).as_nanos().max(1_000) as f64;
            let _ = write!(points, "{:.1},{:.1} ", self.x(nines), self.y(time.log10()));
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2.5\" \
             stroke-linejoin=\"round\"/>",
            points.trim_end()
        );
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

/// Yields 1, 2 and 5 times each power of ten, in nanoseconds.
fn steps() -> impl Iterator<Item = u64> {
    (2..14).flat_map(|power| [1, 2, 5].map(|factor| factor * 10_u64.pow(power)))
}

fn step_below(power: f64) -> f64 {
    steps().map(|nanos| (nanos as f64).log10()).take_while(|step| *step <= power).last().unwrap_or(power)
}

fn step_above(power: f64) -> f64 {
    steps().map(|nanos| (nanos as f64).log10()).find(|step| *step >= power).unwrap_or(power)
}

/// Returns the steps within a range, and only the powers of ten where all steps would be too many.
fn times_between(bottom: f64, top: f64) -> Vec<(f64, Duration)> {
    let is_wide = top - bottom > 4.0;
    let all = steps().map(|nanos| ((nanos as f64).log10(), Duration::from_nanos(nanos)));
    let within = all.filter(|(power, _)| (bottom - 1e-9..=top + 1e-9).contains(power));
    within.filter(|(power, _)| !is_wide || power.fract() < 1e-9).collect()
}

/// Formats a time on the axis, `10 µs`: a round time needs no digits after the point.
fn axis_time(time: Duration) -> String {
    let text = latency(time);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        Some(_) | None => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_names_its_curves_and_the_units_of_its_axes() {
        let mut histogram = Histogram::new();
        (1..=10_000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        let svg = draw(&[("http://a/?b<c&d".into(), histogram), ("nothing".into(), Histogram::new())], "x");
        for part in
            ["http://a/?b&lt;c&amp;d", "99.99 %", "10 ms", "20 µs", "share of requests (%)", "nothing"]
        {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn picture_of_one_value_has_an_extent() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::from_micros(100));
        let svg = draw(&[("a".into(), histogram)], "x");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn times_on_the_axis_are_round() {
        for (micros, expected) in
            [(1, "1 µs"), (50, "50 µs"), (200, "200 µs"), (5_000, "5 ms"), (100_000, "100 ms")]
        {
            assert_eq!(axis_time(Duration::from_micros(micros)), expected);
        }
    }
}
