//! Probes how an application begins its answer: `start_response`, `exc_info`, `write()` (PEP 3333, "The
//! start_response() Callable").

use super::probe::{Check, Probe, Row, checks};
use super::served::percent_encode;
use super::support::loopback::End;

/// Arguments of start_response that must raise inside of the call.
const REFUSED: &[(&str, &str)] = &[
    ("no_argument", ""),
    ("only_a_status", "'200 OK'"),
    ("four_arguments", "'200 OK', [], None, None"),
    ("unknown_keyword", "'200 OK', [], exception=None"),
    ("exc_info_that_is_a_number", "'200 OK', [], 7"),
    ("status_of_bytes", "b'200 OK', []"),
    ("status_that_is_a_number", "200, []"),
    ("status_none", "None, []"),
    ("status_empty", "'', []"),
    ("status_without_a_number", "'OK', []"),
    ("status_with_two_digits", "'99 Low', []"),
    ("status_with_four_digits", "'2000 High', []"),
    ("status_without_a_blank", "'200OK', []"),
    ("status_with_crlf", "'200 OK\\r\\nX-Injected: 1', []"),
    ("status_with_lf", "'200 O\\nK', []"),
    ("status_with_nul", "'200 O\\0K', []"),
    ("status_with_a_control", "'200 O\\x1bK', []"),
    ("status_beyond_latin_1", "'200 \\u20ac', []"),
    ("fields_none", "'200 OK', None"),
    ("fields_that_are_a_dict", "'200 OK', {'A': 'b'}"),
    ("fields_that_are_text", "'200 OK', 'Ab'"),
    ("fields_that_are_an_iterator", "'200 OK', iter([('A', 'b')])"),
    ("field_that_is_a_list", "'200 OK', [['A', 'b']]"),
    ("field_that_is_text", "'200 OK', ['Ab']"),
    ("field_that_is_none", "'200 OK', [None]"),
    ("field_of_one", "'200 OK', [('A',)]"),
    ("field_of_three", "'200 OK', [('A', 'b', 'c')]"),
    ("name_of_bytes", "'200 OK', [(b'A', 'b')]"),
    ("name_none", "'200 OK', [(None, 'b')]"),
    ("name_empty", "'200 OK', [('', 'b')]"),
    ("name_with_a_blank", "'200 OK', [('A b', 'c')]"),
    ("name_with_a_colon", "'200 OK', [('A:', 'b')]"),
    ("name_with_crlf", "'200 OK', [('A\\r\\nX-Injected', 'b')]"),
    ("name_with_nul", "'200 OK', [('A\\0', 'b')]"),
    ("name_beyond_ascii", "'200 OK', [('\\xc4', 'b')]"),
    ("value_of_bytes", "'200 OK', [('A', b'b')]"),
    ("value_that_is_a_number", "'200 OK', [('A', 1)]"),
    ("value_none", "'200 OK', [('A', None)]"),
    ("value_with_crlf", "'200 OK', [('A', 'b\\r\\nX-Injected: 1')]"),
    ("value_with_lf", "'200 OK', [('A', 'b\\nX-Injected: 1')]"),
    ("value_with_cr", "'200 OK', [('A', 'b\\rX-Injected: 1')]"),
    ("value_with_nul", "'200 OK', [('A', 'b\\0c')]"),
    ("value_with_a_control", "'200 OK', [('A', 'b\\x01c')]"),
    ("value_with_delete", "'200 OK', [('A', 'b\\x7fc')]"),
    ("value_beyond_latin_1", "'200 OK', [('A', '\\u20ac')]"),
    ("last_field_bad", "'200 OK', [('A', 'b'), ('C', 'd'), ('E', 'f\\n')]"),
    ("length_that_is_text", "'200 OK', [('Content-Length', 'abc')]"),
    ("length_negative", "'200 OK', [('Content-Length', '-1')]"),
    ("length_with_a_sign", "'200 OK', [('Content-Length', '+5')]"),
    ("length_with_a_point", "'200 OK', [('Content-Length', '5.0')]"),
    ("length_empty", "'200 OK', [('Content-Length', '')]"),
    ("lengths_that_differ", "'200 OK', [('Content-Length', '5'), ('content-length', '6')]"),
    ("transfer_encoding", "'200 OK', [('Transfer-Encoding', 'chunked')]"),
    ("connection_upgrade", "'200 OK', [('Connection', 'upgrade')]"),
    ("upgrade", "'200 OK', [('Upgrade', 'websocket')]"),
    ("keep_alive", "'200 OK', [('Keep-Alive', 'timeout=5')]"),
    ("te", "'200 OK', [('TE', 'trailers')]"),
    ("trailer", "'200 OK', [('trailer', 'X-Sum')]"),
];

