//! A queue of lines for a reader that may stall: a thread writes them, so that nobody else ever waits.
//!
//! A pipe that nobody reads, a stopped terminal or a hanging disk can hold a writer for ever. (O_NONBLOCK
//! does not help: it would hold for all processes that share the pipe, and another one can fill the pipe
//! between the question whether there is room and the write.)
//!
//! Lines keep their order, and those that were taken are written, the last ones when the queue is dropped. A
//! writer that fails is tried again with the next lines: a disk that was full has room again, a FIFO another reader.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Most bytes that wait for the reader of a log, or are being written. 1 MiB: ten thousand lines, which a
/// server at a hundred thousand requests a second logs in a tenth of a second.
#[doc(hidden)]
pub const QUEUE_BYTES_MAX: usize = 1 << 20;
/// How long a queue that is dropped, or a program that ends, waits for its lines to be written. 1 s: a reader
/// that is alive takes milliseconds.
#[doc(hidden)]
pub const END_PATIENCE: Duration = Duration::from_secs(1);
/// Bytes that are written at a time, in whole lines. 4 KiB: Linux puts these into a pipe in one piece, so
/// that lines of several processes in one pipe stay whole.
const WRITE_BYTES_MAX: usize = 4 * 1024;
/// Buffers that have grown larger are freed. 64 KiB: as much as a log hands over at a time.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;
/// How long to wait before trying again if a writer does not wait itself, because somebody has set
/// O_NONBLOCK. 10 ms: rarely enough to cost nothing.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// A queue of whole lines in front of a writer. Write whole lines to it: a part of one can get lost alone.
///
/// ```
/// use std::io::Write;
/// use tidegate_logs::{CombinedLog, LineQueue};
///
/// let log = CombinedLog::new(LineQueue::new("the access log", std::io::stderr())?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct LineQueue {
    shared: Arc<Shared>,
}

/// The way in which the operator is told that lines are missing.
#[derive(Clone, Debug)]
enum Notice {
    /// A message in the log, which names the lines so.
    Logged(String),
    /// A line among the others, made from the number of the missing ones.
    Line(fn(u64) -> String),
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there are lines, or will be no more.
    appended: Condvar,
    /// Signalled when there is nothing left to write.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<u8>,
    /// Bytes that the thread is writing.
    bytes_in_flight: usize,
    /// The number of lines for which there was no room, all of them after those in the queue.
    lost: u64,
    life: Life,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Open,
    /// The thread ends once the queue is empty.
    Closed,
}

impl State {
    /// Whether there are lines to write, or lost lines to report: those may be lost while the last batch is
    /// written, with nothing in the queue.
    fn has_news(&self) -> bool {
        !self.queue.is_empty() || self.lost > 0
    }
}

impl LineQueue {
    /// Makes a queue in front of this writer, which gets a thread of its own. Messages about the lines name
    /// them `name`: "the access log", for instance.
    ///
    /// # Errors
    /// Returns the error of the system when it has no thread left.
    pub fn new(name: &str, writer: impl Write + Send + 'static) -> io::Result<LineQueue> {
        LineQueue::start(Notice::Logged(name.to_string()), writer)
    }

    /// Makes a queue for the log itself: missing lines are reported in their place, by the line that `notice`
    /// makes of their number.
    ///
    /// # Errors
    /// Returns the error of the system when it has no thread left.
    pub fn with_notice(
        notice: fn(u64) -> String,
        writer: impl Write + Send + 'static,
    ) -> io::Result<LineQueue> {
        LineQueue::start(Notice::Line(notice), writer)
    }

    fn start(notice: Notice, writer: impl Write + Send + 'static) -> io::Result<LineQueue> {
        let shared = Arc::new(Shared::default());
        let outlet = Outlet { writer, notice, standing: Standing::Well, lost: 0 };
        let queue = LineQueue { shared: shared.clone() };
        thread::Builder::new().name("log".to_string()).spawn(move || shared.work(outlet))?;
        Ok(queue)
    }

    /// Queues lines, as many as there is room for. Never waits for the writer.
    pub fn append(&self, lines: &[u8]) {
        let mut state = lock(&self.shared.state);
        let is_thread_at_rest = !state.has_news() && state.bytes_in_flight == 0;
        let room = QUEUE_BYTES_MAX.saturating_sub(state.queue.len() + state.bytes_in_flight);
        let taken = match state.lost {
            0 if lines.len() <= room => lines.len(),
            0 => end_of_lines(&lines[..room]),
            // What came after a gap would stand before the notice of it.
            _ => 0,
        };
        state.queue.extend_from_slice(&lines[..taken]);
        state.lost += count_lines(&lines[taken..]);
        drop(state);
        if is_thread_at_rest {
            self.shared.appended.notify_one();
        }
    }

