//! Tests what gateways around gateways can do to requests and answers, by hand and over real sockets.

mod support;

#[path = "../examples/middleware.rs"]
#[allow(dead_code)]
mod example;

use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;

use support::driver::transmit_all;
use support::loopback::{Answer, End, serve_gateway};
use support::response::{Framing, Response, read_all};
use tidegate::conversation::{ByHand, Farewell, Wants};
use tidegate::gateway::middleware::{Filter, Passage, PassingHead};
use tidegate::gateway::{Admission, BodyStream, Content, FileRange, Piece, deferred};
use tidegate::message::ContentLength;
use tidegate::now::Moment;
use tidegate::{Environ, Gateway, GatewayError, Server, StartResponse};
use tidegate_middleware::{BasicAuth, Mounts, WithFields};

const LONG: usize = 300_000;
static XS: [u8; LONG] = [b'x'; LONG];

/// Answers in all the ways that there are.
fn every_way(environ: &mut Environ<'_>, mut start_response: StartResponse<'_>) -> Answer {
    match &*environ.path() {
        "/send" => start_response.status(200).field("X-Own", "1").send("abc"),
        "/static" => start_response.status(200).send(Content::Static(&XS)),
        "/declared" => start_response.status(200).field("content-length", "3").send("abc"),
        "/empty" => start_response.status(200).send(""),
        "/finish" => start_response.status(302).field("Location", "/").finish(),
        "/304" => start_response.status(304).field("Content-Length", "3").finish(),
        "/204" => start_response.status(204).finish(),
        "/write" => {
            let mut writer = start_response.start(200, &[("Content-Length", "6")])?;
            writer.write("abc")?;
            writer.flush();
            writer.write("def")?;
            writer.finish()
        }
        "/pieces" => start_response.status(200).pieces(["abc", "", "def"]),
        "/write-and-stream" => {
            let mut writer = start_response.start(200, &[])?;
            writer.write("abc")?;
            Ok(writer.stream(tidegate::gateway::Pieces::new(["def"].into_iter())))
        }
        "/file" => {
            let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
            start_response.status(200).file(FileRange { file: file.into(), offset: 0, length: 11 })
        }
        "/later" => {
            let (responder, answer) = deferred(environ.wakeup());
            responder.respond(tidegate::gateway::Response::new(200).field("X-Own", "1").content("abc"));
            Ok(answer.wait(start_response))
        }
        "/later-stream" => {
            let now = start_response.now();
            Ok(start_response.at(now, |start_response| start_response.status(200).pieces(["abc", "def"])))
        }
        "/replaced" => {
            let writer = start_response.start(500, &[("X-Own", "0")])?;
            writer.replace()?.status(200).field("X-Own", "1").send("abc")
        }
        "/informed" => {
            start_response.inform(103, &[("Link", b"</a>")])?;
            start_response.status(200).send("abc")
        }
        "/error" => Err(GatewayError::new("on purpose")),
        "/panic" => panic!("on purpose"),
        "/late-panic" => {
            let now = start_response.now();
            Ok(start_response.at(now, |_| panic!("on purpose")))
        }
        "/broken" => start_response.status(200).stream(Broken(false)),
        "/wrong" => start_response.status(200).field("X", "a\nb").send("abc"),
        _ => start_response.status(404).send("none"),
    }
}

/// Yields half of its content, and then an error.
struct Broken(bool);

impl BodyStream for Broken {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        match std::mem::replace(&mut self.0, true) {
            false => Ok(Piece::Data(b"half")),
            true => Err(GatewayError::new("on purpose")),
        }
    }
}

