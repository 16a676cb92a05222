//! Tests content that another thread sends through a channel: it is paced by its client, and each end is heard on the
//! other side.

mod support;

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use support::loopback::{Answer, Client, End, Running, noise, serve, serve_with, wait_until};
use tidegate::gateway::{BodyStream, ContentSender, Piece, SendError, Wakeup, channel};
use tidegate::limits::Limits;
use tidegate::now::Moment;
use tidegate::{Environ, GatewayError, Server, StartResponse};

/// Far more than all buffers of a loopback connection hold.
const LARGE: usize = 64 << 20;
/// More than they do hold: what the system keeps for both sockets (tcp_rmem and tcp_wmem), and all of ours.
const HELD_MAX: usize = 32 << 20;

/// An application whose content is sent by a thread that does this.
fn sent_by<F>(send: F) -> impl FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer + Send + 'static
where
    F: Fn(ContentSender) + Clone + Send + 'static,
{
    move |environ, start_response| {
        let (sender, content) = channel(environ.wakeup());
        let send = send.clone();
        thread::Builder::new().spawn(move || send(sender))?;
        start_response.status(200).field("Content-Type", "text/plain").stream(content)
    }
}

fn serve_sent_by(send: impl Fn(ContentSender) + Clone + Send + 'static) -> Running {
    serve(sent_by(send), Limits::default())
}

/// A client that has asked.
fn ask(server: &Running) -> Client {
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client
}

/// What one thread tells the test.
fn news<T: Send + 'static>() -> (impl Fn(T) + Clone + Send + 'static, mpsc::Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    (move |news| sender.send(news).unwrap(), receiver)
}

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn content_arrives_whole_and_in_order_and_the_connection_is_kept() {
    let content = noise(7, 3_000_000);
    let expected = content.clone();
    let server = serve_sent_by(move |mut sender| {
        let (first, rest) = content.split_at(1_000_000);
        sender.send(first).unwrap();
        sender.send("").unwrap();
        for piece in rest.chunks(777) {
            sender.write_all(piece).unwrap();
        }
        sender.flush().unwrap();
        sender.end();
    });
    let mut client = ask(&server);
    assert!(client.read("GET").content == expected);
    assert!(client.get("/").content == expected);
    client.send("GET / HTTP/1.0\r\n\r\n");
    let response = client.read("GET");
    assert!(response.content == expected && client.read_end() == End::Fin);
}

#[test]
fn piece_arrives_while_the_thread_waits_for_the_next_one() {
    let (gate, opened) = mpsc::channel::<()>();
    let opened = Arc::new(std::sync::Mutex::new(opened));
    let server = serve_sent_by(move |sender| {
        sender.send("first").unwrap();
        opened.lock().unwrap().recv().unwrap();
        sender.send("second").unwrap();
        sender.end();
    });
    let mut client = ask(&server);
    client.read_until("first");
    gate.send(()).unwrap();
    assert_eq!(client.read("GET").text(), "firstsecond");
}

#[test]
fn slow_reader_makes_the_thread_wait_and_memory_stays_bounded() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let server = serve_sent_by(move |sender| {
        let piece = vec![b'x'; 10_000];
        while counter.load(Ordering::Relaxed) < LARGE {
            sender.send(&piece).unwrap();
            counter.fetch_add(piece.len(), Ordering::Relaxed);
        }
        sender.end();
    });
    let mut client = ask(&server);
    client.read_until("200 OK");
    // It goes on until all is full. On a busy machine it may seem to stand still before, which only makes less of it.
    let mut before = 0;
    wait_until("the thread waits", || {
        thread::sleep(Duration::from_millis(50));
        let now = sent.load(Ordering::Relaxed);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < HELD_MAX, "{before} bytes were taken that nobody reads");
    let response = client.read("GET");
    assert_eq!(response.content.len(), sent.load(Ordering::Relaxed));
    assert!(response.content.len() >= LARGE);
}

/// The bytes between the two halves are bounded by what was asked for; a piece may be longer.
#[test]
fn channel_can_be_narrower_than_a_piece() {
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (sender, content) = channel(environ.wakeup());
        thread::Builder::new().spawn(move || {
            sender.send("a long piece, byte by byte")?;
            sender.end();
            Ok::<_, SendError>(())
        })?;
        start_response.status(200).stream(content.bytes_max(1))
    };
    let server = serve(gateway, Limits::default());
    assert_eq!(ask(&server).read("GET").text(), "a long piece, byte by byte");
}

#[test]
fn thread_hears_that_its_client_has_left() {
    let (tell, told) = news();
    let server = serve_sent_by(move |sender| {
        let error = loop {
            if let Err(error) = sender.send([b'x'; 5_000]) {
                break error;
            }
        };
        assert!(sender.is_abandoned());
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::BrokenPipe);
        tell(error);
    });
    for resets in [true, false] {
        let mut client = ask(&server);
        if resets {
            client.leave_unread();
        } else {
            client.read_until("200 OK");
            client.break_off();
        }
        assert_eq!(told.recv_timeout(PATIENCE), Ok(SendError::Gone), "resets: {resets}");
    }
}