    /// Waits until all lines are written, but not longer than `patience`. Returns whether they are.
    pub fn finish(&self, patience: Duration) -> bool {
        let state = lock(&self.shared.state);
        let is_busy = |state: &mut State| state.has_news() || state.bytes_in_flight > 0;
        let waited = self.shared.written.wait_timeout_while(state, patience, is_busy);
        waited.is_ok_and(|(_, waited)| !waited.timed_out())
    }
}

impl Write for LineQueue {
    /// Queues lines, or counts them as lost: never fails.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.append(lines);
        Ok(lines.len())
    }

    /// Does nothing: appended lines leave by themselves.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineQueue {
    fn drop(&mut self) {
        self.finish(END_PATIENCE);
        lock(&self.shared.state).life = Life::Closed;
        self.shared.appended.notify_one();
    }
}

impl Shared {
    /// Writes lines until the queue is closed: the life of the thread.
    fn work(&self, mut outlet: Outlet<impl Write>) {
        let mut batch = Vec::new();
        while let Some(lost) = self.take(&mut batch) {
            outlet.write(&batch);
            outlet.lost += lost;
            outlet.tell_losses();
            batch.clear();
            batch.shrink_to(BUFFER_BYTES_KEPT);
        }
    }

    /// Waits for lines, takes all of them, and returns how many were lost after them; none at the end.
    fn take(&self, batch: &mut Vec<u8>) -> Option<u64> {
        let mut state = lock(&self.state);
        state.bytes_in_flight = 0;
        if !state.has_news() {
            self.written.notify_all();
        }
        let is_at_rest = |state: &mut State| !state.has_news() && state.life == Life::Open;
        state = self.appended.wait_while(state, is_at_rest).unwrap_or_else(PoisonError::into_inner);
        if !state.has_news() {
            return None;
        }
        mem::swap(&mut state.queue, batch);
        // If there is only a notice to be written, nobody is to think that there is nothing.
        state.bytes_in_flight = batch.len().max(1);
        Some(mem::take(&mut state.lost))
    }
}

/// The writer, and the fate of the lines that it was given.
struct Outlet<W> {
    writer: W,
    notice: Notice,
    standing: Standing,
    /// The number of missing lines that were not reported yet.
    lost: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The last lines were written.
    Well,
    /// The last lines were not written, and the operator knows. The last line may have been cut.
    Failing { is_mid_line: bool },
}

impl<W: Write> Outlet<W> {
    /// Writes lines, and counts those that cannot be written as lost.
    fn write(&mut self, mut lines: &[u8]) {
        while !lines.is_empty() {
            let piece = &lines[..piece_bytes(lines)];
            let mut written = 0;
            let is_mid_line = match (self.write_piece(piece, &mut written), self.standing) {
                (Ok(()), _) => {
                    self.standing = Standing::Well;
                    lines = &lines[piece.len()..];
                    continue;
                }
                (Err(error), Standing::Well) => {
                    self.complain(&error);
                    written > 0 && piece[written - 1] != b'\n'
                }
                (Err(_), Standing::Failing { is_mid_line }) if written == 0 => is_mid_line,
                (Err(_), Standing::Failing { .. }) => piece[written - 1] != b'\n',
            };
            self.standing = Standing::Failing { is_mid_line };
            self.lost += count_lines(&piece[written..]);
            lines = &lines[piece.len()..];
        }
    }

    /// Writes a piece, after the end of a line that was cut. Returns how much of it was written, even if that
    /// fails.
    fn write_piece(&mut self, piece: &[u8], written: &mut usize) -> io::Result<()> {
        if self.standing == (Standing::Failing { is_mid_line: true }) {
            self.writer.write_all(b"\n")?;
            self.standing = Standing::Failing { is_mid_line: false };
        }
        while *written < piece.len() {
            match self.writer.write(&piece[*written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => *written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY_AFTER),
                Err(error) => return Err(error),
            }
        }
        self.writer.flush()
    }

    fn complain(&self, error: &io::Error) {
        if let Notice::Logged(name) = &self.notice {
            log::warn!("{name} cannot be written, its lines are lost until it can: {error}");
        }
    }

