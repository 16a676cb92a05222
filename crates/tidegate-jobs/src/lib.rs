//! The queue between an event loop and the threads of a pool. It decides who is woken for a job, and who for an answer.
//!
//! At most one thread is woken at a time: the *waking worker*. When it has a job, and there are more, it wakes the next. So
//! short calls keep one thread busy, which takes job after job without anybody being woken; calls that wait have a thread
//! each. Where only one thread runs at a time, as behind the lock of an interpreter, waking one for each job would only
//! make them stand in line.
//!
//! The same holds for answers: to wake the loop for each would take the processor from the thread that has the next one half
//! made. As long as jobs wait, a thread goes on with the next. The loop is woken when none is left, and looks itself every
//! millisecond ([`Jobs::patience`]), so that an answer is not late because the next call is slow.
//!
//! A job has its [`Place`] in the queue for as long as somebody waits for its answer. A client that has been answered or has
//! left gives the place up, and its job leaves the queue at once: a queue full of jobs that nobody waits for would stop all
//! others. A client that sends nothing more may have left, or may wait, and nothing tells which. So its job steps back behind
//! those of clients that are certainly there.
//!
//! It knows neither the server nor an interpreter: what a job and an answer are is for its users to say.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a finished answer may wait for others while a thread goes on with the next job. 1 ms: the least that epoll can
/// wait, and some fifteen answers of Flask's, or a hundred of a servlet's.
const UNCOLLECTED_MAX: Duration = Duration::from_millis(1);

/// Waits of the loop in a row in which no job was taken, after which it no longer looks by itself. 32: a turn that only reads
/// requests is one of them, too, and as few as one would have the loop woken for each answer again.
const QUIET_WAITS_MAX: u32 = 32;

/// Jobs that wait for a thread, and answers that the loop has not collected.
pub struct Jobs<J, A> {
    state: Mutex<State<J, A>>,
    available: Condvar,
    waiting_max: usize,
    threads_max: usize,
}

struct State<J, A> {
    /// Jobs of clients that are there, and their tickets, which only ever rise.
    waiting: VecDeque<(Ticket, J)>,
    /// Jobs of clients that may have left.
    doubtful: VecDeque<(Ticket, J)>,
    /// The ticket of the next job.
    next_ticket: Ticket,
    uncollected: Vec<A>,
    /// Whether the loop looks for answers without being woken.
    is_watched: bool,
    /// Waits of the loop since a job was taken.
    quiet_waits: u32,
    threads: usize,
    idle_threads: usize,
    waking_worker: WakingWorker,
    is_closed: bool,
}

/// Names a job. No queue uses one twice.
type Ticket = u64;

/// Whether a thread was woken and is on its way to the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WakingWorker {
    Nobody,
    OnItsWay,
}

/// The next step of a thread.
#[derive(Debug, PartialEq, Eq)]
pub struct Next<J, A> {
    /// One of the uncollected answers, if the loop must be woken now: it then collects all of them.
    pub uncollected: Option<A>,
    /// The job that was taken; none if none waits.
    pub job: Option<J>,
    /// Whether no thread is idle now, and there may be another: whoever has taken the job starts it.
    pub needs_thread: bool,
}

/// The place of a job in the queue, for as long as it waits there.
pub struct Place<J, A> {
    jobs: Arc<Jobs<J, A>>,
    ticket: Ticket,
}

impl<J, A: Clone> Place<J, A> {
    /// Takes the job out of the queue: nobody waits for it any more.
    pub fn give_up(&self) {
        let removed = self.jobs.lock().remove(self.ticket);
        // Not with the lock in hand: it may be large.
        drop(removed);
    }

    /// Lets the jobs of all others come before this one.
    pub fn step_back(&self) {
        let mut state = self.jobs.lock();
        if let Some(job) = state.remove(self.ticket) {
            state.doubtful.push_back((self.ticket, job));
        }
    }
}

/// The state of a queue and its threads at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Jobs that wait for a thread, also of clients that may have left.
    pub waiting: usize,
    /// Threads that have begun to work, or are on their way to it.
    pub threads: usize,
    /// Threads that wait for a job.
    pub idle_threads: usize,
}

/// The jobs that waited for a thread at some moment, to be compared with a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    first: Option<Ticket>,
    next: Ticket,
}

impl Glance {
    /// Whether some job has waited since an earlier glance.
    pub fn has_somebody_waited_since(self, then: Glance) -> bool {
        self.first.is_some_and(|first| first < then.next)
    }
}

