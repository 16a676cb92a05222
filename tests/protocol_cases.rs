//! Tests whole conversations, driven by hand, that take more than a line of text.
//!
//! The rules of the standard stand as data in `tests/data/conformance/`, and `tests/conformance.rs`
//! runs them. Here are interim responses, ways to close, traps by their names, and a full disk.
//! Every [`check`] feeds its input whole, byte by byte, and cut in two at every place.

mod support;

use std::fs::File;
use std::io;
use std::time::Duration;

use support::driver::{Conversed, Finale, application, converse, in_every_cut, limits, told};
use support::response::read_all;
use tidegate::conversation::{
    Budget, ByHand, Conversation, Disk, Farewell, Memory, NoJournal, OutputQueue, ServerContext, Turn, Wants,
};
use tidegate::gateway::{Client, NoWake, Peer, ServerInfo, Spool, SpoolFile};
use tidegate::now::Now;

/// Feeds a message whole, byte by byte, and cut in two at every place.
fn check(input: &str, expected: &[&str]) {
    let input = input.as_bytes();
    in_every_cut(input, Finale::Nothing, |conversed, way| assert_eq!(conversed.told(), expected, "{way}"));
}

/// Feeds a conversation this at once, and returns its result.
fn fed(input: impl AsRef<[u8]>) -> Conversed {
    converse(&[input.as_ref()], Finale::Nothing)
}

/// Makes a whole request with these further fields.
fn get(fields: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn post(fields: &str, content: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a\r\n{fields}\r\n{content}")
}

// Ways to close (RFC 9112 §9.6)

/// A client that has sent more than it should may be sending still: its answer must not be lost.
#[test]
fn close_before_unread_bytes_lingers() {
    let ends = |input: &str| fed(input).wants;
    assert_eq!(ends(&get("Connection: close\r\n")), Wants::Close(Farewell::Clean));
    assert_eq!(ends(&(get("Connection: close\r\n") + "x")), Wants::Close(Farewell::Linger));
    assert_eq!(ends("GET / HTTP/1.1\r\n\r\n"), Wants::Close(Farewell::Linger));
}

/// RFC 9110 §9.3.2: a client that asks with HEAD reads no content, and takes none for the next response.
#[test]
fn refusal_of_a_head_request_has_no_content() {
    for head in ["HEAD / HTTP/1.1\r\n\r\n", "\r\nHEAD / HTTP/3.0\r\nHost: a\r\n\r\n"] {
        for at in 0..head.len() {
            let (before, after) = head.as_bytes().split_at(at);
            let conversed = converse(&[get("").as_bytes(), before, after], Finale::Nothing);
            let responses = read_all(&conversed.sent, &["GET", "HEAD"]).expect("responses by the book");
            assert_eq!(responses.len(), 2, "cut at {at}: {responses:?}");
            assert!(responses[1].code >= 400 && responses[1].field("Content-Length").is_some());
            assert_eq!(conversed.wants, Wants::Close(Farewell::Linger));
        }
    }
}

// Content (RFC 9112 §6.3, §7.1)

#[test]
fn trailers_beyond_their_limit_are_refused() {
    let input = post("Transfer-Encoding: chunked\r\n", &format!("0\r\nA: {}\r\n\r\n", "x".repeat(8 * 1024)));
    let told = told(&[input.as_bytes()], Finale::Nothing);
    assert_eq!(told, ["431 length close: the trailer section is too large", "closed"]);
}

// Expectations (RFC 9110 §10.1.1)

/// Returns the codes of all responses to a request that comes in these pieces.
fn codes(pieces: &[&str]) -> Vec<u16> {
    let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
    converse(&pieces, Finale::Nothing).responses().iter().map(|response| response.code).collect()
}

#[test]
fn continue_is_sent_only_while_content_is_missing() {
    let head = "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(codes(&[head]), [100]);
    assert_eq!(codes(&[head, "abc"]), [100, 200]);
    assert_eq!(codes(&[head, "a", "bc"]), [100, 200]);
    assert_eq!(codes(&[&format!("{head}a"), "bc"]), [200]);
    assert_eq!(codes(&[&format!("{head}abc")]), [200]);
    let chunked = "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(codes(&[chunked, "0\r\n\r\n"]), [100, 200]);
    assert_eq!(codes(&[&format!("{chunked}0\r\n\r\n")]), [200]);
}

#[test]
fn continue_is_not_sent_where_nothing_is_to_come() {
    assert_eq!(codes(&["GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"]), [200]);
    let none = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(codes(&[none]), [200]);
    let old = "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(codes(&[old, "a"]), [200]);
}

#[test]
fn refusal_comes_before_continue() {
    let large = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 101\r\n\r\n";
    assert_eq!(codes(&[large]), [413]);
    let unknown = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(codes(&[unknown]), [417]);
    check(&get("Expect: teapot\r\n"), &["417 length close: the expectation is not known", "closed"]);
}

#[test]
fn refusal_after_continue_is_still_an_answer() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(codes(&[head, "x\r\n"]), [100, 400]);
    assert_eq!(codes(&[head, "ffff\r\n"]), [100, 413]);
}