    /// Reports how many lines are missing, now that something reads again.
    fn tell_losses(&mut self) {
        if self.lost == 0 || self.standing != Standing::Well {
            return;
        }
        let lost = mem::take(&mut self.lost);
        match &self.notice {
            Notice::Logged(name) => {
                log::warn!("lines lost of {name}, which stalled or could not be written: {lost}");
            }
            Notice::Line(notice) => {
                let line = notice(lost) + "\n";
                self.write(line.as_bytes());
                if self.standing != Standing::Well {
                    // The notice was no line of the log.
                    self.lost = lost;
                }
            }
        }
    }
}

/// Chooses how much of these lines to write at a time: whole lines, if there is one that is short enough.
fn piece_bytes(lines: &[u8]) -> usize {
    match lines.get(..WRITE_BYTES_MAX).map(end_of_lines) {
        None => lines.len(),
        Some(0) => lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1),
        Some(end) => end,
    }
}

/// Returns where the last whole line ends; 0 if there is none.
fn end_of_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A reader that takes nothing before it is told to.
    struct Gate(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Once nobody can tell it any more, it takes everything.
            let _ = self.0.recv();
            lock(&self.1).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (LineQueue, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (opener, gate) = channel();
        let written = Arc::default();
        let notice = |lost: u64| format!("{lost} lost");
        (LineQueue::with_notice(notice, Gate(gate, Arc::clone(&written))).unwrap(), opener, written)
    }

    fn text(written: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(lock(written).clone()).unwrap()
    }

    #[test]
    fn lines_are_written_in_order_and_all_of_them_at_the_end() {
        let (queue, opener, written) = gated();
        let lines: Vec<String> = (0..10_000).map(|number| format!("{number}\n")).collect();
        for lines in lines.chunks(7) {
            queue.append(lines.concat().as_bytes());
        }
        assert!(!queue.finish(Duration::from_millis(1)));
        drop(opener);
        drop(queue);
        assert!(text(&written) == lines.concat());
    }

    #[test]
    fn lines_without_room_are_counted_where_they_are_missing() {
        let (queue, opener, written) = gated();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..1_000 {
            queue.append(line.repeat(20).as_bytes());
        }
        drop(opener);
        assert!(queue.finish(Duration::from_secs(30)));
        queue.append(b"after\n");
        // Longer than its end would wait, where the machine is busy.
        assert!(queue.finish(Duration::from_secs(30)));
        let written = text(&written);
        let kept = written.lines().take_while(|line| line.len() == 99).count();
        assert_eq!(kept, QUEUE_BYTES_MAX / 100);
        // Told at once, or in two parts where the thread had begun to write meanwhile.
        let rest: Vec<&str> = written.lines().skip(kept).collect();
        let (after, notices) = rest.split_last().unwrap();
        let lost =
            notices.iter().map(|notice| notice.strip_suffix(" lost").unwrap().parse::<usize>().unwrap());
        assert_eq!((lost.sum::<usize>(), *after), (20_000 - kept, "after"), "{notices:?}");
    }

    /// Lines lost with nothing in the queue: the next lines must not be lost for ever.
    #[test]
    fn lines_lost_while_all_others_are_being_written_are_told_and_the_next_are_written() {
        let (queue, opener, written) = gated();
        queue.append(format!("{}\n", "x".repeat(QUEUE_BYTES_MAX - 1)).as_bytes());
        while !lock(&queue.shared.state).queue.is_empty() {
            thread::yield_now();
        }
        queue.append(b"one\ntwo\n");
        drop(opener);
        assert!(queue.finish(Duration::from_secs(30)));
        queue.append(b"after\n");
        assert!(queue.finish(Duration::from_secs(30)));
        assert_eq!(text(&written).trim_start_matches('x'), "\n2 lost\nafter\n");
    }

    /// Takes some bytes, then fails for some time, then takes all.
    struct Disk(Arc<Mutex<(usize, usize, Vec<u8>)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (room, failures, written) = &mut *lock(&self.0);
            let count = bytes.len().min(*room);
            if count == 0 && *failures > 0 {
                *failures -= 1;
                *room = if *failures == 0 { usize::MAX } else { 0 };
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= count;
            written.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn disk_that_was_full_is_written_again_and_a_cut_line_ended() {
        let disk = Arc::new(Mutex::new((8, 2, Vec::new())));
        let notice = |lost: u64| format!("{lost} lost");
        let queue = LineQueue::with_notice(notice, Disk(disk.clone())).unwrap();
        for line in ["first\n", "second\n", "third\n", "fourth\n"] {
            queue.append(line.as_bytes());
            assert!(queue.finish(Duration::from_secs(30)));
        }
        drop(queue);
        assert_eq!(lock(&disk).2, b"first\nse\nfourth\n2 lost\n");
    }
}
