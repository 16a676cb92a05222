//! The gateway of a connector: it writes requests down for Java, and takes part in the event loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate::gateway::{Admission, Body, Environ, Gateway, GatewayError, LoopHooks, StartResponse};
use tidegate::now::Moment;

use crate::ffi;
use crate::handoff::{Awaited, Handoff, Job, Queue};
use crate::request::Request;

/// The gateway to Catalina, on whatever threads it runs.
pub(crate) struct Catalina {
    pub queue: Arc<Queue>,
    pub timeout: Option<Duration>,
    pub threads: Threads,
    /// Bytes of one response that wait for its client before the thread that makes them has to wait.
    pub response_bytes_high: usize,
    /// The most bytes of content that are collected before a servlet is called.
    pub collected_bytes_max: u64,
}

impl Gateway for Catalina {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let until = self.timeout.map(|timeout| start_response.now() + timeout);
        let has_finished = environ.client().has_finished_sending;
        let upgrade = match environ.field("Upgrade").map(std::str::from_utf8) {
            Some(Ok(protocol)) => environ.upgrade(protocol.trim()),
            Some(Err(_)) | None => None,
        };
        let wakeup = environ.wakeup();
        let request = Request::new(environ);
        let handoff =
            Arc::new(Handoff::new(request, upgrade, wakeup, self.queue.clone(), self.response_bytes_high));
        let place = self.queue.push(Job::Request(handoff.clone()));
        if has_finished {
            place.step_back();
        }
        Ok(Awaited::wait(handoff, place, until, start_response))
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        // A servlet may refuse content by its head, and who says this wants to know before it is sent. One that listens for
        // content holds no thread until it comes. All other content is complete before a thread is taken.
        let collected_bytes_max = self.collected_bytes_max;
        let is_long =
            environ.content_length().map_or(collected_bytes_max == 0, |length| length > collected_bytes_max);
        match self.threads {
            // It could not wait there for what it asks for, and nobody else would bring it.
            Threads::Loop => Admission::Collect,
            Threads::Pool(_) if is_long || environ.field("Expect").is_some() => Admission::AsItComes,
            Threads::Pool(_) if ffi::can_begin(environ.host().unwrap_or_default(), environ.raw_path()) => {
                Admission::AsItComes
            }
            Threads::Pool(_) => Admission::Collect,
        }
    }
}

/// The threads that call servlets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The thread of the loop calls them, in each of its turns.
    Loop,
    /// Threads of a pool call them, this many at most.
    Pool(usize),
}

/// The part of a connector that takes part in the event loop: it has servlets called, or collects the answers.
pub(crate) struct Hooks {
    pub queue: Arc<Queue>,
    pub threads: Threads,
    pub is_paused: Arc<AtomicBool>,
    /// Answers that were collected; empty outside of that.
    pub collected: Vec<Arc<Handoff>>,
}

impl LoopHooks for Hooks {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        match self.threads {
            Threads::Pool(_) => {
                self.queue.announce();
                wait();
            }
            Threads::Loop => {
                wait();
                if !self.queue.is_idle() {
                    ffi::work();
                }
            }
        }
        self.queue.collect(&mut self.collected);
        self.collected.drain(..).for_each(|handoff| handoff.wake());
    }

    fn deadline(&self, now: Moment) -> Option<Moment> {
        match self.threads {
            Threads::Loop if !self.queue.is_idle() => Some(now),
            Threads::Loop | Threads::Pool(_) => Some(now + self.queue.patience()?),
        }
    }

    fn is_ready(&self) -> bool {
        // Paused by another thread, which waits for nothing.
        !self.is_paused.load(Ordering::Relaxed) && !self.queue.is_full()
    }
}
