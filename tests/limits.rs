//! Tests every limit and every deadline by its name: just inside, and just beyond.
//!
//! Sizes and times are tested by hand, where the clock is an argument and a second costs nothing; [`check`]
//! feeds a request and compares what comes back. What only a socket can show (a client that does not read, a
//! refused upload, one connection too many) is tested over one, with small limits and long patience.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use support::loopback::{End, Running, noise, serve, serve_on, serve_with, serve_with_hooks, wait_until};
use support::response::read_all;
use support::temp_folder::TempFolder;
use tidegate::conversation::{ByHand, Farewell, Wants};
use tidegate::gateway::{BodyStream, LoopHooks, Piece, deferred};
use tidegate::limits::{FIELDS_CAPACITY, Limits};
use tidegate::now::Moment;
use tidegate::{Body, Environ, Gateway, GatewayError, Server, StartResponse};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn ok(_: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    start_response.status(200).send("ok")
}

/// Makes a conversation with these limits.
fn hand(limits: &Limits) -> ByHand<impl Gateway + use<>> {
    let mut hand = ByHand::new(ok);
    hand.context.limits = limits.clone();
    hand
}

/// Tells the status codes on the wire, and whether the connection lives on.
fn told(hand: &mut ByHand<impl Gateway>) -> (Vec<u16>, bool) {
    let responses = read_all(&hand.transmit_all(), &[]).expect("responses by the book");
    (responses.iter().map(|response| response.code).collect(), !matches!(hand.wants(), Wants::Close(_)))
}

/// Feeds a request, whole and in two halves, and compares the code of its answer; none if more is awaited.
fn check(limits: &Limits, input: &str, expected: Option<u16>) {
    let half = input.len() / 2;
    for pieces in [vec![input], vec![&input[..half], &input[half..]]] {
        let mut hand = hand(limits);
        pieces.iter().for_each(|piece| hand.receive(piece.as_bytes()));
        let is_kept = expected.is_none_or(|code| code == 200);
        let expected = (expected.into_iter().collect(), is_kept);
        assert_eq!(told(&mut hand), expected, "{} bytes, {:?}…", input.len(), &input[..half.min(60)]);
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const MOMENT: Duration = Duration::from_millis(1);

// Sizes

#[test]
fn request_line_at_its_limit_passes_beyond_is_414() {
    let limits = Limits { request_line_bytes_max: 50, ..Limits::default() };
    // 16 bytes of the line are not the path.
    let line = |bytes: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(bytes - 16));
    assert_eq!(line(50).len(), 50);
    check(&limits, &(line(50) + "Host: a\r\n\r\n"), Some(200));
    check(&limits, &(line(51) + "Host: a\r\n\r\n"), Some(414));
    check(&limits, &("GET /".to_string() + &"a".repeat(44)), None);
    check(&limits, &("GET /".to_string() + &"a".repeat(45)), Some(414));
    check(&limits, &("\r\n\r\n".to_string() + &line(50) + "Host: a\r\n\r\n"), Some(200));
}

#[test]
fn request_line_of_8000_bytes_passes_by_default() {
    check(&Limits::default(), &format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8000)), Some(200));
}

#[test]
fn head_at_its_limit_passes_beyond_is_431() {
    let limits = Limits { head_bytes_max: 100, ..Limits::default() };
    let head = |bytes: usize| {
        let start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(bytes - start.len() - 4))
    };
    assert_eq!(head(100).len(), 100);
    check(&limits, &head(100), Some(200));
    check(&limits, &head(101), Some(431));
    check(&limits, &head(103)[..99], None);
    check(&limits, &head(200)[..100], Some(431));
}

#[test]
fn content_does_not_count_as_head() {
    let limits = Limits { head_bytes_max: 100, ..Limits::default() };
    let content = "x".repeat(500);
    check(&limits, &format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n{content}"), Some(200));
}

#[test]
fn fields_at_their_limit_pass_beyond_are_431() {
    let head = |fields: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: x\r\n".repeat(fields - 1));
    for fields_max in [1, 5, 100, FIELDS_CAPACITY] {
        let limits = Limits { fields_max, ..Limits::default() };
        check(&limits, &head(fields_max), Some(200));
        check(&limits, &head(fields_max + 1), Some(431));
    }
}

#[test]
fn body_at_its_limit_passes_beyond_is_413() {
    let limits = Limits { body_bytes_max: 10, ..Limits::default() };
    let with_length = |bytes: usize| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes))
    };
    check(&limits, &with_length(10), Some(200));
    check(&limits, &with_length(11), Some(413));
    let chunked = |bytes: usize| {
        let chunks = "1\r\nx\r\n".repeat(bytes) + "0\r\n\r\n";
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
    };
    check(&limits, &chunked(10), Some(200));
    check(&limits, &chunked(11), Some(413));
    check(&Limits { body_bytes_max: 0, ..Limits::default() }, &with_length(0), Some(200));
    check(&Limits { body_bytes_max: 0, ..Limits::default() }, &with_length(1), Some(413));
}

