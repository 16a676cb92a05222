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

use crate::gateway::Content;

/// Content up to this length is copied. 16 KiB: where copying stops paying.
const COPIED_BYTES_MAX: usize = 16 * 1024;
/// A buffer that has grown beyond this is not kept for the next connection. 256 KiB: four times
/// the high-water mark.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// A queue of bytes.
#[derive(Debug, Default)]
pub struct OutputQueue {
    /// What leaves first.
    front: Segment,
    /// How many bytes of `front` have left.
    sent: usize,
    /// What follows it; empty on the hot path.
    rest: VecDeque<Segment>,
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

impl Default for Segment {
    fn default() -> Segment {
        Segment::Buffer(Vec::new())
    }
}

impl OutputQueue {
    /// The buffer at the end of the queue, to append to.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        match (&mut self.front, self.rest.is_empty()) {
            // As always, unless much is owed.
            (Segment::Buffer(bytes), true) => bytes,
            (front, _) => Self::last_buffer(front, &mut self.rest),
        }
    }

    #[cold]
    fn last_buffer<'q>(front: &'q mut Segment, rest: &'q mut VecDeque<Segment>) -> &'q mut Vec<u8> {
        if let Segment::Content(_) = rest.back().unwrap_or(front) {
            rest.push_back(Segment::default());
        }
        match rest.back_mut().unwrap_or(front) {
            Segment::Buffer(bytes) => bytes,
            Segment::Content(_) => unreachable!("a buffer was just put behind it"),
        }
    }

    /// Appends the first `bytes` bytes of some content: copies them if they are few, keeps the
    /// content if they are many.
    pub fn push(&mut self, content: Content<'_>, bytes: usize) {
        if bytes <= COPIED_BYTES_MAX {
            return self.buffer().extend_from_slice(&content.as_slice()[..bytes]);
        }
        self.rest.push_back(Segment::Content(match content {
            Content::Owned(mut owned) => {
                owned.truncate(bytes);
                Content::Owned(owned)
            }
            Content::Static(slice) => Content::Static(&slice[..bytes]),
            Content::Shared(shared) if shared.len() == bytes => Content::Shared(shared),
            Content::Borrowed(_) | Content::Shared(_) => Content::Owned(content.as_slice()[..bytes].to_vec()),
        }));
    }

    /// How many bytes have not left.
    #[inline]
    pub fn owed(&self) -> usize {
        let front = self.front.as_slice().len() - self.sent;
        if self.rest.is_empty() {
            return front;
        }
        self.rest.iter().fold(front, |sum, segment| sum + segment.as_slice().len())
    }

    /// Whether everything has left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.owed() == 0
    }

    /// What is to leave, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let front = &self.front.as_slice()[self.sent..];
        let all = std::iter::once(front).chain(self.rest.iter().map(Segment::as_slice));
        all.filter(|slice| !slice.is_empty())
    }

    /// Forgets bytes at the front, which have left.
    pub fn consume(&mut self, bytes: usize) {
        self.sent += bytes;
        while self.sent >= self.front.as_slice().len() {
            let Some(next) = self.rest.pop_front() else {
                return self.clear();
            };
            self.sent -= self.front.as_slice().len();
            self.front = next;
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.rest.clear();
        self.sent = 0;
        match &mut self.front {
            Segment::Buffer(bytes) if bytes.capacity() <= KEPT_BYTES_MAX => bytes.clear(),
            front => *front = Segment::default(),
        }
    }

    /// Moves what is owed into a queue of its own; this one is as new, and keeps its buffer.
    pub fn split_off(&mut self) -> OutputQueue {
        let front = match &mut self.front {
            Segment::Buffer(bytes) => Segment::Buffer(bytes[self.sent..].to_vec()),
            Segment::Content(_) => {
                let rest = mem::take(&mut self.rest);
                let sent = mem::take(&mut self.sent);
                return OutputQueue { front: mem::take(&mut self.front), sent, rest };
            }
        };
        let rest = mem::take(&mut self.rest);
        self.clear();
        OutputQueue { front, sent: 0, rest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
