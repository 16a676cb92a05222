//! An answer from another thread, ready-made.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Body, GatewayError, Later, Misuse, StartResponse, Wakeup};

/// A whole response that owns its parts, so that it can cross threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    code: u16,
    fields: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
}

impl Response {
    /// A response without fields and content.
    pub fn new(code: u16) -> Response {
        Response { code, fields: Vec::new(), content: Vec::new() }
    }

    /// Adds a field line.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Response {
        self.fields.push((name.to_string(), value.as_ref().to_vec()));
        self
    }

    /// Sets the content.
    pub fn content(mut self, content: impl Into<Vec<u8>>) -> Response {
        self.content = content.into();
        self
    }

    /// Gives it as the answer.
    ///
    /// # Errors
    /// [`Misuse`] of status or fields.
    pub fn send(self, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let head = start_response.status(self.code);
        self.fields.iter().fold(head, |head, (name, value)| head.field(name, value)).send(self.content)
    }
}

/// What the two halves of a deferred answer share.
enum Slot {
    /// Nobody has said anything yet.
    Waiting,
    /// The response is there, and not yet collected.
    Answered(Response),
    /// The responder was dropped without a word.
    Broken,
    /// The client is gone, or was answered: nobody waits any more.
    Closed,
}

/// A promise of an answer in two halves: the [`Responder`] goes to another thread, the
/// [`DeferredAnswer`] to [`StartResponse::later`].
///
/// ```
/// use tidegate::gateway::{Response, deferred};
/// use tidegate::{Body, Environ, GatewayError, StartResponse};
///
/// fn gateway(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
///     let (responder, answer) = deferred(environ.wakeup());
///     std::thread::spawn(move || responder.respond(Response::new(200).content("slow")));
///     Ok(start_response.later(None, answer))
/// }
/// # fn is_gateway(_: impl tidegate::Gateway) {}
/// # is_gateway(gateway);
/// ```
pub fn deferred(wakeup: Wakeup) -> (Responder, DeferredAnswer) {
    let slot = Arc::new(Mutex::new(Slot::Waiting));
    (Responder { slot: slot.clone(), wakeup }, DeferredAnswer { slot })
}

/// Opens the slot; a thread that panicked meanwhile left it whole.
fn open(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The half that answers. Dropped unused, it makes the answer a 500.
pub struct Responder {
    slot: Arc<Mutex<Slot>>,
    wakeup: Wakeup,
}

impl Responder {
    /// Gives the answer. Whoever asked may be gone; then it is thrown away.
    pub fn respond(self, response: Response) {
        let mut slot = open(&self.slot);
        if let Slot::Waiting = *slot {
            *slot = Slot::Answered(response);
        }
    }

    /// Whether nobody waits for the answer any more: the connection is gone.
    pub fn is_abandoned(&self) -> bool {
        matches!(*open(&self.slot), Slot::Closed)
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let mut slot = open(&self.slot);
        if let Slot::Waiting = *slot {
            *slot = Slot::Broken;
        }
        drop(slot);
        self.wakeup.wake();
    }
}

/// The half that the server waits for.
pub struct DeferredAnswer {
    slot: Arc<Mutex<Slot>>,
}

impl Later for DeferredAnswer {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let mut slot = open(&self.slot);
        let given = match *slot {
            Slot::Waiting => None,
            _ => Some(mem::replace(&mut *slot, Slot::Closed)),
        };
        drop(slot);
        match given {
            None | Some(Slot::Waiting) => Ok(start_response.later_boxed(None, self)),
            Some(Slot::Answered(response)) => response.send(start_response),
            Some(Slot::Broken | Slot::Closed) => Err(Misuse::Abandoned.into()),
        }
    }
}

impl Drop for DeferredAnswer {
    fn drop(&mut self) {
        *open(&self.slot) = Slot::Closed;
    }
}