#[test]
fn thread_that_has_nothing_to_send_can_ask_whether_its_client_is_there() {
    let (tell, told) = news();
    let server = serve_sent_by(move |sender| {
        assert!(!sender.is_abandoned() && !sender.client_has_finished());
        sender.send("begun").unwrap();
        wait_until("the client has finished", || sender.client_has_finished());
        // It may only have nothing more to ask.
        tell(sender.is_abandoned());
        sender.send(" and ended").unwrap();
        sender.end();
    });
    let mut client = ask(&server);
    client.read_until("begun");
    client.end_sending();
    assert_eq!(client.read("GET").text(), "begun and ended");
    assert_eq!(told.recv_timeout(PATIENCE), Ok(false));
}

/// Checks that a client of either version can tell the content from a whole one.
fn check_broken_off(send: impl Fn(ContentSender) + Clone + Send + 'static) {
    let server = serve_sent_by(send);
    let mut client = ask(&server);
    let (bytes, _) = client.read_to_end();
    assert!(bytes.ends_with(b"so far\r\n"), "{}", bytes.escape_ascii());
    // Without chunks, only the way in which the connection ends can tell, where the library can reset it.
    let mut old = server.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    let (_, end) = old.read_to_end();
    assert_eq!(end, if cfg!(feature = "sockets") { End::Reset } else { End::Fin });
}

#[test]
fn sender_that_is_dropped_without_an_end_breaks_the_response_off() {
    check_broken_off(|sender| sender.send("so far").unwrap());
}

#[test]
fn thread_that_panics_breaks_the_response_off() {
    check_broken_off(|sender| {
        sender.send("so far").unwrap();
        std::panic::resume_unwind(Box::new("on purpose"));
    });
}

#[test]
fn content_that_cannot_be_completed_is_broken_off() {
    check_broken_off(|sender| {
        sender.send("so far").unwrap();
        sender.abort(GatewayError::new("the disk is on fire"));
    });
}

#[test]
fn thread_hears_that_the_server_stops() {
    let (tell, told) = news();
    let mut server = serve_sent_by(move |sender| {
        while sender.send([b'x'; 5_000]).is_ok() {}
        tell(());
    });
    let mut client = ask(&server);
    client.read_until("200 OK");
    server.handle.stop();
    server.join();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(()));
}

/// Who must not wait, such as the thread of the event loop, is told that there is no room.
#[test]
fn piece_without_room_is_refused_whole_and_the_rest_is_served() {
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
    let server = serve_with(server, |environ, start_response| {
        let (sender, content) = channel(environ.wakeup());
        let content = content.bytes_max(10);
        sender.try_send("0123456789ab")?;
        let refused = sender.try_send("x");
        assert_eq!(refused, Err(SendError::Full));
        assert_eq!(io::Error::from(SendError::Full).kind(), io::ErrorKind::WouldBlock);
        sender.end();
        start_response.status(200).stream(content)
    });
    assert_eq!(ask(&server).read("GET").text(), "0123456789ab");
}

/// An answer to HEAD has no content, so nobody reads any.
#[test]
fn thread_of_an_answer_to_head_has_nobody_to_send_to() {
    let (tell, told) = news();
    let server = serve_sent_by(move |sender| {
        wait_until("nobody reads", || sender.send("x").is_err());
        tell(());
    });
    let mut client = server.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.read("HEAD").code, 200);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(()));
}

/// Counts how often it was woken.
#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A connection looks at the memory of its content when it has a turn. While its client does not read, it needs to be
/// told that there is more, but not of each piece.
#[test]
fn connection_is_told_of_content_that_grows_unread() {
    let waker = Arc::new(CountingWaker::default());
    let (sender, content) = channel(Wakeup::new(waker.clone().into()));
    for _ in 0..60 {
        sender.send([b'x'; 1_000]).unwrap();
    }
    assert!(content.held_bytes() >= 60_000);
    let woken = waker.0.load(Ordering::SeqCst);
    assert!((3..=10).contains(&woken), "{woken}");
}

#[test]
fn content_that_waits_holds_no_memory() {
    let (sender, mut content) = channel(Wakeup::new(Waker::noop().clone()));
    for _ in 0..3 {
        sender.send([b'x'; 30_000]).unwrap();
        assert!(matches!(content.next_piece(Moment::START), Ok(Piece::Data(piece)) if piece.len() == 30_000));
        assert!(content.held_bytes() >= 30_000);
    }
    assert!(matches!(content.next_piece(Moment::START), Ok(Piece::Pending { until: None })));
    assert_eq!(content.held_bytes(), 0);
}
