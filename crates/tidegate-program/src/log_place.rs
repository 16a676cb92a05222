//! The places of a log: stderr, a file, or the log of the system (syslog), and the form of its lines there.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::os::unix::net::UnixDatagram;
use std::path::{self, PathBuf};
use std::process;
use std::str::FromStr;

use log::Level;
use rustix::fs::OFlags;

/// The word that stands for the log of the system; a path of its socket may follow.
const SYSLOG: &str = "syslog:";
/// The socket of the log of the system.
const SYSLOG_SOCKET: &str = match () {
    () if cfg!(target_vendor = "apple") => "/var/run/syslog",
    () if cfg!(any(target_os = "freebsd", target_os = "netbsd", target_os = "dragonfly")) => "/var/run/log",
    () => "/dev/log",
};
/// The permissions of a log file that is made, without those that the umask takes away: the same as those of a `LogFile`.
const FILE_MODE: u32 = 0o644;
/// The facility of all messages: `daemon` (RFC 5424 §6.2.1).
const DAEMON: u8 = 3;

/// The place of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPlace {
    /// `-`: stdout for the access log, stderr for the other.
    Stream,
    /// A file.
    File(PathBuf),
    /// The log of the system, by the path of its socket.
    Syslog(PathBuf),
}

impl LogPlace {
    /// Gives a log file to this user, who is to open it again when it was moved away; one that is not there yet is made. Other
    /// places stay as they are: links, FIFOs, devices, and files of several names, which may lead to what is not a log.
    ///
    /// # Errors
    /// Returns the error of the system when it refuses.
    pub fn give_to(&self, user: u32) -> io::Result<()> {
        let LogPlace::File(path) = self else { return Ok(()) };
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(FILE_MODE)
            .custom_flags(flags.bits().cast_signed())
            .open(path);
        // Whatever is wrong is said by who opens it for writing.
        let Ok(file) = opened else { return Ok(()) };
        let metadata = file.metadata()?;
        let is_ours = metadata.is_file() && metadata.nlink() == 1;
        if is_ours && metadata.uid() != user { fchown(&file, Some(user), None) } else { Ok(()) }
    }
}

impl FromStr for LogPlace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<LogPlace, Infallible> {
        Ok(match text.strip_prefix(SYSLOG) {
            Some("") => LogPlace::Syslog(PathBuf::from(SYSLOG_SOCKET)),
            Some(socket) => LogPlace::Syslog(PathBuf::from(socket)),
            None if text == "-" => LogPlace::Stream,
            // So that a later change of the working directory does not move it.
            None => LogPlace::File(path::absolute(text).unwrap_or_else(|_| PathBuf::from(text))),
        })
    }
}

/// The severity of a line, by its number (RFC 5424 §6.2.1). The journal of systemd knows the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Severity(u8);

impl Severity {
    /// Something that the operator wants to know, and that is no problem.
    pub const NOTICE: Severity = Severity(5);
    /// Something that happens all the time, such as a request.
    pub const INFO: Severity = Severity(6);
    /// A bug.
    pub const CRITICAL: Severity = Severity(2);

    /// The severity of a message of the log.
    pub fn of(level: Level) -> Severity {
        Severity(match level {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        })
    }

    /// Marks a line with the severity, as the journal of systemd reads it on stderr (sd-daemon(3)).
    pub fn mark(self, line: &str) -> String {
        format!("<{}>{line}", self.0)
    }

    /// Reads the mark of a line, if it has one.
    fn split(line: &[u8]) -> (Option<Severity>, &[u8]) {
        match line {
            [b'<', digit @ b'0'..=b'7', b'>', rest @ ..] => (Some(Severity(digit - b'0')), rest),
            _ => (None, line),
        }
    }
}

/// Writes lines to the log of the system, as its library does: `<28>tidegate[4711]: what happened`. The system adds the
/// time.
pub struct Syslog {
    socket: PathBuf,
    connection: Option<UnixDatagram>,
    /// The severity of lines that are not marked.
    severity: Severity,
}

impl Syslog {
    /// Connects to the log of the system.
    ///
    /// # Errors
    /// Returns an error with a ready sentence when there is none.
    pub fn connect(socket: PathBuf, severity: Severity) -> io::Result<Syslog> {
        let connection = connect(&socket).map_err(|error| {
            let socket = socket.display();
            io::Error::new(error.kind(), format!("cannot write to {SYSLOG}{socket}: {error}"))
        })?;
        Ok(Syslog { socket, connection: Some(connection), severity })
    }

    fn send(&mut self, line: &[u8]) {
        let (severity, text) = Severity::split(line);
        let priority = DAEMON * 8 + severity.unwrap_or(self.severity).0;
        let mut message = format!("<{priority}>tidegate[{}]: ", process::id()).into_bytes();
        message.extend_from_slice(text);
        let sent = self.connection.as_ref().map(|connection| connection.send(&message));
        if matches!(sent, Some(Ok(_))) {
            return;
        }
        // It may have been started anew. If it is gone, or the line is longer than it takes, there is nobody to tell.
        self.connection = connect(&self.socket).ok();
        if let Some(connection) = &self.connection {
            let _ = connection.send(&message);
        }
    }
}

fn connect(socket: &PathBuf) -> io::Result<UnixDatagram> {
    let connection = UnixDatagram::unbound()?;
    connection.connect(socket)?;
    Ok(connection)
}

impl Write for Syslog {
    /// Sends whole lines, each as a message.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(|line| self.send(line));
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_by_their_words() {
        for (text, expected) in [
            ("-", LogPlace::Stream),
            ("syslog:", LogPlace::Syslog(SYSLOG_SOCKET.into())),
            ("syslog:/run/log", LogPlace::Syslog("/run/log".into())),
            ("/var/log/x", LogPlace::File("/var/log/x".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert!(matches!("x.log".parse(), Ok(LogPlace::File(path)) if path.is_absolute()));
    }

    #[test]
    fn mark_of_a_line_is_read_back() {
        let marked = Severity::of(Level::Warn).mark("what happened");
        assert_eq!(marked, "<4>what happened");
        assert_eq!(Severity::split(marked.as_bytes()), (Some(Severity(4)), &b"what happened"[..]));
        for plain in ["", "<", "<9>x", "<12>x", "text"] {
            assert_eq!(Severity::split(plain.as_bytes()), (None, plain.as_bytes()));
        }
    }
}
