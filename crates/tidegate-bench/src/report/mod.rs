//! The report of a sweep: one page that needs nothing else, and explains itself.
//!
//! ```text
//!  Sweep ─▶ charts (which figures) ─▶ chart (SVG) ─▶ page (this file)
//!  Machine, command ──────────────────────────────────┘  ▲
//!  Example: a server that stalls ────────────────────────┘
//! ```

pub(crate) mod chart;
pub(crate) mod charts;
mod machine;
pub(crate) mod stall;

use std::fmt::Write;
use std::time::Duration;

use self::chart::escaped;
use self::charts::Drawn;
use self::stall::Example;
use crate::figures::{latency, thousands};
use crate::histogram::Histogram;
use crate::options::{Axis, Plan};
use crate::sweep::Sweep;
use crate::sweep::curve::{Chapter, Figure, Point, Spread};
use crate::table::describe_manner;

/// The columns of the table with all figures.
const COLUMNS: [Figure; 11] = Figure::ALL;

/// The pictures of a chapter, as files, each with a name.
pub(crate) fn pictures(chapter: &Chapter, plan: &Plan) -> Vec<Drawn> {
    let subtitle = subtitle(chapter, plan);
    let mut all: Vec<Drawn> = charts::throughput(chapter, &subtitle).into_iter().collect();
    all.extend(charts::latencies(chapter, &subtitle));
    all.extend(charts::distribution(chapter));
    all.extend(charts::cpu(chapter, &subtitle));
    all.extend(charts::memory(chapter, &subtitle));
    all.extend(charts::each(chapter));
    all
}

fn subtitle(chapter: &Chapter, plan: &Plan) -> String {
    let active = match chapter.axis {
        Axis::Active => String::new(),
        Axis::Idle => format!("beside {} that send requests; ", thousands(plan.load.connections as u64)),
    };
    format!("{active}{}; median and spread of {} rounds", describe_manner(&plan.load), plan.rounds)
}

/// Makes the page.
pub(crate) fn page(sweep: &Sweep, plan: &Plan, example: &Result<Example, String>) -> String {
    let names: Vec<&str> = plan.servers.iter().map(|server| server.name.as_str()).collect();
    let title = escaped(&format!("{} from few connections to many", listed(&names)));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{}{}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
        include_str!("page.css"),
        chart::style()
    );
    opening(&mut html, sweep, plan);
    for chapter in &sweep.chapters {
        self::chapter(&mut html, chapter, plan);
    }
    doubts(&mut html, sweep);
    all_figures(&mut html, sweep);
    omission(&mut html, example);
    html += include_str!("reading.html");
    html + "</main>\n</body>\n</html>\n"
}

/// Joins names as a sentence does: `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The ends of the curves in words, how it was measured, and where.
fn opening(html: &mut String, sweep: &Sweep, plan: &Plan) {
    let _ = writeln!(
        html,
        "<p class=\"lead\">What happens to throughput, latency, processor time and memory when there are more and more \
         connections: measured by <code>tidegate bench</code>, {}.</p>",
        if plan.servers.len() > 1 { "the servers in turns at each point" } else { "one server" }
    );
    *html += "<nav>";
    for (index, chapter) in sweep.chapters.iter().enumerate() {
        let _ = write!(html, "<a href=\"#chapter{index}\">{}</a>", chapter.title());
    }
    *html += "<a href=\"#doubts\">What the rig could not do</a><a href=\"#figures\">All figures</a>\
              <a href=\"#omission\">A server that stalls</a><a href=\"#reading\">How to read this</a></nav>\n";
    sweep.chapters.iter().for_each(|chapter| summary(html, chapter));
    *html += "<h2 id=\"how\">How it was measured</h2>\n";
    let _ = writeln!(html, "<pre>{}</pre>", escaped(&machine::command()));
    let rounds = format!("{} at each point, of which median, least and most are shown", sweep.rounds);
    let mut facts = vec![("manner", describe_manner(&plan.load)), ("rounds", rounds)];
    for curve in sweep.chapters.first().into_iter().flat_map(|chapter| &chapter.curves) {
        facts.push((curve.name.as_str(), format!("{} ({})", curve.url, curve.who)));
    }
    facts.extend(machine::facts());
    *html += "<dl class=\"facts\">\n";
    for (name, value) in facts {
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(&value));
    }
    *html += "</dl>\n";
}

