//! Tests the server in a loop that is not its own: that of `examples/guest.rs`.

// Where mio waits with poll(2) there is no descriptor to poll.
#![cfg(not(mio_unsupported_force_poll_poll))]

#[path = "../examples/guest.rs"]
mod guest;
mod support;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use support::loopback::{Client, End, noise};
use tidegate::gateway::{Interest, Later, Response, Watched, deferred};
use tidegate::limits::Limits;
use tidegate::server::GuestLoop;
use tidegate::{Body, Environ, GatewayError, ListenAddress, Server, ServerHandle, StartResponse};

/// An interval in which the loop's other work never falls due, so that only the server's own events and
/// deadlines give it a turn.
const NEVER: Duration = Duration::from_secs(3600);

/// A gateway that borrows for long is as good as one that borrows for less.
#[allow(dead_code, reason = "that it compiles is the test")]
fn guest_lasts_for_less<'s, 'l: 's>(guest: GuestLoop<'l>) -> GuestLoop<'s> {
    guest
}

struct Guest {
    address: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<io::Result<u64>>,
}

/// Runs a server in a loop with other work, and returns the number of ticks.
fn serve(limits: Limits, interval: Duration) -> Guest {
    let bound = Server::new().listen("127.0.0.1:0".parse().unwrap()).limits(limits).bind().unwrap();
    let (ListenAddress::Tcp(address), handle) = (bound.addresses().remove(0), bound.handle()) else {
        panic!("it listens on TCP");
    };
    let thread = thread::spawn(move || {
        // Shared with the application, without a lock.
        let ticks = Cell::new(0);
        let server = bound.into_loop(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            application(environ, start_response, ticks.get())
        })?;
        guest::drive(server, interval, || ticks.set(ticks.get() + 1))?;
        Ok(ticks.get())
    });
    Guest { address, handle, thread }
}

fn application(
    environ: &mut Environ<'_>,
    start_response: StartResponse<'_>,
    ticks: u64,
) -> Result<Body, GatewayError> {
    match &*environ.path() {
        "/ticks" => start_response.status(200).send(ticks.to_string()),
        "/long" => start_response.status(200).send(noise(7, 3_000_000)),
        "/later" => {
            let (responder, answer) = deferred(environ.wakeup());
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                responder.respond(Response::new(200).content("late"));
            });
            Ok(start_response.later(None, answer))
        }
        "/watched" => {
            let (backend, mut end) = UnixStream::pair()?;
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                end.write_all(b"watched")
            });
            Ok(start_response.later(None, Watching(environ.watch(backend, Interest::Read)?)))
        }
        _ => start_response.status(404).send(""),
    }
}

/// Answers with the first that its backend says.
struct Watching(Watched<UnixStream>);

impl Later for Watching {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let mut said = [0; 100];
        match self.0.read(&mut said) {
            Ok(count) => start_response.status(200).send(&said[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(start_response.later_boxed(None, self))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[test]
fn loop_of_somebody_else_serves_and_does_its_own_work_meanwhile() {
    let guest = serve(Limits::default(), Duration::from_millis(5));
    let mut clients: Vec<_> = (0..10).map(|_| Client::connect(guest.address)).collect();
    let begun = Instant::now();
    let mut ticks = 0;
    while ticks < 20 {
        for client in &mut clients {
            let now: u64 = client.get("/ticks").text().parse().unwrap();
            assert!(now >= ticks, "{now} after {ticks}");
            ticks = now;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "only {ticks} ticks");
    }
    drop(clients);
    guest.handle.drain();
    assert!(guest.thread.join().unwrap().unwrap() >= ticks);
}

#[test]
fn events_wake_ups_and_remainders_give_the_guest_a_turn_in_time() {
    let guest = serve(Limits::default(), NEVER);
    let begun = Instant::now();
    let mut client = Client::connect(guest.address);
    assert_eq!(client.get("/ticks").code, 200);
    // More than a socket takes at a time.
    assert_eq!(client.get("/long").content, noise(7, 3_000_000));
    // From other threads.
    for _ in 0..50 {
        assert_eq!(client.get("/later").text(), "late");
    }
    // From descriptors that the application watches.
    for _ in 0..10 {
        assert_eq!(client.get("/watched").text(), "watched");
    }
    // More than a turn takes of one connection.
    client.send("GET /ticks HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200));
    for _ in 0..200 {
        assert_eq!(client.read("GET").code, 200);
    }
    drop(client);
    guest.handle.drain();
    assert_eq!(guest.thread.join().unwrap().unwrap(), 0);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn deadlines_of_the_server_hold_in_the_loop_of_somebody_else() {
    let limits = Limits { head_timeout: Duration::from_millis(300), ..Limits::default() };
    let guest = serve(limits, NEVER);
    let mut client = Client::connect(guest.address);
    client.send("GET / HT");
    assert_eq!(client.read("GET").code, 408);
    assert_eq!(client.read_end(), End::Fin);
    guest.handle.stop();
    guest.thread.join().unwrap().unwrap();
}