/// The answers of a gateway to one request by hand, the final one last.
fn answers(gateway: impl Gateway, method: &str, path: &str) -> Vec<Response> {
    let mut hand = ByHand::new(gateway);
    hand.receive(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    let mut bytes = transmit_all(&mut hand);
    for _ in 0..3 {
        hand.wake();
        bytes.extend(transmit_all(&mut hand));
    }
    read_all(&bytes, &[method]).unwrap()
}

fn answer(gateway: impl Gateway, method: &str, path: &str) -> Response {
    answers(gateway, method, path).pop().unwrap()
}

/// Notes what it sees, and lets it pass in one of three ways.
struct Spy {
    seen: Rc<RefCell<Vec<String>>>,
    passage: Passage,
    piece: Vec<u8>,
}

impl Spy {
    fn note(&self, text: impl Into<String>) {
        self.seen.borrow_mut().push(text.into());
    }
}

impl Filter for Spy {
    fn begin(&mut self, code: u16) {
        self.note(format!("begin {code}"));
    }

    fn field(&mut self, name: &str, value: &[u8]) -> bool {
        self.note(format!("{name}: {}", value.escape_ascii()));
        name != "X-Own"
    }

    fn head(&mut self, head: &mut PassingHead<'_>) -> Passage {
        self.note(format!("head {} {:?}", head.code(), head.length()));
        head.field("X-Spy", "yes");
        self.passage
    }

    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        self.note(format!("{} bytes", content.len()));
        if self.passage == Passage::Seen {
            return Ok(content);
        }
        self.piece = [b"<", content, b">"].concat();
        Ok(&self.piece)
    }

    fn end(&mut self) -> Result<&[u8], GatewayError> {
        self.note("end");
        Ok(if self.passage == Passage::Seen { b"" } else { b"." })
    }

    fn failure(&mut self, head: &mut PassingHead<'_>) {
        self.note("failure");
        head.field("X-Spy", "failed");
        // Neither of these can be what the answer of the server says of itself.
        head.field("Content-Length", "1");
        head.field("X", "a\nb");
    }
}

impl Drop for Spy {
    fn drop(&mut self) {
        self.note("dropped");
    }
}

/// Lets one response through a spy, and returns the answer and what was seen.
fn spied(passage: Passage, method: &str, path: &str) -> (Response, Vec<String>) {
    let seen = Rc::<RefCell<Vec<String>>>::default();
    let notes = seen.clone();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let spy = Spy { seen: notes.clone(), passage, piece: Vec::new() };
        start_response.through(spy, |start_response| every_way(environ, start_response))
    };
    let response = answer(gateway, method, path);
    let seen = seen.borrow().clone();
    assert_eq!(seen.last().map(String::as_str), Some("dropped"), "{seen:?}");
    (response, seen)
}

#[test]
fn what_passes_unseen_is_as_it_was_but_for_the_fields() {
    for path in [
        "/send",
        "/static",
        "/declared",
        "/empty",
        "/finish",
        "/304",
        "/204",
        "/write",
        "/pieces",
        "/write-and-stream",
        "/file",
        "/later",
        "/later-stream",
        "/replaced",
        "/informed",
    ] {
        for method in ["GET", "HEAD"] {
            let expected = answer(every_way, method, path);
            let (mut passed, seen) = spied(Passage::Unseen, method, path);
            assert_eq!(passed.field("X-Spy"), Some("yes"), "{path}");
            assert_eq!(passed.field("X-Own"), None, "{path}");
            let is_own = |name: &str| !["X-Spy", "X-Own", "Content-Length"].contains(&name);
            passed.fields.retain(|(name, _)| is_own(name));
            let length = expected.field("Content-Length").map(str::to_string);
            let (again, _) = spied(Passage::Unseen, method, path);
            assert_eq!(again.field("Content-Length"), length.as_deref(), "{method} {path}");
            let mut fields = expected.fields.clone();
            fields.retain(|(name, _)| is_own(name));
            assert_eq!(passed, Response { fields, ..expected }, "{method} {path}");
            assert!(!seen.iter().any(|note| note.ends_with("bytes") || note == "end"), "{path} {seen:?}");
        }
    }
}

#[test]
fn what_is_seen_passes_with_its_length_and_has_an_end() {
    for (path, framing, content, bytes) in [
        ("/send", Framing::Length, &b"abc"[..], 3),
        ("/static", Framing::Length, &XS, LONG),
        ("/declared", Framing::Length, b"abc", 3),
        ("/empty", Framing::Length, b"", 0),
        ("/finish", Framing::Length, b"", 0),
        ("/write", Framing::Length, b"abcdef", 6),
        ("/pieces", Framing::Chunked, b"abcdef", 6),
        ("/write-and-stream", Framing::Chunked, b"abcdef", 6),
        ("/file", Framing::Length, b"[workspace]", 11),
        ("/later", Framing::Length, b"abc", 3),
        ("/later-stream", Framing::Chunked, b"abcdef", 6),
        ("/replaced", Framing::Length, b"abc", 3),
    ] {
        let (response, seen) = spied(Passage::Seen, "GET", path);
        assert_eq!((response.framing, &response.content[..]), (framing, content), "{path}");
        let counted = seen.iter().filter_map(|note| note.strip_suffix(" bytes")?.parse::<usize>().ok());
        assert_eq!(counted.sum::<usize>(), bytes, "{path}");
        // Nobody asks a stream for more than was declared.
        assert!(path == "/file" || seen[seen.len() - 2] == "end", "{path} {seen:?}");
    }
}

