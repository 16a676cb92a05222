//! Names and passwords of a file (`--auth`): Basic authentication (RFC 7617) with bcrypt.
//!
//! To check a password takes as long as whoever made its hash wanted, a tenth of a second or more. So a thread does it,
//! and a client whose password was right once is known from then on, by a keyed hash of what it has sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tidegate::gateway::{
    Admission, Body, Environ, Gateway, GatewayError, Later, OwnedEnviron, ResponseHead, StartResponse,
};

/// Most passwords that are checked at a time; whoever comes then gets 503 and may come again. 4: they take all
/// processors of a small machine, and nobody can make them take more.
const CHECKS_MAX: usize = 4;
/// Most right credentials that are remembered; the oldest go first. 1,024: more people than share a folder.
const KNOWN_MAX: usize = 1_024;
/// Longest name and password together, in bytes. 1,024: bcrypt looks at 72 of a password.
const CREDENTIALS_MAX: usize = 1_024;
const CHALLENGE: &str = "Basic realm=\"files\", charset=\"UTF-8\"";

/// The users of a file.
pub struct Users {
    /// Names, and the hashes of their passwords.
    users: Vec<(String, String)>,
    /// Two keys, so that nobody finds other credentials with the same hashes.
    keys: [RandomState; 2],
    known: Mutex<VecDeque<Fingerprint>>,
    checks: AtomicUsize,
}

/// The keyed hashes of credentials that were right.
type Fingerprint = [u64; 2];

impl Users {
    /// Reads lines as `htpasswd -B` writes them, `name:$2y$…`.
    ///
    /// # Errors
    /// Returns a sentence about the first line that is none.
    pub fn parse(text: &str) -> Result<Users, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let users = lines.map(|(at, line)| {
            let user = line.split_once(':').filter(|(_, hash)| hash.parse::<bcrypt::HashParts>().is_ok());
            let (name, hash) = user.ok_or_else(|| {
                format!(
                    "line {} of the file of --auth is not NAME:HASH with bcrypt: htpasswd -B makes such",
                    at + 1
                )
            })?;
            Ok((name.to_string(), hash.to_string()))
        });
        let users: Vec<_> = users.collect::<Result<_, String>>()?;
        if users.is_empty() {
            return Err("the file of --auth names nobody".to_string());
        }
        let keys = [RandomState::new(), RandomState::new()];
        Ok(Users { users, keys, known: Mutex::default(), checks: AtomicUsize::new(0) })
    }

    fn fingerprint(&self, credentials: &[u8]) -> Fingerprint {
        [self.keys[0].hash_one(credentials), self.keys[1].hash_one(credentials)]
    }

    fn is_known(&self, credentials: &[u8]) -> bool {
        let fingerprint = self.fingerprint(credentials);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&fingerprint)
    }

    /// Checks a password, which takes long: also that of a name that nobody has.
    fn check(&self, credentials: &[u8]) -> bool {
        let colon = credentials.iter().position(|&byte| byte == b':').unwrap_or(credentials.len());
        let (name, password) = (&credentials[..colon], credentials.get(colon + 1..).unwrap_or_default());
        let user = self.users.iter().find(|(known, _)| known.as_bytes() == name);
        let (_, hash) = user.unwrap_or(&self.users[0]);
        let is_right = bcrypt::verify(password, hash).unwrap_or(false) && user.is_some();
        if is_right {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.truncate(KNOWN_MAX - 1);
            known.push_front(self.fingerprint(credentials));
        }
        is_right
    }
}

/// A gateway for those who know a name and its password.
pub struct Auth {
    gateway: Rc<RefCell<Box<dyn Gateway>>>,
    users: Arc<Users>,
}

impl Auth {
    /// Protects a gateway.
    pub fn new(gateway: Box<dyn Gateway>, users: Arc<Users>) -> Auth {
        Auth { gateway: Rc::new(RefCell::new(gateway)), users }
    }
}

