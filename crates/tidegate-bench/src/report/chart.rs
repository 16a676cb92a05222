//! Charts as SVG: curves over a scale, with the spread of each point, in two colour schemes.
//!
//! Curves can be told apart without colours: each has a dash and a mark of its own, and its name stands at its end.
//! A chart within a page has its colours from there ([`style`]); one in a file brings them along.

use std::fmt::Write;

/// The size of a chart and of its plot, in pixels; two narrow ones stand side by side.
const WIDTH: f64 = 760.0;
const WIDE: f64 = 1040.0;
const NARROW: f64 = 570.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 84.0;
/// The room for names, to the right of the plot.
const NAMES: f64 = 176.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 300.0;
/// The room for the heading of a chart in a file.
const HEADING: f64 = 58.0;
/// The smallest distance between names at the ends of curves.
const NAME_DISTANCE: f64 = 17.0;
/// The room of a character below the axis, and between two numbers there.
const CHARACTER: f64 = 7.6;
const GAP: f64 = 12.0;
/// The number of curves that look different from each other.
const LOOKS: usize = 6;
/// Dashes of the curves, one after the other.
const DASHES: [&str; LOOKS] = ["", "9 4", "2.5 4", "11 4 2.5 4", "5 3", "15 4"];
/// Longest name at the end of a curve, in characters; the page has it whole.
const NAME_LENGTH_MAX: usize = 16;

/// An axis: where values lie between its ends, and which of them are named.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub title: String,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
    is_logarithmic: bool,
}

impl Scale {
    /// Makes a linear scale from zero, with round ticks.
    pub fn from_zero(title: &str, most: f64, name: impl Fn(f64) -> String) -> Scale {
        let step = round_step(most.max(1e-9) / 5.0);
        let count = (most / step).ceil().max(1.0);
        let ticks = (0..=count as u32).map(|tick| f64::from(tick) * step);
        let ticks = ticks.map(|value| (value, name(value))).collect();
        Scale { title: title.to_string(), low: 0.0, high: count * step, ticks, is_logarithmic: false }
    }

    /// Makes a logarithmic scale, with the ticks that are given.
    pub fn logarithmic(title: &str, low: f64, high: f64, ticks: Vec<(f64, String)>) -> Scale {
        // One value alone has an extent, too.
        let (low, high) = if high > low * 1.01 { (low, high) } else { (low / 2.0, high * 2.0) };
        Scale { title: title.to_string(), low, high, ticks, is_logarithmic: true }
    }

    /// Makes a linear scale with the ticks that are given.
    pub fn linear(title: &str, low: f64, high: f64, ticks: Vec<(f64, String)>) -> Scale {
        Scale { title: title.to_string(), low, high, ticks, is_logarithmic: false }
    }

    /// Where a value lies, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let at = |value: f64| if self.is_logarithmic { value.max(1e-12).log10() } else { value };
        let (low, high) = (at(self.low), at(self.high));
        ((at(value) - low) / (high - low).max(1e-12)).clamp(0.0, 1.0)
    }
}

/// Returns 1, 2 or 5 times a power of ten, not less than a number.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= least).unwrap_or(power)
}

/// One value of a curve.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub x: f64,
    pub y: f64,
    /// The smallest and the largest value of the rounds.
    pub spread: Option<(f64, f64)>,
    /// Whether something stood in the way of the measurement: such marks are hollow.
    pub is_doubtful: bool,
    /// The text that a pointer brings up.
    pub hint: String,
}

/// A curve and its name.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub name: String,
    pub marks: Vec<Mark>,
    /// Whether the values stand so close that they are a line without marks.
    pub is_dense: bool,
    /// The look, by number: the same server has the same one in all charts.
    pub look: usize,
}

/// A chart.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub title: String,
    /// A sentence below the title, in a file.
    pub subtitle: String,
    pub x: Scale,
    pub y: Scale,
    pub lines: Vec<Line>,
}

impl Chart {
    /// Draws the chart for a page, which has title and colours. A narrow one fills half of the page.
    pub fn inline(&self, is_narrow: bool) -> String {
        let (title, width) = (escaped(&self.title), if is_narrow { NARROW } else { WIDE });
        let body = Plot { chart: self, right: width - NAMES }.draw();
        format!(
            "<svg class=\"chart\" viewBox=\"0 0 {width} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n{body}</svg>\n"
        )
    }

