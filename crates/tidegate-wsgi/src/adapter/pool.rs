//! The application on threads of its own: a slow one keeps a thread waiting, and nobody else.
//!
//! ```text
//!   event loop ──▶ Jobs ──▶ thread: environ, application, blocks ──▶ Exchange ──▶ event loop
//! ```
//!
//! A request moves to the pool as a copy that owns its parts, and its answer comes back through an
//! [`Exchange`]: the event loop never touches the interpreter. The threads are Python's own, made by
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

use super::call::{CallSet, Stage};
use super::desk::{Call, Desks};
use super::environ::Surroundings;
use super::exchange::{Awaited, Exchange, Gone, Patience, Room, Waiting};
use super::ffi::lend;
use super::head::Head;
use super::interpreter::{Interpreter, failure};
use super::jobs::Jobs;
use super::outlet::Outlet;
use super::reply::{Opening, Reply, joined};

/// Requests that wait for a thread, above which no more are read. 1,024: what they hold is bounded, and
/// a pool that is behind by so much is not helped by more.
const JOBS_MAX: usize = 1024;

/// A gateway to a Python application on other threads.
pub struct Pool {
    jobs: Arc<Waiting>,
    desks: Arc<Desks>,
    timeout: Option<Duration>,
    reader_wait_max: Option<Duration>,
}

impl Pool {
    /// A pool without threads. An application that has not answered after `timeout` is not waited for any
    /// longer: its client gets 504 (Gateway Timeout).
    pub fn new(timeout: Option<Duration>) -> Pool {
        Pool { jobs: Arc::new(Jobs::new(JOBS_MAX)), desks: Arc::default(), timeout, reader_wait_max: None }
    }

    /// Lets an answer that is generated wait for its client to read for so long, all its waits together, before it
    /// is broken off for others that wait for a thread. Without it: for ever.
    #[must_use]
    pub fn reader_wait_max(mut self, reader_wait_max: Option<Duration>) -> Pool {
        self.reader_wait_max = reader_wait_max;
        self
    }

    /// What its event loop has to do: no answer comes without it.
    pub fn hooks(&self) -> PoolHooks {
        PoolHooks { jobs: self.jobs.clone(), collected: Vec::new() }
    }

    /// What its threads work with.
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
        let exchange = Arc::new(Exchange::new(environ, wakeup));
        let place = self.jobs.push(exchange.clone());
        if has_finished {
            place.step_back();
        }
        Ok(Awaited::wait(exchange, place, until, start_response))
    }
}

/// The side of a pool that takes part in the event loop: it collects the answers.
pub struct PoolHooks {
    jobs: Arc<Waiting>,
    /// Answers that were collected; empty but while they are.
    collected: Vec<Arc<Exchange>>,
}

impl LoopHooks for PoolHooks {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        self.jobs.announce();
        wait();
        self.jobs.collect(&mut self.collected);
        self.collected.drain(..).for_each(|exchange| exchange.wake());
    }

    fn deadline(&self, now: Moment) -> Option<Moment> {
        Some(now + self.jobs.patience()?)
    }

    fn is_ready(&self) -> bool {
        !self.jobs.is_full()
    }
}

/// The side of a pool where the work is done.
#[derive(Clone)]
pub struct Crew {
    jobs: Arc<Waiting>,
    desks: Arc<Desks>,
    reader_wait_max: Option<Duration>,
}

impl Crew {
    /// The life of one thread: answers requests until the pool is closed.
    ///
    /// # Errors
    /// What Python says to the preparations; nothing that an application does.
    pub fn work(&self, py: Python<'_>, application: Py<PyAny>, surroundings: &Surroundings) -> PyResult<()> {
        let mut interpreter = Interpreter::new(py, application, surroundings)?;
        let desk = self.desks.sit_down(thread_number(py)?);
        let patience = Patience::new(self.jobs.clone(), self.reader_wait_max);
        let mut is_hunter = false;
        loop {
            let next = self.jobs.try_take(is_hunter);
            next.untold.inspect(|exchange| exchange.wake());
            match next.job {
                Some(exchange) => {
                    is_hunter = false;
                    // Else nobody waits for it any more, and nothing was begun.
                    let Some(environ) = exchange.take_request() else { continue };
                    desk.begin(&environ, &exchange);
                    let through = Through { exchange: &exchange, patience: &patience };
                    let answered =
                        catch_unwind(AssertUnwindSafe(|| answer(py, &mut interpreter, environ, through)));
                    desk.end();
                    if answered.is_err() {
                        // A bug of ours: it may cost a request, and not the thread.
                        exchange.fail("the thread that was to answer has panicked".to_string());
                    }
                    self.jobs.finish(exchange);
                }
                None if py.detach(|| self.jobs.wait()) => is_hunter = true,
                None => return Ok(()),
            }
        }
    }

    /// Lets the threads end, once they have done what waits.
    pub fn close(&self) {
        self.jobs.close();
    }

