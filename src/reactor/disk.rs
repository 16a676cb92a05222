//! Temporary files for long request content, and reading files to send.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::stream::SENDS_FILES;
use crate::conversation::Disk;
use crate::gateway::{Spool, SpoolFile};

/// How many names are tried before giving up. 16: nobody can guess one of 64 bits, so one clash is more than will
/// be seen.
const ATTEMPTS: u32 = 16;
/// The mode of a temporary file, for as long as it has a name: nobody else reads it.
const MODE: u32 = 0o600;

/// The real disk.
pub(super) struct RealDisk {
    directory: PathBuf,
}

impl RealDisk {
    /// Temporary files go to the system's folder for them (`TMPDIR`).
    pub fn new() -> RealDisk {
        RealDisk { directory: std::env::temp_dir() }
    }
}

impl Spool for RealDisk {
    /// A file that never had a name, where the system has such files; else one whose name was nobody's to guess,
    /// and is gone already.
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        Ok(Box::new(create_unnamed(&self.directory).or_else(|_| create_named(&self.directory))?))
    }
}

/// Not every file system has files without a name, and what it says then differs; the way with a name meets
/// again whatever else may be wrong.
#[cfg(all(feature = "sockets", target_os = "linux"))]
fn create_unnamed(directory: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::EXCL;
    Ok(open(directory, flags, Mode::from_raw_mode(MODE))?.into())
}

#[cfg(not(all(feature = "sockets", target_os = "linux")))]
fn create_unnamed(_directory: &Path) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
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
        SENDS_FILES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};
    use std::os::unix::fs::MetadataExt;

    /// A file of one's own that nobody finds.
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
            create_unnamed(&directory).into_iter().for_each(check);
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir(&directory).unwrap();
        assert!(RealDisk { directory }.create().is_err());
    }
}
