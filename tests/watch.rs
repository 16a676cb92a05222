//! Descriptors of an application's own on the event loop: their readiness wakes the connection whose answer watches them,
//! and nothing else.

mod support;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use support::loopback::{Answer, PATIENCE, Running, noise, serve, wait_until};
use tidegate::gateway::{BodyStream, Interest, Later, Piece, Watched, Watcher};
use tidegate::limits::Limits;
use tidegate::now::Moment;
use tidegate::{Environ, GatewayError, StartResponse};

/// Lets one test run at a time: some count the descriptors of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Tells whether the other end is closed, with bytes unread or without.
fn is_closed(end: &mut UnixStream) -> bool {
    end.set_nonblocking(true).unwrap();
    match end.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// Answers with all that a backend says, and counts how often it is resumed.
struct Collect {
    backend: Watched<UnixStream>,
    content: Vec<u8>,
    resumed: Arc<AtomicUsize>,
}

impl Later for Collect {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Answer {
        self.resumed.fetch_add(1, Ordering::SeqCst);
        let Collect { backend, content, .. } = &mut *self;
        match backend.read_to_end(content) {
            Ok(_) => start_response.status(200).send(&*content),
            Err(error) if would_block(&error) => Ok(start_response.later_boxed(None, self)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Holds a server whose answers are what backends say, how often they were resumed, and the backends' ends of the sockets.
/// The path `/at-once` is answered without one: who has its answer knows that the loop has turned.
struct Backends {
    server: Running,
    resumed: Arc<AtomicUsize>,
    ends: mpsc::Receiver<UnixStream>,
}

fn serve_backends() -> Backends {
    let (sender, ends) = mpsc::channel();
    let resumed = Arc::<AtomicUsize>::default();
    let counter = resumed.clone();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        if environ.path() == "/at-once" {
            return start_response.status(200).send("at once");
        }
        // It blocks, until it is watched.
        let (backend, end) = UnixStream::pair()?;
        let backend = environ.watch(backend, Interest::Read)?;
        sender.send(end)?;
        let collect = Collect { backend, content: Vec::new(), resumed: counter.clone() };
        Ok(start_response.later(None, collect))
    };
    Backends { server: serve(gateway, Limits::default()), resumed, ends }
}

impl Backends {
    fn resumed(&self) -> usize {
        self.resumed.load(Ordering::SeqCst)
    }

    fn end(&self) -> UnixStream {
        let end = self.ends.recv_timeout(PATIENCE).unwrap();
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end
    }
}

#[test]
fn answer_comes_when_its_backend_has_said_all() {
    let _alone = alone();
    let backends = serve_backends();
    let mut clients: Vec<_> = (0..3).map(|_| backends.server.connect()).collect();
    let mut ends = Vec::new();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        ends.push(backends.end());
    }
    for (number, end) in ends.iter_mut().enumerate() {
        let before = backends.resumed();
        write!(end, "{number} half").unwrap();
        wait_until("it is resumed", || backends.resumed() > before);
    }
    assert_eq!(backends.server.connect().get("/at-once").text(), "at once");
    for (number, mut end) in ends.into_iter().enumerate().rev() {
        end.write_all(b" and half").unwrap();
        drop(end);
        assert_eq!(clients[number].read("GET").text(), format!("{number} half and half"));
    }
    // The same connection, and another backend.
    clients[0].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    backends.end().write_all(b"again").unwrap();
    assert_eq!(clients[0].read("GET").text(), "again");
}

#[test]
fn backend_that_has_spoken_before_it_is_watched_is_heard() {
    let _alone = alone();
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (backend, mut end) = UnixStream::pair()?;
        end.write_all(b"early")?;
        drop(end);
        let backend = environ.watch(backend, Interest::Read)?;
        Ok(start_response.later(None, Collect { backend, content: Vec::new(), resumed: Arc::default() }))
    };
    assert_eq!(serve(gateway, Limits::default()).connect().get("/").text(), "early");
}

#[test]
fn answer_goes_with_a_client_that_resets_and_its_descriptor_with_it() {
    let _alone = alone();
    let backends = serve_backends();
    let mut client = backends.server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut end = backends.end();
    rustix::net::sockopt::set_socket_linger(client.try_clone_tcp(), Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(end.read(&mut [0]).unwrap(), 0);
    assert_eq!(backends.resumed(), 0);
}

/// Draws what a backend says.
struct Draw {
    backend: Watched<UnixStream>,
    buffer: Vec<u8>,
}

impl BodyStream for Draw {
    fn next_piece(&mut self, _: Moment) -> Result<Piece<'_>, GatewayError> {
        match self.backend.read(&mut self.buffer) {
            Ok(0) => Ok(Piece::End),
            Ok(count) => Ok(Piece::Data(&self.buffer[..count])),
            Err(error) if would_block(&error) => Ok(Piece::Pending { until: None }),
            Err(error) => Err(error.into()),
        }
    }
}

#[test]
fn stream_is_drawn_from_a_backend_as_fast_as_the_slower_of_both() {
    let _alone = alone();
    let (sender, ends) = mpsc::channel::<UnixStream>();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (backend, end) = UnixStream::pair()?;
        sender.send(end)?;
        let backend = environ.watch(backend, Interest::Read)?;
        start_response.status(200).stream(Draw { backend, buffer: vec![0; 10_000] })
    };
    let server = serve(gateway, Limits::default());
    let (mut fast, mut slow) = (server.connect(), server.connect());
    let all = noise(3, 5_000_000);
    for client in [&mut fast, &mut slow] {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (mut end, all) = (ends.recv_timeout(PATIENCE).unwrap(), all.clone());
            thread::spawn(move || {
                all.chunks(70_001).for_each(|piece| end.write_all(piece).unwrap());
            })
        })
        .collect();
    assert!(fast.read("GET").content == all);
    assert!(slow.read("GET").content == all, "it has begun to read when the other one had everything");
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

/// Hands content to a program through a pipe, as CGI does.
struct Pour {
    program: Watched<io::PipeWriter>,
    left: VecDeque<u8>,
}

impl Later for Pour {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Answer {
        while !self.left.is_empty() {
            match self.program.write(self.left.as_slices().0) {
                Ok(count) => drop(self.left.drain(..count)),
                Err(error) if would_block(&error) => return Ok(start_response.later_boxed(None, self)),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return start_response.status(502).send("it does not read");
                }
                Err(error) => return Err(error.into()),
            }
        }
        start_response.status(200).send("poured")
    }
}

