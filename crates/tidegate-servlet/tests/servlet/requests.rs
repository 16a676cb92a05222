//! Probes what a servlet is told of its request.

use super::probe::{Check, Probe, Row, answers, checks, complete, rows};
use super::served::Served;

pub fn probes() -> impl Iterator<Item = Probe> {
    rows(TARGETS).chain(rows(FIELDS)).chain(rows(PARAMETERS)).chain(rows(CONNECTION)).chain(checks(CHECKS))
}

const TARGETS: &[Row] = &[
    (
        "target",
        "GET /probe/show/a/b?c=d\nX-Show: method uri url context servlet info query protocol",
        "200 length {Content-Type: text/plain;charset=UTF-8}: GET | /probe/show/a/b | http://a/probe/show/a/b | /probe | /show | /a/b | c=d | HTTP/1.1",
    ),
    (
        "target encoded",
        "GET /probe/show/a%2fb%20c;x=y/%C3%BC?d=%20e\nX-Show: uri servlet info query",
        "400 length: page of 400",
    ),
    (
        "target with a blank and a letter",
        "GET /probe/show/a%20b/%C3%BC?d=%20e\nX-Show: uri info query parameters",
        "200 length {Content-Type: text/plain;charset=UTF-8}: /probe/show/a%20b/%C3%BC | /a b/ü | d=%20e | d=[ e]",
    ),
    (
        "target with parameters of the path",
        "GET /probe/show/a;x=y/b;z\nX-Show: uri servlet info",
        "200 length {Content-Type: text/plain;charset=UTF-8}: /probe/show/a;x=y/b;z | /show | /a/b",
    ),
    (
        "target with dots",
        "GET /probe/x/../show/./a\nX-Show: uri servlet info",
        "200 length {Content-Type: text/plain;charset=UTF-8}: /probe/x/../show/./a | /show | /a",
    ),
    ("target above the root", "GET /probe/../../etc/passwd\nX-Show: uri", "400 length: page of 400"),
    ("target with encoded dots", "GET /probe/%2e%2e/%2e%2e/etc/passwd", "400 length: page of 400"),
    (
        "target with two slashes",
        "GET //probe//show//a\nX-Show: uri info",
        "200 length {Content-Type: text/plain;charset=UTF-8}: //probe//show//a | /a",
    ),
    ("target with a backslash", "GET /probe/show/a%5cb\nX-Show: info", "400 length: page of 400"),
    ("target with a wrong escape", "GET /probe/show/a%zz\nX-Show: info", "400 length: page of 400"),
    ("target with bad UTF-8", "GET /probe/show/%ff\nX-Show: info", "400 length: page of 400"),
    (
        "target absolute",
        "GET http://b:81/probe/show/a\nHost: b:81\nX-Show: uri url host port",
        "200 length {Content-Type: text/plain;charset=UTF-8}: /probe/show/a | http://b:81/probe/show/a | b | 81",
    ),
    (
        "target absolute and another host",
        "GET http://b:81/probe/show/a\nHost: c\nX-Show: host port",
        "200 length {Content-Type: text/plain;charset=UTF-8}: b | 81",
    ),
    ("target asterisk", "OPTIONS * HTTP/1.1", "200 length {Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS}"),
    ("target not mapped", "GET /probe/none", "404 length: page of 404"),
    ("target of no application", "GET /nowhere", "404 length {Content-Type: text/plain}: Not Found"),
    ("folder without a slash", "GET /probe", "302 length {Location: /probe/}"),
    (
        "mapping by path",
        "GET /probe/show/a\nX-Show: mapping",
        "200 length {Content-Type: text/plain;charset=UTF-8}: PATH a /show/* show",
    ),
    (
        "mapping by extension",
        "GET /probe/x/y.shown\nX-Show: mapping servlet info",
        "200 length {Content-Type: text/plain;charset=UTF-8}: EXTENSION x/y *.shown show | /x/y.shown | null",
    ),
    (
        "mapping exact",
        "GET /probe/exact\nX-Show: mapping",
        "200 length {Content-Type: text/plain;charset=UTF-8}: EXACT exact /exact show",
    ),
    (
        "mapping with letters",
        "GET /probe/Gr%C3%BC%C3%9Fe\nX-Show: mapping uri",
        "200 length {Content-Type: text/plain;charset=UTF-8}: EXACT Grüße /Grüße show | /probe/Gr%C3%BC%C3%9Fe",
    ),
    (
        "query odd",
        "GET /probe/show/?a&b=&=c&d=%zz&e=1&e=2\nX-Show: parameters query",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a=[],b=[],e=[1, 2] | a&b=&=c&d=%zz&e=1&e=2",
    ),
    (
        "query empty",
        "GET /probe/show/?\nX-Show: query",
        "200 length {Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "query of none",
        "GET /probe/show/\nX-Show: query",
        "200 length {Content-Type: text/plain;charset=UTF-8}: null",
    ),
    (
        "method of its own",
        "BREW /probe/show/\nX-Show: method",
        "200 length {Content-Type: text/plain;charset=UTF-8}: BREW",
    ),
    ("method TRACE", "TRACE /probe/show/\nX-Show: method", "405 length {Allow: OPTIONS}: page of 405"),
    ("method CONNECT", "CONNECT a:80", "501 length: page of 501"),
    (
        "method in small letters",
        "get /probe/show/\nX-Show: method",
        "200 length {Content-Type: text/plain;charset=UTF-8}: get",
    ),
];

