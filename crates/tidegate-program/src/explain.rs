//! `tidegate explain`: serves one real client, on this machine and in this process, and tells what the event loop does.
//!
//! ```text
//!  the thread of the client                     the event loop
//!  connect, send, read ───── loopback ─────▶ a server like any other, before a witness ─▶ the story ─▶ stdout
//! ```
//!
//! The client is a plain one, with blocking sockets. What it does is said at the beginning of the story.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::{Args, FromArgMatches};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use tidegate::gateway::Gateway;
use tidegate::limits::Limits;
use tidegate::now::Moment;
use tidegate::server::{Act, Listener, Operation, SystemCall, Witness};
use tidegate::{Body, Environ, GatewayError, ListenAddress, Server, ServerHandle, StartResponse};
use tidegate_status::Explainer;

use super::folder::{FolderOptions, Site};
use super::welcome;

/// The pause between two pieces of a slow client, once the first was read. 30 ms: long beside all else in the story, and no
/// wait for its reader.
const PAUSE: Duration = Duration::from_millis(30);
/// The longest wait of the client for the server. 10 s: an application may take its time.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client that stalls is waited for. 300 ms instead of 20 s: nobody wants to wait for the end.
const STALL: Duration = Duration::from_millis(300);
/// The buffers of both sockets with --big, in bytes, of which the system makes twice as much. 16 KiB: soon full.
const SMALL_BUFFER: usize = 16 * 1024;
/// The pieces of the answer to --big, and their size: 128 KiB are several times what the buffers hold.
const PIECES: usize = 8;
/// The size of a piece, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// The options of `tidegate explain`.
#[derive(Args, Debug)]
pub struct ExplainOptions {
    /// Paths to ask for, one request each, all on one connection
    #[arg(value_name = "PATH", default_value = "/")]
    paths: Vec<String>,
    /// Serve this folder rather than the welcome application
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Send all requests at once, without waiting for answers (a single path is asked for twice)
    #[arg(long)]
    pipelined: bool,
    /// Send the head of the first request in three pieces, with pauses: see the loop wait for the rest
    #[arg(long, conflicts_with = "pipelined")]
    slow: bool,
    /// Send half a head and nothing more: see the deadline come
    #[arg(long, conflicts_with_all = ["pipelined", "slow"])]
    stall: bool,
    /// Ask for an answer that is larger than the socket's buffer, and read it late: see back-pressure
    #[arg(long, conflicts_with_all = ["pipelined", "slow", "stall", "folder", "paths"])]
    big: bool,
}

impl ExplainOptions {
    /// Checks what can be checked without doing anything.
    ///
    /// # Errors
    /// Returns a sentence about the path that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        let is_right =
            |path: &&String| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        match self.paths.iter().find(|path| !is_right(path)) {
            Some(path) => Err(format!("{path:?} is no path of a URL: it begins with / and has no blanks")),
            None => Ok(()),
        }
    }

    /// The things that the client does, one after the other.
    fn script(&self, address: SocketAddr) -> Vec<Deed> {
        let request = |path: &str| {
            let agent = concat!("tidegate-explain/", env!("CARGO_PKG_VERSION"));
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\r\n")
        };
        let mut requests: Vec<String> = self.paths.iter().map(|path| request(path)).collect();
        if self.pipelined {
            if let [only] = &requests[..] {
                requests.push(only.clone());
            }
            return vec![Deed::Send(requests.concat()), Deed::Read(requests.len())];
        }
        let mut script = Vec::new();
        for (index, request) in requests.into_iter().enumerate() {
            if index == 0 && (self.slow || self.stall) {
                let (first, rest) = request.split_at(request.len() / 4);
                script.push(Deed::Send(first.to_string()));
                if self.stall {
                    return script.into_iter().chain([Deed::ReadToEnd]).collect();
                }
                let (second, third) = rest.split_at(rest.len() - 2);
                script.extend([Deed::BeRead, Deed::Send(second.to_string())]);
                script.extend([Deed::BeRead, Deed::Send(third.to_string())]);
            } else {
                script.push(Deed::Send(request));
            }
            if self.big {
                script.push(Deed::FillBuffers);
            }
            script.push(Deed::Read(1));
        }
        script
    }

    /// Says what the client does.
    fn client(&self) -> &'static str {
        match self {
            ExplainOptions { slow: true, .. } => {
                "It sends the head of its first request in three pieces, 30 ms apart."
            }
            ExplainOptions { stall: true, .. } => {
                "It sends a quarter of a head and nothing more. (It has 300 ms here, instead of --head-timeout.)"
            }
            ExplainOptions { big: true, .. } => {
                "It reads late. Both sockets have small buffers, so that a short answer fills them."
            }
            ExplainOptions { pipelined: true, .. } => "It sends all its requests at once, and then reads.",
            _ => "It sends a request, reads the answer, and so on; then it ends the connection.",
        }
    }
}

