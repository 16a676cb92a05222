//! Basic authentication (RFC 7617).

use std::error::Error;
use std::fmt;
use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidegate::gateway::Admission;
use tidegate::message::{InvalidResponse, is_field_value};
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};

/// A gateway that passes requests on to another one only with a known name and its password.
///
/// Everybody else is answered 401, before content is read. The application finds the name in `REMOTE_USER` and `Basic`
/// in `AUTH_TYPE` (RFC 3875 §4.1), also when it judges a request by its head. The password travels as it is, so the
/// connection must be an encrypted one: put the server behind a proxy that speaks TLS.
///
/// Nothing is told by how long the comparison takes, but for the length of what was sent. How often somebody may try is
/// not bounded.
///
/// ```
/// use tidegate::{Environ, StartResponse};
/// use tidegate_middleware::BasicAuth;
///
/// let site = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
///     start_response.status(200).send(environ.get("REMOTE_USER").unwrap_or_default())
/// };
/// let site = BasicAuth::new(site, "the harbour")?.user("ebb", "and flow")?;
/// # let mut hand = tidegate::conversation::ByHand::new(site);
/// # hand.receive(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ZWJiOmFuZCBmbG93\r\n\r\n");
/// # assert!(hand.transmit_all().ends_with(b"\r\n\r\nebb"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BasicAuth<G> {
    gateway: G,
    /// The value of `WWW-Authenticate`.
    challenge: String,
    /// Name and password of each user, with a colon between them, as they are sent.
    users: Vec<Vec<u8>>,
}

/// The error that a name or password cannot be sent: a colon in the name, or a control character (RFC 7617
/// §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUser;

impl fmt::Display for InvalidUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name with a colon in it, or a control character in name or password")
    }
}

impl Error for InvalidUser {}

impl<G> BasicAuth<G> {
    /// Protects this gateway, for a realm, which a browser shows when it asks for the password. No user is
    /// known yet.
    ///
    /// # Errors
    /// Returns an error when the realm contains a control character.
    pub fn new(gateway: G, realm: &str) -> Result<BasicAuth<G>, InvalidResponse> {
        if !is_field_value(realm.as_bytes()) {
            return Err(InvalidResponse::FieldValue("WWW-Authenticate".to_string()));
        }
        let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
        let challenge = format!("Basic realm=\"{quoted}\", charset=\"UTF-8\"");
        Ok(BasicAuth { gateway, challenge, users: Vec::new() })
    }

    /// Adds a user.
    ///
    /// # Errors
    /// Returns [`InvalidUser`] when the name or the password cannot be sent.
    pub fn user(mut self, name: &str, password: &str) -> Result<BasicAuth<G>, InvalidUser> {
        if name.contains(':') || [name, password].concat().contains(|char: char| char.is_control()) {
            return Err(InvalidUser);
        }
        self.users.push([name, ":", password].concat().into_bytes());
        Ok(self)
    }

    /// Returns the user who is asking, if the password is right.
    fn user_of(&self, environ: &Environ<'_>) -> Option<Vec<u8>> {
        let mut fields = environ.fields().all("Authorization");
        // Two are none: which of them somebody on the way has looked at is not known.
        let given = fields.next().filter(|_| fields.next().is_none()).and_then(credentials)?;
        // All of them, so that nothing is told by who comes first.
        let is_known = self.users.iter().fold(false, |is_known, user| is_known | is_equal(user, &given));
        is_known.then_some(given).map(|mut given| {
            given.truncate(given.iter().position(|&byte| byte == b':').unwrap_or(0));
            given
        })
    }
}

impl<G: Gateway> Gateway for BasicAuth<G> {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let Some(user) = self.user_of(environ) else {
            return start_response
                .status(401)
                .field("WWW-Authenticate", &self.challenge)
                .field("Content-Type", "text/plain; charset=utf-8")
                .send("401 Unauthorized\n");
        };
        tell(environ, user);
        self.gateway.call(environ, start_response)
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        let Some(user) = self.user_of(environ) else {
            return Admission::FromHead;
        };
        let mut environ = environ.without_content();
        tell(&mut environ, user);
        self.gateway.admit(&environ)
    }
}

// Without the passwords.
impl<G: fmt::Debug> fmt::Debug for BasicAuth<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth")
            .field("gateway", &self.gateway)
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}

fn tell(environ: &mut Environ<'_>, user: Vec<u8>) {
    environ.set("REMOTE_USER", user);
    environ.set("AUTH_TYPE", "Basic");
}

/// Decodes name and password of an `Authorization` field, with a colon between them.
fn credentials(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked(b"Basic".len())?;
    let encoded = rest.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(b"Basic"))?;
    STANDARD.decode(encoded.trim_ascii()).ok()
}

/// Whether both are equal, compared in a time that depends on the length of `given` alone.
fn is_equal(known: &[u8], given: &[u8]) -> bool {
    let differs = given.iter().enumerate().fold(known.len() ^ given.len(), |differs, (at, byte)| {
        // Nobody who is known is empty: there is a colon.
        differs | usize::from(byte ^ known[at % known.len()])
    });
    black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_of_the_scheme_basic() {
        for good in ["Basic YTpi", "BASIC YTpi", "basic   YTpi"] {
            assert_eq!(credentials(good.as_bytes()).as_deref(), Some(&b"a:b"[..]), "{good}");
        }
        for bad in [
            "",
            "Basic",
            "BasicYTpi",
            "Basic YTpi YTpi",
            "Bearer YTpi",
            "Basic\tYTpi",
            "Basic YTp",
            "Basic YTq=",
        ] {
            assert_eq!(credentials(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn only_the_same_is_equal() {
        assert!(is_equal(b"a:b", b"a:b"));
        for other in ["", "a", "a:", "a:c", "a:ba:b", "a:bb", "A:b"] {
            assert!(!is_equal(b"a:b", other.as_bytes()), "{other}");
        }
    }
}
