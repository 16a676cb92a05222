//! Tests that the tables in `src/protocol/state.rs` are what the code does: they are printed from the code,
//! for every pair of state and event, and compared with the doc comment character by character.

use std::fmt::Debug;
use std::fs;

use tidegate::limits::Limits;
use tidegate::message::ContentLength;
use tidegate::now::Now;
use tidegate::protocol::{
    BodyDecoder, BodyEncoder, CloseReason, FieldSlots, Http1, ProtocolError, RequestEvent, RequestState,
    ResponseEncoder, ResponseEvent, ResponseState, ServerFields,
};

const DECODER: BodyDecoder = BodyDecoder::Length(7);
const OTHER_DECODER: BodyDecoder = BodyDecoder::Length(8);
const ENCODER: BodyEncoder = BodyEncoder::Chunked;
const OTHER_ENCODER: BodyEncoder = BodyEncoder::UntilClose;
const ERROR: ProtocolError = ProtocolError::MalformedHead;
const OTHER_ERROR: ProtocolError = ProtocolError::BodyTimeout;

const REQUEST_STATES: [RequestState; 5] = [
    RequestState::Idle,
    RequestState::Head,
    RequestState::Body(DECODER),
    RequestState::Complete,
    RequestState::Refused(ERROR),
];
const REQUEST_EVENTS: [RequestEvent; 7] = [
    RequestEvent::HeadBegun,
    RequestEvent::HeadEnded,
    RequestEvent::ContentAwaited(OTHER_DECODER),
    RequestEvent::ContentEnded,
    RequestEvent::ContentDeclined,
    RequestEvent::Refused(OTHER_ERROR),
    RequestEvent::NextExchange,
];
const RESPONSE_STATES: [ResponseState; 5] = [
    ResponseState::Unstarted,
    ResponseState::Continue,
    ResponseState::Body(ENCODER),
    ResponseState::Complete,
    ResponseState::Aborted(ENCODER),
];
const RESPONSE_EVENTS: [ResponseEvent; 5] = [
    ResponseEvent::ContinueSent,
    ResponseEvent::HeadEnded(OTHER_ENCODER),
    ResponseEvent::ContentEnded,
    ResponseEvent::Failed,
    ResponseEvent::NextExchange,
];

/// Prints the table of one machine, as it would stand in a doc comment.
fn print_table<S: Copy, E: Copy + Debug>(
    states: &[S],
    events: &[E],
    name: impl Fn(S) -> &'static str,
    after: impl Fn(S, E) -> Option<S>,
) -> Vec<String> {
    // `Refused(BodyTimeout)` → `Refused`.
    let event_name = |event: &E| format!("{event:?}").split('(').next().unwrap_or_default().to_string();
    let names: Vec<String> = events.iter().map(event_name).collect();
    let mut lines = vec![
        format!("| state \\ event | {} |", names.join(" | ")),
        format!("|---|{}", "---|".repeat(events.len())),
    ];
    for &state in states {
        let cells: Vec<&str> =
            events.iter().map(|&event| after(state, event).map_or("–", |next| name(next))).collect();
        lines.push(format!("| {} | {} |", name(state), cells.join(" | ")));
    }
    lines
}

/// The tables of the module's doc comment, in order.
fn documented_tables() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/protocol/state.rs");
    let source = fs::read_to_string(path).unwrap();
    let mut tables: Vec<Vec<String>> = Vec::new();
    let mut is_inside = false;
    for line in source.lines() {
        let row = line.strip_prefix("//! ").filter(|row| row.starts_with('|'));
        match row {
            Some(row) if is_inside => tables.last_mut().unwrap().push(row.to_string()),
            Some(row) => tables.push(vec![row.to_string()]),
            None => {}
        }
        is_inside = row.is_some();
    }
    tables
}

fn check(table: Vec<String>, index: usize) {
    let documented = documented_tables();
    assert_eq!(documented.len(), 2, "one table a machine");
    let (printed, written) = (table.join("\n"), documented[index].join("\n"));
    assert!(printed == written, "the code does this:\n{printed}\nthe doc comment says:\n{written}");
}

#[test]
fn request_table_in_the_docs_is_what_the_code_does() {
    check(print_table(&REQUEST_STATES, &REQUEST_EVENTS, RequestState::name, RequestState::after), 0);
}

#[test]
fn response_table_in_the_docs_is_what_the_code_does() {
    check(print_table(&RESPONSE_STATES, &RESPONSE_EVENTS, ResponseState::name, ResponseState::after), 1);
}

/// The tables show names only; this is about the data of the variants.
#[test]
fn first_error_and_framing_survive_what_follows() {
    let refused = RequestState::Refused(ERROR);
    assert_eq!(refused.after(RequestEvent::Refused(OTHER_ERROR)), Some(refused));
    assert_eq!(RequestState::Body(DECODER).after(RequestEvent::Refused(ERROR)), Some(refused));
    let awaited = RequestState::Idle.after(RequestEvent::ContentAwaited(OTHER_DECODER));
    assert_eq!(awaited, Some(RequestState::Body(OTHER_DECODER)));
    let begun = ResponseState::Continue.after(ResponseEvent::HeadEnded(OTHER_ENCODER));
    assert_eq!(begun, Some(ResponseState::Body(OTHER_ENCODER)));
    let aborted = ResponseState::Aborted(ENCODER);
    assert_eq!(ResponseState::Body(ENCODER).after(ResponseEvent::Failed), Some(aborted));
    assert_eq!(aborted.after(ResponseEvent::Failed), Some(aborted));
}

/// An application that fails right after its head is answered for as if it had not begun. Whatever the head
/// has changed is as before: the fate of the connection, and that the client was told to go on.
#[test]
fn head_that_is_taken_back_leaves_everything_as_it_was() {
    let own = ServerFields::new("tidegate", &Now::default());
    for is_told_to_continue in [false, true] {
        let (mut http, mut out, mut slots) = (Http1::new(), Vec::new(), FieldSlots::new());
        let input = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
        http.read_head(input, 0, &mut slots, &Limits::default()).unwrap();
        if is_told_to_continue {
            http.write_continue(&mut out);
        }
        http.read_content(b"x").unwrap();
        let (before, open) = (http, http.savepoint());
        http.close_after(CloseReason::ShuttingDown);
        let head = ResponseEncoder::begin(&mut out, &own, 200, None).unwrap();
        http.end_head(&head, &mut out, ContentLength::Unknown).unwrap();
        assert_eq!(http.response(), ResponseState::Body(BodyEncoder::Chunked));
        assert_ne!(http.persistence(), before.persistence());
        http.rollback(open);
        assert_eq!(http, before, "{is_told_to_continue}");
    }
}