#[test]
fn body_beyond_its_limit_is_refused_before_it_is_sent() {
    let limits = Limits { body_bytes_max: 10, ..Limits::default() };
    check(&limits, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n", Some(413));
}

#[test]
fn body_in_memory_beyond_its_limit_is_no_slice() {
    for (length, is_slice) in [(50, true), (51, false)] {
        let was_slice = Rc::new(Cell::new(None));
        let noted = was_slice.clone();
        let mut hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            noted.set(Some(environ.content().as_slice().is_some()));
            start_response.status(200).send("ok")
        });
        hand.context.limits.body_memory_bytes_max = 50;
        hand.receive(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        hand.receive("x".repeat(length).as_bytes());
        assert_eq!(was_slice.get(), Some(is_slice), "{length} bytes");
    }
}

#[test]
fn output_beyond_its_mark_stops_reading() {
    let mut hand = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        start_response.status(200).send(vec![b'x'; 900])
    });
    hand.context.limits.output_bytes_high = 3000;
    for _ in 0..2 {
        hand.receive(GET.as_bytes());
        assert_eq!(hand.wants(), Wants::Read, "{} bytes owed", hand.owed());
    }
    hand.receive(GET.as_bytes());
    assert_eq!(hand.wants(), Wants::Write, "{} bytes owed", hand.owed());
    hand.transmit();
    assert_eq!(hand.wants(), Wants::Read);
}

#[test]
fn limits_that_forbid_everything_do_not_bind() {
    let default = Limits::default;
    for (limits, name) in [
        (Limits { head_bytes_max: 0, ..default() }, "head_bytes_max"),
        (Limits { connections_max: 0, ..default() }, "connections_max"),
        (Limits { output_bytes_high: 0, ..default() }, "output_bytes_high"),
        (Limits { fields_max: FIELDS_CAPACITY + 1, ..default() }, "fields_max"),
        (Limits { head_timeout: Duration::ZERO, ..default() }, "head_timeout"),
        (Limits { body_timeout: Duration::ZERO, ..default() }, "body_timeout"),
        (Limits { write_timeout: Duration::ZERO, ..default() }, "write_timeout"),
        (Limits { memory_bytes_max: 40_000, ..default() }, "memory_bytes_max"),
    ] {
        let server = tidegate::Server::new().listen("127.0.0.1:0".parse().unwrap()).limits(limits);
        let error = server.bind().expect_err("no server").to_string();
        assert!(error.contains(name), "{error}");
    }
}

// Times, by hand

#[test]
fn head_timeout_is_absolute_from_accept_on() {
    let mut hand = hand(&Limits { head_timeout: seconds(20), ..Limits::default() });
    hand.pass(seconds(5));
    for byte in b"GET / HTTP/1.1" {
        hand.receive(&[*byte]);
        hand.pass(seconds(1));
        assert_eq!(told(&mut hand), (vec![], true));
    }
    hand.pass(seconds(1) - MOMENT);
    assert_eq!(told(&mut hand), (vec![], true));
    hand.pass(MOMENT);
    assert_eq!(told(&mut hand), (vec![408], false));
}

#[test]
fn head_timeout_of_a_later_head_begins_with_its_first_byte() {
    let mut hand =
        hand(&Limits { head_timeout: seconds(20), idle_timeout: seconds(75), ..Limits::default() });
    hand.receive(GET.as_bytes());
    hand.transmit_all();
    hand.pass(seconds(70));
    hand.receive(b"G");
    for byte in b"ET / HTTP/1.1\r\nHost" {
        hand.pass(seconds(1));
        hand.receive(&[*byte]);
    }
    hand.pass(seconds(1) - MOMENT);
    assert_eq!(told(&mut hand), (vec![], true));
    hand.pass(MOMENT);
    assert_eq!(told(&mut hand), (vec![408], false));
}

#[test]
fn head_that_ends_in_time_is_answered_and_the_next_has_its_own_time() {
    let mut hand = hand(&Limits { head_timeout: seconds(20), ..Limits::default() });
    for _ in 0..3 {
        hand.receive(&GET.as_bytes()[..10]);
        hand.pass(seconds(20) - MOMENT);
        hand.receive(&GET.as_bytes()[10..]);
        assert_eq!(told(&mut hand), (vec![200], true));
    }
}

#[test]
fn connection_without_a_byte_is_closed_without_a_word() {
    let mut hand = hand(&Limits { head_timeout: seconds(20), ..Limits::default() });
    hand.receive(b"\r\n");
    hand.pass(seconds(20) - MOMENT);
    assert_eq!(hand.wants(), Wants::Read);
    hand.pass(MOMENT);
    assert_eq!((hand.transmit_all(), hand.wants()), (vec![], Wants::Close(Farewell::Clean)));
}

#[test]
fn idle_timeout_closes_without_a_word_and_blank_lines_do_not_extend_it() {
    let mut hand = hand(&Limits { idle_timeout: seconds(75), ..Limits::default() });
    hand.receive(GET.as_bytes());
    assert_eq!(told(&mut hand), (vec![200], true));
    for _ in 0..74 {
        hand.pass(seconds(1));
        hand.receive(b"\r\n");
    }
    hand.pass(seconds(1) - MOMENT);
    assert_eq!(told(&mut hand), (vec![], true));
    hand.pass(MOMENT);
    assert_eq!((hand.transmit_all(), hand.wants()), (vec![], Wants::Close(Farewell::Clean)));
}

