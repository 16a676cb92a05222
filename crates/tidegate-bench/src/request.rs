//! The request that every connection sends, over and over: encoded once, and shared by all.

use super::options::Load;
use super::target::Target;

/// The request, repeated as often as it can be in flight on one connection, so that a pipeline leaves in one
/// write and no connection needs a buffer of its own.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
    /// The length of one request, in bytes.
    length: usize,
    /// Whether the answers have no content.
    pub is_head: bool,
}

impl Request {
    pub fn encode(target: &Target, method: &str, fields: &[String], content: &[u8], load: &Load) -> Request {
        let mut one = format!("{method} {} HTTP/1.1\r\n", target.path);
        let is_named = |name: &str| {
            let mut names = fields.iter().filter_map(|field| field.split_once(':'));
            names.any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        if !is_named("host") {
            one += &format!("Host: {}\r\n", target.authority);
        }
        if !content.is_empty() || ["POST", "PUT", "PATCH"].contains(&method) {
            one += &format!("Content-Length: {}\r\n", content.len());
        }
        if load.closes {
            one += "Connection: close\r\n";
        }
        fields.iter().for_each(|field| one += &format!("{field}\r\n"));
        let mut one = (one + "\r\n").into_bytes();
        one.extend_from_slice(content);
        Request { bytes: one.repeat(load.pipeline), length: one.len(), is_head: method == "HEAD" }
    }

    /// The length of one request, in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns the next bytes to write in one piece, when `owed` bytes are left.
    pub fn next(&self, owed: usize) -> &[u8] {
        let start = (self.length - owed % self.length) % self.length;
        &self.bytes[start..self.bytes.len().min(start + owed)]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn encode(method: &str, fields: &[&str], content: &[u8], pipeline: usize, closes: bool) -> Request {
        let target = Target::parse("http://a:81/b?c").unwrap();
        let time = Duration::from_secs(1);
        let load = Load {
            connections: 1,
            idle: 0,
            slow_readers: 0,
            drip: 0,
            duration: time,
            warm_up: time,
            rate: None,
            pipeline,
            closes,
            timeout: time,
            sources: Vec::new(),
        };
        let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
        Request::encode(&target, method, &fields, content, &load)
    }

    fn check(request: &Request, expected: &str) {
        assert_eq!(
            request.next(request.length()).escape_ascii().to_string(),
            expected.escape_default().to_string()
        );
    }

    #[test]
    fn request_says_what_was_asked_for() {
        check(&encode("GET", &[], b"", 1, false), "GET /b?c HTTP/1.1\r\nHost: a:81\r\n\r\n");
        check(
            &encode("GET", &["host: x", "A: b"], b"", 1, true),
            "GET /b?c HTTP/1.1\r\nConnection: close\r\nhost: x\r\nA: b\r\n\r\n",
        );
        check(
            &encode("POST", &[], b"abc", 1, false),
            "POST /b?c HTTP/1.1\r\nHost: a:81\r\nContent-Length: 3\r\n\r\nabc",
        );
    }

    #[test]
    fn owed_bytes_go_on_where_the_last_write_has_ended() {
        let request = encode("GET", &[], b"", 3, false);
        let (length, all) = (request.length(), request.length() * 3);
        assert_eq!(request.next(all).len(), all);
        for owed in 1..=all {
            let next = request.next(owed);
            assert!(next.len() <= owed && !next.is_empty());
            assert_eq!(next[0], request.bytes[(length - owed % length) % length], "{owed}");
        }
    }
}