/// Arguments that are unusual and right.
const ACCEPTED: &[(&str, &str)] = &[
    ("exc_info_none", "'200 OK', [], None"),
    ("exc_info_none_by_keyword", "'200 OK', [], exc_info=None"),
    ("status_subclass", "Text('200 OK'), []"),
    ("fields_subclass", "'200 OK', Pairs([('A', 'b')])"),
    ("field_subclass", "'200 OK', [Pair(('A', 'b'))]"),
    ("name_and_value_subclasses", "'200 OK', [(Text('A'), Text('b'))]"),
    ("value_empty", "'200 OK', [('A', '')]"),
    ("value_with_a_tab", "'200 OK', [('A', 'b\\tc')]"),
    ("value_latin_1", "'200 OK', [('A', 'b\\xe9')]"),
    ("value_long", "'200 OK', [('A', 'b' * 20000)]"),
    ("fields_many", "'200 OK', [('A%d' % n, 'b') for n in range(200)]"),
    ("status_without_a_name", "'299 Something Else', []"),
    ("name_with_every_symbol", "'200 OK', [('!#$%&*+-.^_`|~09az', 'b')]"),
];

const ROWS: &[Row] = &[
    ("second_start_raises", "/start_twice", "200 length: raised"),
    ("second_start_with_none_raises", "/start_twice_with_none", "200 length: raised"),
    ("exc_info_at_the_first_start_is_welcome", "/start_with_exc_info", "503 length: at once"),
    ("written_data_comes_first", "/write", "200 chunked: one two three"),
    ("written_data_may_be_all", "/write_only", "200 chunked: written"),
    ("written_data_counts", "/write_counted", "200 length: abcdef"),
    ("written_text_raises", "/write_text", "200 length: raised"),
];

const CHECKS: &[Check] = checks![
    replacement_replaces_everything,
    replacement_by_keyword_replaces_everything,
    replacement_after_empty_blocks_replaces_everything,
    replacement_after_the_head_raises_and_cuts,
    replacement_after_written_data_raises_and_cuts,
    start_response_of_an_old_request_answers_nobody,
    write_of_another_request_writes_nothing_here,
    written_data_beyond_the_length_is_cut,
    written_data_leaves_before_the_application_goes_on,
    written_data_of_any_size_is_whole,
    written_data_is_no_content_of_head,
    reason_is_kept,
    names_keep_their_case,
    repeated_fields_stay_in_order,
    latin_1_goes_out_as_latin_1,
    date_and_server_are_added_once,
    date_and_server_of_the_application_are_kept,
    connection_close_of_the_application_is_honoured,
    early_hints_come_before_the_answer,
    early_hints_leave_at_once,
    early_hints_are_not_for_old_clients,
    early_hints_are_validated,
];

