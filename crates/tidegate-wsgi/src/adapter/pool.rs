//! Calls the application on threads of its own: a slow one keeps a thread waiting, and nobody else.
//!
//! ```text
//!   event loop ──▶ Jobs ──▶ thread: environ, application, blocks ──▶ Handoff ──▶ event loop
//! ```
//!
//! A request moves to the pool as a copy that owns its parts, and its answer comes back through an
//! [`Handoff`]: the event loop never touches the interpreter. The threads are Python's own, made by
//! whoever sets the pool up; each of them spends its life in [`Crew::work`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyBrokenPipeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use tidegate::gateway::{Body, Environ, Gateway, GatewayError, LoopHooks, OwnedEnviron, StartResponse};
use tidegate::message::Method;
use tidegate::now::Moment;

use super::call::{CallSet, ResponseStage};
use super::desk::{Desks, RunningCall};
use super::environ::Deployment;
use super::ffi::lend;
use super::handoff::{Awaited, Gone, Handoff, Patience, Room, Waiting};
use super::head::Head;
use super::interpreter::{Interpreter, failure};
use super::outlet::Outlet;
use super::reply::{Opening, Reply, joined};
use tidegate_jobs::Jobs;

/// Requests that wait for a thread, above which no more are read. 1,024: it bounds the memory that they hold,
/// and a pool that is so far behind gains nothing from more.
///
/// It does not hold where something else is served beside the application: see [`Pool::reads_all`].
const JOBS_MAX: usize = 1024;

/// A gateway to a Python application on other threads.
pub struct Pool {
    jobs: Arc<Waiting>,
    desks: Arc<Desks>,
    timeout: Option<Duration>,
    reader_wait_max: Option<Duration>,
}

impl Pool {
    /// Makes a pool without threads. An application may take `timeout` for an answer; after that its client
    /// gets 504 (Gateway Timeout).
    pub fn new(timeout: Option<Duration>) -> Pool {
        Pool { jobs: Arc::new(Jobs::new(JOBS_MAX, 0)), desks: Arc::default(), timeout, reader_wait_max: None }
    }

    /// Limits how long a generated answer may wait for its client to read, all its waits together, before it
    /// is broken off for requests that wait for a thread. None: for ever.
    #[must_use]
    pub fn reader_wait_max(mut self, reader_wait_max: Option<Duration>) -> Pool {
        self.reader_wait_max = reader_wait_max;
        self
    }

    /// Takes all requests, however far the application is behind: some are for others, files for instance, and which
    /// these are is known only once they were read. Those for the application then wait in the queue instead of unread, one a
    /// connection: the limits of connections and memory bound them. Call it before there is anything else of the pool.
    #[must_use]
    pub fn reads_all(mut self) -> Pool {
        self.jobs = Arc::new(Jobs::new(usize::MAX, 0));
        self
    }

    /// Returns the part that takes part in the event loop. Without it no answer is ever collected.
    pub fn hooks(&self) -> PoolHooks {
        PoolHooks { jobs: self.jobs.clone(), collected: Vec::new() }
    }

    /// Returns the part that the threads of the pool work with.
    pub fn crew(&self) -> Crew {
        let (jobs, desks) = (self.jobs.clone(), self.desks.clone());
        Crew { jobs, desks, reader_wait_max: self.reader_wait_max }
    }
}

impl Gateway for Pool {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let until = self.timeout.map(|timeout| start_response.now() + timeout);
        let has_finished = environ.client().has_finished_sending;
        let (wakeup, environ) = (environ.wakeup(), environ.detach());
        let handoff = Arc::new(Handoff::new(environ, wakeup));
        let place = self.jobs.push(handoff.clone());
        if has_finished {
            place.step_back();
        }
        Ok(Awaited::wait(handoff, place, until, start_response))
    }
}

/// The part of a pool that takes part in the event loop: it collects the answers.
pub struct PoolHooks {
    jobs: Arc<Waiting>,
    /// Answers that were collected; empty outside of that.
    collected: Vec<Arc<Handoff>>,
}

