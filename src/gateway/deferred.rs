//! An answer from another thread, ready-made.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Body, GatewayError, Later, Misuse, StartResponse, Wakeup};
use crate::now::Moment;

/// A whole response that owns its parts, so that it can cross threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    code: u16,
    fields: Vec<(String, Vec<u8>)>,
    content: Vec<u8>,
}

impl Response {
    /// Makes a response without fields and content.
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

    /// Sends the response as the answer.
    ///
    /// # Errors
    /// Returns [`Misuse`] when status or fields are invalid.
    pub fn send(self, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let head = start_response.status(self.code);
        self.fields.iter().fold(head, |head, (name, value)| head.field(name, value)).send(self.content)
    }
}

/// The state that the two halves of a deferred answer share.
#[derive(Debug)]
enum Slot {
    /// No answer was given yet.
    Waiting {
        /// Whether the client sends nothing more; it may have left.
        client_has_finished: bool,
    },
    /// The response was given, and not collected yet.
    Answered(Response),
    /// The responder was dropped without an answer.
    Broken,
    /// The client is gone, or was answered: nobody waits any more.
    Closed,
}

/// A promise of an answer in two halves: the [`Responder`] goes to another thread, the
/// [`DeferredAnswer`] waits for it here.
///
/// ```
/// use tidegate::gateway::{Response, deferred};
/// use tidegate::{Body, Environ, GatewayError, StartResponse};
///
/// fn gateway(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
///     let (responder, answer) = deferred(environ.wakeup());
///     std::thread::spawn(move || responder.respond(Response::new(200).content("slow")));
///     Ok(answer.wait(start_response))
/// }
/// # fn is_gateway(_: impl tidegate::Gateway) {}
/// # is_gateway(gateway);
/// ```
pub fn deferred(wakeup: Wakeup) -> (Responder, DeferredAnswer) {
    let slot = Arc::new(Mutex::new(Slot::Waiting { client_has_finished: false }));
    (Responder { slot: slot.clone(), wakeup }, DeferredAnswer { slot, until: None })
}

/// Opens the slot; a thread that panicked meanwhile left it whole.
fn open(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The half of a [`deferred`] answer that gives it, from any thread. Dropped unused, it makes the answer a 500.
#[derive(Debug)]
pub struct Responder {
    slot: Arc<Mutex<Slot>>,
    wakeup: Wakeup,
}

impl Responder {
    /// Gives the answer. If the client is gone, it is discarded.
    pub fn respond(self, response: Response) {
        let mut slot = open(&self.slot);
        if let Slot::Waiting { .. } = *slot {
            *slot = Slot::Answered(response);
        }
    }

    /// Whether nobody waits for the answer any more: the connection is broken, or it took too long.
    pub fn is_abandoned(&self) -> bool {
        matches!(*open(&self.slot), Slot::Closed)
    }

    /// Whether the client has ended its side of the connection: it has left, or still waits, which
    /// cannot be told apart. Work that only this client wants may well be given up.
    pub fn client_has_finished(&self) -> bool {
        matches!(*open(&self.slot), Slot::Closed | Slot::Waiting { client_has_finished: true })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        let mut slot = open(&self.slot);
        if let Slot::Waiting { .. } = *slot {
            *slot = Slot::Broken;
        }
        drop(slot);
        self.wakeup.wake();
    }
}

/// The half of a [`deferred`] answer that waits for it, on the event loop.
#[derive(Debug)]
pub struct DeferredAnswer {
    slot: Arc<Mutex<Slot>>,
    until: Option<Moment>,
}

impl DeferredAnswer {
    /// Sets the moment at which the client gets 504 (Gateway Timeout) and the responder is abandoned. By default there is
    /// none, and the client waits for as long as it likes.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tidegate::gateway::{Response, deferred};
    /// # use tidegate::{Body, Environ, GatewayError, StartResponse};
    /// fn gateway(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    ///     let (responder, answer) = deferred(environ.wakeup());
    ///     std::thread::spawn(move || responder.respond(Response::new(200).content("slow")));
    ///     Ok(answer.until(environ.now() + Duration::from_secs(10)).wait(start_response))
    /// }
    /// # fn is_gateway(_: impl tidegate::Gateway) {}
    /// # is_gateway(gateway);
    /// ```
    pub fn until(mut self, moment: Moment) -> DeferredAnswer {
        self.until = Some(moment);
        self
    }

    /// Answers the request with whatever the responder gives, once it does.
    pub fn wait(self, start_response: StartResponse<'_>) -> Body {
        start_response.later(None, self)
    }
}

impl Later for DeferredAnswer {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let is_too_late = self.until.is_some_and(|until| until <= start_response.now());
        let mut slot = open(&self.slot);
        if let (Slot::Waiting { .. }, false) = (&*slot, is_too_late) {
            drop(slot);
            return Ok(start_response.later_boxed(None, self));
        }
        let given = mem::replace(&mut *slot, Slot::Closed);
        drop(slot);
        match given {
            Slot::Answered(response) => response.send(start_response),
            Slot::Waiting { .. } => start_response
                .status(504)
                .field("Content-Type", "text/plain; charset=utf-8")
                .send("504 Gateway Timeout: the application took too long.\n"),
            Slot::Broken | Slot::Closed => Err(Misuse::Abandoned.into()),
        }
    }

    fn deadline(&self) -> Option<Moment> {
        self.until
    }

    fn client_has_finished(&mut self) {
        if let Slot::Waiting { client_has_finished } = &mut *open(&self.slot) {
            *client_has_finished = true;
        }
    }
}

impl Drop for DeferredAnswer {
    fn drop(&mut self) {
        *open(&self.slot) = Slot::Closed;
    }
}
