//! The conversation in somebody else's loop: blocking sockets, and a thread for each connection.
//!
//! ```text
//! cargo run --release --example own_loop
//! curl -i http://127.0.0.1:8000/you
//! ```
//!
//! `tidegate::conversation` is all of HTTP for one connection, and knows no socket, no clock and no thread. Whoever has a
//! loop of another kind (threads, an async runtime, a user-space network) drives it as this one does: asks what it
//! [wants](Wants), does that, and tells it what has come, and when.
//!
//! ```text
//!            ┌── Read ──────── read, until the deadline ──▶ receive · receive_end · expire
//!   wants ───┼── Write ─────── write what is owed ────────▶ advance
//!            ├── Application ─ wait to be woken ──────────▶ wake · expire
//!            ├── Turn ────────────────────────────────────▶ advance
//!            └── Close ─────── and how
//! ```

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate::conversation::{
    Budget, Conversation, Disk, Farewell, Memory, NoJournal, NoWire, OutputQueue, ServerContext, Turn, Wants,
};
use tidegate::gateway::{Client, Peer, ServerInfo, Spool, SpoolFile, WakeSource};
use tidegate::limits::Limits;
use tidegate::now::{Moment, Now};
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};

/// Threads, and so connections, at a time. The others wait in the listen queue.
const CONNECTIONS_MAX: usize = 512;
/// Bytes read at a time.
const SCRATCH_BYTES: usize = 16 * 1024;

#[cfg_attr(test, allow(dead_code))]
fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:8000")?;
    println!("Starting on http://127.0.0.1:8000/ (Ctrl-C stops)");
    serve(&listener, hello, Limits::default())
}

#[cfg_attr(test, allow(dead_code))]
fn hello(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let greeting = format!("Hello, {}!\n", environ.path().trim_start_matches('/'));
    start_response.status(200).field("Content-Type", "text/plain").send(greeting)
}

/// Serves until accepting fails, with a gateway for each thread.
pub fn serve<G>(listener: &TcpListener, gateway: G, limits: Limits) -> io::Result<()>
where
    G: Gateway + Clone + Send + 'static,
{
    let places = Arc::new(Places::default());
    loop {
        let place = Place::take(&places);
        let (stream, peer) = match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            accepted => accepted?,
        };
        let (gateway, limits) = (gateway.clone(), limits.clone());
        thread::Builder::new().spawn(move || {
            let _place = place;
            // A client that breaks off is no failure of the server.
            let _ = Connection::new(stream, peer, limits).and_then(|connection| connection.run(gateway));
        })?;
    }
}

/// One connection: a socket, a clock, and a conversation between them.
struct Connection {
    stream: TcpStream,
    peer: Peer,
    local: SocketAddr,
    started: Instant,
    context: ServerContext,
    conversation: Conversation,
    out: OutputQueue,
    has_finished_sending: bool,
}