/// Makes a conversation that has taken the head of an upload of a million bytes.
fn uploading(limits: &Limits) -> ByHand<impl Gateway + use<>> {
    let mut hand = hand(limits);
    hand.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    hand
}

#[test]
fn body_timeout_is_a_stall_and_every_byte_extends_it() {
    let mut hand = uploading(&Limits { body_timeout: seconds(30), body_rate_min: 0, ..Limits::default() });
    for _ in 0..100 {
        hand.pass(seconds(30) - MOMENT);
        hand.receive(b"x");
        assert_eq!(told(&mut hand), (vec![], true));
    }
    hand.pass(seconds(30));
    assert_eq!(told(&mut hand), (vec![408], false));
}

#[test]
fn body_rate_below_its_minimum_is_cut_although_bytes_come() {
    let limits = Limits { body_timeout: seconds(30), body_rate_min: 500, ..Limits::default() };
    let mut slow = uploading(&limits);
    let survived = (1..200).find(|_| {
        slow.pass(seconds(1));
        slow.receive(&[b'x'; 250]);
        told(&mut slow) != (vec![], true)
    });
    // 30 s, and half a second for each second that bytes came at half the rate: 60 s, less what
    // counting in whole seconds takes away.
    assert!((58..=60).contains(&survived.expect("a cut")), "{survived:?}");
    let mut fast = uploading(&limits);
    for _ in 0..200 {
        fast.pass(seconds(1));
        fast.receive(&[b'x'; 500]);
        assert_eq!(told(&mut fast), (vec![], true));
    }
}

#[test]
fn chunked_content_has_the_same_deadlines() {
    let mut hand = hand(&Limits { body_timeout: seconds(30), ..Limits::default() });
    hand.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc");
    hand.pass(seconds(30) - MOMENT);
    assert_eq!(told(&mut hand), (vec![], true));
    hand.pass(MOMENT);
    assert_eq!(told(&mut hand), (vec![408], false));
}

#[test]
fn application_has_all_the_time_it_wants() {
    let mut responders = Vec::new();
    let mut hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (responder, answer) = deferred(environ.wakeup());
        responders.push(responder);
        Ok(answer.wait(start_response))
    });
    hand.receive(GET.as_bytes());
    hand.pass(seconds(100_000));
    assert_eq!((hand.transmit_all(), hand.wants()), (vec![], Wants::Application));
}

// Times, over sockets

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn head_timeout_over_a_socket_is_a_408_that_arrives() {
    let server =
        serve(ok, Limits { head_timeout: millis(150), linger_timeout: millis(200), ..Limits::default() });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHo");
    let response = client.read("GET");
    assert_eq!((response.code, response.says_close()), (408, true));
    assert_eq!(client.read_end(), End::Fin);
}

#[test]
fn dripping_over_a_socket_does_not_extend_the_head_timeout() {
    let server = serve(ok, Limits { head_timeout: millis(300), ..Limits::default() });
    let mut client = server.connect();
    let begun = Instant::now();
    for byte in "GET /".bytes().chain(std::iter::repeat(b'a')) {
        client.send([byte]);
        if !client.is_quiet_for(millis(10)) {
            break;
        }
        assert!(begun.elapsed() < seconds(20), "still waiting");
    }
    assert_eq!(client.read("GET").code, 408);
}

#[test]
fn body_timeout_over_a_socket_is_a_408_that_arrives() {
    let server =
        serve(ok, Limits { body_timeout: millis(150), linger_timeout: millis(200), ..Limits::default() });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc");
    assert_eq!(client.read("POST").code, 408);
    assert_eq!(client.read_end(), End::Fin);
}

/// A megabyte at once would pay for a quarter of an hour at this rate.
#[test]
fn content_that_came_fast_does_not_pay_for_dripping_on() {
    let limits = Limits { body_timeout: millis(150), body_rate_min: 1_000, ..Limits::default() };
    let server = serve(ok, limits);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
    client.send(noise(1, 1_000_000));
    let begun = Instant::now();
    while client.is_quiet_for(millis(20)) {
        client.send("x");
        assert!(begun.elapsed() < seconds(20), "still waiting");
    }
    assert_eq!(client.read("POST").code, 408);
    assert!(begun.elapsed() > millis(400), "three timeouts are paid for: {:?}", begun.elapsed());
}

#[test]
fn idle_timeout_over_a_socket_is_an_ordinary_end() {
    let limits = Limits { idle_timeout: millis(150), head_timeout: millis(150), ..Limits::default() };
    let server = serve(ok, limits);
    let mut kept = server.connect();
    assert_eq!(kept.get("/").code, 200);
    assert_eq!(kept.read_end(), End::Fin);
    assert_eq!(server.connect().read_end(), End::Fin);
}