#[test]
fn continue_has_no_fields() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(fed(head).sent, b"HTTP/1.1 100 Continue\r\n\r\n");
}

// Responses without content (RFC 9110 §6.4.1)

#[test]
fn head_has_the_fields_of_get_and_no_content() {
    let fields = |method: &str, target: &str| {
        let input = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let conversed = fed(input);
        assert_eq!(conversed.fate(), "open");
        let response = conversed.responses().remove(0);
        assert!(method == "GET" || response.content.is_empty());
        response.field("Content-Length").map(str::to_string)
    };
    assert_eq!(fields("HEAD", "/a").as_deref(), Some("7"));
    assert_eq!(fields("GET", "/a").as_deref(), Some("6"));
    assert_eq!(fields("HEAD", "/stream"), None);
    assert_eq!(fields("HEAD", "/304-of-7").as_deref(), Some("7"));
    check("HEAD /a HTTP/1.0\r\n\r\n", &["200 none close", "closed"]);
}

#[test]
fn malformed_head_is_not_called_too_large_for_what_follows_it() {
    let input = get("X : x\r\n") + &"x".repeat(500);
    check(&input, &["400 length close: the head of the request is malformed", "closed"]);
}

// Traps that other servers, and earlier ones of ours, have fallen into

#[test]
fn trap_chunk_size_empty_blank_or_bare_lf_is_refused() {
    for size in ["\r\n", ";a\r\n", "0 \r\n\r\n", " 0\r\n\r\n", "0;a\n\r\n", "0\n\n", "1 ;a\r\na\r\n"] {
        let input = post("Transfer-Encoding: chunked\r\n", size);
        check(&input, &["400 length close: the chunked coding is broken", "closed"]);
    }
}

#[test]
fn trap_plus_sign_of_a_number_is_refused() {
    check(
        &post("Content-Length: +5\r\n", "abcde"),
        &["400 length close: Content-Length is invalid", "closed"],
    );
    let chunk = post("Transfer-Encoding: chunked\r\n", "+5\r\nabcde\r\n0\r\n\r\n");
    check(&chunk, &["400 length close: the chunked coding is broken", "closed"]);
}

#[test]
fn trap_bare_lf_ends_lines_of_a_head_and_of_nothing_else() {
    check("GET /a HTTP/1.1\nHost: a\n\n", &["200 length: GET /a", "open"]);
    check(
        "\nPOST /p HTTP/1.1\nHost: a\r\nContent-Length: 2\n\r\nok",
        &["200 length: POST /p 2 [ok]", "open"],
    );
    let chunked = "POST /p HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n";
    check(&format!("{chunked}1\r\na\r\n0\r\n\r\n"), &["200 length: POST /p 1 [a]", "open"]);
    let expected = &["400 length close: the chunked coding is broken", "closed"];
    check(&format!("{chunked}1\na\r\n0\r\n\r\n"), expected);
    check(&format!("{chunked}1\r\na\n0\r\n\r\n"), expected);
    let expected = &["400 length close: the trailer section is malformed", "closed"];
    check(&format!("{chunked}0\r\n\n"), expected);
}

#[test]
fn trap_fields_of_a_failed_head_are_never_read() {
    // The slots of httparse look filled after its error; one of them would be a Host field.
    check(&get("X: a\0b\r\n"), &["400 length close: the head of the request is malformed", "closed"]);
    check(
        &get("X\r\nContent-Length: 3\r\n"),
        &["400 length close: the head of the request is malformed", "closed"],
    );
}

#[test]
fn trap_head_does_not_end_where_the_buffer_ends() {
    let input =
        post("Content-Length: 4\r\n", "\r\n\r\n") + &post("Content-Length: 5\r\n", "GET /") + &get("");
    check(
        &input,
        &["200 length: POST /p 4 [\r\n\r\n]", "200 length: POST /p 5 [GET /]", "200 length: GET /a", "open"],
    );
}

