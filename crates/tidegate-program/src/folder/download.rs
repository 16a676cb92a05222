//! Tells browsers to keep a file instead of showing it, where a link asks for that: `/report.pdf?download`.

use tidegate::gateway::middleware::{Filter, Passage, PassingHead};
use tidegate::gateway::{Admission, Body, Environ, Gateway, GatewayError, StartResponse};
use tidegate_files::StaticFiles;

/// The query that asks for a copy to keep.
const QUERY: &str = "download";

/// Files that can be asked for as a copy to keep.
pub struct Download(pub StaticFiles);

impl Gateway for Download {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        match environ.query() {
            QUERY => start_response.through(ToKeep, |start_response| self.0.call(environ, start_response)),
            _ => self.0.call(environ, start_response),
        }
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        self.0.admit(environ)
    }
}

struct ToKeep;

impl Filter for ToKeep {
    fn head(&mut self, head: &mut PassingHead<'_>) -> Passage {
        // The name is the last segment of the path (RFC 6266 §4.3), so none has to be said, nor quoted.
        head.field("Content-Disposition", b"attachment");
        Passage::Unseen
    }
}
