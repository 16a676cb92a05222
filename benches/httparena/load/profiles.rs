//! The profiles: what is asked, and on how many connections.

use super::bare;
use super::client::{Expected, Load, Request};
use super::data::{CODINGS, FILES};
use super::servers::Kind;

/// The length of an upload.
const UPLOAD_BYTES: usize = 20 * 1024 * 1024;

pub struct Profile {
    pub name: &'static str,
    pub connections: [usize; 2],
    /// Servers that can take part.
    takers: &'static [Kind],
    requests: fn(Kind) -> Vec<Request>,
    depth: usize,
    requests_of_each: Option<usize>,
}

const FEW: [usize; 2] = [64, 512];
const MANY: [usize; 2] = [512, 4096];
const ANY: &[Kind] = &[Kind::Tidegate, Kind::Hyper, Kind::May, Kind::Nginx, Kind::Bare];
const ALL: &[Kind] = &[Kind::Tidegate, Kind::Hyper, Kind::May, Kind::Nginx];
const COMPUTING: &[Kind] = &[Kind::Tidegate, Kind::Hyper, Kind::May];

pub const PROFILES: [Profile; 8] = [
    Profile {
        name: "short",
        connections: FEW,
        takers: ANY,
        requests: texts,
        depth: 1,
        requests_of_each: None,
    },
    Profile {
        name: "close",
        connections: FEW,
        takers: ANY,
        requests: last_texts,
        depth: 1,
        requests_of_each: Some(1),
    },
    Profile {
        name: "baseline",
        connections: MANY,
        takers: ALL,
        requests: sums,
        depth: 1,
        requests_of_each: None,
    },
    Profile {
        name: "pipelined",
        connections: MANY,
        takers: ANY,
        requests: texts,
        depth: 16,
        requests_of_each: None,
    },
    Profile {
        name: "limited-conn",
        connections: MANY,
        takers: ALL,
        requests: sums,
        depth: 1,
        requests_of_each: Some(10),
    },
    Profile {
        name: "json",
        connections: MANY,
        takers: COMPUTING,
        requests: pages,
        depth: 1,
        requests_of_each: None,
    },
    Profile {
        name: "static",
        connections: MANY,
        takers: &[Kind::Tidegate, Kind::Hyper, Kind::Nginx],
        requests: files,
        depth: 1,
        requests_of_each: None,
    },
    Profile {
        name: "upload",
        connections: [32, 256],
        takers: COMPUTING,
        requests: uploads,
        depth: 1,
        requests_of_each: None,
    },
];

impl Profile {
    pub fn is_upload(&self) -> bool {
        self.name == "upload"
    }

    pub fn is_for(&self, kind: Kind) -> bool {
        self.takers.contains(&kind)
    }

    pub fn load(&self, connections: usize, kind: Kind) -> Load {
        let requests = (self.requests)(kind);
        Load { requests, connections, depth: self.depth, requests_of_each: self.requests_of_each }
    }
}

fn get(target: &str, field: &str, expected: Expected) -> Request {
    Request {
        bytes: format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n").into_bytes(),
        expected,
    }
}

fn post(target: &str, field: &str, content: impl AsRef<[u8]>, expected: Expected) -> Request {
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n");
    Request { bytes: [head.as_bytes(), content.as_ref()].concat(), expected }
}

fn sums(kind: Kind) -> Vec<Request> {
    let target = "/baseline11?a=13&b=42";
    // nginx has one text for all.
    let sum = |sum: &str| Expected::Content(if kind == Kind::Nginx { "55" } else { sum }.to_string());
    let mut requests = vec![get(target, "", sum("55")), post(target, "Content-Length: 2", "20", sum("75"))];
    if kind != Kind::May {
        requests.push(post(target, "Transfer-Encoding: chunked", "2\r\n20\r\n0\r\n\r\n", sum("75")));
    }
    requests
}

fn texts(kind: Kind) -> Vec<Request> {
    vec![text(kind, "")]
}

/// Requests that are the last of their connections.
fn last_texts(kind: Kind) -> Vec<Request> {
    vec![text(kind, "Connection: close\r\n")]
}

fn text(kind: Kind, field: &str) -> Request {
    // The bare loop has one text for all.
    let text = if kind == Kind::Bare { bare::TEXT } else { "ok" };
    get("/pipeline", field, Expected::Content(text.to_string()))
}

fn pages(_: Kind) -> Vec<Request> {
    let asked = [(1, 3), (5, 7), (10, 2), (15, 5), (25, 4), (40, 8), (50, 6)];
    asked.iter().map(|(count, multiplier)| page(*count, *multiplier)).collect()
}

fn page(count: usize, multiplier: usize) -> Request {
    get(&format!("/json/{count}?m={multiplier}"), "", Expected::Some)
}

fn files(kind: Kind) -> Vec<Request> {
    let of = |file: &super::data::File| {
        // Only some builds of nginx have `brotli_static`.
        let (field, at) = match kind {
            Kind::Nginx => (format!("Accept-Encoding: {}\r\n", CODINGS[1].1), 1),
            _ => ("Accept-Encoding: br;q=1, gzip;q=0.8\r\n".to_string(), 0),
        };
        let bytes = if file.coded_bytes[at] > 0 { file.coded_bytes[at] } else { file.bytes };
        get(&format!("/static/{}", file.name), &field, Expected::Bytes(bytes))
    };
    FILES.iter().map(of).collect()
}

fn uploads(_: Kind) -> Vec<Request> {
    let field = format!("Content-Type: application/octet-stream\r\nContent-Length: {UPLOAD_BYTES}");
    let expected = Expected::Content(UPLOAD_BYTES.to_string());
    vec![post("/upload", &field, vec![b'x'; UPLOAD_BYTES], expected)]
}