const FIELDS: &[Row] = &[
    (
        "field twice",
        "GET /probe/show/\nX-A: 1\nx-a: 2\nX-Show: headers:X-A header:x-A",
        "200 length {Content-Type: text/plain;charset=UTF-8}: [1, 2] | 1",
    ),
    (
        "field empty",
        "GET /probe/show/\nX-A: \nX-Show: headers:X-A",
        "200 length {Content-Type: text/plain;charset=UTF-8}: []",
    ),
    (
        "field with letters of ISO 8859-1",
        "GET /probe/show/\nX-A: é\nX-Show: headers:X-A",
        "200 length {Content-Type: text/plain;charset=UTF-8}: [é]",
    ),
    (
        "field names",
        "GET /probe/show/\nX-A: 1\nx-a: 2\nAccept: b\nX-Show: names",
        "200 length {Content-Type: text/plain;charset=UTF-8}: [accept, host, x-a, x-show]",
    ),
    (
        "field with a blank before the colon",
        "GET /probe/show/\nX-A : 1\nX-Show: headers:X-A",
        "400 length: page of 400",
    ),
    (
        "field with an underscore",
        "GET /probe/show/\nX_A: 1\nX-Show: headers:X_A",
        "200 length {Content-Type: text/plain;charset=UTF-8}: [1]",
    ),
    ("field that goes on", "GET /probe/show/\nX-A: 1\n 2\nX-Show: headers:X-A", "400 length: page of 400"),
    (
        "field of a date",
        "GET /probe/show/\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\nX-Show: date",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 784111777000",
    ),
    (
        "field of a wrong date",
        "GET /probe/show/\nIf-Modified-Since: yesterday\nX-Show: date",
        "500 length: page of 500",
    ),
    (
        "field of a number",
        "GET /probe/show/\nX-Number: 12\nX-Show: int",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 12",
    ),
    (
        "languages",
        "GET /probe/show/\nAccept-Language: de;q=0.5, fr\nX-Show: locales",
        "200 length {Content-Type: text/plain;charset=UTF-8}: [fr, de]",
    ),
    (
        "cookies",
        "GET /probe/show/\nCookie: a=b; c=\"d\"; e=f=g; $x=1\nX-Show: cookies",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a=b,c=d,e=f=g,$x=1",
    ),
    (
        "cookies in two fields",
        "GET /probe/show/\nCookie: a=b\nCookie: c=d\nX-Show: cookies",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a=b,c=d",
    ),
    (
        "cookies of none",
        "GET /probe/show/\nX-Show: cookies",
        "200 length {Content-Type: text/plain;charset=UTF-8}: none",
    ),
    (
        "many fields",
        "GET /probe/show/\nA: 1\nB: 1\nC: 1\nD: 1\nE: 1\nF: 1\nG: 1\nH: 1\nI: 1\nJ: 1\nK: 1\nL: 1\nM: 1\nX-Show: names",
        "200 length {Content-Type: text/plain;charset=UTF-8}: [a, b, c, d, e, f, g, h, host, i, j, k, l, m, x-show]",
    ),
];

