//! Probes what reaches the client of what a servlet answers.

use super::environment::large_file;
use super::probe::{Check, Probe, Row, ask, checks, complete, rows, sum};
use super::served::Served;
use super::support::loopback::PATIENCE;

pub fn probes() -> impl Iterator<Item = Probe> {
    rows(ANSWERS).chain(rows(DISPATCHES)).chain(rows(ERRORS)).chain(rows(FILES)).chain(checks(CHECKS))
}

const ANSWERS: &[Row] = &[
    ("answer of nothing", "GET /probe/respond/nothing", "200 length"),
    (
        "answer that is short",
        "GET /probe/respond/short",
        "200 length {Content-Type: text/plain;charset=UTF-8}: short",
    ),
    (
        "answer with its length",
        "GET /probe/respond/length",
        "200 length {Content-Type: text/plain;charset=UTF-8}: four",
    ),
    (
        "answer in pieces",
        "GET /probe/respond/pieces?count=3",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}: piece 0/piece 1/piece 2",
    ),
    (
        "answer in pieces to a client of 1996",
        "GET /probe/respond/pieces?count=3 HTTP/1.0",
        "200 until-close close {Content-Type: text/plain;charset=UTF-8}: piece 0/piece 1/piece 2",
    ),
    (
        "answer that is short to a client of 1996",
        "GET /probe/respond/short HTTP/1.0",
        "200 length close {Content-Type: text/plain;charset=UTF-8}: short",
    ),
    (
        "answer to a client of 1996 that stays",
        "GET /probe/respond/short HTTP/1.0\nConnection: keep-alive",
        "200 length {Content-Type: text/plain;charset=UTF-8}: short",
    ),
    (
        "answer to a client that wants to leave",
        "GET /probe/respond/short\nConnection: close",
        "200 length close {Content-Type: text/plain;charset=UTF-8}: short",
    ),
    (
        "answer that is long",
        "GET /probe/respond/many?bytes=1000000",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}: 1000000 bytes, db8c02c5",
    ),
    (
        "answer that is long with its length",
        "GET /probe/respond/many-length?bytes=1000000",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 1000000 bytes, db8c02c5",
    ),
    (
        "answer that is flushed",
        "GET /probe/respond/flush",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "answer that closes",
        "GET /probe/respond/close",
        "200 length close {Content-Type: text/plain;charset=UTF-8}: bye",
    ),
    (
        "HEAD of a short answer",
        "HEAD /probe/respond/short",
        "200 none {Content-Length: 5, Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "HEAD of a length",
        "HEAD /probe/respond/length",
        "200 none {Content-Length: 4, Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "HEAD of pieces",
        "HEAD /probe/respond/pieces?count=3",
        "200 none {Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "HEAD of a long answer",
        "HEAD /probe/respond/many?bytes=1000000",
        "200 none {Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "cookies that are set",
        "GET /probe/respond/cookies",
        "200 length {Content-Type: text/plain;charset=UTF-8, Set-Cookie: full=ab; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:10 GMT; Domain=example.org; Path=/probe; Secure; HttpOnly; SameSite=Lax, Set-Cookie: plain=value}",
    ),
    (
        "redirect",
        "GET /probe/respond/redirect",
        "302 length {Content-Type: text/plain;charset=UTF-8, Location: there?a=b#c}",
    ),
    (
        "redirect to the root",
        "GET /probe/respond/redirect-root",
        "302 length {Content-Type: text/plain;charset=UTF-8, Location: /there}",
    ),
    (
        "redirect elsewhere",
        "GET /probe/respond/redirect-out",
        "302 length {Content-Type: text/plain;charset=UTF-8, Location: https://example.org/x}",
    ),
    (
        "answer in ISO 8859-1",
        "GET /probe/respond/latin",
        "200 length {Content-Type: text/plain;charset=ISO-8859-1}: Gr��e",
    ),
    (
        "answer in Japanese",
        "GET /probe/respond/locale",
        "200 length {Content-Type: text/plain;charset=ISO-8859-1}: ok",
    ),
    (
        "fields",
        "GET /probe/respond/fields",
        "200 length {Content-Type: text/plain;charset=UTF-8, Server: of the servlet, X-A: 1, X-A: 2, X-B: 3, X-C: Thu, 01 Jan 1970 00:00:00 GMT, X-D: }",
    ),
    (
        "trailers of an answer",
        "GET /probe/respond/trailers\nTE: trailers",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}: content + x-more: a b + x-sum: 7",
    ),
    (
        "trailers of an answer to a client that did not ask",
        "GET /probe/respond/trailers",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}: content",
    ),
    (
        "trailers of an answer to a client of 1996",
        "GET /probe/respond/trailers HTTP/1.0",
        "500 length {Content-Type: text/plain;charset=UTF-8}: page for 500 A trailer fields supplier may not be set for this response. Either the underlying protocol does not support trailer fields or the protocol requires that the supplier is set before the response is committed IllegalStateException /probe/respond/trailers ERROR",
    ),
    (
        "trailers that may not be sent",
        "GET /probe/respond/trailers-wrong\nTE: trailers",
        "200 chunked cut {Content-Type: text/plain;charset=UTF-8}: content",
    ),
    (
        "early hints",
        "GET /probe/respond/hints",
        "103 none {Link: </style.css>; rel=preload}; 200 length {Content-Type: text/plain;charset=UTF-8, Link: </style.css>; rel=preload}: final",
    ),
    (
        "early hints to a client of 1996",
        "GET /probe/respond/hints HTTP/1.0",
        "200 length close {Content-Type: text/plain;charset=UTF-8, Link: </style.css>; rel=preload}: final",
    ),
    (
        "answer in a large buffer",
        "GET /probe/respond/buffer",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-Committed: false}: 90000 bytes, 8fd17f05",
    ),
    (
        "sendfile by HEAD",
        "HEAD /probe/respond/sendfile",
        "200 none {Content-Length: 50000, Content-Type: text/plain;charset=UTF-8, X-Sendfile: true}",
    ),
];

