//! Adds fields to every answer.

use std::sync::Arc;

use tidegate::gateway::Admission;
use tidegate::gateway::middleware::{Filter, Passage, PassingHead};
use tidegate::message::{FieldRole, InvalidResponse};
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};

/// A gateway that adds fields to every answer of another one, also to the 500 for its errors.
///
/// ```
/// use tidegate::{Environ, StartResponse};
/// use tidegate_middleware::WithFields;
///
/// let site = |_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("Hello");
/// let site = WithFields::new(site)
///     .set("X-Content-Type-Options", "nosniff")?
///     .add("Link", "</style.css>; rel=preload")?;
/// # let mut hand = tidegate::conversation::ByHand::new(site);
/// # hand.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
/// # let answer = String::from_utf8(hand.transmit_all()).unwrap();
/// # assert!(answer.contains("\r\nX-Content-Type-Options: nosniff\r\nLink: </style.css>; rel=preload\r\n"));
/// # Ok::<(), tidegate::message::InvalidResponse>(())
/// ```
#[derive(Clone, Debug)]
pub struct WithFields<G> {
    gateway: G,
    lines: Arc<Vec<Line>>,
}

#[derive(Clone, Debug)]
struct Line {
    name: String,
    value: Vec<u8>,
    /// Whether the field replaces those that the application gives.
    is_set: bool,
}

impl<G> WithFields<G> {
    /// Wraps this gateway, without a field.
    pub fn new(gateway: G) -> WithFields<G> {
        WithFields { gateway, lines: Arc::default() }
    }

    /// Adds a field line, beside those of the application.
    ///
    /// # Errors
    /// Returns [`InvalidResponse`] when the name or the value is invalid, or when the field is the server's.
    pub fn add(self, name: &str, value: impl AsRef<[u8]>) -> Result<WithFields<G>, InvalidResponse> {
        self.with(name, value.as_ref(), false)
    }

    /// Adds a field line in place of those that the application gives.
    ///
    /// # Errors
    /// Returns the same errors as [`WithFields::add`].
    pub fn set(self, name: &str, value: impl AsRef<[u8]>) -> Result<WithFields<G>, InvalidResponse> {
        self.with(name, value.as_ref(), true)
    }

    fn with(mut self, name: &str, value: &[u8], is_set: bool) -> Result<WithFields<G>, InvalidResponse> {
        match FieldRole::of(name, value)? {
            FieldRole::ContentLength(_) | FieldRole::Connection => {
                return Err(InvalidResponse::HopByHopField(name.to_string()));
            }
            FieldRole::Plain | FieldRole::Date | FieldRole::Server => {}
        }
        let line = Line { name: name.to_string(), value: value.to_vec(), is_set };
        Arc::make_mut(&mut self.lines).push(line);
        Ok(self)
    }
}

impl<G: Gateway> Gateway for WithFields<G> {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let filter = AddLines(self.lines.clone());
        start_response.through(filter, |start_response| self.gateway.call(environ, start_response))
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        self.gateway.admit(environ)
    }
}

struct AddLines(Arc<Vec<Line>>);

impl AddLines {
    fn add_to(&self, head: &mut PassingHead<'_>) {
        self.0.iter().for_each(|line| head.field(&line.name, &line.value));
    }
}

impl Filter for AddLines {
    fn field(&mut self, name: &str, _value: &[u8]) -> bool {
        !self.0.iter().any(|line| line.is_set && line.name.eq_ignore_ascii_case(name))
    }

    fn head(&mut self, head: &mut PassingHead<'_>) -> Passage {
        self.add_to(head);
        Passage::Unseen
    }

    fn failure(&mut self, head: &mut PassingHead<'_>) {
        self.add_to(head);
    }
}
