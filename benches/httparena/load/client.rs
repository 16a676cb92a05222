//! A load as the arena's generators make it: connections that rotate through requests, one or sixteen at a time, and
//! are given up after a number of them. Each answer is checked.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Longest wait for any answer: nothing takes this long unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);
/// The time after every connection has had an answer, and before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// Longest wait for those answers: a server need not be fair.
const FAIRNESS: Duration = Duration::from_secs(3);
/// Content up to this length is compared, byte by byte.
const COMPARED_BYTES_MAX: usize = 64;

/// A request, and what is expected.
#[derive(Clone)]
pub struct Request {
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

#[derive(Clone)]
pub enum Expected {
    Content(String),
    /// Content of this length.
    Bytes(usize),
    /// Content of any length but none.
    Some,
}

/// A load.
pub struct Load {
    /// Each connection begins with another one.
    pub requests: Vec<Request>,
    pub connections: usize,
    /// Requests in flight on a connection at a time.
    pub depth: usize,
    /// Requests of a connection, if it is then given up.
    pub requests_of_each: Option<usize>,
}

/// A figure that grows while a load runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub answers: u64,
    pub bytes_sent: u64,
    /// Connections that have had no answer when the time began.
    pub starved: usize,
}

/// Runs a load, and calls `begin` and `end` around the time that counts.
///
/// # Errors
/// Returns an error when an answer is not as expected, or does not come.
pub fn run<T>(
    address: SocketAddr,
    load: &Load,
    length: Duration,
    mark: impl Fn() -> io::Result<T>,
) -> io::Result<(Counted, Duration, [T; 2])> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    let mut clients = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream);
        clients.push(Client::new(stream, number % load.requests.len(), load));
        clients[number].register(&poll, Token(number))?;
    }
    let started = Instant::now();
    let (mut counted, mut scratch) = (Counted::default(), vec![0; 256 * 1024]);
    let mut first_answers = 0;
    let mut begun: Option<(Instant, Counted, T)> = None;
    let mut warm: Option<Instant> = None;
    loop {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(io::Error::new(ErrorKind::TimedOut, "the answers have stopped"));
        }
        for event in &events {
            let Token(number) = event.token();
            let client = &mut clients[number];
            let had_none = client.total == 0;
            match client.go_on(load, &mut counted, &mut scratch)? {
                Going::On => {}
                Going::Up => client.begin_anew(address, load, &poll, event.token())?,
            }
            first_answers += usize::from(had_none && clients[number].total > 0);
        }
        let now = Instant::now();
        match (&begun, warm) {
            (Some((since, before, _)), _) if now - *since >= length => {
                let after = Counted {
                    answers: counted.answers - before.answers,
                    bytes_sent: counted.bytes_sent - before.bytes_sent,
                    starved: before.starved,
                };
                let (elapsed, last) = (now - *since, mark()?);
                let first = begun.map(|(_, _, mark)| mark);
                return match first {
                    Some(first) => Ok((after, elapsed, [first, last])),
                    None => Err(ErrorKind::Other.into()),
                };
            }
            (None, Some(due)) if now >= due => {
                counted.starved = clients.len() - first_answers;
                begun = Some((now, counted, mark()?));
            }
            (None, None) if first_answers == clients.len() || now - started >= FAIRNESS => {
                warm = Some(now + WARM_UP);
            }
            _ => {}
        }
    }
}

enum Going {
    On,
    /// The connection has had its requests.
    Up,
}

struct Client {
    stream: TcpStream,
    /// The place of the next request in the rotation.
    next: usize,
    /// The batch that is being sent.
    batch: Vec<u8>,
    sent: usize,
    /// The places of the requests whose answers are to come: from here, this many.
    awaited: (usize, usize),
    answer: Answer,
    /// Answers on this connection, and on those before it.
    answered: usize,
    total: u64,
}

/// The part of an answer that is being read.
enum Answer {
    Head(Vec<u8>),
    Content { left: usize, seen: Vec<u8> },
}

impl Client {
    fn new(stream: TcpStream, next: usize, load: &Load) -> Client {
        let mut client = Client {
            stream,
            next,
            batch: Vec::new(),
            sent: 0,
            awaited: (0, 0),
            answer: Answer::Head(Vec::new()),
            answered: 0,
            total: 0,
        };
        client.fill(load);
        client
    }