#[test]
fn trap_finished_and_failed_are_not_the_same() {
    check("GET /fail-midway HTTP/1.1\r\nHost: a\r\n\r\n", &["200 chunked cut: half", "closed"]);
    let ends = |target: &str, version: &str| {
        let input = format!("GET {target} HTTP/{version}\r\nHost: a\r\n\r\n");
        fed(input).wants
    };
    assert_eq!(ends("/stream", "1.0"), Wants::Close(Farewell::Clean));
    assert_eq!(ends("/fail-midway", "1.0"), Wants::Close(Farewell::Reset));
}

#[test]
fn trap_underscores_and_proxy_never_become_variables() {
    let input = "GET /variables HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: evil\r\nX-Forwarded-For: good\r\n\
                 X-Forwarded_For: evil\r\nProxy: evil\r\nproxy: evil\r\nContent_Length: 7\r\n\r\n";
    check(input, &["200 length: HTTP_HOST=a HTTP_X_FORWARDED_FOR=good", "open"]);
}

#[test]
fn trap_failed_stream_has_no_last_chunk() {
    let sent = fed(b"GET /fail-midway HTTP/1.1\r\nHost: a\r\n\r\n").sent;
    assert!(sent.ends_with(b"\r\n\r\n4\r\nhalf\r\n"));
}

#[test]
fn trap_refused_upload_is_read_on() {
    let ends = |input: String| fed(input).wants;
    assert_eq!(ends(post("Content-Length: 101\r\n", "")), Wants::Close(Farewell::Linger));
    assert_eq!(ends(post("Transfer-Encoding: chunked\r\n", "fff\r\n")), Wants::Close(Farewell::Linger));
}

// A disk that is full

/// A disk that has no room from this write on.
struct FullDisk {
    writes_left: usize,
}

impl Spool for FullDisk {
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(FullFile { writes_left: self.writes_left }))
    }
}

impl Disk for FullDisk {
    fn read_at(&mut self, _: &File, _: u64, _: usize, _: &mut Vec<u8>) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct FullFile {
    writes_left: usize,
}

impl io::Write for FullFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes_left = self.writes_left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Read for FullFile {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl io::Seek for FullFile {
    fn seek(&mut self, _: io::SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

/// Feeds a conversation that has such a disk.
fn converse_with_full_disk(pieces: &[&[u8]], writes_left: usize) -> Vec<String> {
    let context = ServerContext::new(limits(), ServerInfo::default(), Now::default());
    let mut conversation = Conversation::new(context.now.moment);
    let mut out = OutputQueue::default();
    let mut disk = FullDisk { writes_left };
    for piece in pieces {
        let client = Client {
            connection_id: 1,
            peer: &Peer::Unix,
            local: None,
            has_finished_sending: false,
            wake_source: &NoWake,
            memory: None,
        };
        let mut turn = Turn {
            gateway: &mut application,
            context: &context,
            client,
            disk: &mut disk,
            wire: &tidegate::conversation::NoWire,
            journal: &mut NoJournal,
            memory: Memory::Ample,
            budget: Budget::TURN,
        };
        conversation.receive(piece, &mut turn, &mut out);
    }
    assert_eq!(conversation.wants(0, context.limits.output_bytes_high), Wants::Close(Farewell::Linger));
    let sent: Vec<u8> = out.slices().flatten().copied().collect();
    read_all(&sent, &[]).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn full_disk_is_unavailable_wherever_it_fills_up() {
    let head = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\n";
    let content = [b'x'; 60];
    for step in [1, 6, 15, 20, 30, 60] {
        let pieces: Vec<&[u8]> = [&head[..]].into_iter().chain(content.chunks(step)).collect();
        let in_memory = limits().body_memory_bytes_max / step;
        let writes = usize::from(in_memory > 0) + 60 / step - in_memory;
        // From the first to the one that would have completed the content.
        for writes_left in 0..writes {
            assert_eq!(
                converse_with_full_disk(&pieces, writes_left),
                ["503 length close: the server has no place for the content"],
                "in steps of {step}, after {writes_left} writes"
            );
        }
    }
}

#[test]
fn time_out_of_a_kept_connection_says_nothing() {
    let mut hand = ByHand::new(application);
    hand.receive(get("").as_bytes());
    assert!(!hand.transmit_all().is_empty());
    hand.pass(hand.context.limits.idle_timeout - Duration::from_nanos(1));
    assert_eq!(hand.wants(), Wants::Read);
    hand.pass(Duration::from_nanos(1));
    assert_eq!((hand.transmit_all(), hand.wants()), (Vec::new(), Wants::Close(Farewell::Clean)));
}