const DISPATCHES: &[Row] = &[
    (
        "forward",
        "GET /probe/dispatch/forward",
        "200 length {Content-Type: text/plain;charset=UTF-8}: /probe/dispatch/target/a /probe/dispatch/forward PATH c FORWARD",
    ),
    (
        "include",
        "GET /probe/dispatch/include",
        "200 length {Content-Type: text/plain;charset=UTF-8}: before /probe/dispatch/include /probe/included/a c INCLUDE after",
    ),
    (
        "forward by name",
        "GET /probe/dispatch/named\nX-Show: uri servlet mapping dispatcher",
        "200 length {Content-Type: text/plain;charset=UTF-8}: /probe/dispatch/named | /dispatch | PATH named /dispatch/* dispatch | FORWARD",
    ),
    (
        "forward after commit",
        "GET /probe/dispatch/late",
        "200 chunked cut {Content-Type: text/plain;charset=UTF-8}: gone out",
    ),
    (
        "forward to a file",
        "GET /probe/dispatch/static",
        "200 length {Accept-Ranges: bytes, Content-Type: text/plain;charset=UTF-8, ETag, Last-Modified}: A static file of the application.",
    ),
    (
        "include of a page",
        "GET /probe/dispatch/jsp",
        "200 length {Content-Type: text/plain;charset=UTF-8, Set-Cookie: JSESSIONID=SESSION; Path=/probe; HttpOnly}: 2 INCLUDE",
    ),
    (
        "page",
        "GET /probe/page.jsp",
        "200 length {Content-Type: text/plain;charset=UTF-8, Set-Cookie: JSESSIONID=SESSION; Path=/probe; HttpOnly}: 2 REQUEST",
    ),
    (
        "filter",
        "GET /probe/respond/short?around",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-Around: REQUEST}: <short>",
    ),
    (
        "filter that refuses",
        "GET /probe/respond/short?around=refuse",
        "403 length {X-Around: REQUEST}: page of 403",
    ),
    (
        "filter around an error",
        "GET /probe/errors/send?code=410&around",
        "410 length {Content-Type: text/plain;charset=UTF-8, X-Around: ERROR, X-Around: REQUEST, X-Kept: 1}: <page for 410 a reason none /probe/errors/send ERROR>",
    ),
    (
        "filter around a forward",
        "GET /probe/dispatch/forward?around",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-Around: REQUEST}: <forgotten/probe/dispatch/target/a /probe/dispatch/forward PATH c FORWARD>",
    ),
];

