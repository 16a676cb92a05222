//! Tests the WebSocket example over real sockets, with tungstenite as the client.

mod support;

#[path = "../examples/websocket.rs"]
#[allow(dead_code)]
mod example;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use example::{MESSAGE_BYTES_MAX, site};
use support::loopback::{End, PATIENCE, Running, noise, serve_gateway};
use tidegate::limits::Limits;
use tidegate::{Gateway, Server};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Bytes, Error, Message, WebSocket};

type Client = WebSocket<TcpStream>;

fn server() -> Running {
    serve(site(PATIENCE))
}

fn serve(gateway: impl Gateway + Send + 'static) -> Running {
    serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), gateway)
}

fn connect(server: &Running) -> Client {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client(format!("ws://{}/echo", server.address()), stream).unwrap().0
}

/// The code with which the server closes.
fn close_code(client: &mut Client) -> Option<CloseCode> {
    loop {
        if let Message::Close(frame) = client.read().unwrap() {
            return frame.map(|frame| frame.code);
        }
    }
}

#[test]
fn texts_and_bytes_come_back() {
    let server = server();
    let mut client = connect(&server);
    let largest = noise(1, MESSAGE_BYTES_MAX);
    for message in [
        Message::text("low"),
        Message::text(""),
        Message::text("Grüße vom Deich"),
        Message::binary(vec![0, 255]),
        Message::binary(largest.clone()),
        Message::text("x".repeat(70_000)),
        Message::binary(largest),
    ] {
        client.send(message.clone()).unwrap();
        assert!(client.read().unwrap() == message, "{} bytes did not come back", message.len());
    }
}

#[test]
fn many_messages_come_back_in_order() {
    let server = server();
    let mut client = connect(&server);
    for number in 0..10_000 {
        client.write(Message::text(format!("number {number}"))).unwrap();
    }
    client.flush().unwrap();
    for number in 0..10_000 {
        assert_eq!(client.read().unwrap(), Message::text(format!("number {number}")));
    }
}

#[test]
fn fragments_come_back_as_one_message_with_a_ping_answered_in_between() {
    let server = server();
    let mut client = connect(&server);
    // The first cut is inside of a character.
    let (first, rest) = "Grüße vom Deich".as_bytes().split_at(3);
    let frame = |bytes: &[u8], data, is_final| {
        Message::Frame(Frame::message(Bytes::copy_from_slice(bytes), OpCode::Data(data), is_final))
    };
    client.send(frame(first, Data::Text, false)).unwrap();
    client.send(Message::Ping("still there?".into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong("still there?".into()));
    client.send(frame(&rest[..4], Data::Continue, false)).unwrap();
    client.send(frame(&rest[4..], Data::Continue, true)).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("Grüße vom Deich"));
}

#[test]
fn close_of_the_client_is_answered_and_ends_the_connection() {
    let server = server();
    let mut client = connect(&server);
    client.send(Message::text("last")).unwrap();
    client.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("last"));
    assert_eq!(close_code(&mut client), Some(CloseCode::Normal));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
}

#[test]
fn silent_client_is_sent_a_ping_and_closed_if_it_does_not_answer() {
    let server = serve(site(Duration::from_millis(200)));
    let mut client = connect(&server);
    // It answers two pings, since it reads on, and lives.
    for _ in 0..2 {
        assert_eq!(client.read().unwrap(), Message::Ping(Bytes::new()));
    }
    client.send(Message::text("here")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("here"));
    drop(client);
    // Another sends nothing at all.
    let mut client = server.connect();
    client.send(handshake("13", KEY, ""));
    client.read_until("\r\n\r\n");
    let (received, end) = client.read_to_end();
    let frames = &received[received.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4..];
    assert_eq!(frames, b"\x89\x00\x88\x15\x03\xe9no answer to a ping");
    assert_eq!(end, End::Fin);
}

#[test]
fn server_that_closes_first_hears_the_client_out() {
    let server = serve(site(Duration::from_millis(100)));
    let mut client = server.connect();
    client.send(handshake("13", KEY, ""));
    client.read_until("no answer to a ping");
    // The client's close frame, masked with zeros, ends the connection at once: not after two seconds.
    client.received.clear();
    let asked = Instant::now();
    client.send(b"\x88\x82\0\0\0\0\x03\xe9");
    assert_eq!(client.read_end(), End::Fin);
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
}

#[test]
fn server_that_shuts_down_says_so_and_waits_for_the_answer() {
    let mut server = server();
    let mut client = connect(&server);
    client.send(Message::text("last")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("last"));
    server.handle.drain();
    assert_eq!(close_code(&mut client), Some(CloseCode::Away));
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    drop(client);
    server.join();
}