    /// Whether they were let end.
    pub fn is_closed(&self) -> bool {
        self.jobs.is_closed()
    }

    /// How many there are.
    pub(crate) fn thread_count(&self) -> usize {
        self.desks.count()
    }

    /// The calls under way whose clients know nothing yet, or wait no more.
    pub(crate) fn unanswered_calls(&self) -> Vec<Call> {
        self.desks.unanswered()
    }
}

/// The thread that runs this, as Python names it.
fn thread_number(py: Python<'_>) -> PyResult<u64> {
    py.import("_thread")?.call_method0("get_ident")?.extract()
}

fn answer(
    py: Python<'_>,
    interpreter: &mut Interpreter,
    mut environ: OwnedEnviron,
    mut through: Through<'_>,
) {
    let (exchange, patience) = (through.exchange, through.patience);
    let call = match interpreter.calls.begin(py) {
        Ok(call) => call,
        Err(error) => return exchange.fail(failure(py, &error).to_string()),
    };
    let is_head = environ.with(|environ| environ.method() == Method::HEAD);
    let done = lend(call.owner(), &mut through, || {
        let opening = environ.with(|environ| interpreter.call(py, environ, &call))?;
        hand_over(py, opening, &call, Through { exchange, patience }, is_head)
    });
    match done {
        Ok(()) => {}
        // The application was told by write() that nobody reads, and has let the exception pass.
        Err(error) if exchange.is_gone() && error.is_instance_of::<PyBrokenPipeError>(py) => {}
        Err(error) => exchange.fail(failure(py, &error).to_string()),
    }
    interpreter.calls.end(py, call);
}

/// Passes what the application has returned on to the event loop.
fn hand_over(
    py: Python<'_>,
    opening: Opening,
    call: &CallSet,
    through: Through<'_>,
    is_head: bool,
) -> PyResult<()> {
    let exchange = through.exchange;
    match opening {
        Opening::First(block, reply) => return pass_blocks(py, &block, reply, call, through),
        Opening::File(range) => call.with_head(|_, head| exchange.answer_with_file(head, range))?,
        Opening::Blocks(blocks) => finish(joined(py, &blocks), call, exchange, is_head)?,
        Opening::Last(block) => {
            let content = block.as_ref().map(|block| block.as_bytes(py)).unwrap_or_default();
            finish(content.to_vec(), call, exchange, is_head)?;
        }
    }
    Ok(())
}

/// All of the content, or what follows after `write()`.
fn finish(content: Vec<u8>, call: &CallSet, exchange: &Exchange, is_head: bool) -> PyResult<()> {
    call.with_head(|stage, head| {
        if stage == Stage::Sent {
            // If nobody is there to take it, nobody misses it.
            let _ = exchange.push(content);
            return exchange.end();
        }
        // An answer to HEAD says nothing of a length that it does not know.
        exchange.answer(head, if is_head && content.is_empty() { None } else { Some(content) });
    })
}

/// Block by block, as long as somebody takes them, and no more than were declared.
fn pass_blocks(
    py: Python<'_>,
    first: &Py<PyBytes>,
    mut reply: Reply,
    call: &CallSet,
    through: Through<'_>,
) -> PyResult<()> {
    let exchange = through.exchange;
    let declared = call.with_head(|stage, head| {
        if stage == Stage::Started {
            exchange.begin(head);
        }
        head.declared_length()
    })?;
    call.set_sent()?;
    let mut passed = first.as_bytes(py).len() as u64;
    let mut place = exchange.push(first.as_bytes(py).to_vec());
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
        place = if bytes.is_empty() { exchange.room() } else { exchange.push(bytes.to_vec()) };
    }
    exchange.end();
    reply.close(py);
    Ok(())
}

/// The response of the call that is running on this thread.
struct Through<'a> {
    exchange: &'a Exchange,
    patience: &'a Patience,
}

impl Through<'_> {
    fn wait_for_room(&self, py: Python<'_>) -> Result<(), Gone> {
        py.detach(|| self.exchange.wait_for_room(self.patience))
    }
}

impl Outlet for Through<'_> {
    fn begin(&mut self, head: &Head) -> Result<(), GatewayError> {
        self.exchange.begin(head);
        Ok(())
    }

    fn write(&mut self, py: Python<'_>, content: &[u8]) -> PyResult<()> {
        let left = |_: Gone| PyBrokenPipeError::new_err("the client has left, or reads too slowly");
        match self.exchange.push(content.to_vec()).map_err(left)? {
            Room::Left => Ok(()),
            Room::Full => self.wait_for_room(py).map_err(left),
        }
    }

    fn hint(&mut self, fields: &Head) -> Result<(), GatewayError> {
        self.exchange.hint(fields);
        Ok(())
    }

    fn client_has_finished(&self) -> bool {
        self.exchange.client_has_finished()
    }
}
