//! The script of one connection, decided before anything happens: requests, answers, and the behaviour of
//! both sides. The application reads here what to answer, the model what must come of it.

use std::sync::LazyLock;

use super::rng::Rng;
use crate::gateway::Admission;

/// Content of requests and answers is cut from this: other places, other bytes.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(noise);
/// Enough for the longest, wherever it begins.
const NOISE_BYTES: usize = 1 << 20;
/// The length of long content, which takes a connection a few turns, if the socket takes it at all.
const LONG_BYTES: usize = 950_000;

fn noise() -> Vec<u8> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(1_u32), next)
        .skip(1)
        .take(NOISE_BYTES)
        .map(|state| (state >> 24) as u8)
        .collect()
}

/// Returns content of this length, which belongs to this request of this connection, or to its answer.
pub fn content(connection: usize, number: usize, is_answer: bool, length: usize) -> &'static [u8] {
    let place = connection * 7919 + number * 997 + usize::from(is_answer) * 4001;
    &NOISE[place % (1 << 15)..][..length]
}

/// All that one client will send, and how.
#[derive(Debug)]
pub struct Script {
    pub items: Vec<Item>,
    pub bytes: Vec<u8>,
    pub pace: Pace,
    pub reading: Reading,
    pub farewell: Goodbye,
    /// Whether each request waits for the answer to the one before.
    pub is_patient: bool,
    /// Sends nothing beyond this.
    pub stalls_at: usize,
    /// The bytes that the socket takes before the client has read them.
    pub socket_bytes: usize,
}

/// How fast a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Pieces of any size, at any time.
    Any,
    /// A few bytes a second.
    Drip(usize),
}

/// How a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Fast,
    /// The client reads this many bytes a second.
    Slow(usize),
    /// The client reads nothing after this many bytes.
    Until(usize),
}

/// The behaviour of a client once it has sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// The client ends its side, and reads on.
    HalfClose,
    /// The client waits for the server to end.
    Stay,
    /// The client breaks the connection.
    Reset,
}

/// One request, or what passes for one.
#[derive(Debug)]
pub struct Item {
    /// Where in the script it begins, where its head ends, where it ends.
    pub start: usize,
    pub head_end: usize,
    pub end: usize,
    pub method: &'static str,
    pub is_http11: bool,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    Good {
        body: usize,
        answer: Answer,
        status: u16,
        says_close: bool,
        admission: Admission,
    },
    /// The request is to be refused with this status.
    Bad(u16),
}

/// How the application answers.
#[derive(Debug)]
pub enum Answer {
    /// The content is sent at once, held in one of four ways.
    Send(usize, usize),
    /// The content is written in pieces within the call.
    Write(Vec<usize>, Declared, Ending),
    /// The content is drawn in pieces.
    Stream(Vec<Step>, Declared, Ending),
    /// The content comes from a file, of which `left` bytes are left when it is read.
    File { length: usize, left: usize },
    /// The answer comes once these waits are over.
    Later(Vec<Wait>, Box<Answer>),
    /// The application fails, with a head begun or not.
    Fail { panics: bool, begins: bool },
    /// The application takes the connection over.
    Tunnel(TunnelPlan),
}

/// A tunnel that sends back what it is sent, up to its own end.
#[derive(Clone, Debug)]
pub struct TunnelPlan {
    /// The bytes that the client sends.
    pub bytes: usize,
    /// The bytes that it keeps at most, and gives at once.
    pub room: usize,
    pub most: usize,
    /// A wait after each piece, as long as there are any.
    pub waits: Vec<Wait>,
    /// The number of bytes that it gives, and how it ends then.
    pub ends_after: Option<(usize, Ending)>,
    /// Whether it ends when the server drains.
    pub leaves: bool,
}

impl Answer {
    /// Whether the content is drawn.
    pub fn is_streamed(&self) -> bool {
        match self {
            Answer::Stream(..) => true,
            Answer::Later(_, then) => then.is_streamed(),
            Answer::Send(..) | Answer::Write(..) | Answer::File { .. } | Answer::Fail { .. } => false,
            Answer::Tunnel(_) => false,
        }
    }

    /// Returns the plan of the tunnel that it is, perhaps after some waiting.
    pub fn tunnel(&self) -> Option<&TunnelPlan> {
        match self {
            Answer::Tunnel(plan) => Some(plan),
            Answer::Later(_, then) => then.tunnel(),
            Answer::Send(..) | Answer::Write(..) | Answer::Stream(..) => None,
            Answer::File { .. } | Answer::Fail { .. } => None,
        }
    }

    /// Whether its content is a file's.
    pub fn is_file(&self) -> bool {
        match self {
            Answer::File { .. } => true,
            Answer::Later(_, then) => then.is_file(),
            Answer::Send(..) | Answer::Write(..) | Answer::Stream(..) | Answer::Fail { .. } => false,
            Answer::Tunnel(_) => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Data(usize),
    Wait(Wait),
}

/// Until a moment, in milliseconds from then, or until somebody wakes, or either.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub until: Option<u64>,
    pub has_job: bool,
}

/// The value of Content-Length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    No,
    Right,
    More,
    Less,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    End,
    Error,
    Panic,
}

