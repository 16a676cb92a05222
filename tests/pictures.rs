//! Draws the pictures in `pictures/` from the code, and fails when they show something else.
//!
//! The state diagrams are drawn from `after` of `src/protocol/state.rs`, for every pair of state and event; the picture of the turn
//! from the steps that the event loop counts. `TIDEGATE_DRAW=1 cargo test --test pictures` draws them anew. Where things stand is
//! decided here; what there is, and which arrow leads where, is not.

use std::fmt::{Debug, Write};
use std::fs;
use std::path::Path;

use tidegate::protocol::{
    BodyDecoder, BodyEncoder, ProtocolError, RequestEvent, RequestState, ResponseEvent, ResponseState,
};
use tidegate::server::Step;

const DECODER: BodyDecoder = BodyDecoder::Length(1);
const ENCODER: BodyEncoder = BodyEncoder::Chunked;
const ERROR: ProtocolError = ProtocolError::MalformedHead;

/// A state: its name, what is true in it, and where its middle stands.
struct Node {
    name: &'static str,
    meaning: &'static str,
    at: (f64, f64),
}

/// How far an arrow is bent to its left, and where on it its words stand.
struct Bend {
    from: &'static str,
    to: &'static str,
    by: f64,
    label: (f64, f64),
}

const WIDTH: f64 = 150.0;
const HEIGHT: f64 = 54.0;

const STYLE: &str = "<style>\
    svg { font-family: system-ui, sans-serif; background: #fff; } \
    .box { fill: #e8f1f7; stroke: #1277b8; stroke-width: 1.5; } .bad .box { fill: #fbeae5; stroke: #c23616; } \
    .name { font-size: 16px; font-weight: 600; fill: #10222f; } .meaning { font-size: 11px; fill: #5a6d7a; } \
    .event { font-size: 12px; fill: #10222f; font-family: ui-monospace, monospace; } \
    .halo { stroke: #fff; stroke-width: 4; stroke-linejoin: round; paint-order: stroke; } \
    path.arrow { fill: none; stroke: #5a6d7a; stroke-width: 1.5; } marker path { fill: #5a6d7a; } \
    @media (prefers-color-scheme: dark) { svg { background: #0d1117; } .box { fill: #12283a; stroke: #4db1f0; } \
    .bad .box { fill: #33190f; stroke: #ff7a4d; } .name, .event { fill: #e3edf3; } .meaning { fill: #93a7b4; } \
    .halo { stroke: #0d1117; } path.arrow { stroke: #93a7b4; } marker path { fill: #93a7b4; } } </style>\
    <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
    <path d=\"M0 0 8 4 0 8z\"/></marker></defs>\n";

/// Begins a picture of this size, with a title for who cannot see it.
fn begin(width: u32, height: u32, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n{STYLE}"
    )
}

fn text(out: &mut String, class: &str, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(
        out,
        "<text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{words}</text>"
    )
    .unwrap();
}

fn draw_node(out: &mut String, node: &Node) {
    let (x, y) = node.at;
    let class = if ["Refused", "Aborted"].contains(&node.name) { "bad" } else { "good" };
    let (left, top) = (x - WIDTH / 2.0, y - HEIGHT / 2.0);
    write!(out, "<g class=\"{class}\"><rect class=\"box\" x=\"{left}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"10\"/>")
        .unwrap();
    text(out, "name", (x, y - 3.0), "middle", node.name);
    text(out, "meaning", (x, y + 15.0), "middle", node.meaning);
    out.push_str("</g>\n");
}