/// A thing that the client does.
enum Deed {
    Send(String),
    /// Waits until the server has read all that was sent, and a little longer.
    BeRead,
    /// Waits until the server's socket takes no more, and a little longer.
    FillBuffers,
    /// Reads this many answers.
    Read(usize),
    ReadToEnd,
}

/// Serves a client, and prints the story of it. An error is one sentence.
pub fn run(options: &ExplainOptions) -> Result<(), String> {
    let rules = usual_rules().map_err(|error| error.to_string())?;
    let site = options.folder.as_ref().map(|folder| Site::new(folder, &rules, 1));
    let gateway: Box<dyn Gateway> = match site.transpose()? {
        Some(site) => site.gateway().map_err(|error| error.to_string())?,
        None if options.big => Box::new(big),
        None => Box::new(welcome::Welcome),
    };
    let story = Rc::new(RefCell::new(String::new()));
    let told = explain(options, gateway, story.clone()).map_err(|error| error.to_string());
    // What was seen is worth something even where it ended badly.
    let story = story.take() + EPILOGUE;
    match io::stdout().write_all(story.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            told.and(Err(format!("cannot write to stdout: {error}")))
        }
        Ok(()) | Err(_) => told,
    }
}

/// The rules by which a folder is served if nothing is said about it.
fn usual_rules() -> Result<FolderOptions, clap::Error> {
    let command = FolderOptions::augment_args(clap::Command::new(""));
    FolderOptions::from_arg_matches(&command.try_get_matches_from([""])?)
}

fn explain(
    options: &ExplainOptions,
    gateway: Box<dyn Gateway>,
    story: Rc<RefCell<String>>,
) -> io::Result<()> {
    let listener = Listener::bind(&ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))))?;
    if options.big {
        // Connections inherit it.
        sockopt::set_socket_send_buffer_size(&listener, SMALL_BUFFER)?;
    }
    let mut limits = Limits::default();
    if options.stall {
        limits.head_timeout = STALL;
    }
    let server = Server::new().limits(limits).listener(listener).bind()?;
    let ListenAddress::Tcp(address) = server.addresses().remove(0) else {
        return Err(io::Error::other("the listener is no longer TCP's"));
    };
    let handle = server.handle();
    *story.borrow_mut() = prologue(options, address);
    let (script, buffer) = (options.script(address), options.big.then_some(SMALL_BUFFER));
    let (stop, progress) = (handle.clone(), Arc::new(Progress::default()));
    let seen = progress.clone();
    let client = thread::Builder::new().name("client".to_string()).spawn(move || {
        let done = ask(address, buffer, &script, &progress);
        if done.is_err() {
            stop.stop();
        }
        done
    })?;
    let explainer = Explainer::new(move |lines| story.borrow_mut().push_str(lines));
    let witness = Until {
        witness: explainer.witness(),
        explainer: explainer.clone(),
        handle,
        reached: Reached::default(),
        seen,
    };
    server.run_witnessed(explainer.gateway(gateway), 1, witness)?;
    client.join().map_err(|_| io::Error::other("the client has panicked"))?
}

/// How far the server has come, as its client has to know to be slow on purpose.
#[derive(Default)]
struct Progress {
    /// The progress by the end of the last turn: what the client does next begins another one.
    state: Mutex<Reached>,
    changed: Condvar,
}

/// The bytes that a server has read, and whether its socket has taken less than it was given.
#[derive(Clone, Copy, Default)]
struct Reached {
    received_bytes: usize,
    is_full: bool,
}

impl Reached {
    fn note(&mut self, call: &SystemCall<'_>) {
        match (call.operation, call.result) {
            (Operation::Receive { bytes, .. }, Ok(_)) => self.received_bytes += bytes.len(),
            (Operation::Send { pieces, .. }, result) => {
                let offered = pieces.iter().map(|piece| piece.len()).sum();
                self.is_full |= result.is_ok_and(|taken| taken < offered)
                    || result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            }
            _ => {}
        }
    }
}

impl Progress {
    fn reach(&self, reached: Reached) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = reached;
        self.changed.notify_all();
    }

    /// Waits until the server has come this far.
    fn wait(&self, is_there: impl Fn(&Reached) -> bool) -> io::Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, PATIENCE, |state| !is_there(state));
        if !waited.is_ok_and(|(_, waited)| !waited.timed_out()) {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the server does not go on"));
        }
        thread::sleep(PAUSE);
        Ok(())
    }
}