const ERRORS: &[Row] = &[
    (
        "error with a page",
        "GET /probe/errors/send?code=410",
        "410 length {Content-Type: text/plain;charset=UTF-8, X-Kept: 1}: page for 410 a reason none /probe/errors/send ERROR",
    ),
    ("error without a page", "GET /probe/errors/send?code=418", "418 length {X-Kept: 1}: page of 418"),
    ("error by HEAD", "HEAD /probe/errors/send?code=410", "410 none {X-Kept: 1}"),
    (
        "error that is none",
        "GET /probe/errors/send?code=200",
        "200 length {Content-Type: text/plain;charset=UTF-8, X-Kept: 1}",
    ),
    (
        "exception with a page",
        "GET /probe/errors/state",
        "500 length {Content-Type: text/plain;charset=UTF-8}: page for 500 a secret IllegalStateException /probe/errors/state ERROR",
    ),
    ("exception of a servlet", "GET /probe/errors/servlet", "500 length: page of 500"),
    ("exception of input", "GET /probe/errors/io", "500 length: page of 500"),
    ("error of the machine", "GET /probe/errors/error", "500 length: page of 500"),
    ("servlet that is out of service", "GET /probe/unavailable", "404 length: page of 404"),
    (
        "errors twice",
        "GET /probe/errors/twice",
        "500 length {Content-Type: text/plain;charset=UTF-8}: page for 500 Cannot call sendError() after the response has been committed IllegalStateException /probe/errors/twice ERROR",
    ),
    (
        "error after commit",
        "GET /probe/errors/committed",
        "200 chunked {Content-Type: text/plain;charset=UTF-8}: beginbegin",
    ),
    (
        "error after commit with a length",
        "GET /probe/errors/committed-length",
        "200 length {Content-Type: text/plain;charset=UTF-8}: beginbegin",
    ),
    (
        "error after commit to a client of 1996",
        "GET /probe/errors/committed HTTP/1.0",
        "200 until-close close {Content-Type: text/plain;charset=UTF-8}: beginbegin",
    ),
    (
        "error sent after commit",
        "GET /probe/errors/send-committed",
        "200 chunked cut {Content-Type: text/plain;charset=UTF-8}: beginbegin",
    ),
    ("reset", "GET /probe/errors/reset", "200 length {Content-Type: text/plain;charset=ISO-8859-1}: kept"),
    (
        "reset of the buffer",
        "GET /probe/errors/reset-buffer",
        "201 length {Content-Type: text/plain;charset=UTF-8, X-Kept: 1}: kept",
    ),
];

