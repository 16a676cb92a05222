//! A log file that can be moved away while the server runs, as logrotate does.
//!
//! ```text
//! mv access.log access.log.1  ─▶  ReopenHandle::reopen()  ─▶  the next line opens access.log anew
//! ```
//!
//! Every write goes to the end of the file, whoever else writes to it, so that several processes can
//! share one: a log hands over whole lines, those of one turn of the loop at a time.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The permissions of a new file, unless the umask forbids them: the owner writes, others read.
const MODE: u32 = 0o644;

/// A file to append lines to.
///
/// Lines that cannot be written, because the disk is full for instance, are dropped; that is reported once,
/// and writing is tried again with the next lines. Other logs end when a write fails.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Whether the last line is whole.
    is_between_lines: bool,
    /// Whether the last attempt to write has failed.
    is_failing: bool,
    must_reopen: Arc<AtomicBool>,
}

/// Makes a [`LogFile`] open its path again.
#[derive(Clone, Debug)]
pub struct ReopenHandle {
    must_reopen: Arc<AtomicBool>,
}

impl LogFile {
    /// Opens a file, which is made if there is none.
    ///
    /// # Errors
    /// Returns the error of the system when the file can neither be opened nor made.
    pub fn open(path: impl AsRef<Path>) -> io::Result<LogFile> {
        // So that a later change of the working directory does not move it.
        let path = path::absolute(path)?;
        let file = open(&path)?;
        let must_reopen = Arc::new(AtomicBool::new(false));
        Ok(LogFile { path, file, is_between_lines: true, is_failing: false, must_reopen })
    }

    /// Returns a handle for whoever learns that the file was moved.
    pub fn handle(&self) -> ReopenHandle {
        ReopenHandle { must_reopen: self.must_reopen.clone() }
    }

    /// Opens the path again, if that was asked for. If a line was begun, it is ended first as far as
    /// possible.
    fn reopen_if_asked(&mut self) {
        let is_mid_line = !self.is_between_lines && !self.is_failing;
        if is_mid_line || !self.must_reopen.swap(false, Ordering::AcqRel) {
            return;
        }
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.is_between_lines = true;
            }
            Err(error) => {
                let path = self.path.display();
                log::warn!("the log file {path} cannot be opened again, the old one is written on: {error}");
            }
        }
    }

    /// Writes to the file, but ends a line first that a failure has cut. (The rest of that line is lost:
    /// these bytes begin a line.)
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_failing && !self.is_between_lines {
            self.file.write_all(b"\n")?;
            self.is_between_lines = true;
        }
        self.file.write(bytes)
    }
}

impl ReopenHandle {
    /// Asks for the file to be reopened: lines that are written from now on go to the file that the path then
    /// names. Returns at once; any thread may call it.
    pub fn reopen(&self) {
        self.must_reopen.store(true, Ordering::Release);
    }
}

impl Write for LogFile {
    /// Writes bytes, or loses them: never fails, unless it was interrupted.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.reopen_if_asked();
        match self.append(bytes) {
            Ok(count) => {
                if let Some(last) = bytes[..count].last() {
                    self.is_between_lines = *last == b'\n';
                }
                self.is_failing = false;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                if !self.is_failing {
                    log::warn!("the log file {} cannot be written: {error}", self.path.display());
                }
                self.is_failing = true;
                Ok(bytes.len())
            }
        }
    }

    /// Does nothing, since nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        self.reopen_if_asked();
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A new folder for one test, removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("tidegate-log-{test}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn file_is_appended_to_by_all_who_have_it_open() {
        let folder = Folder::new("append");
        let path = folder.0.join("log");
        let (mut one, mut other) = (LogFile::open(&path).unwrap(), LogFile::open(&path).unwrap());
        for log in [&mut one, &mut other] {
            log.write_all(b"1\n").unwrap();
        }
        one.write_all(b"2\n").unwrap();
        drop((one, other));
        LogFile::open(&path).unwrap().write_all(b"3\n").unwrap();
        assert_eq!(folder.read("log"), "1\n1\n2\n3\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o133, 0);
    }

    #[test]
    fn file_is_not_changed_in_the_middle_of_a_line() {
        let folder = Folder::new("line");
        let mut log = LogFile::open(folder.0.join("log")).unwrap();
        log.write_all(b"begun, ").unwrap();
        fs::rename(folder.0.join("log"), folder.0.join("old")).unwrap();
        log.handle().reopen();
        log.write_all(b"ended\n").unwrap();
        log.flush().unwrap();
        log.write_all(b"next\n").unwrap();
        assert_eq!((folder.read("old"), folder.read("log")), ("begun, ended\n".into(), "next\n".into()));
    }

    #[test]
    fn file_that_cannot_be_opened_again_is_written_on() {
        let folder = Folder::new("gone");
        let mut log = LogFile::open(folder.0.join("log")).unwrap();
        fs::rename(folder.0.join("log"), folder.0.join("old")).unwrap();
        fs::create_dir(folder.0.join("log")).unwrap();
        log.handle().reopen();
        log.write_all(b"1\n").unwrap();
        fs::remove_dir(folder.0.join("log")).unwrap();
        log.write_all(b"2\n").unwrap();
        log.handle().reopen();
        log.write_all(b"3\n").unwrap();
        assert_eq!((folder.read("old"), folder.read("log")), ("1\n2\n".into(), "3\n".into()));
    }

    /// Where nothing can be written because there is no room.
    #[cfg(target_os = "linux")]
    #[test]
    fn full_disk_loses_lines_and_not_the_log() {
        let folder = Folder::new("full");
        let path = folder.0.join("log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.write_all(b"lost\n").unwrap();
        // As if the disk had become full in the middle of a line.
        log.is_between_lines = false;
        log.write_all(b"lost\n").unwrap();
        assert!(log.is_failing);
        fs::remove_file(&path).unwrap();
        log.handle().reopen();
        log.write_all(b"kept\n").unwrap();
        assert!(!log.is_failing);
        assert_eq!(folder.read("log"), "kept\n");
        // The same file has room again: the line that was cut is ended.
        (log.is_failing, log.is_between_lines) = (true, false);
        log.write_all(b"next\n").unwrap();
        assert_eq!(folder.read("log"), "kept\n\nnext\n");
    }
}
