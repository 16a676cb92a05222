//! A queue of bytes owed to the peer, in order, until the socket has taken them.

use std::collections::VecDeque;
use std::mem;

use crate::gateway::{Content, FileRange};

/// Longest content that is copied. 16 KiB: above that copying costs more than it saves.
const COPIED_BYTES_MAX: usize = 16 * 1024;
/// Longest buffer that is kept for the next connection. 256 KiB: four times the high-water mark.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// A queue of bytes owed to the peer, in order, until the socket has taken them.
///
/// One queue serves the whole event loop as long as sockets take what they are given: its buffer
/// is written, emptied and used for the next connection. Only when a socket takes less does the
/// rest become a queue of that connection ([`OutputQueue::split_off`]).
///
/// Short content is copied behind its head, so that both leave in one write; long content that the
/// application has handed over waits as it is. (Copying wins or ties up to 8 KiB; from 16 KiB on,
/// the vectored write does.)
///
/// Part of a file can stand at the end of the queue: [`OutputQueue::slices`] never shows it, so it is
/// for surroundings that send files ([`Disk::sends_files`](super::Disk::sends_files)). Nothing is
/// queued behind it: what follows a file waits until the file has left.
///
/// ```
/// use tidegate::conversation::OutputQueue;
/// use tidegate::gateway::Content;
///
/// let mut queue = OutputQueue::default();
/// queue.buffer().extend_from_slice(b"head ");
/// queue.push(Content::Static(&[b'x'; 20_000]), 20_000);
/// assert_eq!((queue.owed(), queue.slices().count()), (20_005, 2));
/// queue.consume(5 + 19_999);
/// assert_eq!(queue.slices().next(), Some(&b"x"[..]));
/// ```
#[derive(Debug, Default)]
pub struct OutputQueue {
    /// Copied bytes, which are sent first.
    buffer: Vec<u8>,
    /// The number of bytes that were sent, of the buffer or, if that is empty, of the first part after it.
    sent: usize,
    /// The parts after the buffer; none on the hot path, which has nothing else to look at.
    rest: Option<Box<Rest>>,
}

/// The parts of a queue after its first buffer.
#[derive(Debug, Default)]
struct Rest {
    segments: VecDeque<Segment>,
    /// The file that is sent last; never of length 0.
    file: Option<FileRange>,
}

#[derive(Debug)]
enum Segment {
    /// Copied bytes; the last such buffer may still grow.
    Buffer(Vec<u8>),
    /// Content that was handed over.
    Content(Content<'static>),
}

impl Segment {
    fn as_slice(&self) -> &[u8] {
        match self {
            Segment::Buffer(bytes) => bytes,
            Segment::Content(content) => content.as_slice(),
        }
    }
}

impl Rest {
    /// The buffer at the end.
    fn buffer(&mut self) -> &mut Vec<u8> {
        if let None | Some(Segment::Content(_)) = self.segments.back() {
            self.segments.push_back(Segment::Buffer(Vec::new()));
        }
        match self.segments.back_mut() {
            Some(Segment::Buffer(bytes)) => bytes,
            Some(Segment::Content(_)) | None => unreachable!("a buffer was just put there"),
        }
    }

    fn held_bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.as_slice().len()).sum()
    }

    fn memory_bytes(&self) -> usize {
        let in_memory = |segment: &Segment| match segment {
            // It is part of the program.
            Segment::Content(Content::Static(_)) => 0,
            Segment::Content(content) => content.as_slice().len(),
            Segment::Buffer(bytes) => bytes.capacity(),
        };
        self.segments.iter().map(in_memory).sum()
    }

    fn owed_bytes(&self) -> usize {
        let in_file =
            self.file.as_ref().map_or(0, |range| usize::try_from(range.length).unwrap_or(usize::MAX));
        self.held_bytes().saturating_add(in_file)
    }
}

