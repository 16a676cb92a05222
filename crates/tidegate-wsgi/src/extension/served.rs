//! The gateway of a Python server: the application's, and what is counted and watched around it.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pyo3::exceptions::{PyKeyboardInterrupt, PySystemExit};
use pyo3::prelude::*;

use tidegate::gateway::{Admission, Body, Environ, Gateway, GatewayError, LoopHooks, StartResponse};
use tidegate::now::Moment;
use tidegate::server::ServerHandle;

use super::watch::BusySince;
use crate::adapter::report;

/// The message to a supervisor that another process is to take the place of this one.
pub(super) const WORN: &[u8] = b"w";

/// The reason for which a server has ended by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reached {
    /// The server has not ended by itself: it was told to.
    #[default]
    Nothing,
    /// The server has answered as many requests as it should.
    MaxRequests,
}

/// The thread that runs Python while the loop does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The thread of the loop: signals are looked for after each wait.
    Inline,
    /// Other threads: signals are looked for when the wake-up descriptor says so.
    Pool,
}

/// The state of a running server that other threads watch.
#[derive(Default)]
pub(super) struct Watched {
    /// Requests handed to the application.
    pub requests: AtomicU64,
    /// Whether a signal has arrived.
    pub is_signalled: AtomicBool,
    /// The time since which the loop has neither waited nor called the application anew.
    pub busy_since: BusySince,
}

/// A gateway that counts requests.
pub(super) struct Served<'g> {
    pub gateway: &'g mut dyn Gateway,
    pub watched: Arc<Watched>,
    pub handle: ServerHandle,
    /// The number of requests after which the server is to end; 0 for never.
    pub requests_max: u64,
    /// The supervisor, which is told of a worn server and ends it once another one serves.
    pub supervisor: Option<File>,
    pub reached: Reached,
}

impl Served<'_> {
    /// Ends the server, which has answered as many requests as it should.
    #[cold]
    fn wear_out(&mut self) {
        match &mut self.supervisor {
            // Should that be gone, another thread finds out, and ends this process.
            Some(supervisor) => drop(supervisor.write_all(WORN)),
            None => {
                self.reached = Reached::MaxRequests;
                self.handle.restart();
            }
        }
    }
}

impl Gateway for Served<'_> {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let count = self.watched.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if count == self.requests_max {
            self.wear_out();
        }
        // There may be many calls in one turn of the loop: each has its time for itself.
        self.watched.busy_since.set();
        self.gateway.call(environ, start_response)
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        self.gateway.admit(environ)
    }
}

/// Lets Python see its signals between the turns of the event loop.
pub(super) struct Signals<'g> {
    pub hooks: &'g mut dyn LoopHooks,
    pub mode: Mode,
    pub watched: Arc<Watched>,
    pub handle: ServerHandle,
    /// The exception that a signal handler has raised to end the server.
    pub raised: Option<PyErr>,
}

impl Signals<'_> {
    fn is_signalled(&self) -> bool {
        self.watched.is_signalled.swap(false, Ordering::AcqRel)
    }

    fn look_for_signals(&mut self) {
        Python::attach(|py| {
            let Err(raised) = py.check_signals() else { return };
            if raised.is_instance_of::<PySystemExit>(py) {
                // It wants to end, as an operator would: what is being served is finished.
                self.handle.drain();
            } else if raised.is_instance_of::<PyKeyboardInterrupt>(py) {
                self.handle.stop();
            } else {
                // Meant for a call that was over before it came: nobody else should suffer.
                return report(py, "hearing a signal", &raised);
            }
            self.raised = Some(raised);
        });
    }
}

impl LoopHooks for Signals<'_> {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        // One that came during the turn found the loop woken already, perhaps by an answer, and what had
        // woken it is done with: nothing would end this wait.
        if self.is_signalled() {
            self.look_for_signals();
        }
        self.watched.busy_since.clear();
        self.hooks.wait(wait);
        self.watched.busy_since.set();
        if self.is_signalled() || self.mode == Mode::Inline {
            self.look_for_signals();
        }
    }

    fn deadline(&self, now: Moment) -> Option<Moment> {
        self.hooks.deadline(now)
    }

    fn is_ready(&self) -> bool {
        self.hooks.is_ready()
    }
}
