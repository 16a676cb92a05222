//! WebSocket (`jakarta.websocket`), with tungstenite as the client: the probe's own endpoint, and Debian's examples.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::probe::{Check, Probe, answers, checks, complete};
use super::served::Served;
use super::support;
use super::support::loopback::{PATIENCE, noise};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Bytes, Message, WebSocket};

pub type Client = WebSocket<TcpStream>;

pub fn probes() -> impl Iterator<Item = Probe> {
    checks(HANDSHAKES).chain(checks(CHECKS))
}

const HANDSHAKES: &[Check] = &[
    (
        "handshake",
        |served| handshake(served, "GET /probe/socket/a", WHOLE, ""),
        "101: connection: upgrade, sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=, upgrade: websocket, x-shaken: 1",
    ),
    (
        "handshake with a protocol",
        |served| handshake(served, "GET /probe/socket/a", WHOLE, "\nSec-WebSocket-Protocol: first"),
        "101: connection: upgrade, sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=, sec-websocket-protocol: first, upgrade: websocket, x-shaken: 1",
    ),
    (
        "handshake of another version",
        |served| handshake(served, "GET /probe/socket/a", &WHOLE.replace("13", "8"), ""),
        "426 length",
    ),
    (
        "handshake without a key",
        |served| handshake(served, "GET /probe/socket/a", "Sec-WebSocket-Version: 13", ""),
        "400 length: page of 400",
    ),
    (
        "handshake that is none",
        |served| super::probe::ask(served, "GET /probe/socket/a"),
        "404 length: page of 404",
    ),
    (
        "handshake by POST",
        |served| handshake(served, "POST /probe/socket/a", WHOLE, "\nContent-Length: 0"),
        "404 length: page of 404",
    ),
    (
        "upgrade that nobody takes",
        |served| {
            super::probe::ask(
                served,
                "GET /probe/respond/short\nConnection: Upgrade\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
            )
        },
        "200 length {Content-Type: text/plain;charset=UTF-8}: short",
    ),
];

/// The key and its answer are those of RFC 6455, section 1.3.
const WHOLE: &str = "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// Asks the probe for a WebSocket.
pub const OPENING: &str = "GET /probe/socket/a\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// Asks for a WebSocket, and says what the head of the answer has.
fn handshake(served: &Served, line: &str, fields: &str, more: &str) -> String {
    let mut client = served.connect();
    client.send(complete(&format!("{line}\nConnection: Upgrade\nUpgrade: websocket\n{fields}{more}")));
    client.read_until("\r\n\r\n");
    if !client.received.starts_with(b"HTTP/1.1 101 ") {
        return answers(&mut client, "GET");
    }
    let head = String::from_utf8_lossy(&client.received).to_lowercase();
    let of_both =
        |line: &&str| !line.starts_with("date:") && !line.starts_with("server:") && !line.is_empty();
    let mut lines: Vec<&str> = head.split("\r\n").skip(1).filter(of_both).collect();
    lines.sort_unstable();
    format!("101: {}", lines.join(", "))
}

const CHECKS: &[Check] = &[
    ("socket echo", |served| echo(&mut open(served, "/probe/socket/echo")), "texts and bytes come back"),
    ("socket protocol and query", negotiated, "first, open:first:a=b"),
    ("socket fragments and ping", fragments, "pong, Grüße"),
    ("socket closed by the client", closed_by_client, "1000"),
    ("socket closed by the server", closed_by_server, "1001 as you wish"),
    ("socket whose endpoint fails", fails, "error close"),
    ("socket with a message that is too long", too_long, "1009"),
    ("socket with a frame that is not masked", unmasked, "1002"),
    ("socket whose client leaves", leaves, "close:1006"),
    ("socket whose client leaves a message at work", leaves_at_work, "open::null dozes error close:1006"),
    ("socket whose client does not read at first", flooded, "2000 messages, flooded"),
    ("socket with many messages at once", many, "in order"),
    ("socket many at once", many_sockets, "50"),
    ("upgrade that reads wrongly", reads_wrongly, "NullPointerException IndexOutOfBoundsException 1 bytes"),
    ("upgrade that reads and writes at once", reads_and_writes, "read:7, then 30000000 bytes"),
    (
        "example echo by program",
        |served| echo(&mut open(served, "/examples/websocket/echoProgrammatic")),
        "texts and bytes come back",
    ),
    (
        "example echo by annotation",
        |served| echo(&mut open(served, "/examples/websocket/echoAnnotation")),
        "texts and bytes come back",
    ),
    (
        "example echo as a stream",
        |served| echo(&mut open(served, "/examples/websocket/echoStreamAnnotation")),
        "texts and bytes come back",
    ),
    ("example chat", chat, "joined, joined, heard by both, left"),
    ("example drawboard", drawboard, "1, +, drawn"),
    ("example snake", snake, "moves"),
];