#[test]
fn pipe_that_is_full_is_written_to_when_there_is_room_or_nobody_reads() {
    let _alone = alone();
    let (sender, ends) = mpsc::channel::<io::PipeReader>();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (end, program) = io::pipe()?;
        sender.send(end)?;
        let pour =
            Pour { program: environ.watch(program, Interest::Write)?, left: noise(5, 1_000_000).into() };
        Ok(start_response.later(None, pour))
    };
    let server = serve(gateway, Limits::default());
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut end = ends.recv_timeout(PATIENCE).unwrap();
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(ends.recv_timeout(PATIENCE).unwrap());
    assert_eq!(other.read("GET").code, 502);
    let mut poured = Vec::new();
    end.read_to_end(&mut poured).unwrap();
    assert!(poured == noise(5, 1_000_000));
    assert_eq!(client.read("GET").text(), "poured");
}

/// Watches `first` until it says something, and then only `second`, until that says something, and then `first` again.
struct Change {
    watcher: Watcher,
    first: First,
    second: Watched<UnixStream>,
    resumed: Arc<AtomicUsize>,
}

enum First {
    Watched(Watched<UnixStream>),
    Let(UnixStream),
}

impl Later for Change {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Answer {
        self.resumed.fetch_add(1, Ordering::SeqCst);
        let mut byte = [0];
        self.first = match self.first {
            First::Watched(mut first) => match first.read(&mut byte) {
                Ok(_) if byte == *b"e" => return start_response.status(200).send("end"),
                Ok(_) => First::Let(first.into_inner()),
                Err(_) => First::Watched(first),
            },
            First::Let(first) => match self.second.read(&mut byte) {
                Ok(_) => First::Watched(self.watcher.watch(first, Interest::Read)?),
                Err(_) => First::Let(first),
            },
        };
        Ok(start_response.later_boxed(None, self))
    }
}

