//! The answers that have no file: their status in words, as a page for people and as a line for programs.

use std::fmt::Write;

use tidegate::gateway::{Body, Environ, GatewayError, ResponseHead};
use tidegate::message::{StatusCode, list_items};

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