#[test]
fn what_is_changed_loses_its_length_and_goes_on_to_its_end() {
    for (path, content) in [
        ("/send", "<abc>."),
        ("/declared", "<abc>."),
        ("/empty", "<>."),
        ("/write", "<abc><def>."),
        ("/pieces", "<abc><><def>."),
        ("/write-and-stream", "<abc><def>."),
        ("/file", "<[workspace]>."),
        ("/later", "<abc>."),
        ("/later-stream", "<abc><def>."),
        ("/replaced", "<abc>."),
    ] {
        let (response, _) = spied(Passage::Changed, "GET", path);
        assert_eq!((response.framing, response.text().as_str()), (Framing::Chunked, content), "{path}");
        assert_eq!(response.field("Content-Length"), None, "{path}");
        let (response, _) = spied(Passage::Changed, "HEAD", path);
        assert_eq!((response.code, &response.content[..]), (200, &b""[..]), "{path}");
        assert_eq!(response.field("Content-Length"), None, "{path}");
    }
    let (response, _) = spied(Passage::Changed, "GET", "/static");
    assert_eq!(response.content, [b"<", &XS[..], b">."].concat());
    // What has no content gets none.
    for (path, code) in [("/finish", 302), ("/304", 304), ("/204", 204)] {
        let (response, _) = spied(Passage::Changed, "GET", path);
        assert_eq!((response.code, &response.content[..]), (code, &b""[..]), "{path}");
        assert_eq!(response.field("X-Spy"), Some("yes"));
    }
}

#[test]
fn filter_is_told_in_order_and_again_when_the_application_starts_over() {
    let known = |length| format!("head 200 {:?}", ContentLength::Known(length));
    let (_, seen) = spied(Passage::Seen, "GET", "/replaced");
    let first = format!("head 500 {:?}", ContentLength::Unknown);
    let expected = ["begin 500", "X-Own: 0", &first, "begin 200", "X-Own: 1", &known(3), "3 bytes", "end"];
    assert_eq!(seen[..seen.len() - 1], expected);
    // Content-Length is no business of a filter's, but it is told of it.
    let (_, seen) = spied(Passage::Seen, "GET", "/write");
    assert_eq!(seen, ["begin 200", &known(6), "3 bytes", "3 bytes", "end", "dropped"]);
}

#[test]
fn failures_pass_as_failures_with_the_fields_of_the_filter() {
    for passage in [Passage::Unseen, Passage::Seen, Passage::Changed] {
        for path in ["/error", "/panic", "/late-panic", "/wrong"] {
            let (response, seen) = spied(passage, "GET", path);
            assert_eq!(response.to_string(), "500 length close: the application failed", "{path}");
            assert_eq!((response.field("X-Spy"), response.field("X")), (Some("failed"), None), "{path}");
            assert!(seen.contains(&"failure".to_string()), "{path}");
        }
        let (response, seen) = spied(passage, "GET", "/broken");
        assert!(response.is_cut && !seen.contains(&"end".to_string()), "{response:?} {seen:?}");
    }
}

/// Refuses content that says so, panics where it is told to.
struct Censor(&'static str);

impl Filter for Censor {
    fn head(&mut self, _head: &mut PassingHead<'_>) -> Passage {
        assert_ne!(self.0, "head");
        Passage::Seen
    }

    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        match self.0 {
            "content" => Err(GatewayError::new("not this")),
            _ => Ok(content),
        }
    }

    fn end(&mut self) -> Result<&[u8], GatewayError> {
        assert_ne!(self.0, "end");
        Ok(&[])
    }
}

