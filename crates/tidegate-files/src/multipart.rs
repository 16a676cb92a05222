//! Several parts of a file in one response: `multipart/byteranges` (RFC 9110 §14.6).

use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tidegate::gateway::{BodyStream, FileRange, FileStream, GatewayError, Piece};
use tidegate::now::Moment;

use super::range::Part;

/// A response of several parts, each with a head of its own.
pub struct Multipart {
    boundary: String,
    /// Each part, with the bytes before its content.
    parts: VecDeque<(Vec<u8>, Part)>,
}

impl Multipart {
    /// Makes a response of these parts of a file of this length and type. No file can hold the boundary on purpose:
    /// nobody knows it before.
    pub fn new(parts: &[Part], length: u64, content_type: &[u8]) -> Multipart {
        let random = || RandomState::new().hash_one(length);
        let boundary = format!("{:016x}{:016x}", random(), random());
        let head_of = |part: &Part| {
            let Part { first, last } = *part;
            let mut head = format!("\r\n--{boundary}\r\nContent-Type: ").into_bytes();
            head.extend_from_slice(content_type);
            head.extend_from_slice(
                format!("\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n").as_bytes(),
            );
            (head, *part)
        };
        let parts = parts.iter().map(head_of).collect();
        Multipart { boundary, parts }
    }

    /// The value of Content-Type for the whole response.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    fn end(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary).into_bytes()
    }

    /// The number of bytes of the whole response.
    pub fn length(&self) -> u64 {
        let parts = self.parts.iter().map(|(head, part)| head.len() as u64 + part.length());
        parts.sum::<u64>() + self.end().len() as u64
    }

    /// Puts the response together from content in memory.
    pub fn of_memory(self, content: &[u8]) -> Vec<u8> {
        let mut all = Vec::with_capacity(usize::try_from(self.length()).unwrap_or(0));
        for (head, part) in &self.parts {
            all.extend_from_slice(head);
            all.extend_from_slice(content.get(part.first as usize..=part.last as usize).unwrap_or_default());
        }
        all.extend_from_slice(&self.end());
        all
    }

    /// Puts the response together from a file, while the socket takes it.
    pub fn of_file(self, file: Arc<File>) -> MultipartStream {
        MultipartStream { end: Some(self.end()), parts: self.parts, file, head: Vec::new(), content: None }
    }
}

/// A response of several parts that are read from a file.
pub struct MultipartStream {
    parts: VecDeque<(Vec<u8>, Part)>,
    /// The bytes after the last part; none once they were sent.
    end: Option<Vec<u8>>,
    file: Arc<File>,
    /// The bytes that were lent last, unless they were content.
    head: Vec<u8>,
    /// The part at hand.
    content: Option<FileStream>,
}

impl MultipartStream {
    /// Goes on to the next part, and returns the bytes before it.
    fn next_head(&mut self) -> Piece<'_> {
        if let Some((head, part)) = self.parts.pop_front() {
            self.head = head;
            let range = FileRange { file: self.file.clone(), offset: part.first, length: part.length() };
            self.content = Some(range.into_stream());
        } else if let Some(end) = self.end.take() {
            self.head = end;
        } else {
            return Piece::End;
        }
        Piece::Data(&self.head)
    }
}

impl BodyStream for MultipartStream {
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        // Content at its end gives way to the next head.
        if self.content.as_ref().is_some_and(FileStream::is_over) {
            self.content = None;
        }
        if self.content.is_none() {
            return Ok(self.next_head());
        }
        self.content.as_mut().map_or(Ok(Piece::End), |content| content.next_piece(now))
    }

    fn held_bytes(&self) -> usize {
        self.content.as_ref().map_or(0, BodyStream::held_bytes)
    }
}