const PARAMETERS: &[Row] = &[
    (
        "form",
        "POST /probe/show/?a=1\nContent-Type: application/x-www-form-urlencoded\nX-Show: parameters length type\n\na=2&b=%C3%BC+c",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a=[1, 2],b=[Ã¼ c] | 14 | application/x-www-form-urlencoded",
    ),
    (
        "form in ISO 8859-1",
        "POST /probe/show/\nContent-Type: application/x-www-form-urlencoded; charset=ISO-8859-1\nX-Show: parameters charset\n\na=%FC",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a=[ü] | ISO-8859-1",
    ),
    (
        "form in chunks",
        "POST /probe/show/\nContent-Type: application/x-www-form-urlencoded\nTransfer-Encoding: chunked\nX-Show: parameters length\n\n3\r\na=1\r\n4\r\n&b=2\r\n0\r\n\r\n",
        "200 length {Content-Type: text/plain;charset=UTF-8}: a=[1],b=[2] | -1",
    ),
    (
        "form by PUT",
        "PUT /probe/show/\nContent-Type: application/x-www-form-urlencoded\nX-Show: parameters\n\na=1",
        "200 length {Content-Type: text/plain;charset=UTF-8}",
    ),
    (
        "text with its charset",
        "POST /probe/show/\nContent-Type: text/plain; charset=UTF-16BE\nX-Show: text charset\n\n\0a\0b",
        "200 length {Content-Type: text/plain;charset=UTF-8}: ab | UTF-16BE",
    ),
    (
        "text without a charset",
        "POST /probe/show/\nContent-Type: text/plain\nX-Show: charset text\n\nGrüße",
        "200 length {Content-Type: text/plain;charset=UTF-8}: null | GrÃ¼Ãe",
    ),
    (
        "text with an unknown charset",
        "POST /probe/show/\nContent-Type: text/plain; charset=none-such\nX-Show: text\n\na",
        "500 length: page of 500",
    ),
];

const CONNECTION: &[Row] = &[
    (
        "addresses",
        "GET /probe/show/\nX-Show: remote local scheme secure",
        "200 length {Content-Type: text/plain;charset=UTF-8}: 127.0.0.1 127.0.0.1 true | 127.0.0.1 true | http | false",
    ),
    (
        "host with a port",
        "GET /probe/show/\nHost: b.example:81\nX-Show: host port",
        "200 length {Content-Type: text/plain;charset=UTF-8}: b.example | 81",
    ),
    (
        "host without a port",
        "GET /probe/show/\nHost: b.example\nX-Show: host port",
        "200 length {Content-Type: text/plain;charset=UTF-8}: b.example | 80",
    ),
    (
        "host of IPv6",
        "GET /probe/show/\nHost: [::1]:81\nX-Show: host port url",
        "200 length {Content-Type: text/plain;charset=UTF-8}: [::1] | 81 | http://[::1]:81/probe/show/",
    ),
    ("host wrong", "GET /probe/show/\nHost: a/b\nX-Show: host", "400 length: page of 400"),
    ("host twice", "GET /probe/show/\nHost: a\nHost: b\nX-Show: host", "400 length: page of 400"),
    (
        "protocol of 1996",
        "GET /probe/show/ HTTP/1.0\nX-Show: protocol host header:Host",
        "200 length close {Content-Type: text/plain;charset=UTF-8}: HTTP/1.0 | localhost | null",
    ),
    ("protocol of tomorrow", "GET /probe/show/ HTTP/2.0\nX-Show: protocol", "400 length: page of 400"),
    (
        "connection and request have names",
        "GET /probe/show/\nX-Show: connection async",
        "200 length {Content-Type: text/plain;charset=UTF-8}: http/1.1 false false false | false",
    ),
    (
        "a proxy is not believed",
        "GET /probe/show/\nX-Forwarded-Proto: https\nX-Forwarded-For: 1.2.3.4\nX-Show: scheme remote",
        "200 length {Content-Type: text/plain;charset=UTF-8}: http | 127.0.0.1 127.0.0.1 true",
    ),
];

