//! A buffer for bytes that have arrived and cannot be interpreted yet.
//!
//! Most connections never own one: a read is parsed where it lies, in the event loop's shared scratch. Only a
//! leftover (half a head, or requests that must wait their turn) is copied here, and the buffer is freed as
//! soon as it is empty.

/// Received bytes, in order.
#[derive(Debug, Default)]
pub struct ReceiveBuffer {
    bytes: Vec<u8>,
    /// The number of bytes that were searched for the end of a head in vain.
    searched: usize,
}

impl ReceiveBuffer {
    /// Appends what has arrived.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes, and how many of them were searched in vain.
    pub fn as_slice(&self) -> (&[u8], usize) {
        (&self.bytes, self.searched)
    }

    /// Notes that all of it was searched, and no end of a head was found.
    pub fn mark_searched(&mut self) {
        self.searched = self.bytes.len();
    }

    /// Drops bytes at the front that were consumed; the rest was searched.
    pub fn consume(&mut self, count: usize) {
        self.bytes.drain(..count);
        self.mark_searched();
        if self.bytes.is_empty() {
            // The allocator is the pool: an idle connection holds nothing.
            *self = ReceiveBuffer::default();
        }
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number of bytes in the buffer.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_kept_in_order_and_memory_is_given_up() {
        let mut buffer = ReceiveBuffer::default();
        buffer.extend(b"GET / HT");
        buffer.mark_searched();
        assert_eq!(buffer.as_slice(), (&b"GET / HT"[..], 8));
        buffer.extend(b"TP");
        assert_eq!(buffer.as_slice(), (&b"GET / HTTP"[..], 8));
        buffer.consume(10);
        assert!(buffer.is_empty());
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