/// A small table that says how each server began and ended.
fn summary(html: &mut String, chapter: &Chapter) {
    let _ = writeln!(
        html,
        "<div class=\"scroll\"><table class=\"summary\">\n<tr><th class=\"text\">{}</th><th>most requests/s</th>\
         <th>at the end</th><th>p99 at the end</th><th>CPU a request</th><th>memory a connection</th></tr>",
        chapter.title()
    );
    for curve in &chapter.curves {
        let (mut best, mut number): (Option<f64>, usize) = (None, 0);
        for point in &curve.points {
            let median = point.spread(Figure::RequestsPerSecond).map(|spread| spread.median);
            if median > best {
                (best, number) = (median, point.connections);
            }
        }
        let Some(last) = curve.points.last() else { continue };
        let show = |figure: Figure, unit: &str| match last.spread(figure) {
            Some(spread) => figure.show(spread.median) + unit,
            None => "–".to_string(),
        };
        let _ = writeln!(
            html,
            "<tr><td class=\"text\"><b>{}</b></td><td>{} <small>at {}</small></td>\
             <td>{} <small>at {}</small></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&curve.name),
            Figure::RequestsPerSecond.show(best.unwrap_or_default()),
            thousands(number as u64),
            show(Figure::RequestsPerSecond, ""),
            thousands(last.connections as u64),
            show(Figure::P99, ""),
            show(Figure::CpuMicros, ""),
            show(Figure::BytesEach, " bytes"),
        );
    }
    *html += "</table></div>\n";
}

fn chapter(html: &mut String, chapter: &Chapter, plan: &Plan) {
    let index = usize::from(chapter.axis == Axis::Idle && plan.active.is_some());
    let _ = writeln!(html, "<h2 id=\"chapter{index}\">{}</h2>", chapter.title());
    let _ = writeln!(html, "<p class=\"quiet\">{}.</p>", escaped(&subtitle(chapter, plan)));
    *html += "<p>Lines go through the medians; the band and the bars behind them reach from the least round to the \
              most. A hollow mark is a point where something stood in the way: the rig itself, others on the machine, \
              or connections that were lost. Point at a mark for its figures.</p>\n<div class=\"charts\">\n";
    let mut show = |drawn: Option<Drawn>, title: &str, text: &str, is_wide: bool| {
        if let Some(drawn) = drawn {
            let class = if is_wide { " class=\"wide\"" } else { "" };
            let _ = writeln!(
                html,
                "<figure{class}><figcaption><h3>{title}</h3><p>{text}</p></figcaption>\n{}</figure>",
                drawn.inline
            );
        }
    };
    show(
        charts::throughput(chapter, ""),
        "Requests a second",
        "Answers that came within the measured time. Higher is better, as long as the rig is not what limits it.",
        true,
    );
    let titles =
        ["The median: p50", "One of a hundred waits longer: p99", "One of a thousand waits longer: p99.9"];
    let texts = [
        "What a usual request waits. All three charts of latency have one scale.",
        "Pages consist of many requests, so most visitors meet this.",
        "The worst that a busy client meets all the time. In a closed loop, more connections wait longer by \
         arithmetic: each waits for all others.",
    ];
    for ((drawn, title), text) in charts::latencies(chapter, "").into_iter().zip(titles).zip(texts) {
        show(Some(drawn), title, text, false);
    }
    show(
        charts::distribution(chapter),
        "The whole distribution, at the most connections",
        "To the right each step is one more nine (the convention of HdrHistogram), so that the slowest requests have \
         as much room as the rest. The last point of a curve is its slowest request.",
        false,
    );
    show(
        charts::cpu(chapter, ""),
        "Processor time of the server for a request",
        "User and system time of all its processes, by the answers in that time. Lower is better, and it hardly \
         depends on the rig.",
        false,
    );
    show(
        charts::memory(chapter, ""),
        "Resident memory of the server",
        "At the end of a round, all processes together.",
        false,
    );
    show(
        charts::each(chapter),
        "Where the memory of a connection is",
        "What the server's heap and stacks have grown by since before its first connection, and what the kernel keeps \
         for one end of a connection (socket, inode, file, epoll's item; buffers not included).",
        true,
    );
    *html += "</div>\n";
}

