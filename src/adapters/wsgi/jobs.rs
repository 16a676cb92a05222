//! The queue between the event loop and the threads of a pool, and who is woken for a job.
//!
//! Only one thread runs Python at a time, so waking a thread for each job would only make them stand in
//! line for the interpreter's lock. At most one is woken: the *hunter*. When it has got the lock and a
//! job, and there are more, it wakes the next. An application that computes keeps one thread busy, which
//! takes job after job without letting go of the lock; one that waits has a thread for each wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Jobs that wait for a thread.
pub(super) struct Jobs<J> {
    state: Mutex<State<J>>,
    available: Condvar,
    waiting_max: usize,
}

struct State<J> {
    waiting: VecDeque<J>,
    idle_threads: usize,
    hunt: Hunt,
    is_closed: bool,
}

/// Whether a thread is on its way to the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hunt {
    Nobody,
    On,
}

impl<J> Jobs<J> {
    /// A queue that is full when so many wait.
    pub fn new(waiting_max: usize) -> Jobs<J> {
        let state = State { waiting: VecDeque::new(), idle_threads: 0, hunt: Hunt::Nobody, is_closed: false };
        Jobs { state: Mutex::new(state), available: Condvar::new(), waiting_max }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job at the end. Nobody is sent for it before the next [`Jobs::announce`].
    pub fn push(&self, job: J) {
        self.lock().waiting.push_back(job);
    }

    /// Sends a thread for what was pushed. Once for all jobs of a turn of the event loop: a thread that is
    /// woken for the first of them would take the processor from the loop that has more.
    pub fn announce(&self) {
        self.hunt(self.lock());
    }

    /// Whether no more jobs should come for now.
    pub fn is_full(&self) -> bool {
        self.lock().waiting.len() >= self.waiting_max
    }

    /// The next job, without waiting for one: to be called with the interpreter's lock held. Nobody
    /// waits for that lock with this one in hand, so the two cannot block each other.
    pub fn try_take(&self, is_hunter: bool) -> Option<J> {
        let mut state = self.lock();
        if is_hunter {
            state.hunt = Hunt::Nobody;
        }
        let job = state.waiting.pop_front();
        if is_hunter && job.is_some() {
            self.hunt(state);
        }
        job
    }

    /// Waits until there is a job, or none will come: then it is false. To be called without the
    /// interpreter's lock.
    pub fn wait(&self) -> bool {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.is_closed {
            state.idle_threads += 1;
            state = self.available.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle_threads -= 1;
            // Somebody else has taken the job that this one was sent for.
            if state.waiting.is_empty() {
                state.hunt = Hunt::Nobody;
            }
        }
        !state.waiting.is_empty()
    }

    /// No more jobs come; those that wait are still done.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.available.notify_all();
    }

    /// Sends a thread, if there is something to do, somebody to do it, and nobody on the way.
    fn hunt(&self, mut state: MutexGuard<'_, State<J>>) {
        if state.hunt == Hunt::Nobody && state.idle_threads > 0 && !state.waiting.is_empty() {
            state.hunt = Hunt::On;
            drop(state);
            self.available.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    /// Does all jobs with `threads` threads, one at a time as behind the interpreter's lock, each of
    /// which lets go of it in the middle.
    fn work_through(jobs: u32, threads: usize) -> Vec<u32> {
        let queue = Arc::new(Jobs::new(1_000_000));
        let done = Arc::new(Mutex::new(Vec::new()));
        let crew: Vec<_> = (0..threads)
            .map(|_| {
                let (queue, done) = (queue.clone(), done.clone());
                thread::spawn(move || {
                    let mut is_hunter = false;
                    loop {
                        match queue.try_take(is_hunter) {
                            Some(job) => done.lock().unwrap().push(job),
                            None if !queue.wait() => return,
                            None => {
                                is_hunter = true;
                                continue;
                            }
                        }
                        is_hunter = false;
                        thread::yield_now();
                    }
                })
            })
            .collect();
        for job in 0..jobs {
            queue.push(job);
            queue.announce();
        }
        queue.close();
        crew.into_iter().for_each(|thread| thread.join().unwrap());
        let mut done = std::mem::take(&mut *done.lock().unwrap());
        done.sort_unstable();
        done
    }

    #[test]
    fn every_job_is_done_once_however_many_threads_there_are() {
        for threads in [1, 2, 7] {
            assert_eq!(work_through(10_000, threads), (0..10_000).collect::<Vec<_>>(), "{threads} threads");
        }
    }

    /// A thread that was sent for a job finds that another has taken it, and waits again. It must be sent
    /// for the next one.
    #[test]
    fn thread_whose_job_was_taken_is_sent_again() {
        let queue = Arc::new(Jobs::new(10));
        let (sender, taken) = mpsc::channel();
        let crew = queue.clone();
        let thread = thread::spawn(move || {
            while crew.wait() {
                if let Some(job) = crew.try_take(true) {
                    sender.send(job).unwrap();
                }
            }
        });
        for round in 0..2_000 {
            queue.push(round);
            queue.announce();
            if queue.try_take(false).is_none() {
                taken.recv_timeout(Duration::from_secs(10)).unwrap();
            }
            // Sometimes the thread is asleep by now, sometimes on its way.
            (0..round % 50).for_each(|_| thread::yield_now());
            queue.push(round);
            queue.announce();
            taken.recv_timeout(Duration::from_secs(10)).unwrap();
        }
        queue.close();
        thread.join().unwrap();
    }

    #[test]
    fn full_queue_says_so_until_a_job_is_taken() {
        let queue = Jobs::new(2);
        queue.push('a');
        assert!(!queue.is_full());
        queue.push('b');
        assert!(queue.is_full());
        assert_eq!(queue.try_take(false), Some('a'));
        assert!(!queue.is_full());
    }
}
