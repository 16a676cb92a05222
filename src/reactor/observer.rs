//! Observing a server that runs: another thread asks, and the loop answers between two turns.
//!
//! ```text
//!  another thread                              the loop
//!  Observer::ask ──▶ Desk ── wakes ──▶ … turn ─▶ Observed::answer: 1,024 connections ─▶ turn ─▶ 1,024 more …
//!       ▲                                                                                          │
//!       └───────────────────────────── Snapshot, to whoever has asked ◀────────────────────────────┘
//!  Observer::counters ◀── Meter: read at any time, even while the application blocks the loop
//! ```
//!
//! A server that nobody observes has none of it: no counter, no clock read, and one look at an `Option` in each turn
//! of the loop.

use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::clock::Clock;
use super::meter::{Counters, Meter};
use super::snapshot::Snapshot;
use super::wakeup_queue::WakeupQueue;
use crate::now::Moment;

/// Connections that are looked at in a turn of the loop. 1,024: ten thousand are seen within ten turns, and no turn is
/// much longer.
pub(super) const CONNECTIONS_PER_TURN: usize = 1024;

/// Takes a snapshot, on the thread of the loop: it should be quick.
type Take = Box<dyn FnOnce(Arc<Snapshot>) + Send>;

/// The place where questions wait for the loop.
pub(super) struct Desk {
    has_questions: AtomicBool,
    /// None once nobody will answer any more.
    questions: Mutex<Option<Vec<Take>>>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<Take>>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a question in, or drops it if nobody will answer.
    fn put(&self, take: Take) {
        // A question that is dropped is dropped behind the lock: what it does then is not ours.
        let _unwanted = match &mut *self.lock() {
            Some(questions) => {
                questions.push(take);
                None
            }
            None => Some(take),
        };
        self.has_questions.store(true, Ordering::Release);
    }

    /// Drops all questions, and those that still come.
    fn close(&self) {
        let left = self.lock().take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(left)));
    }

    /// Takes all questions.
    fn clear(&self) -> Vec<Take> {
        // To look costs nothing, which is done in each turn of the loop; to exchange stops the processor.
        if !self.has_questions.load(Ordering::Acquire) || !self.has_questions.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        self.lock().as_mut().map(mem::take).unwrap_or_default()
    }
}

/// Observes a server from another thread: its counters at any time, and [snapshots](Snapshot) on demand.
///
/// [`BoundServer::observer`](crate::server::BoundServer::observer) makes one, before the server runs. It can be
/// cloned, and outlives the server harmlessly.
///
/// ```no_run
/// use std::sync::mpsc;
/// use tidegate::Server;
///
/// let mut server = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
/// let observer = server.observer();
/// std::thread::spawn(move || {
///     let (sender, receiver) = mpsc::channel();
///     // The loop calls this between two turns.
///     observer.ask(move |snapshot| drop(sender.send(snapshot)));
///     if let Ok(snapshot) = receiver.recv() {
///         for connection in &snapshot.connections {
///             println!("{}: {} wants {:?}", connection.number, connection.state.stage.path(), connection.wants);
///         }
///     }
///     println!("{} turns", observer.counters().iter().map(|counters| counters.turns).sum::<u64>());
/// });
/// server.serve(|_environ, start_response| start_response.status(200).send("Hello, World!"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Observer {
    loops: Arc<[Post]>,
}

/// The means to observe one loop.
#[derive(Clone)]
pub(super) struct Post {
    pub desk: Arc<Desk>,
    pub meter: Arc<Meter>,
    queue: Arc<WakeupQueue>,
}

impl Post {
    pub fn new(clock: Clock, queue: Arc<WakeupQueue>) -> Post {
        let desk = Desk { has_questions: AtomicBool::new(false), questions: Mutex::new(Some(Vec::new())) };
        Post { desk: Arc::new(desk), meter: Arc::new(Meter::new(clock)), queue }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("event_loops", &self.loops.len()).finish_non_exhaustive()
    }
}

impl Observer {
    pub(super) fn new(loops: impl IntoIterator<Item = Post>) -> Observer {
        Observer { loops: loops.into_iter().collect() }
    }

    /// The number of event loops.
    pub fn event_loops(&self) -> usize {
        self.loops.len()
    }

