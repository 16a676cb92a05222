//! Content that was received and belongs to its holder: in memory, or in a temporary file.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Makes temporary files for content that is too long for memory.
///
/// A trait, so that the layers below the reactor do not touch the disk, and a test can fill it.
pub trait Spool {
    /// Makes an empty file that nobody else can open and that is gone when it is dropped.
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>>;

    /// The room that is left; unlimited if nobody counts.
    fn room(&self) -> SpoolRoom {
        SpoolRoom { bytes_max: u64::MAX, bytes_left: u64::MAX }
    }
}

/// The room for temporary files, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolRoom {
    /// The bytes that all files may hold together.
    pub bytes_max: u64,
    /// The bytes that are still free.
    pub bytes_left: u64,
}

/// A temporary file. Anything that can be read, written and rewound, and sent to another thread.
pub trait SpoolFile: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> SpoolFile for T {}

/// Content that belongs to its holder, and can go to another thread.
pub enum OwnedContent {
    /// Content in memory.
    Memory(Vec<u8>),
    /// Content in a temporary file, positioned at its start once the request is complete.
    Spooled {
        /// The file.
        file: Box<dyn SpoolFile>,
        /// The length of the content in bytes.
        length: u64,
    },
}

impl OwnedContent {
    /// The length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            OwnedContent::Memory(bytes) => bytes.len() as u64,
            OwnedContent::Spooled { length, .. } => *length,
        }
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory in bytes that the content takes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            // What it has taken, and not only what it has used.
            OwnedContent::Memory(bytes) => bytes.capacity(),
            OwnedContent::Spooled { .. } => 0,
        }
    }

    /// Reserves room for `more` bytes before they are appended, if all of it is in memory. It at most
    /// doubles, so that a client that announces much and sends little takes little; and it never exceeds the
    /// length, if that is known.
    pub(crate) fn make_room(&mut self, more: usize, expected_bytes: Option<u64>) {
        let OwnedContent::Memory(memory) = self else {
            return;
        };
        let needed = memory.len() + more;
        if needed > memory.capacity() {
            let expected = expected_bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
            let doubled = memory.capacity().saturating_mul(2);
            let capacity = doubled.min(expected).max(needed);
            memory.reserve_exact(capacity - memory.len());
        }
    }

    /// Appends bytes, and moves all to a temporary file once more than `memory_bytes_max` are there.
    ///
    /// # Errors
    /// Returns the error when the file cannot be created or written, on a full disk for instance.
    pub fn append(&mut self, bytes: &[u8], memory_bytes_max: usize, spool: &mut dyn Spool) -> io::Result<()> {
        match self {
            OwnedContent::Memory(memory) if memory.len() + bytes.len() <= memory_bytes_max => {
                memory.extend_from_slice(bytes);
                Ok(())
            }
            OwnedContent::Memory(_) | OwnedContent::Spooled { .. } => self.append_to_file(bytes, spool),
        }
    }

    /// Moves content from memory to a temporary file.
    ///
    /// # Errors
    /// Returns the same errors as [`OwnedContent::append`].
    pub(crate) fn spill(&mut self, spool: &mut dyn Spool) -> io::Result<()> {
        self.append_to_file(&[], spool)
    }

    fn append_to_file(&mut self, bytes: &[u8], spool: &mut dyn Spool) -> io::Result<()> {
        if let OwnedContent::Memory(memory) = self {
            let mut file = spool.create()?;
            file.write_all(memory)?;
            *self = OwnedContent::Spooled { file, length: memory.len() as u64 };
        }
        if let OwnedContent::Spooled { file, length } = self {
            file.write_all(bytes)?;
            *length += bytes.len() as u64;
        }
        Ok(())
    }

    /// Moves the reading position of a file to its start.
    ///
    /// # Errors
    /// Returns the error of the system when the file cannot be positioned.
    pub fn rewind(&mut self) -> io::Result<()> {
        match self {
            OwnedContent::Memory(_) => Ok(()),
            OwnedContent::Spooled { file, .. } => file.seek(SeekFrom::Start(0)).map(drop),
        }
    }
}

impl Default for OwnedContent {
    fn default() -> OwnedContent {
        OwnedContent::Memory(Vec::new())
    }
}

impl fmt::Debug for OwnedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if matches!(self, OwnedContent::Memory(_)) { "memory" } else { "a file" };
        write!(f, "{} bytes in {place}", self.len())
    }
}