impl Connection {
    fn new(stream: TcpStream, peer: SocketAddr, limits: Limits) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        // Nobody who takes nothing of what is owed holds a thread for longer.
        stream.set_write_timeout(Some(limits.write_timeout))?;
        let local = stream.local_addr()?;
        let server = ServerInfo { multithread: true, ..ServerInfo::default() };
        let context = ServerContext::new(limits, server, read_clocks(Moment::START));
        Ok(Connection {
            stream,
            peer: Peer::from(Some(peer)),
            local,
            started: Instant::now(),
            context,
            conversation: Conversation::new(Moment::START),
            out: OutputQueue::default(),
            has_finished_sending: false,
        })
    }

    /// Does what the conversation wants, until that is the end.
    fn run(mut self, mut gateway: impl Gateway) -> io::Result<()> {
        let result = self.converse(&mut gateway);
        if result.is_err() {
            // Whoever answers is told, by being dropped.
            self.turn(&mut gateway, |conversation, turn, _| {
                conversation.abandon(turn);
            });
        }
        result
    }

    fn converse(&mut self, gateway: &mut impl Gateway) -> io::Result<()> {
        let mut scratch = [0; SCRATCH_BYTES];
        loop {
            self.flush()?;
            match self.conversation.wants(self.out.owed(), self.context.limits.output_bytes_high) {
                Wants::Read => match self.read(&mut scratch)? {
                    Some(0) => {
                        self.has_finished_sending = true;
                        self.turn(gateway, Conversation::receive_end);
                    }
                    Some(count) => self.turn(gateway, |conversation, turn, out| {
                        conversation.receive(&scratch[..count], turn, out);
                    }),
                    None => self.turn(gateway, Conversation::expire),
                },
                Wants::Application => match self.left() {
                    Some(left) if left.is_zero() => self.turn(gateway, Conversation::expire),
                    left => {
                        // Whoever wakes before this thread is parked has done so all the same.
                        left.map_or_else(thread::park, thread::park_timeout);
                        self.turn(gateway, Conversation::wake);
                    }
                },
                Wants::Write | Wants::ReadOrWrite | Wants::Turn => self.turn(gateway, Conversation::advance),
                Wants::Close(farewell) => return self.close(farewell),
            }
        }
    }

    /// Lends the conversation everything around it, for one step.
    fn turn(
        &mut self,
        gateway: &mut impl Gateway,
        act: impl FnOnce(&mut Conversation, &mut Turn<'_>, &mut OutputQueue),
    ) {
        self.context.refresh(read_clocks(self.now()));
        let client = Client {
            connection_id: 0,
            peer: &self.peer,
            local: Some(&self.local),
            has_finished_sending: self.has_finished_sending,
            wake_source: &ThisThread,
            memory: None,
        };
        let mut turn = Turn {
            gateway,
            context: &self.context,
            client,
            disk: &mut TemporaryFiles,
            wire: &NoWire,
            journal: &mut NoJournal,
            memory: Memory::Ample,
            budget: Budget::TURN,
        };
        act(&mut self.conversation, &mut turn, &mut self.out);
    }

    /// Reads once; none if the deadline has come first.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        let left = self.left();
        if left == Some(Duration::ZERO) {
            return Ok(None);
        }
        self.stream.set_read_timeout(left)?;
        match self.stream.read(scratch) {
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(None),
                _ => Err(error),
            },
            read => read.map(Some),
        }
    }

    /// Writes all that is owed.
    fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        while !self.out.is_empty() {
            let slices: Vec<_> = self.out.slices().map(IoSlice::new).collect();
            match self.stream.write_vectored(&slices)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.out.consume(count),
            }
        }
        self.conversation.delivered(self.now());
        Ok(())
    }

    /// Ends the connection. std cannot reset one: an answer that was broken off, and has no length, looks whole to a
    /// client of HTTP/1.0.
    fn close(&mut self, farewell: Farewell) -> io::Result<()> {
        if farewell == Farewell::Linger {
            self.stream.shutdown(Shutdown::Write)?;
            let until = Instant::now() + self.context.limits.linger_timeout;
            let mut scratch = [0; SCRATCH_BYTES];
            while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            {
                self.stream.set_read_timeout(Some(left))?;
                if self.stream.read(&mut scratch)? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    fn now(&self) -> Moment {
        Moment::from_start(self.started.elapsed())
    }

    /// Returns the time until the deadline; none if there is none.
    fn left(&self) -> Option<Duration> {
        let now = self.now();
        self.conversation.deadline(&self.context.limits).map(|deadline| deadline.since(now))
    }
}

/// Both clocks, of which the monotonic one is given.
fn read_clocks(moment: Moment) -> Now {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { moment, unix_seconds: since_1970.as_secs() }
}

/// Wakes the connection's own thread.
struct ThisThread;

impl WakeSource for ThisThread {
    fn waker(&self) -> Waker {
        Arc::new(Unpark(thread::current())).into()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Temporary files in the system's folder, without a name.
struct TemporaryFiles;

impl Spool for TemporaryFiles {
    fn create(&mut self) -> io::Result<Box<dyn SpoolFile>> {
        // Two threads never have the same number, and a thread is done with a name before it takes the next.
        let name = format!("own-loop-{}-{:?}", std::process::id(), thread::current().id());
        let path = std::env::temp_dir().join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(Box::new(file))
    }
}

impl Disk for TemporaryFiles {
    fn read_at(&mut self, file: &File, offset: u64, bytes: usize, into: &mut Vec<u8>) -> io::Result<usize> {
        let start = into.len();
        into.resize(start + bytes, 0);
        let read = file.read_at(&mut into[start..], offset);
        into.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }
}

/// Counts the connections that there are.
#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// A place for one connection, until it is dropped.
struct Place(Arc<Places>);

impl Place {
    /// Waits until there is a place, and takes it.
    fn take(places: &Arc<Places>) -> Place {
        let taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |taken: &mut usize| *taken >= CONNECTIONS_MAX;
        let waited = places.given_back.wait_while(taken, is_full);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Place(places.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.given_back.notify_one();
    }
}
