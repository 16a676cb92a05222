//! Probes what a servlet may not set, and what a connector makes of it.

use super::probe::{Probe, Row, rows};

pub fn probes() -> impl Iterator<Item = Probe> {
    rows(FIELDS).chain(rows(STATUS)).chain(rows(LENGTHS))
}

const FIELDS: &[Row] = &[
    (
        "field with CR LF",
        "GET /probe/misuse/set?name=X-A&value=b%0D%0AX-Injected:+1",
        "500 length: page of 500",
    ),
    ("field with LF", "GET /probe/misuse/set?name=X-A&value=b%0AX-Injected:+1", "500 length: page of 500"),
    ("field with NUL", "GET /probe/misuse/set?name=X-A&value=b%00c", "500 length: page of 500"),
    ("field with another control", "GET /probe/misuse/set?name=X-A&value=b%07c", "500 length: page of 500"),
    (
        "field with a tab",
        "GET /probe/misuse/set?name=X-A&value=b%09c",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-A: b	c}: ok",
    ),
    (
        "field with a letter of Unicode",
        "GET /probe/misuse/set?name=X-A&value=%E2%82%AC",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-A: ?}: ok",
    ),
    (
        "field whose name has CR LF",
        "GET /probe/misuse/set?name=X-A%0D%0AX-Injected:+1&value=b",
        "500 length: page of 500",
    ),
    ("field whose name has a blank", "GET /probe/misuse/set?name=X+A&value=b", "500 length: page of 500"),
    ("field whose name has a colon", "GET /probe/misuse/set?name=X-A:&value=b", "500 length: page of 500"),
    (
        "field without a name",
        "GET /probe/misuse/set?name=&value=b",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    (
        "field added with CR LF",
        "GET /probe/misuse/add?name=X-A&value=b%0D%0AX-Injected:+1",
        "500 length: page of 500",
    ),
    ("type with CR LF", "GET /probe/misuse/type?value=text/x%0D%0AX-Injected:+1", "500 length: page of 500"),
    (
        "cookie with CR LF",
        "GET /probe/misuse/cookie?name=a&value=b%0D%0AX-Injected:+1",
        "500 length: page of 500",
    ),
    ("cookie with a wrong name", "GET /probe/misuse/cookie?name=a%0Db&value=b", "500 length: page of 500"),
    (
        "redirect with CR LF",
        "GET /probe/misuse/redirect?value=/a%0D%0AX-Injected:+1",
        "500 length: page of 500",
    ),
    ("reason with CR LF", "GET /probe/misuse/error?value=418", "418 length: page of 418"),
    (
        "transfer coding",
        "GET /probe/misuse/set?name=Transfer-Encoding&value=chunked",
        "500 length: page of 500",
    ),
    (
        "transfer coding of another kind",
        "GET /probe/misuse/set?name=Transfer-Encoding&value=gzip",
        "500 length: page of 500",
    ),
    (
        "length by a field",
        "GET /probe/misuse/set?name=Content-Length&value=2",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    (
        "length by a field that is no number",
        "GET /probe/misuse/set?name=Content-Length&value=2x",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    (
        "length by two fields",
        "GET /probe/misuse/add?name=Content-Length&value=2",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    (
        "connection options",
        "GET /probe/misuse/set?name=Connection&value=x-mine",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    (
        "connection that is to be kept",
        "GET /probe/misuse/set?name=Connection&value=keep-alive",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    (
        "upgrade that nobody asked for",
        "GET /probe/misuse/set?name=Upgrade&value=h2c",
        "500 length: page of 500",
    ),
    (
        "keep-alive",
        "GET /probe/misuse/set?name=Keep-Alive&value=timeout%3D1000",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    (
        "trailer",
        "GET /probe/misuse/set?name=Trailer&value=x-sum",
        "200 length {Content-Type: text/plain;charset=UTF-8, Trailer: x-sum}: ok",
    ),
];

const STATUS: &[Row] = &[
    ("status 99", "GET /probe/misuse/status?value=99", "500 length: page of 500"),
    ("status 0", "GET /probe/misuse/status?value=0", "500 length: page of 500"),
    ("status -1", "GET /probe/misuse/status?value=-1", "500 length: page of 500"),
    ("status 100", "GET /probe/misuse/status?value=100", "500 length: page of 500"),
    ("status 101", "GET /probe/misuse/status?value=101", "500 length: page of 500"),
    ("status 199", "GET /probe/misuse/status?value=199", "500 length: page of 500"),
    (
        "status 299",
        "GET /probe/misuse/status?value=299",
        "299 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    (
        "status 599",
        "GET /probe/misuse/status?value=599",
        "599 length {Content-Type: text/plain;charset=UTF-8}: ok",
    ),
    ("status 600", "GET /probe/misuse/status?value=600", "500 length: page of 500"),
    ("status 999", "GET /probe/misuse/status?value=999", "500 length: page of 500"),
    ("status 1000", "GET /probe/misuse/status?value=1000", "500 length: page of 500"),
    ("content with 204", "GET /probe/misuse/content?value=204", "204 none"),
    ("content with 205", "GET /probe/misuse/content?value=205", "205 length"),
    (
        "content with 304",
        "GET /probe/misuse/content?value=304",
        "304 none {Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "content with 500",
        "GET /probe/misuse/content?value=500",
        "500 chunked {Content-Type: text/plain;charset=UTF-8}: content",
    ),
];

const LENGTHS: &[Row] = &[
    (
        "length too long for its content",
        "GET /probe/misuse/length?value=10&content=abc",
        "200 length cut {Content-Type: text/plain;charset=UTF-8}: abc",
    ),
    (
        "length too long for its content, flushed",
        "GET /probe/misuse/length-flushed?value=10&content=abc",
        "200 length cut {Content-Type: text/plain;charset=UTF-8}: abc",
    ),
    (
        "length too short for its content",
        "GET /probe/misuse/length?value=2&content=abc",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ab",
    ),
    (
        "length too short for its content, flushed",
        "GET /probe/misuse/length-flushed?value=2&content=abc",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ab",
    ),
    (
        "length of nothing",
        "GET /probe/misuse/length?value=0&content=abc",
        "200 length {Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "length that is negative",
        "GET /probe/misuse/length?value=-5&content=abc",
        "200 length {Content-Type: text/plain;charset=UTF-8}: abc",
    ),
    (
        "length too long by HEAD",
        "HEAD /probe/misuse/length?value=10&content=abc",
        "200 none {Content-Length: 10, Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "length too long to a client of 1996",
        "GET /probe/misuse/length?value=10&content=abc HTTP/1.0",
        "200 length close cut {Content-Type: text/plain;charset=UTF-8}: abc",
    ),
    (
        "head changed after commit",
        "GET /probe/misuse/late",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}: out ok",
    ),
    (
        "writer and stream",
        "GET /probe/misuse/both",
        "500 length {Content-Type: text/plain;charset=UTF-8}: page for 500 getWriter() has already been called for this response IllegalStateException /probe/misuse/both ERROR",
    ),
    (
        "write after close",
        "GET /probe/misuse/closed",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a",
    ),
];
