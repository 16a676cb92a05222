//! Writes to stderr all that the operator reads: the program's own sentences, the log, and panics.
//!
//! It may be a file that is put in the place of stderr (`--error-logfile`), or the log of the system (syslog).
//!
//! Stderr may be closed, or a pipe that nobody reads any more: that is no reason to stop serving, nor to
//! wait. So all of it goes through one [`LineQueue`], in the order in which it was said.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use log::LevelFilter;
use rustix::fs::{Access, fstat};
use tidegate::message::Calendar;
use tidegate_logs::{END_PATIENCE, LineQueue};

use super::log_place::{LogPlace, Severity, Syslog};

/// The way to stderr. It belongs to the process that made it: a forked child has none of its parent's
/// threads.
struct Console {
    process: u32,
    lines: Arc<LineQueue>,
}

static CONSOLE: Mutex<Option<Console>> = Mutex::new(None);
/// The place of the log of this process.
static PLACE: Mutex<LogPlace> = Mutex::new(LogPlace::Stream);
/// Whether lines are marked with their severity, instead of beginning with the time.
static IS_MARKED: AtomicBool = AtomicBool::new(false);

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Journal where systemd's journal reads stderr, else plain
    Auto,
    /// Time, level, message
    Plain,
    /// Severity as systemd's journal reads it, and message: <4>message
    Journal,
}

/// Prints one sentence to the operator, whatever the level of the log.
pub fn say(sentence: &str) {
    print((marked(Severity::NOTICE, one_line(sentence)) + "\n").as_bytes());
}

/// Marks a line with its severity, where that is wanted.
fn marked(severity: Severity, line: String) -> String {
    if IS_MARKED.load(Ordering::Relaxed) { severity.mark(&line) } else { line }
}

/// Waits until everything is written, but no longer than a second. Call it before the process ends.
pub fn finish() {
    let lines = match &*CONSOLE.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(console) if console.process == process::id() => console.lines.clone(),
        _ => return,
    };
    lines.finish(END_PATIENCE);
}

/// Sends the log to its place: `2026-01-31T12:00:00.000Z WARN what happened`, or in another form. A logger that was
/// set before stays: a process has one, and may come here twice.
///
/// # Errors
/// Returns an error with a ready sentence when the place cannot be written to.
pub fn start_log(level: LevelFilter, form: LogForm, place: &LogPlace) -> io::Result<()> {
    let is_marked = match (place, form) {
        (LogPlace::Syslog(_), _) | (_, LogForm::Journal) => true,
        (LogPlace::Stream, LogForm::Auto) => is_journal(),
        (LogPlace::File(_), LogForm::Auto) | (_, LogForm::Plain) => false,
    };
    open_place(place)?;
    IS_MARKED.store(is_marked, Ordering::Relaxed);
    PLACE.lock().unwrap_or_else(PoisonError::into_inner).clone_from(place);
    log_to_console(level);
    Ok(())
}

/// Opens the place of the log: a file takes the place of stderr, so that all that is said there comes into it, also by an
/// application. To be called again when it was moved away.
///
/// # Errors
/// Returns an error with a ready sentence when the place cannot be written to.
pub fn open_place(place: &LogPlace) -> io::Result<()> {
    match place {
        LogPlace::Stream => Ok(()),
        LogPlace::File(path) => redirect_stderr(path).map_err(|error| cannot_write(path, &error)),
        LogPlace::Syslog(socket) => Syslog::connect(socket.clone(), Severity::NOTICE).map(drop),
    }
}

/// Finds out whether a place could be written to, and makes nothing there.
///
/// # Errors
/// Returns the same errors as [`open_place`].
pub fn check_place(place: &LogPlace) -> io::Result<()> {
    match place {
        LogPlace::File(path) => check_file(path).map_err(|error| cannot_write(path, &error)),
        LogPlace::Stream | LogPlace::Syslog(_) => open_place(place),
    }
}