#[test]
fn too_long_a_message_closes_with_1009_even_while_it_is_sent() {
    let server = server();
    for is_fragmented in [false, true] {
        let mut client = connect(&server);
        let half = Bytes::from(vec![b'x'; MESSAGE_BYTES_MAX / 2 + 1]);
        // The server may end the connection before all of it has left, but not before its reason has come.
        let _ = match is_fragmented {
            false => client.send(Message::binary(vec![b'x'; 2 * MESSAGE_BYTES_MAX])),
            true => [(Data::Binary, false), (Data::Continue, true)].into_iter().try_for_each(
                |(data, is_final)| {
                    client.send(Message::Frame(Frame::message(half.clone(), OpCode::Data(data), is_final)))
                },
            ),
        };
        assert_eq!(close_code(&mut client), Some(CloseCode::Size));
    }
}

#[test]
fn violations_close_with_the_reason() {
    let server = server();
    let wrong_text: &[u8] = b"\x81\x81\0\0\0\0\xff";
    for (frame, code) in [
        (&b"\x81\x01x"[..], &b"\x03\xea"[..]),
        (b"\xf1\x81\0\0\0\0x", b"\x03\xea"),
        (b"\x80\x81\0\0\0\0x", b"\x03\xea"),
        (wrong_text, b"\x03\xef"),
    ] {
        let mut client = server.connect();
        client.send(handshake("13", KEY, ""));
        client.read_until("\r\n\r\n");
        client.received.clear();
        client.send(frame);
        client.read_bytes(4);
        assert_eq!(client.received, [b"\x88\x02", code].concat(), "{}", frame.escape_ascii());
    }
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn handshake(version: &str, key: &str, more: &str) -> String {
    format!(
        "GET /echo HTTP/1.1\r\nHost: a:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n"
    )
}

#[test]
fn handshake_is_answered_or_refused() {
    let server = server();
    let plain = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n".to_string();
    for (request, code) in [
        (handshake("13", KEY, ""), 101),
        (handshake("13", KEY, "Origin: https://a:80\r\n"), 101),
        (handshake("13", KEY, "Origin: https://b\r\n"), 403),
        (handshake("13", KEY, "Origin: null\r\n"), 403),
        (handshake("8", KEY, ""), 400),
        (handshake("13", "c2hvcnQ=", ""), 400),
        (handshake("13", "", ""), 400),
        (handshake("13", KEY, "").replace("GET", "POST"), 400),
        (plain, 400),
    ] {
        let mut client = server.connect();
        client.send(&request);
        client.read_until("\r\n\r\n");
        let head = String::from_utf8_lossy(&client.received).into_owned();
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{request}\n{head}");
        // The key and its answer are those of RFC 6455, section 1.3.
        let line = match code {
            101 => "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            _ => "\r\nSec-WebSocket-Version: 13\r\n",
        };
        assert!(head.contains(line), "{request}\n{head}");
    }
}

#[test]
fn client_that_does_not_read_is_not_read_from_and_loses_nothing() {
    let server = server();
    let mut client = server.connect();
    client.send(handshake("13", KEY, ""));
    client.read_until("\r\n\r\n");
    let mut stream = client.try_clone_tcp();
    // A frame of 60,000 bytes, masked with zeros, which comes back without the mask.
    let content = noise(1, 60_000);
    let frame = [b"\x82\xfe\xea\x60\0\0\0\0", &content[..]].concat();
    let echo = [b"\x82\x7e\xea\x60", &content[..]].concat();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0_usize;
    while let Ok(written) = stream.write(&frame[sent % frame.len()..]) {
        sent += written;
        assert!(sent < 100 << 20, "the server takes without end");
    }
    let (frames, rest) = (sent.div_ceil(frame.len()), (frame.len() - sent % frame.len()) % frame.len());
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let last = frame[frame.len() - rest..].to_vec();
    let writing = std::thread::spawn(move || stream.write_all(&last).unwrap());
    let mut stream = client.try_clone_tcp();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = vec![0; echo.len()];
    for number in 0..frames {
        stream.read_exact(&mut received).unwrap();
        assert!(received == echo, "frame {number} of {frames}");
    }
    writing.join().unwrap();
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let mut server = server();
    for way in 0..4 {
        let mut client = connect(&server);
        client.send(Message::text("low")).unwrap();
        match way {
            // With the echo unread: that resets the connection.
            0 => _ = client.get_ref().peek(&mut [0]).unwrap(),
            1 => _ = client.read().unwrap(),
            // In the middle of a frame.
            2 => client.get_mut().write_all(b"\x82\xfe\xea\x60\0\0\0\0x").unwrap(),
            // Half closed: nobody can be answered without a close frame.
            _ => client.get_ref().shutdown(Shutdown::Write).unwrap(),
        }
        if way == 3 {
            while client.read().is_ok() {}
        }
    }
    // A server that drains waits for every tunnel that is left.
    let asked = Instant::now();
    server.handle.drain();
    server.join();
    assert!(asked.elapsed() < Limits::default().drain_timeout / 2, "{:?}", asked.elapsed());
}
