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
    /// The number of loops from which an answer may still come.
    outstanding: usize,
    waiting: Vec<Wakeup>,
}

/// The question to one loop. To drop it is to answer it, or to have ended without.
struct Question(Inbox);

impl Clone for Question {
    fn clone(&self) -> Question {
        self.0.open().outstanding += 1;
        Question(self.0.clone())
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.0.settle();
    }
}

impl Inbox {
    /// Asks all event loops for a snapshot.
    pub fn ask(observer: &Observer) -> Inbox {
        let inbox = Inbox::default();
        inbox.open().outstanding = 1;
        let question = Question(inbox.clone());
        observer.ask(move |snapshot| question.0.put(snapshot));
        inbox
    }

    /// Wakes this connection once no more answers will come; at once if none will.
    pub fn wake_when_complete(&self, wakeup: &Wakeup) {
        let mut letters = self.open();
        if letters.outstanding == 0 {
            drop(letters);
            wakeup.wake();
        } else {
            letters.waiting.push(wakeup.clone());
        }
    }

    /// Whether no more answers will come: each loop has answered, or ended.
    pub fn is_complete(&self) -> bool {
        self.open().outstanding == 0
    }

    /// The snapshots that have arrived so far, in the order of the loops.
    pub fn arrived(&self) -> Vec<Arc<Snapshot>> {
        let mut snapshots = self.open().snapshots.clone();
        snapshots.sort_by_key(|snapshot| snapshot.reactor);
        snapshots
    }

    fn put(&self, snapshot: Arc<Snapshot>) {
        self.open().snapshots.push(snapshot);
    }

    /// Notes that a question was answered, or that it never will be.
    fn settle(&self) {
        let mut letters = self.open();
        letters.outstanding -= 1;
        if letters.outstanding == 0 {
            let waiting = mem::take(&mut letters.waiting);
            drop(letters);
            waiting.iter().for_each(Wakeup::wake);
        }
    }

    /// Locks the letters; a thread that panicked meanwhile left them whole.
    fn open(&self) -> MutexGuard<'_, Letters> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
