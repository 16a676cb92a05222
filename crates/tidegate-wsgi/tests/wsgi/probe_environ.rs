//! Probes the view of the application: the environ, `wsgi.input`, `wsgi.errors` (PEP 3333, "environ
//! Variables" and "Input and Error Streams").

use serde_json::{Value, json};

use super::probe::{Check, Probe, checks};
use super::served::{Mode, percent_encode};
use super::support::loopback::{End, noise};

const ENVIRON: &[Check] = checks![
    environ_is_an_exact_dict_of_str,
    variables_without_a_dot_are_exact_strs,
    required_variables_are_there,
    server_variables_tell_the_mode,
    method_is_any_token,
    path_is_decoded_once_and_otherwise_left_alone,
    path_that_could_be_read_in_two_ways_is_refused,
    query_is_raw_and_always_there,
    absolute_target_is_a_path_and_a_query,
    asterisk_is_an_empty_path,
    protocol_is_that_of_the_request,
    peer_is_named,
    forwarded_https_counts_if_nothing_contradicts_it,
    environ_of_the_same_fields_is_still_of_its_own_request,
    host_in_a_target_is_that_of_its_own_request,
    server_is_named,
    content_variables_are_only_there_if_sent,
    repeated_fields_are_joined,
    cookies_are_joined_with_semicolons,
    fields_with_underscores_are_dropped,
    field_values_are_latin_1,
    field_values_are_trimmed_and_may_be_empty,
    environment_of_the_process_stays_out,
    environ_is_fresh_in_every_request,
    names_that_clients_invent_are_not_interned,
    chunked_content_has_its_decoded_length,
    input_says_that_it_ends,
];

const FRAMING: &[Check] = checks![
    two_framings_are_refused,
    two_lengths_are_refused,
    unknown_coding_is_refused,
    bad_chunk_is_refused,
    content_larger_than_the_limit_is_refused_before_it_comes,
];

const INPUT: &[Check] = checks![
    reads_mixed_at_random_are_those_of_a_file,
    reads_mixed_at_random_from_a_spooled_body_are_those_of_a_file,
    chunked_content_is_read_as_one,
    large_content_is_whole,
    input_of_an_old_request_is_harmless,
    unread_content_is_never_the_next_request,
    unread_large_content_is_never_the_next_request,
    continue_is_sent_before_the_content,
    continue_is_not_sent_unasked,
    continue_is_not_sent_to_an_old_client,
    errors_is_a_text_stream_that_takes_everything,
];

