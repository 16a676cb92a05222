//! Known failures of other servers, and why they cannot happen here.
//!
//! Each section is a class of failures that servers, proxies and their users have paid for: what
//! happened, which choice of this design excludes it, and what guards the choice. Guards are tests
//! (`file::name`) and cases of conformance (`file: title`); `tests/conformance.rs` checks that each of
//! them exists. There is no code in this module.
//!
//! # Two lengths in one message
//!
//! A request with Content-Length and Transfer-Encoding, or with two of one of them, ends in different
//! places for a proxy and for the server behind it; what is left over becomes the beginning of somebody
//! else's request. Known since 2005, it came back in 2019 as *HTTP desync* against most of the large
//! sites, by fields that only one of the two understood: `Transfer-Encoding : chunked`,
//! `Transfer-Encoding: xchunked`, a folded line, a vertical tab.
//!
//! *Here* the framing is decided in one place ([`FramingFields`](super::FramingFields)) from all fields
//! at once, and is a number, chunked, or nothing. Whatever else a field says is refused and the
//! connection closed, even where the standard would let a server choose; no byte that follows is a
//! request ([`RequestState::Refused`](super::RequestState) has no way out).
//!
//! Guards: `framing.txt: Content-Length and Transfer-Encoding exclude each other`,
//! `framing.txt: two of them are refused, even if they agree`,
//! `framing.txt: a field that names no coding is refused, beside another one, too`,
//! `fields.txt: so it is where it would hide the length`,
//! `tests/properties.rs::random_streams_are_read_in_one_way_and_no_other`.
//!
//! # Numbers that are read too kindly
//!
//! The integer parsers of most languages take a sign, and some take blanks, `0x` or underscores:
//! `+5` was a Content-Length in hyper (CVE-2021-32715). A chunk size that overflows wraps around to a
//! small one (CVE-2021-32714). An empty size is 0, and so the last chunk, to parsers that only
//! accumulate digits.
//!
//! *Here* a length is ASCII digits and a size is 1 to 16 hexadecimal digits, byte by byte, with no
//! parser of the standard library in between; what does not fit is too large, never small.
//!
//! Guards: `tests/protocol_cases.rs::trap_plus_sign_of_a_number_is_refused`,
//! `tests/protocol_cases.rs::trap_chunk_size_empty_blank_or_bare_lf_is_refused`,
//! `framing.txt: what is no plain number is no length`,
//! `framing.txt: a size is digits, right to the end of the line or to an extension`,
//! `framing.txt: a chunk beyond the limit is refused before it comes`.
//!
//! # Lines that end for one reader and not for another
//!
//! A bare LF, or a bare CR, in the line of a chunk ends it for some. Behind a proxy that looks for CR LF
//! only, an extension can so hide a request (CVE-2025-22871 in Go, and much of its year).
//!
//! *Here* LF alone ends a line of the head, where the standard allows it and where a mistake only
//! garbles the request at hand; in chunked framing nothing but CR LF does. A CR is half a line end or
//! refused.
//!
//! Guards: `tests/protocol_cases.rs::trap_bare_lf_ends_lines_of_a_head_and_of_nothing_else`,
//! `framing.txt: every line of the coding ends with CR LF`,
//! `framing.txt: a trailer section is field lines that end with CR LF`,
//! `messages.txt: CR that is not part of CR LF is refused wherever it stands in a head`.
//!
//! # A verdict that depends on where a read ends
//!
//! A parser that starts over with every read, and a limit that is looked at now and then, let the same
//! bytes pass or fail by the sizes of their packets. That makes failures that nobody can repeat, and an
//! attack on whoever tests with whole messages only. An earlier version of this server refused a bad
//! line at once, or at the end of its head.
//!
//! *Here* a head is judged line by line, each line when it is complete, by a function of the bytes.
//!
//! Guards: `src/protocol/head_parser.rs::verdict_does_not_depend_on_where_reads_end`,
//! `messages.txt: what is wrong with a line is said as soon as the line is complete`,
//! `tests/properties.rs::random_streams_are_read_in_one_way_and_no_other`; every case of conformance is
//! cut at every place.
//!
//! # Requests behind the last one
//!
//! After an upgrade, a CONNECT or an error some servers go on reading requests from bytes that are no
//! requests any more, or that a proxy took for content.
//!
//! *Here* there are no tunnels and no upgrades, and a refusal is final.
//!
//! Guards: `messages.txt: nothing behind a refused CONNECT is a request`,
//! `connections.txt: Upgrade is ignored, and what follows is HTTP`,
//! `messages.txt: what comes after a refused line is not looked at`.
//!
//! # Response splitting
//!
//! An application puts what a client has sent into a field; a CR LF in it ends the field, and the client
//! writes the rest of the response (A. Klein, 2004). Caches kept what it wrote.
//!
//! *Here* every name, value and reason phrase is checked where it is written
//! ([`ResponseEncoder::field`](super::ResponseEncoder::field)), and there is no other way to write one.
//! A control character makes the response a 500, and nothing of it is sent.
//!
//! Guards: `tests/gateway_contract.rs::field_that_would_split_the_response_is_a_500`,
//! `tests/gateway_contract.rs::reason_that_would_split_the_response_is_a_500`,
//! `tests/properties.rs::random_streams_are_read_in_one_way_and_no_other`, whose application shows each
//! client its own decoded path.
//!
//! # Halves that look whole
//!
//! An application fails midway; its server writes the last chunk all the same, or closes a response
//! without length as if that were its end. Caches keep the half.
//!
//! *Here* a response is [`Complete`](super::ResponseState::Complete) or
//! [`Aborted`](super::ResponseState::Aborted), and only the first has a last chunk. One that ends with
//! the connection is ended by a reset (but over a unix socket, which knows none). The framing is never the application's.
//!
//! Guards: `tests/protocol_cases.rs::trap_failed_stream_has_no_last_chunk`,
//! `tests/protocol_cases.rs::trap_finished_and_failed_are_not_the_same`,
//! `tests/gateway_contract.rs::stream_that_fails_midway_is_broken_off_in_every_framing`,
//! `tests/gateway_contract.rs::content_short_of_its_declared_length_is_cut`,
//! `tests/gateway_contract.rs::http10_response_that_fails_midway_ends_with_a_reset`.
//!
//! # httpoxy
//!
//! CGI turns the field `Proxy` into the variable HTTP_PROXY, which HTTP clients take for a setting: a
//! stranger chose through whom a program spoke to its back ends (2016, in half a dozen languages).
//!
//! *Here* the field has no variable.
//!
//! Guards: `fields.txt: Proxy never becomes HTTP_PROXY`,
//! `tests/protocol_cases.rs::trap_underscores_and_proxy_never_become_variables`.
//!
//! # Two names for one variable
//!
//! `X_Real_IP` and `X-Real-IP` are one variable. A proxy that sets the second and lets the first pass
//! lets clients choose who they are.
//!
//! *Here* a field with an underscore in its name has no variable. Nor does any field have one that the
//! server sets itself: all of theirs begin with `HTTP_`.
//!
//! Guards: `fields.txt: a name with an underscore is no variable: it would pass for the one with a hyphen`,
//! `fields.txt: what a name like a variable's could overwrite is not overwritten`,
//! `fields.txt: a name with an underscore is no framing`.
//!
//! # Paths that are read twice
//!
//! A path is decoded by a proxy and again by an application, or cut at a NUL by whoever keeps it in C,
//! after it was checked as a whole: files outside of a folder, scripts as text.
//!
//! *Here* it is decoded once, and refused if it could be decoded in more than one way. Dot segments are
//! the application's to read; the one that serves a folder takes none.
//!
//! Guards: `messages.txt: a path that can be decoded in more than one way is refused`,
//! `messages.txt: and so is one with a NUL, where many a reader ends`,
//! `messages.txt: percent-encoding is undone once in PATH_INFO, and nowhere else`,
//! `crates/tidegate-cli/tests/static_files.rs::no_path_leads_out_of_the_folder`.
//!
//! # Slowloris
//!
//! A few hundred connections that send a byte now and then hold every worker of a server, since each
//! byte renews its patience (R. Hansen, 2009). The same works with content, and by reading slowly.
//!
//! *Here* a connection holds no worker: applications are called when a request is complete, and a
//! waiting connection is two words and a timer. The deadline of a head is absolute, and content must
//! keep a least average rate.
//!
//! Guards: `tests/limits.rs::head_timeout_is_absolute_from_accept_on`,
//! `tests/limits.rs::dripping_over_a_socket_does_not_extend_the_head_timeout`,
//! `tests/limits.rs::body_rate_below_its_minimum_is_cut_although_bytes_come`,
//! `tests/limits.rs::write_timeout_cuts_a_client_that_takes_nothing`.
//!
//! # Quadratic heads
//!
//! A parser that begins at byte 0 with every read does half a billion steps for a head of 32 KiB that
//! comes byte by byte: one client, one core.
//!
//! *Here* what has been looked at is not looked at again: a partial head is parsed when its end is there,
//! and each line before that is judged once.
//!
//! Guard: `src/protocol/head_parser.rs::what_was_offered_before_is_not_judged_again`.
//!
//! # Errors that never arrive
//!
//! A server that refuses an upload and closes at once resets the connection under its own answer: the
//! client reads an error of its system and not the 413, and tries again (RFC 9112 §9.6).
//!
//! *Here* how to close follows from why ([`CloseReason`](super::CloseReason)): whoever may still be
//! sending is read for a while, and what it sends thrown away.
//!
//! Guards: `tests/limits.rs::refused_upload_reads_its_error_although_it_goes_on_sending`,
//! `tests/protocol_cases.rs::trap_refused_upload_is_read_on`,
//! `tests/protocol_cases.rs::close_before_unread_bytes_lingers`,
//! `tests/limits.rs::linger_timeout_ends_a_refused_upload_that_never_ends`.