/// A connection that goes on in the protocol of the probe's own.
fn upgraded(served: &Served, target: &str) -> support::loopback::Client {
    let mut client = served.connect();
    client.send(complete(&format!("GET {target}\nConnection: Upgrade\nUpgrade: x-low")));
    client.read_until("\r\n\r\n");
    let head = client.received.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    client.received.drain(..head + 4);
    client
}

/// Mistakes of an application end in its exception.
fn reads_wrongly(served: &Served) -> String {
    let mut client = upgraded(served, "/probe/upgrade/wrong");
    client.send("x");
    let (said, _) = client.read_to_end();
    String::from_utf8_lossy(&said).into_owned()
}

/// A thread that waits for the client's bytes, and one that waits for room, hear each of its own.
fn reads_and_writes(served: &Served) -> String {
    let id = id(served, "both");
    let mut client = upgraded(served, &format!("/probe/upgrade/both?id={id}"));
    // Both wait by now, unless the machine is very busy.
    thread::sleep(Duration::from_millis(200));
    client.send("\u{7}");
    served.wait_for_note(&id, "read:7");
    let mut count = 0;
    while count < 30_000_000 {
        client.read_bytes(1);
        count += client.received.drain(..).filter(|byte| *byte == b'x').count();
    }
    format!("read:7, then {count} bytes")
}

fn id(served: &Served, name: &str) -> String {
    format!("socket-{name}-{:?}-{}", served.connector, served.program.id())
}

pub fn open(served: &Served, path: &str) -> Client {
    open_with(served, path, None)
}

fn open_with(served: &Served, path: &str, protocol: Option<&str>) -> Client {
    let stream = TcpStream::connect(served.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://{}{path}", served.address()).into_client_request().unwrap();
    if let Some(protocol) = protocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    }
    tungstenite::client(request, stream).unwrap().0
}

fn text(client: &mut Client) -> String {
    loop {
        match client.read().unwrap() {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?} instead of a text"),
        }
    }
}

/// Code and reason with which the server closes.
fn close(client: &mut Client) -> (u16, String) {
    loop {
        match client.read() {
            Ok(Message::Close(Some(frame))) => return (frame.code.into(), frame.reason.to_string()),
            Ok(Message::Close(None)) => return (0, String::new()),
            Ok(_) => {}
            Err(error) => panic!("{error} instead of a close"),
        }
    }
}

fn echo(client: &mut Client) -> String {
    for message in [
        Message::text("low"),
        Message::text("Grüße vom Deich"),
        Message::binary(vec![0, 255]),
        Message::binary(noise(1, 8000)),
        Message::text("x".repeat(8000)),
    ] {
        client.send(message.clone()).unwrap();
        let mut back = client.read().unwrap();
        // Those that stream send what they have so far, and then the rest.
        while back.len() < message.len() {
            let more = client.read().unwrap();
            back = match (back, more) {
                (Message::Text(first), Message::Text(more)) => Message::text(format!("{first}{more}")),
                (Message::Binary(first), Message::Binary(more)) => Message::binary([first, more].concat()),
                (first, more) => panic!("{first:?} and {more:?}"),
            };
        }
        assert!(back == message, "{} bytes did not come back, but {}", message.len(), back.len());
    }
    client.close(None).unwrap();
    while client.read().is_ok() {}
    "texts and bytes come back".to_string()
}

fn negotiated(served: &Served) -> String {
    let id = id(served, "negotiated");
    let mut client = open_with(served, &format!("/probe/socket/{id}?a=b"), Some("first, other"));
    client.send(Message::text("first")).unwrap();
    format!("{}, {}", text(&mut client), served.notes(&id))
}

fn fragments(served: &Served) -> String {
    let mut client = open(served, "/probe/socket/fragments");
    let (first, rest) = "Grüße".as_bytes().split_at(3);
    let frame = |bytes: &[u8], data, is_final| {
        Message::Frame(Frame::message(Bytes::copy_from_slice(bytes), OpCode::Data(data), is_final))
    };
    client.send(frame(first, Data::Text, false)).unwrap();
    client.send(Message::Ping("there?".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("there?".into()));
    client.send(frame(rest, Data::Continue, true)).unwrap();
    format!("pong, {}", text(&mut client))
}

fn closed_by_client(served: &Served) -> String {
    let id = id(served, "closed-by-client");
    let mut client = open(served, &format!("/probe/socket/{id}"));
    client.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).unwrap();
    let (code, _) = close(&mut client);
    assert!(client.read().is_err(), "the connection goes on");
    served.wait_for_note(&id, "close:1000");
    code.to_string()
}

