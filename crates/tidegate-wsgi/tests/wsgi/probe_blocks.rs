//! Probes the application's answers: blocks, their framing, close(), failures and files (PEP 3333, "Buffering
//! and Streaming", "Error Handling", "Optional Platform-Specific File Handling").

use std::thread;
use std::time::Duration;

use super::probe::{Check, Probe, Row, checks};
use super::served::Mode;
use super::support::loopback::{End, noise, wait_until};

const BLOCKS: &[Row] = &[
    ("lazy_generator_starts_in_its_first_step", "/lazy", "202 chunked: lazy"),
    ("empty_blocks_end_nothing", "/empty_blocks", "200 chunked: ab"),
    ("one_block_has_a_length", "/block", "200 length: block"),
    ("list_has_a_length", "/block_list", "200 length: one two three"),
    ("tuple_has_a_length", "/block_tuple", "200 length: one two"),
    ("empty_list_has_a_length", "/block_empty_list", "200 length"),
    ("generator_is_chunked", "/block_generator", "200 chunked: one two"),
    ("sequence_is_iterated", "/block_sequence", "200 chunked: one two"),
    ("given_length_is_kept", "/length_right", "200 length: abcdef"),
    ("text_after_bytes_cuts", "/return_text_later", "200 chunked cut: begin"),
    ("generator_that_falls_short_of_its_length_is_cut", "/length_too_large_generator", "200 length cut: abc"),
    ("failure_midway_cuts", "/fail_midway", "200 chunked cut: begin"),
    ("failure_midway_cuts_with_a_length_too", "/fail_midway_length", "200 length cut: begin"),
    ("failure_after_write_cuts", "/fail_written", "200 chunked cut: begin"),
    ("exit_midway_cuts", "/fail_midway_with?system_exit", "200 chunked cut: begin"),
    ("interrupt_midway_cuts", "/fail_midway_with?keyboard_interrupt", "200 chunked cut: begin"),
    ("broken_pipe_midway_cuts", "/fail_midway_with?broken_pipe", "200 chunked cut: begin"),
    ("forked_child_that_exits_has_its_status", "/fork?exit", "200 length: exit status 7"),
    ("forked_child_that_raises_ends", "/fork?raise", "200 length: exit status 1"),
    ("forked_child_that_returns_ends", "/fork?return", "200 length: exit status 0"),
    ("client_that_is_there_is_not_gone", "/disconnected", "200 length: False"),
];

/// Applications that fail, each of which must get a 500 that reveals nothing.
const FAILING: &[(&str, &str)] = &[
    ("failure_before_the_start", "/fail_before"),
    ("failure_after_the_start", "/fail_started"),
    ("failure_in_the_first_step", "/fail_first"),
    ("exit_in_a_view", "/fail_with?system_exit"),
    ("exit_with_a_text_in_a_view", "/fail_with?system_exit_text"),
    ("interrupt_in_a_view", "/fail_with?keyboard_interrupt"),
    ("generator_exit_in_a_view", "/fail_with?generator_exit"),
    ("stop_iteration_in_a_view", "/fail_with?stop_iteration"),
    ("base_exception_in_a_view", "/fail_with?base_exception"),
    ("memory_error_in_a_view", "/fail_with?memory_error"),
    ("exception_that_cannot_be_printed", "/fail_with?unprintable"),
    ("endless_recursion", "/fail_with?recursion"),
    ("exception_with_a_lone_surrogate", "/fail_with?surrogate"),
    ("connection_error_in_a_view", "/fail_with?connection_reset"),
    ("broken_pipe_in_a_view", "/fail_with?broken_pipe"),
    ("blocking_error_in_a_view", "/fail_with?blocking"),
    ("answer_none", "/return_none"),
    ("answer_that_is_a_number", "/return_number"),
    ("answer_that_is_text", "/return_text"),
    ("answer_that_is_bytes", "/return_bytes"),
    ("block_that_is_text", "/return_text_block"),
    ("block_none", "/return_none_block"),
    ("block_that_is_a_number", "/return_number_block"),
    ("list_without_a_start", "/unstarted_list"),
    ("empty_list_without_a_start", "/unstarted_empty_list"),
    ("none_without_a_start", "/unstarted_none"),
    ("generator_without_a_start", "/unstarted_generator"),
];

