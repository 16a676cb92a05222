//! Asks a gateway by hand and records its answer, for tests.

use std::io::{Read, Seek, SeekFrom};
use std::thread;
use std::time::Duration;

use tidegate::gateway::{
    Client, Content, Environ, Gateway, GatewayError, Misuse, NoWake, Peer, Piece, Remainder, RequestContent,
    ResponseSink, ServerInfo, StartResponse,
};
use tidegate::message::{ContentLength, Fields, Method, RequestHead, RequestTarget, Version};
use tidegate::now::Moment;

/// A response as a gateway gave it.
#[derive(Debug, Default)]
pub struct Recorded {
    now: Moment,
    pub code: u16,
    pub fields: Vec<(String, String)>,
    pub length: Option<u64>,
    pub content: Vec<u8>,
}

impl Recorded {
    /// The value of the first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.fields.iter();
        let line = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
        line.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.content.clone()).unwrap()
    }
}

impl ResponseSink for Recorded {
    fn begin(&mut self, code: u16, _reason: Option<&[u8]>) {
        self.code = code;
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        assert!(tidegate::message::is_field_value(value), "{name}: {}", value.escape_ascii());
        self.fields.push((name.to_string(), String::from_utf8_lossy(value).into_owned()));
    }

    fn end_head(&mut self, length: ContentLength) -> Result<(), Misuse> {
        if let ContentLength::Known(length) = length {
            self.length = Some(length);
        }
        Ok(())
    }

    fn content(&mut self, content: Content<'_>) -> Result<(), Misuse> {
        self.content.extend_from_slice(content.as_slice());
        Ok(())
    }

    fn retract(&mut self) -> Result<(), Misuse> {
        *self = Recorded { now: self.now, ..Recorded::default() };
        Ok(())
    }

    fn now(&self) -> Moment {
        self.now
    }
}

/// Asks for one target with these fields, at this time. A late answer is waited for, and pieces or a file are
/// read, as the server would.
pub fn ask_at(
    now: Moment,
    gateway: &mut impl Gateway,
    method: &str,
    target: &str,
    fields: &[(&str, &str)],
) -> Result<Recorded, GatewayError> {
    let lines: Vec<(String, Vec<u8>)> =
        fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let method = Method(method);
    let head = RequestHead {
        method,
        target: RequestTarget::parse(method, target).unwrap(),
        version: Version::Http11,
        fields: Fields::new(&lines),
    };
    let client = Client {
        connection_id: 1,
        peer: &Peer::Unix,
        local: None,
        has_finished_sending: false,
        wake_source: &NoWake,
        memory: None,
    };
    let server = ServerInfo::default();
    let content = RequestContent::borrowed(b"");
    let mut environ = Environ::new(&head, content, None, &client, &server, now);
    let mut recorded = Recorded { now, ..Recorded::default() };
    let body = gateway.call(&mut environ, StartResponse::new(&mut recorded))?;
    let mut remainder = body.into_remainder();
    while let Some(remains) = remainder {
        remainder = match remains {
            Remainder::Later { answer, .. } => {
                // Wake-ups may be spurious.
                thread::sleep(Duration::from_millis(1));
                answer.resume(StartResponse::new(&mut recorded))?.into_remainder()
            }
            Remainder::Stream(mut stream) => {
                while let Piece::Data(piece) = stream.next_piece(now)? {
                    recorded.content.extend_from_slice(piece);
                }
                return Ok(recorded);
            }
            Remainder::File(range) => {
                let mut file = range.file;
                file.seek(SeekFrom::Start(range.offset)).unwrap();
                file.take(range.length).read_to_end(&mut recorded.content).unwrap();
                return Ok(recorded);
            }
            _ => return Err(GatewayError::new("no folder answers so")),
        };
    }
    Ok(recorded)
}
