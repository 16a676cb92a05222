//! A WebSocket (RFC 6455) on a connection that the application has taken over: whatever the page sends comes back.
//!
//! ```text
//! cargo run --release --example websocket
//! open http://127.0.0.1:8000/ in a browser
//! ```
//!
//! The server knows of HTTP, and after 101 (Switching Protocols) of bytes; frames and messages are tungstenite's, which
//! has no socket here but two buffers in memory. Nobody waits: what has come is put into one buffer, and what tungstenite
//! writes into the other is drawn while the client takes it. Little is taken from a client that does not read.

use std::error::Error;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use tidegate::gateway::{BodyStream, Piece, Tunnel};
use tidegate::message::Method;
use tidegate::now::Moment;
use tidegate::{Body, Environ, Gateway, GatewayError, Server, StartResponse};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocket, WebSocketConfig};
use tungstenite::{Bytes, Message};

/// Longest message, and longest frame. 1 MiB: a client can make the server hold so much, and the echo of it.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Bytes from the client that may wait until there is room for answers. 64 KiB: about as much as a read brings.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of answers from which on no other message is read, and the most that are handed over at once. 16 KiB: many
/// small answers together, and little that a client can leave lying.
const OUTPUT_BYTES_HIGH: usize = 16 * 1024;

/// Bytes that tungstenite reads at once, and holds for each connection. 4 KiB: most connections are idle.
const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Longest wait for the client's part of a close. 2 s: as long as browsers wait for the server's.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest silence before a client is sent a ping, and then before it is given up. 30 s: shorter than proxies and
/// routers forget a connection.
const SILENCE_MAX: Duration = Duration::from_secs(30);

const PAGE: &str = r#"<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Echo</title>
<h1>Echo</h1>
<form><input aria-label="Message" autofocus> <button>Send</button></form>
<p id="state">connecting</p>
<ol id="echoes"></ol>
<script>
  const input = document.querySelector("input");
  const state = document.getElementById("state");
  const socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/[^/]*$/, "echo"));
  socket.onopen = () => state.textContent = "open";
  socket.onclose = event => state.textContent = `closed (${event.code})`;
  socket.onmessage = event => {
    const item = document.createElement("li");
    item.textContent = event.data;
    document.getElementById("echoes").append(item);
  };
  document.querySelector("form").onsubmit = event => {
    event.preventDefault();
    socket.send(input.value);
    input.value = "";
  };
</script>
"#;

#[cfg_attr(test, allow(dead_code))]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("websocket: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let server = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
    println!("Starting on http://127.0.0.1:8000/ (Ctrl-C stops)");
    Ok(server.run(site(SILENCE_MAX))?)
}

/// Makes the application: the page at `/`, and the WebSocket at `/echo`, whose clients may be silent for so long.
pub fn site(silence_max: Duration) -> impl Gateway + Send + use<> {
    move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| match &*environ.path() {
        "/" => start_response.status(200).field("Content-Type", "text/html; charset=utf-8").send(PAGE),
        "/echo" => take_over(environ, start_response, silence_max),
        _ => start_response.status(404).send("There are / and /echo\n"),
    }
}

/// Answers the opening handshake (RFC 6455 §4.2).
fn take_over(
    environ: &Environ<'_>,
    start_response: StartResponse<'_>,
    silence_max: Duration,
) -> Result<Body, GatewayError> {
    let refuse = |start_response: StartResponse<'_>, code, reason: &'static str| {
        start_response.status(code).field("Sec-WebSocket-Version", "13").send(reason)
    };
    let Some(upgrade) = environ.upgrade("websocket").filter(|_| environ.method() == Method::GET) else {
        return refuse(start_response, 400, "This is a WebSocket: GET with Upgrade: websocket\n");
    };
    if environ.field("Sec-WebSocket-Version") != Some(b"13") {
        return refuse(start_response, 400, "Only version 13 of WebSockets is spoken here\n");
    }
    let Some(key) = environ.field("Sec-WebSocket-Key").filter(|key| is_key(key)) else {
        return refuse(start_response, 400, "Sec-WebSocket-Key is not 16 bytes in base64\n");
    };
    if !is_same_origin(environ) {
        return refuse(start_response, 403, "The page comes from another site\n");
    }
    let echo = Echo::new(start_response.now(), silence_max);
    start_response.upgrade(&upgrade).field("Sec-WebSocket-Accept", derive_accept_key(key)).tunnel(echo)
}

