//! Threads that watch a running server and never touch Python: for signals, and for an application that does
//! not return, on the thread of the event loop or on those of a pool.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use tidegate::server::ServerHandle;
use tidegate_program::{finish, say};

use super::served::{WORN, Watched};
use crate::adapter::{Crew, RunningCall};

/// The time when the event loop began its present turn, or the call in it.
pub(super) struct BusySince {
    started: Instant,
    /// Milliseconds since `started`, plus one; 0 while the loop waits.
    millis: AtomicU64,
}

impl Default for BusySince {
    fn default() -> BusySince {
        BusySince { started: Instant::now(), millis: AtomicU64::new(0) }
    }
}

impl BusySince {
    /// Notes that a turn or a call begins.
    pub fn set(&self) {
        self.millis.store(self.now() + 1, Ordering::Relaxed);
    }

    /// Notes that the loop waits.
    pub fn clear(&self) {
        self.millis.store(0, Ordering::Relaxed);
    }

    /// Returns how long the turn or call has lasted; none while the loop waits.
    fn elapsed(&self) -> Option<Duration> {
        let begun = self.millis.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now().saturating_sub(begun)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

/// Ends the wait of the loop whenever Python's own signal handler writes a byte. Without this, a signal that
/// arrives just before the loop begins to wait, or in another thread, would be seen only after the wait.
///
/// The writer is for `signal.set_wakeup_fd`; the thread ends when it is dropped.
pub(super) fn wake_on_signals(watched: Arc<Watched>, handle: ServerHandle) -> io::Result<PipeWriter> {
    let (mut reader, writer) = io::pipe()?;
    let listen = move || {
        while hear(&mut reader) {
            watched.is_signalled.store(true, Ordering::Release);
            handle.wake();
        }
    };
    thread::Builder::new().name("signals".to_string()).spawn(listen)?;
    Ok(writer)
}

/// Waits for a signal, and returns false when none will come any more.
fn hear(reader: &mut impl Read) -> bool {
    let mut bytes = [0; 16];
    loop {
        match reader.read(&mut bytes) {
            Ok(count) => return count > 0,
            // This very thread was given one: what its handler has written is read next.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

/// Ends this process when a call takes longer than `timeout`, so that its supervisor starts
/// another. Python's faulthandler, where it is enabled, prints where the application is stuck.
pub(super) fn end_when_stuck(watched: Arc<Watched>, timeout: Duration) -> io::Result<()> {
    let pause = (timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(1));
    let watch = move || {
        loop {
            thread::sleep(pause);
            if watched.busy_since.elapsed().is_some_and(|elapsed| elapsed > timeout) {
                say(&format!("tidegate: the application has not answered for {timeout:?}: worker ends"));
                finish();
                process::abort();
            }
        }
    };
    thread::Builder::new().name("watchdog".to_string()).spawn(watch).map(drop)
}

/// The least time that the stacks of stuck threads are waited for: the thread with the interpreter's lock may
/// be stuck, or may only compute. 1 s: threads that compute let go of it after 5 ms.
const STACKS_WAIT_MIN: Duration = Duration::from_secs(1);

/// Reports calls in a pool that take longer than `timeout`. When all its threads are stuck, nobody is
/// answered any more: a supervisor, if there is one, is told to start another process in the place of this
/// one.
pub(super) fn watch_pool(crew: Crew, timeout: Duration, mut supervisor: Option<File>) -> io::Result<()> {
    let pause = (timeout / 4).max(Duration::from_millis(20));
    let mut standstill = Standstill { timeout, seen: Vec::new() };
    let watch = move || {
        let mut is_standing = false;
        while !crew.is_closed() {
            thread::sleep(pause);
            let found = standstill.look(crew.unanswered_calls(), Instant::now());
            let stacks = match &found.fresh[..] {
                [] => Some(Vec::new()),
                fresh => stacks_of(fresh, (timeout / 2).max(STACKS_WAIT_MIN)),
            };
            tell(&found.fresh, stacks.as_deref(), timeout);
            let is_lock_held = stacks.is_none();
            let are_all = found.stuck > 0 && found.stuck >= crew.thread_count();
            if is_lock_held || (are_all && !is_standing) {
                replace_process(crew.thread_count(), supervisor.as_mut(), is_lock_held);
            }
            is_standing = are_all;
        }
    };
    thread::Builder::new().name("watchdog".to_string()).spawn(watch).map(drop)
}

/// Logs which requests are stuck, and where.
fn tell(calls: &[RunningCall], stacks: Option<&[String]>, timeout: Duration) {
    for (index, call) in calls.iter().enumerate() {
        let stack = stacks.and_then(|stacks| stacks.get(index));
        let where_it_is =
            if stack.is_some() { "it is here:" } else { "the interpreter's lock is not let go" };
        say(&format!("tidegate: {} takes longer than {timeout:?}; {where_it_is}", call.request));
        stack.into_iter().flat_map(|stack| stack.lines()).for_each(say);
    }
}

/// Asks for another process: all threads are stuck, or one is and keeps the interpreter's lock from the
/// others.
#[cold]
fn replace_process(threads: usize, supervisor: Option<&mut File>, is_lock_held: bool) {
    let what = match is_lock_held {
        true => "a thread keeps the interpreter's lock from all others".to_string(),
        false => format!("all {threads} threads are stuck"),
    };
    let Some(supervisor) = supervisor else {
        let outlook = "nothing is answered until one comes back (with --workers it would be replaced)";
        return say(&format!("tidegate: {what}: {outlook}"));
    };
    say(&format!("tidegate: {what}: worker {} is replaced", process::id()));
    if is_lock_held {
        // It could not even hear its supervisor. Aborting prints the stacks.
        finish();
        process::abort();
    }
    // Should that be gone, another thread finds out, and ends this process.
    let _ = supervisor.write_all(WORN);
}

/// Returns the Python stack of each of these calls; none if the interpreter's lock cannot be had.
fn stacks_of(calls: &[RunningCall], patience: Duration) -> Option<Vec<String>> {
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<u64> = calls.iter().map(|call| call.thread).collect();
    let ask = move || {
        let stack = |py: Python<'_>, thread: u64| -> PyResult<String> {
            py.import("tidegate.console")?.call_method1("stack_of", (thread,))?.extract()
        };
        let stacks = Python::try_attach(|py| {
            let said = |error: PyErr| format!("its stack cannot be told: {error}");
            threads.into_iter().map(|thread| stack(py, thread).unwrap_or_else(said)).collect()
        });
        // Nobody waits any more if that took too long.
        let _ = sender.send(stacks);
    };
    thread::Builder::new().name("stacks".to_string()).spawn(ask).ok()?;
    receiver.recv_timeout(patience).ok()?
}

/// Finds out which calls are stuck, by looking again and again.
struct Standstill {
    timeout: Duration,
    seen: Vec<Seen>,
}

/// A call that was under way when somebody looked.
struct Seen {
    call: RunningCall,
    since: Instant,
    is_told: bool,
}

/// The result of one look at the threads.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Calls that were not known to be stuck before.
    fresh: Vec<RunningCall>,
    /// The number of stuck calls, these included.
    stuck: usize,
}

impl Standstill {
    /// Looks at the calls under way that are without an answer.
    fn look(&mut self, calls: Vec<RunningCall>, now: Instant) -> Found {
        self.seen.retain(|seen| calls.contains(&seen.call));
        for call in calls {
            if !self.seen.iter().any(|seen| seen.call == call) {
                self.seen.push(Seen { call, since: now, is_told: false });
            }
        }
        let timeout = self.timeout;
        let is_stuck = |seen: &&mut Seen| now.duration_since(seen.since) >= timeout;
        let mut found = Found { fresh: Vec::new(), stuck: 0 };
        for seen in self.seen.iter_mut().filter(is_stuck) {
            found.stuck += 1;
            if !std::mem::replace(&mut seen.is_told, true) {
                found.fresh.push(seen.call.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_is_stuck_that_is_seen_again_after_the_timeout_and_told_of_once() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let call = |thread, number| RunningCall { thread, number, request: format!("GET /{number}") };
        let mut standstill = Standstill { timeout: Duration::from_millis(100), seen: Vec::new() };
        let mut look = |calls: &[RunningCall], millis| standstill.look(calls.to_vec(), at(millis));
        assert_eq!(look(&[call(1, 1), call(2, 1)], 0), Found { fresh: vec![], stuck: 0 });
        assert_eq!(look(&[call(1, 1), call(2, 2)], 99), Found { fresh: vec![], stuck: 0 });
        assert_eq!(look(&[call(1, 1), call(2, 2)], 100), Found { fresh: vec![call(1, 1)], stuck: 1 });
        assert_eq!(look(&[call(1, 1), call(2, 2)], 199), Found { fresh: vec![call(2, 2)], stuck: 2 });
        assert_eq!(look(&[call(1, 1)], 300), Found { fresh: vec![], stuck: 1 });
        // It was answered meanwhile: what it does now is another matter.
        assert_eq!(look(&[], 301), Found { fresh: vec![], stuck: 0 });
        assert_eq!(look(&[call(1, 1)], 302), Found { fresh: vec![], stuck: 0 });
    }

    /// A reader that gives one result after the other.
    struct Says(Vec<io::Result<usize>>);

    impl Read for Says {
        fn read(&mut self, _bytes: &mut [u8]) -> io::Result<usize> {
            self.0.remove(0)
        }
    }

    #[test]
    fn listener_that_is_given_a_signal_itself_goes_on_listening() {
        let interrupted = || Err(io::ErrorKind::Interrupted.into());
        let mut reader = Says(vec![interrupted(), interrupted(), Ok(1), interrupted(), Ok(0)]);
        assert!(hear(&mut reader), "a signal");
        assert!(!hear(&mut reader), "the end");
        assert!(!hear(&mut Says(vec![Err(io::ErrorKind::Other.into())])), "an error");
    }
}
