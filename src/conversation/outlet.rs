//! The way of content from an application into the output queue.

use super::output_queue::OutputQueue;
use super::record::Record;
use crate::gateway::Content;
use crate::protocol::{BodyEncoder, Http1, ResponseState};

/// The parts that make up the response of one exchange: its framing, the queue, and the record of both.
pub(super) struct Outlet<'a> {
    pub http: &'a mut Http1,
    pub record: &'a mut Record,
    pub out: &'a mut OutputQueue,
}

impl Outlet<'_> {
    /// Lends the outlet on, for a shorter time.
    pub fn reborrow(&mut self) -> Outlet<'_> {
        Outlet { http: self.http, record: self.record, out: self.out }
    }

    /// Queues one piece of content in its framing, as much of it as the declared length admits.
    pub fn write(&mut self, content: Content<'_>) {
        let (bytes, buffer) = (content.as_slice(), self.out.buffer());
        let admitted = self.http.open_piece(buffer, bytes.len() as u64);
        if admitted > 0 {
            match bytes.get(..admitted as usize) {
                Some(bytes) if OutputQueue::copies(bytes.len()) => {
                    buffer.extend_from_slice(bytes);
                    self.http.close_piece(buffer);
                }
                _ => self.push(content, admitted as usize),
            }
            self.record.content_bytes += admitted;
        }
    }

    /// Queues content that is too long to be copied.
    fn push(&mut self, content: Content<'_>, bytes: usize) {
        self.out.push(content, bytes);
        self.http.close_piece(self.out.buffer());
    }

    /// Counts bytes of a file that were handed over. Its length was declared, so there is no framing around them.
    pub fn count_file(&mut self, bytes: u64) {
        debug_assert!(matches!(self.http.response(), ResponseState::Body(BodyEncoder::Length(_))));
        self.record.content_bytes += self.http.open_piece(self.out.buffer(), bytes);
    }
}
