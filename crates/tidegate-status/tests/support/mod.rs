//! A server that is observed, and its status server, for tests.
#![allow(dead_code)] // Each test file uses its own part of this.

pub mod open_metrics;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tidegate::gateway::{Admission, BodyStream, IncomingContent, Later, Piece, Response, Tunnel, deferred};
use tidegate::now::Moment;
use tidegate::{Body, Environ, Gateway, GatewayError, ListenAddress, Server, ServerHandle, StartResponse};
use tidegate_status::{Facts, PoolState, StatusServer};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Both servers.
pub struct Both {
    pub handle: ServerHandle,
    address: SocketAddr,
    status: Option<StatusServer>,
    /// Whether `/hold` is to block no longer.
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// The observed application. It holds the loop until this is so.
struct Application(Arc<AtomicBool>);

impl Gateway for Application {
    fn admit(&self, environ: &Environ<'_>) -> Admission {
        if environ.path() == "/upload" { Admission::AsItComes } else { Admission::Collect }
    }

    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        application(environ, start_response, &self.0)
    }
}

/// Answers when all content has come.
struct Upload(IncomingContent);

impl Later for Upload {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        Ok(start_response.later_boxed(None, self))
    }
}

/// Takes nothing, and says nothing.
struct Silent;

impl BodyStream for Silent {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(Piece::Pending { until: None })
    }
}

impl Tunnel for Silent {
    fn receive(&mut self, _: &[u8]) -> Result<usize, GatewayError> {
        Ok(0)
    }
}

fn application(
    environ: &mut Environ<'_>,
    start_response: StartResponse<'_>,
    is_over: &AtomicBool,
) -> Result<Body, GatewayError> {
    match &*environ.path() {
        "/hold" => {
            let start = Instant::now();
            while !is_over.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(5));
            }
            start_response.status(200).send("late")
        }
        "/later" => {
            let (responder, answer) = deferred(environ.wakeup());
            thread::spawn(move || {
                thread::sleep(PATIENCE);
                responder.respond(Response::new(200));
            });
            Ok(answer.wait(start_response))
        }
        "/upload" => Box::new(Upload(environ.take_incoming())).resume(start_response),
        "/tunnel" => match environ.upgrade("echo") {
            Some(upgrade) => start_response.upgrade(&upgrade).tunnel(Silent),
            None => start_response.status(400).send("no"),
        },
        "/long" => start_response.status(200).pieces(std::iter::repeat_n([b'x'; 65_536], 10_000)),
        _ => start_response.status(200).send("Hello, World!"),
    }
}

impl Both {
    pub fn serve() -> Both {
        Both::serve_on("127.0.0.1:0")
    }

    pub fn serve_on(address: &str) -> Both {
        Both::serve_by(1, address)
    }

    /// Serves by this many event loops. `/hold` blocks one of them until it is [released](Both::release).
    pub fn serve_by(reactors: usize, address: &str) -> Both {
        let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
        let mut bound = server.reactors(reactors).bind().unwrap();
        let facts = Facts::new("a test", bound.addresses().iter().map(ToString::to_string))
            .pool("a test", || PoolState { threads: 4, busy: 3, waiting: 17 });
        let status = StatusServer::start(address.parse().unwrap(), bound.observer(), facts).unwrap();
        let ListenAddress::Tcp(address) = bound.addresses().remove(0) else { panic!("it listens on TCP") };
        let handle = bound.handle();
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = is_over.clone();
        let thread = thread::spawn(move || bound.run_each(|_| Ok(Application(ends.clone()))));
        Both { handle, address, status: Some(status), is_over, thread: Some(thread) }
    }

    /// The address of the status server.
    pub fn status(&self) -> SocketAddr {
        match self.status.as_ref().unwrap().address() {
            ListenAddress::Tcp(address) => *address,
            other => panic!("it listens on {other}"),
        }
    }

    /// The path of the status server.
    pub fn path(&self) -> PathBuf {
        match self.status.as_ref().unwrap().address() {
            ListenAddress::Unix(path) => path.clone(),
            other => panic!("it listens on {other}"),
        }
    }

    /// Asks the status server: code, head and content of its answer.
    pub fn ask(&self, path: &str) -> (u16, String, String) {
        self.ask_with(path, "")
    }

    pub fn ask_with(&self, path: &str, fields: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.status()).unwrap();
        ask_socket(&mut stream, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{fields}\r\n"))
    }

    /// Connects to the observed server, and sends this.
    pub fn client(&self, bytes: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(bytes.as_bytes()).unwrap();
        client
    }

    /// Has a request answered, and keeps the connection.
    pub fn answered(&self, path: &str) -> TcpStream {
        let mut client = self.client(&get(path));
        assert!(client.read(&mut [0; 4096]).unwrap() > 0);
        client
    }

    /// Lets the loop go on that `/hold` blocks, if one does.
    pub fn release(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Waits until a connection is in this state.
    pub fn wait_for(&self, stage: &str) {
        let start = Instant::now();
        loop {
            let (_, _, text) = self.ask("/connections.json");
            if text.contains(stage) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "no {stage} in {text}");
        }
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        self.handle.stop();
        self.release();
        self.status = None;
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

/// Tries until it succeeds, and fails with the last error.
pub fn eventually<T>(mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Sends a request, and reads the whole answer: code, head and content.
pub fn ask_socket<S: Read + Write>(stream: &mut S, request: &str) -> (u16, String, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    (head[9..12].parse().unwrap(), head.to_string(), content.to_string())
}

/// A unix socket that no other test has.
pub fn unix_address() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tidegate-status-{}-{number}.sock", std::process::id());
    format!("unix:{}", std::env::temp_dir().join(name).display())
}