impl<J, A> State<J, A> {
    fn push(&mut self, job: J) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back((ticket, job));
        ticket
    }

    fn remove(&mut self, ticket: Ticket) -> Option<J> {
        // A job that was not pushed last may well be deep in here, and tickets rise.
        if let Ok(index) = self.waiting.binary_search_by_key(&ticket, |(other, _)| *other) {
            return self.waiting.remove(index).map(|(_, job)| job);
        }
        // Mostly one of the first: who has stepped back first is given up first.
        let index = self.doubtful.iter().position(|(other, _)| *other == ticket)?;
        self.doubtful.remove(index).map(|(_, job)| job)
    }

    fn take(&mut self) -> Option<J> {
        self.waiting.pop_front().or_else(|| self.doubtful.pop_front()).map(|(_, job)| job)
    }

    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.doubtful.is_empty()
    }
}

impl<J, A: Clone> Jobs<J, A> {
    /// Makes a queue that is full when `waiting_max` jobs wait whose clients are there. Up to `threads_max` threads are
    /// started as they are [needed](Next::needs_thread); 0 for a pool whose threads are all there from the beginning.
    pub fn new(waiting_max: usize, threads_max: usize) -> Jobs<J, A> {
        let state = State {
            waiting: VecDeque::new(),
            doubtful: VecDeque::new(),
            next_ticket: 0,
            uncollected: Vec::new(),
            is_watched: false,
            quiet_waits: QUIET_WAITS_MAX,
            threads: 0,
            idle_threads: 0,
            waking_worker: WakingWorker::Nobody,
            is_closed: false,
        };
        Jobs { state: Mutex::new(state), available: Condvar::new(), waiting_max, threads_max }
    }

    fn lock(&self) -> MutexGuard<'_, State<J, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job at the end. No thread is woken for it before the next [`Jobs::announce`].
    pub fn push(self: &Arc<Self>, job: J) -> Place<J, A> {
        let ticket = self.lock().push(job);
        Place { jobs: self.clone(), ticket }
    }

    /// Puts a job at the end that always has somebody who waits for it, and wakes a thread. Returns false, and drops the job,
    /// if the queue is closed: nobody would come for it.
    pub fn push_now(&self, job: J) -> bool {
        let mut state = self.lock();
        if state.is_closed {
            return false;
        }
        state.push(job);
        self.wake_worker(state);
        true
    }

    /// Notes which jobs wait now, of clients that are there.
    pub fn glance(&self) -> Glance {
        let state = self.lock();
        Glance { first: state.waiting.front().map(|(ticket, _)| *ticket), next: state.next_ticket }
    }

    /// Whether no more jobs come.
    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Wakes a thread for the jobs that were pushed, once for all jobs of a turn of the event loop: a thread
    /// that is woken for the first of them would take the processor from the loop that has more.
    pub fn announce(&self) {
        self.wake_worker(self.lock());
    }

    /// Notes that a thread has begun to work.
    pub fn enter(&self) {
        self.lock().threads += 1;
    }

    /// Notes that a thread that was [needed](Next::needs_thread) could not be started: none is on its way, and one that is
    /// idle is woken in its place.
    pub fn start_failed(&self) {
        let mut state = self.lock();
        state.threads = state.threads.saturating_sub(1);
        state.waking_worker = WakingWorker::Nobody;
        self.wake_worker(state);
    }

    /// Whether no more jobs should come for now. Jobs of clients that may have left do not count: each has a
    /// connection of its own, and the limit of connections bounds them.
    pub fn is_full(&self) -> bool {
        self.lock().waiting.len() >= self.waiting_max
    }

    /// Counts jobs and threads, for whoever looks at the pool.
    pub fn census(&self) -> Census {
        let state = self.lock();
        Census {
            waiting: state.waiting.len() + state.doubtful.len(),
            threads: state.threads,
            idle_threads: state.idle_threads,
        }
    }

    /// Whether no job waits.
    pub fn is_idle(&self) -> bool {
        self.lock().is_idle()
    }

    /// Returns how long the loop may sleep as far as the queue is concerned; asked before each wait. The loop looks
    /// for answers itself while threads take jobs and there are more. If all threads are stuck it does not, since that
    /// would cost 2 % of a processor.
    pub fn patience(&self) -> Option<Duration> {
        let mut state = self.lock();
        if !state.uncollected.is_empty() {
            return Some(Duration::ZERO);
        }
        state.is_watched = state.quiet_waits < QUIET_WAITS_MAX && !state.is_idle();
        state.quiet_waits = state.quiet_waits.saturating_add(1);
        state.is_watched.then_some(UNCOLLECTED_MAX)
    }