#[test]
fn failure_of_a_filter_is_one_of_the_application() {
    let censored = |where_to| {
        move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            start_response.through(Censor(where_to), |start_response| every_way(environ, start_response))
        }
    };
    for (where_to, path, expected) in [
        ("head", "/send", "500 length close: the application failed"),
        ("content", "/send", "500 length close: the application failed"),
        ("content", "/later", "500 length close: the application failed"),
        ("content", "/pieces", "200 chunked cut"),
        ("end", "/send", "200 length: abc"),
        ("end", "/pieces", "200 chunked cut: abcdef"),
        ("end", "/empty", "500 length close: the application failed"),
    ] {
        assert_eq!(answer(censored(where_to), "GET", path).to_string(), expected, "{where_to} {path}");
    }
}

#[test]
fn fields_are_added_to_every_answer_and_set_in_place_of_others() {
    let site = || {
        let site = WithFields::new(every_way).set("x-own", "2").unwrap().add("X-Twice", "1").unwrap();
        WithFields::new(site).add("X-Twice", "2").unwrap()
    };
    for path in ["/send", "/pieces", "/file", "/later", "/304", "/204", "/error", "/panic", "/none"] {
        let response = answer(site(), "GET", path);
        assert_eq!(response.field("X-Own"), Some("2"), "{path}");
        let values = |name: &str| {
            let all = response.fields.iter().filter(|(other, _)| other == name);
            all.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        assert_eq!(values("X-Twice"), ["1", "2"], "{path}");
    }
    let responses = answers(site(), "GET", "/informed");
    let codes: Vec<_> = responses.iter().map(|response| response.code).collect();
    assert_eq!((codes, responses[0].field("X-Own")), (vec![103, 200], None));
    for (name, value) in [
        ("X", "a\nb"),
        ("a b", ""),
        ("Content-Length", "3"),
        ("Connection", "close"),
        ("Transfer-Encoding", "x"),
    ] {
        assert!(WithFields::new(every_way).add(name, value).is_err(), "{name}");
    }
}

/// Tells who is asking, and how much content there is.
fn who(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
    let user = environ.get("REMOTE_USER").unwrap_or_default().into_owned();
    let (kind, user) = (environ.get("AUTH_TYPE").unwrap_or_default(), String::from_utf8_lossy(&user));
    let text = format!(
        "{user} by {}, {} bytes",
        String::from_utf8_lossy(&kind),
        environ.content_length().unwrap_or(0)
    );
    start_response.status(200).send(text)
}

#[test]
fn basic_auth_lets_through_who_knows_a_password() {
    let guarded = BasicAuth::new(who, "the \"inner\" \\ harbour").unwrap();
    let guarded = guarded.user("ebb", "and:flow").unwrap().user("été", "").unwrap();
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), guarded);
    let mut client = server.connect();
    let mut ask = |credentials: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{credentials}\r\n"));
        client.read("GET")
    };
    // ebb:and:flow, été:, ebb:and:flo, ebb:, :, ebb, and one that is no base64.
    assert_eq!(ask("Authorization: Basic ZWJiOmFuZDpmbG93\r\n").text(), "ebb by Basic, 0 bytes");
    assert_eq!(ask("Authorization: bAsIc  w6l0w6k6\r\n").text(), "été by Basic, 0 bytes");
    for credentials in [
        "ZWJiOmFuZDpmbG8=",
        "ZWJiOg==",
        "Og==",
        "ZWJi",
        "ZWJiOmFuZDpmbG93Og==",
        "",
        "!",
        "ZWJiOmFuZDpmbG93==",
    ] {
        let response = ask(&format!("Authorization: Basic {credentials}\r\n"));
        assert_eq!((response.code, response.framing), (401, Framing::Length), "{credentials}");
        let challenge = r#"Basic realm="the \"inner\" \\ harbour", charset="UTF-8""#;
        assert_eq!(response.field("WWW-Authenticate"), Some(challenge));
    }
    let twice = "Authorization: Basic ZWJiOmFuZDpmbG93\r\nAuthorization: Basic ZWJiOmFuZDpmbG93\r\n";
    for fields in ["", "Authorization: Bearer ZWJiOmFuZDpmbG93\r\n", twice] {
        assert_eq!(ask(fields).code, 401, "{fields}");
    }
}

#[test]
fn basic_auth_takes_no_content_from_strangers() {
    let guarded = BasicAuth::new(who, "r").unwrap().user("ebb", "flow").unwrap();
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), guarded);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n";
    let mut stranger = server.connect();
    stranger.send(format!("{head}\r\n"));
    let response = stranger.read("POST");
    assert_eq!((response.code, response.says_close(), stranger.read_end()), (401, true, End::Fin));
    let mut known = server.connect();
    known.send(format!("{head}Authorization: Basic ZWJiOmZsb3c=\r\n\r\n"));
    assert_eq!(known.read("POST").code, 100);
    known.send("abc");
    assert_eq!(known.read("POST").text(), "ebb by Basic, 3 bytes");
}

