//! Writes a request down for Java, as one block of bytes: it crosses in one copy, and no text is made of what nobody asks for.

use std::net::SocketAddr;

use tidegate::gateway::{Environ, IncomingContent, OwnedContent, Reservation};
use tidegate::message::{Fields, Version};

/// The length of content that travels in the block itself. 16 KiB: most forms; more is read from where it lies.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// The first byte of each block: which kind of job it is.
pub(crate) const KIND_REQUEST: u8 = 1;
pub(crate) const KIND_TASK: u8 = 2;
pub(crate) const KIND_EVENT: u8 = 3;

/// Bits of a request, as `Channel` in Java has them.
const FLAG_HTTP_11: u8 = 1;
const FLAG_CONTENT: u8 = 2;
const FLAG_AS_IT_COMES: u8 = 4;
const FLAG_QUERY: u8 = 8;

/// A request that waits for a thread.
pub(crate) struct Request {
    /// The whole request but long content. The number of the exchange is filled in when it is taken.
    pub block: Vec<u8>,
    /// The content that is not in the block.
    pub content: Content,
    /// The reservation that counts the memory of both.
    pub reservation: Option<Reservation>,
}

/// Content of a request that did not go into its block.
#[derive(Default)]
pub(crate) enum Content {
    #[default]
    Nothing,
    /// All of the content, of which the first bytes have been read.
    Memory(Vec<u8>, usize),
    /// A temporary file.
    Spooled(OwnedContent),
    /// Content that is coming, and a piece of it of which the first bytes have been read.
    Incoming(IncomingContent, Vec<u8>, usize),
}

/// The offset of the exchange's number in a block.
const ID_OFFSET: usize = 1;

impl Request {
    /// Writes down a request, and takes its content.
    pub fn new(environ: &mut Environ<'_>) -> Request {
        let mut flags = 0;
        let is_incoming = environ.content().is_incoming();
        let inline = match environ.content().as_slice() {
            Some(bytes) if bytes.len() <= INLINE_BYTES_MAX => bytes.to_vec(),
            _ => Vec::new(),
        };
        let content = if is_incoming {
            flags |= FLAG_AS_IT_COMES;
            let mut incoming = environ.take_incoming();
            incoming.ask_when_read();
            Content::Incoming(incoming, Vec::new(), 0)
        } else if inline.is_empty() && !environ.content().is_empty() {
            match environ.content().detach() {
                OwnedContent::Memory(bytes) => Content::Memory(bytes, 0),
                spooled => Content::Spooled(spooled),
            }
        } else {
            Content::Nothing
        };
        let has = |condition: bool, flag: u8| if condition { flag } else { 0 };
        flags |= has(environ.version() == Version::Http11, FLAG_HTTP_11)
            | has(!matches!(content, Content::Nothing), FLAG_CONTENT)
            | has(environ.target().query().is_some(), FLAG_QUERY);
        let block = write_block(environ, flags, &inline);
        let held = block.len() + if let Content::Memory(bytes, _) = &content { bytes.len() } else { 0 };
        let reservation = environ.client().memory.map(|account| account.reserve(held));
        Request { block, content, reservation }
    }
}

/// Fills in the number of the exchange, which follows the kind.
pub(crate) fn name_block(block: &mut [u8], id: i64) {
    if let Some(place) = block.get_mut(ID_OFFSET..ID_OFFSET + 8) {
        place.copy_from_slice(&id.to_be_bytes());
    }
}

fn write_block(environ: &Environ<'_>, flags: u8, content: &[u8]) -> Vec<u8> {
    let fields = environ.fields();
    let target = environ.target();
    let lines = fields.iter().fold(0, |sum, (name, value)| sum + name.len() + value.len() + 8);
    let mut block = Vec::with_capacity(lines + environ.raw_target().len() + content.len() + 160);
    block.push(KIND_REQUEST);
    block.extend_from_slice(&[0; 8]);
    block.push(flags);
    block.extend_from_slice(&environ.client().connection_id.to_be_bytes());
    push_text(&mut block, environ.method().as_str().as_bytes());
    // `OPTIONS *` has no path, and Tomcat looks for the asterisk.
    let path = if target.raw_path().is_empty() { environ.raw_target() } else { target.raw_path() };
    push_text(&mut block, path.as_bytes());
    push_text(&mut block, target.query().unwrap_or_default().as_bytes());
    push_text(&mut block, environ.host().unwrap_or_default().as_bytes());
    push_address(&mut block, environ.client().peer.address());
    push_address(&mut block, environ.client().local.copied());
    push_fields(&mut block, fields);
    push_fields(&mut block, environ.trailers());
    push_text(&mut block, content);
    block
}

/// Writes down the trailer fields of content that came by itself.
pub(crate) fn write_trailers(fields: Fields<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    push_fields(&mut block, fields);
    block
}

fn push_fields(block: &mut Vec<u8>, fields: Fields<'_>) {
    push_number(block, fields.len());
    for (name, value) in fields.iter() {
        push_text(block, name.as_bytes());
        push_text(block, value);
    }
}

fn push_text(block: &mut Vec<u8>, text: &[u8]) {
    push_number(block, text.len());
    block.extend_from_slice(text);
}

fn push_number(block: &mut Vec<u8>, number: usize) {
    // Heads and content in blocks are far shorter.
    block.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

/// Writes the number of bytes of the address (0 if there is none), these, and the port.
fn push_address(block: &mut Vec<u8>, address: Option<SocketAddr>) {
    match address {
        None => block.push(0),
        Some(SocketAddr::V4(address)) => {
            block.push(4);
            block.extend_from_slice(&address.ip().octets());
        }
        Some(SocketAddr::V6(address)) => match address.ip().to_ipv4_mapped() {
            Some(mapped) => {
                block.push(4);
                block.extend_from_slice(&mapped.octets());
            }
            None => {
                block.push(16);
                block.extend_from_slice(&address.ip().octets());
            }
        },
    }
    block.extend_from_slice(&address.map_or(0, |address| address.port()).to_be_bytes());
}