    /// Leaves an answer for the loop to collect. Returns whether the loop must be woken for it now; whoever goes on with
    /// [`Jobs::try_take`] at once need not look at that.
    pub fn finish(&self, answer: A) -> bool {
        let mut state = self.lock();
        state.uncollected.push(answer);
        !state.is_watched
    }

    /// Takes all uncollected answers into the vector, which is empty before.
    pub fn collect(&self, into: &mut Vec<A>) {
        std::mem::swap(&mut self.lock().uncollected, into);
    }

    /// Takes the next job without waiting for one. Nobody waits for anything else with this queue's lock held, so whoever
    /// calls it may hold the lock of an interpreter.
    pub fn try_take(&self, is_waking_worker: bool) -> Next<J, A> {
        let mut state = self.lock();
        if is_waking_worker {
            state.waking_worker = WakingWorker::Nobody;
        }
        let job = state.take();
        if job.is_some() {
            state.quiet_waits = 0;
        }
        let is_told_later = job.is_some() && state.is_watched;
        let uncollected = if is_told_later { None } else { state.uncollected.last().cloned() };
        let needs_thread = job.is_some()
            && state.idle_threads == 0
            && state.waking_worker == WakingWorker::Nobody
            && state.threads < self.threads_max
            && !state.is_closed;
        if needs_thread {
            // It counts from now on, so that it is started once; and it comes by itself.
            state.threads += 1;
            state.waking_worker = WakingWorker::OnItsWay;
        } else if is_waking_worker && job.is_some() {
            self.wake_worker(state);
        }
        Next { uncollected, job, needs_thread }
    }

    /// Waits for a job, and returns false when none will come any more. The caller must not hold the lock of an
    /// interpreter.
    pub fn wait(&self) -> bool {
        let mut state = self.lock();
        while state.is_idle() && !state.is_closed {
            state.idle_threads += 1;
            state = self.available.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle_threads -= 1;
            // Somebody else has taken the job that this one was woken for.
            if state.is_idle() {
                state.waking_worker = WakingWorker::Nobody;
            }
        }
        !state.is_idle()
    }