impl OutputQueue {
    /// The buffer at the end of the queue, to append to.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        match &mut self.rest {
            None => &mut self.buffer,
            Some(rest) => {
                debug_assert!(rest.file.is_none(), "nothing is queued behind a file");
                rest.buffer()
            }
        }
    }

    /// Whether this much content is copied into the buffer.
    #[inline]
    pub fn copies(bytes: usize) -> bool {
        bytes <= COPIED_BYTES_MAX
    }

    /// Appends the first `bytes` bytes of some content: copies a few, and keeps the content if they are many.
    pub fn push(&mut self, content: Content<'_>, bytes: usize) {
        if OutputQueue::copies(bytes) {
            return self.buffer().extend_from_slice(&content.as_slice()[..bytes]);
        }
        let rest = self.rest.get_or_insert_default();
        debug_assert!(rest.file.is_none(), "nothing is queued behind a file");
        rest.segments.push_back(Segment::Content(match content {
            Content::Owned(mut owned) => {
                owned.truncate(bytes);
                Content::Owned(owned)
            }
            Content::Static(slice) => Content::Static(&slice[..bytes]),
            Content::Shared(shared) if shared.len() == bytes => Content::Shared(shared),
            Content::Borrowed(_) | Content::Shared(_) => Content::Owned(content.as_slice()[..bytes].to_vec()),
        }));
    }

    /// Appends part of a file, which stays where it is until it is sent. Nothing may be appended after it.
    pub fn push_file(&mut self, range: FileRange) {
        debug_assert!(self.file().is_none(), "nothing is queued behind a file");
        if range.length > 0 {
            self.rest.get_or_insert_default().file = Some(range);
        }
    }

    /// The part of a file that is sent after all [slices](OutputQueue::slices).
    #[inline]
    pub fn file(&self) -> Option<&FileRange> {
        self.rest.as_ref()?.file.as_ref()
    }

    /// Removes the rest of the file, which will not be sent as one.
    pub fn take_file(&mut self) -> Option<FileRange> {
        let file = self.rest.as_mut()?.file.take();
        self.forget_empty_rest();
        file
    }

    /// Returns all that is owed if it lies in one buffer, as it does unless much is owed.
    #[inline]
    pub fn single_buffer(&self) -> Option<&[u8]> {
        match &self.rest {
            None => self.buffer.get(self.sent..),
            Some(_) => None,
        }
    }

    /// The number of bytes that were not sent, including those of a file. (A file that is too long for a
    /// `usize` counts as the greatest one.)
    #[inline]
    pub fn owed(&self) -> usize {
        match &self.rest {
            // Of this buffer no more has left than is in it.
            None => self.buffer.len() - self.sent,
            Some(rest) => self.with_rest(rest.owed_bytes()),
        }
    }

    /// The number of bytes in memory that were not sent.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        match &self.rest {
            None => self.buffer.len() - self.sent,
            Some(rest) => self.with_rest(rest.held_bytes()),
        }
    }

    /// The memory of the queue in bytes, whatever has been sent of it.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.rest.as_ref().map_or(0, |rest| rest.memory_bytes())
    }

    fn with_rest(&self, bytes: usize) -> usize {
        self.buffer.len().saturating_add(bytes).saturating_sub(self.sent)
    }

    /// Whether everything has been sent.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.owed() == 0
    }

    /// Yields the slices to be sent, in order, without the file at the end.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let segments = self.rest.iter().flat_map(|rest| &rest.segments).map(Segment::as_slice);
        let all = std::iter::once(&self.buffer[..]).chain(segments);
        let mut sent = self.sent;
        all.filter(|slice| !slice.is_empty()).map(move |slice| &slice[mem::take(&mut sent)..])
    }

    /// Removes bytes at the front, which were sent.
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        self.sent += bytes;
        match &self.rest {
            None if self.sent < self.buffer.len() => {}
            None => self.clear_buffer(),
            Some(_) => self.consume_rest(),
        }
    }

    fn consume_rest(&mut self) {
        if !self.buffer.is_empty() {
            if self.sent < self.buffer.len() {
                return;
            }
            let beyond = self.sent - self.buffer.len();
            self.clear_buffer();
            self.sent = beyond;
        }
        let Some(rest) = &mut self.rest else {
            return;
        };
        while let Some(first) = rest.segments.front()
            && self.sent >= first.as_slice().len()
        {
            self.sent -= first.as_slice().len();
            rest.segments.pop_front();
        }
        if rest.segments.is_empty() {
            let sent = mem::take(&mut self.sent) as u64;
            rest.file = rest.file.take().and_then(|FileRange { file, offset, length }| {
                let left = length.checked_sub(sent).filter(|left| *left > 0)?;
                Some(FileRange { file, offset: offset + sent, length: left })
            });
        }
        self.forget_empty_rest();
    }

    fn forget_empty_rest(&mut self) {
        self.rest = self.rest.take().filter(|rest| !rest.segments.is_empty() || rest.file.is_some());
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.rest = None;
        self.clear_buffer();
    }

    #[inline]
    fn clear_buffer(&mut self) {
        self.sent = 0;
        if self.buffer.capacity() <= KEPT_BYTES_MAX {
            self.buffer.clear();
        } else {
            self.buffer = Vec::new();
        }
    }

    /// Moves all owed bytes into a queue of their own; this one is empty then, and keeps its buffer.
    pub fn split_off(&mut self) -> OutputQueue {
        let rest = self.rest.take();
        // Where the buffer is empty, `sent` is of what follows it.
        let (buffer, sent) = match self.buffer.get(self.sent..) {
            Some(bytes) if !self.buffer.is_empty() => (bytes.to_vec(), 0),
            _ => (Vec::new(), self.sent),
        };
        self.clear_buffer();
        OutputQueue { buffer, sent, rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::sync::Arc;

    fn bytes(queue: &OutputQueue) -> Vec<u8> {
        queue.slices().flatten().copied().collect()
    }

    /// Makes a queue with short, long, borrowed, shared and cut content, and returns the bytes it amounts to.
    fn filled() -> (OutputQueue, Vec<u8>) {
        let mut queue = OutputQueue::default();
        let long: Vec<u8> = (0..20_000).map(|n| n as u8).collect();
        queue.buffer().extend_from_slice(b"head");
        queue.push(Content::Borrowed(b"short"), 5);
        queue.push(Content::Borrowed(&long), 20_000);
        queue.push(Content::Owned(long.clone()), 19_000);
        queue.buffer().extend_from_slice(b"between");
        queue.push(Content::Shared(Arc::from(&long[..])), 20_000);
        queue.push(Content::Static(b"end"), 2);
        let all = [b"headshort", &long[..], &long[..19_000], b"between", &long, b"en"].concat();
        (queue, all)
    }

    #[test]
    fn bytes_leave_in_order_however_they_are_taken() {
        for step in [1, 7, 100, 19_999, 100_000] {
            let (mut queue, all) = filled();
            let mut taken = Vec::new();
            while !queue.is_empty() {
                let take = step.min(queue.owed());
                taken.extend(queue.slices().flatten().copied().take(take));
                queue.consume(take);
                assert_eq!(queue.owed(), all.len() - taken.len());
            }
            assert!(taken == all, "in steps of {step}");
        }
    }

    #[test]
    fn the_rest_becomes_a_queue_of_its_own() {
        for sent in [0, 2, 9, 10, 20_009, 30_000] {
            let (mut queue, all) = filled();
            queue.consume(sent);
            let rest = queue.split_off();
            assert!(queue.is_empty());
            assert!(bytes(&rest) == all[sent..], "after {sent} bytes");
            queue.buffer().extend_from_slice(b"next");
            assert_eq!(bytes(&queue), b"next");
        }
    }

    /// Makes a queue with a head of 4 bytes, and after it the bytes 100 to 30,100 of a file.
    fn with_file() -> OutputQueue {
        let mut queue = OutputQueue::default();
        queue.buffer().extend_from_slice(b"head");
        let file = File::open("/dev/null").unwrap();
        queue.push_file(FileRange { file: file.into(), offset: 100, length: 30_000 });
        queue
    }

    #[test]
    fn file_leaves_behind_the_bytes() {
        let mut queue = with_file();
        assert_eq!((queue.owed(), queue.held_bytes()), (30_004, 4));
        queue.consume(3);
        assert_eq!(bytes(&queue), b"d");
        let mut queue = queue.split_off();
        queue.consume(1);
        let part = |queue: &OutputQueue| queue.file().map(|range| (range.offset, range.length));
        assert_eq!((part(&queue), queue.held_bytes()), (Some((100, 30_000)), 0));
        queue.consume(29_999);
        assert_eq!((part(&queue), queue.owed()), (Some((30_099, 1)), 1));
        queue.consume(1);
        assert!(part(&queue).is_none() && queue.is_empty());
    }

    #[test]
    fn file_that_is_taken_out_is_owed_no_more() {
        let mut queue = with_file();
        queue.consume(10);
        let rest = queue.take_file().unwrap();
        assert_eq!((rest.offset, rest.length, queue.owed()), (106, 29_994, 0));
        let mut queue = with_file();
        queue.clear();
        assert!(queue.is_empty() && queue.file().is_none());
    }

    #[test]
    fn file_too_long_for_a_number_is_still_owed() {
        let mut queue = OutputQueue::default();
        let file = File::open("/dev/null").unwrap();
        queue.push_file(FileRange { file: file.into(), offset: 0, length: u64::MAX });
        queue.consume(1_000);
        assert!(queue.owed() > 1 << 30);
    }

    #[test]
    fn a_buffer_is_kept_unless_it_has_grown_too_large() {
        let mut queue = OutputQueue::default();
        queue.buffer().extend_from_slice(&[0; 1000]);
        queue.consume(1000);
        assert!(queue.buffer().capacity() >= 1000);
        queue.buffer().extend_from_slice(&[0; 300 * 1024]);
        queue.consume(300 * 1024);
        assert_eq!(queue.buffer().capacity(), 0);
    }
}