/// Whether this is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(is_digit) && key.ends_with(b"==")
}

/// Whether the page is this server's, as far as a browser says. Browsers send cookies along with the handshake, and
/// would let any page of any site open a socket in the name of its reader. Who is no browser sends no Origin.
fn is_same_origin(environ: &Environ<'_>) -> bool {
    environ.field("Origin").is_none_or(|origin| {
        let host = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
        host.is_some_and(|host| environ.field("Host").is_some_and(|own| own.eq_ignore_ascii_case(host)))
    })
}

/// The server's end of one WebSocket.
struct Echo {
    socket: WebSocket<Buffers>,
    stage: Stage,
    silence_max: Duration,
    /// The length of the longest message: tungstenite keeps a buffer in which it fits.
    longest: usize,
}

/// The state of the dialogue.
#[derive(Clone, Copy)]
enum Stage {
    /// Messages come, and go back. The client was heard at this time.
    Open { heard: Moment },
    /// The client was silent, and was sent a ping.
    Pinged { at: Moment },
    /// The server has sent a close frame, and waits for the client's until then.
    Closing { until: Moment },
    /// The server drains, and the client is to be told so.
    Leaving,
    /// Nothing more is to be said. The server throws away what the client still sends, so that the last frame arrives.
    Closed,
}

impl Echo {
    fn new(now: Moment, silence_max: Duration) -> Echo {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX))
            .read_buffer_size(READ_BUFFER_BYTES)
            // Every frame goes to the buffer at once: that never blocks.
            .write_buffer_size(0)
            .max_write_buffer_size(2 * MESSAGE_BYTES_MAX);
        Echo {
            socket: WebSocket::from_raw_socket(Buffers::default(), Role::Server, Some(config)),
            stage: Stage::Open { heard: now },
            silence_max,
            longest: 0,
        }
    }

    /// Answers messages, as long as there are any and there is room for answers.
    fn converse(&mut self, now: Moment) {
        if let (Stage::Open { .. } | Stage::Pinged { .. }, true) = (self.stage, self.buffers().has_input()) {
            self.stage = Stage::Open { heard: now };
        }
        self.keep_time(now);
        while self.buffers().output.len() < OUTPUT_BYTES_HIGH && !matches!(self.stage, Stage::Closed) {
            match self.socket.read() {
                Ok(message) => self.answer(message),
                Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => self.take_error(&error),
            }
        }
    }

    fn answer(&mut self, message: Message) {
        self.socket.get_mut().since_message = 0;
        self.longest = self.longest.max(message.len());
        let is_open = matches!(self.stage, Stage::Open { .. } | Stage::Pinged { .. });
        let is_data = message.is_text() || message.is_binary();
        if is_open
            && is_data
            && let Err(error) = self.socket.write(message)
        {
            self.take_error(&error);
        }
        // Pings and close frames tungstenite has answered itself.
    }

    /// Draws the consequence of an error, which is the end.
    fn take_error(&mut self, error: &tungstenite::Error) {
        use tungstenite::error::{Error, ProtocolError};
        let code = match error {
            Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
            Error::Capacity(_) => Some(CloseCode::Size),
            Error::Utf8(_) => Some(CloseCode::Invalid),
            Error::Protocol(_) => Some(CloseCode::Protocol),
            _ => Some(CloseCode::Error),
        };
        code.into_iter().for_each(|code| self.close(code, ""));
        self.socket.get_mut().forget_input();
        self.stage = Stage::Closed;
    }

    /// Sends a close frame, if none was sent.
    fn close(&mut self, code: CloseCode, reason: &'static str) {
        // It goes to a buffer, and fails only where everything has ended already.
        let _ = self.socket.close(Some(CloseFrame { code, reason: reason.into() }));
    }

    /// Does what is due by now.
    fn keep_time(&mut self, now: Moment) {
        if now < self.deadline() {
            return;
        }
        self.stage = match self.stage {
            Stage::Open { .. } => {
                let _ = self.socket.send(Message::Ping(Bytes::new()));
                Stage::Pinged { at: now }
            }
            Stage::Pinged { .. } => {
                self.close(CloseCode::Away, "no answer to a ping");
                Stage::Closing { until: now + CLOSE_TIMEOUT }
            }
            Stage::Leaving => {
                self.close(CloseCode::Away, "the server ends");
                Stage::Closing { until: now + CLOSE_TIMEOUT }
            }
            Stage::Closing { .. } | Stage::Closed => Stage::Closed,
        };
    }

    fn deadline(&self) -> Moment {
        match self.stage {
            Stage::Open { heard: since } | Stage::Pinged { at: since } => since + self.silence_max,
            Stage::Closing { until } => until,
            Stage::Leaving | Stage::Closed => Moment::START,
        }
    }

    fn buffers(&self) -> &Buffers {
        self.socket.get_ref()
    }
}

