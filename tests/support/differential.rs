//! Reads bytes of any kind in two ways that must agree: at once, and cut into pieces.
//!
//! Where a read happens to end is nobody's business, so the application must see the same requests
//! and the client the same answers. What was accepted must have one meaning: written down again as
//! plainly as can be, it is read as the same request. And nothing gets stuck: once the client has
//! ended its side, the connection ends.
//!
//! Three functions, from the inside out: [`check_head`], [`check_chunked`], [`check_conversation`].
//! They panic with a sentence. Fuzzing calls them with what it makes up, tests with what it found.

use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;

use super::response::{Response, read_all};
use tidegate::conversation::{ByHand, Wants};
use tidegate::limits::Limits;
use tidegate::message::Version;
use tidegate::protocol::{ChunkedDecoder, FieldSlots, ProtocolError, blank_lines, has_head_end, parse_head};
use tidegate::{Body, Environ, GatewayError, StartResponse};

/// Chooses where bytes are cut, one length after the other, by a small generator.
pub struct Cuts {
    state: u32,
    longest: u32,
}

impl Cuts {
    /// Makes pieces of 1 byte to a few, or to many.
    pub fn new(seed: u8) -> Cuts {
        Cuts { state: u32::from(seed) * 2 + 1, longest: [1, 2, 7, 64][usize::from(seed) % 4] }
    }

    /// Returns how many of these bytes come next: one at least, if there is one.
    pub fn next(&mut self, left: usize) -> usize {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        left.min(1 + (self.state >> 16) as usize % self.longest as usize)
    }
}

/// A request as the application has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub is_http11: bool,
    pub fields: Vec<(String, Vec<u8>)>,
    /// The content; none if the request has none at all.
    pub content: Option<Vec<u8>>,
}

impl Seen {
    fn of(environ: &mut Environ<'_>) -> Seen {
        let mut content = Vec::new();
        environ.content().read_to_end(&mut content).expect("content can be read");
        assert_eq!(content.len() as u64, environ.content_length().unwrap_or(0), "content has its length");
        let fields = environ.fields().iter().filter(|(name, _)| !is_of_framing(name));
        Seen {
            method: environ.method().as_str().to_string(),
            target: String::from_utf8_lossy(&environ.get("REQUEST_URI").unwrap_or_default()).into_owned(),
            is_http11: environ.version() == Version::Http11,
            fields: fields.map(|(name, value)| (name.to_string(), value.to_vec())).collect(),
            content: environ.content_length().map(|_| content),
        }
    }

    /// The plainest message that says the same.
    fn encode(&self) -> Vec<u8> {
        let version = if self.is_http11 { "HTTP/1.1" } else { "HTTP/1.0" };
        let mut message = format!("{} {} {version}\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.fields {
            message.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if let Some(content) = &self.content {
            message.extend(format!("Content-Length: {}\r\n", content.len()).into_bytes());
        }
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(self.content.as_deref().unwrap_or_default());
        message
    }
}

/// Whether a re-encoded message has this field in another form, or not at all: nobody waits for a 100.
fn is_of_framing(name: &str) -> bool {
    ["Content-Length", "Transfer-Encoding", "Expect"].iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// The result of feeding some bytes.
struct Dialogue {
    seen: Vec<Seen>,
    responses: Vec<Response>,
}

/// Returns the default limits, or ones so small that random bytes exceed them.
fn limits(variant: u8) -> Limits {
    match variant % 3 {
        0 => Limits::default(),
        1 => Limits { body_memory_bytes_max: 3, output_bytes_high: 300, ..Limits::default() },
        _ => Limits {
            request_line_bytes_max: 30,
            head_bytes_max: 100,
            fields_max: 4,
            body_bytes_max: 20,
            body_memory_bytes_max: 5,
            output_bytes_high: 1,
            ..Limits::default()
        },
    }
}

/// Lets a conversation have these bytes and then their end, in pieces as long as `next` says.
fn converse(input: &[u8], limits: Limits, mut next: impl FnMut(usize) -> usize) -> Dialogue {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let seen_by_gateway = seen.clone();
    let mut hand = ByHand::new(move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let request = Seen::of(environ);
        let answer = answer(&request, start_response);
        seen_by_gateway.borrow_mut().push(request);
        answer
    });
    hand.context.limits = limits;
    let (mut at, mut sent) = (0, Vec::new());
    while at < input.len() {
        assert!(!matches!(hand.wants(), Wants::Application), "nobody is to be waited for");
        let count = next(input.len() - at);
        hand.receive(&input[at..at + count]);
        sent.extend(hand.transmit_all());
        at += count;
    }
    hand.receive_end();
    sent.extend(hand.transmit_all());
    assert!(matches!(hand.wants(), Wants::Close(_)), "stuck: {:?}", hand.wants());
    let seen = seen.take();
    let methods: Vec<_> = seen.iter().map(|request| request.method.as_str()).collect();
    // The answer to a refused HEAD has no content either, and is the last.
    let read = read_all(&sent, &methods).or_else(|_| read_all(&sent, &[&methods[..], &["HEAD"]].concat()));
    let mut responses = read.unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&sent)));
    responses.retain(|response| response.code != 100);
    Dialogue { seen, responses }
}