/// A target, the method, and the answer after which close() must have been called once.
const CLOSED: &[(&str, &str, &str, &str)] = &[
    ("close_follows_the_last_block", "GET", "/close_blocks", "200 chunked: one two"),
    ("close_follows_no_block", "GET", "/close_none", ""),
    ("close_follows_a_list", "GET", "/close_list", ""),
    ("close_follows_the_length", "GET", "/close_length", "200 length: one"),
    ("close_follows_head", "HEAD", "/close_blocks", ""),
    ("close_follows_head_of_an_endless_answer", "HEAD", "/close_generator", ""),
    ("close_follows_204", "GET", "/no_content", "204 none"),
    ("close_follows_304", "GET", "/not_modified", "304 none"),
    ("close_follows_a_failure_in_the_first_step", "GET", "/close_failing_at_once", ""),
    ("close_follows_a_failure_midway", "GET", "/close_failing", "200 chunked cut: begin"),
    ("close_follows_a_bad_block", "GET", "/close_text", ""),
    ("close_follows_a_missing_start", "GET", "/close_unstarted", ""),
    ("close_is_that_of_the_answer_and_not_of_its_iterator", "GET", "/close_outer", "200 chunked: one"),
    ("close_may_raise", "GET", "/close_raises", "200 chunked: one two"),
    ("close_may_exit", "GET", "/close_exits", "200 chunked: one two"),
    ("file_is_closed", "GET", "/file_closed", ""),
    ("file_is_closed_after_head", "HEAD", "/file_closed", ""),
];

const CHECKS: &[Check] = checks![
    lazy_generator_without_a_block_has_its_status,
    list_subclass_is_whole,
    block_arrives_before_the_next_is_asked_for,
    block_with_a_length_arrives_before_the_next_is_asked_for,
    large_block_is_whole,
    many_blocks_are_whole,
    content_of_any_size_is_whole_in_blocks_of_any_size,
    content_beyond_its_length_is_cut_off,
    content_short_of_its_length_is_told,
    head_has_no_content,
    status_without_content_has_none,
    old_client_gets_content_until_the_end,
    old_client_gets_a_reset_for_a_failure_midway,
    client_that_asks_for_the_end_gets_it,
    old_client_that_asks_to_keep_the_connection_keeps_it,
    pipelined_requests_are_answered_in_order,
    reader_that_does_not_read_stops_the_iteration,
    failure_tells_the_operator_and_nobody_else,
    failing_close_tells_the_operator,
    slow_uploads_keep_nobody_waiting,
    waiting_application_keeps_no_other_thread_waiting,
];

const GONE: &[Check] = checks![
    close_follows_a_client_that_leaves_unread,
    close_follows_a_client_that_leaves_in_order,
    close_follows_a_client_that_leaves_between_blocks,
    close_follows_a_client_that_leaves_before_the_answer,
    generator_is_closed_when_its_client_is_gone,
    file_is_closed_when_its_client_is_gone,
    generator_of_empty_blocks_is_closed_when_its_client_is_gone,
    application_learns_that_its_client_is_gone,
];

