//! Tests several event loops in one server.

mod support;

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use support::loopback::{Answer, Client, PATIENCE, wait_until};
use tidegate::access_log::{AccessLog, ExchangeRecord};
use tidegate::server::Listener;
use tidegate::{Environ, GatewayError, ListenAddress, Server, ServerHandle, StartResponse};

/// The number of reactors, which may exceed that of processors: they are threads.
const REACTORS: usize = 4;

/// A server in a thread: its address, its handle, and its result.
struct Running {
    address: std::net::SocketAddr,
    handle: ServerHandle,
    ended: mpsc::Receiver<io::Result<()>>,
}

fn start(server: Server, gateway: impl Fn(usize) -> io::Result<Numbered> + Send + Sync + 'static) -> Running {
    let bound = server.reactors(REACTORS).bind().unwrap();
    let (ListenAddress::Tcp(address), handle) = (bound.addresses().remove(0), bound.handle()) else {
        panic!("it listens on TCP");
    };
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(bound.run_each(gateway)));
    Running { address, handle, ended }
}

fn on_any_port() -> Server {
    Server::new().listen("127.0.0.1:0".parse().unwrap())
}

/// A gateway that tells its reactor's number and the connection's.
struct Numbered(usize);

impl tidegate::Gateway for Numbered {
    fn call(&mut self, environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Answer {
        if environ.path() == "/panic" {
            panic!("as asked");
        }
        let id = environ.client().connection_id;
        start_response.status(200).send(format!("{} {id}", self.0))
    }
}

fn numbered(number: usize) -> io::Result<Numbered> {
    Ok(Numbered(number))
}

/// Returns reactor and connection, as the gateway tells them.
fn ask(client: &mut Client) -> (usize, u64) {
    let response = client.get("/");
    let text = String::from_utf8(response.content).unwrap();
    let (reactor, id) = text.split_once(' ').unwrap();
    (reactor.parse().unwrap(), id.parse().unwrap())
}

#[test]
fn connections_are_shared_out_and_have_numbers_of_their_own() {
    let server = start(on_any_port(), numbered);
    let (mut clients, mut reactors, mut ids) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    // Where each reactor has a queue of its own, the first 32 connections are shared out. Where all accept from one queue, a
    // reactor that has not started yet, or is slower each time, gets none for a while.
    wait_until("two reactors have connections", || {
        let mut round: Vec<_> = (0..32).map(|_| Client::connect(server.address)).collect();
        for client in &mut round {
            let (reactor, id) = ask(client);
            assert_eq!(ask(client), (reactor, id), "a connection stays where it is");
            reactors.insert(reactor);
            assert!(ids.insert(id), "two connections are called {id}");
        }
        // They stay open, up to a number for which there are descriptors.
        if clients.len() < 128 {
            clients.append(&mut round);
        }
        reactors.len() > 1
    });
    drop(clients);
    server.handle.drain();
    server.ended.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn drain_lets_every_reactor_finish_and_stop_cuts_all() {
    let server = start(on_any_port(), numbered);
    let mut clients: Vec<_> = (0..32).map(|_| Client::connect(server.address)).collect();
    for client in &mut clients {
        ask(client);
    }
    server.handle.stop();
    server.ended.recv_timeout(PATIENCE).unwrap().unwrap();
    for client in &mut clients {
        let _ = client.read_to_end();
    }
}

#[test]
fn panic_of_an_application_ends_no_reactor() {
    let server = start(on_any_port(), numbered);
    for _ in 0..16 {
        assert_eq!(Client::connect(server.address).get("/panic").code, 500);
    }
    for _ in 0..16 {
        ask(&mut Client::connect(server.address));
    }
    server.handle.drain();
    server.ended.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn gateway_that_cannot_be_made_ends_the_whole_server_with_its_reason() {
    let server = start(on_any_port(), |number| match number {
        2 => Err(io::Error::other("no gateway today")),
        number => numbered(number),
    });
    let error = server.ended.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(error.to_string().contains("no gateway today"), "{error}");
}

#[test]
fn address_that_is_taken_is_still_found_out() {
    let server = start(on_any_port(), numbered);
    let error = Server::new().listen(ListenAddress::Tcp(server.address)).reactors(REACTORS).bind().err();
    assert!(error.is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse));
    server.handle.stop();
}

#[test]
fn socket_that_was_bound_before_serves_all_reactors() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let server = start(Server::new().listener(listener), numbered);
    for _ in 0..32 {
        ask(&mut Client::connect(server.address));
    }
    server.handle.drain();
    server.ended.recv_timeout(PATIENCE).unwrap().unwrap();
}

#[test]
fn one_gateway_is_not_enough_for_several_reactors() {
    let bound = on_any_port().reactors(2).bind().unwrap();
    let answer = |_: &mut Environ<'_>, start_response: StartResponse<'_>| -> Result<_, GatewayError> {
        start_response.status(200).send("")
    };
    assert!(bound.run(answer).unwrap_err().to_string().contains("a gateway each"));
    assert!(on_any_port().reactors(1_025).bind().is_err());
}

/// Counts the records of all reactors.
struct Counting(Arc<Mutex<usize>>);

impl AccessLog for Counting {
    fn record(&mut self, _record: &ExchangeRecord<'_>) {
        *self.0.lock().unwrap() += 1;
    }

    fn flush(&mut self) {}
}

#[test]
fn access_log_hears_of_every_reactor() {
    let count = Arc::new(Mutex::new(0));
    let server = start(on_any_port().access_log(Counting(count.clone())), numbered);
    let mut clients: Vec<_> = (0..64).map(|_| Client::connect(server.address)).collect();
    for client in &mut clients {
        ask(client);
    }
    wait_until("all are recorded", || *count.lock().unwrap() == 64);
    server.handle.stop();
}
