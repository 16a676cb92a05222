//! Tests that connections which an application takes over pass a filter that codes, with whatever stands around them.

use std::io::Read;

use flate2::read::GzDecoder;
use tidegate::conversation::{ByHand, Farewell, Wants};
use tidegate::gateway::{BodyStream, Piece, Tunnel};
use tidegate::now::Moment;
use tidegate::{Body, Environ, GatewayError, StartResponse};
use tidegate_compress::{Compressed, Compression};

/// Sends back each byte; `~` is the end.
#[derive(Default)]
struct Echo {
    waiting: Vec<u8>,
    current: Vec<u8>,
    has_ended: bool,
}

impl BodyStream for Echo {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        self.current = std::mem::take(&mut self.waiting);
        match &self.current[..] {
            [] if self.has_ended => Ok(Piece::End),
            [] => Ok(Piece::Pending { until: None }),
            bytes => Ok(Piece::Data(bytes)),
        }
    }
}

impl Tunnel for Echo {
    fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError> {
        self.has_ended |= bytes.contains(&b'~');
        self.waiting.extend_from_slice(bytes);
        Ok(bytes.len())
    }
}

fn application(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    match environ.upgrade("echo").filter(|_| environ.path() == "/tunnel") {
        Some(upgrade) => start_response.upgrade(&upgrade).tunnel(Echo::default()),
        None => {
            let response = start_response.status(200).field("Content-Type", "text/plain");
            response.send("The tide rises, the tide falls.\n".repeat(100))
        }
    }
}

/// Sends these bytes in two parts, and returns what has come back, the connection's end, and the memory of coders.
fn converse(bytes: &[u8], cut: usize) -> (Vec<u8>, Wants, usize) {
    let compression = Compression::default();
    let mut hand = ByHand::new(Compressed::new(application, &compression));
    hand.receive(&bytes[..cut]);
    hand.receive(&bytes[cut..]);
    (hand.transmit_all(), hand.wants(), compression.coders_bytes())
}

/// Takes a coded answer in chunks off the front, and returns its content.
fn take_coded(answers: &mut &[u8]) -> String {
    let end = answers.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&answers[..end]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Content-Encoding: gzip"), "{head}");
    *answers = &answers[end..];
    let mut coded = Vec::new();
    loop {
        let end = answers.windows(2).position(|part| part == b"\r\n").unwrap();
        let bytes = usize::from_str_radix(str::from_utf8(&answers[..end]).unwrap(), 16).unwrap();
        coded.extend_from_slice(&answers[end + 2..][..bytes]);
        *answers = &answers[end + 4 + bytes..];
        if bytes == 0 {
            break;
        }
    }
    let mut content = String::new();
    GzDecoder::new(&coded[..]).read_to_string(&mut content).unwrap();
    content
}

/// A request with content, which asks for a tunnel at this path.
fn upgrade(path: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: upgrade\r\nUpgrade: echo\r\n\
         Content-Length: 3\r\n\r\nebb"
    )
}

#[test]
fn tunnel_after_coded_answers_begins_with_the_bytes_behind_its_request_wherever_reads_end() {
    // An answer that is coded, an upgrade that the application ignores, and one that it accepts.
    let get = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    let all = format!("{get}{}{}{get}~", upgrade("/no"), upgrade("/tunnel"));
    for cut in 0..=all.len() {
        let (answers, wants, coders_bytes) = converse(all.as_bytes(), cut);
        let mut answers = &answers[..];
        for _ in 0..2 {
            assert_eq!(take_coded(&mut answers).len(), 3_200, "cut at {cut}");
        }
        let rest = String::from_utf8_lossy(answers);
        let (head, echoed) = rest.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 101 ") && !head.contains("Content-Encoding"),
            "cut at {cut}: {head}"
        );
        assert_eq!(echoed, format!("{get}~"), "cut at {cut}");
        assert_eq!((wants, coders_bytes), (Wants::Close(Farewell::Linger), 0), "cut at {cut}");
    }
}

#[test]
fn nothing_behind_a_connect_that_is_refused_is_a_request() {
    let all = "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 0..=all.len() {
        let (answers, wants, _) = converse(all.as_bytes(), cut);
        let answers = String::from_utf8_lossy(&answers);
        assert!(answers.starts_with("HTTP/1.1 501 "), "cut at {cut}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "cut at {cut}: {answers}");
        assert_eq!(wants, Wants::Close(Farewell::Linger), "cut at {cut}");
    }
}
