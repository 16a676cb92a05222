//! Lets pages of other origins read the answers (the CORS protocol of WHATWG's Fetch standard).

use tidegate::gateway::{Admission, Body, Environ, Gateway, GatewayError, StartResponse};
use tidegate::message::InvalidResponse;
use tidegate_middleware::WithFields;

/// How long a browser may keep the answer to its question, in seconds. A day, of which browsers take two hours.
const KEPT_FOR: &str = "86400";

/// A gateway whose answers pages of an origin may read.
pub struct Cors {
    gateway: WithFields<Box<dyn Gateway>>,
    origin: String,
}

impl Cors {
    /// Lets pages of this origin read the answers of a gateway; `*` is all.
    ///
    /// # Errors
    /// Returns an error when the origin cannot be the value of a field.
    pub fn new(gateway: Box<dyn Gateway>, origin: &str) -> Result<Cors, InvalidResponse> {
        let gateway = WithFields::new(gateway)
            .set("Access-Control-Allow-Origin", origin)?
            .set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag")?;
        Ok(Cors { gateway, origin: origin.to_string() })
    }
}

impl Gateway for Cors {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let is_question = environ.field("Access-Control-Request-Method").is_some();
        if environ.method().as_str() != "OPTIONS" || !is_question {
            return self.gateway.call(environ, start_response);
        }
        start_response
            .status(204)
            .field("Access-Control-Allow-Origin", &self.origin)
            .field("Access-Control-Allow-Methods", "GET, HEAD")
            .field("Access-Control-Allow-Headers", "Range, If-Match, If-None-Match, If-Range, Authorization")
            .field("Access-Control-Max-Age", KEPT_FOR)
            .finish()
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        self.gateway.admit(environ)
    }
}