/// The limits of the measurement.
fn doubts(html: &mut String, sweep: &Sweep) {
    *html += "<h2 id=\"doubts\">What the rig could not do</h2>\n\
              <p>A load rig measures the smaller of two things: what the server can do, and what the rig can ask. On one \
              machine both use the same processors. Where the rig was busy for nine tenths of the time, the figure says \
              more about the rig; where others used more than a fifth of a processor, it says something about them.</p>\n";
    let mut lines: Vec<String> = sweep.shortfalls.clone();
    for chapter in &sweep.chapters {
        for curve in &chapter.curves {
            let unwatched = format!("{}: whether others used the machine is not known", curve.name);
            if !curve.is_watched() && !lines.contains(&unwatched) {
                lines.push(unwatched);
            }
            for point in &curve.points {
                let number = thousands(point.connections as u64);
                let remarks = point.remarks();
                if !remarks.is_empty() {
                    let what = if chapter.axis == Axis::Idle { "idle connections" } else { "connections" };
                    lines.push(format!("{} at {number} {what}: {}", curve.name, remarks.join("; ")));
                }
            }
        }
    }
    lines.extend(sweep.notes.iter().cloned());
    if lines.is_empty() {
        *html += "<p><b>Nothing of this happened</b>: ";
        *html += match sweep.chapters.iter().any(Chapter::closes) {
            true => "no round was disturbed, and the rig waited for the server at every point",
            false => {
                "no round was disturbed, the rig waited for the server at every point, and every connection that was \
                 asked for was held"
            }
        };
        *html += ".</p>\n";
        return;
    }
    *html +=
        if lines.len() > 12 { "<details><summary>All that was noticed</summary>\n<ul>\n" } else { "<ul>\n" };
    for line in &lines {
        let _ = writeln!(html, "<li>{}</li>", escaped(line));
    }
    *html += if lines.len() > 12 { "</ul></details>\n" } else { "</ul>\n" };
}

fn all_figures(html: &mut String, sweep: &Sweep) {
    *html += "<h2 id=\"figures\">All figures</h2>\n<p class=\"quiet\">Medians, and below them the least and the most of \
              the rounds.</p>\n";
    for chapter in &sweep.chapters {
        let columns: Vec<Figure> = COLUMNS.into_iter().filter(|figure| chapter.knows(*figure)).collect();
        let _ =
            writeln!(html, "<h3>{}</h3>\n<div class=\"scroll\"><table class=\"all\">\n<tr>", chapter.title());
        *html += "<th>connections</th><th class=\"text\">server</th>";
        columns.iter().for_each(|figure| {
            let _ = write!(html, "<th>{}</th>", figure.heading());
        });
        *html += "</tr>\n";
        for number in chapter.numbers() {
            for curve in &chapter.curves {
                let point = curve.points.iter().find(|point| point.connections == number);
                point.into_iter().for_each(|point| row(html, &curve.name, point, &columns));
            }
        }
        *html += "</table></div>\n";
    }
}

fn row(html: &mut String, name: &str, point: &Point, columns: &[Figure]) {
    let number = thousands(point.connections as u64);
    let _ = write!(html, "<tr><td>{number}</td><td class=\"text\">{}</td>", escaped(name));
    for figure in columns {
        let _ = match point.spread(*figure) {
            None => write!(html, "<td>–</td>"),
            Some(Spread { median, least, most }) if most > least => write!(
                html,
                "<td>{}<small>{} – {}</small></td>",
                figure.show(median),
                figure.show(least),
                figure.show(most)
            ),
            Some(spread) => write!(html, "<td>{}</td>", figure.show(spread.median)),
        };
    }
    *html += "</tr>\n";
}