/// Content, the reads in order, and their results.
const READS: &[(&str, &str, &str, &str)] = &[
    ("read_takes_all", "abc", "read()", r#"["abc"]"#),
    ("read_of_minus_one_takes_all", "abc", "read(-1)", r#"["abc"]"#),
    ("read_of_none_takes_all", "abc", "read(None)", r#"["abc"]"#),
    ("read_of_zero_takes_nothing", "abc", "read(0);read()", r#"["","abc"]"#),
    ("read_takes_so_many", "abcdef", "read(2);read(3);read(4);read(5)", r#"["ab","cde","f",""]"#),
    ("read_of_more_takes_all", "abc", "read(100)", r#"["abc"]"#),
    ("read_after_a_part_takes_the_rest", "abcdef", "read(2);read()", r#"["ab","cdef"]"#),
    (
        "end_stays_the_end",
        "a",
        "read();read();read(5);readline();readline(5);readlines();list;next;read()",
        r#"["a","","","","",[],[],null,""]"#,
    ),
    (
        "nothing_is_read_from_no_content",
        "",
        "read();readline();readlines();list;next",
        r#"["","",[],[],null]"#,
    ),
    (
        "readline_keeps_the_line_end",
        "a\nb\r\nc",
        "readline();readline();readline();readline()",
        r#"["a\n","b\r\n","c",""]"#,
    ),
    ("readline_takes_empty_lines", "\n\nx", "readline();readline();readline()", r#"["\n","\n","x"]"#),
    (
        "readline_takes_at_most_so_many",
        "abc\nd",
        "readline(2);readline(9);readline(9)",
        r#"["ab","c\n","d"]"#,
    ),
    ("readline_of_minus_one_takes_a_line", "a\nb", "readline(-1);readline(None)", r#"["a\n","b"]"#),
    ("readline_of_zero_takes_nothing", "a\nb", "readline(0);readline()", r#"["","a\n"]"#),
    ("readlines_takes_all_lines", "a\nb\n\nc", "readlines();readlines()", r#"[["a\n","b\n","\n","c"],[]]"#),
    (
        "readlines_stops_at_its_hint",
        "aa\nbb\ncc\n",
        "readlines(4);readlines()",
        r#"[["aa\n","bb\n"],["cc\n"]]"#,
    ),
    ("readlines_of_none_takes_all_lines", "a\nb", "readlines(None)", r#"[["a\n","b"]]"#),
    ("iteration_takes_all_lines", "a\nb\nc", "list;list", r#"[["a\n","b\n","c"],[]]"#),
    ("iteration_goes_on_where_it_stopped", "a\nb\nc\n", "next;next;read()", r#"["a\n","b\n","c\n"]"#),
    ("line_after_a_part_is_its_rest", "abc\ndef", "read(2);readline();list", r#"["ab","c\n",["def"]]"#),
    (
        "part_after_a_line_follows_it",
        "ab\ncd\nef",
        "readline();read(1);readline();readlines()",
        r#"["ab\n","c","d\n",["ef"]]"#,
    ),
    ("bytes_come_as_they_are", "\u{0}\u{7f}\r", "read()", r#"["\u0000\u007f\r"]"#),
];

/// Runs all checks; the smaller groups first.
pub fn play(probe: &mut Probe) {
    probe.all(ENVIRON);
    probe.all(FRAMING);
    for (name, content, steps, expected) in READS {
        probe.check(name, |probe| {
            let target = format!("/input?{}", percent_encode(steps));
            let answer = probe.served.ask(post(&target, content.as_bytes()));
            let found: Value =
                serde_json::from_slice(&answer.content).unwrap_or_else(|_| panic!("no results but {answer}"));
            assert_eq!(found, serde_json::from_str::<Value>(expected).unwrap());
        });
    }
    probe.all(INPUT);
}

fn post(target: &str, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), content].concat()
}

/// The environ of a request with this request line and these field lines.
fn environ(probe: &Probe, line: &str, fields: &str) -> Value {
    environ_of(probe, format!("{line}\r\nHost: a.example\r\n{fields}\r\n").as_bytes())
}

fn environ_of(probe: &Probe, request: &[u8]) -> Value {
    let answer = probe.served.ask(request);
    assert_eq!(answer.code, 200, "{answer}");
    serde_json::from_slice(&answer.content).unwrap()
}

/// One variable of such a request; null if it is missing.
fn variable(probe: &Probe, line: &str, fields: &str, name: &str) -> Value {
    environ(probe, line, fields)["values"][name].take()
}

const GET: &str = "GET /environ HTTP/1.1";

fn environ_is_an_exact_dict_of_str(probe: &Probe) {
    let environ = environ(probe, GET, "X-A: 1\r\n");
    assert_eq!((&environ["type"], &environ["keys"]), (&json!(true), &json!(true)));
}

fn variables_without_a_dot_are_exact_strs(probe: &Probe) {
    let environ =
        environ(probe, "POST /environ?a HTTP/1.1", "X-A: 1\r\nContent-Type: a/b\r\nContent-Length: 0\r\n");
    let types = environ["types"].as_object().unwrap();
    let wrong: Vec<_> = types.iter().filter(|(name, kind)| !name.contains('.') && *kind != "str").collect();
    assert!(wrong.is_empty() && types.len() > 15, "{wrong:?}");
}

fn required_variables_are_there(probe: &Probe) {
    let environ = environ(probe, GET, "");
    for name in [
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "PATH_INFO",
        "QUERY_STRING",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
        "SERVER_SOFTWARE",
        "REMOTE_ADDR",
        "REMOTE_PORT",
        "wsgi.version",
        "wsgi.url_scheme",
        "wsgi.input",
        "wsgi.errors",
        "wsgi.multithread",
        "wsgi.multiprocess",
        "wsgi.run_once",
        "wsgi.file_wrapper",
        "HTTP_HOST",
    ] {
        assert!(environ["types"].get(name).is_some(), "no {name}");
    }
    assert_eq!(environ["values"]["HTTP_HOST"], "a.example");
    assert_eq!((&environ["values"]["SCRIPT_NAME"], &environ["version"]), (&json!(""), &json!(true)));
    assert_eq!(environ["types"]["wsgi.version"], "tuple");
}

fn server_variables_tell_the_mode(probe: &Probe) {
    let values = environ(probe, GET, "")["values"].take();
    assert_eq!(values["wsgi.multithread"], json!(probe.served.mode == Mode::Threads));
    assert_eq!(values["wsgi.multiprocess"], json!(false));
    assert_eq!(values["wsgi.run_once"], json!(false));
    assert_eq!(values["wsgi.url_scheme"], "http");
}

fn method_is_any_token(probe: &Probe) {
    for method in ["DELETE", "PROPFIND", "FOO", "get", "M-SEARCH"] {
        let line = format!("{method} /environ HTTP/1.1");
        assert_eq!(variable(probe, &line, "", "REQUEST_METHOD"), method);
    }
}

fn path_is_decoded_once_and_otherwise_left_alone(probe: &Probe) {
    for (path, expected) in [
        ("/a%20b", "/a b"),
        ("/%2541", "/%41"),
        ("/%2F%3f", "//?"),
        ("/%E2%82%AC", "/\u{e2}\u{82}\u{ac}"),
        ("/%ff%80", "/\u{ff}\u{80}"),
        ("//a///b/", "//a///b/"),
        ("/a/../b/./c", "/a/../b/./c"),
        ("/a;b=c+d", "/a;b=c+d"),
    ] {
        let found = variable(probe, &format!("GET /environ{path} HTTP/1.1"), "", "PATH_INFO");
        assert_eq!(found, format!("/environ{expected}"), "{path}");
    }
}

fn path_that_could_be_read_in_two_ways_is_refused(probe: &Probe) {
    for path in ["/%zz", "/%4", "/%00", "/\u{e9}"] {
        let answer = probe.served.ask(format!("GET /environ{path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(answer.code, 400, "{path}: {answer}");
    }
}

fn query_is_raw_and_always_there(probe: &Probe) {
    for (target, expected) in
        [("", ""), ("?", ""), ("?a=%20b&c", "a=%20b&c"), ("?a?b=/+&&=", "a?b=/+&&="), ("?%zz%", "%zz%")]
    {
        let found = variable(probe, &format!("GET /environ{target} HTTP/1.1"), "", "QUERY_STRING");
        assert_eq!(found, expected, "{target}");
    }
}

fn absolute_target_is_a_path_and_a_query(probe: &Probe) {
    let environ = environ(probe, "GET http://b.example:81/environ/x?y=z HTTP/1.1", "");
    assert_eq!(environ["values"]["PATH_INFO"], "/environ/x");
    assert_eq!(environ["values"]["QUERY_STRING"], "y=z");
    assert_eq!(environ["values"]["HTTP_HOST"], "b.example:81");
}

/// A path begins with a slash or is empty.
fn asterisk_is_an_empty_path(probe: &Probe) {
    assert_eq!(variable(probe, "OPTIONS * HTTP/1.1", "", "PATH_INFO"), "");
}

fn protocol_is_that_of_the_request(probe: &Probe) {
    assert_eq!(variable(probe, GET, "", "SERVER_PROTOCOL"), "HTTP/1.1");
    assert_eq!(variable(probe, "GET /environ HTTP/1.0", "", "SERVER_PROTOCOL"), "HTTP/1.0");
}

fn peer_is_named(probe: &Probe) {
    let values = environ(probe, GET, "")["values"].take();
    assert_eq!(values["REMOTE_ADDR"], "127.0.0.1");
    assert!(values["REMOTE_PORT"].as_str().unwrap().parse::<u16>().unwrap() > 0);
}

/// The peer of these tests is a trusted proxy.
fn forwarded_https_counts_if_nothing_contradicts_it(probe: &Probe) {
    for (fields, scheme) in [
        ("", "http"),
        ("X-Forwarded-Proto: https\r\n", "https"),
        ("x-forwarded-proto: HTTPS\r\n", "https"),
        ("X-Forwarded-Proto: http\r\n", "http"),
        ("X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", "http"),
        ("X-Forwarded-Proto: http\r\nX-Forwarded-Proto: https\r\n", "http"),
    ] {
        // Again and again, since what is made of fields is kept.
        for _ in 0..4 {
            assert_eq!(variable(probe, GET, fields, "wsgi.url_scheme"), scheme, "{fields}");
        }
    }
}

fn environ_of_the_same_fields_is_still_of_its_own_request(probe: &Probe) {
    let fields = "User-Agent: the same\r\nCookie: a=b\r\n";
    for round in 0..4 {
        for query in ["one", "two"] {
            let line = format!("GET /environ?{query}{round} HTTP/1.1");
            assert_eq!(variable(probe, &line, fields, "QUERY_STRING"), format!("{query}{round}"));
            assert_eq!(variable(probe, &line, "Cookie: c=d\r\n", "HTTP_COOKIE"), "c=d");
            assert_eq!(variable(probe, &line, fields, "HTTP_COOKIE"), "a=b");
        }
    }
}

/// A client that sends the same fields as another one must not choose that one's host, repeated fields or
/// not.
fn host_in_a_target_is_that_of_its_own_request(probe: &Probe) {
    for fields in ["X-Seen: 1\r\nX-Seen: 2\r\n", "X-Seen: 1\r\nCookie: a\r\nCookie: b\r\n", "X-Seen: 3\r\n"] {
        let evil = ("http://evil.example:81/environ", "evil.example:81", "evil.example");
        let good = ("/environ", "a.example", "a.example");
        // Fields that have come twice are remembered.
        for (target, host, name) in [evil, evil, good, good, evil, good] {
            let values = environ(probe, &format!("GET {target} HTTP/1.1"), fields)["values"].take();
            assert_eq!((&values["HTTP_HOST"], &values["SERVER_NAME"]), (&json!(host), &json!(name)));
        }
    }
}

fn server_is_named(probe: &Probe) {
    let values = environ(probe, GET, "")["values"].take();
    assert_eq!(values["SERVER_PORT"], probe.served.address().port().to_string());
    assert!(!values["SERVER_NAME"].as_str().unwrap().is_empty());
    assert!(!values["SERVER_SOFTWARE"].as_str().unwrap().is_empty());
}

fn content_variables_are_only_there_if_sent(probe: &Probe) {
    let names = ["CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"];
    let found = |fields: &str| {
        let mut values = environ(probe, "POST /environ HTTP/1.1", fields)["values"].take();
        names.map(|name| values[name].take())
    };
    let absent = Value::Null;
    assert_eq!(found(""), [absent.clone(), absent.clone(), absent.clone(), absent.clone()]);
    let sent = found("content-type: a/b; c=\"d\"\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(sent, [json!("a/b; c=\"d\""), json!("3"), absent.clone(), absent]);
}

fn repeated_fields_are_joined(probe: &Probe) {
    let found = variable(probe, GET, "X-A: 1\r\nX-B: x\r\nx-a: 2,3\r\nX-A: 4\r\n", "HTTP_X_A");
    assert_eq!(found.as_str().unwrap().replace(", ", ","), "1,2,3,4");
}

/// Interned strings of Python 3.12 are never freed.
fn names_that_clients_invent_are_not_interned(probe: &Probe) {
    let request = "GET /interned HTTP/1.1\r\nHost: a\r\nX-Invented-Here: b\r\nCookie: c=d\r\n\r\n";
    assert_eq!(probe.served.ask(request).text(), "HTTP_HOST HTTP_COOKIE");
}

fn cookies_are_joined_with_semicolons(probe: &Probe) {
    assert_eq!(variable(probe, GET, "Cookie: a=1; b=2\r\nCookie: c=3\r\n", "HTTP_COOKIE"), "a=1; b=2; c=3");
}

fn fields_with_underscores_are_dropped(probe: &Probe) {
    let fields = "X_Real: evil\r\nX-Real: good\r\nX_Other: evil\r\nContent_Length: 5\r\n";
    let values = environ(probe, GET, fields)["values"].take();
    assert_eq!((&values["HTTP_X_REAL"], &values["HTTP_X_OTHER"]), (&json!("good"), &Value::Null));
    assert_eq!((&values["CONTENT_LENGTH"], &values["HTTP_CONTENT_LENGTH"]), (&Value::Null, &Value::Null));
}

fn field_values_are_latin_1(probe: &Probe) {
    let environ = environ_of(probe, b"GET /environ HTTP/1.1\r\nHost: a\r\nX-A: \xe9\xe2\x82\xac\xff\r\n\r\n");
    assert_eq!(environ["values"]["HTTP_X_A"], "\u{e9}\u{e2}\u{82}\u{ac}\u{ff}");
}

fn field_values_are_trimmed_and_may_be_empty(probe: &Probe) {
    let values = environ(probe, GET, "X-A:  \t a b\t \r\nX-B:\r\nX-C:c\r\n")["values"].take();
    assert_eq!((&values["HTTP_X_A"], &values["HTTP_X_B"]), (&json!("a b"), &json!("")));
    assert_eq!(values["HTTP_X_C"], "c");
}

fn environment_of_the_process_stays_out(probe: &Probe) {
    let environ = environ(probe, GET, "");
    for name in ["PROBE_SECRET", "PROBE_FOLDER", "PATH", "HOME"] {
        assert!(environ["types"].get(name).is_none(), "{name} is there");
    }
}

fn environ_is_fresh_in_every_request(probe: &Probe) {
    let mut client = probe.served.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/mutate").to_string(), "200 length: mutated");
        let environ: Value = serde_json::from_slice(&client.get("/environ").content).unwrap();
        assert!(!environ.to_string().contains("mutated"), "{environ}");
        assert_eq!(environ["values"]["REQUEST_METHOD"], "GET");
    }
}

fn chunked_content_has_its_decoded_length(probe: &Probe) {
    let fields = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Trailer: 1\r\n";
    let environ = environ(probe, "POST /environ HTTP/1.1", fields);
    let values = &environ["values"];
    assert_eq!((&values["CONTENT_LENGTH"], &environ["body"]), (&json!("7"), &json!("abcdefg")));
    assert_eq!(values["HTTP_TRANSFER_ENCODING"], Value::Null);
    assert_eq!(values["HTTP_X_TRAILER"], Value::Null);
}

fn input_says_that_it_ends(probe: &Probe) {
    assert_eq!(variable(probe, GET, "", "wsgi.input_terminated"), json!(true));
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n";
    assert_eq!(variable(probe, "POST /environ HTTP/1.1", chunked, "wsgi.input_terminated"), json!(true));
}

/// A request that must be refused with this code, and whose connection must end.
fn refused(probe: &Probe, code: u16, fields: &str) {
    let mut client = probe.served.connect();
    client.send(format!("POST /environ HTTP/1.1\r\nHost: a\r\n{fields}"));
    let answer = client.read("POST");
    assert_eq!(answer.code, code, "{answer}");
    client.read_end();
}

fn two_framings_are_refused(probe: &Probe) {
    refused(probe, 400, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

fn two_lengths_are_refused(probe: &Probe) {
    refused(probe, 400, "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd");
}

fn unknown_coding_is_refused(probe: &Probe) {
    refused(probe, 501, "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
}

fn bad_chunk_is_refused(probe: &Probe) {
    refused(probe, 400, "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n0\r\n\r\n");
}

fn content_larger_than_the_limit_is_refused_before_it_comes(probe: &Probe) {
    refused(probe, 413, "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n");
}

/// Content with lines of every length, and the same in a file for comparison.
fn compare_at_random(probe: &Probe, count: usize) {
    for seed in 1..=6 {
        let id = probe.id();
        // Every byte below 4 is a line end: long lines and short ones.
        let content: Vec<u8> =
            noise(seed, count).into_iter().map(|byte| if byte < 4 { b'\n' } else { byte }).collect();
        probe.served.folder.write(&format!("{id}.body"), &content);
        let answer = probe.served.ask(post(&format!("/input_mix?{id}"), &content));
        assert_eq!(answer.to_string(), "200 length: same", "{id}");
    }
}

fn reads_mixed_at_random_are_those_of_a_file(probe: &Probe) {
    compare_at_random(probe, 100_000);
}

/// Longer than what is kept in memory.
fn reads_mixed_at_random_from_a_spooled_body_are_those_of_a_file(probe: &Probe) {
    compare_at_random(probe, 1_500_000);
}

fn chunked_content_is_read_as_one(probe: &Probe) {
    let mut client = probe.served.connect();
    client.send(
        "POST /input?read(4);readline();read() HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for piece in ["3\r\nabc\r\n", "3\r\nde\n\r\n", "1\r\nf\r\n", "0\r\n\r\n"] {
        client.send(piece);
    }
    assert_eq!(client.read("POST").text(), r#"["abcd", "e\n", "f"]"#);
}

fn large_content_is_whole(probe: &Probe) {
    let content = noise(1, 5_000_000);
    assert_eq!(probe.served.ask(post("/input_count", &content)).text(), "5000000");
}

fn input_of_an_old_request_is_harmless(probe: &Probe) {
    for size in [1, 1_000_000] {
        let mut client = probe.served.connect();
        client.send(post("/input_kept", &b"old".repeat(size)));
        assert_eq!(client.read("POST").text(), "kept");
        client.send(post("/input_late", &b"new".repeat(size)));
        let answer = client.read("POST").text();
        assert!(["nothing", "own"].contains(&answer.as_str()), "{answer}");
    }
}

fn unread_content_is_never_the_next_request(probe: &Probe) {
    let mut client = probe.served.connect();
    let hidden = b"GET /fail_before HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send([post("/block", hidden), post("/hello", b"")].concat());
    assert_eq!(client.read("POST").to_string(), "200 length: block");
    assert_eq!(client.read("POST").to_string(), "200 length: hello");
}

fn unread_large_content_is_never_the_next_request(probe: &Probe) {
    let mut client = probe.served.connect();
    let hidden = b"GET /fail_before HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50_000);
    client.send([post("/block", &hidden), post("/hello", b"")].concat());
    assert_eq!(client.read("POST").to_string(), "200 length: block");
    assert_eq!(client.read("POST").to_string(), "200 length: hello");
}

fn continue_is_sent_before_the_content(probe: &Probe) {
    let mut client = probe.served.connect();
    client.send("POST /input_count HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.read("POST").code, 100);
    client.send("abc");
    assert_eq!(client.read("POST").to_string(), "200 length: 3");
}

fn continue_is_not_sent_unasked(probe: &Probe) {
    assert_eq!(probe.served.ask(post("/input_count", b"abc")).code, 200);
}

fn continue_is_not_sent_to_an_old_client(probe: &Probe) {
    let mut client = probe.served.connect();
    client.send("POST /input_count HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.read("POST").code, 200);
    assert_eq!(client.read_end(), End::Fin);
}

fn errors_is_a_text_stream_that_takes_everything(probe: &Probe) {
    assert_eq!(probe.served.get("/errors").to_string(), "200 length: written");
    for text in ["plain", "lone", "first of lines", "second of lines", "printed"] {
        probe.served.program.stderr.next_with(&format!("errors: {text}"));
    }
}