/// The point where a line from the middle of a box towards a point leaves it.
fn edge_of(node: &Node, towards: (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (towards.0 - node.at.0, towards.1 - node.at.1);
    let scale = ((WIDTH / 2.0 + 2.0) / dx.abs()).min((HEIGHT / 2.0 + 2.0) / dy.abs());
    (node.at.0 + dx * scale, node.at.1 + dy * scale)
}

fn draw_arrow(out: &mut String, from: &Node, to: &Node, bend: &Bend, events: &[String]) {
    let label = if from.name == to.name {
        let (x, y) = (from.at.0 + bend.by, from.at.1 - HEIGHT / 2.0 * bend.label.1.signum());
        let up = 34.0 * bend.label.1.signum();
        writeln!(
            out,
            "<path class=\"arrow\" marker-end=\"url(#tip)\" d=\"M{:.0} {y:.0} C{:.0} {:.0} {:.0} {:.0} {:.0} {y:.0}\"/>",
            x - 14.0, x - 22.0, y - up, x + 22.0, y - up, x + 14.0
        )
        .unwrap();
        (x + bend.label.0, if up < 0.0 { y - up + 6.0 } else { y - up + 2.0 })
    } else {
        let (dx, dy) = (to.at.0 - from.at.0, to.at.1 - from.at.1);
        let length = dx.hypot(dy);
        let middle = ((from.at.0 + to.at.0) / 2.0, (from.at.1 + to.at.1) / 2.0);
        let control = (middle.0 + dy / length * bend.by, middle.1 - dx / length * bend.by);
        let (start, end) = (edge_of(from, control), edge_of(to, control));
        writeln!(
            out,
            "<path class=\"arrow\" marker-end=\"url(#tip)\" d=\"M{:.0} {:.0} Q{:.0} {:.0} {:.0} {:.0}\"/>",
            start.0, start.1, control.0, control.1, end.0, end.1
        )
        .unwrap();
        let top =
            (start.0 / 4.0 + control.0 / 2.0 + end.0 / 4.0, start.1 / 4.0 + control.1 / 2.0 + end.1 / 4.0);
        (top.0 + bend.label.0, top.1 + bend.label.1)
    };
    for (line, event) in events.iter().enumerate() {
        text(out, "event halo", (label.0, label.1 + line as f64 * 15.0), "middle", event);
    }
}

/// Draws a machine: every transition that `after` knows.
fn draw_machine<S: Copy, E: Copy + Debug>(
    (width, height, title): (u32, u32, &str),
    (states, events): (&[S], &[E]),
    (nodes, bends): (&[Node], &[Bend]),
    name: impl Fn(S) -> &'static str,
    after: impl Fn(S, E) -> Option<S>,
) -> String {
    let mut out = begin(width, height, title);
    let node = |name: &str| {
        nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("{name} has no place"))
    };
    let mut drawn = 0;
    for from in states {
        for to in states {
            let leads = |event: &&E| after(*from, **event).is_some_and(|next| name(next) == name(*to));
            // `Refused(BodyTimeout)` → `Refused`.
            let word = |event: &E| format!("{event:?}").split('(').next().unwrap_or_default().to_string();
            let labels: Vec<String> = events.iter().filter(leads).map(word).collect();
            if labels.is_empty() {
                continue;
            }
            drawn += 1;
            let (from, to) = (name(*from), name(*to));
            let bend = bends.iter().find(|bend| (bend.from, bend.to) == (from, to));
            let bend = bend.unwrap_or_else(|| panic!("the arrow from {from} to {to} has no place"));
            draw_arrow(&mut out, node(from), node(to), bend, &labels);
        }
    }
    assert_eq!(drawn, bends.len(), "some arrow exists no more");
    nodes.iter().for_each(|node| draw_node(&mut out, node));
    out.push_str("</svg>\n");
    out
}

/// Compares a picture with the one in the repository, or draws that anew.
fn check(name: &str, picture: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pictures").join(name);
    if std::env::var_os("TIDEGATE_DRAW").is_some() {
        fs::write(&path, picture).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == picture,
        "{name} shows something else: TIDEGATE_DRAW=1 cargo test --test pictures draws it anew"
    );
}

const fn node(name: &'static str, meaning: &'static str, x: f64, y: f64) -> Node {
    Node { name, meaning, at: (x, y) }
}

const fn bend(from: &'static str, to: &'static str, by: f64, label: (f64, f64)) -> Bend {
    Bend { from, to, by, label }
}

