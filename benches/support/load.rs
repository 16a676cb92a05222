//! Requests, and a client that asks them in a fixed order.
//!
//! Every connection sends, then every connection reads, round after round. So the server meets the same
//! requests in each run, however fast it is.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A request with one field.
pub const SMALL: &str = "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// A request for a file of [`FILE_BYTES`], which the program serves.
pub const FILE: &str = "GET /file.txt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
/// The length of that file: a small one.
pub const FILE_BYTES: usize = 4_096;

/// A request that the program answers itself, whether it shows its status or not.
pub const ICON: &str = "GET /icon.svg HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// A browser's request: 760 bytes, 14 fields.
pub const BROWSER: &str = "GET /plaintext HTTP/1.1\r\n\
    Host: 127.0.0.1:8000\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
    Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
    Accept-Language: en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Cache-Control: max-age=0\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0f8c3a1b5d7e9f20418263a4b5c6d7e8; theme=dark; consent=1; _ga=GA1.1.1204716183.1718704312; \
    _ga_9QK2T7W4MX=GS1.1.1719132040.7.1.1719132611.0.0.0; lang=en-GB; tz=+0100\r\n\
    Sec-Ch-Ua-Mobile: ?0\r\n\
    Sec-Ch-Ua-Platform: \"Linux\"\r\n\
    Sec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Upgrade-Insecure-Requests: 1\r\n\r\n";

const _: () = assert!(BROWSER.len() == 760);

/// An upload, whose content comes later.
pub const UPLOAD: &str = "POST /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n";

/// A request that is the only one of its connection.
pub const LAST: &str = "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";

/// A load: requests, and how they are sent.
pub struct Load {
    /// The name in the budget.
    pub name: &'static str,
    /// The number of connections.
    pub connections: usize,
    /// The number of requests that each connection sends at once.
    pub depth: usize,
    /// One request.
    pub request: &'static str,
    /// Bytes of content that follow a request when the server has read it.
    pub content_bytes: usize,
    /// The status that answers it.
    pub code: u16,
}

impl Load {
    fn content(&self) -> Vec<u8> {
        vec![b'x'; self.content_bytes]
    }

    fn status_line(&self) -> String {
        format!("HTTP/1.1 {} ", self.code)
    }
}

/// Connections of a load, all of which have had an answer.
pub struct Clients {
    streams: Vec<TcpStream>,
    batch: Vec<u8>,
    content: Vec<u8>,
    answers: Vec<u8>,
    status_line: String,
    depth: usize,
}

impl Clients {
    /// Connects, and sends one request on each connection: all answers of a load are as long as its first.
    pub fn connect(address: SocketAddr, load: &Load) -> io::Result<Clients> {
        let mut clients = Clients {
            streams: Vec::new(),
            batch: load.request.repeat(load.depth).into_bytes(),
            content: load.content(),
            answers: Vec::new(),
            status_line: load.status_line(),
            depth: load.depth,
        };
        for _ in 0..load.connections {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.write_all(load.request.as_bytes())?;
            stream.write_all(&load.content())?;
            let answer_bytes = read_answer(&mut stream)?;
            clients.answers.resize(answer_bytes * load.depth, 0);
            clients.streams.push(stream);
        }
        Ok(clients)
    }

    /// Returns how many rounds make `requests` requests.
    pub fn rounds(&self, requests: usize) -> usize {
        requests.div_ceil(self.streams.len() * self.depth)
    }

    /// Plays the first half of a round: requests are sent.
    pub fn send(&mut self) -> io::Result<()> {
        self.streams.iter_mut().try_for_each(|stream| stream.write_all(&self.batch))
    }

    /// Sends the content that follows.
    pub fn send_content(&mut self) -> io::Result<()> {
        self.streams.iter_mut().try_for_each(|stream| stream.write_all(&self.content))
    }

    /// Plays the second half of a round: answers are read.
    pub fn receive(&mut self) -> io::Result<()> {
        for stream in &mut self.streams {
            stream.read_exact(&mut self.answers)?;
            for answer in self.answers.chunks(self.answers.len() / self.depth) {
                expect(answer, &self.status_line)?;
            }
        }
        Ok(())
    }
}

/// Sends one request on each of a number of new connections, which the server is to close. Returns before
/// they are answered.
pub fn send_anew(address: SocketAddr, load: &Load) -> io::Result<Vec<TcpStream>> {
    let ask = |_| {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(load.request.as_bytes())?;
        Ok(stream)
    };
    (0..load.connections).map(ask).collect()
}

/// Reads what comes until the server closes.
pub fn receive_last(streams: Vec<TcpStream>, load: &Load) -> io::Result<()> {
    for mut stream in streams {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        expect(&answer, &load.status_line())?;
    }
    Ok(())
}

/// Reads one answer with a length, and returns how many bytes it had.
fn read_answer(stream: &mut TcpStream) -> io::Result<usize> {
    let (mut answer, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&bytes[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, content)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.and_then(|value| value.parse().ok()).unwrap_or(0);
        if content.len() >= length {
            return Ok(head.len() + 4 + length);
        }
    }
}

fn expect(answer: &[u8], status_line: &str) -> io::Result<()> {
    match answer.starts_with(status_line.as_bytes()) {
        true => Ok(()),
        false => Err(io::Error::other(format!("no {status_line:?} in {}", answer.escape_ascii()))),
    }
}