/// `file_wrapper`: the target, where in the file the answer begins, how many bytes it has, framing.
const FILES: &[(&str, &str, usize, usize, &str)] = &[
    ("file_is_whole", "/file", 0, 10_240, "length"),
    ("file_with_a_block_size_is_whole", "/file_block_size", 0, 10_240, "length"),
    ("file_begins_at_its_offset", "/file_offset", 100, 10_140, "length"),
    ("file_begins_where_its_object_is", "/file_offset_buffered", 100, 10_140, "length"),
    ("file_ends_with_its_length", "/file_part", 100, 50, "length"),
    ("file_that_is_empty_is_empty", "/file_empty", 0, 0, "length"),
    ("large_file_is_whole", "/file_large", 0, 5_242_880, "length"),
    ("file_in_memory_is_whole", "/file_memory", 0, 10_240, "any"),
    ("file_in_memory_begins_at_its_offset", "/file_memory_offset", 100, 10_140, "any"),
    ("object_that_can_only_be_read_is_whole", "/file_only_read", 0, 10_240, "any"),
    ("object_without_a_descriptor_is_whole", "/file_lying_number", 0, 10_240, "any"),
    ("pipe_is_whole", "/file_pipe", 0, 10_240, "any"),
];

const FILE_CHECKS: &[Check] = checks![
    file_without_a_length_is_whole,
    file_shorter_than_its_length_is_cut,
    file_without_content_for_head_has_its_length,
    file_is_an_iterable_for_middleware,
    file_that_is_not_returned_is_no_answer,
];

pub fn play(probe: &mut Probe) {
    probe.rows(BLOCKS);
    probe.all(CHECKS);
}