    fn register(&mut self, poll: &Poll, token: Token) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        poll.registry().register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Makes the next batch.
    fn fill(&mut self, load: &Load) {
        self.batch.clear();
        self.sent = 0;
        self.awaited = (self.next, load.depth);
        for _ in 0..load.depth {
            self.batch.extend_from_slice(&load.requests[self.next].bytes);
            self.next = (self.next + 1) % load.requests.len();
        }
    }

    fn begin_anew(&mut self, address: SocketAddr, load: &Load, poll: &Poll, token: Token) -> io::Result<()> {
        let (next, total) = (self.next, self.total);
        poll.registry().deregister(&mut self.stream)?;
        *self = Client::new(TcpStream::connect(address)?, next, load);
        self.total = total;
        poll.registry().register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Writes and reads as much as there is.
    fn go_on(&mut self, load: &Load, counted: &mut Counted, scratch: &mut [u8]) -> io::Result<Going> {
        self.write(counted)?;
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => count,
                // It connects yet, or has nothing.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(Going::On);
                }
                Err(error) => return Err(error),
            };
            let mut bytes = &scratch[..count];
            while !bytes.is_empty() {
                if self.take(&mut bytes, load)? {
                    counted.answers += 1;
                    self.total += 1;
                    self.answered += 1;
                }
            }
            if self.awaited.1 == 0 {
                if load.requests_of_each == Some(self.answered) {
                    return Ok(Going::Up);
                }
                self.fill(load);
                self.write(counted)?;
            }
            // A short read was the last, as a server would say.
            if count < scratch.len() {
                return Ok(Going::On);
            }
        }
    }

    fn write(&mut self, counted: &mut Counted) -> io::Result<()> {
        while self.sent < self.batch.len() {
            match self.stream.write(&self.batch[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    counted.bytes_sent += count as u64;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes bytes of an answer, and returns whether they are its last.
    fn take(&mut self, bytes: &mut &[u8], load: &Load) -> io::Result<bool> {
        if let Answer::Head(begun) = &mut self.answer {
            let end =
                |bytes: &[u8]| bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
            let head = match (begun.is_empty(), end(bytes)) {
                (true, Some(end)) => {
                    let (head, rest) = bytes.split_at(end);
                    *bytes = rest;
                    length(head)?
                }
                _ => {
                    let before = begun.len();
                    begun.extend_from_slice(bytes);
                    let Some(end) = end(begun) else {
                        *bytes = &[];
                        return Ok(false);
                    };
                    *bytes = &bytes[end - before..];
                    length(&begun[..end])?
                }
            };
            let expected = match &load.requests[self.awaited.0].expected {
                Expected::Content(text) => text.len(),
                Expected::Bytes(bytes) => *bytes,
                Expected::Some => head.max(1),
            };
            if head != expected {
                return Err(io::Error::other(format!("content of {head} bytes, and not of {expected}")));
            }
            self.answer = Answer::Content { left: head, seen: Vec::new() };
        }
        let Answer::Content { left, seen } = &mut self.answer else { return Ok(false) };
        let expected = &load.requests[self.awaited.0].expected;
        let (content, rest) = bytes.split_at(bytes.len().min(*left));
        if seen.len() + content.len() <= COMPARED_BYTES_MAX {
            seen.extend_from_slice(content);
        }
        *left -= content.len();
        *bytes = rest;
        if *left > 0 {
            return Ok(false);
        }
        match expected {
            Expected::Content(text) if *seen != text.as_bytes() => {
                let found = seen.escape_ascii();
                return Err(io::Error::other(format!("{text:?} was expected, {found} has come")));
            }
            _ => {}
        }
        self.answer = Answer::Head(Vec::new());
        self.awaited = ((self.awaited.0 + 1) % load.requests.len(), self.awaited.1 - 1);
        Ok(true)
    }
}

/// Returns the length of the content that a head announces.
fn length(head: &[u8]) -> io::Result<usize> {
    let wrong = || io::Error::other(format!("no answer with a length: {}", head.escape_ascii()));
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(wrong());
    }
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME));
    let digits = line.map(|line| line[NAME.len()..].trim_ascii()).ok_or_else(wrong)?;
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(wrong)
}
