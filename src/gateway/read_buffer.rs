//! Memory that a socket is read into, and that changes hands with what was read.
//!
//! ```text
//!  event loop ── reads into ──▶ ReadBuffer ── handed over ──▶ reader of content, on any thread
//!      ▲                                                              │
//!      └────────────────────────── Spares ◀── dropped ────────────────┘
//! ```
//!
//! Content that fills a read needs no copy: its reader gets the memory itself, and the loop takes up other memory for
//! its next read. That is mostly the same, since a reader on the loop's thread has dropped it by then.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most pieces of memory that wait to be used again. 4, a mebibyte: the loop needs one at a time, and what readers on
/// other threads give back beyond these is freed.
const SPARES_MAX: usize = 4;

/// Memory, of which the front is filled. The rest is initialized, too, so that it can be read into without being
/// cleared again.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    memory: Vec<u8>,
    filled: usize,
    /// The store that the memory came from, and goes back to; none for memory that came from elsewhere.
    spares: Option<Arc<Spares>>,
}

/// Memory that is ready to be read into.
#[derive(Debug)]
struct Spares {
    /// The length of each piece.
    bytes_each: usize,
    waiting: Mutex<Vec<Vec<u8>>>,
}

impl ReadBuffer {
    /// Makes the buffer of an event loop, which always has this much memory to be read into.
    pub fn for_reads_of(bytes: usize) -> ReadBuffer {
        let spares = Spares { bytes_each: bytes, waiting: Mutex::default() };
        ReadBuffer { memory: vec![0; bytes], filled: 0, spares: Some(Arc::new(spares)) }
    }

    /// All of the memory, to be read into. If it was handed over, other memory takes its place.
    #[inline]
    pub fn memory(&mut self) -> &mut [u8] {
        if self.memory.is_empty() {
            self.replace();
        }
        &mut self.memory
    }

    #[cold]
    fn replace(&mut self) {
        if let Some(spares) = &self.spares {
            self.memory = spares.take();
        }
    }

    /// Hands the memory over, with this many bytes that were read into it.
    pub fn hand_over(&mut self, filled: usize) -> ReadBuffer {
        ReadBuffer { memory: mem::take(&mut self.memory), filled, spares: self.spares.clone() }
    }

    /// The bytes that were read.
    pub fn filled(&self) -> &[u8] {
        &self.memory[..self.filled]
    }

    /// Whether no bytes were read.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Appends bytes, in memory that is there already as far as possible.
    pub fn append(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        match self.memory.get_mut(self.filled..end) {
            Some(room) => room.copy_from_slice(bytes),
            None => {
                self.memory.truncate(self.filled);
                self.memory.extend_from_slice(bytes);
            }
        }
        self.filled = end;
    }

    /// Gives back memory that is not filled. Returns whether that was at least half of it.
    pub fn trim(&mut self) -> bool {
        let before = self.memory.capacity();
        if self.filled > before / 2 {
            return false;
        }
        self.memory.truncate(self.filled);
        self.memory.shrink_to_fit();
        self.memory.capacity() <= before / 2
    }

    /// Forgets the bytes, and keeps the memory.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Takes the memory out, to be filled by something else.
    pub fn into_memory(mut self) -> Vec<u8> {
        let mut memory = mem::take(&mut self.memory);
        memory.clear();
        memory
    }

    /// The memory in bytes that the buffer takes.
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }
}

impl From<Vec<u8>> for ReadBuffer {
    fn from(memory: Vec<u8>) -> ReadBuffer {
        ReadBuffer { filled: memory.len(), memory, spares: None }
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if let Some(spares) = &self.spares {
            spares.put(mem::take(&mut self.memory));
        }
    }
}

impl Spares {
    /// Returns what was given back last, which is in the processor's cache most likely, or new memory.
    fn take(&self) -> Vec<u8> {
        let last = self.open().pop();
        last.unwrap_or_else(|| vec![0; self.bytes_each])
    }

    /// Keeps memory for the next read, unless there is enough of it, or it has grown.
    fn put(&self, memory: Vec<u8>) {
        let mut waiting = self.open();
        if memory.capacity() == self.bytes_each && waiting.len() < SPARES_MAX {
            waiting.push(memory);
        }
    }

    fn open(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads this into the buffer as the loop does, and returns what is handed over.
    fn read(buffer: &mut ReadBuffer, bytes: &[u8]) -> ReadBuffer {
        buffer.memory()[..bytes.len()].copy_from_slice(bytes);
        buffer.hand_over(bytes.len())
    }

    #[test]
    fn memory_that_is_given_back_is_used_again() {
        let mut buffer = ReadBuffer::for_reads_of(8);
        let first = read(&mut buffer, b"low");
        let address = first.memory.as_ptr();
        let second = read(&mut buffer, b"tide");
        assert_eq!((first.filled(), second.filled()), (&b"low"[..], &b"tide"[..]));
        assert_ne!(second.memory.as_ptr(), address);
        drop(first);
        assert_eq!(buffer.memory().as_ptr(), address);
        assert_eq!(buffer.memory().len(), 8);
    }

    #[test]
    fn no_more_memory_waits_than_is_needed() {
        let mut buffer = ReadBuffer::for_reads_of(8);
        drop((0..10).map(|_| read(&mut buffer, b"tide")).collect::<Vec<_>>());
        assert_eq!(buffer.spares.as_ref().unwrap().open().len(), SPARES_MAX);
    }

    #[test]
    fn appended_bytes_follow_what_was_read() {
        let mut buffer = ReadBuffer::for_reads_of(8);
        let mut handed = read(&mut buffer, b"low");
        handed.append(b" tid");
        assert_eq!((handed.filled(), handed.capacity()), (&b"low tid"[..], 8));
        handed.append(b"e, and high tide");
        assert_eq!(handed.filled(), b"low tide, and high tide");
        handed.clear();
        handed.append(b"ebb");
        assert_eq!(handed.filled(), b"ebb");
        assert!(handed.trim() && handed.capacity() < 8 && !handed.trim());
        handed.append(b" and flow");
        assert_eq!(handed.filled(), b"ebb and flow");
        // It has grown: the loop reads no more than it did.
        drop(handed);
        assert_eq!(buffer.memory().len(), 8);
    }
}
