//! The gateway trait: one request in, one answer out. Every application implements it, and needs nothing
//! else.

use super::{Body, Environ, GatewayError, StartResponse};

/// The way in which an application takes a request whose content has not come with its head.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// The content is collected, all of it, and then the application is called.
    #[default]
    Collect,
    /// The application answers by the head alone: it is called at once, and finds no content.
    FromHead,
    /// The application is called at once, and reads the content [as it comes](super::IncomingContent): it takes that with
    /// [`Environ::take_incoming`]. Its answer may begin before the content ends.
    AsItComes,
}

/// An application, or an adapter to many of them.
///
/// Every function and closure of this shape is one. The server calls it from its only thread, one
/// request at a time, so it may own what it needs. To have it back when the server has ended, lend it:
/// `server.run(&mut application as &mut dyn Gateway)`.
pub trait Gateway {
    /// Answers one request.
    ///
    /// # Errors
    /// Returns any error of the application. It is answered with 500 and logged; its text never reaches the
    /// client.
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError>;

    /// Decides about a request by its head, before its content is collected. It is asked only if content is
    /// still to come: content that came whole with its head has cost nothing.
    ///
    /// With [`Admission::FromHead`], [`call`](Gateway::call) follows at once and gives the answer, whatever that is:
    /// 405, 413, 401, a page. Its environ is the same as here: `CONTENT_LENGTH` is what the head says (none
    /// where the content is chunked), the content is empty. The client is not asked for its content (no 100
    /// (Continue)), and none that comes is taken for a request: the answer says `Connection: close`, and what the client
    /// sends after it is thrown away for [`linger_timeout`](crate::limits::Limits::linger_timeout), so that the
    /// answer is not lost (RFC 9112 §9.6). A short answer is best: a client that sends everything before it reads
    /// takes a long one late, or never.
    ///
    /// A panic is a 500.
    ///
    /// ```
    /// use tidegate::gateway::Admission;
    /// use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};
    ///
    /// /// Takes content from those who know the word.
    /// struct Guarded;
    ///
    /// impl Guarded {
    ///     fn knows(environ: &Environ<'_>) -> bool {
    ///         environ.field("Authorization") == Some(b"Bearer ebb")
    ///     }
    /// }
    ///
    /// impl Gateway for Guarded {
    ///     fn admit(&self, environ: &Environ<'_>) -> Admission {
    ///         if Guarded::knows(environ) { Admission::Collect } else { Admission::FromHead }
    ///     }
    ///
    ///     fn call(
    ///         &mut self,
    ///         environ: &mut Environ<'_>,
    ///         start_response: StartResponse<'_>,
    ///     ) -> Result<Body, GatewayError> {
    ///         match Guarded::knows(environ) {
    ///             true => start_response.status(200).send(format!("{} bytes", environ.content().len())),
    ///             false => start_response.status(401).field("WWW-Authenticate", "Bearer").send(""),
    ///         }
    ///     }
    /// }
    /// # use tidegate::conversation::{ByHand, Wants};
    /// # let mut hand = ByHand::new(Guarded);
    /// # hand.receive(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    /// # assert!(hand.transmit().starts_with(b"HTTP/1.1 401 "));
    /// ```
    fn admit(&self, environ: &Environ<'_>) -> Admission {
        let _ = environ;
        Admission::Collect
    }
}

impl<F> Gateway for F
where
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Result<Body, GatewayError>,
{
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        self(environ, start_response)
    }
}

macro_rules! boxed_gateway {
    ($($boxed:ty),*) => {
        $(impl Gateway for $boxed {
            fn call(
                &mut self,
                environ: &mut Environ<'_>,
                start_response: StartResponse<'_>,
            ) -> Result<Body, GatewayError> {
                (**self).call(environ, start_response)
            }

            fn admit(&self, environ: &Environ<'_>) -> Admission {
                (**self).admit(environ)
            }
        })*
    };
}

// One by one: a general implementation for boxes would overlap with the one for closures.
boxed_gateway!(Box<dyn Gateway>, Box<dyn Gateway + Send>, &mut dyn Gateway);
