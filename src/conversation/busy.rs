//! A stand-in that answers clients which have waited in vain for a gateway that takes no request.

use crate::gateway::{Admission, Body, Environ, Gateway, GatewayError, StartResponse};
use crate::protocol::{ProtocolError, RETRY_AFTER_SECONDS};

/// Stands in for a gateway that takes no request: answers each with 503 and ends the connection.
///
/// So a request that lies unread is understood as any other, and its answer has the right framing and a record in the
/// access log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Busy;

impl Gateway for Busy {
    /// Asks for no content, since every request gets the same answer.
    fn admit(&self, _environ: &Environ<'_>) -> Admission {
        Admission::FromHead
    }

    fn call(
        &mut self,
        _environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let error = ProtocolError::GatewayBusy;
        start_response
            .status(error.status().code())
            .field("Content-Type", "text/plain; charset=utf-8")
            .field("Retry-After", RETRY_AFTER_SECONDS)
            .field("Connection", "close")
            .send(error.content())
    }
}