impl LoopHooks for PoolHooks {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        self.jobs.announce();
        wait();
        self.jobs.collect(&mut self.collected);
        self.collected.drain(..).for_each(|handoff| handoff.wake());
    }

    fn deadline(&self, now: Moment) -> Option<Moment> {
        Some(now + self.jobs.patience()?)
    }

    fn is_ready(&self) -> bool {
        !self.jobs.is_full()
    }
}

/// The part of a pool that its threads work with.
#[derive(Clone)]
pub struct Crew {
    jobs: Arc<Waiting>,
    desks: Arc<Desks>,
    reader_wait_max: Option<Duration>,
}

impl Crew {
    /// Answers requests until the pool is closed: the life of one thread.
    ///
    /// # Errors
    /// Returns the exception of Python when a preparation fails; an application never ends the thread.
    pub fn work(&self, py: Python<'_>, application: Py<PyAny>, deployment: &Deployment) -> PyResult<()> {
        let mut interpreter = Interpreter::new(py, application, deployment)?;
        let desk = self.desks.sit_down(thread_number(py)?);
        let patience = Patience::new(self.jobs.clone(), self.reader_wait_max);
        let mut is_waking_worker = false;
        loop {
            let next = self.jobs.try_take(is_waking_worker);
            next.uncollected.inspect(|handoff| handoff.wake());
            match next.job {
                Some(handoff) => {
                    is_waking_worker = false;
                    // Else nobody waits for it any more, and nothing was begun.
                    let Some(environ) = handoff.take_request() else { continue };
                    desk.begin(&environ, &handoff);
                    let through = Through { handoff: &handoff, patience: &patience };
                    let answered =
                        catch_unwind(AssertUnwindSafe(|| answer(py, &mut interpreter, environ, through)));
                    desk.end();
                    if answered.is_err() {
                        // A bug of ours: it may cost a request, and not the thread.
                        handoff.fail("the thread that was to answer has panicked".to_string());
                    }
                    self.jobs.finish(handoff);
                }
                None if py.detach(|| self.jobs.wait()) => is_waking_worker = true,
                None => return Ok(()),
            }
        }
    }

    /// Lets the threads end, once they have done what waits.
    pub fn close(&self) {
        self.jobs.close();
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }

    /// The number of threads.
    pub(crate) fn thread_count(&self) -> usize {
        self.desks.count()
    }

    /// The number of threads, of those at work, and of requests that wait for one.
    pub fn state(&self) -> (usize, usize, usize) {
        let (threads, census) = (self.desks.count(), self.jobs.census());
        // One may have come since the others were counted.
        (threads, threads.saturating_sub(census.idle_threads), census.waiting)
    }

    /// Returns the calls under way whose clients have heard nothing yet, or do not wait any more.
    pub(crate) fn unanswered_calls(&self) -> Vec<RunningCall> {
        self.desks.unanswered()
    }
}

/// Returns the number of this thread, as Python knows it.
fn thread_number(py: Python<'_>) -> PyResult<u64> {
    py.import("_thread")?.call_method0("get_ident")?.extract()
}

fn answer(
    py: Python<'_>,
    interpreter: &mut Interpreter,
    mut environ: OwnedEnviron,
    mut through: Through<'_>,
) {
    let (handoff, patience) = (through.handoff, through.patience);
    let call = match interpreter.calls.begin(py) {
        Ok(call) => call,
        Err(error) => return handoff.fail(failure(py, &error).to_string()),
    };
    let is_head = environ.with(|environ| environ.method() == Method::HEAD);
    let done = lend(call.owner(), &mut through, || {
        let opening = environ.with(|environ| interpreter.call(py, environ, &call))?;
        hand_over(py, opening, &call, Through { handoff, patience }, is_head)
    });
    match done {
        Ok(()) => {}
        // The application was told by write() that nobody reads, and has let the exception pass.
        Err(error) if handoff.is_gone() && error.is_instance_of::<PyBrokenPipeError>(py) => {}
        Err(error) => handoff.fail(failure(py, &error).to_string()),
    }
    interpreter.calls.end(py, call);
}