fn check_file(path: &Path) -> io::Result<()> {
    let access = match path.exists() {
        true => rustix::fs::access(path, Access::WRITE_OK),
        false => {
            // A plain name has an empty parent, which is no folder.
            let path = Path::new(".").join(path);
            rustix::fs::access(path.parent().unwrap_or(&path), Access::WRITE_OK | Access::EXEC_OK)
        }
    };
    match access {
        Ok(()) if path.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        access => Ok(access?),
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write the log to {}: {error}", path.display()))
}

fn redirect_stderr(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(rustix::stdio::dup2_stderr(file)?)
}

/// Whether stderr is read by the journal of systemd, which tells what it has given us (systemd.exec(5)).
fn is_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

fn log_to_console(level: LevelFilter) {
    let installed = env_logger::Builder::new()
        .filter_level(level)
        // It speaks of tokens, which nobody can tell apart.
        .filter_module("mio", level.min(LevelFilter::Debug))
        .format(|line, record| writeln!(line, "{}", log_line(record.level(), &record.args().to_string())))
        .target(env_logger::Target::Pipe(Box::new(Stderr)))
        .try_init();
    // The error says that there is one.
    if installed.is_ok() {
        panic::set_hook(Box::new(say_panic));
    }
}

/// The log's implementation that writes to stderr.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        print(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hands whole lines to the thread that writes to stderr.
pub fn print(line: &[u8]) {
    match lines() {
        Ok(lines) => lines.append(line),
        // There is no thread: then rather wait for the reader than say nothing.
        Err(_) => drop(io::stderr().write_all(line)),
    }
}

fn lines() -> io::Result<Arc<LineQueue>> {
    let mut console = CONSOLE.lock().unwrap_or_else(PoisonError::into_inner);
    match &*console {
        Some(console) if console.process == process::id() => Ok(console.lines.clone()),
        _ => {
            let notice =
                |lost| log_line(log::Level::Warn, &format!("lines lost here, which nothing read: {lost}"));
            let place = PLACE.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let lines = Arc::new(match place {
                LogPlace::Stream | LogPlace::File(_) => LineQueue::with_notice(notice, io::stderr())?,
                LogPlace::Syslog(socket) => {
                    LineQueue::with_notice(notice, Syslog::connect(socket, Severity::NOTICE)?)?
                }
            });
            let before = console.replace(Console { process: process::id(), lines: lines.clone() });
            // Its lines are the parent's to write.
            std::mem::forget(before);
            Ok(lines)
        }
    }
}

/// Prints what the standard library's hook would, but does not wait for the reader.
fn say_panic(panic: &PanicHookInfo<'_>) {
    let name = thread::current().name().unwrap_or("unnamed").to_string();
    let line = format!("thread {name:?} {}", one_line(&panic.to_string()));
    let mut text = marked(Severity::CRITICAL, line) + "\n";
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        text += &format!("{trace}\n");
    }
    print(text.as_bytes());
}

fn log_line(level: log::Level, message: &str) -> String {
    let line = one_line(message);
    match IS_MARKED.load(Ordering::Relaxed) {
        true => Severity::of(level).mark(&line),
        false => format!("{} {level} {line}", timestamp(SystemTime::now())),
    }
}

/// Formats a time as RFC 3339, in UTC, to the millisecond.
fn timestamp(time: SystemTime) -> String {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let Calendar { year, month, day, hour, minute, second, .. } = Calendar::from_unix(since_1970.as_secs());
    let millis = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Returns the text without characters that end a line or steer a terminal: some of it may have come from a
/// client.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_client_stays_on_its_line() {
        assert_eq!(one_line("plain \u{e9}"), "plain \u{e9}");
        assert_eq!(one_line("a\r\nb\x1b[2J\0"), "a\\r\\nb\\u{1b}[2J\\u{0}");
    }

    #[test]
    fn time_is_told_to_the_millisecond() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_042);
        assert_eq!(timestamp(time), "1994-11-06T08:49:37.042Z");
    }
}
