//! Content that waits for a filter, which looks at a slice at a time.

use std::collections::VecDeque;

use crate::gateway::Content;

/// Content that a filter has not seen yet, in the order in which it was given.
#[derive(Debug, Default)]
pub(super) struct Held {
    contents: VecDeque<Content<'static>>,
    /// The bytes of the first that were seen.
    seen: usize,
}

impl Held {
    /// Whether there is a slice that was not seen.
    pub fn has_more(&self) -> bool {
        self.contents.iter().map(|content| content.as_slice().len()).sum::<usize>() > self.seen
    }

    /// Keeps content from an offset on; only what is borrowed is copied. An offset is for the first one.
    pub fn push(&mut self, content: Content<'_>, from: usize) {
        let content = match content {
            Content::Borrowed(bytes) => Content::Owned(bytes[from..].to_vec()),
            content => {
                self.seen += from;
                content.into_owned()
            }
        };
        self.contents.push_back(content);
    }

    /// Takes the next slice, of no more than this many bytes but of one at least. Contents that were seen are given back.
    pub fn next(&mut self, bytes_max: usize) -> &[u8] {
        while self.contents.front().is_some_and(|first| self.seen >= first.as_slice().len()) {
            self.contents.pop_front();
            self.seen = 0;
        }
        let rest = self.contents.front().map_or(&[][..], |first| &first.as_slice()[self.seen..]);
        let slice = &rest[..rest.len().min(bytes_max.max(1))];
        self.seen += slice.len();
        slice
    }

    /// The memory that it holds, in bytes. What others may hold, too, counts as if it were held here alone.
    pub fn bytes(&self) -> usize {
        let of_one = |content: &Content<'_>| match content {
            Content::Owned(bytes) => bytes.capacity(),
            Content::Shared(bytes) => bytes.len(),
            Content::Borrowed(_) | Content::Static(_) => 0,
        };
        self.contents.iter().map(of_one).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_content_comes_back_in_slices_and_is_given_back() {
        let mut held = Held::default();
        held.push(Content::Static(b"0123456"), 3);
        held.push(Content::Borrowed(b"ab"), 0);
        held.push(Content::Static(b""), 0);
        held.push(Content::Owned(b"cdefg".to_vec()), 0);
        let mut slices = Vec::new();
        while held.has_more() {
            slices.push(String::from_utf8(held.next(3).to_vec()).unwrap());
        }
        assert_eq!(slices, ["345", "6", "ab", "cde", "fg"]);
        assert_eq!(held.next(3), b"");
        assert_eq!(held.bytes(), 0);
        held.push(Content::Borrowed(b"hij"), 1);
        assert_eq!(held.next(usize::MAX), b"ij");
        // It moves on even if somebody wants none.
        held.push(Content::Static(b"k"), 0);
        assert_eq!(held.next(0), b"k");
        assert!(!held.has_more());
    }
}
