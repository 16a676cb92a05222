//! The request target in its four forms (RFC 9112 §3.2), and the host of a URI (RFC 3986 §3.2.2).

// Addresses only: in `core` there are no sockets.
use core::net::Ipv6Addr;
use std::str;

use super::{Method, words};

/// The target of a request: the text that was sent, and where its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTarget<'a> {
    raw: &'a str,
    form: Form,
}

/// The form of a target. Only what locates its parts is kept; few applications ask for them, so they are
/// found when asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `/path` without percent-encoding: the usual form.
    Path,
    /// `/path` with percent-encoding.
    EncodedPath,
    /// `/path?query`, with the position of the `?`.
    PathAndQuery(usize),
    /// `http://host/path?query`: what a client sends to a proxy, and any server must take.
    Absolute,
    /// `host:port`: only with CONNECT.
    Authority,
    /// `*`: only with OPTIONS; the server as a whole.
    Asterisk,
}

/// The parts of the absolute form.
struct Absolute<'a> {
    scheme: &'a str,
    /// `host` or `host:port`. It takes precedence over the Host field (RFC 9112 §3.2.2).
    authority: &'a str,
    /// The part from the first `/` after the authority on, with the query.
    rest: &'a str,
}

/// The text is none of the four forms, or not the one that goes with the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTarget;

impl<'a> RequestTarget<'a> {
    /// The target `*`: the server as a whole.
    pub const ASTERISK: RequestTarget<'static> = RequestTarget { raw: "*", form: Form::Asterisk };

    /// Takes a request target apart. A fragment (`#…`) never belongs to one, and neither do bytes
    /// beyond ASCII (RFC 3986 §2): whether they mean UTF-8, and whether what is forwarded must be
    /// encoded, is where servers differ.
    ///
    /// A path must be decodable in one way: a `%` begins an escape, and none stands for NUL, where
    /// many a reader ends (RFC 3986 §2.1, §7.3). Nor does a path hold a `\`, which is no byte of one
    /// (RFC 3986 §3.3), and a `/` to some readers. A query is left to those who know its format.
    #[inline(always)]
    pub fn parse(method: Method<'_>, raw: &'a str) -> Result<RequestTarget<'a>, InvalidTarget> {
        if raw.starts_with('/') && method != Method::CONNECT {
            // One look at a path that has nothing to be looked at.
            return match words::any(raw.as_bytes(), may_hold_special, is_special) {
                false => Ok(RequestTarget { raw, form: Form::Path }),
                true => parse_origin(raw),
            };
        }
        parse_unusual(method, raw)
    }

    /// The whole target, as it was sent.
    pub fn as_str(self) -> &'a str {
        self.raw
    }

    /// The path as it was sent, percent-encoded; `/` where an absolute target has none (RFC 9110 §4.2.3), and empty
    /// for the forms without one.
    pub fn raw_path(self) -> &'a str {
        match self.form {
            Form::Path | Form::EncodedPath => self.raw,
            Form::PathAndQuery(at) => &self.raw[..at],
            Form::Absolute => match split_at_query(self.absolute().rest).0 {
                "" => "/",
                path => path,
            },
            Form::Authority | Form::Asterisk => "",
        }
    }

    /// Whether the target is a path without escapes and without a query: then [`raw_path`](RequestTarget::raw_path) is
    /// all of it, and means what it says.
    pub fn has_plain_path(self) -> bool {
        self.form == Form::Path
    }

    /// The query without its `?`, if there is one.
    pub fn query(self) -> Option<&'a str> {
        match self.form {
            Form::PathAndQuery(at) => self.raw.get(at + 1..),
            Form::Absolute => split_at_query(self.absolute().rest).1,
            Form::Path | Form::EncodedPath | Form::Authority | Form::Asterisk => None,
        }
    }

    /// The `host` or `host:port` that the target itself names, if it does.
    pub fn authority(self) -> Option<&'a str> {
        match self.form {
            Form::Absolute => Some(self.absolute().authority),
            Form::Authority => Some(self.raw),
            Form::Path | Form::EncodedPath | Form::PathAndQuery(_) | Form::Asterisk => None,
        }
    }

    /// Whether the target asks for a tunnel: the form that goes with CONNECT.
    pub fn is_tunnel(self) -> bool {
        self.form == Form::Authority
    }

    fn absolute(self) -> Absolute<'a> {
        let parts = split_absolute(self.raw);
        debug_assert!(parts.is_some(), "of the absolute form, and so it was split before");
        parts.unwrap_or(Absolute { scheme: "", authority: "", rest: self.raw })
    }
}

/// Whether a byte makes a target more than a plain path: it begins a query, a fragment or an escape, is a
/// backslash, or is not ASCII.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'?' | b'#' | b'%' | b'\\' | 0x80..)
}

fn may_hold_special(word: u64) -> u64 {
    // `#` and `%`, and as well `!`, `"` and `$`, which are rare.
    let hash_or_percent = words::below(word, b'&');
    hash_or_percent | words::equal(word, b'?') | words::equal(word, b'\\') | words::beyond_ascii(word)
}

