//! Tests what a witness sees: each system call on the sockets of the first connections, and the states between them.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use support::loopback::PATIENCE;
use tidegate::now::Moment;
use tidegate::server::{Act, Cause, InterestState, Operation};
use tidegate::{Environ, ListenAddress, Server, ServerHandle, StartResponse};

/// A server with a witness of the first connection, and what that has seen.
struct Witnessed {
    address: SocketAddr,
    handle: ServerHandle,
    seen: Receiver<(u64, String)>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Witnessed {
    fn serve() -> Witnessed {
        let bound = Server::new().listen("127.0.0.1:0".parse().unwrap()).bind().unwrap();
        let handle = bound.handle();
        let ListenAddress::Tcp(address) = bound.addresses().remove(0) else { panic!("it listens on TCP") };
        let (sender, seen) = channel();
        let thread = thread::spawn(move || {
            let application = |environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
                start_response.status(200).send(environ.path())
            };
            bound.run_witnessed(application, 1, witness(sender))
        });
        Witnessed { address, handle, seen, thread: Some(thread) }
    }

    /// Has a request answered on a connection of its own, which ends with that.
    fn ask(&self, path: &str) {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        // It ends its side only when it has the answer: an end that came with the request may be read before that is sent.
        let (mut answer, mut buffer) = (String::new(), [0; 1024]);
        while !answer.ends_with(path) {
            let count = client.read(&mut buffer).unwrap();
            assert!(count > 0, "{answer}");
            answer += str::from_utf8(&buffer[..count]).unwrap();
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut buffer).unwrap(), 0, "the server closes, too");
    }

    /// Stops the server, and returns all that was seen of connections.
    fn end(mut self) -> Vec<(u64, String)> {
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap().unwrap();
        self.seen.iter().collect()
    }
}

#[test]
fn witness_that_panics_ends_the_loop_and_not_the_process() {
    let bound = Server::new().listen("127.0.0.1:0".parse().unwrap()).bind().unwrap();
    let ListenAddress::Tcp(address) = bound.addresses().remove(0) else { panic!("it listens on TCP") };
    let server = thread::spawn(move || {
        let application =
            |_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("");
        let witness = |_: Option<u64>, _: Moment, act: &Act<'_>| match act {
            // The end of the connection is one that follows from the first panic.
            Act::Called(call) if matches!(call.operation, Operation::Receive { .. } | Operation::Close) => {
                panic!("the witness cannot bear it")
            }
            _ => {}
        };
        bound.run_witnessed(application, 1, witness)
    });
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(server.join().is_err(), "the panic is the caller's");
}

/// A witness that says in a word what it sees of connections.
fn witness(sender: Sender<(u64, String)>) -> impl FnMut(Option<u64>, Moment, &Act<'_>) {
    let mut last = Moment::START;
    move |connection, at, act| {
        assert!(at >= last);
        last = at;
        let Some(number) = connection else { return };
        let said = match act {
            Act::Accepted { result, .. } => {
                assert!(result.as_ref().is_ok_and(|peer| peer.is_some()));
                "accept".to_string()
            }
            Act::TurnBegun(cause, connection) => {
                assert_eq!(connection.number, number);
                format!("turn {cause:?} {}", connection.state.stage.path())
            }
            Act::Advanced { state, wants, .. } => format!("{} {wants:?}", state.stage.path()),
            Act::Called(call) => match (call.operation, call.result) {
                (Operation::Receive { bytes, .. }, Ok(count)) => {
                    assert_eq!(bytes.len(), count);
                    format!("{} {}", call.name, bytes.escape_ascii())
                }
                (Operation::Send { pieces, .. }, Ok(count)) => {
                    assert_eq!(pieces.iter().map(|piece| piece.len()).sum::<usize>(), count);
                    format!("{} {}", call.name, pieces[0][..12].escape_ascii())
                }
                (Operation::Register { interest, .. }, Ok(_)) => {
                    assert_eq!(interest, InterestState::Read);
                    "register".to_string()
                }
                (operation, Ok(_)) => format!("{operation:?}"),
                (_, Err(error)) => format!("{} {:?}", call.name, error.kind()),
            },
            Act::TurnEnded(connection) => format!("end {:?}", connection.wants),
            other => panic!("this is not an act for one connection: {other:?}"),
        };
        sender.send((number, said)).unwrap();
    }
}

#[test]
fn first_connection_is_seen_from_its_first_call_to_its_last_with_the_states_between_them() {
    let server = Witnessed::serve();
    server.ask("/first");
    server.ask("/second");
    let seen = server.end();
    assert!(seen.iter().all(|(number, _)| *number == 1), "later connections have no witness: {seen:#?}");
    let said: Vec<&str> = seen.iter().map(|(_, said)| &**said).collect();
    // Whether more calls find that there is nothing, and when the end is seen, depends on system and chance.
    let mut at = said.iter();
    for expected in [
        "accept",
        &format!("turn {:?} Awaited::First", Cause::Accepted),
        "Awaited::First Read",
        r"recvfrom GET /first HTTP/1.1\r\nHost: a\r\n\r\n",
        "Awaited::Next Read",
        "sendto HTTP/1.1 200",
        "recvfrom ",
        "Phase::Finished Close(Clean)",
        "End",
        "Close",
    ] {
        assert!(at.any(|said| *said == expected), "no {expected:?} there in {said:#?}");
    }
    assert_eq!(at.next(), None);
    assert_eq!(said.iter().filter(|said| **said == "accept").count(), 1);
}