#[test]
fn users_that_nobody_could_be_are_refused() {
    for (name, password) in [("a:b", "c"), ("a\n", "b"), ("a", "b\0")] {
        assert!(BasicAuth::new(who, "r").unwrap().user(name, password).is_err(), "{name:?} {password:?}");
    }
    assert!(BasicAuth::new(who, "a\r\nb").is_err());
    let guarded = BasicAuth::new((), "r").unwrap().user("ebb", "secret").unwrap();
    assert!(!format!("{guarded:?}").contains("secret"));
}

/// Makes a gateway that tells where it is.
fn place(name: &'static str) -> impl Gateway + Send + 'static {
    struct Place(&'static str);
    impl Gateway for Place {
        fn call(&mut self, environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
            let script_name = String::from_utf8_lossy(&environ.script_name()).into_owned();
            let mut content = String::new();
            environ.content().read_to_string(&mut content)?;
            start_response.status(200).send(format!("{} {script_name}|{} {content}", self.0, environ.path()))
        }

        fn admit(&self, environ: &Environ<'_>) -> Admission {
            if environ.path() == "/head" { Admission::FromHead } else { Admission::Collect }
        }
    }
    Place(name)
}

fn mounted() -> Mounts {
    Mounts::new()
        .at("/", place("root"))
        .at("/a", place("a"))
        .at("/a/b/", Mounts::new().at("/c", place("c")))
        .on_host("Other.Example.", "/", place("other"))
        .on_host("other.example", "/a", place("other a"))
        .on_host("[::1]", "/", place("six"))
}

#[test]
fn mounts_go_by_host_and_then_by_the_longest_prefix() {
    for (host, path, expected) in [
        ("x", "/", "root |/ "),
        ("x", "/ab", "root |/ab "),
        ("x", "/a", "a /a| "),
        ("x", "/a/", "a /a|/ "),
        ("x", "/a/bc", "a /a|/bc "),
        ("x", "/%61%2fx?q", "a /a|/x "),
        ("x", "/a/b/c/d%20e", "c /a/b/c|/d e "),
        ("other.example", "/", "other |/ "),
        ("OTHER.example:8000", "/b", "other |/b "),
        ("other.example.", "/a/b/c/d", "other a /a|/b/c/d "),
        ("www.other.example", "/a", "a /a| "),
        ("[::1]:80", "/a", "six |/a "),
        ("", "/a", "a /a| "),
    ] {
        let mut hand = ByHand::new(mounted());
        hand.receive(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let responses = read_all(&transmit_all(&mut hand), &["GET"]).unwrap();
        assert_eq!(responses[0].text(), expected, "{host} {path}");
    }
    assert_eq!(answer(mounted(), "GET", "/a/b/x").code, 404);
    assert_eq!(answer(Mounts::new(), "GET", "/").code, 404);
    assert_eq!(answer(mounted(), "OPTIONS", "*").text(), "root | ");
    assert_eq!(answer(mounted(), "GET", "http://other.example/x").text(), "other |/x ");
}

#[test]
fn mounted_application_judges_by_the_path_that_it_will_see() {
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), mounted());
    for (path, code) in [("/a/head", 200), ("/a/x", 100), ("/head", 200), ("/a/b/x", 404)] {
        let mut client = server.connect();
        client.send(format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        ));
        assert_eq!(client.read("PUT").code, code, "{path}");
    }
}

#[test]
fn whoever_is_further_out_finds_the_path_as_it_was() {
    let mut mounts = mounted();
    let outer = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let body = mounts.call(environ, start_response)?;
        assert_eq!((&*environ.path(), &*environ.script_name()), ("/a/b/c", &b""[..]));
        Ok(body)
    };
    assert_eq!(answer(outer, "GET", "/a/b/c").text(), "c /a/b/c| ");
}

