//! Answers that other threads give, while the event loop serves everybody else.
//!
//! ```text
//! cargo run --release --example later
//! curl -i http://127.0.0.1:8000/sum?to=100000000     a whole answer, half a second later
//! curl -iN http://127.0.0.1:8000/primes?to=50000000  an answer that grows as it is found
//! ```
//!
//! Both ways have back-pressure, and both stop their work when the client leaves.

use std::time::Duration;
use std::{io, thread};

use tidegate::gateway::{Response, SendError, Wakeup, channel, deferred};
use tidegate::{Body, Environ, GatewayError, StartResponse};

/// Longest computation that a client can ask for: some seconds.
const TO_MAX: u64 = 1_000_000_000;
/// Time after which a client that waits for a sum gets 504, and the computation ends.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    println!("Starting on http://127.0.0.1:8000/ (Ctrl-C stops)");
    tidegate::serve("127.0.0.1:8000", application)
}

fn application(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let to = environ.query().strip_prefix("to=").and_then(|to| to.parse().ok());
    let Some(to) = to.filter(|to| *to <= TO_MAX) else {
        return start_response.status(400).send("Ask for /sum?to=N or /primes?to=N\n");
    };
    match &*environ.path() {
        "/sum" => sum(to, environ, start_response),
        "/primes" => primes(to, environ.wakeup(), start_response),
        _ => start_response.status(404).send("There are /sum and /primes\n"),
    }
}

/// Sends a whole answer from another thread.
fn sum(to: u64, environ: &Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let deadline = environ.now() + PATIENCE;
    let (responder, answer) = deferred(environ.wakeup());
    thread::Builder::new().spawn(move || {
        let mut sum = 0_u64;
        for number in 0..=to {
            // Nobody needs the sum any more once the client has left.
            if number.is_multiple_of(1_000_000) && responder.is_abandoned() {
                return;
            }
            sum += std::hint::black_box(number);
        }
        let response = Response::new(200).field("Content-Type", "text/plain");
        responder.respond(response.content(format!("{sum}\n")));
    })?;
    Ok(answer.until(deadline).wait(start_response))
}

/// Sends an answer that grows: its status at once, and its content as it is found.
fn primes(to: u64, wakeup: Wakeup, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let (sender, content) = channel(wakeup);
    thread::Builder::new().spawn(move || {
        for number in (2..=to).filter(|&number| is_prime(number)) {
            // Waits while the client reads slowly; the error says that it has left.
            sender.send(format!("{number}\n"))?;
        }
        // Said explicitly: a thread that dies in between must not look like one that is done.
        sender.end();
        Ok::<_, SendError>(())
    })?;
    start_response.status(200).field("Content-Type", "text/plain").stream(content)
}

fn is_prime(number: u64) -> bool {
    (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}