/// The length of an answer that no pair of sockets holds.
const LARGE: usize = 48 << 20;

fn serve_large(limits: Limits) -> support::loopback::Running {
    serve(|_, start_response| start_response.status(200).send(vec![b'x'; LARGE]), limits)
}

#[test]
fn write_timeout_cuts_a_client_that_takes_nothing() {
    let server = serve_large(Limits { write_timeout: millis(200), ..Limits::default() });
    let mut client = server.connect();
    client.send(GET);
    // Long enough for the cut to have come; if it has not, everything arrives.
    thread::sleep(seconds(2));
    let (received, end) = client.read_to_end();
    assert!(received.len() < LARGE, "all of it arrived");
    assert_eq!(end, if cfg!(feature = "sockets") { End::Reset } else { end });
}

#[test]
fn write_timeout_does_not_cut_a_client_that_is_only_slow() {
    let server = serve_large(Limits { write_timeout: seconds(2), ..Limits::default() });
    let mut client = server.connect();
    client.send(GET);
    let begun = Instant::now();
    while client.received.len() < LARGE {
        client.read_bytes(LARGE.min(client.received.len() + LARGE / 50));
        thread::sleep(millis(60));
    }
    assert!(begun.elapsed() > seconds(2), "slower than the timeout in all");
    assert_eq!(client.read("GET").content.len(), LARGE);
}

#[test]
fn output_rate_below_its_minimum_is_cut_although_bytes_are_taken() {
    // 1 MB every 50 ms is far from nothing, and far from what is asked for here.
    let limits = Limits { write_timeout: millis(500), output_rate_min: u32::MAX, ..Limits::default() };
    let server = serve_large(limits);
    let mut client = server.connect();
    client.send(GET);
    for _ in 0..LARGE >> 20 {
        client.read_bytes(client.received.len() + (1 << 20));
        thread::sleep(millis(50));
    }
    let (received, end) = client.read_to_end();
    assert!(received.len() < LARGE, "all of it arrived");
    assert_eq!(end, if cfg!(feature = "sockets") { End::Reset } else { end });
}

/// A unix socket is used, since its buffers are small: what is read at once would pay for the rest.
#[test]
fn output_that_was_taken_fast_does_not_pay_for_taking_it_slowly() {
    let folder = TempFolder::new();
    let path = folder.path().join("socket");
    let limits = Limits { write_timeout: millis(500), output_rate_min: 3_000_000, ..Limits::default() };
    let large = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        start_response.status(200).send(vec![b'x'; LARGE])
    };
    let _server = serve_on(&[&format!("unix:{}", path.display())], large, limits);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(GET.as_bytes()).unwrap();
    let mut bytes = vec![0; 40 << 20];
    stream.read_exact(&mut bytes).unwrap();
    let mut received = bytes.len();
    // A quarter of what is asked for, and something in every timeout.
    while let Ok(count @ 1..) = stream.read(&mut bytes[..32 * 1024]) {
        received += count;
        thread::sleep(millis(40));
    }
    assert!(received < LARGE, "all of it arrived");
}

/// A request that is sent while the response before it is still on its way is no late one.
#[test]
fn idle_timeout_begins_when_the_response_has_left() {
    let server = serve_large(Limits { idle_timeout: millis(300), ..Limits::default() });
    let mut client = server.connect();
    client.send(GET);
    thread::sleep(millis(1000));
    client.send(GET);
    assert_eq!(client.read("GET").content.len(), LARGE);
    assert_eq!(client.read("GET").content.len(), LARGE);
    assert_eq!(client.read_end(), End::Fin);
}

/// The client may take long to read: the response is queued at once, and all but what the sockets hold leaves
/// when the timeout would be over, had it begun then.
#[test]
fn idle_timeout_counts_from_the_last_byte_that_has_left() {
    let idle_timeout = seconds(1);
    let server = serve_large(Limits { idle_timeout, ..Limits::default() });
    let mut client = server.connect();
    client.send(GET);
    thread::sleep(idle_timeout + millis(200));
    let begun = Instant::now();
    assert_eq!(client.read("GET").content.len(), LARGE);
    assert_eq!(client.read_end(), End::Fin);
    assert!(begun.elapsed() >= idle_timeout, "{:?} for the next request", begun.elapsed());
}

#[test]
fn refused_upload_reads_its_error_although_it_goes_on_sending() {
    let server = serve(ok, Limits { body_bytes_max: 1000, ..Limits::default() });
    for _ in 0..5 {
        let mut client = server.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n");
        client.send(noise(1, 8_000_000));
        let response = client.read("POST");
        assert_eq!(response.to_string(), "413 length close: the content is too large");
        client.end_sending();
        assert_eq!(client.read_end(), End::Fin);
    }
}

#[test]
fn linger_timeout_ends_a_refused_upload_that_never_ends() {
    let server = serve(ok, Limits { body_bytes_max: 10, linger_timeout: millis(200), ..Limits::default() });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n");
    assert_eq!(client.read("POST").code, 413);
    wait_until("the server closes", || {
        thread::sleep(millis(10));
        client.try_send(b"x").is_err()
    });
}