#[test]
fn long_streams_and_files_pass_a_filter_over_a_real_socket() {
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let spy = Spy { seen: Rc::default(), passage: Passage::Seen, piece: Vec::new() };
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
        start_response.through(spy, |start_response| match &*environ.path() {
            "/file" => start_response.status(200).file(FileRange::whole(File::open(folder)?)?),
            _ => start_response.status(200).pieces((0..3_000).map(|_| [b'y'; 1000])),
        })
    };
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), gateway);
    let mut client = server.connect();
    let lock = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
    for _ in 0..2 {
        let response = client.get("/file");
        assert_eq!((response.framing, &response.content), (Framing::Length, &lock));
        let response = client.get("/pieces");
        assert_eq!((response.framing, response.content.len()), (Framing::Chunked, 3_000_000));
    }
}

#[test]
fn example_counts_guards_and_adds_a_footer() {
    let site = example::site("ebb").unwrap();
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), site);
    let mut client = server.connect();
    for path in ["/", "/waves", "/missing"] {
        let response = client.get(path);
        assert!(response.text().ends_with("<footer>The tide waits for nobody.</footer>\n"), "{path}");
        assert_eq!(response.field("X-Content-Type-Options"), Some("nosniff"));
    }
    assert_eq!(client.get("/admin/counts").code, 401);
    client.send("GET /admin/counts HTTP/1.1\r\nHost: a\r\nAuthorization: Basic YWRtaW46ZWJi\r\n\r\n");
    let response = client.read("GET");
    assert!(response.text().starts_with("4 responses, 0 failures, "), "{}", response.text());
}

/// Reports how much has passed, and removes trailers that do not hold any more.
struct Counted(usize);

impl Filter for Counted {
    fn head(&mut self, _head: &mut PassingHead<'_>) -> Passage {
        Passage::Changed
    }

    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        self.0 += content.len();
        Ok(content)
    }

    fn trailers(&mut self, trailers: &mut Vec<(String, Vec<u8>)>) {
        trailers.retain(|(name, _)| name != "X-Stale");
        trailers.push(("X-Count".to_string(), self.0.to_string().into_bytes()));
    }
}

struct Summed(bool);

impl BodyStream for Summed {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(if std::mem::take(&mut self.0) { Piece::Data(b"abc") } else { Piece::End })
    }

    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        ["X-Sum", "X-Stale"].map(|name| (name.to_string(), b"1".to_vec())).into()
    }
}

#[test]
fn trailers_pass_filters_that_may_add_some_and_take_some_away() {
    let counted = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        start_response.through(Counted(0), |start_response| start_response.status(200).stream(Summed(true)))
    };
    let mut hand = ByHand::new(WithFields::new(counted).set("X-Added", "1").unwrap());
    hand.receive(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n");
    let sent = hand.transmit_all();
    let response = &read_all(&sent, &[]).unwrap()[0];
    assert_eq!(response.to_string(), "200 chunked: abc");
    let trailers =
        [("X-Sum", "1"), ("X-Count", "3")].map(|(name, value)| (name.to_string(), value.to_string()));
    assert_eq!(response.trailers, trailers);
}

/// Sends everything later than it comes.
struct Hoarder {
    held: Vec<u8>,
    leaving: Vec<u8>,
    slice_bytes: usize,
}

impl Filter for Hoarder {
    fn head(&mut self, _head: &mut PassingHead<'_>) -> Passage {
        Passage::Changed
    }

    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        self.held.extend_from_slice(content);
        Ok(b"")
    }

    fn slice_bytes(&self) -> usize {
        self.slice_bytes
    }

    fn pause(&mut self) -> Result<&[u8], GatewayError> {
        self.leaving = std::mem::take(&mut self.held);
        Ok(&self.leaving)
    }

    fn end(&mut self) -> Result<&[u8], GatewayError> {
        self.pause()
    }
}

/// Yields `abc`, has nothing for as many times as it says, and yields `def`.
struct Hesitating {
    count: usize,
    pauses: usize,
    is_prompt: bool,
}

impl BodyStream for Hesitating {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        self.count += 1;
        Ok(match self.count {
            1 => Piece::Data(b"abc"),
            count if count <= 1 + self.pauses => Piece::Pending { until: None },
            count if count == 2 + self.pauses => Piece::Data(b"def"),
            _ => Piece::End,
        })
    }

    fn is_prompt(&self) -> bool {
        self.is_prompt
    }
}