const FILES: &[Row] = &[
    (
        "file",
        "GET /probe/static.txt",
        "200 length {Accept-Ranges: bytes, Content-Type: text/plain, ETag, Last-Modified}: A static file of the application.",
    ),
    (
        "file by HEAD",
        "HEAD /probe/static.txt",
        "200 none {Accept-Ranges: bytes, Content-Length: 34, Content-Type: text/plain, ETag, Last-Modified}",
    ),
    (
        "file by POST",
        "POST /probe/static.txt\nContent-Length: 0",
        "200 length {Accept-Ranges: bytes, Content-Type: text/plain, ETag, Last-Modified}: A static file of the application.",
    ),
    (
        "file by PUT",
        "PUT /probe/static.txt\n\nabc",
        "405 length {Allow: OPTIONS, GET, HEAD, POST}: page of 405",
    ),
    ("file by OPTIONS", "OPTIONS /probe/static.txt", "200 length {Allow: OPTIONS, GET, HEAD, POST}"),
    (
        "range",
        "GET /probe/static.txt\nRange: bytes=2-7",
        "206 length {Accept-Ranges: bytes, Content-Range: bytes 2-7/34, Content-Type: text/plain, ETag, Last-Modified}: static",
    ),
    (
        "range at the end",
        "GET /probe/static.txt\nRange: bytes=-5",
        "206 length {Accept-Ranges: bytes, Content-Range: bytes 29-33/34, Content-Type: text/plain, ETag, Last-Modified}: ion.",
    ),
    (
        "range beyond",
        "GET /probe/static.txt\nRange: bytes=1000-",
        "416 length {Accept-Ranges: bytes, Content-Range: bytes */34}: page of 416",
    ),
    (
        "range that is none",
        "GET /probe/static.txt\nRange: lines=1",
        "416 length {Accept-Ranges: bytes, Content-Range: bytes */34}: page of 416",
    ),
    (
        "range of a large file",
        "GET /probe/static.bin\nRange: bytes=1000-200000",
        "206 length {Accept-Ranges: bytes, Content-Range: bytes 1000-200000/3000000, Content-Type: application/octet-stream, ETag, Last-Modified}: 199001 bytes, 382f74e8",
    ),
    (
        "range by HEAD",
        "HEAD /probe/static.txt\nRange: bytes=2-7",
        "200 none {Accept-Ranges: bytes, Content-Length: 34, Content-Type: text/plain, ETag, Last-Modified}",
    ),
    (
        "range of what has changed",
        "GET /probe/static.txt\nRange: bytes=2-7\nIf-Range: \"other\"",
        "200 length {Accept-Ranges: bytes, Content-Type: text/plain, ETag, Last-Modified}: A static file of the application.",
    ),
    (
        "file that is newer",
        "GET /probe/static.txt\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
        "200 length {Accept-Ranges: bytes, Content-Type: text/plain, ETag, Last-Modified}: A static file of the application.",
    ),
    (
        "file that is older",
        "GET /probe/static.txt\nIf-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT",
        "304 none {ETag}",
    ),
    ("file of any version", "GET /probe/static.txt\nIf-None-Match: *", "304 none {ETag}"),
    ("file of another version", "GET /probe/static.txt\nIf-Match: \"other\"", "412 length: page of 412"),
    ("file of the application", "GET /probe/WEB-INF/web.xml", "404 length: page of 404"),
];

const CHECKS: &[Check] = &[
    ("name of the server", server, "tidegate"),
    ("page of an error", page, "text/plain; charset=utf-8"),
    ("connection after an error", after_an_error, "goes on"),
    ("large file", whole_file, "whole"),
    ("large file by HTTP/1.0", whole_file_to_an_old_client, "whole"),
    ("sendfile", sendfile, "true: its part, then short"),
    ("ranges of a file", ranges, "206, 3 parts: A s / tic / on."),
    ("file with its tag", tag, "304 none {ETag}, then 412"),
    ("answer has a date", date, "true"),
    ("stream of fifty megabytes", stream, "50000000"),
    ("answers one after the other", one_after_the_other, "200"),
];

fn server(served: &Served) -> String {
    let response = served.get("/probe/respond/short");
    response.field("Server").unwrap_or("none").split('/').next().unwrap().to_string()
}