    /// Closes the queue: no more jobs come, and those that wait are still done.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.available.notify_all();
    }

    /// Wakes a thread, if there is a job, an idle thread, and none on its way.
    fn wake_worker(&self, mut state: MutexGuard<'_, State<J, A>>) {
        if state.waking_worker == WakingWorker::Nobody && state.idle_threads > 0 && !state.is_idle() {
            state.waking_worker = WakingWorker::OnItsWay;
            drop(state);
            self.available.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    /// Does all jobs with `threads` threads, one at a time as behind the interpreter's lock, each of
    /// which lets go of it in the middle.
    fn work_through(jobs: u32, threads: usize) -> Vec<u32> {
        let queue = Arc::new(Jobs::<_, ()>::new(1_000_000, 0));
        let done = Arc::new(Mutex::new(Vec::new()));
        let crew: Vec<_> = (0..threads)
            .map(|_| {
                let (queue, done) = (queue.clone(), done.clone());
                thread::spawn(move || {
                    let mut is_waking_worker = false;
                    loop {
                        match queue.try_take(is_waking_worker).job {
                            Some(job) => done.lock().unwrap().push(job),
                            None if !queue.wait() => return,
                            None => {
                                is_waking_worker = true;
                                continue;
                            }
                        }
                        is_waking_worker = false;
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

    /// A thread that was woken for a job finds that another has taken it, and waits again. It must be woken
    /// for the next one.
    #[test]
    fn thread_whose_job_was_taken_is_sent_again() {
        let queue = Arc::new(Jobs::<_, ()>::new(10, 0));
        let (sender, taken) = mpsc::channel();
        let crew = queue.clone();
        let thread = thread::spawn(move || {
            while crew.wait() {
                if let Some(job) = crew.try_take(true).job {
                    sender.send(job).unwrap();
                }
            }
        });
        for round in 0..2_000 {
            queue.push(round);
            queue.announce();
            if queue.try_take(false).job.is_none() {
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
        let queue = Arc::new(Jobs::<_, ()>::new(2, 0));
        queue.push('a');
        assert!(!queue.is_full());
        queue.push('b');
        assert!(queue.is_full());
        assert_eq!(queue.try_take(false).job, Some('a'));
        assert!(!queue.is_full());
    }

    #[test]
    fn job_that_nobody_waits_for_leaves_the_queue_at_once() {
        let queue = Arc::new(Jobs::<_, ()>::new(2, 0));
        let (first, second) = (queue.push('a'), queue.push('b'));
        assert!(queue.is_full());
        first.give_up();
        assert!(!queue.is_full());
        assert_eq!(queue.try_take(false).job, Some('b'));
        // Once it is taken, there is nothing to give up.
        second.give_up();
        let third = queue.push('c');
        second.step_back();
        third.step_back();
        third.give_up();
        assert_eq!(queue.try_take(false).job, None);
    }

    #[test]
    fn closed_queue_takes_no_job_that_nobody_would_come_for() {
        let queue = Arc::new(Jobs::<_, ()>::new(2, 0));
        assert!(queue.push_now('a'));
        queue.close();
        assert!(!queue.push_now('b'));
        assert_eq!(queue.try_take(false).job, Some('a'), "what waits is still done");
        assert_eq!(queue.try_take(false).job, None);
    }

    #[test]
    fn living_come_first_and_fill_the_queue_alone() {
        let queue = Arc::new(Jobs::<_, ()>::new(2, 0));
        let places = ['a', 'b', 'c'].map(|job| queue.push(job));
        places[1].step_back();
        places[0].step_back();
        assert!(!queue.is_full());
        queue.push('d');
        assert!(queue.is_full());
        let order = std::iter::from_fn(|| queue.try_take(false).job).collect::<String>();
        assert_eq!(order, "cdba");
    }

    #[test]
    fn thread_is_started_by_whoever_leaves_none_idle() {
        let queue = Arc::new(Jobs::<_, ()>::new(10, 3));
        queue.enter();
        "abcd".chars().for_each(|job| _ = queue.push(job));
        assert!(queue.try_take(false).needs_thread, "it is at work from now on");
        assert!(!queue.try_take(false).needs_thread, "one is on its way");
        assert!(queue.try_take(true).needs_thread, "it has come, and nobody is idle again");
        assert!(!queue.try_take(true).needs_thread, "there are three");
    }

    #[test]
    fn thread_that_could_not_be_started_is_no_longer_awaited() {
        let queue = Arc::new(Jobs::<_, ()>::new(10, 2));
        queue.enter();
        "abc".chars().for_each(|job| _ = queue.push(job));
        assert!(queue.try_take(false).needs_thread);
        queue.start_failed();
        assert!(queue.try_take(false).needs_thread, "it is tried again with the next job");
        queue.start_failed();
        assert!(queue.try_take(false).needs_thread, "and with the one after that");
        // Another comes to rest meanwhile, and is not woken for a job, since a thread is on its way.
        let idle = queue.clone();
        let thread = thread::spawn(move || idle.wait().then(|| idle.try_take(true).job));
        while queue.lock().idle_threads == 0 {
            thread::yield_now();
        }
        queue.push_now('d');
        queue.start_failed();
        assert_eq!(thread.join().unwrap(), Some(Some('d')));
    }

    /// An answer that is uncollected either has the loop woken soon, or the loop wakes by itself, whatever
    /// the order of events.
    #[test]
    fn answer_waits_only_while_jobs_do_and_the_loop_looks_by_itself() {
        let queue = Arc::new(Jobs::new(10, 0));
        let collect = || {
            let mut collected = Vec::new();
            queue.collect(&mut collected);
            collected
        };
        let next =
            |uncollected: Option<u32>, job: Option<char>| Next { uncollected, job, needs_thread: false };
        "abcd".chars().for_each(|job| _ = queue.push(job));
        assert_eq!(queue.patience(), None, "no thread has come yet");
        assert_eq!(queue.try_take(false), next(None, Some('a')));
        assert!(queue.finish(1), "the loop may sleep for ever");
        assert_eq!(queue.try_take(false), next(Some(1), Some('b')), "and so for who takes the next");
        assert_eq!(queue.patience(), Some(Duration::ZERO), "what came before it sleeps is collected");
        assert_eq!(collect(), [1]);
        assert_eq!(queue.patience(), Some(UNCOLLECTED_MAX), "a thread is at work, and finds more");
        assert!(!queue.finish(2), "the loop looks soon");
        assert_eq!(queue.try_take(false), next(None, Some('c')), "the loop is left asleep");
        assert_eq!(collect(), [2]);
        (0..QUIET_WAITS_MAX).for_each(|_| assert_eq!(queue.patience(), Some(UNCOLLECTED_MAX)));
        assert_eq!(queue.patience(), None, "nobody has taken anything for a while");
        assert!(queue.finish(3), "it does not look by itself");
        assert_eq!(queue.try_take(false), next(Some(3), Some('d')));
        assert!(queue.finish(4));
        assert_eq!(queue.try_take(false), next(Some(4), None), "nothing is left to be done before");
        assert_eq!((collect(), queue.patience()), (vec![3, 4], None));
        assert_eq!(queue.try_take(false), next(None, None));
    }
}