/// The chapter on coordinated omission.
fn omission(html: &mut String, example: &Result<Example, String>) {
    *html +=
        "<h2 id=\"omission\">A server that stalls: why latency counts from when a request was due</h2>\n";
    let example = match example {
        Ok(example) => example,
        Err(reason) => {
            let _ = writeln!(html, "<p>The example could not be measured: {}.</p>", escaped(reason));
            return;
        }
    };
    let (at, stall, all) = (millis(stall::STALL_AT), millis(stall::STALL), stall::DURATION.as_secs());
    let due = stall::STALL.as_millis() as u64 * u64::from(stall::RATE) / 1_000;
    let _ = writeln!(
        html,
        "<p>Before all else this rig measured a small server of its own for {all} seconds, twice. It answers each request \
         after a millisecond; only once, after {at}, it answers nobody for {stall}. A user who comes at some moment of \
         these two seconds meets that pause with a probability of one in five.</p>\n\
         <p>In a <b>closed loop</b> each connection asks again as soon as it is answered. While the server stalls, so \
         does the rig: it sends nothing, and of the whole pause it notes <b>one</b> slow request among {}. At a fixed rate \
         of {} requests a second (an <b>open loop</b>, <code>--rate</code>) some {due} requests are due during the pause. \
         Each is counted from when it was due, whether or not it could be sent, so that all of them are seen. To leave them \
         out is called <i>coordinated omission</i>: rig and server agree not to look.</p>",
        thousands(example.closed.total()),
        stall::RATE,
    );
    *html += "<div class=\"scroll\"><table class=\"stall\">\n<tr><th class=\"text\">the same server, the same pause</th>\
              <th>requests</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>slowest</th></tr>\n";
    for (name, histogram) in [("closed loop", &example.closed), ("open loop", &example.open)] {
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|share| latency(histogram.quantile(share)));
        let _ = writeln!(
            html,
            "<tr><td class=\"text\"><b>{name}</b></td><td>{}</td><td>{p50}</td><td>{p90}</td><td>{p99}</td>\
             <td>{p999}</td><td>{}</td></tr>",
            thousands(histogram.total()),
            latency(histogram.longest())
        );
    }
    *html += "</table></div>\n<div class=\"charts\"><figure class=\"wide\"><figcaption><h3>One pause, seen in two \
              manners</h3><p>The closed loop has it in its very last request only.</p></figcaption>\n";
    let curve = |name: &str, histogram: &Histogram, look| (name.to_string(), histogram.clone(), look);
    let curves = [curve("closed loop", &example.closed, 0), curve("open loop", &example.open, 1)];
    *html += &charts::percentiles("One pause, seen in two manners", "", &curves).inline(false);
    *html += "</figure></div>\n<p>So a closed loop tells how much a server can do, and an open one what users wait. The \
              curves above say in <a href=\"#how\">their manner</a> which of the two they are.</p>\n";
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::curve::Curve;
    use crate::sweep::curve::tests::{point, round};

    /// The chapter of doubts about a server with two rounds, of which all connections were held.
    fn doubts_about(others: Option<f64>, closes: bool) -> String {
        let mut point = point(vec![round(1.0, 0.5, Some(0.0)), round(1.0, 0.5, others)]);
        point.load.closes = closes;
        point.rounds.iter_mut().for_each(|round| round.held = point.load.total());
        let (name, url, who) = ("tide".to_string(), "http://a/".to_string(), "one process".to_string());
        let curve = Curve { name, url, who, points: vec![point] };
        let chapters = vec![Chapter { axis: Axis::Active, curves: vec![curve] }];
        let mut html = String::new();
        doubts(&mut html, &Sweep { chapters, shortfalls: Vec::new(), notes: Vec::new(), rounds: 2 });
        html
    }

    #[test]
    fn nothing_is_said_not_to_have_happened_that_was_not_found_out() {
        let calm = "Nothing of this happened</b>: no round was disturbed";
        let html = doubts_about(Some(0.0), false);
        assert!(
            html.contains(calm) && html.contains(", and every connection that was asked for was held."),
            "{html}"
        );
        let html = doubts_about(Some(0.0), true);
        assert!(html.contains(calm) && html.contains("at every point.") && !html.contains("held"), "{html}");
        let html = doubts_about(None, false);
        assert!(html.contains("<li>tide: whether others used the machine is not known</li>"), "{html}");
        assert!(!html.contains(calm), "{html}");
    }
}
