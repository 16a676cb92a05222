//! What arrived in an upload: every part of the form, with its length and a checksum.
//!
//! Reading half a gigabyte takes its time, and a gateway must not block: so the content moves to
//! another thread, which reads it piece by piece and answers from there.

use std::io::{self, Read};
use std::sync::mpsc::{self, Sender};
use std::thread;

use tidegate::gateway::{
    Body, Environ, GatewayError, OwnedEnviron, Responder, Response, StartResponse, deferred,
};

use super::multipart::{Multipart, MultipartError, PartHead, boundary};
use super::page;

/// How much of the beginning of each part is shown.
const FIRST_BYTES: usize = 48;
/// Most parts that are reported of one upload; a form of people has a handful.
const PARTS_MAX: usize = 1_000;
const READ_BYTES: usize = 64 * 1024;

/// Takes uploads, and has them looked through by one thread, in order.
#[derive(Default)]
pub struct UploadDesk {
    /// None until the first upload.
    clerk: Option<Sender<(OwnedEnviron, Responder)>>,
}

/// All that arrived.
#[derive(Debug, Default)]
pub struct Report {
    /// The content type of the whole.
    pub content_type: String,
    /// Bytes of the whole.
    pub bytes: u64,
    /// What the form consists of; the content itself, if it is no form.
    pub parts: Vec<PartReport>,
}

/// One part of what arrived.
#[derive(Debug)]
pub struct PartReport {
    /// What it is said to be.
    pub head: PartHead,
    /// How much it is.
    pub bytes: u64,
    /// CRC-32, as in gzip and PNG.
    pub checksum: u32,
    /// How it begins.
    pub first_bytes: Vec<u8>,
}

impl UploadDesk {
    /// Answers later with a page about the content of this request.
    pub fn receive(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let (responder, answer) = deferred(environ.wakeup());
        let sent = self.clerk()?.send((environ.detach(), responder));
        sent.map_err(|_| GatewayError::new("the thread that reads uploads has ended"))?;
        Ok(start_response.later(None, answer))
    }

    fn clerk(&mut self) -> io::Result<&Sender<(OwnedEnviron, Responder)>> {
        let clerk = match self.clerk.take() {
            Some(clerk) => clerk,
            None => {
                let (clerk, uploads) = mpsc::channel::<(OwnedEnviron, Responder)>();
                let work = move || {
                    for (mut environ, responder) in uploads {
                        // Not worth the reading once the client has left.
                        if !responder.is_abandoned() {
                            responder.respond(environ.with(answer));
                        }
                    }
                };
                thread::Builder::new().name("uploads".to_string()).spawn(work)?;
                clerk
            }
        };
        Ok(self.clerk.insert(clerk))
    }
}

fn answer(environ: &mut Environ<'_>) -> Response {
    let content_type = environ.field("Content-Type").unwrap_or_default();
    let content_type = String::from_utf8_lossy(content_type).into_owned();
    let bytes = environ.content().len();
    let (code, html) = match parts(&content_type, environ.content()) {
        Ok(parts) => (200, page::upload_report(&Report { content_type, bytes, parts })),
        Err(error) => (400, page::upload_error(&error.to_string())),
    };
    let response = Response::new(code).content(html);
    page::FIELDS.iter().fold(response, |response, (name, value)| response.field(name, value))
}

fn parts(content_type: &str, content: impl Read) -> Result<Vec<PartReport>, MultipartError> {
    match boundary(content_type)? {
        Some(boundary) => parts_of_form(Multipart::new(content, &boundary)),
        None => Ok(vec![part_of_plain(content_type, content)?]),
    }
}

fn parts_of_form(mut form: Multipart<impl Read>) -> Result<Vec<PartReport>, MultipartError> {
    let mut parts = Vec::new();
    while let Some(head) = form.next_part()? {
        if parts.len() == PARTS_MAX {
            return Err(MultipartError::TooManyParts);
        }
        let mut part = PartReport::new(head);
        while let Some(piece) = form.next_piece()? {
            part.append(piece);
        }
        parts.push(part.finish());
    }
    Ok(parts)
}

/// Content that is no form, taken for a form of one part.
fn part_of_plain(content_type: &str, mut content: impl Read) -> io::Result<PartReport> {
    let head = PartHead { content_type: Some(content_type.to_string()), ..PartHead::default() };
    let mut part = PartReport::new(head);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(part.finish()),
            count => part.append(&buffer[..count]),
        }
    }
}

impl PartReport {
    fn new(head: PartHead) -> PartReport {
        PartReport { head, bytes: 0, checksum: u32::MAX, first_bytes: Vec::new() }
    }

    fn append(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.checksum = piece
            .iter()
            .fold(self.checksum, |crc, &byte| CRC_TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8));
        let missing = FIRST_BYTES - self.first_bytes.len();
        self.first_bytes.extend_from_slice(&piece[..missing.min(piece.len())]);
    }

    fn finish(mut self) -> PartReport {
        self.checksum = !self.checksum;
        self
    }
}

/// CRC-32 of each byte (RFC 1952 §8).
static CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, content: &[u8], expected: &[(&str, u64, u32, &[u8])]) {
        let parts = parts(content_type, content).unwrap();
        let said: Vec<_> = parts
            .iter()
            .map(|part| {
                let name = part.head.name.as_deref().unwrap_or_default();
                (name, part.bytes, part.checksum, &part.first_bytes[..])
            })
            .collect();
        assert_eq!(said, expected);
    }

    #[test]
    fn content_that_is_no_form_is_reported_as_one_part() {
        check("text/plain", b"123456789", &[("", 9, 0xcbf4_3926, b"123456789")]);
        check("", b"", &[("", 0, 0, b"")]);
    }

    #[test]
    fn form_is_reported_part_by_part() {
        let form = b"--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n123456789\r\n\
            --B\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n\r\n--B--\r\n";
        check(
            "multipart/form-data; boundary=B",
            form,
            &[("a", 9, 0xcbf4_3926, b"123456789"), ("b", 0, 0, b"")],
        );
    }

    #[test]
    fn only_the_beginning_of_a_long_part_is_kept() {
        let content = vec![b'x'; 200_000];
        let parts = parts("", &content[..]).unwrap();
        assert_eq!((parts[0].bytes, parts[0].first_bytes.len()), (200_000, FIRST_BYTES));
    }

    #[test]
    fn form_of_too_many_parts_is_refused() {
        let part = "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n";
        let form = part.repeat(PARTS_MAX + 1) + "--B--\r\n";
        let result = parts("multipart/form-data; boundary=B", form.as_bytes());
        assert!(matches!(result, Err(MultipartError::TooManyParts)));
    }
}
