//! Notes of the request that each thread of a pool is working on, for those who watch over the threads.
//!
//! Nothing is measured here, since that would cost each request a look at the clock: who watches sees twice that a
//! thread is at the same call, and knows when it has looked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate::gateway::OwnedEnviron;

use super::exchange::Exchange;

/// The desks of all threads of a pool.
#[derive(Default)]
pub(super) struct Desks(Mutex<Vec<Arc<Shared>>>);

/// The desk of one thread, as long as it works there.
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
    /// How many calls there were, this one included.
    calls: u64,
    /// Method and target; kept for its memory.
    request: String,
    /// The request whose answer is being made; none between two calls.
    exchange: Option<Arc<Exchange>>,
}

/// The request that a thread works on, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The thread, as Python names it.
    pub thread: u64,
    /// Which of its calls it is.
    pub number: u64,
    /// Method and target.
    pub request: String,
}

impl Desks {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A desk for this thread.
    pub fn sit_down(&self, thread: u64) -> Desk<'_> {
        let shared = Arc::new(Shared { thread, work: Mutex::default() });
        self.lock().push(shared.clone());
        Desk { desks: self, shared }
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// The calls whose clients know nothing yet, or wait no more. Whoever is being sent content, however long that may
    /// take, is left out.
    pub fn unanswered(&self) -> Vec<Call> {
        self.lock().iter().filter_map(|desk| desk.unanswered()).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unanswered(&self) -> Option<Call> {
        let work = self.lock();
        work.exchange.as_ref().filter(|exchange| exchange.is_unanswered())?;
        Some(Call { thread: self.thread, number: work.calls, request: work.request.clone() })
    }
}

impl Desk<'_> {
    /// A call begins.
    pub fn begin(&self, environ: &OwnedEnviron, exchange: &Arc<Exchange>) {
        let mut work = self.shared.lock();
        work.calls += 1;
        work.request.clear();
        let (method, target) = environ.line();
        work.request.extend([method, " ", target]);
        work.exchange = Some(exchange.clone());
    }

    /// The thread has ended.
    pub fn end(&self) {
        self.shared.lock().exchange = None;
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        self.desks.lock().retain(|shared| !Arc::ptr_eq(shared, &self.shared));
    }
}