pub fn play_failures(probe: &mut Probe) {
    for (name, target) in FAILING {
        probe.check(&format!("{name}_is_a_500_without_details"), |probe| {
            let answer = probe.served.get(target);
            assert_eq!(answer.code, 500, "{answer}");
            let text = answer.text();
            let told =
                ["detail", "Traceback", "RuntimeError", ".py"].iter().find(|word| text.contains(**word));
            assert_eq!(told, None, "{text:?}");
        });
    }
    for (name, method, target, expected) in CLOSED {
        probe.check(name, |probe| {
            let id = probe.id();
            let answer = probe.served.ask(format!("{method} {target}?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(expected.is_empty() || answer.to_string() == *expected, "{answer}");
            probe.only_note(&id, "closed");
        });
    }
    probe.all(GONE);
}

pub fn play_files(probe: &mut Probe) {
    for (name, target, start, count, framing) in FILES {
        probe.check(name, |probe| {
            let answer = probe.served.get(target);
            let expected = content(*start, *count);
            assert_eq!((answer.code, answer.content.len(), answer.is_cut), (200, *count, false));
            assert!(answer.content == expected, "other bytes");
            assert!(
                *framing == "any" || answer.field("Content-Length") == Some(&count.to_string()),
                "{answer}"
            );
        });
    }
    probe.all(FILE_CHECKS);
}

/// A part of the file that the application serves.
fn content(start: usize, count: usize) -> Vec<u8> {
    (start..start + count).map(|at| at as u8).collect()
}

fn lazy_generator_without_a_block_has_its_status(probe: &Probe) {
    let answer = probe.served.get("/lazy_silent");
    assert_eq!((answer.code, answer.reason.as_str(), answer.content.len()), (202, "Lazy", 0));
    assert_eq!(probe.served.get("/lazy").field("X-Lazy"), Some("1"));
}

fn list_subclass_is_whole(probe: &Probe) {
    let answer = probe.served.get("/block_pairs");
    assert_eq!((answer.text().as_str(), answer.is_cut), ("one two", false));
}

fn check_one_by_one(probe: &Probe, path: &str) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET {path}?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.read_until("one");
    probe.served.open_gate(&id);
    assert_eq!(client.read("GET").text(), "onetwo");
}

fn block_arrives_before_the_next_is_asked_for(probe: &Probe) {
    check_one_by_one(probe, "/blocks_one_by_one");
}

fn block_with_a_length_arrives_before_the_next_is_asked_for(probe: &Probe) {
    check_one_by_one(probe, "/blocks_with_length");
}

fn large_block_is_whole(probe: &Probe) {
    let answer = probe.served.get("/block_large");
    assert_eq!((answer.content.len(), answer.is_cut), (10_000_000, false));
    assert!(answer.content.iter().all(|byte| *byte == b'x'));
}

fn many_blocks_are_whole(probe: &Probe) {
    let answer = probe.served.get("/blocks_many");
    assert_eq!((answer.is_cut, answer.text()), (false, "12345".repeat(10_000)));
}

/// The lengths lie around what is copied, what a thread may be ahead of its client, what is kept in memory,
/// and what a socket takes.
fn content_of_any_size_is_whole_in_blocks_of_any_size(probe: &Probe) {
    let content = noise(13, 3 << 20);
    for size in [1, 16_384, 16_385, 65_535, 65_536, 65_537, 524_288, 524_289, 3 << 20] {
        for block in ["", "4096", "16384", "16385", "65535", "65536", "65537", "1000000"] {
            let head =
                format!("POST /input_echo?{block} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
            let answer = probe.served.ask([head.as_bytes(), &content[..size]].concat());
            assert!(
                !answer.is_cut && answer.content == content[..size],
                "{size} bytes in blocks of {block:?}"
            );
        }
    }
}

fn content_beyond_its_length_is_cut_off(probe: &Probe) {
    for (path, expected) in [
        ("/length_too_small_list", "abc"),
        ("/length_too_small_block", "abc"),
        ("/length_too_small_generator", "abc"),
        ("/length_zero_generator", ""),
    ] {
        let mut client = probe.served.connect();
        let answer = client.get(path);
        assert_eq!((answer.text().as_str(), answer.is_cut), (expected, false), "{path}");
        // Not a byte more, whatever becomes of the connection.
        match answer.says_close() {
            true => assert_eq!(client.read_end(), End::Fin),
            false => assert_eq!(client.get("/hello").to_string(), "200 length: hello", "{path}"),
        }
    }
}

/// A list is known to be too short before the head is sent; then a 500 is as good.
fn content_short_of_its_length_is_told(probe: &Probe) {
    let answer = probe.served.get("/length_too_large_list");
    assert!(answer.code == 500 || (answer.is_cut && answer.text() == "abc"), "{answer}");
}

fn head_has_no_content(probe: &Probe) {
    let mut client = probe.served.connect();
    for path in ["/block", "/block_generator", "/length_right", "/block_empty_list", "/blocks_many"] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.read("HEAD");
        assert_eq!((answer.code, answer.says_close()), (200, false), "{path}: {answer}");
        // What follows is the next answer.
        assert_eq!(client.get("/hello").to_string(), "200 length: hello", "{path}");
    }
    client.send("HEAD /length_right HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read("HEAD").field("Content-Length"), Some("6"));
}

fn status_without_content_has_none(probe: &Probe) {
    let mut client = probe.served.connect();
    for (path, expected) in [
        ("/no_content", "204 none"),
        ("/no_content_with_length", "204 none"),
        ("/not_modified", "304 none"),
        ("/not_modified_with_length", "304 none"),
    ] {
        let answer = client.get(path);
        assert_eq!(
            (answer.to_string().as_str(), answer.field("Transfer-Encoding")),
            (expected, None),
            "{path}"
        );
        assert_eq!(client.get("/hello").to_string(), "200 length: hello", "{path}");
    }
}

fn old_client_gets_content_until_the_end(probe: &Probe) {
    let answer = probe.served.ask("GET /block_generator HTTP/1.0\r\n\r\n");
    assert_eq!(answer.field("Transfer-Encoding"), None);
    assert_eq!((answer.text().as_str(), answer.is_cut), ("one two", false));
    assert_eq!(probe.served.ask("GET /block_list HTTP/1.0\r\n\r\n").text(), "one two three");
}

/// A reset is the only sign that an old client can get.
fn old_client_gets_a_reset_for_a_failure_midway(probe: &Probe) {
    let mut client = probe.served.connect();
    client.send("GET /fail_midway HTTP/1.0\r\n\r\n");
    let (bytes, end) = client.read_to_end();
    assert_eq!(end, End::Reset, "{}", bytes.escape_ascii());
}

fn client_that_asks_for_the_end_gets_it(probe: &Probe) {
    let mut client = probe.served.connect();
    client.send("GET /block_generator HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(client.read("GET").to_string(), "200 chunked close: one two");
    assert_eq!(client.read_end(), End::Fin);
}

fn old_client_that_asks_to_keep_the_connection_keeps_it(probe: &Probe) {
    let mut client = probe.served.connect();
    for _ in 0..2 {
        client.send("GET /block HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.read("GET");
        assert_eq!((answer.text().as_str(), answer.field("Connection")), ("block", Some("keep-alive")));
    }
}

fn pipelined_requests_are_answered_in_order(probe: &Probe) {
    let mut client = probe.served.connect();
    let paths = ["/block", "/no_content", "/block_generator", "/lazy", "/block_list"];
    client.send(paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).concat());
    let texts = paths.map(|_| client.read("GET")).map(|answer| (answer.code, answer.text()));
    let codes = texts.clone().map(|(code, _)| code);
    assert_eq!(codes, [200, 204, 200, 202, 200]);
    assert_eq!((texts[2].1.as_str(), texts[4].1.as_str()), ("one two", "one two three"));
}

/// How many blocks an endless answer was asked for.
fn drawn(probe: &Probe, id: &str) -> usize {
    probe.served.notes(id).iter().filter_map(|note| note.parse().ok()).max().unwrap_or(0)
}

/// The system's buffers take some megabytes of the 60 GiB that there are.
fn reader_that_does_not_read_stops_the_iteration(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /blocks_endless?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_until("some blocks were drawn", || drawn(probe, &id) > 0);
    let mut before = 0;
    wait_until("no more blocks are drawn", || {
        thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut before, drawn(probe, &id)) == before
    });
    assert!(before < 300, "{before} blocks of 64 KiB were drawn for nobody");
    // Others are served, and it goes on as soon as it is read.
    assert_eq!(probe.served.get("/hello").to_string(), "200 length: hello");
    client.read_bytes((before + 100) * 65_536);
    wait_until("the iteration goes on", || drawn(probe, &id) > before);
    drop(client);
    probe.served.wait_for_note(&id, "closed");
}

fn failure_tells_the_operator_and_nobody_else(probe: &Probe) {
    let stderr = &probe.served.program.stderr;
    while stderr.next_within(Duration::from_millis(50)).is_some() {}
    assert_eq!(probe.served.get("/fail_before").code, 500);
    stderr.next_with("Traceback (most recent call last)");
    stderr.next_with("probe_app.py");
    stderr.next_with("RuntimeError: the detail that nobody is told");
    let (_, answer) = probe.noted("/fail_midway");
    assert_eq!(answer, "200 chunked cut: begin");
    stderr.next_with("RuntimeError: the detail that nobody is told");
}

fn failing_close_tells_the_operator(probe: &Probe) {
    let (id, answer) = probe.noted("/close_raises");
    assert_eq!(answer, "200 chunked: one two");
    probe.only_note(&id, "closed");
    probe.served.program.stderr.next_with("RuntimeError: close failed on purpose");
}

/// More of them than there are threads.
fn slow_uploads_keep_nobody_waiting(probe: &Probe) {
    let mut slow: Vec<_> = (0..8).map(|_| probe.served.connect()).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        client.send("POST /input_count HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
        assert_eq!(probe.served.get("/hello").to_string(), "200 length: hello", "beside {number} uploads");
    }
    for client in &mut slow {
        client.send("cd");
        assert_eq!(client.read("POST").to_string(), "200 length: 4");
    }
}

/// One thread is left for others; inline there is none, as the manual says.
fn waiting_application_keeps_no_other_thread_waiting(probe: &Probe) {
    if probe.served.mode == Mode::Inline {
        return;
    }
    let ids: Vec<String> = (1..probe.served.mode.threads()).map(|_| probe.id()).collect();
    let mut waiting: Vec<_> = ids.iter().map(|_| probe.served.connect()).collect();
    for (id, client) in ids.iter().zip(&mut waiting) {
        client.send(format!("GET /close_gate_list?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
        probe.served.wait_for_note(id, "called");
    }
    assert_eq!(probe.served.get("/hello").to_string(), "200 length: hello");
    for (id, client) in ids.iter().zip(&mut waiting) {
        probe.served.open_gate(id);
        assert_eq!(client.read("GET").to_string(), "200 chunked: one");
    }
}

fn close_follows_a_client_that_leaves_unread(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /blocks_endless?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    wait_until("some blocks were drawn", || drawn(probe, &id) > 0);
    client.leave_unread();
    probe.served.wait_for_note(&id, "closed");
}

fn close_follows_a_client_that_leaves_in_order(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /blocks_endless?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.read_bytes(1_000_000);
    drop(client);
    probe.served.wait_for_note(&id, "closed");
}

/// The application is in its own code when the client leaves; it is closed as soon as it comes back.
fn close_follows_a_client_that_leaves_between_blocks(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /close_gate?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.read_until("one");
    drop(client);
    probe.served.open_gate(&id);
    probe.only_note(&id, "closed");
}

fn close_follows_a_client_that_leaves_before_the_answer(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /close_gate_list?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    probe.served.wait_for_note(&id, "called");
    drop(client);
    probe.served.open_gate(&id);
    probe.served.wait_for_note(&id, "closed");
    probe.served.get("/hello");
    assert_eq!(probe.served.notes(&id), ["called", "closed"]);
}

fn generator_is_closed_when_its_client_is_gone(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /close_generator?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.read_bytes(100_000);
    drop(client);
    probe.only_note(&id, "closed");
}

fn generator_of_empty_blocks_is_closed_when_its_client_is_gone(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /close_empty?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.leave_unread();
    probe.only_note(&id, "closed");
}

fn file_is_closed_when_its_client_is_gone(probe: &Probe) {
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /file_closed_large?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.read_bytes(100_000);
    drop(client);
    probe.only_note(&id, "closed");
}

/// An application that runs inline holds up the event loop that would learn of it, so there it is told
/// nothing.
fn application_learns_that_its_client_is_gone(probe: &Probe) {
    if probe.served.mode == Mode::Inline {
        return;
    }
    let id = probe.id();
    let mut client = probe.served.connect();
    client.send(format!("GET /disconnected_later?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
    probe.served.wait_for_note(&id, "called");
    drop(client);
    probe.served.wait_for_note(&id, "told");
}

/// Files of Linux's /proc say that they have none.
fn file_without_a_length_is_whole(probe: &Probe) {
    if cfg!(target_os = "linux") {
        let answer = probe.served.get("/file_without_length");
        assert!(answer.text().contains("probe_app:application"), "{answer}");
    }
}

fn file_shorter_than_its_length_is_cut(probe: &Probe) {
    let answer = probe.served.get("/file_too_short");
    assert_eq!((answer.code, answer.content.len(), answer.is_cut), (200, 10_240, true));
}

fn file_without_content_for_head_has_its_length(probe: &Probe) {
    let mut client = probe.served.connect();
    client.send("HEAD /file HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read("HEAD").field("Content-Length"), Some("10240"));
    assert_eq!(client.get("/hello").to_string(), "200 length: hello");
}

fn file_is_an_iterable_for_middleware(probe: &Probe) {
    assert_eq!(
        probe.served.get("/file_iterated").to_string(),
        format!("200 chunked: {}", "aBC".repeat(1000))
    );
}

fn file_that_is_not_returned_is_no_answer(probe: &Probe) {
    assert_eq!(probe.served.get("/file_not_returned").to_string(), "200 length: other");
}
