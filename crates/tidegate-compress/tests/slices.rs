//! Tests that nobody waits for a long answer that is coded, however the application gives it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use tidegate::conversation::{ByHand, Wants};
use tidegate::gateway::{Content, Pieces};
use tidegate::{Body, Environ, GatewayError, ListenAddress, Server, StartResponse};
use tidegate_compress::{Compressed, Compression};

/// The bytes that are coded before the turn of a connection ends.
const SLICE_BYTES: usize = 64 * 1024;
/// The most that a test waits for. It is only ever waited out by a failure.
const PATIENCE: Duration = Duration::from_secs(300);

/// Some text that no coding makes much shorter: more than the buffers of a socket take.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'!' + (state % 90) as u8
    };
    // Repeated at a distance that gzip does not see.
    let block = (0..1 << 20).map(letter).collect::<Vec<u8>>();
    let mut text = block.repeat(bytes.div_ceil(block.len()));
    text.truncate(bytes);
    text
}

/// Gives content in the way that the path says.
fn give(content: &'static [u8], path: &str, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let response = start_response.status(200).field("Content-Type", "text/plain");
    match path {
        "/static" => response.send(Content::Static(content)),
        "/owned" => response.send(content.to_vec()),
        "/shared" => response.send(Content::Shared(content.into())),
        "/borrowed" => response.send(Content::Borrowed(content)),
        "/piece" => response.pieces([content]),
        _ => {
            let mut writer = response.start()?;
            let (first, rest) = content.split_at(SLICE_BYTES - 1);
            writer.write(first)?;
            writer.write(Content::Borrowed(&rest[..10]))?;
            writer.write(Content::Static(&rest[10..SLICE_BYTES]))?;
            Ok(writer.stream(Pieces::new([&rest[SLICE_BYTES..]].into_iter())))
        }
    }
}

#[test]
fn content_is_coded_a_slice_in_a_turn_and_comes_whole() {
    let content: &'static [u8] = text(10 * SLICE_BYTES + 1).leak();
    for path in ["/static", "/owned", "/shared", "/borrowed", "/piece", "/write"] {
        let compression = Compression::default();
        let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            give(content, &environ.path(), start_response)
        };
        let mut hand = ByHand::new(Compressed::new(gateway, &compression));
        // The end of a turn is asked for, too, where much is given as a piece of a stream.
        hand.context.limits.output_bytes_high = 1;
        let head = format!("GET {path} HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        hand.receive(head.as_bytes());
        let mut turns = vec![hand.transmit()];
        while !matches!(hand.wants(), Wants::Close(_)) {
            hand.advance();
            turns.push(hand.transmit());
        }
        assert_eq!(compression.coders_bytes(), 0, "{path}");
        let longest = turns.iter().map(Vec::len).max().unwrap();
        assert!(longest < 2 * SLICE_BYTES && turns.len() > 10, "{path}: {longest} in {} turns", turns.len());
        let all = turns.concat();
        let end = all.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
        let mut decoded = Vec::new();
        GzDecoder::new(&all[end..]).read_to_end(&mut decoded).unwrap();
        assert!(decoded == content, "{path}: {} of {} bytes", decoded.len(), content.len());
    }
}

/// Another connection, on which the application itself asks, so that no client has to be in time.
struct Asking {
    socket: TcpStream,
    /// The memory of coders at work is sent here with each answer.
    coders_bytes: Sender<usize>,
}

impl Asking {
    fn ask(&mut self) {
        self.socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
}

/// Long answers are coded for clients of which none reads, and meanwhile one question after the other is answered. The first
/// is asked in the middle of the call that gives the first long answer.
#[test]
fn others_are_answered_while_long_answers_are_coded() {
    const QUESTIONS: usize = 30;
    let content: &'static [u8] = text(100 << 20).leak();
    // A piece of a stream is lent, so what is left of it is copied, and counts.
    for (path, clients) in [("/static", 2), ("/piece", 1)] {
        let compression = Compression::default();
        let asking = Arc::new(Mutex::new(None::<Asking>));
        let (seen, asker) = (compression.clone(), asking.clone());
        let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            let mut asking = asker.lock().unwrap();
            if let Some(asking) = asking.as_mut() {
                asking.ask();
            }
            if &*environ.path() != "/" {
                return give(content, &environ.path(), start_response);
            }
            if let Some(asking) = asking.as_ref() {
                let _ = asking.coders_bytes.send(seen.coders_bytes());
            }
            start_response.status(200).send("prompt\n")
        };
        let bound = Server::new().listen("127.0.0.1:0".parse().unwrap()).bind().unwrap();
        let ListenAddress::Tcp(address) = bound.addresses()[0] else { panic!("not an address") };
        let handle = bound.handle();
        let compressed = Compressed::new(gateway, &compression);
        let server = thread::spawn(move || bound.run(compressed));

        let (coders_bytes, answered) = mpsc::channel();
        let socket = TcpStream::connect(address).unwrap();
        let mut prompt = socket.try_clone().unwrap();
        prompt.set_read_timeout(Some(PATIENCE)).unwrap();
        *asking.lock().unwrap() = Some(Asking { socket, coders_bytes });
        let long = (0..clients).map(|_| {
            let mut client = TcpStream::connect(address).unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
            client.write_all(head.as_bytes()).unwrap();
            client
        });
        let long: Vec<TcpStream> = long.collect();
        for number in 0..QUESTIONS {
            let coders_bytes = answered.recv_timeout(PATIENCE).unwrap();
            assert!(coders_bytes > 0, "{path}: nothing was coded any more when {number} were answered");
        }
        // Each of them has its answer, too.
        *asking.lock().unwrap() = None;
        let (mut answers, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while answers.windows(7).filter(|part| part == b"prompt\n").count() < QUESTIONS {
            let count = prompt.read(&mut buffer).unwrap();
            assert!(count > 0, "{path}: closed");
            answers.extend_from_slice(&buffer[..count]);
        }
        // Nobody has read, so nothing is complete, and what was coded is what sockets take.
        assert!(compression.coders_bytes() > 0);
        drop((long, prompt));
        handle.stop();
        server.join().unwrap().unwrap();
        assert_eq!(compression.coders_bytes(), 0);
    }
}