#[test]
fn content_beyond_the_room_of_all_temporary_files_is_refused_until_there_is_some() {
    let held = Arc::new(Mutex::new(Vec::new()));
    let keep = {
        let held = held.clone();
        move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            held.lock().unwrap().push(environ.content().detach());
            start_response.status(200).send("kept")
        }
    };
    let spool_bytes_max = Some(1_000_000);
    let server = serve(keep, Limits { body_memory_bytes_max: 1000, spool_bytes_max, ..Limits::default() });
    let head = |length| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let send = |length: usize| {
        let mut client = server.connect();
        client.send(head(length));
        client.send(noise(1, length));
        client.read("POST").code
    };
    // The client has left; what it has sent is still there.
    assert_eq!(send(900_000), 200);
    // Nobody sends in vain what says how long it is.
    for (length, code, says_when) in [(200_000, 503, true), (1_000_001, 413, false)] {
        let mut client = server.connect();
        client.send(head(length));
        let response = client.read("POST");
        assert_eq!((response.code, response.says_close()), (code, true), "{length}");
        assert_eq!(response.field("Retry-After").is_some(), says_when, "{length}");
    }
    // And of what does not say it, as much as there is room for.
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n");
    client.send(noise(1, 200_000));
    assert_eq!(client.read("POST").code, 503);
    // What fits into memory needs no other place, and what fits into the room has one.
    assert_eq!((send(1_000), send(100_000), send(100_000)), (200, 200, 503));
    // Whoever lets go of it, on whatever thread.
    thread::spawn(move || held.lock().unwrap().clear()).join().unwrap();
    assert_eq!((send(900_000), send(200_000)), (200, 503));
}

#[test]
fn connections_beyond_their_limit_wait_until_one_leaves() {
    let server = serve(ok, Limits { connections_max: 2, ..Limits::default() });
    let (mut first, mut second) = (server.connect(), server.connect());
    // Neither is idle: half of its content is on its way.
    first.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1");
    second.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1");
    let mut third = server.connect();
    third.send(GET);
    assert!(third.is_quiet_for(millis(100)), "a third is served");
    drop(first);
    assert_eq!(third.read("GET").code, 200);
    second.send("2");
    assert_eq!(second.read("POST").code, 200);
}

/// One client after another begins a head and leaves it at that: it has its second, and goes.
#[test]
fn half_heads_make_room_for_those_who_bring_whole_requests() {
    let server = serve(ok, Limits { connections_max: 20, ..Limits::default() });
    let begin = || {
        let mut half = server.connect();
        half.send("GET / HTTP/1.1\r\nH");
        half
    };
    let mut halves: Vec<_> = (0..20).map(|_| begin()).collect();
    for _ in 0..20 {
        halves.extend([begin(), begin()]);
        let begun = Instant::now();
        assert_eq!(server.connect().get("/").code, 200);
        assert!(begun.elapsed() < seconds(2), "{:?}", begun.elapsed());
        thread::sleep(millis(100));
    }
    // The first was told, and closed; the last has its second.
    let last = halves.last_mut().unwrap();
    last.send("ost: a\r\n\r\n");
    assert_eq!(last.read("GET").code, 200);
    assert_eq!(halves[0].read("GET").code, 408);
    assert_eq!(halves[0].read_end(), End::Fin);
}

