//! The place where snapshots of all event loops arrive, and wake whoever waits for them.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate::gateway::Wakeup;
use tidegate::server::{Observer, Snapshot};

/// The answers to one question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox(Arc<Mutex<Letters>>);

#[derive(Debug, Default)]
struct Letters {
    snapshots: Vec<Arc<Snapshot>>,
    /// The number of loops that were asked.
    expected: usize,
    waiting: Vec<Wakeup>,
}

impl Letters {
    fn is_complete(&self) -> bool {
        self.snapshots.len() >= self.expected
    }
}

impl Inbox {
    /// Asks all event loops for a snapshot.
    pub fn ask(observer: &Observer) -> Inbox {
        let inbox = Inbox::default();
        inbox.open().expected = observer.event_loops();
        let to = inbox.clone();
        observer.ask(move |snapshot| to.put(snapshot));
        inbox
    }

    /// Wakes this connection once all answers are there; at once if they are.
    pub fn wake_when_complete(&self, wakeup: &Wakeup) {
        let mut letters = self.open();
        if letters.is_complete() {
            drop(letters);
            wakeup.wake();
        } else {
            letters.waiting.push(wakeup.clone());
        }
    }

    /// The snapshots in the order of the loops, if all are there.
    pub fn complete(&self) -> Option<Vec<Arc<Snapshot>>> {
        let letters = self.open();
        letters.is_complete().then(|| letters.snapshots.clone())
    }

    fn put(&self, snapshot: Arc<Snapshot>) {
        let mut letters = self.open();
        letters.snapshots.push(snapshot);
        if letters.is_complete() {
            letters.snapshots.sort_by_key(|snapshot| snapshot.reactor);
            let waiting = mem::take(&mut letters.waiting);
            drop(letters);
            waiting.iter().for_each(Wakeup::wake);
        }
    }

    /// Opens it; a thread that panicked meanwhile left it whole.
    fn open(&self) -> MutexGuard<'_, Letters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