#[test]
fn watch_that_is_dropped_wakes_nobody_and_can_begin_again() {
    let _alone = alone();
    let (sender, ends) = mpsc::channel::<UnixStream>();
    let resumed = Arc::<AtomicUsize>::default();
    let counter = resumed.clone();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        if environ.path() == "/at-once" {
            return start_response.status(200).send("at once");
        }
        let ((first, end), (second, other_end)) = (UnixStream::pair()?, UnixStream::pair()?);
        [end, other_end].into_iter().try_for_each(|end| sender.send(end))?;
        let change = Change {
            watcher: environ.watcher(),
            first: First::Watched(environ.watch(first, Interest::Read)?),
            second: environ.watch(second, Interest::Read)?,
            resumed: counter.clone(),
        };
        Ok(start_response.later(None, change))
    };
    let server = serve(gateway, Limits::default());
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut first = ends.recv_timeout(PATIENCE).unwrap();
    let mut second = ends.recv_timeout(PATIENCE).unwrap();
    first.write_all(b"1").unwrap();
    wait_until("it is resumed", || resumed.load(Ordering::SeqCst) == 1);
    for _ in 0..10 {
        first.write_all(b"e").unwrap();
        assert_eq!(server.connect().get("/at-once").text(), "at once");
    }
    assert_eq!(resumed.load(Ordering::SeqCst), 1, "nobody watches it");
    second.write_all(b"2").unwrap();
    assert_eq!(client.read("GET").text(), "end", "what came meanwhile is told when it is watched again");
}

#[test]
fn watch_that_outlives_its_connection_wakes_neither_it_nor_the_next_in_its_place() {
    let _alone = alone();
    let (sender, ends) = mpsc::channel::<UnixStream>();
    let kept = Arc::<Mutex<Vec<Watched<UnixStream>>>>::default();
    let resumed = Arc::<AtomicUsize>::default();
    let (keeper, counter) = (kept.clone(), resumed.clone());
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let (backend, end) = UnixStream::pair()?;
        let backend = match &*environ.path() {
            "/at-once" => return start_response.status(200).send("at once"),
            _ => environ.watch(backend, Interest::Read)?,
        };
        sender.send(end)?;
        if environ.path() == "/keep" {
            keeper.lock().unwrap().push(backend);
            return start_response.status(200).field("Connection", "close").send("kept");
        }
        Ok(start_response.later(None, Collect { backend, content: Vec::new(), resumed: counter.clone() }))
    };
    let mut server = serve(gateway, Limits::default());
    let mut kept_ends = Vec::new();
    for _ in 0..3 {
        let mut client = server.connect();
        assert_eq!(client.get("/keep").text(), "kept");
        client.read_end();
        kept_ends.push(ends.recv_timeout(PATIENCE).unwrap());
    }
    // It has the place in the slab that those had.
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut end = ends.recv_timeout(PATIENCE).unwrap();
    kept_ends.iter_mut().for_each(|end| end.write_all(b"late").unwrap());
    for _ in 0..3 {
        assert_eq!(server.connect().get("/at-once").text(), "at once");
    }
    assert_eq!(resumed.load(Ordering::SeqCst), 0);
    // On another thread than that of the loop, which goes on.
    let mut first = kept.lock().unwrap().remove(0);
    assert_eq!(first.read(&mut [0; 9]).unwrap(), 4);
    drop(first);
    assert!(is_closed(&mut kept_ends[0]));
    end.write_all(b"own").unwrap();
    drop(end);
    assert_eq!(client.read("GET").text(), "own");
    // And after its end.
    server.handle.stop();
    server.join();
    kept.lock().unwrap().clear();
    assert!(is_closed(&mut kept_ends[1]));
}