/// Three hundred half heads wait in the system's queue before it, for thirty-two places; this is tried ten
/// times a second.
#[test]
fn whole_request_behind_a_queue_of_half_heads_is_answered_within_two_seconds() {
    let server = serve(ok, Limits { connections_max: 32, ..Limits::default() });
    let halves: Vec<_> = (0..300)
        .map(|_| {
            let mut half = server.connect();
            half.send("GET / HTTP/1.1\r\nH");
            half
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(server.connect().get("/").code, 200);
    assert!(begun.elapsed() < seconds(2), "{:?}", begun.elapsed());
    drop(halves);
}

/// The clients were refused, and go on listening without ever closing.
#[test]
fn connections_that_only_linger_make_room() {
    let server =
        serve(ok, Limits { connections_max: 10, linger_timeout: seconds(1000), ..Limits::default() });
    let mut refused: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for client in &mut refused {
        client.send("nonsense\r\n\r\n");
        assert_eq!(client.read("GET").code, 400);
    }
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(server.connect().get("/").code, 200);
        assert!(begun.elapsed() < seconds(2), "{:?}", begun.elapsed());
    }
}

/// The system keeps it for a second. If the machine took most of that, nothing is shown, and the test tries
/// again.
#[cfg(all(feature = "sockets", target_os = "linux"))]
#[test]
fn client_that_only_connects_takes_no_place_at_first_and_is_served_when_it_speaks() {
    for attempt in 1.. {
        let server = serve(ok, Limits { connections_max: 1, ..Limits::default() });
        let begun = Instant::now();
        let (mut silent, mut other) = (server.connect(), server.connect());
        other.send(GET);
        let is_quiet = other.is_quiet_for(millis(700));
        if begun.elapsed() < millis(700) {
            assert!(!is_quiet);
            assert_eq!(other.read("GET").code, 200);
            drop(other);
            assert_eq!(silent.get("/").code, 200);
            break;
        }
        assert!(attempt < 20, "whoever has said nothing has the only place");
    }
}

/// Half heads stay for as long as they may, and one client asks again and again. Others come meanwhile.
#[test]
fn client_that_asks_again_keeps_its_place_as_long_as_half_heads_have_one() {
    let server = serve(ok, Limits { connections_max: 20, ..Limits::default() });
    let halves: Vec<_> = (0..19)
        .map(|_| {
            let mut half = server.connect();
            half.send("GET / HTTP/1.1\r\nH");
            half
        })
        .collect();
    let mut kept = server.connect();
    assert_eq!(kept.get("/").code, 200);
    thread::sleep(millis(1100));
    let mut others = Vec::new();
    for _ in 0..5 {
        assert_eq!(kept.get("/").code, 200);
        others.push(server.connect());
        assert_eq!(others.last_mut().unwrap().get("/").code, 200);
    }
    assert_eq!(kept.get("/").code, 200);
    drop(halves);
}

/// Nobody loses a place as long as nobody waits for one.
#[test]
fn connections_at_their_limit_are_all_kept() {
    let server = serve(ok, Limits { connections_max: 3, ..Limits::default() });
    let mut clients: Vec<_> = Vec::new();
    for _ in 0..3 {
        clients.push(server.connect());
        for client in &mut clients {
            assert_eq!(client.get("/").code, 200);
        }
    }
}

/// The idle connection may be anywhere in the slab.
#[test]
fn connection_beyond_the_limit_takes_the_place_of_the_only_idle_one() {
    for idle in 0..3 {
        let server = serve(ok, Limits { connections_max: 3, ..Limits::default() });
        let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/").code, 200);
        }
        for (_, client) in clients.iter_mut().enumerate().filter(|(place, _)| *place != idle) {
            client.send("GET / HTTP/1.1\r\n");
        }
        thread::sleep(millis(50));
        assert_eq!(server.connect().get("/").code, 200);
        assert_eq!(clients[idle].read_end(), End::Fin);
    }
}

#[test]
fn connections_beyond_their_limit_take_the_place_of_the_longest_idle() {
    let server = serve(ok, Limits { connections_max: 3, ..Limits::default() });
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    // The first is idle the longest, the last is busy.
    for client in &mut clients {
        assert_eq!(client.get("/").code, 200);
        thread::sleep(millis(20));
    }
    clients[2].send("GET / HTTP/1.1\r\n");
    thread::sleep(millis(50));
    let mut fourth = server.connect();
    assert_eq!(fourth.get("/").code, 200);
    assert_eq!(clients[0].read_end(), End::Fin);
    clients[2].send("Host: a\r\n\r\n");
    assert_eq!(clients[2].read("GET").code, 200);
}

/// The search for one once ended after 256 places, and then for a second.
#[test]
fn idle_connection_makes_room_wherever_it_is() {
    const BUSY: usize = 400;
    let limits = Limits { connections_max: BUSY + 1, ..Limits::default() };
    let server = serve(ok, limits);
    // Content on its way keeps a connection from being idle.
    let busy: Vec<_> = (0..BUSY)
        .map(|_| {
            let mut client = server.connect();
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
            client
        })
        .collect();
    let begun = Instant::now();
    // Each takes the place of the one before.
    let mut last = server.connect();
    assert_eq!(last.get("/").code, 200);
    for _ in 0..20 {
        let mut next = server.connect();
        assert_eq!(next.get("/").code, 200);
        assert_eq!(std::mem::replace(&mut last, next).read_end(), End::Fin);
    }
    // Each would have waited for a second at least.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(busy);
}

#[test]
fn memory_limit_lets_heads_wait_and_everybody_else_be_served() {
    let server = serve(ok, Limits { memory_bytes_max: 100_000, ..Limits::default() });
    // Half heads until three quarters are held; they are not read on.
    let mut hoarders: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for hoarder in &mut hoarders {
        hoarder.send("GET / HTTP/1.1\r\nHost: a\r\nX: ");
        hoarder.send("x".repeat(12_000));
        thread::sleep(millis(20));
        // The rest comes too late for those that find the memory taken.
        hoarder.send("\r\n\r");
    }
    let mut other = server.connect();
    assert_eq!(other.get("/").code, 200);
    // What is uploaded meanwhile goes to the disk, and arrives.
    let mut uploader = server.connect();
    uploader.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    uploader.send("x".repeat(200_000));
    assert_eq!(uploader.read("POST").code, 200);
    // Those who wait go on once others have left.
    let last = hoarders.pop().into_iter();
    drop(hoarders);
    for mut hoarder in last {
        hoarder.send("\n");
        assert_eq!(hoarder.read("GET").code, 200);
    }
}

// A gateway that takes its time

const CALL: Duration = millis(20);