    /// Asks each event loop for a snapshot, and returns at once. `take` is called once for each loop, on its thread and
    /// between two of its turns, and should do no more than to pass the snapshot on. For a loop that has ended it is not
    /// called, but dropped. A panic in it is logged, and ends nothing.
    pub fn ask(&self, take: impl Fn(Arc<Snapshot>) + Clone + Send + 'static) {
        for post in &*self.loops {
            post.desk.put(Box::new(take.clone()));
            post.queue.notify();
        }
    }

    /// Reads the counters of each event loop, without waiting for it.
    pub fn counters(&self) -> Vec<Counters> {
        self.loops.iter().map(|post| post.meter.read()).collect()
    }
}

/// The observed loop's side, from before it starts to its end. Questions are dropped with it.
pub(super) struct Observed {
    pub post: Post,
    /// The last look at the clock: before the wait, or at the end of a turn.
    pub last: Moment,
    under_way: Option<UnderWay>,
}

/// A snapshot that is being put together.
struct UnderWay {
    snapshot: Snapshot,
    /// The place that comes next.
    place: usize,
    takers: Vec<Take>,
}

impl Observed {
    pub fn new(post: Post, last: Moment) -> Observed {
        Observed { post, last, under_way: None }
    }

    /// Gets on with the snapshot that was asked for, if one was, and returns whether it was. `begin` makes an empty
    /// one; `add` adds the connections from a place on and returns the next, or none with all totals.
    pub fn answer(
        &mut self,
        begin: impl FnOnce() -> Snapshot,
        add: impl FnOnce(&mut Snapshot, usize) -> Option<usize>,
    ) -> bool {
        let mut under_way = match self.under_way.take() {
            Some(under_way) => under_way,
            None => match self.post.desk.clear() {
                takers if takers.is_empty() => return false,
                takers => UnderWay { snapshot: begin(), place: 0, takers },
            },
        };
        match add(&mut under_way.snapshot, under_way.place) {
            Some(place) => {
                under_way.place = place;
                self.under_way = Some(under_way);
                // The next turn follows at once.
                self.post.queue.notify();
            }
            None => {
                let snapshot = Arc::new(under_way.snapshot);
                for take in under_way.takers {
                    if catch_unwind(AssertUnwindSafe(|| take(snapshot.clone()))).is_err() {
                        log::error!("an observer has panicked: the server goes on");
                    }
                }
            }
        }
        true
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.post.desk.close();
        let under_way = self.under_way.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(under_way)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::Shutdown;
    use crate::reactor::snapshot::{BudgetSnapshot, MemorySnapshot, QueuesSnapshot};
    use mio::{Poll, Token, Waker};
    use std::sync::mpsc;

    fn empty() -> Snapshot {
        Snapshot {
            reactor: 0,
            reactors: 1,
            taken: Moment::START,
            shutdown: Shutdown::No,
            drain_until: None,
            is_gateway_ready: true,
            connections: Vec::new(),
            connections_max: 1,
            listeners: Vec::new(),
            memory: MemorySnapshot::default(),
            queues: QueuesSnapshot::default(),
            budget: BudgetSnapshot::default(),
        }
    }

    #[test]
    fn long_snapshot_is_put_together_in_several_turns_that_follow_at_once_and_goes_to_all_who_have_asked() {
        let poll = Poll::new().unwrap();
        let queue = Arc::new(WakeupQueue::new(Waker::new(poll.registry(), Token(0)).unwrap()));
        let post = Post::new(Clock::start(), queue.clone());
        let mut observed = Observed::new(post.clone(), Moment::START);
        let never = |_: &mut Snapshot, _| -> Option<usize> { panic!("nobody has asked") };
        observed.answer(empty, never);
        let observer = Observer::new([post]);
        let (sender, receiver) = mpsc::channel();
        for _ in 0..2 {
            let sender = sender.clone();
            observer.ask(move |snapshot| sender.send(snapshot.connections_max).unwrap());
        }
        for expected in 0..3 {
            assert!(queue.is_notified(), "the loop does not sleep meanwhile");
            queue.drain(&mut Vec::new());
            assert!(receiver.try_recv().is_err());
            observed.answer(empty, |snapshot, place| {
                assert_eq!(place, expected);
                snapshot.connections_max += 1;
                (place < 2).then_some(place + 1)
            });
        }
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [4, 4]);
        observed.answer(empty, never);
    }
}