const CHECKS: &[Check] = &[
    ("requests one after the other on a connection", kept, "GET /1 | GET /2 | POST /3"),
    ("requests at once on a connection", pipelined, "1 | 2 | 404 | 3"),
    ("session by cookie", by_cookie, "1 visits;jsessionid=SESSION, 2 visits"),
    ("session in the path", by_path, "1 visits;jsessionid=SESSION, 2 visits;jsessionid=SESSION"),
    ("session asked for", asked_session, "ABC false, ABC true"),
    (
        "listeners",
        listeners,
        "request attribute+a session session+b session-id context+c context-c session-over request-over",
    ),
    ("head that comes in pieces", in_pieces, "200 length {Content-Type: text/plain;charset=UTF-8}: /slow"),
    ("long head", |served| long(served, 7_000), "200 length {Content-Type: text/plain;charset=UTF-8}: 7000"),
];

fn kept(served: &Served) -> String {
    let mut client = served.connect();
    let mut seen = Vec::new();
    for (method, path, content) in [("GET", "/1", ""), ("GET", "/2", ""), ("POST", "/3", "unread")] {
        client.send(complete(&format!("{method} /probe/show{path}\nX-Show: method info\n\n{content}")));
        seen.push(client.read(method).text().replace(" | ", " "));
    }
    seen.join(" | ")
}

fn pipelined(served: &Served) -> String {
    let mut client = served.connect();
    let show = |path: &str| complete(&format!("GET /probe/show/{path}\nX-Show: info"));
    client.send([show("1"), show("2"), complete("GET /probe/none"), show("3")].concat());
    let seen: Vec<_> = (0..4).map(|_| client.read("GET")).collect();
    let text = |response: &super::support::response::Response| match response.code {
        200 => response.text().trim_start_matches('/').to_string(),
        code => code.to_string(),
    };
    seen.iter().map(text).collect::<Vec<_>>().join(" | ")
}

fn by_cookie(served: &Served) -> String {
    let first = served.get("/probe/visits");
    let cookie = first.field("Set-Cookie").unwrap().split(';').next().unwrap().to_string();
    let mut client = served.connect();
    client.send(complete(&format!("GET /probe/visits\nCookie: {cookie}")));
    super::probe::masked(&format!("{}, {}", first.text(), client.read("GET").text()))
}

fn by_path(served: &Served) -> String {
    let first = served.get("/probe/visits").text();
    let (_, target) = first.split_once(' ').unwrap();
    super::probe::masked(&format!("{first}, {}", served.get(&format!("/probe/{target}")).text()))
}

fn asked_session(served: &Served) -> String {
    let ask = |path: &str, field: &str| {
        let mut client = served.connect();
        client.send(complete(&format!("GET /probe/show{path}\n{field}X-Show: session")));
        client.read("GET").text()
    };
    format!("{}, {}", ask("/", "Cookie: JSESSIONID=ABC\n"), ask("/;jsessionid=ABC", ""))
}

fn listeners(served: &Served) -> String {
    let id = format!("listeners-{:?}", served.connector);
    served.get(&format!("/probe/heard/make?id={id}"));
    served.wait_for_note(&id, "request-over")
}

fn in_pieces(served: &Served) -> String {
    let mut client = served.connect();
    for byte in complete("GET /probe/show/slow\nX-Show: info").chunks(7) {
        client.send(byte);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    answers(&mut client, "GET")
}

fn long(served: &Served, bytes: usize) -> String {
    let mut client = served.connect();
    client.send(complete(&format!("GET /probe/show/\nX-Long: {}\nX-Show: header:X-Long", "x".repeat(bytes))));
    let response = client.read("GET");
    match response.code {
        200 => format!("200 length {{Content-Type: text/plain;charset=UTF-8}}: {}", response.content.len()),
        code => code.to_string(),
    }
}
