//! Answers with a listing: when it is ready, and as fast as the client reads it.

use std::sync::Arc;
use std::time::Duration;

use tidegate::gateway::{
    Body, BodyStream, Environ, GatewayError, Later, Piece, ResponseHead, StartResponse, Wakeup,
};
use tidegate::now::Moment;

use super::refusal::{Form, fail, refuse};
use super::renderer::{Listing, Page};
use super::{listing, view};

/// How long a client waits for a listing at most; then it gets 503 and may come again. 30 s: as long as a
/// server waits for a client.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a page that are handed over at a time. 16 KiB: a shorter page leaves with its head.
const PIECE_BYTES: usize = 16 * 1024;

/// The head of every listing.
pub fn head(start_response: StartResponse<'_>, form: view::Form) -> ResponseHead<'_> {
    let content_type = match form {
        view::Form::Html => "text/html; charset=utf-8",
        view::Form::Json => "application/json",
    };
    start_response
        .status(200)
        .field("Content-Type", content_type)
        .field("Vary", "Accept")
        .field("Content-Security-Policy", listing::CONTENT_SECURITY_POLICY)
        .field("X-Content-Type-Options", "nosniff")
}

/// Answers with a listing, if there can be one.
pub fn answer(
    listing: Option<Arc<Listing>>,
    environ: &Environ<'_>,
    start_response: StartResponse<'_>,
) -> Result<Body, GatewayError> {
    let form = Form::for_client(environ);
    let Some(listing) = listing else {
        return come_again(start_response, form);
    };
    if let Some(page) = listing.page() {
        return show(page, listing.form(), start_response, form);
    }
    let until = start_response.now() + PATIENCE;
    Ok(start_response.later(Some(until), Awaiting::new(listing, environ.wakeup(), until, form)))
}

fn show(
    page: std::io::Result<Arc<Page>>,
    of_listing: view::Form,
    start_response: StartResponse<'_>,
    form: Form,
) -> Result<Body, GatewayError> {
    match page {
        Ok(page) if page.len() <= PIECE_BYTES => head(start_response, of_listing).send(&page[..]),
        Ok(page) => head(start_response, of_listing)
            .field("Content-Length", page.len().to_string())
            .stream(Shown { page, offset: 0 }),
        Err(error) => fail(start_response, error, form),
    }
}

fn come_again(start_response: StartResponse<'_>, form: Form) -> Result<Body, GatewayError> {
    refuse(start_response.status(503).field("Retry-After", "1"), 503, form)
}

/// A client whose listing is not ready.
struct Awaiting {
    listing: Arc<Listing>,
    number: u64,
    until: Moment,
    /// The form of an error, should it come to one.
    form: Form,
}

impl Awaiting {
    fn new(listing: Arc<Listing>, wakeup: Wakeup, until: Moment, form: Form) -> Awaiting {
        let number = listing.wake(wakeup);
        Awaiting { listing, number, until, form }
    }
}

impl Later for Awaiting {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        match self.listing.page() {
            Some(page) => show(page, self.listing.form(), start_response, self.form),
            None if start_response.now() < self.until => {
                Ok(start_response.later_boxed(Some(self.until), self))
            }
            None => come_again(start_response, self.form),
        }
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.listing.forget(self.number);
    }
}

/// A page that is longer than a piece. Many clients can share one, which counts its own memory.
struct Shown {
    page: Arc<Page>,
    offset: usize,
}

impl BodyStream for Shown {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        let rest = &self.page[self.offset..];
        let piece = &rest[..rest.len().min(PIECE_BYTES)];
        self.offset += piece.len();
        Ok(if piece.is_empty() { Piece::End } else { Piece::Data(piece) })
    }
}
