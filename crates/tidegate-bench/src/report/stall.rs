//! The example of the chapter on coordinated omission: a server that stalls once, asked in both manners.
//!
//! The server is a thread of this process that answers each request after a millisecond, but once leaves all of them
//! waiting. It is measured as any other server is.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::options::Load;
use crate::progress::Progress;
use crate::request::Request;
use crate::rig::Rig;
use crate::target::Target;

/// The time that an answer takes.
const SERVICE: Duration = Duration::from_millis(1);
/// When the stall begins, after the first request, and how long it lasts.
pub(super) const STALL_AT: Duration = Duration::from_millis(700);
pub(super) const STALL: Duration = Duration::from_millis(400);
/// How long the server is measured in each manner.
pub(super) const DURATION: Duration = Duration::from_secs(2);
/// Requests a second in the open loop: a quarter of what the server could answer, so that it catches up soon.
pub(super) const RATE: u32 = 200;
/// How long the server waits for something to do before it looks whether it is over.
const LOOK: Duration = Duration::from_millis(5);

/// The latencies of one server in both manners.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub closed: Histogram,
    pub open: Histogram,
}

impl Example {
    /// Measures the example server in both manners.
    ///
    /// # Errors
    /// Returns a sentence when the system has no port or thread for it.
    pub fn measure(interrupted: &AtomicBool, progress: &mut Progress) -> Result<Example, String> {
        progress.label = "the example for the report: ".to_string();
        let closed = once(None, interrupted, progress)?;
        let open = once(Some(f64::from(RATE)), interrupted, progress)?;
        Ok(Example { closed, open })
    }
}

fn once(rate: Option<f64>, interrupted: &AtomicBool, progress: &Progress) -> Result<Histogram, String> {
    let listener =
        TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &is_over));
        let measured = measure(address, rate, interrupted, progress);
        is_over.store(true, Ordering::Relaxed);
        measured
    })
}

fn measure(
    address: SocketAddr,
    rate: Option<f64>,
    interrupted: &AtomicBool,
    progress: &Progress,
) -> Result<Histogram, String> {
    let load = Load {
        connections: 1,
        idle: 0,
        slow_readers: 0,
        drip: 0,
        duration: DURATION,
        warm_up: Duration::ZERO,
        rate,
        pipeline: 1,
        closes: false,
        timeout: DURATION,
        sources: Vec::new(),
    };
    let request = Request::encode(&Target::parse(&format!("http://{address}/"))?, "GET", &[], &[], &load);
    let rig = Rig::new(&load, &request, address, interrupted, progress, None);
    let measurement = rig.map_err(|error| error.to_string())?.run()?;
    Ok(measurement.tally.latency)
}

/// Serves one connection after the other until the example is over.
fn serve(listener: &TcpListener, is_over: &AtomicBool) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut stall = Stall { began: None, is_past: false };
    while !is_over.load(Ordering::Relaxed) {
        match listener.accept() {
            // A client that is gone is not missed.
            Ok((stream, _)) => drop(converse(stream, &mut stall, is_over)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The stall, which happens once.
struct Stall {
    began: Option<Instant>,
    is_past: bool,
}

fn converse(mut stream: TcpStream, stall: &mut Stall, is_over: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LOOK))?;
    let mut bytes = [0; 4096];
    while !is_over.load(Ordering::Relaxed) {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        }
        let began = *stall.began.get_or_insert_with(Instant::now);
        thread::sleep(SERVICE);
        if !stall.is_past && began.elapsed() >= STALL_AT {
            stall.is_past = true;
            thread::sleep(STALL);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The one request that met the stall is too few to be seen at p99; of those that were due, a fifth is.
    #[test]
    fn only_an_open_loop_sees_the_stall() {
        let mut progress = Progress::on_stderr();
        let example = Example::measure(&AtomicBool::new(false), &mut progress).unwrap();
        let [closed, open] = [&example.closed, &example.open].map(|latency| latency.quantile(0.99));
        assert!(open > STALL / 2 && closed < open / 2, "closed {closed:?}, open {open:?}");
        assert!(example.closed.longest() >= STALL && example.open.longest() >= STALL);
    }
}