pub fn play(probe: &mut Probe) {
    for (name, arguments) in REFUSED {
        probe.check(&format!("{name}_raises"), |probe| {
            let answer = probe.served.get(&format!("/start?{}", percent_encode(arguments)));
            assert_eq!(answer.to_string(), "200 length: raised", "{arguments}");
            assert!(answer.fields.iter().all(|(name, _)| name != "X-Injected" && name != "A"), "{answer:?}");
        });
    }
    for (name, arguments) in ACCEPTED {
        probe.check(&format!("{name}_is_accepted"), |probe| {
            let target = format!("/start?{}", percent_encode(arguments));
            let (head, content) = raw(probe, &target);
            assert!(head.starts_with("HTTP/1.1 2") && content == "accepted", "{arguments}: {head} {content}");
        });
    }
    probe.rows(ROWS);
    probe.all(CHECKS);
}

/// Head and content of an answer, byte for byte as latin-1.
fn raw(probe: &Probe, target: &str) -> (String, String) {
    let mut client = probe.served.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    let (bytes, end) = client.read_to_end();
    let text: String = bytes.iter().copied().map(char::from).collect();
    assert_eq!(end, End::Fin, "{text}");
    let (head, content) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    (head.to_string(), content.to_string())
}

/// The head of an answer with this status and these fields.
fn head(probe: &Probe, status: &str, fields: &str) -> String {
    raw(probe, &format!("/head?{}", percent_encode(&format!("({status}, {fields})")))).0
}

fn check_replaced(probe: &Probe, target: &str) {
    let answer = probe.served.get(target);
    assert_eq!((answer.code, answer.reason.as_str(), answer.text().as_str()), (503, "Replaced", "replaced"));
    assert!(!answer.is_cut, "{answer:?}");
    assert_eq!((answer.field("X-First"), answer.field("X-Second")), (None, Some("2")));
    assert_eq!(answer.field("Content-Type"), None, "{answer:?}");
}

fn replacement_replaces_everything(probe: &Probe) {
    check_replaced(probe, "/replace");
}

fn replacement_by_keyword_replaces_everything(probe: &Probe) {
    check_replaced(probe, "/replace_by_keyword");
}

fn replacement_after_empty_blocks_replaces_everything(probe: &Probe) {
    check_replaced(probe, "/replace_lazily");
}

fn replacement_after_the_head_raises_and_cuts(probe: &Probe) {
    let (id, answer) = probe.noted("/replace_too_late");
    assert_eq!(answer, "200 chunked cut: begin");
    probe.only_note(&id, "same");
}

fn replacement_after_written_data_raises_and_cuts(probe: &Probe) {
    let (id, answer) = probe.noted("/replace_after_write");
    assert_eq!(answer, "200 chunked cut: begin");
    probe.only_note(&id, "same");
}

fn start_response_of_an_old_request_answers_nobody(probe: &Probe) {
    let mut client = probe.served.connect();
    assert_eq!(client.get("/start_kept").to_string(), "200 length: kept");
    let answer = client.get("/start_late");
    assert_eq!((answer.to_string().as_str(), answer.field("X-Late")), ("200 length: own answer", None));
    assert_eq!(client.get("/hello").to_string(), "200 length: hello");
}

/// The other request is still under way, since its client reads nothing.
fn write_of_another_request_writes_nothing_here(probe: &Probe) {
    let mut other = probe.served.connect();
    other.send("GET /write_kept HTTP/1.1\r\nHost: a\r\n\r\n");
    other.read_until("xxx");
    assert_eq!(probe.served.get("/write_of_another").to_string(), "200 chunked: own refused");
}

fn written_data_beyond_the_length_is_cut(probe: &Probe) {
    let (_, answer) = probe.noted("/write_too_long");
    assert!(["200 length: abcd", "200 length close: abcd"].contains(&answer.as_str()), "{answer}");
}

fn written_data_leaves_before_the_application_goes_on(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /write_and_wait?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.read_until("one");
    probe.served.open_gate(&id);
    assert_eq!(client.read("GET").to_string(), "200 chunked: onetwo");
}

fn written_data_of_any_size_is_whole(probe: &Probe) {
    let answer = probe.served.get("/write_large");
    assert_eq!((answer.content.len(), answer.is_cut), (8_000_000, false));
}