fn closed_by_server(served: &Served) -> String {
    let id = id(served, "closed-by-server");
    let mut client = open(served, &format!("/probe/socket/{id}"));
    client.send(Message::text("close")).unwrap();
    let (code, reason) = close(&mut client);
    while client.read().is_ok() {}
    served.wait_for_note(&id, "close:1001");
    format!("{code} {reason}")
}

fn fails(served: &Served) -> String {
    let id = id(served, "fails");
    let mut client = open(served, &format!("/probe/socket/{id}"));
    client.send(Message::text("throw")).unwrap();
    served.wait_for_note(&id, "error");
    client.close(None).unwrap();
    while client.read().is_ok() {}
    "error close".to_string()
}

fn too_long(served: &Served) -> String {
    let mut client = open(served, "/probe/socket/too-long");
    // The server may end the connection before all of it has left.
    let _ = client.send(Message::text("x".repeat(200_000)));
    close(&mut client).0.to_string()
}

fn unmasked(served: &Served) -> String {
    use std::io::Write;
    let mut client = open(served, "/probe/socket/unmasked");
    client.get_mut().write_all(b"\x81\x01x").unwrap();
    close(&mut client).0.to_string()
}

fn leaves(served: &Served) -> String {
    let id = id(served, "leaves");
    let client = open(served, &format!("/probe/socket/{id}"));
    drop(client);
    served.wait_for_note(&id, "close:1006");
    "close:1006".to_string()
}

/// Nobody waits for this client when it leaves: the application hears of it by the read that follows, as of any other, and not
/// by an event that another thread brings.
fn leaves_at_work(served: &Served) -> String {
    let id = id(served, "leaves-at-work");
    let mut client = open(served, &format!("/probe/socket/{id}"));
    client.send(Message::text("doze")).unwrap();
    served.wait_for_note(&id, "dozes");
    drop(client);
    served.wait_for_note(&id, "close:1006")
}

fn flooded(served: &Served) -> String {
    let mut client = open(served, "/probe/socket/flooded");
    client.send(Message::text("flood")).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..2000 {
        assert_eq!(client.read().unwrap().len(), 10_000);
    }
    format!("2000 messages, {}", text(&mut client))
}

fn many(served: &Served) -> String {
    let mut client = open(served, "/probe/socket/many");
    for number in 0..2000 {
        client.write(Message::text(format!("number {number}"))).unwrap();
    }
    client.flush().unwrap();
    for number in 0..2000 {
        assert_eq!(text(&mut client), format!("number {number}"));
    }
    "in order".to_string()
}

fn many_sockets(served: &Served) -> String {
    let mut clients: Vec<_> =
        (0..50).map(|number| open(served, &format!("/probe/socket/{number}"))).collect();
    clients.iter_mut().for_each(|client| client.send(Message::text("low")).unwrap());
    clients.iter_mut().filter_map(|client| (text(client) == "low").then_some(())).count().to_string()
}

fn chat(served: &Served) -> String {
    let mut first = open(served, "/examples/websocket/chat");
    let joined = text(&mut first);
    let mut second = open(served, "/examples/websocket/chat");
    let also = text(&mut first);
    text(&mut second);
    second.send(Message::text("high & <b>low</b>")).unwrap();
    let heard = [text(&mut first), text(&mut second)];
    let is_heard = heard.iter().all(|text| text.ends_with(": high &amp; &lt;b&gt;low&lt;/b&gt;"));
    second.close(None).unwrap();
    while second.read().is_ok() {}
    let left = text(&mut first);
    let word = |text: &str| {
        ["joined", "disconnected"].into_iter().find(|word| text.contains(word)).unwrap_or("?").to_string()
    };
    let heard = if is_heard { "heard by both" } else { "not heard" };
    format!("{}, {}, {heard}, {}", word(&joined), word(&also), word(&left).replace("disconnected", "left"))
}

pub fn drawboard(served: &Served) -> String {
    let mut first = open(served, "/examples/websocket/drawboard");
    // The number of players comes before the picture, and a sign for each who comes or goes.
    let players = |client: &mut Client| loop {
        if let Message::Text(text) = client.read().unwrap()
            && (text.starts_with('2') || text.starts_with('3'))
        {
            return text.as_str()[1..].to_string();
        }
    };
    let alone = players(&mut first);
    let mut second = open(served, "/examples/websocket/drawboard");
    let both = players(&mut first);
    second.send(Message::text("11|1,255,0,0,255,3.0,1,1,20,20")).unwrap();
    let drawn = loop {
        if let Message::Text(text) = first.read().unwrap()
            && text.starts_with('1')
        {
            break "drawn";
        }
    };
    format!("{alone}, {both}, {drawn}")
}

fn snake(served: &Served) -> String {
    let mut client = open(served, "/examples/websocket/snake");
    loop {
        if text(&mut client).contains("\"type\": \"update\"") {
            return "moves".to_string();
        }
    }
}