/// A witness that stops the server once the story is over.
struct Until<W> {
    witness: W,
    explainer: Explainer,
    handle: ServerHandle,
    reached: Reached,
    seen: Arc<Progress>,
}

impl<W: Witness> Witness for Until<W> {
    fn see(&mut self, connection: Option<u64>, at: Moment, act: &Act<'_>) {
        self.witness.see(connection, at, act);
        match act {
            Act::Called(call) => self.reached.note(call),
            Act::TurnEnded(_) => self.seen.reach(self.reached),
            _ => {}
        }
        if self.explainer.has_told_of(1) {
            self.handle.stop();
        }
    }

    fn sees_waits(&self) -> bool {
        self.witness.sees_waits()
    }
}

/// The beginning of the story: what has to be known before.
fn prologue(options: &ExplainOptions, address: SocketAddr) -> String {
    let client = options.client();
    format!(
        "One thread serves http://{address}/ by one event loop. This is what that does for one client, which is a thread of\n\
         its own. {client}\n\n\
         Each numbered line is a system call of the loop, with its result; | are the bytes. None of them waits, but for the\n\
         one that waits for events. (On Linux a connection comes with its first bytes: TCP_DEFER_ACCEPT.) What stands between\n\
         them is decided without the system. States have the names that they have in the code: src/conversation/stage.rs, and\n\
         the tables of src/protocol/state.rs. (Awaited and Intake are the Reading of examples/ladder, Delivery is its\n\
         Writing.) It takes longer to tell it than to do it, so the times are those of a slow server.\n\n"
    )
}

/// The end of the story: what can be looked at next.
const EPILOGUE: &str = "
Look at it from outside with \"strace -f tidegate explain\"; and at others with --slow, --stall, --pipelined, --big, or paths
(/stream, /slow). A server of your own tells the same of its first client with --explain.
";

/// Answers with more than a socket takes.
fn big(_: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let pieces = std::iter::repeat_n([b'~'; PIECE_BYTES], PIECES);
    start_response.status(200).field("Content-Type", "text/plain").pieces(pieces)
}

// The client

/// Does what the script says, on one connection.
fn ask(address: SocketAddr, buffer: Option<usize>, script: &[Deed], progress: &Progress) -> io::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    if let Some(bytes) = buffer {
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    connect(&socket, &address)?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (mut unread, mut sent) = (Vec::new(), 0);
    for deed in script {
        match deed {
            Deed::Send(bytes) => {
                stream.write_all(bytes.as_bytes())?;
                sent += bytes.len();
            }
            Deed::BeRead => progress.wait(|reached| reached.received_bytes >= sent)?,
            Deed::FillBuffers => progress.wait(|reached| reached.is_full)?,
            Deed::Read(count) => (0..*count).try_for_each(|_| read_answer(&mut stream, &mut unread))?,
            Deed::ReadToEnd => drop(stream.read_to_end(&mut unread)?),
        }
    }
    Ok(())
}

/// Reads until one whole answer is there, and takes it out of what is unread.
fn read_answer(stream: &mut TcpStream, unread: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 8192];
    loop {
        if let Some(length) = length_of_answer(unread) {
            unread.drain(..length);
            return Ok(());
        }
        match stream.read(&mut buffer)? {
            // Without a length, the end of the connection is that of the answer.
            0 if !unread.is_empty() => {
                unread.clear();
                return Ok(());
            }
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server has not answered")),
            count => unread.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The length of the answer at the beginning of these bytes, if all of it is there. (It knows no more of HTTP than
/// the answers to its own requests take.)
fn length_of_answer(bytes: &[u8]) -> Option<usize> {
    let after = |from: usize, end: &[u8]| {
        let found = bytes[from..].windows(end.len()).position(|window| window == end)?;
        Some(from + found + end.len())
    };
    let head = after(0, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if let Some(length) = value("content-length:").and_then(|length| length.parse::<usize>().ok()) {
        let end = head.checked_add(length)?;
        return (bytes.len() >= end).then_some(end);
    }
    match value("transfer-encoding:") {
        // From the end of the head on, since content may be empty.
        Some(_) => after(head - 2, b"\r\n0\r\n\r\n"),
        None => text.starts_with("http/1.1 304").then_some(head),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_ends_where_its_framing_says() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP", Some(41)),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nH", Some(58)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Some(52)),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", None),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", Some(29)),
            ("HTTP/1.1 200 OK\r\n", None),
        ] {
            assert_eq!(length_of_answer(answer.as_bytes()), expected, "{answer}");
        }
    }
}
