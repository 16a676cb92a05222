//! Content that waits for a filter, which looks at a slice at a time.

use std::collections::VecDeque;

use crate::gateway::Content;

/// Longest content in bytes that is copied behind the content before it although it could be kept as it is. 4 KiB: to
/// copy that is cheaper than a turn of the loop.
const JOINED_BYTES_MAX: usize = 4 << 10;

/// Content that a filter has not seen yet, in the order in which it was given. Many short contents become one, so that to
/// take a slice does not depend on how many there are.
#[derive(Debug, Default)]
pub(super) struct Held {
    contents: Contents,
    /// The number of bytes of the first part that were seen.
    seen: usize,
    /// The number of bytes in all parts that were not seen.
    left: usize,
}

impl Held {
    /// Whether there is a slice that was not seen.
    pub fn has_more(&self) -> bool {
        self.left > 0
    }

    /// Keeps content from an offset on; only what is borrowed or short is copied. An offset is for the first one.
    pub fn push(&mut self, content: Content<'_>, from: usize) {
        let bytes = &content.as_slice()[from..];
        self.left += bytes.len();
        if matches!(content, Content::Borrowed(_)) || bytes.len() <= JOINED_BYTES_MAX {
            self.contents.join(bytes);
        } else {
            self.seen += from;
            self.contents.push(content.into_owned());
        }
    }

    /// Takes the next slice, of no more than this many bytes but of one at least. Contents that were seen are given back.
    pub fn next(&mut self, bytes_max: usize) -> &[u8] {
        while self.contents.first().is_some_and(|first| self.seen >= first.len()) {
            self.contents.drop_first();
            self.seen = 0;
        }
        let rest = self.contents.first().map_or(&[][..], |first| &first[self.seen..]);
        let slice = &rest[..rest.len().min(bytes_max.max(1))];
        self.seen += slice.len();
        self.left -= slice.len();
        slice
    }

    /// The memory in bytes of the content that waits. What others may hold, too, counts as if it were held here alone.
    pub fn bytes(&self) -> usize {
        self.contents.memory_bytes
    }
}

/// A queue of contents and the sum of their memory, which is asked for after each slice: to add them up anew would take a time
/// that grows with the square of their number. Nobody else touches either.
#[derive(Debug, Default)]
struct Contents {
    queue: VecDeque<Content<'static>>,
    memory_bytes: usize,
}

impl Contents {
    fn first(&self) -> Option<&[u8]> {
        self.queue.front().map(Content::as_slice)
    }

    fn push(&mut self, content: Content<'static>) {
        self.memory_bytes += memory_of(&content);
        self.queue.push_back(content);
    }

    /// Copies bytes behind the last content if that can grow, and else into a new one.
    fn join(&mut self, bytes: &[u8]) {
        match self.queue.back_mut() {
            Some(Content::Owned(last)) => {
                let before = last.capacity();
                last.extend_from_slice(bytes);
                self.memory_bytes += last.capacity() - before;
            }
            _ => self.push(Content::Owned(bytes.to_vec())),
        }
    }

    fn drop_first(&mut self) {
        self.memory_bytes -= self.queue.pop_front().as_ref().map_or(0, memory_of);
    }
}

fn memory_of(content: &Content<'_>) -> usize {
    match content {
        Content::Owned(bytes) => bytes.capacity(),
        Content::Shared(bytes) => bytes.len(),
        Content::Borrowed(_) | Content::Static(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn held_content_comes_back_in_slices_and_is_given_back() {
        static LONG: [u8; JOINED_BYTES_MAX + 4] = [b'-'; JOINED_BYTES_MAX + 4];
        let mut held = Held::default();
        held.push(Content::Static(&LONG), 3);
        held.push(Content::Borrowed(b"ab"), 0);
        held.push(Content::Static(b""), 0);
        held.push(Content::Owned(b"cdefg".to_vec()), 0);
        let mut slices = Vec::new();
        while held.has_more() {
            slices.push(String::from_utf8(held.next(JOINED_BYTES_MAX).to_vec()).unwrap());
        }
        assert_eq!(slices, ["-".repeat(JOINED_BYTES_MAX).as_str(), "-", "abcdefg"]);
        assert_eq!(held.next(3), b"");
        assert_eq!(held.bytes(), 0);
        held.push(Content::Borrowed(b"hij"), 1);
        assert_eq!(held.next(usize::MAX), b"ij");
        // It moves on even if somebody wants none.
        held.push(Content::Static(b"k"), 0);
        assert_eq!(held.next(0), b"k");
        assert!(!held.has_more());
    }

    #[test]
    fn many_short_contents_become_one() {
        let mut held = Held::default();
        for _ in 0..100_000 {
            held.push(Content::Static(b"x"), 0);
            held.push(Content::Borrowed(b"y"), 0);
        }
        assert!(held.bytes() < 400_000);
        assert_eq!(held.next(usize::MAX).len(), 200_000);
        assert!(!held.has_more());
    }

    #[test]
    fn memory_is_known_without_a_look_at_each_content() {
        let mut held = Held::default();
        let (owned, shared) = (vec![b'o'; JOINED_BYTES_MAX + 1], Arc::<[u8]>::from(vec![b's'; 10_000]));
        for _ in 0..3 {
            held.push(Content::Owned(owned.clone()), 0);
            held.push(Content::Shared(shared.clone()), 0);
            held.push(Content::Borrowed(b"short"), 0);
            held.push(Content::Borrowed(b"and joined"), 0);
            held.push(Content::Static(&[b'-'; JOINED_BYTES_MAX + 1]), 0);
        }
        while held.has_more() {
            held.next(1_000);
            let queue = &held.contents.queue;
            assert_eq!(held.bytes(), queue.iter().map(memory_of).sum::<usize>());
        }
        held.next(1);
        assert_eq!(held.bytes(), 0);
    }
}