    /// Draws the chart for a file of its own.
    pub fn file(&self) -> String {
        let (title, subtitle, height) = (escaped(&self.title), escaped(&self.subtitle), HEIGHT + HEADING);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\">\n\
             <title>{title}</title>\n<style>{}</style>\n\
             <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
             <text class=\"title\" x=\"24\" y=\"30\">{title}</text>\n\
             <text class=\"quiet\" x=\"24\" y=\"50\">{subtitle}</text>\n\
             <g transform=\"translate(0 {HEADING})\">\n{}</g>\n</svg>\n",
            style(),
            Plot { chart: self, right: WIDTH - NAMES }.draw()
        )
    }
}

/// A chart that is being drawn, with a certain width.
struct Plot<'c> {
    chart: &'c Chart,
    /// The right edge of the plot.
    right: f64,
}

impl Plot<'_> {
    fn x(&self, value: f64) -> f64 {
        LEFT + (self.right - LEFT) * self.chart.x.place(value)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.chart.y.place(value)
    }

    fn draw(&self) -> String {
        let mut svg = String::new();
        self.draw_axes(&mut svg);
        self.chart.lines.iter().for_each(|line| self.draw_spread(&mut svg, line));
        self.chart.lines.iter().for_each(|line| self.draw_line(&mut svg, line));
        self.draw_names(&mut svg);
        svg
    }

    fn draw_axes(&self, svg: &mut String) {
        let right = self.right;
        for (value, name) in &self.chart.y.ticks {
            let y = self.y(*value);
            let _ = writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>");
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 10.0,
                y + 4.0
            );
        }
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{LEFT} {BOTTOM}H{right}\"/>");
        for (value, _) in &self.chart.x.ticks {
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{:.1} {BOTTOM}v5\"/>", self.x(*value));
        }
        for (x, name) in self.named_ticks() {
            let y = BOTTOM + 21.0;
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{name}</text>");
        }
        let (x, y) = (f64::midpoint(LEFT, right), BOTTOM + 46.0);
        let _ = writeln!(
            svg,
            "<text class=\"quiet\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>",
            escaped(&self.chart.x.title)
        );
        let y = f64::midpoint(TOP, BOTTOM);
        let _ = writeln!(
            svg,
            "<text class=\"quiet\" transform=\"translate(18 {y}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            escaped(&self.chart.y.title)
        );
    }

    /// Returns the ticks of the lower axis whose names have room: the ends first, then powers of ten.
    fn named_ticks(&self) -> Vec<(f64, &str)> {
        let ticks = &self.chart.x.ticks;
        let is_power = |(value, _): &&(f64, String)| value.max(1e-9).log10().fract() == 0.0;
        let ends = ticks.last().into_iter().chain(ticks.first());
        let mut named: Vec<(f64, &str)> = Vec::new();
        for (value, name) in ends.chain(ticks.iter().filter(is_power)).chain(ticks) {
            let x = self.x(*value);
            let is_free = |(other, text): &(f64, &str)| {
                let characters = text.chars().count() + name.chars().count();
                (x - other).abs() >= CHARACTER / 2.0 * characters as f64 + GAP
            };
            if named.iter().all(is_free) {
                named.push((x, name));
            }
        }
        named
    }

    fn draw_spread(&self, svg: &mut String, line: &Line) {
        let look = line.look % LOOKS;
        let spreads = line.marks.iter().filter_map(|mark| Some((self.x(mark.x), mark.spread?)));
        let spreads: Vec<_> = spreads.map(|(x, (least, most))| (x, self.y(least), self.y(most))).collect();
        let below = spreads.iter().map(|(x, least, _)| format!("{x:.1},{least:.1}"));
        let above = spreads.iter().rev().map(|(x, _, most)| format!("{x:.1},{most:.1}"));
        if spreads.len() > 1 {
            let points: Vec<String> = below.chain(above).collect();
            let _ = writeln!(svg, "<polygon class=\"band f{look}\" points=\"{}\"/>", points.join(" "));
        }
        for (x, least, most) in &spreads {
            let _ = writeln!(svg, "<path class=\"spread c{look}\" d=\"M{x:.1} {least:.1}V{most:.1}\"/>");
        }
    }

    fn draw_line(&self, svg: &mut String, line: &Line) {
        let look = line.look % LOOKS;
        let points: Vec<String> =
            line.marks.iter().map(|mark| format!("{:.1},{:.1}", self.x(mark.x), self.y(mark.y))).collect();
        if points.is_empty() {
            return;
        }
        let dash = DASHES[look];
        let _ = writeln!(
            svg,
            "<polyline class=\"line c{look}\" stroke-dasharray=\"{dash}\" points=\"{}\"/>",
            points.join(" ")
        );
        for mark in line.marks.iter().filter(|_| !line.is_dense) {
            let fill = if mark.is_doubtful { "hollow" } else { "full" };
            let path = symbol(look, self.x(mark.x), self.y(mark.y));
            let hint = escaped(&mark.hint);
            let _ = writeln!(
                svg,
                "<path class=\"mark {fill} c{look} f{look}\" d=\"{path}\"><title>{hint}</title></path>"
            );
        }
    }

    /// Writes the name of each curve beside its end. Names that would cover each other are moved apart.
    fn draw_names(&self, svg: &mut String) {
        let ends = self.chart.lines.iter().filter_map(|line| {
            let last = line.marks.last()?;
            Some((line, self.x(last.x), self.y(last.y)))
        });
        let mut names: Vec<_> = Vec::new();
        for (line, x, y) in ends {
            let place = names.partition_point(|(_, _, other, _)| *other <= y);
            names.insert(place, (line, x, y, y));
        }
        let room = NAME_DISTANCE * names.len().saturating_sub(1) as f64;
        let mut least = TOP;
        for (index, name) in names.iter_mut().enumerate() {
            let most = BOTTOM - (room - NAME_DISTANCE * index as f64);
            name.3 = name.2.max(least).min(most.max(least));
            least = name.3 + NAME_DISTANCE;
        }
        // Those that were pushed down come back up as far as there is room between them.
        for index in (1..names.len()).rev() {
            let below = names[index].3;
            let above = &mut names[index - 1];
            above.3 = above.3.min(below - NAME_DISTANCE);
        }
        for (line, x, end, y) in names {
            let look = line.look % LOOKS;
            let (from, to) = (x + 8.0, self.right + 18.0);
            let _ = writeln!(
                svg,
                "<path class=\"lead c{look}\" d=\"M{from:.1} {end:.1}L{to} {y:.1}\"/>\
                 <path class=\"mark full c{look} f{look}\" d=\"{}\"/>\
                 <text class=\"name f{look}\" x=\"{}\" y=\"{:.1}\">{}</text>",
                symbol(look, to + 7.0, y),
                to + 17.0,
                y + 4.5,
                escaped(&shortened(&line.name))
            );
        }
    }
}

