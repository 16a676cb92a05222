//! One connection of the rig: what is under way on it, and its turns at the socket.
//!
//! As with the server, every event is a hint, reading and writing go on until the socket has had
//! enough, and whoever stops before that says so ([`Outcome::More`]).

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::request::Request;
use super::response::ResponseReader;

/// What the system holds for a slow reader: about the least that it takes.
const SLOW_RECEIVE_BYTES: usize = 4096;
/// On poll(2) a socket is armed again only by a read that would block.
const READS_UNTIL_EMPTY: bool = cfg!(mio_unsupported_force_poll_poll);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Asks, and is measured.
    Active,
    /// Asks once and stays.
    Idle,
    /// Asks, and reads little by little.
    SlowReader,
    /// Asks, byte by byte.
    Drip,
    /// Asks once, after all others, whether the server is there.
    Probe,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Not yet accepted by the peer.
    Connecting,
    /// Takes requests.
    Open,
    /// Takes none any more; the peer's end is waited for, so that it is the peer who keeps the port.
    Ending,
}

/// A response that has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    /// When its request was due.
    pub due: Instant,
    pub status: u16,
}

/// What a turn at the socket has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing more is there.
    Open,
    /// More is there, and no event will say so.
    More,
    /// The peer has ended the connection in order; what is under way on it was never begun.
    Ended,
    /// The connection is broken, or was ended in the middle of an answer.
    Broken,
    /// What came is no response.
    Malformed(&'static str),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    pub stream: TcpStream,
    pub role: Role,
    pub life: Life,
    /// When the requests under way were due, the oldest first.
    pub in_flight: VecDeque<Instant>,
    /// When something was last asked or answered.
    pub touched: Instant,
    /// Whether it stands in the queue of those that could ask.
    pub is_queued: bool,
    /// Bytes of requests that are not written yet.
    owed: usize,
    reader: ResponseReader,
    /// Whether an answer has begun that is not complete.
    is_answering: bool,
    /// Whether the peer has said that no answer follows.
    has_said_close: bool,
}

impl Client {
    /// Begins to connect.
    pub fn connect(address: SocketAddr, role: Role, now: Instant) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        Ok(Client {
            stream,
            role,
            life: Life::Connecting,
            in_flight: VecDeque::new(),
            touched: now,
            is_queued: false,
            owed: 0,
            reader: ResponseReader::new(),
            is_answering: false,
            has_said_close: false,
        })
    }

    /// Whether the peer has accepted; it becomes open by that.
    pub fn establish(&mut self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => {
                // Small requests must not wait for each other. It is only slower without.
                let _ = self.stream.set_nodelay(true);
                if self.role == Role::SlowReader {
                    // Else the system would read on for it, megabytes.
                    let _ = set_socket_recv_buffer_size(&self.stream, SLOW_RECEIVE_BYTES);
                }
                self.life = Life::Open;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Owes one request more to the peer.
    pub fn ask(&mut self, due: Instant, now: Instant, request: &Request) {
        if self.in_flight.is_empty() {
            self.touched = now;
        }
        self.in_flight.push_back(due);
        self.owed += request.length();
    }

    /// Writes what is owed, at most so many bytes.
    pub fn flush(&mut self, request: &Request, mut most: usize) -> io::Result<()> {
        while self.owed > 0 && most > 0 {
            let next = request.next(self.owed);
            match self.stream.write(&next[..next.len().min(most)]) {
                Ok(written) => {
                    self.owed -= written;
                    most -= written;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come, with so many calls at most, and appends the answers that it completes: how
    /// many bytes, and what has become of the connection. With `to_end` it looks for the peer's end
    /// behind them, too.
    pub fn fill(
        &mut self,
        scratch: &mut [u8],
        reads: usize,
        request: &Request,
        to_end: bool,
        answers: &mut Vec<Answer>,
    ) -> (u64, Outcome) {
        let mut bytes = 0;
        for _ in 0..reads {
            match self.stream.read(scratch) {
                Ok(0) => return (bytes, self.end(answers)),
                Ok(count) => {
                    bytes += count as u64;
                    if let Err(outcome) = self.receive(&scratch[..count], request, answers) {
                        return (bytes, outcome);
                    }
                    if count < scratch.len() && !to_end && !READS_UNTIL_EMPTY {
                        return (bytes, Outcome::Open);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return (bytes, Outcome::Open),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return (bytes, self.broken()),
            }
        }
        (bytes, Outcome::More)
    }

    fn receive(
        &mut self,
        mut bytes: &[u8],
        request: &Request,
        answers: &mut Vec<Answer>,
    ) -> Result<(), Outcome> {
        while !bytes.is_empty() {
            // A peer that closes says why, if at all, before it was asked (408); it is not counted.
            let is_asked = !self.in_flight.is_empty();
            let received = self.reader.receive(bytes, request.is_head);
            let (used, response) = received.map_err(|malformed| Outcome::Malformed(malformed.0))?;
            bytes = &bytes[used..];
            self.is_answering = response.is_none();
            if let Some(response) = response {
                if let (Some(due), true) = (self.in_flight.pop_front(), is_asked) {
                    answers.push(Answer { due, status: response.status });
                }
                if response.is_last {
                    self.has_said_close = true;
                    self.life = Life::Ending;
                    self.owed = 0;
                }
            }
        }
        Ok(())
    }

    /// The peer has ended the connection.
    fn end(&mut self, answers: &mut Vec<Answer>) -> Outcome {
        if let Some(response) = self.reader.end() {
            self.is_answering = false;
            self.has_said_close = true;
            answers.extend(self.in_flight.pop_front().map(|due| Answer { due, status: response.status }));
        }
        self.broken()
    }

    /// A connection that is gone: whether anything is lost by it.
    fn broken(&self) -> Outcome {
        let is_harmless = self.in_flight.is_empty() || self.has_said_close;
        if is_harmless && !self.is_answering { Outcome::Ended } else { Outcome::Broken }
    }
}
