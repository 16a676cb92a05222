//! Clients: one that sends a request and waits, many that idle, many that send without a pause, and one that
//! sends at fixed times.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

/// Longest wait for anything: nothing takes this long unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a request for a path, whose answer leaves the connection open.
pub fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// Connects, with reads that end with an error rather than never.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks once, and reads the whole answer, its head included.
pub fn ask(stream: &mut TcpStream, path: &str) -> io::Result<Vec<u8>> {
    stream.write_all(&request(path))?;
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut bytes)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => answer.extend_from_slice(&bytes[..count]),
        }
        if let Some(length) = answer_bytes(&answer)
            && answer.len() >= length
        {
            return Ok(answer);
        }
    }
}

/// Returns the length of an answer with Content-Length, if its head is there.
pub fn answer_bytes(answer: &[u8]) -> Option<usize> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let (_, value) = head.split_once("\r\ncontent-length:")?;
    let content: usize = value.lines().next()?.trim().parse().ok()?;
    Some(end + content)
}

/// Returns the text after the head.
pub fn content(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer).into_owned();
    text.split_once("\r\n\r\n").map(|(_, content)| content.to_string()).unwrap_or_default()
}

/// Opens connections that send one request, are answered, and say nothing more.
pub fn idle(address: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let one = || {
        let mut stream = connect(address)?;
        ask(&mut stream, "/plaintext")?;
        Ok(stream)
    };
    (0..count).map(|_| one()).collect()
}

/// Counts the connections that are still open.
pub fn count_open(clients: &[TcpStream]) -> usize {
    let is_open = |client: &&TcpStream| {
        let is_set = client.set_nonblocking(true).is_ok();
        is_set && client.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    clients.iter().filter(is_open).count()
}

/// Sleeps until a moment, if that is not past: `Instant` knows no time before its own.
pub fn sleep_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// The number of answered requests, and how long they took.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub answered: u64,
    pub elapsed: Duration,
}

/// Runs connections that each send the next request as soon as they are answered.
pub fn load(address: SocketAddr, path: &str, connections: usize, length: Duration) -> io::Result<Load> {
    let request = request(path);
    let expected = ask(&mut connect(address)?, path)?.len();
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(connections));
    let mut clients = Vec::with_capacity(connections);
    for number in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
        clients.push(Asking { stream, missing: 0 });
    }
    let (start, mut answered, mut scratch) = (Instant::now(), 0, vec![0; expected + 1]);
    for client in &mut clients {
        client.ask(&request, expected)?;
    }
    while start.elapsed() < length {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(ErrorKind::TimedOut.into());
        }
        for event in &events {
            answered += clients[event.token().0].go_on(&request, expected, &mut scratch)?;
        }
    }
    Ok(Load { answered, elapsed: start.elapsed() })
}

struct Asking {
    stream: mio::net::TcpStream,
    /// Bytes of the answer that have not come.
    missing: usize,
}

impl Asking {
    fn ask(&mut self, request: &[u8], expected: usize) -> io::Result<()> {
        self.missing = expected;
        match self.stream.write(request)? {
            count if count == request.len() => Ok(()),
            _ => Err(ErrorKind::WriteZero.into()),
        }
    }

    /// Returns 1 at the end of an answer, and otherwise 0.
    fn go_on(&mut self, request: &[u8], expected: usize, scratch: &mut [u8]) -> io::Result<u64> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) if count > self.missing => return Err(ErrorKind::InvalidData.into()),
                Ok(count) => self.missing -= count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
                Err(error) => return Err(error),
            }
            if self.missing == 0 {
                self.ask(request, expected)?;
                return Ok(1);
            }
        }
    }
}

/// Sends requests at fixed times on one connection until it is told to stop. Returns how long each answer
/// took, in milliseconds from when its request was due, so that a wait is not hidden by the request that it
/// delays.
pub fn probe(
    mut stream: TcpStream,
    path: &str,
    interval: Duration,
    is_over: &AtomicBool,
) -> io::Result<Vec<f64>> {
    let (mut waits, mut due) = (Vec::new(), Instant::now());
    while !is_over.load(Ordering::Relaxed) {
        ask(&mut stream, path)?;
        waits.push(due.elapsed().as_secs_f64() * 1e3);
        due += interval;
        sleep_until(due);
    }
    Ok(waits)
}