/// Answers at once or in pieces, as the method asks.
fn answer(request: &Seen, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let text = format!("{request:?}");
    match request.method.len() % 2 {
        0 => start_response.status(200).pieces([text]),
        _ => start_response.status(200).send(text),
    }
}

/// Checks a whole conversation, in which the client at last ends its side. Of the input, the first byte
/// chooses limits, the second how the rest is cut.
pub fn check_conversation(input: &[u8]) {
    let [variant, seed, input @ ..] = input else {
        return;
    };
    let whole = converse(input, limits(*variant), |left| left);
    let mut cuts = Cuts::new(*seed);
    let cut = converse(input, limits(*variant), |left| cuts.next(left));
    assert_eq!(whole.seen, cut.seen, "the application sees the same however the bytes are cut");
    let answered = whole.seen.len();
    assert_eq!(whole.responses.get(..answered), cut.responses.get(..answered), "so does the client");
    // Which of its faults a bad message is refused for may depend on what was seen first.
    assert_eq!(whole.responses.len(), cut.responses.len(), "refused in both cases, or in none");
    assert!(whole.responses.len() <= answered + 1, "one refusal is the last answer");
    assert!(whole.responses[answered..].iter().all(|response| response.code >= 400 && response.says_close()));
    whole.seen.iter().for_each(check_meaning);
}

/// Checks that an accepted request means the same when it is written down again.
fn check_meaning(request: &Seen) {
    let again = converse(&request.encode(), Limits::default(), |left| left);
    assert_eq!(again.seen, std::slice::from_ref(request), "one meaning");
}

/// Checks one head: the end that is searched for is the end that is found, whatever was searched before.
pub fn check_head(input: &[u8]) {
    let [variant, input @ ..] = input else {
        return;
    };
    let limits = limits(*variant);
    let length = |input: &[u8], searched: usize| -> Result<Option<usize>, ProtocolError> {
        let mut slots = FieldSlots::new();
        let parsed = parse_head(input, searched, &mut slots, &limits)?;
        Ok(parsed.map(|parsed| {
            let head = parsed.head();
            // Empty lines before it are no part of a head, and count for nothing.
            let head_bytes = parsed.length - blank_lines(input);
            assert!(head.fields.len() <= limits.fields_max && head_bytes <= limits.head_bytes_max);
            parsed.length
        }))
    };
    let Ok(Some(end)) = length(input, 0) else {
        return;
    };
    assert!(has_head_end(&input[..end], 0), "a head ends with an empty line");
    assert_eq!(length(&input[..end], 0), Ok(Some(end)), "what follows is not looked at");
    for searched in [1, end / 2, end - 2, end - 1] {
        assert_eq!(length(&input[..searched], 0), Ok(None), "a part of a head is not refused");
        assert_eq!(length(&input[..end], searched), Ok(Some(end)), "searched {searched} of {end}");
    }
}

/// Checks chunked content: the same bytes and the same end, however it is cut.
pub fn check_chunked(input: &[u8]) {
    let [seed, input @ ..] = input else {
        return;
    };
    let whole = decode(input, |left| left);
    let mut cuts = Cuts::new(*seed);
    assert_eq!(whole, decode(input, |left| cuts.next(left)), "however it is cut");
    let Ok((content, trailers, used, true)) = whole else {
        return;
    };
    assert!(
        input[..used].ends_with(&[&trailers[..], b"\r\n"].concat()),
        "trailers are all that stands at the end"
    );
    assert!(trailers.is_empty() || trailers.ends_with(b"\r\n"), "they are whole lines");
    let plain = format!("{:x}\r\n", content.len()).into_bytes();
    let plain = match content.is_empty() {
        true => b"0\r\n\r\n".to_vec(),
        false => [&plain[..], &content, b"\r\n0\r\n\r\n"].concat(),
    };
    assert_eq!(decode(&plain, |left| left), Ok((content, Vec::new(), plain.len(), true)), "one meaning");
}

/// Decodes content, and returns it, the lines of its trailer section, the bytes it took, and whether it is complete.
fn decode(
    input: &[u8],
    mut next: impl FnMut(usize) -> usize,
) -> Result<(Vec<u8>, Vec<u8>, usize, bool), ProtocolError> {
    let (mut decoder, mut content, mut trailers, mut at) =
        (ChunkedDecoder::new(4096), Vec::new(), Vec::new(), 0);
    while at < input.len() && !decoder.is_complete() {
        let mut piece = &input[at..at + next(input.len() - at)];
        while !piece.is_empty() && !decoder.is_complete() {
            let decoded = decoder.decode(piece)?;
            assert!(decoded.consumed > 0, "it gets on");
            content.extend_from_slice(decoded.content);
            trailers.extend_from_slice(decoded.trailers);
            piece = &piece[decoded.consumed..];
            at += decoded.consumed;
        }
    }
    assert!(content.len() <= 4096, "the limit holds");
    Ok((content, trailers, at, decoder.is_complete()))
}
