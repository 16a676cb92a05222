//! Good clients: each asks for a short answer, reads it, and asks again; after some requests on a new connection, as
//! people come and go.
//!
//! An answer's time counts from when it was wanted, so the wait for a connection is part of it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

use super::clients::{answer_bytes, ask, connect, request};

/// The request of good clients.
const PATH: &str = "/hello";
/// Requests of a connection.
const REQUESTS: u32 = 256;

/// A crowd of good clients, in one thread.
pub struct Good {
    address: SocketAddr,
    request: Vec<u8>,
    /// Length of the usual answer.
    expected: usize,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
}

/// The results of good clients for a while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fared {
    /// Answers with 200.
    pub answered: u64,
    /// Other answers, and connections that were cut before one.
    pub refused: u64,
    /// The longest time until an answer, or until the end of this while.
    pub longest: Duration,
    /// The length of this while.
    pub elapsed: Duration,
}

impl Good {
    /// Connects all clients.
    pub fn meet(address: SocketAddr, count: usize) -> io::Result<Good> {
        let expected = ask(&mut connect(address)?, PATH)?.len();
        let poll = Poll::new()?;
        let new = |number| Client::new(address, Token(number), poll.registry());
        let clients = (0..count).map(new).collect::<io::Result<_>>()?;
        Ok(Good {
            address,
            request: request(PATH),
            expected,
            poll,
            events: Events::with_capacity(count),
            clients,
        })
    }

    /// Lets the clients ask for this long. Requests that are unanswered then are waited for the next time.
    pub fn ask_for(&mut self, length: Duration) -> io::Result<Fared> {
        let (start, mut fared) = (Instant::now(), Fared::default());
        while let Some(rest) = length.checked_sub(start.elapsed()) {
            match self.poll.poll(&mut self.events, Some(rest)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &self.events {
                let client = &mut self.clients[event.token().0];
                let is_at_end = match client.go_on(&self.request, self.expected, &mut fared) {
                    Ok(rest) => rest == 0,
                    // Cut, or turned away.
                    Err(_) => {
                        fared.refused += 1;
                        true
                    }
                };
                if is_at_end {
                    *client = Client::new(self.address, event.token(), self.poll.registry())?;
                }
            }
        }
        let now = Instant::now();
        let waits = self.clients.iter().map(|client| now.saturating_duration_since(client.since));
        fared.longest = waits.max().map_or(fared.longest, |wait| wait.max(fared.longest));
        fared.elapsed = start.elapsed();
        Ok(fared)
    }
}

impl Fared {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }

    fn note(&mut self, is_good: bool, since: Instant) {
        self.answered += u64::from(is_good);
        self.refused += u64::from(!is_good);
        self.longest = self.longest.max(since.elapsed());
    }
}

struct Client {
    stream: TcpStream,
    /// The time when the next answer was wanted.
    since: Instant,
    stage: Stage,
    /// Requests that are left to this connection.
    rest: u32,
    answer: Vec<u8>,
}

enum Stage {
    /// The request is not sent, since there may be no connection yet.
    Asking,
    /// The answer has not come, or not all of it.
    Waiting,
}

impl Client {
    /// Makes a client, which sends its request with the first event.
    fn new(address: SocketAddr, token: Token, registry: &Registry) -> io::Result<Client> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        stream.set_nodelay(true)?;
        let (since, answer) = (Instant::now(), Vec::with_capacity(4096));
        Ok(Client { stream, since, stage: Stage::Asking, rest: REQUESTS, answer })
    }

    /// Reads an answer, and returns how many requests are left to this connection.
    fn go_on(&mut self, request: &[u8], expected: usize, fared: &mut Fared) -> io::Result<u32> {
        if let Stage::Asking = self.stage {
            return self.ask(request);
        }
        let mut bytes = [0; 4096];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.answer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(self.rest),
                Err(error) => return Err(error),
            }
            let is_usual = self.answer.len() == expected && self.answer.starts_with(b"HTTP/1.1 200 ");
            if is_usual || answer_bytes(&self.answer).is_some_and(|length| self.answer.len() >= length) {
                let is_good = self.answer.starts_with(b"HTTP/1.1 200 ");
                fared.note(is_good, self.since);
                self.answer.clear();
                self.since = Instant::now();
                // Who was turned away comes anew.
                self.rest = if is_good { self.rest - 1 } else { 0 };
                return if self.rest == 0 { Ok(0) } else { self.ask(request) };
            }
        }
    }

    /// Sends the request. Bytes that come meanwhile begin an event of their own.
    fn ask(&mut self, request: &[u8]) -> io::Result<u32> {
        match self.stream.write(request) {
            Ok(count) if count == request.len() => self.stage = Stage::Waiting,
            Ok(_) => return Err(ErrorKind::WriteZero.into()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                self.stage = Stage::Asking;
            }
            Err(error) => return Err(error),
        }
        Ok(self.rest)
    }
}
