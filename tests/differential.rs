//! Tests that any bytes mean the same at once and in pieces, with what fuzzing has found, and what it started
//! from.
//!
//! The checks are those of `fuzz/`, and say what must hold. Here they run on stable, in a moment.

mod support;

use support::differential::{check_chunked, check_conversation, check_head};
use support::response::read_all;
use tidegate::conversation::ByHand;
use tidegate::{Environ, StartResponse};

/// Runs these bytes under all limits, and cut in a few ways.
fn conversation(input: &[u8]) {
    for variant in 0..3 {
        for seed in 0..16 {
            check_conversation(&[&[variant, seed], input].concat());
        }
    }
}

#[test]
fn bare_cr_is_no_empty_line_in_whatever_pieces_it_comes() {
    conversation(b"\r\r");
    conversation(b"\r\r\n");
    conversation(b"\r\n\r\r");
}

#[test]
fn empty_lines_are_no_part_of_a_head_in_whatever_pieces_they_come() {
    // 94 bytes of 100 that a head may have here, and 7 before them.
    let head = format!("GET / HTTP/1.0\nHost: {}\n\n", "a".repeat(71));
    conversation(format!("\r\n\r\n\r\n\n{head}").as_bytes());
    // More of them than a head may have bytes; the first byte chooses the limits.
    check_head(format!("5{}AD / HTTP/1.0\n\n", "\r\n".repeat(100)).as_bytes());
}

#[test]
fn head_request_that_is_given_up_is_answered_without_content() {
    let mut hand = ByHand::new(|_: &mut Environ<'_>, start_response: StartResponse<'_>| {
        start_response.status(200).send("never")
    });
    hand.receive(b"\r\nHEAD / HT");
    hand.pass(hand.context.limits.head_timeout);
    let sent = hand.transmit_all();
    let response = &read_all(&sent, &["HEAD"]).expect("a response without content")[0];
    assert_eq!((response.code, response.says_close()), (408, true));
}

/// The messages that mutation begins with: one of each kind.
const MESSAGES: [&[u8]; 9] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\nHEAD /x?y HTTP/1.0\nHost: a\nConnection: keep-alive\n\n",
    b"POST /up HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://a/b HTTP/1.1\r\nHost: a\r\nX: \xff\r\nCookie: a\r\nCookie: b\r\n\r\n",
    b"PUT /a HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
    b"GET / HTTP/2.0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
];

#[test]
fn messages_of_each_kind_mean_the_same_in_whatever_pieces_they_come() {
    for first in MESSAGES {
        check_head(&[b"\0", first].concat());
        for second in MESSAGES {
            conversation(&[first, second].concat());
        }
    }
    for seed in 0..16 {
        check_chunked(&[&[seed], &b"a;x\r\n0123456789\r\n00\r\nA: b\r\nC:d\r\n\r\n"[..]].concat());
    }
}

/// One or a few bytes of each message are changed, left out, doubled or exchanged, and the result must still
/// be read in one way only. The mutations are always the same: chance is for `fuzz/`.
#[test]
fn mutated_messages_mean_the_same_in_whatever_pieces_they_come() {
    let mut state = 1_u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for _ in 0..4_000 {
        let mut input = vec![below(3) as u8, below(256) as u8];
        (0..1 + below(3)).for_each(|_| input.extend_from_slice(MESSAGES[below(MESSAGES.len())]));
        for _ in 0..1 + below(4) {
            let at = 2 + below(input.len() - 2);
            match below(4) {
                0 => input[at] = b"\r\n :;,0\t\0\xffaZ"[below(12)],
                1 => drop(input.remove(at)),
                2 => input.insert(at, input[at]),
                _ => input.swap(at, at.max(3) - 1),
            }
        }
        check_conversation(&input);
    }
}