#[test]
fn picture_of_the_request_is_what_the_code_does() {
    let states = [
        RequestState::Idle,
        RequestState::Head,
        RequestState::Body(DECODER),
        RequestState::Complete,
        RequestState::Refused(ERROR),
    ];
    let events = [
        RequestEvent::HeadBegun,
        RequestEvent::HeadEnded,
        RequestEvent::ContentAwaited(DECODER),
        RequestEvent::ContentEnded,
        RequestEvent::ContentDeclined,
        RequestEvent::Refused(ERROR),
        RequestEvent::NextExchange,
    ];
    let nodes = [
        node("Idle", "no byte has come", 95.0, 230.0),
        node("Head", "half a head has come", 355.0, 230.0),
        node("Body", "content is coming", 615.0, 230.0),
        node("Complete", "all of it is there", 875.0, 230.0),
        node("Refused", "nothing more is read", 485.0, 430.0),
    ];
    let bends = [
        bend("Idle", "Head", 0.0, (0.0, -8.0)),
        bend("Idle", "Body", 150.0, (-60.0, -6.0)),
        bend("Idle", "Complete", 330.0, (0.0, -6.0)),
        bend("Idle", "Refused", -60.0, (-20.0, 8.0)),
        bend("Head", "Head", -42.0, (0.0, -12.0)),
        bend("Head", "Body", 0.0, (0.0, -8.0)),
        bend("Head", "Complete", 150.0, (60.0, -6.0)),
        bend("Head", "Refused", 0.0, (-22.0, 12.0)),
        bend("Body", "Complete", 0.0, (0.0, -23.0)),
        bend("Body", "Refused", 0.0, (22.0, 12.0)),
        bend("Complete", "Idle", 620.0, (0.0, 20.0)),
        bend("Complete", "Refused", 60.0, (20.0, 8.0)),
        bend("Refused", "Refused", 0.0, (0.0, -12.0)),
    ];
    let picture = draw_machine(
        (970, 580, "The states of a request"),
        (&states, &events),
        (&nodes, &bends),
        RequestState::name,
        RequestState::after,
    );
    check("request.svg", &picture);
}

#[test]
fn picture_of_the_response_is_what_the_code_does() {
    let states = [
        ResponseState::Unstarted,
        ResponseState::Continue,
        ResponseState::Body(ENCODER),
        ResponseState::Complete,
        ResponseState::Aborted(ENCODER),
    ];
    let events = [
        ResponseEvent::ContinueSent,
        ResponseEvent::HeadEnded(ENCODER),
        ResponseEvent::ContentEnded,
        ResponseEvent::Failed,
        ResponseEvent::NextExchange,
    ];
    let nodes = [
        node("Unstarted", "nothing is encoded", 95.0, 190.0),
        node("Continue", "100 is encoded", 355.0, 190.0),
        node("Body", "the head is encoded", 615.0, 190.0),
        node("Complete", "all is encoded", 875.0, 190.0),
        node("Aborted", "to break off", 615.0, 340.0),
    ];
    let bends = [
        bend("Unstarted", "Continue", 0.0, (0.0, -8.0)),
        bend("Unstarted", "Body", 150.0, (0.0, -6.0)),
        bend("Unstarted", "Unstarted", -42.0, (0.0, -12.0)),
        bend("Continue", "Continue", 0.0, (0.0, -12.0)),
        bend("Continue", "Body", 0.0, (0.0, -8.0)),
        bend("Body", "Complete", 0.0, (0.0, -8.0)),
        bend("Body", "Aborted", 0.0, (34.0, 4.0)),
        bend("Complete", "Complete", 42.0, (0.0, -12.0)),
        bend("Complete", "Unstarted", 560.0, (0.0, 18.0)),
        bend("Aborted", "Aborted", 0.0, (0.0, -12.0)),
    ];
    let picture = draw_machine(
        (970, 500, "The states of a response"),
        (&states, &events),
        (&nodes, &bends),
        ResponseState::name,
        ResponseState::after,
    );
    check("response.svg", &picture);
}

/// What a step of the loop does, in a few words.
fn meaning(step: Step) -> [&'static str; 2] {
    match step {
        Step::Wait => ["sleeps until an event,", "or the next deadline"],
        Step::Dispatch => ["a turn for each", "socket with an event"],
        Step::Accept => ["takes who has", "come"],
        Step::Wake => ["whom another thread", "has woken"],
        Step::TakeUpRemainders => ["who stopped early", "for the others' sake"],
        Step::Expire => ["whose time is up"; 2],
        Step::WatchMemory => ["memory, and the", "access log"],
    }
}

