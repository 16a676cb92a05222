//! Answers with a file: all of it, parts, or only that the client has it already.

use std::io;
use std::path::Path;

use tidegate::gateway::{Body, Environ, FileRange, GatewayError, ResponseHead, StartResponse};
use tidegate::message::{FieldBlock, Fields, HttpDate, Method};

use super::coding::Coding;
use super::multipart::Multipart;
use super::opened::{OpenedFile, Place};
use super::range::{self, Part, Selection};
use super::refusal::{Form, refuse};
use super::rules::{Rules, Siblings};
use super::validators::{Evaluation, Validators};

/// Longest content that the server copies behind its head anyway, and so is not shared with it: 16 KiB.
const COPIED_BYTES_MAX: u64 = 16 * 1024;

const CONTENT_TYPE: &str = "Content-Type";
const CACHE_CONTROL: &str = "Cache-Control";
const VARY: &str = "Vary";

/// Returns the fields of a response with all of a file.
pub fn head_of(rules: &Rules, path: &Path, coding: Option<Coding>, validators: &Validators) -> FieldBlock {
    let mut fields = FieldBlock::default();
    let mut push = |name: &str, value: &[u8]| {
        if let Err(error) = fields.push(name, value) {
            log::error!("{name} of {} is no field, and left out: {error}", path.display());
        }
    };
    push("Last-Modified", HttpDate::from_unix(validators.modified).as_bytes());
    push("ETag", validators.etag.as_bytes());
    push("Accept-Ranges", b"bytes");
    match rules.siblings {
        Siblings::Chosen if rules.has_dictionaries() => push(VARY, b"Accept-Encoding, Available-Dictionary"),
        Siblings::Chosen => push(VARY, b"Accept-Encoding"),
        Siblings::Ignored => {}
    }
    if let Some(dictionary) = rules.use_as_dictionary(path) {
        push("Use-As-Dictionary", dictionary.as_bytes());
    }
    if let Some(coding) = coding {
        push("Content-Encoding", coding.name().as_bytes());
    }
    if let Some(cache_control) = rules.cache_control(path) {
        push(CACHE_CONTROL, cache_control.as_bytes());
    }
    push(CONTENT_TYPE, rules.content_type(path).as_bytes());
    push("X-Content-Type-Options", b"nosniff");
    fields
}

/// Whether a request may want anything but the whole file: it has a Range, or a precondition.
fn has_conditions(fields: Fields<'_>) -> bool {
    let is_condition = |name: &str| match name.as_bytes() {
        [b'i' | b'I', b'f' | b'F', b'-', ..] => true,
        [b'r' | b'R', ..] => name.eq_ignore_ascii_case("Range"),
        _ => false,
    };
    fields.iter().any(|(name, _)| is_condition(name))
}

/// Answers with a file, as far as the client wants it.
pub fn send_file(
    environ: &Environ<'_>,
    start_response: StartResponse<'_>,
    opened: &OpenedFile,
) -> Result<Body, GatewayError> {
    if has_conditions(environ.fields()) {
        return send_conditionally(environ, start_response, opened);
    }
    send_part(start_response.status(200).fields(&opened.fields), opened, 0, opened.identity.length)
}

fn send_conditionally(
    environ: &Environ<'_>,
    start_response: StartResponse<'_>,
    opened: &OpenedFile,
) -> Result<Body, GatewayError> {
    let (validators, length, fields) = (&opened.validators, opened.identity.length, environ.fields());
    let (verdict, etag) = (validators.evaluate(fields), validators.etag.as_bytes());
    // Only GET knows ranges, and two Range fields are none (RFC 9110 §14.2, §5.3).
    let mut ranges = fields.all("Range");
    let selection = match (ranges.next(), ranges.next()) {
        (Some(range), None) if environ.method() == Method::GET && validators.allows_range(fields) => {
            range::select(range, length)
        }
        _ => Selection::Whole,
    };
    let form = Form::for_client(environ);
    match (verdict, selection) {
        (Evaluation::NotModified, _) => {
            let caching = opened.fields.iter().filter(|(name, _)| [CACHE_CONTROL, VARY].contains(name));
            let head = about(start_response, 304, validators, validators.known_as(fields));
            caching.fold(head, |head, (name, value)| head.field(name, value)).finish()
        }
        (Evaluation::Failed, _) => refuse(about(start_response, 412, validators, etag), 412, form),
        (Evaluation::Proceed, Selection::Whole) => {
            send_part(start_response.status(200).fields(&opened.fields), opened, 0, length)
        }
        (Evaluation::Proceed, Selection::Part(part)) => {
            let Part { first, last } = part;
            let head = start_response.status(206).fields(&opened.fields);
            let head = head.field("Content-Range", format!("bytes {first}-{last}/{length}"));
            send_part(head, opened, first, part.length())
        }
        (Evaluation::Proceed, Selection::Parts(parts)) => send_parts(start_response, opened, &parts),
        (Evaluation::Proceed, Selection::Unsatisfiable) => {
            let head = about(start_response, 416, validators, etag);
            refuse(head.field("Content-Range", format!("bytes */{length}")), 416, form)
        }
    }
}

/// Begins a response about a version of a file that is not sent.
fn about<'a>(
    start_response: StartResponse<'a>,
    code: u16,
    validators: &Validators,
    etag: &[u8],
) -> ResponseHead<'a> {
    start_response
        .status(code)
        .field("Last-Modified", HttpDate::from_unix(validators.modified).as_bytes())
        .field("ETag", etag)
        .field("Accept-Ranges", "bytes")
}

/// Sends several parts of a file.
fn send_parts(
    start_response: StartResponse<'_>,
    opened: &OpenedFile,
    parts: &[Part],
) -> Result<Body, GatewayError> {
    let is_type = |name: &str| name == CONTENT_TYPE;
    let own_type = opened.fields.iter().find(|(name, _)| is_type(name)).map_or(&b""[..], |(_, value)| value);
    let multipart = Multipart::new(parts, opened.identity.length, own_type);
    let of_all = opened.fields.iter().filter(|(name, _)| !is_type(name));
    let head = of_all.fold(start_response.status(206), |head, (name, value)| head.field(name, value));
    let head = head.field(CONTENT_TYPE, multipart.content_type());
    match &opened.place {
        Place::Memory(content) => head.send(multipart.of_memory(content)),
        Place::Disk(file) => head
            .field("Content-Length", multipart.length().to_string())
            .stream(multipart.of_file(file.clone())),
    }
}

/// Sends a part of a file, or all of it.
fn send_part(
    head: ResponseHead<'_>,
    opened: &OpenedFile,
    offset: u64,
    length: u64,
) -> Result<Body, GatewayError> {
    match &opened.place {
        Place::Disk(file) => head.file(FileRange { file: file.clone(), offset, length }),
        // A whole file that is too long to be copied is lent.
        Place::Memory(content) if content.len() as u64 == length && length > COPIED_BYTES_MAX => {
            head.send(content.clone())
        }
        Place::Memory(content) => {
            let part = offset as usize..(offset + length) as usize;
            head.send(content.get(part).ok_or(io::ErrorKind::UnexpectedEof).map_err(io::Error::from)?)
        }
    }
}
