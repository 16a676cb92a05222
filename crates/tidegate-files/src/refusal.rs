//! The answers that have no file: their status in words, as a page for people and as a line for programs.

use std::fmt::Write;
use std::io;

use tidegate::gateway::{Body, Environ, GatewayError, ResponseHead, StartResponse};
use tidegate::message::{StatusCode, list_items};

use super::rules::Moved;
use crate::html::Escaped;

const STYLE: &str = include_str!("listing.css");

/// The form of an answer that has no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A page, for those who say that they take HTML.
    Page,
    /// A line of text.
    Line,
}

impl Form {
    /// Chooses the form for a client: browsers name HTML, and programs mostly say `*/*` or nothing.
    pub fn for_client(environ: &Environ<'_>) -> Form {
        let mut items = environ.fields().all("Accept").flat_map(list_items);
        let is_html = |item: &[u8]| {
            let name = item.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            let is_refused = item.ends_with(b"q=0");
            name.eq_ignore_ascii_case(b"text/html") && !is_refused
        };
        if items.any(is_html) { Form::Page } else { Form::Line }
    }
}

/// Ends a response whose content is its status in words.
pub fn refuse(head: ResponseHead<'_>, code: u16, form: Form) -> Result<Body, GatewayError> {
    let phrase = StatusCode::new(code).map_or("", StatusCode::reason_phrase);
    // Which of the two it is depends on the client.
    let head = head.field("Vary", "Accept");
    match form {
        Form::Line => {
            head.field("Content-Type", "text/plain; charset=utf-8").send(format!("{code} {phrase}\n"))
        }
        Form::Page => head
            .field("Content-Type", "text/html; charset=utf-8")
            .field("Content-Security-Policy", super::listing::CONTENT_SECURITY_POLICY)
            .field("X-Content-Type-Options", "nosniff")
            .send(page(code, phrase)),
    }
}

/// Answers with the status for an error of the system.
pub fn fail(start_response: StartResponse<'_>, error: io::Error, form: Form) -> Result<Body, GatewayError> {
    match status_of(&error) {
        Some(503) => refuse(start_response.status(503).field("Retry-After", "1"), 503, form),
        Some(code) => refuse(start_response.status(code), code, form),
        None => Err(error.into()),
    }
}

/// Answers with another place.
pub fn redirect(start_response: StartResponse<'_>, moved: Moved, form: Form) -> Result<Body, GatewayError> {
    refuse(start_response.status(moved.code).field("Location", moved.location), moved.code, form)
}

/// The errors that the system, or this process, has no descriptor left. They have these numbers on every Unix.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// Whether no descriptor is left.
pub fn is_without_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// Returns the status for an error of the system; none for an error that an operator has to mend, which is a
/// 500.
pub fn status_of(error: &io::Error) -> Option<u16> {
    match error.kind() {
        // The name of a file taken for a folder, or one that no file can have, is a wrong path too.
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => Some(404),
        io::ErrorKind::PermissionDenied => Some(403),
        io::ErrorKind::StaleNetworkFileHandle => Some(503),
        // No descriptor is left: others have them, and will give them back.
        _ if is_without_descriptors(error) => Some(503),
        _ => None,
    }
}

fn page(code: u16, phrase: &str) -> String {
    let sentence = match code {
        301 | 302 | 303 | 307 | 308 => "This is at another place.",
        403 => "This must not be read.",
        404 => "Nothing washed up here.",
        405 => "Files can be looked at, and nothing else.",
        412 => "The file is not the one that was meant.",
        416 => "The file has no such part.",
        503 => "Come again in a moment.",
        _ => "",
    };
    let (mut html, title) = (String::with_capacity(STYLE.len() + 512), format!("{code} {phrase}"));
    let title = Escaped(&title);
    // Writing to a String does not fail.
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n<main>\n<h1>{title}</h1>\n<p>{sentence}</p>\n\
         <p><a href=\"/\">Back to the start</a></p>\n</main>\n</html>\n"
    );
    html
}