#[test]
fn what_a_filter_holds_back_leaves_when_the_application_waits_or_wants_it_to() {
    for (is_prompt, pauses) in [(false, 2), (true, 0), (true, 1)] {
        let gateway = move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
            let hoarder = Hoarder { held: Vec::new(), leaving: Vec::new(), slice_bytes: usize::MAX };
            start_response.through(hoarder, |start_response| {
                start_response.status(200).stream(Hesitating { count: 0, pauses, is_prompt })
            })
        };
        let mut hand = ByHand::new(gateway);
        hand.receive(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
        let mut all = transmit_all(&mut hand);
        let expected = if pauses == 0 { b"abcdef" } else { b"\n\r\nabc" };
        assert!(all.ends_with(expected), "{}", all.escape_ascii());
        hand.wake();
        all.extend(transmit_all(&mut hand));
        assert!(all.ends_with(b"\r\n\r\nabcdef"), "{}", all.escape_ascii());
    }
}

/// To the server a stream does not wait while its filter gives what it has held back: a wake-up in between means nothing.
#[test]
fn stream_that_is_woken_while_its_filter_gives_what_it_held_back_is_asked_again() {
    let mut hand = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let hoarder = Hoarder { held: Vec::new(), leaving: Vec::new(), slice_bytes: usize::MAX };
        start_response.through(hoarder, |start_response| {
            start_response.status(200).stream(Hesitating { count: 0, pauses: 1, is_prompt: false })
        })
    });
    hand.receive(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let all = transmit_all(&mut hand);
    assert!(all.ends_with(b"\r\n\r\nabcdef"), "{}", all.escape_ascii());
}

/// Puts other content in the place of whatever comes.
struct Substitute;

impl Filter for Substitute {
    fn head(&mut self, head: &mut PassingHead<'_>) -> Passage {
        head.field("Content-Length", "5");
        Passage::Replaced
    }

    fn content<'p>(&'p mut self, _content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        panic!("nobody wants it")
    }

    fn end(&mut self) -> Result<&[u8], GatewayError> {
        Ok(b"other")
    }
}

#[test]
fn content_is_replaced_however_it_is_given() {
    for path in ["/send", "/static", "/declared", "/empty", "/write", "/pieces", "/file", "/later", "/broken"]
    {
        for method in ["GET", "HEAD"] {
            let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
                start_response.through(Substitute, |start_response| every_way(environ, start_response))
            };
            let response = answer(gateway, method, path);
            assert_eq!((response.code, response.field("Content-Length")), (200, Some("5")), "{path}");
            assert_eq!(response.text(), if method == "GET" { "other" } else { "" }, "{path}");
        }
    }
}

/// Puts content in the place of whatever comes that others have, too.
struct Share(Arc<[u8]>);

impl Filter for Share {
    fn head(&mut self, _head: &mut PassingHead<'_>) -> Passage {
        Passage::Replaced
    }

    fn replacement(&mut self) -> Result<Content<'_>, GatewayError> {
        Ok(Content::Shared(self.0.clone()))
    }
}

#[test]
fn shared_content_that_replaces_another_is_not_copied() {
    let shared: Arc<[u8]> = vec![b's'; LONG].into();
    for (method, queued) in [("GET", 1), ("HEAD", 0)] {
        let content = shared.clone();
        let mut hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            start_response
                .through(Share(content.clone()), |start_response| every_way(environ, start_response))
        });
        hand.receive(format!("{method} /send HTTP/1.0\r\nHost: a\r\n\r\n").as_bytes());
        // Here, in the gateway, and where it waits to be sent.
        assert_eq!(Arc::strong_count(&shared), 2 + queued, "{method}");
        let sent = hand.transmit_all();
        assert_eq!(sent.ends_with(&shared), queued == 1, "{method}");
    }
}

/// Makes content louder, a few bytes at a time.
struct Slow {
    slice_bytes: usize,
    piece: Vec<u8>,
    seen: Rc<RefCell<Vec<usize>>>,
}

impl Filter for Slow {
    fn head(&mut self, _head: &mut PassingHead<'_>) -> Passage {
        Passage::Changed
    }

    fn slice_bytes(&self) -> usize {
        self.slice_bytes
    }

    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        self.seen.borrow_mut().push(content.len());
        self.piece = content.to_ascii_uppercase();
        Ok(&self.piece)
    }

    fn end(&mut self) -> Result<&[u8], GatewayError> {
        Ok(b".")
    }
}

