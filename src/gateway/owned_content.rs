//! Content that has been taken in: in memory, or in a temporary file.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Makes temporary files for content that is too long for memory.
///
/// A trait, so that the layers below the reactor do not touch the disk, and a test can fill it.
pub trait Spool {
    /// An empty file that nobody else can open and that is gone when it is dropped.
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>>;

    /// How much room there is; as much as anybody wants where nobody counts.
    fn room(&self) -> SpoolRoom {
        SpoolRoom { bytes_max: u64::MAX, bytes_left: u64::MAX }
    }
}

/// The room for temporary files, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolRoom {
    /// When there are none.
    pub bytes_max: u64,
    /// Now.
    pub bytes_left: u64,
}

/// A temporary file. Anything that can be read, written and rewound, and sent to another thread.
pub trait SpoolFile: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> SpoolFile for T {}

/// Content that belongs to whoever holds it, and can go to another thread.
pub enum OwnedContent {
    /// In memory.
    Memory(Vec<u8>),
    /// In a temporary file, positioned at its start once the request is complete.
    Spooled {
        /// The file.
        file: Box<dyn SpoolFile>,
        /// How many bytes of content it holds.
        length: u64,
    },
}

impl OwnedContent {
    /// Bytes of content.
    pub fn len(&self) -> u64 {
        match self {
            OwnedContent::Memory(bytes) => bytes.len() as u64,
            OwnedContent::Spooled { length, .. } => *length,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            // What it has taken, and not only what it has used.
            OwnedContent::Memory(bytes) => bytes.capacity(),
            OwnedContent::Spooled { .. } => 0,
        }
    }

    /// Takes room for `more` bytes before they are appended, where all of it is in memory: twice what was there at most, so
    /// that who announces much and sends little takes little, and no more than all of it, if its length is known.
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

    /// Appends bytes; moves all to a temporary file once more than `memory_bytes_max` are there.
    ///
    /// # Errors
    /// What creating or writing the file says: a full disk, for one.
    #[inline]
    pub fn append(&mut self, bytes: &[u8], memory_bytes_max: usize, spool: &mut dyn Spool) -> io::Result<()> {
        match self {
            OwnedContent::Memory(memory) if memory.len() + bytes.len() <= memory_bytes_max => {
                memory.extend_from_slice(bytes);
                Ok(())
            }
            OwnedContent::Memory(_) | OwnedContent::Spooled { .. } => self.append_to_file(bytes, spool),
        }
    }

    /// Moves what is in memory to a temporary file.
    ///
    /// # Errors
    /// As [`OwnedContent::append`].
    pub(crate) fn spill(&mut self, spool: &mut dyn Spool) -> io::Result<()> {
        self.append_to_file(&[], spool)
    }

    #[cold]
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

    /// Puts the reading position of a file at its start.
    ///
    /// # Errors
    /// What seeking says.
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
