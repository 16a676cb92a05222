//! Temporary files for long request content, and reading files to send.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sys;
use crate::conversation::Disk;
use crate::gateway::{Spool, SpoolFile, SpoolRoom};

/// Names that are tried before giving up. 16: nobody can guess one of 64 bits, so one clash is more than will
/// be seen.
const ATTEMPTS: u32 = 16;
/// The mode of a temporary file, for as long as it has a name: nobody else reads it.
const MODE: u32 = 0o600;

/// The part of the free space that temporary files may take by default: half of it, so that uploads cannot
/// fill what others write to as well.
const FREE_SHARE: u64 = 2;
/// The bound if the system does not say what is free. 4 GiB: four of the longest uploads.
const UNKNOWN_BYTES_MAX: u64 = 4 << 30;

/// The real disk.
pub(super) struct RealDisk {
    directory: PathBuf,
    quota: Arc<Quota>,
}

/// The bytes that temporary files may hold, and those that they hold.
struct Quota {
    bytes_max: u64,
    bytes_taken: AtomicU64,
}

/// A temporary file, which takes room as it grows and gives it back when it is dropped, whoever has it then.
struct SpooledFile {
    file: File,
    /// The position of the next read or write.
    position: u64,
    /// The bytes of the quota that the file has taken.
    bytes: u64,
    quota: Arc<Quota>,
}

/// Returns the bytes that temporary files may hold by default: a part of what is free. Several processes
/// share it.
#[doc(hidden)]
pub fn spool_bytes_by_default() -> u64 {
    sys::free_bytes(&std::env::temp_dir()).map_or(UNKNOWN_BYTES_MAX, |bytes| bytes / FREE_SHARE)
}

impl RealDisk {
    /// Makes the disk, with the system's folder for temporary files (`TMPDIR`).
    pub fn new(bytes_max: u64) -> RealDisk {
        let directory = std::env::temp_dir();
        log::info!("content of requests may take {bytes_max} bytes of {}", directory.display());
        RealDisk { directory, quota: Arc::new(Quota { bytes_max, bytes_taken: AtomicU64::new(0) }) }
    }
}

impl Quota {
    fn bytes_left(&self) -> u64 {
        self.bytes_max.saturating_sub(self.bytes_taken.load(Ordering::Relaxed))
    }

    /// Takes room for `bytes` more, all or none.
    fn take(&self, bytes: u64) -> io::Result<()> {
        let with_them = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.bytes_max);
        // Nothing is published by the counter: it is only added up.
        match self.bytes_taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_them) {
            Ok(_) => Ok(()),
            Err(_) => {
                let what = "no room is left for temporary files: spool_bytes_max is reached";
                Err(io::Error::new(io::ErrorKind::StorageFull, what))
            }
        }
    }
}

impl Write for SpooledFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.position.saturating_add(bytes.len() as u64);
        if let Some(more) = end.checked_sub(self.bytes) {
            self.quota.take(more)?;
            self.bytes = end;
        }
        let count = self.file.write(bytes)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Read for SpooledFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for SpooledFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = self.file.seek(to)?;
        Ok(self.position)
    }
}

impl Drop for SpooledFile {
    fn drop(&mut self) {
        self.quota.bytes_taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Spool for RealDisk {
    /// Creates a file that never had a name, if the system has such files; else one with a name that nobody
    /// could guess, and that is gone already.
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        let file = sys::create_unnamed(&self.directory, MODE).or_else(|_| create_named(&self.directory))?;
        Ok(Box::new(SpooledFile { file, position: 0, bytes: 0, quota: self.quota.clone() }))
    }

    fn room(&self) -> SpoolRoom {
        SpoolRoom { bytes_max: self.quota.bytes_max, bytes_left: self.quota.bytes_left() }
    }
}

fn create_named(directory: &Path) -> io::Result<File> {
    for _ in 0..ATTEMPTS {
        // Nothing goes into this hash but its keys, which are random and others each time.
        let number = RandomState::new().build_hasher().finish();
        let path = directory.join(format!("tidegate-{number:016x}.spool"));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
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
        sys::SENDS_FILES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// Asserts that nobody else finds this file.
    fn check(mut file: File) {
        file.write_all(b"ebb").unwrap();
        file.rewind().unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "ebb");
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.nlink()), (0o600, 0));
    }

    #[test]
    fn files_have_no_name_and_one_owner() {
        let directory = std::env::temp_dir().join(format!("tidegate-disk-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        for _ in 0..3 {
            check(create_named(&directory).unwrap());
            // Not every file system has them.
            sys::create_unnamed(&directory, MODE).into_iter().for_each(check);
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir(&directory).unwrap();
        assert!(RealDisk { directory, ..RealDisk::new(0) }.create().is_err());
    }

    #[test]
    fn room_is_taken_by_what_is_written_and_given_back_by_whoever_drops_the_file() {
        let mut disk = RealDisk::new(10);
        let left = |disk: &RealDisk| disk.room().bytes_left;
        let (mut one, mut other) = (disk.create().unwrap(), disk.create().unwrap());
        one.write_all(b"123456").unwrap();
        other.write_all(b"123").unwrap();
        assert_eq!(left(&disk), 1);
        let error = other.write_all(b"45").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        // What is written again takes no more, and nothing was taken in vain.
        one.rewind().unwrap();
        one.write_all(b"1234567").unwrap();
        assert_eq!((left(&disk), disk.room().bytes_max), (0, 10));
        let mut content = String::new();
        one.rewind().unwrap();
        one.read_to_string(&mut content).unwrap();
        assert_eq!(content, "1234567");
        std::thread::spawn(move || drop(one)).join().unwrap();
        assert_eq!(left(&disk), 7);
        drop(other);
        assert_eq!(left(&disk), 10);
    }
}
