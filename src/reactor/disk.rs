//! Temporary files for long request content, and reading files to send.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process;

use super::stream::SENDS_FILES;
use crate::conversation::Disk;
use crate::gateway::{Spool, SpoolFile};

/// How many names are tried before giving up: each is new to this process, so a clash means that
/// somebody else has put files there.
const ATTEMPTS: u32 = 16;

/// The real disk.
pub(super) struct RealDisk {
    directory: PathBuf,
    files_made: u64,
}

impl RealDisk {
    /// Temporary files go to the system's folder for them (`TMPDIR`).
    pub fn new() -> RealDisk {
        RealDisk { directory: std::env::temp_dir(), files_made: 0 }
    }
}

impl Spool for RealDisk {
    /// A file that only its owner could open, and that has no name by the time anybody could look.
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        for _ in 0..ATTEMPTS {
            self.files_made += 1;
            let path = self.directory.join(format!("tidegate-{}-{}.spool", process::id(), self.files_made));
            let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
            match opened {
                Ok(file) => {
                    fs::remove_file(&path)?;
                    return Ok(Box::new(file));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Disk for RealDisk {
    fn read_at(&mut self, file: &File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let start = into.len();
        // One call, where `read_to_end` would feel its way. What is cleared first is in the cache then.
        into.resize(start + bytes, 0);
        let read = loop {
            match file.read_at(&mut into[start..], offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        into.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }

    fn sends_files(&self) -> bool {
        SENDS_FILES
    }
}