/// Passes on to the event loop what the application has returned.
fn hand_over(
    py: Python<'_>,
    opening: Opening,
    call: &CallSet,
    through: Through<'_>,
    is_head: bool,
) -> PyResult<()> {
    let handoff = through.handoff;
    match opening {
        Opening::First(block, reply) => return pass_blocks(py, &block, reply, call, through),
        Opening::File(range) => call.with_head(|_, head| handoff.answer_with_file(head, range))?,
        Opening::Blocks(blocks) => finish(joined(py, &blocks), call, handoff, is_head)?,
        Opening::Last(block) => {
            let content = block.as_ref().map(|block| block.as_bytes(py)).unwrap_or_default();
            finish(content.to_vec(), call, handoff, is_head)?;
        }
    }
    Ok(())
}

/// Sends all of the content, or what follows after `write()`.
fn finish(content: Vec<u8>, call: &CallSet, handoff: &Handoff, is_head: bool) -> PyResult<()> {
    call.with_head(|stage, head| {
        if stage == ResponseStage::Sent {
            // If nobody is there to take it, nobody misses it.
            let _ = handoff.push(content);
            return handoff.end();
        }
        // An answer to HEAD says nothing of a length that it does not know.
        handoff.answer(head, if is_head && content.is_empty() { None } else { Some(content) });
    })
}

/// Passes on block by block, as long as somebody takes them, and no more bytes than were declared.
fn pass_blocks(
    py: Python<'_>,
    first: &Py<PyBytes>,
    mut reply: Reply,
    call: &CallSet,
    through: Through<'_>,
) -> PyResult<()> {
    let handoff = through.handoff;
    let declared = call.with_head(|stage, head| {
        if stage == ResponseStage::Started {
            handoff.begin(head);
        }
        head.declared_length()
    })?;
    call.set_sent()?;
    let mut passed = first.as_bytes(py).len() as u64;
    let mut place = handoff.push(first.as_bytes(py).to_vec());
    loop {
        // Nobody takes more, or no more is to come: the iterable is closed as it is dropped.
        let Ok(room) = place else { return Ok(()) };
        if room == Room::Full && through.wait_for_room(py).is_err() {
            return Ok(());
        }
        if declared.is_some_and(|declared| passed >= declared) {
            break;
        }
        let Some(block) = reply.next(py)? else { break };
        let bytes = block.as_bytes(py);
        passed += bytes.len() as u64;
        // An empty block asks whether somebody still waits.
        place = if bytes.is_empty() { handoff.room() } else { handoff.push(bytes.to_vec()) };
    }
    handoff.end();
    reply.close(py);
    Ok(())
}

/// The response to the call that is running on this thread.
struct Through<'a> {
    handoff: &'a Handoff,
    patience: &'a Patience,
}

impl Through<'_> {
    fn wait_for_room(&self, py: Python<'_>) -> Result<(), Gone> {
        py.detach(|| self.handoff.wait_for_room(self.patience))
    }
}

impl Outlet for Through<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), GatewayError> {
        self.handoff.begin(head);
        Ok(())
    }

    fn write(&mut self, py: Python<'_>, content: &[u8]) -> PyResult<()> {
        let left = |_: Gone| PyBrokenPipeError::new_err("the client has left, or reads too slowly");
        match self.handoff.push(content.to_vec()).map_err(left)? {
            Room::Left => Ok(()),
            Room::Full => self.wait_for_room(py).map_err(left),
        }
    }

    fn hint(&mut self, fields: &Head) -> Result<(), GatewayError> {
        self.handoff.hint(fields);
        Ok(())
    }

    fn client_has_finished(&self) -> bool {
        self.handoff.client_has_finished()
    }
}
