//! The application: one gateway for each reactor.

use std::io::{self, Write};
use std::path::Path;
use std::str;
use std::sync::Arc;
use std::time::Duration;

use tidegate::gateway::{Admission, IncomingContent, Later, Piece};
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};
use tidegate_files::{FileCache, Rules, StaticFiles};

use crate::dataset::Dataset;

const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

pub struct Arena {
    dataset: Arc<Dataset>,
    files: StaticFiles,
    /// The content of the answer at hand: its memory is kept from one to the next.
    content: Vec<u8>,
}

/// A route, by its path.
enum Route {
    /// `/baseline11`: the sum of two parameters and the content.
    Sum,
    /// `/pipeline`: a short text.
    Ok,
    /// `/upload`: the number of bytes that came.
    Upload,
    /// `/json/COUNT`: the first items of the data set.
    Json(usize),
    /// `/static/NAME`: a file.
    File,
}

impl Route {
    fn of(environ: &Environ<'_>) -> Option<Route> {
        let path = &*environ.path();
        Some(match path {
            "/baseline11" => Route::Sum,
            "/pipeline" => Route::Ok,
            "/upload" => Route::Upload,
            _ if path.starts_with("/static/") => Route::File,
            _ => Route::Json(path.strip_prefix("/json/")?.parse().ok()?),
        })
    }
}

impl Arena {
    /// Makes the application for this folder, which has the files in `static/`.
    ///
    /// # Errors
    /// Returns the error of the folder.
    pub fn new(dataset: Arc<Dataset>, data: &Path) -> io::Result<Arena> {
        let rules = Rules::default().precompressed().without_listings();
        // The rules of the arena: each answer is read from the disk.
        let kept = FileCache { valid_for: Duration::ZERO, ..FileCache::default() };
        let files = StaticFiles::with_rules(data, rules)?.file_cache(kept);
        Ok(Arena { dataset, files, content: Vec::new() })
    }
}

impl Gateway for Arena {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        self.content.clear();
        match Route::of(environ) {
            Some(Route::Sum) => {
                let Some(sum) = sum(environ) else { return refuse(start_response) };
                write!(self.content, "{sum}")?;
                start_response.status(200).field("Content-Type", TEXT).send(&self.content)
            }
            Some(Route::Ok) => start_response.status(200).field("Content-Type", TEXT).send("ok"),
            Some(Route::Upload) => {
                let count = Count { content: environ.take_incoming(), bytes: 0 };
                Box::new(count).resume(start_response)
            }
            Some(Route::Json(count)) => {
                let Some(multiplier) = number(environ.query(), "m") else { return refuse(start_response) };
                self.dataset.write_page(count, multiplier, &mut self.content)?;
                start_response.status(200).field("Content-Type", JSON).send(&self.content)
            }
            Some(Route::File) => self.files.call(environ, start_response),
            None => start_response.status(404).field("Content-Type", TEXT).send("Not Found\n"),
        }
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        match Route::of(environ) {
            Some(Route::Sum) => Admission::Collect,
            Some(Route::Upload) => Admission::AsItComes,
            _ => Admission::FromHead,
        }
    }
}

/// The sum of `a`, `b` and the content, if that is there; none if one of them is no number.
fn sum(environ: &mut Environ<'_>) -> Option<i64> {
    let (a, b) = (number(environ.query(), "a")?, number(environ.query(), "b")?);
    let content = match environ.content().as_slice()?.trim_ascii() {
        b"" => 0,
        digits => str::from_utf8(digits).ok()?.parse().ok()?,
    };
    a.checked_add(b)?.checked_add(content)
}

/// A parameter that is a number.
fn number(query: &str, name: &str) -> Option<i64> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(other, _)| *other == name)?.1.parse().ok()
}

fn refuse(start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    start_response.status(400).field("Content-Type", TEXT).send("Bad Request\n")
}

/// Counts an upload as it comes, and answers with the number.
struct Count {
    content: IncomingContent,
    bytes: u64,
}

impl Later for Count {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        loop {
            match self.content.next_piece()? {
                Piece::Data(piece) => self.bytes += piece.len() as u64,
                Piece::Pending { until } => return Ok(start_response.later_boxed(until, self)),
                Piece::End => break,
            }
        }
        start_response.status(200).field("Content-Type", TEXT).send(self.bytes.to_string())
    }
}
