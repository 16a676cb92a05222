//! Explains an exchange: tells as a story what the loop does for the first connections of a server, for people who want to
//! understand it.
//!
//! ```text
//!  loop ─▶ Witness ─────────┐
//!                           ├─▶ Story ─▶ lines, after each turn
//!  loop ─▶ Gateway ─────────┘     │
//!           └─▶ the application   └ bytes: escaped, cut short, without secrets
//! ```
//!
//! Every numbered line is a system call. What stands between them are the states, by the names of the code.

mod bytes;
mod story;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use tidegate::gateway::Admission;
use tidegate::now::Moment;
use tidegate::server::{Act, Witness};
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};

use self::story::Story;

/// Explains connections, for as long as the server [has it as a witness](tidegate::BoundServer::run_witnessed).
///
/// ```no_run
/// use tidegate::{Environ, Server, StartResponse};
/// use tidegate_status::Explainer;
///
/// let explainer = Explainer::new(|lines: &str| print!("{lines}"));
/// let gateway = |_: &mut Environ<'_>, start_response: StartResponse<'_>| start_response.status(200).send("Hello!");
/// let server = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
/// server.run_witnessed(explainer.gateway(gateway), 1, explainer.witness())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Explainer(Rc<RefCell<Story>>);

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Explainer")
    }
}

impl Explainer {
    /// Makes an explainer. `tell` is given whole lines, after each turn of a connection.
    pub fn new(tell: impl FnMut(&str) + 'static) -> Explainer {
        Explainer(Rc::new(RefCell::new(Story::new(Box::new(tell)))))
    }

    /// Puts a gateway before the application that says when that is called.
    pub fn gateway<G: Gateway>(&self, application: G) -> impl Gateway {
        Told { application, story: self.0.clone() }
    }

    /// The witness that the server is to have.
    pub fn witness(&self) -> impl Witness + use<> {
        Teller(self.0.clone())
    }

    /// Whether this many connections have come and are over.
    pub fn has_told_of(&self, connections: u64) -> bool {
        self.0.borrow().over() >= connections
    }
}

/// A witness that tells the story.
struct Teller(Rc<RefCell<Story>>);

impl Witness for Teller {
    fn see(&mut self, connection: Option<u64>, at: Moment, act: &Act<'_>) {
        self.0.borrow_mut().see(connection, at, act);
    }

    fn sees_waits(&self) -> bool {
        self.0.borrow().goes_on()
    }
}

/// A gateway that says when the application is called.
struct Told<G> {
    application: G,
    story: Rc<RefCell<Story>>,
}

impl<G: Gateway> Gateway for Told<G> {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let connection = environ.client().connection_id;
        self.story.borrow_mut().call_begins(connection, environ);
        // The application may write meanwhile, which the witness sees.
        let result = self.application.call(environ, start_response);
        self.story.borrow_mut().call_ends(connection, result.is_err());
        result
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        let admission = self.application.admit(environ);
        self.story.borrow_mut().admits(environ.client().connection_id, admission);
        admission
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::thread;
    use std::time::Duration;

    use tidegate::{ListenAddress, Server};

    use super::*;

    /// Sends a request, and reads its answer, which ends so.
    fn ask(client: &mut TcpStream, end: &[u8]) {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(end) {
            let count = client.read(&mut buffer).unwrap();
            assert!(count > 0, "the server has ended the connection");
            answer.extend_from_slice(&buffer[..count]);
        }
    }

    #[test]
    fn answer_that_waits_for_others_is_owed_until_it_is_sent() {
        let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
        let server = server.hold_responses(Duration::from_millis(1)).bind().unwrap();
        let ListenAddress::Tcp(address) = server.addresses().remove(0) else { panic!("it listens on TCP") };
        let handle = server.handle();
        let client = thread::spawn(move || {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            (0..3).for_each(|_| ask(&mut client, b"Hello!"));
            client.shutdown(std::net::Shutdown::Write).unwrap();
            client.read_to_end(&mut Vec::new()).unwrap();
            handle.stop();
        });
        let story = Rc::new(RefCell::new(String::new()));
        let into = story.clone();
        let explainer = Explainer::new(move |lines: &str| into.borrow_mut().push_str(lines));
        let application = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
            start_response.status(200).send("Hello!")
        };
        server.run_witnessed(explainer.gateway(application), 1, explainer.witness()).unwrap();
        client.join().unwrap();
        let story = story.take();
        let mut rest = &*story;
        for expected in [
            "has its turn: an event came for it",
            "bytes are queued for the client",
            "next    its answer leaves at the end of this turn of the loop",
            "sendto(connection 1",
            "nothing is owed any more",
        ] {
            let at = rest.find(expected);
            let before = &rest[..at.unwrap_or_else(|| panic!("no {expected:?} there in:\n{story}"))];
            let is_early = expected.starts_with("sendto") && before.contains("nothing is owed");
            assert!(!is_early, "it is still owed:\n{story}");
            rest = &rest[before.len() + expected.len()..];
        }
    }
}
