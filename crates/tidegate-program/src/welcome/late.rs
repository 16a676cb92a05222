//! An answer that comes two seconds later, while others are served.

use std::time::Duration;

use tidegate::gateway::{Body, GatewayError, Later, StartResponse};
use tidegate::now::Moment;

use super::{page, page_head};

const DELAY: Duration = Duration::from_secs(2);

/// An answer that is due at a moment.
pub struct LateAnswer {
    due: Moment,
}

impl LateAnswer {
    /// Makes an answer to a request that came now.
    pub fn new(now: Moment) -> LateAnswer {
        LateAnswer { due: now + DELAY }
    }

    /// Leaves itself with the server, to be asked when it is due.
    pub fn wait(self, start_response: StartResponse<'_>) -> Body {
        start_response.later(Some(self.due), self)
    }
}

impl Later for LateAnswer {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        // It may have been woken for nothing.
        if start_response.now() < self.due {
            return Ok(start_response.later_boxed(Some(self.due), self));
        }
        page_head(start_response, 200).send(page::late(DELAY))
    }
}