/// Serves eight clients that send forty requests each, in one go.
fn serve_pipelines(
    gateway: impl FnMut(&mut Environ<'_>, StartResponse<'_>) -> Result<Body, GatewayError> + Send + 'static,
) {
    let server = serve(gateway, Limits::default());
    let _pipelines: Vec<_> = (0..8)
        .map(|_| {
            let mut client = server.connect();
            client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40));
            client
        })
        .collect();
    thread::sleep(CALL);
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(server.connect().get("/").code, 200);
        // Eight calls for the others, or sixteen where it comes at the wrong moment; not eight times thirty-two.
        assert!(begun.elapsed() < 80 * CALL, "{:?}", begun.elapsed());
    }
    // Nobody waits for the rest.
    server.handle.stop();
}

#[test]
fn pipelines_of_slow_requests_let_others_come_between() {
    serve_pipelines(|environ, start_response| {
        if environ.path() == "/slow" {
            thread::sleep(CALL);
        }
        start_response.status(200).send("ok")
    });
}

/// Draws this many pieces.
struct Slow(u32);

impl BodyStream for Slow {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        thread::sleep(CALL);
        self.0 = self.0.saturating_sub(1);
        Ok(if self.0 == 0 { Piece::End } else { Piece::Data(b"piece") })
    }
}

#[test]
fn streams_of_slow_pieces_let_others_come_between() {
    serve_pipelines(|environ, start_response| match &*environ.path() {
        "/slow" => start_response.status(200).stream(Slow(40)),
        _ => start_response.status(200).send("ok"),
    });
}

#[test]
fn many_streams_of_slow_pieces_let_others_come_between() {
    const PIECE: Duration = millis(5);
    let drawn = Arc::new(AtomicU32::new(0));
    let draw = {
        let drawn = drawn.clone();
        move |_| {
            thread::sleep(PIECE);
            drawn.fetch_add(1, Ordering::SeqCst);
            "piece"
        }
    };
    let server = serve(
        move |environ, start_response: StartResponse<'_>| match &*environ.path() {
            "/slow" => start_response.status(200).pieces((0..u32::MAX).map(draw.clone())),
            _ => start_response.status(200).send("ok"),
        },
        Limits::default(),
    );
    let mut other = server.connect();
    let readers = (0..300).map(|_| {
        let mut client = server.connect();
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
        client
    });
    let _readers: Vec<_> = readers.collect();
    let mut drawn_meanwhile: Vec<_> = (0..9)
        .map(|_| {
            let before = drawn.load(Ordering::SeqCst);
            assert_eq!(other.get("/").code, 200);
            drawn.load(Ordering::SeqCst) - before
        })
        .collect();
    drawn_meanwhile.sort_unstable();
    // A few in each turn of the loop, and not one for each stream. (This thread may have had to wait, too, but not often.)
    assert!(drawn_meanwhile[4] < 60, "{drawn_meanwhile:?}");
    server.handle.stop();
}

/// A call holds the loop up meanwhile, so that all of the streams begin in one turn.
#[test]
fn streams_that_begin_together_let_others_come_between_also_where_responses_are_held() {
    const STREAMS: u32 = 100;
    let drawn = Arc::new(AtomicU32::new(0));
    let draw = {
        let drawn = drawn.clone();
        move |_| {
            thread::sleep(millis(5));
            drawn.fetch_add(1, Ordering::SeqCst);
            "piece"
        }
    };
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap()).hold_responses(millis(1));
    let server =
        serve_with(
            server,
            move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| match &*environ.path() {
                "/slow" => start_response.status(200).pieces((0..2).map(draw.clone())),
                "/hold" => {
                    thread::sleep(millis(300));
                    start_response.status(200).send("held")
                }
                _ => start_response.status(200).send("ok"),
            },
        );
    let drawn_meanwhile = (0..3).map(|_| {
        let mut readers: Vec<_> = (0..STREAMS).map(|_| server.connect()).collect();
        let (mut other, mut holder) = (server.connect(), server.connect());
        for client in readers.iter_mut().chain([&mut other, &mut holder]) {
            assert_eq!(client.get("/").code, 200);
        }
        holder.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        thread::sleep(millis(50));
        readers.iter_mut().for_each(|client| client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(holder.read("GET").code, 200);
        let before = drawn.load(Ordering::SeqCst);
        assert_eq!(other.get("/").code, 200);
        let drawn_meanwhile = drawn.load(Ordering::SeqCst) - before;
        readers.iter_mut().for_each(|client| assert_eq!(client.read("GET").code, 200));
        drawn_meanwhile
    });
    // This thread may have had to wait, too, but not each time.
    let least = drawn_meanwhile.min().unwrap();
    assert!(least < STREAMS / 2, "{least} pieces");
}