/// The page of an error that is found before an application is called.
fn page(served: &Served) -> String {
    let mut client = served.connect();
    client.send("GET /probe/respond/short HTTP/1.1\r\nHost: a b\r\n\r\n");
    client.read("GET").field("Content-Type").unwrap().to_string()
}

fn after_an_error(served: &Served) -> String {
    let mut client = served.connect();
    match client.get("/probe/errors/servlet").says_close() {
        true => "is closed".to_string(),
        false => format!("goes on{}", client.get("/probe/respond/short").text().trim_start_matches("short")),
    }
}

fn whole_file(served: &Served) -> String {
    whole(&served.get("/probe/static.bin").content)
}

fn whole_file_to_an_old_client(served: &Served) -> String {
    let mut client = served.connect();
    client.send(complete("GET /probe/static.bin HTTP/1.0"));
    whole(&client.read("GET").content)
}

fn whole(content: &[u8]) -> String {
    match content == large_file() {
        true => "whole".to_string(),
        false => format!("{} bytes, {:08x}", content.len(), sum(content)),
    }
}

/// Sends a file by the attributes of a request, and another request after it.
fn sendfile(served: &Served) -> String {
    let mut client = served.connect();
    let response = client.get("/probe/respond/sendfile");
    let part = match response.content == large_file()[1000..51_000] {
        true => "its part".to_string(),
        false => format!("{} bytes", response.content.len()),
    };
    let next = client.get("/probe/respond/short").text();
    format!("{}: {part}, then {next}", response.field("X-Sendfile").unwrap())
}

fn ranges(served: &Served) -> String {
    let mut client = served.connect();
    client.send(complete("GET /probe/static.txt\nRange: bytes=0-2,5-7,-4"));
    let response = client.read("GET");
    let kind = response.field("Content-Type").unwrap().to_string();
    let boundary = format!("--{}", kind.split_once("boundary=").unwrap().1);
    let text = response.text();
    let parts: Vec<_> = text.split(&boundary).filter_map(|part| part.split_once("\r\n\r\n")).collect();
    let contents: Vec<_> = parts.iter().map(|(_, content)| content.trim()).collect();
    format!("{}, {} parts: {}", response.code, parts.len(), contents.join(" / "))
}

fn tag(served: &Served) -> String {
    let first = served.get("/probe/static.txt");
    let tag = first.field("ETag").unwrap();
    let same = ask(served, &format!("GET /probe/static.txt\nIf-None-Match: {tag}"));
    let other = ask(served, &format!("GET /probe/static.txt\nIf-Match: \"x\"\nX-Tag: {tag}"));
    let same = same.replace(&format!("ETag: {tag}"), "ETag");
    format!("{}, then {}", same.split(": ").next().unwrap_or(&same), &other[..3])
}

fn date(served: &Served) -> String {
    let response = served.get("/probe/respond/short");
    response.field("Date").is_some_and(|date| date.ends_with(" GMT")).to_string()
}

fn stream(served: &Served) -> String {
    let response = served.get("/probe/respond/many?bytes=50000000");
    assert!(response.content.iter().all(|byte| *byte == b'x'));
    response.content.len().to_string()
}

/// Answers of every kind on one connection, until it ends.
fn one_after_the_other(served: &Served) -> String {
    let mut client = served.connect();
    for number in 0..200 {
        let (target, expected) = match number % 4 {
            0 => ("/probe/respond/short", "short"),
            1 => ("/probe/respond/pieces?count=1", "piece 0\n"),
            2 => ("/probe/respond/length", "four"),
            _ => ("/probe/respond/flush", ""),
        };
        client.send(complete(&format!("GET {target}")));
        match client.read_within("GET", PATIENCE) {
            Ok(response) if response.text() != expected => return format!("{number}: {}", response.text()),
            Ok(response) if response.says_close() => return format!("closes after {}", number + 1),
            Ok(_) => {}
            Err(reason) => return format!("{number}: {reason}"),
        }
    }
    "200".to_string()
}
