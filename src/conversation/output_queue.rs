//! Bytes owed to the peer, in order, until the socket has taken them.
//!
//! One queue serves the whole event loop as long as sockets take what they are given: its buffer
//! is written, emptied and used for the next connection. Only when a socket takes less does the
//! rest become a queue of that connection ([`OutputQueue::split_off`]).
//!
//! Short content is copied behind its head, so that both leave in one write; long content that the
//! application has handed over waits as it is. (Copying wins or ties up to 8 KiB; from 16 KiB on,
//! the vectored write does.)
//!
//! Part of a file can stand at the end of the queue: [`OutputQueue::slices`] never shows it, so it is
//! for surroundings that send files ([`Disk::sends_files`](super::Disk::sends_files)). Nothing is
//! queued behind it: what follows a file waits until the file has left.
//!
//! ```
//! use tidegate::conversation::OutputQueue;
//! use tidegate::gateway::Content;
//!
//! let mut queue = OutputQueue::default();
//! queue.buffer().extend_from_slice(b"head ");
//! queue.push(Content::Static(&[b'x'; 20_000]), 20_000);
//! assert_eq!((queue.owed(), queue.slices().count()), (20_005, 2));
//! queue.consume(5 + 19_999);
//! assert_eq!(queue.slices().next(), Some(&b"x"[..]));
//! ```

use std::collections::VecDeque;
use std::mem;

use crate::gateway::{Content, FileRange};

/// Content up to this length is copied. 16 KiB: where copying stops paying.
const COPIED_BYTES_MAX: usize = 16 * 1024;
/// A buffer that has grown beyond this is not kept for the next connection. 256 KiB: four times
/// the high-water mark.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// A queue of bytes.
#[derive(Debug, Default)]
pub struct OutputQueue {
    /// What leaves first: bytes that were copied.
    buffer: Vec<u8>,
    /// How many bytes have left, of the buffer or, if that is empty, of what follows first.
    sent: usize,
    /// What follows the buffer; none on the hot path, which so has only this to look at.
    rest: Option<Box<Rest>>,
}

/// What is not in the first buffer.
#[derive(Debug, Default)]
struct Rest {
    segments: VecDeque<Segment>,
    /// What leaves last; never of length 0.
    file: Option<FileRange>,
}

#[derive(Debug)]
enum Segment {
    /// Bytes that were copied; the last one may still grow.
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
    #[cold]
    fn buffer(&mut self) -> &mut Vec<u8> {
        if let None | Some(Segment::Content(_)) = self.segments.back() {
            self.segments.push_back(Segment::Buffer(Vec::new()));
        }
        match self.segments.back_mut() {
            Some(Segment::Buffer(bytes)) => bytes,
            Some(Segment::Content(_)) | None => unreachable!("a buffer was just put there"),
        }
    }

    #[cold]
    fn held_bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.as_slice().len()).sum()
    }

    #[cold]
    fn memory_bytes(&self) -> usize {
        let in_memory = |segment: &Segment| match segment {
            // It is part of the program.
            Segment::Content(Content::Static(_)) => 0,
            Segment::Content(content) => content.as_slice().len(),
            Segment::Buffer(bytes) => bytes.capacity(),
        };
        self.segments.iter().map(in_memory).sum()
    }

    #[cold]
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

    /// Whether so many bytes of content are copied into the buffer.
    #[inline]
    pub fn copies(bytes: usize) -> bool {
        bytes <= COPIED_BYTES_MAX
    }

    /// Appends the first `bytes` bytes of some content: copies them if they are few, keeps the
    /// content if they are many.
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

    /// Appends part of a file, which stays where it is until it is sent. Nothing may be appended
    /// behind it.
    pub fn push_file(&mut self, range: FileRange) {
        debug_assert!(self.file().is_none(), "nothing is queued behind a file");
        if range.length > 0 {
            self.rest.get_or_insert_default().file = Some(range);
        }
    }

    /// The part of a file that leaves behind all [slices](OutputQueue::slices).
    #[inline]
    pub fn file(&self) -> Option<&FileRange> {
        self.rest.as_ref()?.file.as_ref()
    }

    /// Takes out what is left of the file: it will not be sent as one.
    pub fn take_file(&mut self) -> Option<FileRange> {
        let file = self.rest.as_mut()?.file.take();
        self.forget_empty_rest();
        file
    }

    /// All that is owed, if that is one buffer: as always, unless much is owed.
    #[inline]
    pub fn single_buffer(&self) -> Option<&[u8]> {
        match &self.rest {
            None => self.buffer.get(self.sent..),
            Some(_) => None,
        }
    }

    /// How many bytes have not left, those of a file among them. (Where a `usize` cannot say how
    /// long the file is, the most that it can say.)
    #[inline]
    pub fn owed(&self) -> usize {
        match &self.rest {
            // Of this buffer no more has left than is in it.
            None => self.buffer.len() - self.sent,
            Some(rest) => self.with_rest(rest.owed_bytes()),
        }
    }

    /// How many bytes in memory have not left.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        match &self.rest {
            None => self.buffer.len() - self.sent,
            Some(rest) => self.with_rest(rest.held_bytes()),
        }
    }

    /// How many bytes of memory it takes, whatever of them has left.
    pub fn memory_bytes(&self) -> usize {
        self.buffer.capacity() + self.rest.as_ref().map_or(0, |rest| rest.memory_bytes())
    }

    fn with_rest(&self, bytes: usize) -> usize {
        self.buffer.len().saturating_add(bytes).saturating_sub(self.sent)
    }

    /// Whether everything has left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.owed() == 0
    }

    /// What is to leave, in order, without the file at the end.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let segments = self.rest.iter().flat_map(|rest| &rest.segments).map(Segment::as_slice);
        let all = std::iter::once(&self.buffer[..]).chain(segments);
        let mut sent = self.sent;
        all.filter(|slice| !slice.is_empty()).map(move |slice| &slice[mem::take(&mut sent)..])
    }

    /// Forgets bytes at the front, which have left.
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        self.sent += bytes;
        match &self.rest {
            None if self.sent < self.buffer.len() => {}
            None => self.clear_buffer(),
            Some(_) => self.consume_rest(),
        }
    }

    #[cold]
    #[inline(never)]
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

    /// Moves what is owed into a queue of its own; this one is as new, and keeps its buffer.
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

    /// Short, long, borrowed, shared and cut content, and what they amount to.
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

    /// A head of 4 bytes, and behind it the bytes 100 to 30,100 of a file.
    fn with_file() -> OutputQueue {
        let mut queue = OutputQueue::default();
        queue.buffer().extend_from_slice(b"head");
        let file = File::open("/dev/null").unwrap();
        queue.push_file(FileRange { file, offset: 100, length: 30_000 });
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
        queue.push_file(FileRange { file, offset: 0, length: u64::MAX });
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
