//! The content of a request: complete before the application is called, unless it has asked for it earlier.
//!
//! Three places can hold it, and the application does not care which: the receive buffer itself
//! (a small upload that arrived at once is not copied at all), memory, or a temporary file.

use std::fmt;
use std::io::{self, Read};

use super::{IncomingContent, OwnedContent};
use crate::message::Fields;

/// The content of the request at hand: an [`io::Read`], and a slice if it lies in memory.
pub struct RequestContent<'a> {
    place: Place<'a>,
    /// Bytes read so far, unless the place counts them itself.
    read: usize,
}

impl fmt::Debug for RequestContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Borrowed(bytes) => write!(f, "{} bytes in memory", bytes.len()),
            Place::Owned { content, .. } => content.fmt(f),
            Place::Incoming(content) => content.fmt(f),
        }
    }
}

enum Place<'a> {
    /// The content lies in the receive buffer.
    Borrowed(&'a [u8]),
    /// The content was collected from several reads, with the trailer fields after it.
    Owned { content: &'a mut OwnedContent, trailers: Fields<'a> },
    /// The content is still coming. None once the application has taken it.
    Incoming(&'a mut Option<IncomingContent>),
}

impl<'a> RequestContent<'a> {
    /// Makes content that lies in somebody's buffer.
    pub fn borrowed(bytes: &'a [u8]) -> RequestContent<'a> {
        RequestContent { place: Place::Borrowed(bytes), read: 0 }
    }

    /// Makes content that was collected.
    pub fn owned(content: &'a mut OwnedContent) -> RequestContent<'a> {
        RequestContent::with_trailers(content, Fields::EMPTY)
    }

    /// Makes content that was collected, with the trailer fields that came after it.
    pub fn with_trailers(content: &'a mut OwnedContent, trailers: Fields<'a>) -> RequestContent<'a> {
        RequestContent { place: Place::Owned { content, trailers }, read: 0 }
    }

    /// The trailer fields that came after it: see [`Environ::trailers`](super::Environ::trailers).
    pub fn trailers(&self) -> Fields<'a> {
        match self.place {
            Place::Borrowed(_) | Place::Incoming(_) => Fields::EMPTY,
            Place::Owned { trailers, .. } => trailers,
        }
    }

    /// Makes content that is passed on as it comes.
    pub fn incoming(content: &'a mut Option<IncomingContent>) -> RequestContent<'a> {
        RequestContent { place: Place::Incoming(content), read: 0 }
    }

    /// Whether the content is still coming, and passed on as it comes.
    pub fn is_incoming(&self) -> bool {
        matches!(self.place, Place::Incoming(_))
    }

    /// Takes the content in pieces: as it comes, where it was [admitted](super::Admission::AsItComes) for that, or from
    /// where it lies. The second time it is empty.
    pub fn take_incoming(&mut self) -> IncomingContent {
        match &mut self.place {
            Place::Incoming(content) => {
                let is_taken = || IncomingContent::at_hand(OwnedContent::default(), Vec::new());
                content.take().unwrap_or_else(is_taken)
            }
            Place::Borrowed(_) | Place::Owned { .. } => {
                let trailers = self.trailers().to_owned();
                IncomingContent::at_hand(self.detach(), trailers)
            }
        }
    }

    /// The length in bytes, read or not; 0 while the content is still coming.
    pub fn len(&self) -> u64 {
        match &self.place {
            Place::Borrowed(bytes) => bytes.len() as u64,
            Place::Owned { content, .. } => content.len(),
            Place::Incoming(_) => 0,
        }
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of the content, if it is in memory; reading does not shorten it.
    pub fn as_slice(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Borrowed(bytes) => Some(bytes),
            Place::Owned { content: OwnedContent::Memory(bytes), .. } => Some(bytes),
            Place::Owned { content: OwnedContent::Spooled { .. }, .. } | Place::Incoming(_) => None,
        }
    }

    /// Takes the content away, for another thread. Only content in the receive buffer is copied.
    pub fn detach(&mut self) -> OwnedContent {
        match &mut self.place {
            Place::Borrowed(bytes) => OwnedContent::Memory(std::mem::take(bytes).to_vec()),
            Place::Owned { content, .. } => {
                // From its start again, as what is in memory. Should seeking fail, reading will too.
                let _ = content.rewind();
                std::mem::take(*content)
            }
            Place::Incoming(_) => OwnedContent::default(),
        }
    }
}

impl Read for RequestContent<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Place::Owned { content: OwnedContent::Spooled { file, .. }, .. } = &mut self.place {
            return file.read(into);
        }
        let rest = self.as_slice().and_then(|bytes| bytes.get(self.read..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{Spool, SpoolFile};
    use std::io::Cursor;

    /// A disk that keeps files in memory, or is full.
    struct MemorySpool(bool);

    impl Spool for MemorySpool {
        fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
            if self.0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(Box::new(Cursor::new(Vec::new())))
            }
        }
    }

    fn read_all(content: &mut RequestContent<'_>) -> Vec<u8> {
        let mut all = Vec::new();
        content.read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn content_moves_to_a_file_past_its_limit_and_reads_the_same() {
        let mut content = OwnedContent::default();
        for piece in [&b"abc"[..], b"def", b"ghi"] {
            content.append(piece, 6, &mut MemorySpool(false)).unwrap();
        }
        content.rewind().unwrap();
        assert!(matches!(content, OwnedContent::Spooled { length: 9, .. }));
        let mut view = RequestContent::owned(&mut content);
        assert_eq!((view.len(), view.as_slice()), (9, None));
        assert_eq!(read_all(&mut view), b"abcdefghi");
    }

    #[test]
    fn a_full_disk_is_an_error_of_the_append_that_needs_it() {
        let mut content = OwnedContent::default();
        content.append(b"abc", 3, &mut MemorySpool(true)).unwrap();
        let error = content.append(b"d", 3, &mut MemorySpool(true)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn borrowed_content_is_read_and_taken() {
        let mut view = RequestContent::borrowed(b"abc");
        assert_eq!(read_all(&mut view), b"abc");
        assert_eq!(view.as_slice(), Some(&b"abc"[..]));
        assert!(matches!(view.detach(), OwnedContent::Memory(bytes) if bytes == b"abc"));
        assert!(view.is_empty());
    }
}