impl Gateway for Auth {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let Some(credentials) = credentials(environ) else {
            return challenge(start_response);
        };
        if self.users.is_known(&credentials) {
            return let_in(&self.gateway, environ, &credentials, start_response);
        }
        let wakeup = environ.wakeup();
        let Some(check) = Check::begin(self.users.clone(), credentials.clone(), move || wakeup.wake()) else {
            return end(start_response.status(503).field("Retry-After", "1"), "503 Service Unavailable\n");
        };
        let (gateway, environ) = (self.gateway.clone(), environ.detach());
        Ok(start_response.later(None, Waiting { gateway, environ, credentials, check }))
    }

    fn admit(&self, _: &Environ<'_>) -> Admission {
        // Files want no content.
        Admission::FromHead
    }
}

/// A client whose password is being checked.
struct Waiting {
    gateway: Rc<RefCell<Box<dyn Gateway>>>,
    environ: OwnedEnviron,
    credentials: Vec<u8>,
    check: Arc<Check>,
}

impl Later for Waiting {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let verdict = *self.check.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Verdict::Pending => Ok(start_response.later_boxed(None, self)),
            Verdict::Wrong => challenge(start_response),
            Verdict::Right => {
                let Waiting { gateway, environ, credentials, .. } = &mut *self;
                environ.with(|environ| let_in(gateway, environ, credentials, start_response))
            }
        }
    }
}

/// A password that is checked on a thread.
struct Check {
    verdict: Mutex<Verdict>,
}

#[derive(Clone, Copy)]
enum Verdict {
    Pending,
    Right,
    Wrong,
}

impl Check {
    /// Begins to check a password; not if too many are being checked, or if the system has no thread left.
    fn begin(
        users: Arc<Users>,
        credentials: Vec<u8>,
        wake: impl FnOnce() + Send + 'static,
    ) -> Option<Arc<Check>> {
        let is_free = |checks| (checks < CHECKS_MAX).then_some(checks + 1);
        users.checks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_free).ok()?;
        let check = Arc::new(Check { verdict: Mutex::new(Verdict::Pending) });
        let (of_thread, users_of_thread) = (check.clone(), users.clone());
        let work = move || {
            let verdict = if users_of_thread.check(&credentials) { Verdict::Right } else { Verdict::Wrong };
            *of_thread.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
            users_of_thread.checks.fetch_sub(1, Ordering::Relaxed);
            wake();
        };
        match thread::Builder::new().name("password".to_string()).spawn(work) {
            Ok(_) => Some(check),
            Err(error) => {
                users.checks.fetch_sub(1, Ordering::Relaxed);
                log::warn!("there is no thread to check a password: {error}");
                None
            }
        }
    }
}

/// Passes a request on, with the name of who is asking.
fn let_in(
    gateway: &RefCell<Box<dyn Gateway>>,
    environ: &mut Environ<'_>,
    credentials: &[u8],
    start_response: StartResponse<'_>,
) -> Result<Body, GatewayError> {
    let name = credentials.split(|&byte| byte == b':').next().unwrap_or_default();
    environ.set("REMOTE_USER", name);
    environ.set("AUTH_TYPE", "Basic");
    gateway.borrow_mut().call(environ, start_response)
}

fn challenge(start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    end(start_response.status(401).field("WWW-Authenticate", CHALLENGE), "401 Unauthorized\n")
}

fn end(head: ResponseHead<'_>, content: &str) -> Result<Body, GatewayError> {
    head.field("Content-Type", "text/plain; charset=utf-8").send(content)
}

/// Decodes name and password, with a colon between them. Two fields are none: which of them somebody on the way has looked
/// at is not known.
fn credentials(environ: &Environ<'_>) -> Option<Vec<u8>> {
    let mut fields = environ.fields().all("Authorization");
    let value = fields.next().filter(|_| fields.next().is_none())?;
    let (scheme, encoded) = value.split_at_checked("Basic ".len())?;
    let is_ours = scheme.eq_ignore_ascii_case(b"Basic ") && encoded.len() <= CREDENTIALS_MAX / 3 * 4;
    BASE64_STANDARD.decode(encoded.trim_ascii()).ok().filter(|decoded| is_ours && decoded.contains(&b':'))
}
