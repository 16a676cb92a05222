//! Answers that other threads give, while the event loop serves everybody else.
//!
//! ```text
//! cargo run --release --example later
//! curl -i http://127.0.0.1:8000/sum?to=100000000     a whole answer, half a second later
//! curl -iN http://127.0.0.1:8000/primes?to=50000000  an answer that grows as it is found
//! ```
//!
//! Both ways have back-pressure, and both stop their work when the client leaves.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::{io, thread};

use tidegate::gateway::{BodyStream, Piece, Response, Wakeup, deferred};
use tidegate::now::Moment;
use tidegate::{Body, Environ, GatewayError, StartResponse};

/// Longest computation that a client can ask for: some seconds.
const TO_MAX: u64 = 1_000_000_000;
/// Pieces that the computing thread may be ahead of the socket.
const PIECES_AHEAD: usize = 4;
const PIECE_BYTES: usize = 16 * 1024;

fn main() -> io::Result<()> {
    println!("Starting on http://127.0.0.1:8000/ (Ctrl-C stops)");
    tidegate::serve("127.0.0.1:8000", application)
}

fn application(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let to = environ.query().strip_prefix("to=").and_then(|to| to.parse().ok());
    let Some(to) = to.filter(|to| *to <= TO_MAX) else {
        return start_response.status(400).send("Ask for /sum?to=N or /primes?to=N\n");
    };
    match &*environ.path() {
        "/sum" => sum(to, environ.wakeup(), start_response),
        "/primes" => primes(to, environ.wakeup(), start_response),
        _ => start_response.status(404).send("There are /sum and /primes\n"),
    }
}

/// Sends a whole answer from another thread.
fn sum(to: u64, wakeup: Wakeup, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let (responder, answer) = deferred(wakeup);
    thread::Builder::new().spawn(move || {
        let mut sum = 0_u64;
        for number in 0..=to {
            // Nobody needs the sum any more once the client has left.
            if number.is_multiple_of(1_000_000) && responder.is_abandoned() {
                return;
            }
            sum += std::hint::black_box(number);
        }
        let response = Response::new(200).field("Content-Type", "text/plain");
        responder.respond(response.content(format!("{sum}\n")));
    })?;
    Ok(start_response.later(None, answer))
}

/// Sends an answer that grows: its status at once, and its content as it is found.
fn primes(to: u64, wakeup: Wakeup, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let (feeder, stream) = feed(wakeup);
    thread::Builder::new().spawn(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES + 32);
        for number in (2..=to).filter(|&number| is_prime(number)) {
            piece.extend_from_slice(format!("{number}\n").as_bytes());
            if piece.len() >= PIECE_BYTES && feeder.give(std::mem::take(&mut piece)).is_err() {
                return;
            }
        }
        // Whether the client is still there makes no difference at the end.
        let _ = feeder.give(piece).and_then(|()| feeder.end());
    })?;
    start_response.status(200).field("Content-Type", "text/plain").stream(stream)
}

fn is_prime(number: u64) -> bool {
    (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}

/// A message from the thread to the stream.
enum Message {
    Piece(Vec<u8>),
    /// The end, said explicitly: a thread that dies in between must not look like one that is done.
    End,
}

/// The thread's half of a stream. It waits while the client reads slowly.
struct Feeder {
    /// The sender; none only while it is being dropped.
    sender: Option<SyncSender<Message>>,
    wakeup: Wakeup,
}

/// The error that the client has left: the stream was dropped.
struct Gone;

fn feed(wakeup: Wakeup) -> (Feeder, FedStream) {
    let (sender, receiver) = sync_channel(PIECES_AHEAD);
    (Feeder { sender: Some(sender), wakeup }, FedStream { receiver, piece: Vec::new() })
}

impl Feeder {
    fn give(&self, piece: Vec<u8>) -> Result<(), Gone> {
        self.send(Message::Piece(piece))
    }

    fn end(&self) -> Result<(), Gone> {
        self.send(Message::End)
    }

    fn send(&self, message: Message) -> Result<(), Gone> {
        let sender = self.sender.as_ref().ok_or(Gone)?;
        sender.send(message).map_err(|_| Gone)?;
        self.wakeup.wake();
        Ok(())
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        // In this order: who is woken must find the channel closed.
        self.sender = None;
        self.wakeup.wake();
    }
}

/// The server's half of a stream. It never waits.
struct FedStream {
    receiver: Receiver<Message>,
    piece: Vec<u8>,
}

impl BodyStream for FedStream {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        match self.receiver.try_recv() {
            Ok(Message::Piece(piece)) => {
                self.piece = piece;
                Ok(Piece::Data(&self.piece))
            }
            Ok(Message::End) => Ok(Piece::End),
            Err(TryRecvError::Empty) => Ok(Piece::Pending { until: None }),
            Err(TryRecvError::Disconnected) => {
                Err(GatewayError::new("the thread ended before its answer did"))
            }
        }
    }
}
