//! Names and passwords of a file (`--auth`): Basic authentication (RFC 7617) with bcrypt.
//!
//! To check a password takes as long as whoever made its hash wanted, a tenth of a second or more. So threads do it, which
//! are there only while there is something to check, and a client whose password was right once is known from then on, by
//! a keyed hash of what it has sent. Clients that send the same at a time, as a browser does with a page, share one check.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tidegate::gateway::{
    Admission, Body, Environ, Gateway, GatewayError, Later, OwnedEnviron, ResponseHead, StartResponse, Wakeup,
};
use tidegate_status::PoolState;

/// Most passwords that are checked at a time. 4: they take all processors of a small machine, and nobody can make them
/// take more.
const CHECKS_MAX: usize = 4;
/// Most passwords that wait to be checked; whoever comes then gets 503 and may come again. 32: at a tenth of a second
/// each, and four at a time, the last has its turn within a second.
const QUEUED_MAX: usize = 32;
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
    desk: Mutex<Desk>,
}

/// The state that event loops and checking threads share.
#[derive(Default)]
struct Desk {
    /// Credentials that were right, the latest first.
    known: VecDeque<Fingerprint>,
    /// Checks on which a thread is at work.
    begun: Vec<Arc<Check>>,
    /// Checks that wait for a thread, for as long as a client waits for them.
    queued: VecDeque<Weak<Check>>,
    threads: usize,
}

/// The standing of a client that has sent credentials.
enum Standing {
    /// The credentials were right before.
    Known,
    /// The credentials are being checked, or will be.
    Awaited(Arc<Check>),
    /// Too many wait already, or the system has no thread left.
    Busy,
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
        Ok(Users { users, keys, desk: Mutex::default() })
    }

    /// The state of the threads that check passwords. They are there only while somebody waits for one.
    pub fn state(&self) -> PoolState {
        let desk = lock(&self.desk);
        let waiting = desk.queued.iter().filter(|check| check.strong_count() > 0).count();
        PoolState { threads: desk.threads, busy: desk.begun.len(), waiting }
    }

    fn fingerprint(&self, credentials: &[u8]) -> Fingerprint {
        [self.keys[0].hash_one(credentials), self.keys[1].hash_one(credentials)]
    }

    /// Asks about credentials. The client is woken once they were checked, if that is needed.
    fn ask(self: &Arc<Users>, credentials: &[u8], wakeup: impl FnOnce() -> Wakeup) -> Standing {
        let fingerprint = self.fingerprint(credentials);
        let mut desk = lock(&self.desk);
        if desk.known.contains(&fingerprint) {
            return Standing::Known;
        }
        let queued = desk.queued.iter().filter_map(Weak::upgrade);
        let mut checks = desk.begun.iter().cloned().chain(queued);
        if let Some(check) = checks.find(|check| check.fingerprint == fingerprint) {
            check.wake(wakeup());
            return Standing::Awaited(check);
        }
        drop(checks);
        if desk.queued.len() >= QUEUED_MAX {
            desk.queued.retain(|check| check.strong_count() > 0);
        }
        if desk.queued.len() >= QUEUED_MAX || !self.has_thread(&mut desk) {
            return Standing::Busy;
        }
        let verdict = Mutex::new(Verdict::Pending(vec![wakeup()]));
        let check = Arc::new(Check { fingerprint, credentials: credentials.to_vec(), verdict });
        desk.queued.push_back(Arc::downgrade(&check));
        Standing::Awaited(check)
    }

    /// Begins another thread, unless there are enough. Returns whether there is any.
    fn has_thread(self: &Arc<Users>, desk: &mut Desk) -> bool {
        if desk.threads < CHECKS_MAX {
            let users = self.clone();
            match thread::Builder::new().name("password".to_string()).spawn(move || users.work()) {
                Ok(_) => desk.threads += 1,
                Err(error) => log::warn!("there is no thread to check a password: {error}"),
            }
        }
        desk.threads > 0
    }

    /// Checks passwords until none waits: the life of a thread.
    fn work(&self) {
        while let Some(check) = self.next() {
            // Whatever happens, the thread stays, and who waits is told.
            let is_right =
                catch_unwind(AssertUnwindSafe(|| self.is_right(&check.credentials))).unwrap_or(false);
            let mut desk = lock(&self.desk);
            desk.begun.retain(|other| !Arc::ptr_eq(other, &check));
            if is_right {
                desk.known.truncate(KNOWN_MAX - 1);
                desk.known.push_front(check.fingerprint);
            }
            drop(desk);
            check.settle(if is_right { Verdict::Right } else { Verdict::Wrong });
        }
    }

    /// Takes the next check that a client waits for; if there is none, the thread ends.
    fn next(&self) -> Option<Arc<Check>> {
        let mut desk = lock(&self.desk);
        while let Some(check) = desk.queued.pop_front() {
            if let Some(check) = check.upgrade() {
                desk.begun.push(check.clone());
                return Some(check);
            }
        }
        desk.threads -= 1;
        None
    }

    /// Checks a password, which takes long: also that of a name that nobody has.
    fn is_right(&self, credentials: &[u8]) -> bool {
        let colon = credentials.iter().position(|&byte| byte == b':').unwrap_or(credentials.len());
        let (name, password) = (&credentials[..colon], credentials.get(colon + 1..).unwrap_or_default());
        let user = self.users.iter().find(|(known, _)| known.as_bytes() == name);
        let (_, hash) = user.unwrap_or(&self.users[0]);
        bcrypt::verify(password, hash).unwrap_or(false) && user.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        match self.users.ask(&credentials, || environ.wakeup()) {
            Standing::Known => let_in(&self.gateway, environ, &credentials, start_response),
            Standing::Awaited(check) => {
                let (gateway, environ) = (self.gateway.clone(), environ.detach());
                Ok(start_response.later(None, Waiting { gateway, environ, check }))
            }
            Standing::Busy => {
                end(start_response.status(503).field("Retry-After", "1"), "503 Service Unavailable\n")
            }
        }
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
    check: Arc<Check>,
}

impl Later for Waiting {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let is_right = match *lock(&self.check.verdict) {
            Verdict::Pending(_) => None,
            Verdict::Right => Some(true),
            Verdict::Wrong => Some(false),
        };
        match is_right {
            None => Ok(start_response.later_boxed(None, self)),
            Some(false) => challenge(start_response),
            Some(true) => {
                let Waiting { gateway, environ, check } = &mut *self;
                environ.with(|environ| let_in(gateway, environ, &check.credentials, start_response))
            }
        }
    }
}

/// Credentials that are checked on a thread.
struct Check {
    fingerprint: Fingerprint,
    credentials: Vec<u8>,
    verdict: Mutex<Verdict>,
}

enum Verdict {
    /// There is no verdict yet, and these clients wait for it.
    Pending(Vec<Wakeup>),
    Right,
    Wrong,
}

impl Check {
    /// Wakes one more client when there is a verdict.
    fn wake(&self, wakeup: Wakeup) {
        match &mut *lock(&self.verdict) {
            Verdict::Pending(waiting) => waiting.push(wakeup),
            Verdict::Right | Verdict::Wrong => wakeup.wake(),
        }
    }

    fn settle(&self, verdict: Verdict) {
        let before = std::mem::replace(&mut *lock(&self.verdict), verdict);
        if let Verdict::Pending(waiting) = before {
            waiting.iter().for_each(Wakeup::wake);
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
