//! Tests what is kept of coded answers, and for whom.

use std::io::Read;

use flate2::read::GzDecoder;
use tidegate::conversation::ByHand;
use tidegate::{Environ, StartResponse};
use tidegate_compress::{Compressed, Compression};

/// Answers in the language and the type that are asked for, always with one tag.
fn guide(
    environ: &mut Environ<'_>,
    start_response: StartResponse<'_>,
) -> Result<tidegate::Body, tidegate::GatewayError> {
    let asked = |name| String::from_utf8_lossy(environ.field(name).unwrap_or_default()).into_owned();
    let (language, media_type) = (asked("Accept-Language"), asked("Accept"));
    let response = start_response.status(200).field("ETag", "\"1\"").field("Content-Type", &media_type);
    let response = match &*environ.path() {
        "/guide" => response.field("Vary", "accept-encoding, Accept-Language"),
        _ => response,
    };
    response.send(format!("{media_type} in {language}\n").repeat(100))
}

/// Asks for something, and returns the head, and the content as it was coded.
fn ask(compression: &Compression, method: &str, target: &str, fields: &str) -> (String, Vec<u8>) {
    let mut hand = ByHand::new(Compressed::new(guide, compression));
    let head = format!("{method} {target} HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n{fields}\r\n");
    hand.receive(head.as_bytes());
    let sent = hand.transmit_all();
    let end = sent.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    (String::from_utf8(sent[..end].to_vec()).unwrap(), sent[end..].to_vec())
}

fn decoded(coded: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(coded).read_to_string(&mut text).unwrap();
    text
}

#[test]
fn answers_that_depend_on_more_than_the_coding_are_not_mixed() {
    let compression = Compression::default();
    for (target, is_kept) in [("/guide", false), ("/page", true)] {
        // With a type each, since these have one tag, too.
        for (language, media_type) in [("de", "text/html"), ("fr", "text/plain"), ("de", "text/html")] {
            let fields = format!("Accept-Language: {language}\r\nAccept: {media_type}\r\n");
            let (head, coded) = ask(&compression, "GET", target, &fields);
            assert!(head.contains("Content-Encoding: gzip"), "{head}");
            assert!(decoded(&coded).starts_with(&format!("{media_type} in {language}\n")));
        }
        assert_eq!(compression.results_bytes() > 0, is_kept);
    }
    for language in ["de", "fr"] {
        let fields = format!("Accept-Language: {language}\r\nAccept: text/html\r\n");
        assert!(decoded(&ask(&compression, "GET", "/guide", &fields).1).ends_with(&format!(" {language}\n")));
    }
}