/// Lets one response through a slow filter, and returns the answer, and how much the filter was given each time.
fn slowed(slice_bytes: usize, path: &str) -> (Response, Vec<usize>) {
    let seen = Rc::<RefCell<Vec<usize>>>::default();
    let notes = seen.clone();
    let response = answer(
        move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            let slow = Slow { slice_bytes, piece: Vec::new(), seen: notes.clone() };
            start_response.through(slow, |start_response| every_way(environ, start_response))
        },
        "GET",
        path,
    );
    (response, seen.take())
}

#[test]
fn slow_filter_sees_long_content_in_slices_however_it_is_given() {
    for slice_bytes in [1, 2, 3, usize::MAX] {
        for (path, content) in [
            ("/send", "ABC."),
            ("/declared", "ABC."),
            ("/empty", "."),
            ("/write", "ABCDEF."),
            ("/pieces", "ABCDEF."),
            ("/write-and-stream", "ABCDEF."),
            ("/file", "[WORKSPACE]."),
            ("/later", "ABC."),
            ("/later-stream", "ABCDEF."),
            ("/replaced", "ABC."),
        ] {
            let (response, seen) = slowed(slice_bytes, path);
            assert_eq!(response.text(), content, "{path} by {slice_bytes}");
            assert!(seen.iter().all(|bytes| *bytes <= slice_bytes), "{path} {seen:?}");
        }
    }
    let (response, seen) = slowed(1 << 16, "/static");
    assert_eq!((response.content.len(), seen.len()), (LONG + 1, LONG.div_ceil(1 << 16)));
}

#[test]
fn turn_ends_after_each_slice_of_content_that_was_given_at_once() {
    let mut hand = ByHand::new(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let slow = Slow { slice_bytes: 1_000, piece: Vec::new(), seen: Rc::default() };
        start_response.through(slow, |start_response| every_way(environ, start_response))
    });
    hand.receive(b"GET /static HTTP/1.0\r\nHost: a\r\n\r\n");
    let (mut sent, mut turns) = (hand.transmit().len(), 0);
    while !matches!(hand.wants(), Wants::Close(_)) {
        // As long as nobody takes what is there, no more is made.
        hand.advance();
        let owed = hand.owed();
        hand.advance();
        assert!(owed <= 1_001 && hand.owed() == owed, "{owed} and {} bytes", hand.owed());
        sent += hand.transmit().len();
        turns += 1;
    }
    assert!(sent > LONG && turns >= LONG / 1_000 - 1, "{sent} bytes in {turns} turns");
}

#[test]
fn what_is_flushed_leaves_though_a_filter_would_hold_it_back() {
    for slice_bytes in [2, usize::MAX] {
        let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
            let hoarder = Hoarder { held: Vec::new(), leaving: Vec::new(), slice_bytes };
            start_response.through(hoarder, |start_response| {
                let mut writer = start_response.start(200, &[])?;
                writer.write("abc")?;
                writer.flush();
                Ok(writer.stream(Hesitating { count: 1, pauses: 1, is_prompt: false }))
            })
        });
        hand.receive(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
        assert!(hand.transmit().ends_with(b"\r\n\r\nabc"));
    }
}

/// Lets this many bytes pass, and fails at the next.
struct Tired(usize);

impl Filter for Tired {
    fn head(&mut self, _head: &mut PassingHead<'_>) -> Passage {
        Passage::Changed
    }

    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        self.0 = self.0.checked_sub(content.len()).ok_or_else(|| GatewayError::new("enough"))?;
        Ok(content)
    }

    fn slice_bytes(&self) -> usize {
        2
    }
}

#[test]
fn application_that_goes_on_writing_is_told_that_a_flush_has_failed() {
    let told = Rc::<RefCell<Vec<bool>>>::default();
    let notes = told.clone();
    let mut hand = ByHand::new(move |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        start_response.through(Tired(5), |start_response| {
            let mut writer = start_response.start(200, &[])?;
            for _ in 0..3 {
                let written = writer.write("abc");
                notes.borrow_mut().push(written.is_ok());
                writer.flush();
            }
            writer.finish()
        })
    });
    hand.receive(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    // The second is held back when it is written, and fails when it is flushed.
    assert_eq!(told.take(), [true, true, false]);
    assert!(hand.transmit_all().ends_with(b"\r\n\r\nabcab"));
    assert_eq!(hand.wants(), Wants::Close(Farewell::Reset));
}