/// The outline of a mark: circle, square, triangle, diamond, a triangle on its head, a pentagon.
fn symbol(look: usize, x: f64, y: f64) -> String {
    let corners: &[(f64, f64)] = match look % LOOKS {
        0 => {
            return format!("M{:.1} {y:.1}a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0 -8.4 0z", x - 4.2);
        }
        1 => &[(-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)],
        2 => &[(0.0, -5.2), (5.0, 3.8), (-5.0, 3.8)],
        3 => &[(0.0, -5.6), (5.6, 0.0), (0.0, 5.6), (-5.6, 0.0)],
        4 => &[(0.0, 5.2), (5.0, -3.8), (-5.0, -3.8)],
        _ => &[(0.0, -5.0), (4.8, -1.5), (3.0, 4.1), (-3.0, 4.1), (-4.8, -1.5)],
    };
    let corners: Vec<String> =
        corners.iter().map(|(right, down)| format!("{:.1} {:.1}", x + right, y + down)).collect();
    format!("M{}z", corners.join("L"))
}

/// Two amounts that together are one: a row of stacked bars.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    pub name: String,
    pub parts: [f64; 2],
    pub text: String,
}

/// Draws stacked bars for a page or a file, with a legend of the two parts.
pub(crate) fn bars(title: &str, legend: [&str; 2], bars: &[Bar], is_file: bool) -> String {
    const ROW: f64 = 46.0;
    let width = if is_file { WIDTH } else { WIDE };
    let most = bars.iter().map(|bar| bar.parts.iter().sum()).fold(1e-9, f64::max);
    let heading = if is_file { HEADING } else { 0.0 };
    let height = heading + 44.0 + ROW * bars.len() as f64;
    let title = escaped(title);
    let mut svg = match is_file {
        true => format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {width} {height}\">\n\
             <title>{title}</title>\n<style>{}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
             <text class=\"title\" x=\"24\" y=\"30\">{title}</text>\n",
            style()
        ),
        false => {
            format!(
                "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n"
            )
        }
    };
    for (index, name) in legend.iter().enumerate() {
        let (x, y) = (150.0 + 300.0 * index as f64, heading + 16.0);
        let _ = writeln!(
            svg,
            "<rect class=\"part{index}\" x=\"{x}\" y=\"{}\" width=\"14\" height=\"12\"/>\
             <text x=\"{}\" y=\"{y}\">{}</text>",
            y - 10.0,
            x + 21.0,
            escaped(name)
        );
    }
    for (row, bar) in bars.iter().enumerate() {
        let y = heading + 34.0 + ROW * row as f64;
        let _ = writeln!(
            svg,
            "<text class=\"strong\" x=\"138\" y=\"{}\" text-anchor=\"end\">{}</text>",
            y + 15.0,
            escaped(&shortened(&bar.name))
        );
        let mut x = 150.0;
        for (index, part) in bar.parts.iter().enumerate() {
            let long = (width - 170.0) * part / most;
            let _ = writeln!(
                svg,
                "<rect class=\"part{index}\" x=\"{x:.1}\" y=\"{y}\" width=\"{long:.1}\" height=\"20\"/>"
            );
            x += long;
        }
        let _ =
            writeln!(svg, "<text class=\"quiet\" x=\"150\" y=\"{}\">{}</text>", y + 35.0, escaped(&bar.text));
    }
    svg + "</svg>\n"
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(NAME_LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

/// The colours and strokes of charts, for both colour schemes.
pub(crate) fn style() -> &'static str {
    include_str!("chart.css")
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, look: usize, values: &[(f64, f64)]) -> Line {
        let mark = |(x, y): &(f64, f64)| Mark {
            x: *x,
            y: *y,
            spread: Some((y * 0.9, y * 1.1)),
            is_doubtful: false,
            hint: String::new(),
        };
        Line { name: name.to_string(), marks: values.iter().map(mark).collect(), is_dense: false, look }
    }

    fn chart(lines: Vec<Line>) -> Chart {
        let ticks = [10.0, 100.0, 1000.0].map(|tick| (tick, format!("{tick}")));
        Chart {
            title: "a < b".to_string(),
            subtitle: "c".to_string(),
            x: Scale::logarithmic("connections", 10.0, 1000.0, ticks.to_vec()),
            y: Scale::from_zero("requests/s", 930.0, |value| format!("{value}")),
            lines,
        }
    }

    #[test]
    fn scale_from_zero_has_round_ticks_up_to_the_most() {
        for (most, step, high) in [(930.0, 200.0, 1000.0), (5.0, 1.0, 5.0), (0.031, 0.01, 0.04)] {
            let scale = Scale::from_zero("", most, |value| format!("{value}"));
            let second = scale.ticks[1].0;
            assert!((second - step).abs() < 1e-9 && (scale.high - high).abs() < 1e-9, "{most}: {scale:?}");
        }
    }

    #[test]
    fn values_lie_where_a_logarithm_puts_them() {
        let scale = Scale::logarithmic("", 10.0, 1000.0, Vec::new());
        assert_eq!([10.0, 100.0, 1000.0, 5000.0].map(|value| scale.place(value)), [0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn names_of_curves_that_end_together_do_not_cover_each_other() {
        let lines = (0..5).map(|look| line(&format!("n{look}"), look, &[(10.0, 5.0), (1000.0, 5.0)]));
        let svg = chart(lines.collect()).inline(true);
        let mut heights: Vec<f64> = svg
            .lines()
            .filter_map(|line| line.split_once("<text class=\"name")?.1.split_once("y=\"")?.1.split_once('"'))
            .map(|(y, _)| y.parse().unwrap())
            .collect();
        heights.sort_by(f64::total_cmp);
        assert_eq!(heights.len(), 5, "{svg}");
        assert!(heights.windows(2).all(|pair| pair[1] - pair[0] >= NAME_DISTANCE - 0.2), "{heights:?}");
        assert!(heights.iter().all(|y| (TOP..=BOTTOM + 5.0).contains(y)), "{heights:?}");
    }

    #[test]
    fn nothing_and_one_value_are_drawn_as_well() {
        for lines in [Vec::new(), vec![line("a", 0, &[])], vec![line("a", 0, &[(10.0, 0.0)])]] {
            let svg = chart(lines).file();
            assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
