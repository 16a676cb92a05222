//! A server in a thread, and clients that speak to it in raw bytes.
//!
//! The server binds port 0 and is drained and joined when it goes out of scope, so a test cannot
//! leave one behind, and a server that has failed fails its test. No client waits for ever: what
//! does not come within [`PATIENCE`] is a failure that shows what did come.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tidegate::gateway::LoopHooks;
use tidegate::limits::Limits;
use tidegate::{
    Body, BoundServer, Environ, Gateway, GatewayError, ListenAddress, Server, ServerHandle, StartResponse,
};

use super::response::{Response, read_one};

/// How long a test waits for anything. Generous: it is only ever waited out by a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The result of a gateway.
pub type Answer = Result<Body, GatewayError>;

/// A server that runs in a thread of its own.
pub struct Running {
    /// The addresses it listens on, with the real ports.
    pub addresses: Vec<ListenAddress>,
    /// The handle that shuts it down.
    pub handle: ServerHandle,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// Serves on one free port of 127.0.0.1.
pub fn serve<F>(gateway: F, limits: Limits) -> Running
where
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer + Send + 'static,
{
    serve_on(&["127.0.0.1:0"], gateway, limits)
}

/// Serves on these addresses.
pub fn serve_on<F>(addresses: &[&str], gateway: F, limits: Limits) -> Running
where
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer + Send + 'static,
{
    let addresses = addresses.iter().map(|text| text.parse().unwrap());
    serve_with(addresses.fold(Server::new().limits(limits), Server::listen), gateway)
}

/// Serves with a server that is ready to bind.
pub fn serve_with<F>(server: Server, gateway: F) -> Running
where
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer + Send + 'static,
{
    serve_gateway(server, gateway)
}

/// Serves a gateway that is no closure.
pub fn serve_gateway(server: Server, gateway: impl Gateway + Send + 'static) -> Running {
    start(server, |bound| bound.run(gateway))
}

/// Serves a gateway with somebody who takes part in the event loop.
pub fn serve_with_hooks(
    server: Server,
    gateway: impl Gateway + Send + 'static,
    hooks: impl LoopHooks + Send + 'static,
) -> Running {
    start(server, |bound| bound.run_with_hooks(gateway, hooks))
}

/// Starts a server that runs as `run` lets it.
pub fn start(
    server: Server,
    run: impl FnOnce(BoundServer) -> std::io::Result<()> + Send + 'static,
) -> Running {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let bound = server.bind()?;
        sender.send((bound.addresses(), bound.handle())).unwrap();
        run(bound)
    });
    match receiver.recv() {
        Ok((addresses, handle)) => Running { addresses, handle, thread: Some(thread) },
        Err(_) => panic!("the server did not start: {:?}", thread.join()),
    }
}

impl Running {
    /// The first TCP address.
    pub fn address(&self) -> SocketAddr {
        let tcp = |address: &ListenAddress| match address {
            ListenAddress::Tcp(address) => Some(*address),
            ListenAddress::Unix(_) | ListenAddress::Descriptor(_) => None,
        };
        self.addresses.iter().find_map(tcp).expect("a TCP address")
    }

    /// A client of the first TCP address.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Waits until the server has ended; the test has made it end.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) if !thread::panicking() => panic!("the server failed: {error}"),
                Err(panic) if !thread::panicking() => std::panic::resume_unwind(panic),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Whether the server has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.drain();
        self.join();
    }
}

/// The way in which the server has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The connection ended in order.
    Fin,
    /// The connection was reset.
    Reset,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A client that sends what it is told to, and reads strictly.