fn parse_origin(raw: &str) -> Result<RequestTarget<'_>, InvalidTarget> {
    if !raw.is_ascii() {
        return Err(InvalidTarget);
    }
    let form = check_path_and_query(raw)?.map_or(Form::EncodedPath, Form::PathAndQuery);
    Ok(RequestTarget { raw, form })
}
fn parse_unusual<'a>(method: Method<'_>, raw: &'a str) -> Result<RequestTarget<'a>, InvalidTarget> {
    if !raw.is_ascii() {
        return Err(InvalidTarget);
    }
    if method == Method::CONNECT {
        return parse_authority(raw);
    }
    if raw == "*" && method == Method::OPTIONS {
        return Ok(RequestTarget::ASTERISK);
    }
    parse_absolute(raw)
}

/// Finds where the query begins, if there is one. A fragment is refused wherever it begins.
fn check_path_and_query(raw: &str) -> Result<Option<usize>, InvalidTarget> {
    let end = match raw.bytes().position(|byte| matches!(byte, b'?' | b'#' | b'%' | b'\\')) {
        Some(at) if matches!(raw.as_bytes()[at], b'%' | b'\\') => end_of_path(raw, at)?,
        end => end,
    };
    match end {
        Some(at) if raw.as_bytes()[at] == b'#' || raw[at..].contains('#') => Err(InvalidTarget),
        end => Ok(end),
    }
}

fn split_at_query(rest: &str) -> (&str, Option<&str>) {
    rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)))
}

/// Finds where a path with an escape or a backslash at `first` ends; none if it takes all of the target. All its
/// escapes must be valid, and there must be no backslash.
fn end_of_path(raw: &str, first: usize) -> Result<Option<usize>, InvalidTarget> {
    let end = raw[first..].bytes().position(|byte| matches!(byte, b'?' | b'#')).map(|at| first + at);
    let path = &raw.as_bytes()[first..end.unwrap_or(raw.len())];
    if has_valid_escapes(path) && !path.contains(&b'\\') { Ok(end) } else { Err(InvalidTarget) }
}

/// Whether each `%` is followed by two hexadecimal digits, and not by `00`.
fn has_valid_escapes(encoded: &[u8]) -> bool {
    encoded.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        matches!(encoded.get(at + 1..at + 3), Some(digits)
            if digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00")
    })
}

fn parse_absolute(raw: &str) -> Result<RequestTarget<'_>, InvalidTarget> {
    let Absolute { scheme, authority, rest } = split_absolute(raw).ok_or(InvalidTarget)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(InvalidTarget);
    }
    // An empty host is no identifier of anything, and user information is refused, since it serves
    // to obscure the host (RFC 9110 §4.2.1, §4.2.4).
    if authority.is_empty() || authority.starts_with(':') || !is_host(authority.as_bytes()) {
        return Err(InvalidTarget);
    }
    check_path_and_query(rest)?;
    Ok(RequestTarget { raw, form: Form::Absolute })
}

fn split_absolute(raw: &str) -> Option<Absolute<'_>> {
    let (scheme, rest) = raw.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    Some(Absolute { scheme, authority, rest })
}

fn parse_authority(raw: &str) -> Result<RequestTarget<'_>, InvalidTarget> {
    let (host, port) = raw.rsplit_once(':').ok_or(InvalidTarget)?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if host.is_empty() || !is_port || !is_host(raw.as_bytes()) {
        return Err(InvalidTarget);
    }
    Ok(RequestTarget { raw, form: Form::Authority })
}

/// Splits `host` and port: `[::1]:80` is `[::1]` and `80`. An empty port is none.
pub fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, Some(port).filter(|port| !port.is_empty()))
        }
        _ => (host, None),
    }
}

/// Whether this is `uri-host [ ":" port ]` (RFC 9110 §7.2). It may be empty: that says that the target has no
/// authority.
pub fn is_host(value: &[u8]) -> bool {
    // A name or an address of version 4, and perhaps a port, as nearly all are.
    let digits = value.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let name = match &value[..value.len() - digits] {
        [name @ .., b':'] if digits <= PORT_DIGITS_MAX => name,
        _ => value,
    };
    is_plain_host(name) || is_unusual_host(value)
}

fn is_plain_host(value: &[u8]) -> bool {
    value.iter().fold(true, |is_plain, &byte| is_plain & is_plain_host_byte(byte))
}

#[inline(never)]
fn is_unusual_host(value: &[u8]) -> bool {
    let Some(after_bracket) = value.strip_prefix(b"[") else {
        let name_end = value.iter().position(|&byte| !is_reg_name_byte(byte)).unwrap_or(value.len());
        return has_valid_escapes(&value[..name_end]) && is_port_suffix(&value[name_end..]);
    };
    let Some(end) = after_bracket.iter().position(|&byte| byte == b']') else {
        return false;
    };
    is_ip_literal(&after_bracket[..end]) && is_port_suffix(&after_bracket[end + 1..])
}