/// Refused, each with its status.
const BAD: [(&str, u16); 6] = [
    ("BAD\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413),
];

impl Script {
    /// A script for the connection with this number.
    pub fn new(connection: usize, rng: &Rng) -> Script {
        let (mut items, mut bytes) = (Vec::new(), Vec::new());
        let is_long = rng.once_in(100);
        let ends_in_tunnel = rng.once_in(4);
        let count = if ends_in_tunnel && rng.once_in(2) { 0 } else { 1 + rng.pick(&[0, 1, 2, 4, 8]) };
        for number in 0..count {
            bytes.extend_from_slice(rng.pick(&["", "", "", "\r\n", "\n\r\n"]).as_bytes());
            let item = if rng.once_in(24) {
                bad_item(&mut bytes, rng)
            } else {
                good_item(connection, number, is_long && number == 0, &mut bytes, rng)
            };
            items.push(item);
        }
        if ends_in_tunnel {
            items.push(tunnel_item(connection, items.len(), &mut bytes, rng));
        }
        let stalls_at = if rng.once_in(4) { rng.below(bytes.len() + 1) } else { bytes.len() };
        let drip = Pace::Drip(1 + rng.below(20));
        let reading = match rng.below(8) {
            0 if is_long => Reading::Until(rng.below(LONG_BYTES)),
            0 => Reading::Slow(1 + rng.below(2_000)),
            1 => Reading::Until(rng.below(3_000)),
            _ => Reading::Fast,
        };
        Script {
            items,
            bytes,
            pace: if rng.once_in(6) && !is_long { drip } else { Pace::Any },
            reading,
            farewell: rng.pick(&[Goodbye::HalfClose, Goodbye::Stay, Goodbye::HalfClose, Goodbye::Reset]),
            is_patient: rng.once_in(3),
            stalls_at,
            socket_bytes: match is_long {
                true => rng.pick(&[100_000, 2 * LONG_BYTES]),
                false => rng.pick(&[1, 30, 30, 300, 300, 3_000, 3_000, 100_000, 100_000]),
            },
        }
    }
}

impl Script {
    /// Whether no answer is handed to the socket as one that is longer than a turn.
    pub fn is_in_parts(&self) -> bool {
        let is_short = |item: &Item| match &item.kind {
            Kind::Good { answer: Answer::Send(length, _), .. } => *length < 100_000,
            Kind::Good { answer: Answer::Write(lengths, ..), .. } => lengths.iter().sum::<usize>() < 100_000,
            Kind::Good { .. } | Kind::Bad(_) => true,
        };
        self.items.iter().all(is_short)
    }
}

fn bad_item(bytes: &mut Vec<u8>, rng: &Rng) -> Item {
    let (text, code) = rng.pick(&BAD);
    let start = bytes.len();
    bytes.extend_from_slice(text.as_bytes());
    let head_end = start + text.find("\r\n\r\n").expect("a head") + 4;
    Item { start, head_end, end: bytes.len(), method: "GET", is_http11: true, kind: Kind::Bad(code) }
}

fn good_item(connection: usize, number: usize, is_long: bool, bytes: &mut Vec<u8>, rng: &Rng) -> Item {
    let start = bytes.len();
    let method = rng.pick(&["GET", "GET", "POST", "POST", "HEAD"]);
    let is_http11 = !rng.once_in(8);
    let body = match method {
        "POST" if is_long => rng.below(LONG_BYTES),
        "POST" => rng.length(),
        _ => 0,
    };
    let is_chunked = is_http11 && method == "POST" && rng.once_in(2);
    let version = if is_http11 { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut head = format!("{method} /{connection}/{number} {version}\r\nHost: a\r\n");
    let connection_field = match (is_http11, rng.below(12)) {
        (_, 0) => "Connection: close\r\n",
        (false, 1..8) => "Connection: keep-alive\r\n",
        _ => "",
    };
    head.push_str(connection_field);
    match (method, is_chunked) {
        ("POST", true) => head.push_str("Transfer-Encoding: chunked\r\n"),
        ("POST", false) => head.push_str(&format!("Content-Length: {body}\r\n")),
        _ => {}
    }
    if takes_trailers(connection, number) {
        head.push_str("TE: trailers\r\n");
    }
    if method == "POST" && rng.once_in(4) {
        head.push_str("Expect: 100-continue\r\n");
    }
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend_from_slice(b"\r\n");
    let head_end = bytes.len();
    let sent = content(connection, number, false, body);
    if is_chunked {
        encode_chunks(bytes, sent, &trailer(connection, number), rng);
    } else {
        bytes.extend_from_slice(sent);
    }
    let kind = Kind::Good {
        body,
        answer: if is_long { long_answer(rng) } else { answer(rng, 0) },
        status: rng.pick(&[200, 200, 200, 404, 204, 304]),
        says_close: rng.once_in(16),
        admission: rng.pick(&[
            Admission::Collect,
            Admission::Collect,
            Admission::FromHead,
            Admission::AsItComes,
        ]),
    };
    Item { start, head_end, end: bytes.len(), method, is_http11, kind }
}

/// A request whose connection is taken over; nothing that follows is another.
fn tunnel_item(connection: usize, number: usize, bytes: &mut Vec<u8>, rng: &Rng) -> Item {
    let start = bytes.len();
    let head = format!(
        "GET /{connection}/{number} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    );
    bytes.extend_from_slice(head.as_bytes());
    let head_end = bytes.len();
    let length = rng.length();
    bytes.extend_from_slice(content(connection, number, false, length));
    let ending = rng.pick(&[Ending::End, Ending::End, Ending::Error, Ending::Panic]);
    let tunnel = Answer::Tunnel(TunnelPlan {
        bytes: length,
        room: rng.pick(&[1, 5, 100, 5_000]),
        most: rng.pick(&[1, 7, 1_000]).max(length / 200),
        waits: (0..rng.pick(&[0, 0, 1, 3])).map(|_| wait(rng)).collect(),
        ends_after: rng.once_in(3).then(|| (rng.below(length + 1), ending)),
        leaves: rng.once_in(2),
    });
    let answer = match rng.once_in(4) {
        true => Answer::Later(vec![wait(rng)], Box::new(tunnel)),
        false => tunnel,
    };
    let kind = Kind::Good { body: 0, answer, status: 101, says_close: false, admission: Admission::Collect };
    Item { start, head_end, end: bytes.len(), method: "GET", is_http11: true, kind }
}

/// Returns the trailer of a request or an answer, if it has one: every other time.
pub fn trailer(connection: usize, number: usize) -> Option<String> {
    (connection + number).is_multiple_of(2).then(|| format!("{connection}/{number}"))
}

/// Whether a request says that its client takes trailers: some that have any do, and some that have none.
pub fn takes_trailers(connection: usize, number: usize) -> bool {
    (connection + number) % 4 < 2
}

fn encode_chunks(bytes: &mut Vec<u8>, mut content: &[u8], trailer: &Option<String>, rng: &Rng) {
    while !content.is_empty() {
        let (chunk, rest) = content.split_at(1 + rng.below(content.len()));
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        content = rest;
    }
    bytes.extend_from_slice(rng.pick(&["0\r\n", "0\r\n", "00;x\r\nContent-Length: 3\r\n"]).as_bytes());
    if let Some(trailer) = trailer {
        bytes.extend(format!("X-Sum: {trailer}\r\n").into_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
}

fn long_answer(rng: &Rng) -> Answer {
    let length = rng.below(LONG_BYTES);
    match rng.below(4) {
        0 => Answer::Send(length, rng.below(4)),
        1 => Answer::Write(vec![length / 2, length / 3, 100], Declared::No, Ending::End),
        2 => Answer::Stream((0..20).map(|_| Step::Data(length / 20)).collect(), Declared::No, Ending::End),
        _ => Answer::File { length, left: length },
    }
}

fn answer(rng: &Rng, depth: usize) -> Answer {
    let declared = rng.pick(&[Declared::No, Declared::No, Declared::Right, Declared::More, Declared::Less]);
    let ending = rng.pick(&[Ending::End, Ending::End, Ending::End, Ending::Error, Ending::Panic]);
    let lengths = |rng: &Rng| (0..rng.below(5)).map(|_| rng.length()).collect::<Vec<_>>();
    match rng.below(if depth == 0 { 13 } else { 9 }) {
        0..3 => Answer::Send(rng.length(), rng.below(4)),
        3 => Answer::Write(lengths(rng), declared, ending),
        4..7 => Answer::Stream(steps(rng), declared, ending),
        7 => {
            let length = rng.length();
            Answer::File { length, left: if rng.once_in(3) { rng.below(length + 1) } else { length } }
        }
        8 => Answer::Fail { panics: rng.once_in(2), begins: rng.once_in(2) },
        _ => {
            let waits = (0..1 + rng.below(3)).map(|_| wait(rng)).collect();
            Answer::Later(waits, Box::new(answer(rng, depth + 1)))
        }
    }
}

fn steps(rng: &Rng) -> Vec<Step> {
    let count = rng.pick(&[0, 1, 3, 8, 30]);
    let step = |rng: &Rng| {
        if rng.once_in(5) { Step::Wait(wait(rng)) } else { Step::Data(rng.length() / (1 + count / 4)) }
    };
    (0..count).map(|_| step(rng)).collect()
}

fn wait(rng: &Rng) -> Wait {
    let until = rng.once_in(2).then(|| rng.pick(&[1, 500, 5_000, 60_000]));
    Wait { until, has_job: until.is_none() || rng.once_in(2) }
}
