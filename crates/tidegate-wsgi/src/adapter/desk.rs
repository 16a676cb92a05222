//! Keeps a note of the request that each thread of a pool works on, for those who watch over the threads.
//!
//! Nothing is measured here, since that would cost each request a look at the clock. A watcher that sees the
//! same call twice knows when it has looked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate::gateway::OwnedEnviron;

use super::handoff::Handoff;

/// The desks of all threads of a pool.
#[derive(Default)]
pub(super) struct Desks(Mutex<Vec<Arc<Shared>>>);

/// The desk of one thread, for as long as it works there.
pub(super) struct Desk<'a> {
    desks: &'a Desks,
    shared: Arc<Shared>,
}

struct Shared {
    thread: u64,
    work: Mutex<Work>,
}

/// The note on one desk.
#[derive(Default)]
struct Work {
    /// The number of calls, this one included.
    calls: u64,
    /// Method and target; the string is reused.
    request: String,
    /// The request that is being answered; none between two calls.
    handoff: Option<Arc<Handoff>>,
}

/// A call under way: its thread, its number and its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunningCall {
    /// The thread, as Python names it.
    pub thread: u64,
    /// The number of the call among those of its thread.
    pub number: u64,
    /// Method and target.
    pub request: String,
}

impl Desks {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets up a desk for this thread.
    pub fn sit_down(&self, thread: u64) -> Desk<'_> {
        let shared = Arc::new(Shared { thread, work: Mutex::default() });
        self.lock().push(shared.clone());
        Desk { desks: self, shared }
    }

    /// The number of threads.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Returns the calls whose clients have heard nothing yet, or do not wait any more. A call whose client
    /// is being sent content, however long that may take, is left out.
    pub fn unanswered(&self) -> Vec<RunningCall> {
        self.lock().iter().filter_map(|desk| desk.unanswered()).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> Option<RunningCall> {
        let work = self.lock();
        work.handoff.as_ref().filter(|handoff| handoff.is_unanswered())?;
        Some(RunningCall { thread: self.thread, number: work.calls, request: work.request.clone() })
    }
}

impl Desk<'_> {
    /// Notes that a call begins.
    pub fn begin(&self, environ: &OwnedEnviron, handoff: &Arc<Handoff>) {
        let mut work = self.shared.lock();
        work.calls += 1;
        work.request.clear();
        let (method, target) = environ.line();
        work.request.extend([method, " ", target]);
        work.handoff = Some(handoff.clone());
    }

    /// Removes the desk when its thread has ended.
    pub fn end(&self) {
        self.shared.lock().handoff = None;
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        self.desks.lock().retain(|shared| !Arc::ptr_eq(shared, &self.shared));
    }
}