fn written_data_is_no_content_of_head(probe: &Probe) {
    let mut client = probe.served.connect();
    client.send("HEAD /write HTTP/1.1\r\nHost: a\r\n\r\nHEAD /write_counted HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read("HEAD").to_string(), "200 none");
    assert_eq!(client.read("HEAD").field("Content-Length"), Some("6"));
    assert_eq!(client.get("/hello").to_string(), "200 length: hello");
}

fn reason_is_kept(probe: &Probe) {
    for status in ["200 Fine and Dandy", "404 nicht da", "599 Odd", "200 \u{e9}"] {
        let head = head(probe, &format!("{status:?}"), "[]");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{status}: {head}");
    }
}

fn names_keep_their_case(probe: &Probe) {
    let head = head(probe, "'200 OK'", "[('x-MiXed', 'A b'), ('ETAG', 'c')]");
    assert!(head.contains("\r\nx-MiXed: A b") && head.contains("\r\nETAG: c"), "{head}");
}

fn repeated_fields_stay_in_order(probe: &Probe) {
    let head = head(probe, "'200 OK'", "[('Set-Cookie', 'a=1'), ('X', 'y'), ('Set-Cookie', 'b=2, 3')]");
    let cookies: Vec<&str> = head.lines().filter(|line| line.starts_with("Set-Cookie")).collect();
    assert_eq!(cookies, ["Set-Cookie: a=1", "Set-Cookie: b=2, 3"], "{head}");
}

fn latin_1_goes_out_as_latin_1(probe: &Probe) {
    let head = head(probe, "'200 OK'", "[('X-A', 'caf\\xe9 \\xff')]");
    assert!(head.contains("\r\nX-A: caf\u{e9} \u{ff}"), "{head:?}");
}

fn count(head: &str, name: &str) -> usize {
    head.lines().filter(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:"))).count()
}

fn date_and_server_are_added_once(probe: &Probe) {
    let head = head(probe, "'200 OK'", "[]");
    assert_eq!((count(&head, "date"), count(&head, "server")), (1, 1), "{head}");
}

fn date_and_server_of_the_application_are_kept(probe: &Probe) {
    let head = head(probe, "'200 OK'", "[('date', 'yesterday'), ('SERVER', 'mine')]");
    assert_eq!((count(&head, "date"), count(&head, "server")), (1, 1), "{head}");
    assert!(head.contains("\r\ndate: yesterday") && head.contains("\r\nSERVER: mine"), "{head}");
}

fn connection_close_of_the_application_is_honoured(probe: &Probe) {
    let expression = percent_encode("('200 OK', [('Connection', 'close')])");
    let mut client = probe.served.connect();
    let answer = client.get(&format!("/head?{expression}"));
    assert_eq!(answer.to_string(), "200 length close: content");
    assert_eq!(client.read_end(), End::Fin);
}

fn early_hints_come_before_the_answer(probe: &Probe) {
    let mut client = probe.served.connect();
    client.send("GET /early_hints HTTP/1.1\r\nHost: a\r\n\r\n");
    let hints = client.read("GET");
    let links: Vec<&str> = hints.fields.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!((hints.code, links), (103, vec!["</a.css>; rel=preload", "</b.js>; rel=preload"]));
    assert_eq!(client.read("GET").to_string(), "200 length: hinted");
}

fn early_hints_leave_at_once(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /early_hints_and_wait?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(client.read("GET").code, 103);
    probe.served.open_gate(&id);
    assert_eq!(client.read("GET").to_string(), "200 length: hinted");
}

fn early_hints_are_not_for_old_clients(probe: &Probe) {
    let answer = probe.served.ask("GET /early_hints HTTP/1.0\r\n\r\n");
    assert_eq!((answer.code, answer.text().as_str()), (200, "hinted"));
}

fn early_hints_are_validated(probe: &Probe) {
    assert_eq!(probe.served.get("/early_hints_bad").to_string(), "200 length: raised");
}