/// Whether this is an address in brackets: `IPv6address / IPvFuture` (RFC 3986 §3.2.2). Zones have no use in
/// HTTP (RFC 6874 is obsolete, and RFC 9110 does not have them).
fn is_ip_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let digits = future.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let is_address_byte = |&byte: &u8| is_plain_host_byte(byte) || byte == b':';
        return digits > 0
            && matches!(&future[digits..], [b'.', address @ ..]
                if !address.is_empty() && address.iter().all(is_address_byte));
    }
    str::from_utf8(literal).is_ok_and(|literal| literal.parse::<Ipv6Addr>().is_ok())
}

/// Digits of a port: 65535 has five.
const PORT_DIGITS_MAX: usize = 5;

fn is_port_suffix(suffix: &[u8]) -> bool {
    match suffix {
        [] => true,
        [b':', digits @ ..] => digits.len() <= PORT_DIGITS_MAX && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether a byte may stand in a registered name: unreserved, sub-delims and the `%` of percent-encoding (RFC
/// 3986 §3.2.2).
fn is_reg_name_byte(byte: u8) -> bool {
    is_plain_host_byte(byte) || byte == b'%'
}

fn is_plain_host_byte(byte: u8) -> bool {
    PLAIN_HOST[byte as usize]
}

/// The unreserved characters and sub-delims (RFC 3986 §2.2, §2.3), by byte: every request has a host to be
/// checked.
static PLAIN_HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8,
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~'
            | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, raw: &str, expected: Option<(&str, Option<&str>, Option<&str>)>) {
        let target = RequestTarget::parse(Method(method), raw).ok();
        let parts = target.map(|target| (target.raw_path(), target.query(), target.authority()));
        assert_eq!(parts, expected, "{method} {raw}");
    }

    #[test]
    fn the_four_forms_are_taken_apart() {
        check("GET", "/", Some(("/", None, None)));
        check("GET", "/a/b?c=d?e", Some(("/a/b", Some("c=d?e"), None)));
        check("GET", "//x//?", Some(("//x//", Some(""), None)));
        check("GET", "http://a.example", Some(("/", None, Some("a.example"))));
        check("GET", "HTTP://a:80/x?y", Some(("/x", Some("y"), Some("a:80"))));
        check("GET", "http://[::1]:8/x", Some(("/x", None, Some("[::1]:8"))));
        check("GET", "http://a?q", Some(("/", Some("q"), Some("a"))));
        check("CONNECT", "a.example:443", Some(("", None, Some("a.example:443"))));
        check("OPTIONS", "*", Some(("", None, None)));
    }

    #[test]
    fn a_form_that_does_not_go_with_the_method_is_refused() {
        check("GET", "*", None);
        check("GET", "a.example:443", None);
        check("CONNECT", "/", None);
        check("CONNECT", "a.example", None);
        check("CONNECT", ":443", None);
        check("CONNECT", "a:", None);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for raw in ["", "a", "/a#b", "/?#", "ftp://a/", "http://", "http:///x", "http://u@a/", "http://:80/"]
        {
            check("GET", raw, None);
        }
        for raw in ["/\u{e9}", "/?\u{e9}", "http://\u{e9}/", "http://a/\u{e9}"] {
            check("GET", raw, None);
        }
    }

    #[test]
    fn path_is_decoded_in_one_way_or_refused() {
        for good in ["/%41%e9%FF", "/%01", "/%2500", "/%25zz"] {
            check("GET", good, Some((good, None, None)));
        }
        check("GET", "/%20?100%&%zz&%00", Some(("/%20", Some("100%&%zz&%00"), None)));
        check("GET", "/a?\\", Some(("/a", Some("\\"), None)));
        for bad in [
            "/%",
            "/%4",
            "/%zz",
            "/%4g",
            "/%%41",
            "/a%41%",
            "/%?41",
            "/%00",
            "/a%00?b",
            "/%4\u{661}",
            "/\\",
            "/a\\..\\b?c",
            "/\\%41",
            "/%41\\",
        ] {
            check("GET", bad, None);
            check("GET", &format!("http://a{bad}"), None);
        }
    }

    #[test]
    fn hosts_follow_the_grammar() {
        for good in [
            "",
            "a",
            "a.example:80",
            "a:",
            "[::1]",
            "[::1]:80",
            "127.0.0.1:8",
            "x_y",
            "%41",
            "[1:2:3:4:5:6:7::]",
            "[::ffff:127.0.0.1]:8",
            "[v1.x:y]",
            "[VaF.~]:80",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b",
            "a/b",
            "u@a",
            "a:b",
            "a:80:90",
            "[::1",
            "[]",
            "[::1]x",
            "a,b c",
            "a\"",
            "a:123456",
            "%zz",
            "%",
            "%00",
            "[zz]",
            "[1]",
            "[127.0.0.1]",
            "[::1%eth0]",
            "[::1%25eth0]",
            "[1::2::3]",
            "[::12345]",
            "[::127.0.0.01]",
            "[v.x]",
            "[vg.x]",
            "[v1.]",
            "[v1]",
            "[v1.x%41]",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