#[test]
fn picture_of_the_turn_has_the_steps_of_the_loop() {
    let mut out = begin(980, 420, "A turn of the event loop, and in it the turn of a connection");
    let at = |index: usize| 75.0 + index as f64 * 138.0;
    for (index, step) in Step::ALL.into_iter().enumerate() {
        let x = at(index);
        let left = x - 62.0;
        writeln!(out, "<rect class=\"box\" x=\"{left}\" y=\"40\" width=\"124\" height=\"78\" rx=\"10\"/>")
            .unwrap();
        let name = step.name();
        text(&mut out, if name.len() >= 12 { "event" } else { "name" }, (x, 66.0), "middle", name);
        let [first, second] = meaning(step);
        text(&mut out, "meaning", (x, 86.0), "middle", first);
        if second != first {
            text(&mut out, "meaning", (x, 102.0), "middle", second);
        }
        if index + 1 < Step::ALL.len() {
            let (from, to) = (x + 63.0, at(index + 1) - 64.0);
            writeln!(out, "<path class=\"arrow\" marker-end=\"url(#tip)\" d=\"M{from} 79H{to}\"/>").unwrap();
        }
    }
    let (last, first) = (at(6), at(0));
    writeln!(
        out,
        "<path class=\"arrow\" marker-end=\"url(#tip)\" d=\"M{last} 38C{last} 4 {first} 4 {first} 37\"/>"
    )
    .unwrap();
    text(&mut out, "meaning halo", (490.0, 16.0), "middle", "and again, for ever: one turn of the loop");
    writeln!(out, "<path class=\"arrow\" marker-end=\"url(#tip)\" d=\"M{} 120V196\"/>", at(1)).unwrap();
    text(
        &mut out,
        "meaning halo",
        (at(1) + 8.0, 160.0),
        "start",
        "Connection::turn, also from accept, wake, remainders and expire",
    );
    let source =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reactor/connection.rs")).unwrap();
    let parts = [
        ("fill", "reads what is there:", "bytes, the end, or nothing"),
        ("advance", "parses, calls the", "application, draws pieces"),
        ("flush", "writes what the", "socket takes"),
        ("settle", "asks what is wanted now,", "and until when"),
    ];
    for (index, (name, first, second)) in parts.into_iter().enumerate() {
        assert!(
            source.contains(&format!("*{name}*")) || source.contains(&format!("{name}(")),
            "{name} is no part of a turn"
        );
        let x = 170.0 + index as f64 * 215.0;
        let left = x - 85.0;
        writeln!(out, "<rect class=\"box\" x=\"{left}\" y=\"200\" width=\"170\" height=\"78\" rx=\"10\"/>")
            .unwrap();
        text(&mut out, "name", (x, 226.0), "middle", name);
        text(&mut out, "meaning", (x, 246.0), "middle", first);
        text(&mut out, "meaning", (x, 262.0), "middle", second);
        if index < 3 {
            writeln!(
                out,
                "<path class=\"arrow\" marker-end=\"url(#tip)\" d=\"M{} 239H{}\"/>",
                x + 86.0,
                x + 128.0
            )
            .unwrap();
        }
    }
    let back = "<path class=\"arrow\" marker-end=\"url(#tip)\" d=\"M600 280C600 316 170 316 170 281\"/>\n";
    out.push_str(back);
    text(
        &mut out,
        "meaning halo",
        (385.0, 312.0),
        "middle",
        "pump: again and again, until something is missing, or others come first",
    );
    for (line, (wish, then)) in [
        ("Read · ReadOrWrite · Write", "an event will tell: Verdict::Keep"),
        ("Turn", "it could go on, others come first: the ready list, and wait does not sleep"),
        ("Application", "a wake-up, or its moment"),
        ("Close", "Verdict::Gone, and the loop reaps it"),
    ]
    .into_iter()
    .enumerate()
    {
        let y = 340.0 + line as f64 * 20.0;
        text(&mut out, "event", (330.0, y), "end", &format!("Wants::{wish}"));
        text(&mut out, "meaning", (345.0, y), "start", then);
    }
    out.push_str("</svg>\n");
    check("turn.svg", &out);
}