/// Calls take as long as pieces, and their clients are as many.
#[test]
fn streams_have_their_turn_beside_slow_calls() {
    const SLOW: Duration = millis(5);
    let (drawn, called) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let work = |counter: &Arc<AtomicU32>| {
        thread::sleep(SLOW);
        counter.fetch_add(1, Ordering::SeqCst)
    };
    let (pieces, calls) = (drawn.clone(), called.clone());
    let server = serve(
        move |environ, start_response: StartResponse<'_>| match &*environ.path() {
            "/stream" => {
                let pieces = pieces.clone();
                start_response.status(200).pieces((0..u32::MAX).map(move |_| work(&pieces).to_string()))
            }
            _ => start_response.status(200).send(work(&calls).to_string()),
        },
        Limits::default(),
    );
    let open = |target: &str| {
        let mut client = server.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    let _readers: Vec<_> = (0..100).map(|_| open("/stream")).collect();
    let mut callers: Vec<_> = (0..100).map(|_| open("/")).collect();
    let before = [&drawn, &called].map(|counter| counter.load(Ordering::SeqCst));
    for _ in 0..3 {
        for client in &mut callers {
            assert_eq!(client.read("GET").code, 200);
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
    }
    let [drawn, called] = [(&drawn, before[0]), (&called, before[1])]
        .map(|(counter, before)| counter.load(Ordering::SeqCst) - before);
    assert!(drawn > called / 5, "{drawn} pieces beside {called} calls");
    server.handle.stop();
}

// A gateway that takes no request

/// Takes no request as long as it is told so.
#[derive(Clone)]
struct Stuck(Arc<AtomicBool>);

impl Gateway for Stuck {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        assert!(self.is_ready(), "it takes no request");
        ok(environ, start_response)
    }
}

impl LoopHooks for Stuck {
    fn is_ready(&self) -> bool {
        !self.0.load(Ordering::SeqCst)
    }
}

/// Serves a gateway that is stuck when it is told so.
fn serve_stuck(limits: Limits) -> (Running, Arc<AtomicBool>) {
    let is_stuck = Arc::new(AtomicBool::new(false));
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap()).limits(limits);
    let stuck = Stuck(is_stuck.clone());
    (serve_with_hooks(server, stuck.clone(), stuck), is_stuck)
}

#[test]
fn gateway_timeout_turns_away_who_waits_for_a_gateway_that_takes_nothing() {
    let limits = Limits { gateway_timeout: millis(300), head_timeout: millis(200), ..Limits::default() };
    let (server, is_stuck) = serve_stuck(Limits { idle_timeout: millis(250), ..limits });
    let (mut kept, mut uploading, mut begun) = (server.connect(), server.connect(), server.connect());
    uploading.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(kept.get("/").code, 200);
    begun.send("GET / HTT");
    thread::sleep(millis(20));
    is_stuck.store(true, Ordering::SeqCst);
    let since = Instant::now();
    kept.send([GET, GET].concat());
    uploading.send("whole");
    begun.send("P/1.1\r\nHost: ");
    let mut new = server.connect();
    new.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    for (client, method) in
        [(&mut kept, "GET"), (&mut uploading, "POST"), (&mut begun, "GET"), (&mut new, "HEAD")]
    {
        let response = client.read(method);
        assert_eq!((response.code, response.says_close()), (503, true), "{method}");
        assert_eq!(response.field("Retry-After"), Some("10"));
        assert_eq!(client.read_end(), End::Fin);
    }
    // Those who come now, too, and none is told so too early.
    assert!((millis(300)..seconds(10)).contains(&since.elapsed()), "{:?}", since.elapsed());
    is_stuck.store(false, Ordering::SeqCst);
    assert_eq!(server.connect().get("/").code, 200);
}

/// The first client sends a request, the second one nothing; both ends are noticed.
#[test]
fn clients_that_leave_are_noticed_while_the_gateway_takes_nothing() {
    let (server, is_stuck) = serve_stuck(Limits { gateway_timeout: seconds(1000), ..Limits::default() });
    let (mut asking, mut kept) = (server.connect(), server.connect());
    assert_eq!((asking.get("/").code, kept.get("/").code), (200, 200));
    is_stuck.store(true, Ordering::SeqCst);
    asking.send(GET);
    asking.end_sending();
    kept.end_sending();
    // It may be one that has only ended its side: then this is its answer.
    assert_eq!(asking.read("GET").code, 503);
    assert_eq!((asking.read_end(), kept.read_end()), (End::Fin, End::Fin));
    let mut fresh = server.connect();
    fresh.end_sending();
    assert_eq!(fresh.read_end(), End::Fin);
}

/// A client that has waited has as much time for its head as it would have had.
#[test]
fn time_that_a_client_waits_for_the_gateway_is_not_counted_against_it() {
    let limits = Limits { gateway_timeout: seconds(1000), head_timeout: millis(800), ..Limits::default() };
    let (server, is_stuck) = serve_stuck(limits);
    let mut client = server.connect();
    client.send("GET /");
    thread::sleep(millis(20));
    is_stuck.store(true, Ordering::SeqCst);
    client.send(" HTTP/1.1\r\n");
    assert!(client.is_quiet_for(millis(1000)));
    is_stuck.store(false, Ordering::SeqCst);
    server.handle.wake();
    assert!(client.is_quiet_for(millis(100)));
    client.send("Host: a\r\n\r\n");
    assert_eq!(client.read("GET").code, 200);
}
