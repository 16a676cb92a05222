//! The welcome application: it shows by example what the server can do.
//!
//! | path | shows |
//! |---|---|
//! | `/` | content at hand, and the environ of the request |
//! | `/stream` | content that is drawn piece by piece, as it comes into being |
//! | `/slow` | an answer that comes later, while others are served |
//! | `/upload` | request content, as it arrives |
//! | `/fail` | an application that panics, and harms nobody |
//!
//! Everything foreign that is shown is escaped, and a strict Content-Security-Policy stands behind
//! that. The pages load nothing from anywhere else.

mod late;
mod page;
mod tide;

use std::io::Read;

use tidegate::gateway::{Admission, Body, Environ, Gateway, GatewayError, ResponseHead, StartResponse};
use tidegate::message::Method;

use self::late::LateAnswer;
use self::tide::Tide;

const STYLE: &[u8] = include_bytes!("style.css");
const ICON: &[u8] = include_bytes!("icon.svg");

/// The part of an upload that is read and shown, in bytes. 1 KiB: enough to see the first fields of a form.
const BEGINNING_BYTES: u64 = 1024;

/// The welcome application.
pub struct Welcome;

impl Gateway for Welcome {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let path = environ.get("PATH_INFO").unwrap_or_default();
        let is_get = matches!(environ.method(), Method::GET | Method::HEAD);
        match (&*path, environ.method()) {
            (b"/upload", Method::POST | Method::PUT) => show_upload(environ, start_response),
            (b"/upload", _) if !is_get => refuse(start_response, "GET, HEAD, POST, PUT"),
            _ if !is_get => refuse(start_response, "GET, HEAD"),
            (b"" | b"/", _) => page_head(start_response, 200).send(page::home(environ)),
            (b"/stream", _) => {
                let tide = Tide::new(start_response.now());
                page_head(start_response, 200).stream(tide)
            }
            (b"/slow", _) => Ok(LateAnswer::new(start_response.now()).wait(start_response)),
            (b"/upload", _) => page_head(start_response, 200).send(page::upload_form()),
            (b"/fail", _) => panic!("this is what /fail is for"),
            (b"/style.css", _) => asset(start_response, "text/css; charset=utf-8", STYLE),
            (b"/icon.svg" | b"/favicon.ico", _) => asset(start_response, "image/svg+xml", ICON),
            _ => page_head(start_response, 404).send(page::not_found(&path)),
        }
    }

    /// Collects content for `/upload` only.
    fn admit(&self, environ: &Environ<'_>) -> Admission {
        match (&*environ.path_info(), environ.method()) {
            (b"/upload", Method::POST | Method::PUT) => Admission::Collect,
            _ => Admission::FromHead,
        }
    }
}

/// Shows the upload. However long it is, only its beginning is read, so nobody waits for that.
fn show_upload(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let mut beginning = Vec::new();
    environ.content().take(BEGINNING_BYTES).read_to_end(&mut beginning)?;
    page_head(start_response, 200).send(page::upload_report(environ, &beginning))
}

/// Begins a page. It shows this very request, so nobody may keep it.
fn page_head(start_response: StartResponse<'_>, code: u16) -> ResponseHead<'_> {
    page::FIELDS.iter().fold(start_response.status(code), |head, (name, value)| head.field(name, value))
}

fn asset(
    start_response: StartResponse<'_>,
    content_type: &str,
    content: &'static [u8],
) -> Result<Body, GatewayError> {
    start_response
        .status(200)
        .field("Content-Type", content_type)
        .field("Cache-Control", "no-cache")
        .field("X-Content-Type-Options", "nosniff")
        .send(content)
}

fn refuse<'a>(start_response: StartResponse<'a>, allowed: &str) -> Result<Body, GatewayError> {
    page_head(start_response, 405).field("Allow", allowed).send(page::wrong_method(allowed))
}
