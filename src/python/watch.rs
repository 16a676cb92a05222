//! Two watchers of a running server, each a thread that never touches Python: for signals, and for an
//! application that does not come back.

use std::io::{self, PipeWriter, Read};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::served::Watched;
use crate::cli::{finish, say};
use crate::server::ServerHandle;

/// When the event loop began the turn, or the call, that it is in.
pub(super) struct BusySince {
    started: Instant,
    /// Milliseconds since `started`, and one; 0 while the loop waits.
    millis: AtomicU64,
}

impl Default for BusySince {
    fn default() -> BusySince {
        BusySince { started: Instant::now(), millis: AtomicU64::new(0) }
    }
}

impl BusySince {
    /// A turn begins, or a call.
    pub fn set(&self) {
        self.millis.store(self.now() + 1, Ordering::Relaxed);
    }

    /// The loop waits.
    pub fn clear(&self) {
        self.millis.store(0, Ordering::Relaxed);
    }

    /// For how long that has lasted; none while the loop waits.
    fn elapsed(&self) -> Option<Duration> {
        let begun = self.millis.load(Ordering::Relaxed).checked_sub(1)?;
        Some(Duration::from_millis(self.now().saturating_sub(begun)))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

/// Ends the wait of the loop whenever Python's own signal handler writes a byte. A signal that arrives
/// just before the loop begins to wait, or in another thread, would be seen only after it.
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

/// Waits for a signal; false when there will be none any more.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a read says, one after the other.
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
