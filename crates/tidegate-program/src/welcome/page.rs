//! The pages, as HTML.
//!
//! What is foreign comes in through [`Escaped`] or [`Bytes`]; everything else is written here.

use std::fmt::{self, Write};
use std::time::Duration;

use tidegate::gateway::Environ;
use tidegate_files::html::Escaped;

/// The fields of every page.
pub const FIELDS: [(&str, &str); 5] = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
];

const GATE: &str = include_str!("gate.svg");
const HOME: &str = include_str!("home.html");
const UPLOAD: &str = include_str!("upload.html");
const BACK: &str = "<p><a href=\"/\">Back to the gate</a></p>\n";

/// The front page: the server, this request, and the other pages to try.
pub fn home(environ: &mut Environ<'_>) -> String {
    let content = match environ.content_length() {
        None => "none".to_string(),
        Some(bytes) => format!("{bytes} bytes"),
    };
    let mut rows = String::new();
    for (name, value) in environ.variables() {
        push_row(&mut rows, &name, Bytes(&value));
    }
    push_row(&mut rows, "connection", environ.client().connection_id);
    push_row(&mut rows, "content", content);
    whole("Welcome to tidegate", &fill(HOME, &[("gate", GATE), ("rows", &rows)]))
}

/// The form for an upload.
pub fn upload_form() -> String {
    whole("An upload", &format!("{UPLOAD}{BACK}"))
}

/// The report on an upload: its type, its length, and how it begins.
pub fn upload_report(environ: &Environ<'_>, beginning: &[u8]) -> String {
    let bytes = environ.content_length().unwrap_or(0);
    let content_type = environ.get("CONTENT_TYPE").unwrap_or_default();
    let mut main = String::from("<h1>It arrived</h1>\n<table class=\"facts\">\n");
    push_row(&mut main, "content type", Bytes(&content_type));
    push_row(&mut main, "length", format_args!("{bytes} bytes"));
    main.push_str("</table>\n<p>It begins like this:</p>\n");
    let more = if bytes > beginning.len() as u64 { " …" } else { "" };
    // Writing to a String does not fail.
    let _ = writeln!(main, "<pre>{}{more}</pre>", Bytes(beginning));
    main.push_str("<p><a href=\"/upload\">Send another</a></p>\n");
    whole("It arrived", &(main + BACK))
}

/// The page of the answer that came late.
pub fn late(delay: Duration) -> String {
    let seconds = delay.as_secs();
    let main = format!(
        "<h1>Better late</h1>\n<p>This answer was promised at once, and given {seconds} seconds \
         later. Meanwhile the server was free for everybody else, with one thread and no \
         waiting.</p>\n{BACK}"
    );
    whole("A late answer", &main)
}

/// The page that grows, up to its first line.
pub fn tide_start() -> String {
    start("A rising tide")
        + "<h1>A rising tide</h1>\n<p>Each line was sent when it came into being. The length of \
           the page was not known when it began.</p>\n<ul class=\"tide\">\n"
}

/// One line of the page that grows.
pub fn tide_line(line: u32, lines: u32, elapsed: Duration) -> String {
    let (seconds, percent) = (elapsed.as_secs_f64(), line * 100 / lines);
    format!(
        "<li><span>{seconds:.1} s</span><svg viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" \
         aria-hidden=\"true\"><rect width=\"{percent}\" height=\"4\"/></svg></li>\n"
    )
}

/// The page that grows, behind its last line.
pub fn tide_end() -> String {
    format!("</ul>\n<p>High water.</p>\n{BACK}{END}")
}

/// The page for a path that leads nowhere.
pub fn not_found(path: &[u8]) -> String {
    let path = Bytes(path);
    let main = format!(
        "<h1>Nothing washed up here</h1>\n<p>There is no page at \
         <code>{path}</code>.</p>\n{BACK}"
    );
    whole("Not found", &main)
}

/// The page for a path that has something, but not for this method.
pub fn wrong_method(allowed: &str) -> String {
    let main = format!("<h1>Not this way</h1>\n<p>This path answers to {allowed} only.</p>\n{BACK}");
    whole("Method not allowed", &main)
}

const END: &str =
    concat!("</main>\n<footer>tidegate ", env!("CARGO_PKG_VERSION"), "</footer>\n</body>\n</html>\n");

fn start(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"/icon.svg\">\n<link rel=\"stylesheet\" href=\"/style.css\">\n\
         </head>\n<body>\n<main>\n"
    )
}

fn whole(title: &str, main: &str) -> String {
    start(title) + main + END
}

/// Replaces each `{{name}}` of a template by its value, in one pass: what a value holds is never
/// looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() + 4_096);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let (name, tail) = after.split_once("}}").unwrap_or((after, ""));
        let value = values.iter().find(|(other, _)| *other == name);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = tail;
    }
    filled + rest
}

/// Appends a line to a table; the value is HTML.
fn push_row(html: &mut String, name: &str, value: impl fmt::Display) {
    // Writing to a String does not fail.
    let _ = writeln!(html, "<tr><th scope=\"row\">{}</th><td>{value}</td></tr>", Escaped(name));
}

/// Foreign bytes as escaped text; a dash if there are none.
struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("<span class=\"dim\">–</span>"),
            bytes => Escaped(&String::from_utf8_lossy(bytes)).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "<script>alert('x')</script>{{rows}}\"&";

    fn check_is_harmless(html: &str) {
        assert!(!html.contains("<script"), "{html}");
        assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    }

    #[test]
    fn foreign_text_is_escaped_wherever_it_stands() {
        check_is_harmless(&not_found(HOSTILE.as_bytes()));
    }

    #[test]
    fn templates_are_filled_in_one_pass() {
        assert_eq!(fill("a{{x}}b{{y}}c", &[("x", "{{y}}"), ("y", "1")]), "a{{y}}b1c");
        assert_eq!(fill("{{unknown}}-{{open", &[]), "-");
    }

    #[test]
    fn pages_load_nothing_from_elsewhere_and_hold_no_style_or_script() {
        for html in [&upload_form(), &late(Duration::from_secs(2)), HOME, GATE] {
            assert!(!html.contains("style=") && !html.contains("<script"));
            assert!(!html.contains("src=") && !html.contains("//127"));
        }
    }
}
