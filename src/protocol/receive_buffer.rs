//! A buffer for bytes that have arrived and cannot be interpreted yet.
//!
//! Most connections never own one: a read is parsed where it lies, in the event loop's shared scratch. Only a
//! leftover (half a head, or requests that must wait their turn) is copied here, and the buffer is freed as
//! soon as it is empty.

/// Least memory that is given back in part, in bytes. 4 KiB: a head or two, and the allocator has as much for every buffer.
const SHRUNK_BYTES_MIN: usize = 4 * 1024;

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
        } else if self.bytes.capacity() > SHRUNK_BYTES_MIN && self.bytes.len() < self.bytes.capacity() / 4 {
            // A pipeline that ends in half a head, which may take its time.
            self.bytes.shrink_to_fit();
        }
    }

    /// Whether the buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The memory that the buffer takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
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
        assert_eq!(buffer.memory_bytes(), 0);
    }

    #[test]
    fn memory_of_a_pipeline_is_given_up_before_its_last_byte() {
        let mut buffer = ReceiveBuffer::default();
        buffer.extend(&[b'x'; 64 * 1024]);
        for left in [60_000, 20_000, 16_000, 1_000, 1] {
            buffer.consume(buffer.as_slice().0.len() - left);
            assert_eq!(buffer.as_slice(), (&vec![b'x'; left][..], left));
            let most = SHRUNK_BYTES_MIN.max(left * 4 + 4);
            assert!(buffer.memory_bytes() <= most, "{} bytes for {left}", buffer.memory_bytes());
        }
    }
}