pub struct Client {
    socket: Socket,
    /// Bytes that were received, and not yet taken as a response.
    pub received: Vec<u8>,
    /// The number of reads so far.
    pub reads: usize,
    end: Option<End>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { socket: Socket::Tcp(stream), received: Vec::new(), reads: 0, end: None }
    }

    pub fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client { socket: Socket::Unix(stream), received: Vec::new(), reads: 0, end: None }
    }

    /// Sends all of it.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).unwrap();
    }

    /// Sends all of it, or returns the error.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(bytes),
            Socket::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Sends a GET and reads its response.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.read("GET")
    }

    /// Ends the client's side; it can still read.
    pub fn end_sending(&mut self) {
        match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write).unwrap(),
        }
    }

    /// Another handle to the same TCP socket.
    pub fn try_clone_tcp(&self) -> TcpStream {
        match &self.socket {
            Socket::Tcp(stream) => stream.try_clone().unwrap(),
            Socket::Unix(_) => panic!("no TCP socket"),
        }
    }

    /// Ends both sides; nothing can be read or sent any more.
    pub fn break_off(&mut self) {
        match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Both).unwrap(),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Both).unwrap(),
        }
    }

    /// Leaves as a killed process does: with bytes received and unread, which makes a reset of the
    /// close. Some must be on their way.
    pub fn leave_unread(self) {
        if let Socket::Tcp(stream) = &self.socket {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
        }
    }

    /// Reads the response to a request with this method.
    pub fn read(&mut self, method: &str) -> Response {
        loop {
            match read_one(&self.received, method, self.end.is_some()) {
                Ok(Some((response, used))) => {
                    self.received.drain(..used);
                    return response;
                }
                Ok(None) if self.end.is_none() => self.fill(PATIENCE),
                outcome => panic!("no response but {outcome:?}, end {:?}, {}", self.end, self.show()),
            }
        }
    }

    /// Reads the response to a request with this method, or says why there is none: nothing more came within this time.
    pub fn read_within(&mut self, method: &str, patience: Duration) -> Result<Response, String> {
        loop {
            if let Some((response, used)) = read_one(&self.received, method, self.end.is_some())? {
                self.received.drain(..used);
                return Ok(response);
            }
            if let Some(end) = self.end {
                return Err(format!("{end:?} instead of a response"));
            }
            if !self.read_some(patience) {
                return Err(format!("hangs after {:?}", String::from_utf8_lossy(&self.received)));
            }
        }
    }

    /// Reads until the server ends the connection; fails if there is another byte before.
    pub fn read_end(&mut self) -> End {
        while self.end.is_none() && self.received.is_empty() {
            self.fill(PATIENCE);
        }
        assert!(self.received.is_empty(), "unexpected: {}", self.show());
        self.end.expect("an end")
    }

    /// Reads everything until the server ends the connection.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        while self.end.is_none() {
            self.fill(PATIENCE);
        }
        (std::mem::take(&mut self.received), self.end.expect("an end"))
    }

    /// Reads until there are `count` bytes, or the end.
    pub fn read_bytes(&mut self, count: usize) {
        while self.received.len() < count && self.end.is_none() {
            self.fill(PATIENCE);
        }
    }

    /// Reads until this text has come, and leaves it to be read.
    pub fn read_until(&mut self, text: &str) {
        let text = text.as_bytes();
        while !self.received.windows(text.len()).any(|window| window == text) {
            assert_eq!(self.end, None, "no {}: {}", text.escape_ascii(), self.show());
            self.fill(PATIENCE);
        }
    }

    /// Whether nothing at all comes within this time.
    pub fn is_quiet_for(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while self.received.is_empty() && self.end.is_none() {
            match until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                Some(left) => _ = self.read_some(left),
                None => return true,
            }
        }
        false
    }

    fn fill(&mut self, patience: Duration) {
        assert!(self.read_some(patience), "nothing came for {patience:?}; so far: {}", self.show());
    }

    /// Reads once, and returns whether that has brought anything.
    fn read_some(&mut self, patience: Duration) -> bool {
        let mut bytes = [0; 64 * 1024];
        let read = match &mut self.socket {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(patience)).and_then(|()| stream.read(&mut bytes))
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(patience)).and_then(|()| stream.read(&mut bytes))
            }
        };
        match read {
            Ok(0) => self.end = Some(End::Fin),
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.end = Some(End::Reset),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return false,
                ErrorKind::Interrupted => return true,
                _ => panic!("reading: {error}"),
            },
        }
        self.reads += 1;
        true
    }

    fn show(&self) -> String {
        let first = &self.received[..self.received.len().min(500)];
        format!("{} bytes, {:?}", self.received.len(), String::from_utf8_lossy(first))
    }
}

/// Waits until something has become true.
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "in vain for {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Bytes without a pattern, the same for the same seed (xorshift).
pub fn noise(mut seed: u64, count: usize) -> Vec<u8> {
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}