impl BodyStream for Echo {
    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        if !self.buffers().has_output() {
            self.socket.get_mut().release_output();
            self.converse(now);
        }
        match self.stage {
            _ if self.buffers().has_output() => Ok(Piece::Data(self.socket.get_mut().next_output())),
            Stage::Closed => Ok(Piece::End),
            _ => Ok(Piece::Pending { until: Some(self.deadline()) }),
        }
    }

    fn held_bytes(&self) -> usize {
        READ_BUFFER_BYTES + self.longest + self.buffers().held_bytes()
    }
}

impl Tunnel for Echo {
    /// Only takes the bytes: they are looked at when an answer is asked for, since there is room for it then.
    fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError> {
        Ok(self.socket.get_mut().take_input(bytes))
    }

    fn receive_end(&mut self) {
        self.socket.get_mut().has_ended = true;
    }

    fn server_is_draining(&mut self) {
        if let Stage::Open { .. } | Stage::Pinged { .. } = self.stage {
            self.stage = Stage::Leaving;
        }
    }
}

/// The socket that tungstenite sees: bytes that have come, and bytes that are to go.
#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    /// The number of bytes of the input that tungstenite has read.
    input_read: usize,
    /// Whether no more input comes.
    has_ended: bool,
    /// The number of bytes read since the last message: tungstenite holds most of them.
    since_message: usize,
    output: Vec<u8>,
    /// The number of bytes of the output that were handed over.
    output_given: usize,
}

impl Buffers {
    fn has_input(&self) -> bool {
        self.input_read < self.input.len()
    }

    fn take_input(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(INPUT_BYTES_MAX.saturating_sub(self.input.len()));
        self.input.extend_from_slice(&bytes[..taken]);
        taken
    }

    fn forget_input(&mut self) {
        self.input = Vec::new();
        self.input_read = 0;
    }

    fn has_output(&self) -> bool {
        self.output_given < self.output.len()
    }

    fn next_output(&mut self) -> &[u8] {
        let start = self.output_given;
        self.output_given = self.output.len().min(start + OUTPUT_BYTES_HIGH);
        &self.output[start..self.output_given]
    }

    /// Forgets the output, which was handed over, and its memory if that was much.
    fn release_output(&mut self) {
        self.output.clear();
        self.output.shrink_to(OUTPUT_BYTES_HIGH);
        self.output_given = 0;
    }

    fn held_bytes(&self) -> usize {
        self.input.capacity() + self.since_message + self.output.capacity()
    }
}

impl Read for Buffers {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.has_input() && !self.has_ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = (&self.input[self.input_read..]).read(into)?;
        self.input_read += read;
        self.since_message += read;
        if !self.has_input() {
            // An idle connection needs no buffer.
            self.forget_input();
        }
        Ok(read)
    }
}

impl Write for Buffers {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