#[test]
fn request_that_is_on_another_thread_can_watch_there() {
    let _alone = alone();
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let mut owned = environ.detach();
        let (backend, end) = UnixStream::pair()?;
        let watching = thread::spawn(move || owned.with(|environ| environ.watch(backend, Interest::Read)));
        let backend = watching.join().expect("it does not panic")?;
        thread::spawn(move || {
            let mut end = end;
            thread::sleep(Duration::from_millis(20));
            end.write_all(b"from afar")
        });
        Ok(start_response.later(None, Collect { backend, content: Vec::new(), resumed: Arc::default() }))
    };
    assert_eq!(serve(gateway, Limits::default()).connect().get("/").text(), "from afar");
}

#[test]
fn what_cannot_be_watched_is_said() {
    let _alone = alone();
    let gateway = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        let file = environ.watch(File::open("Cargo.toml")?, Interest::Read).map(drop);
        let (socket, _end) = UnixStream::pair()?;
        let first = environ.watch(&socket, Interest::ReadWrite)?;
        let second = environ.watch(&socket, Interest::Read).map(drop);
        drop(first);
        let third = environ.watch(&socket, Interest::Write).map(drop);
        let kind = |outcome: io::Result<()>| outcome.err().map(|error| error.kind());
        start_response.status(200).send(format!("{:?} {:?} {:?}", kind(file), kind(second), kind(third)))
    };
    let told = serve(gateway, Limits::default()).connect().get("/").text();
    // Where there is no epoll, a file is readable at once, and for ever.
    let file = if cfg!(target_os = "linux") && cfg!(not(mio_unsupported_force_poll_poll)) {
        "Some(InvalidInput)"
    } else {
        "None"
    };
    assert_eq!(told, format!("{file} Some(AlreadyExists) None"));
}

/// Counts the watches of one answer.
const EACH: usize = 100;

/// Answers once each of its backends has said something.
struct All {
    backends: Vec<Watched<UnixStream>>,
    heard: usize,
}

impl Later for All {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Answer {
        let heard = &mut self.heard;
        self.backends.retain_mut(|backend| match backend.read(&mut [0; 8]) {
            Ok(count) => {
                *heard += count;
                false
            }
            Err(_) => true,
        });
        if self.backends.is_empty() {
            return start_response.status(200).send(self.heard.to_string());
        }
        Ok(start_response.later_boxed(None, self))
    }
}

fn descriptors() -> usize {
    fs::read_dir("/dev/fd").unwrap().count()
}

#[test]
fn thousand_watches_on_one_loop_are_all_heard_and_all_closed() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let _alone = alone();
    let allowed = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum.or(Some(10_000)), ..allowed }).unwrap();
    let (sender, ends) = mpsc::channel();
    let gateway = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
        if environ.path() == "/at-once" {
            return start_response.status(200).send("at once");
        }
        let mut backends = Vec::new();
        for _ in 0..EACH {
            let (backend, end) = UnixStream::pair()?;
            backends.push(environ.watch(backend, Interest::Read)?);
            sender.send(end)?;
        }
        Ok(start_response.later(None, All { backends, heard: 0 }))
    };
    let server = serve(gateway, Limits::default());
    let mut clients: Vec<_> = (0..1000 / EACH).map(|_| server.connect()).collect();
    // All are accepted.
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/at-once").text(), "at once"));
    let before = descriptors();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let mut ends: Vec<_> = (0..1000).map(|_| ends.recv_timeout(PATIENCE).unwrap()).collect();
    assert!(descriptors() >= before + 2000);
    // Not all of one answer together.
    for first in 0..7 {
        ends.iter_mut().skip(first).step_by(7).for_each(|end| end.write_all(b"x").unwrap());
    }
    for client in &mut clients {
        assert_eq!(client.read("GET").text(), EACH.to_string());
    }
    drop(ends);
    wait_until("all are closed", || descriptors() == before);
}
