//! Measures what others wait beside a connection that always has 2,000 requests or more under way, at an
//! application that computes for 10 µs.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::clients::{ask, connect, probe, request};
use super::process::ServerProcess;
use super::server;
use super::table::{Goal, Row, median, percentile};

const WAIT: Goal = Goal::at_most("others' p99 beside one that pipelines 2,000 deep", 10.0, 1.5, "ms");
const DEPTH: usize = 2_000;
const OTHERS: usize = 16;
/// The interval of each of the others, which together make 1,000 requests a second.
const INTERVAL: Duration = Duration::from_millis(16);
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);

pub fn measure(_connections: usize) -> Vec<Row> {
    vec![beside().unwrap_or_else(|error| WAIT.failed(error))]
}

fn beside() -> io::Result<Row> {
    let server = ServerProcess::start(&mut server::command(Duration::from_secs(75))?)?;
    let (mut alone, mut beside, mut piped) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        alone.push(percentile(waits(server.address)?, 99));
        let pipeliner = Pipeliner::start(server.address)?;
        beside.push(percentile(waits(server.address)?, 99));
        piped += pipeliner.end();
    }
    let rate = piped as f64 / (ROUND * ROUNDS as u32).as_secs_f64();
    let note = format!("alone {:.2} ms; the one had {rate:.0} answers a second", median(alone));
    Ok(WAIT.measured(median(beside)).note(note))
}

/// Returns how long the others wait, each on a connection and a thread of its own.
fn waits(address: SocketAddr) -> io::Result<Vec<f64>> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut others = Vec::new();
        for _ in 0..OTHERS {
            let stream = connect(address)?;
            others.push(scope.spawn(|| probe(stream, "/spin", INTERVAL, &is_over)));
            thread::sleep(INTERVAL / OTHERS as u32);
        }
        thread::sleep(ROUND);
        is_over.store(true, Ordering::Relaxed);
        let mut waits = Vec::new();
        for other in others {
            waits.extend(other.join().map_err(|_| io::ErrorKind::Other)??);
        }
        Ok(waits)
    })
}

/// Writes and reads on threads of its own.
struct Pipeliner {
    stream: TcpStream,
    answered: Arc<AtomicUsize>,
}

impl Pipeliner {
    fn start(address: SocketAddr) -> io::Result<Pipeliner> {
        let mut stream = connect(address)?;
        let answer_bytes = ask(&mut stream, "/spin")?.len();
        let answered = Arc::new(AtomicUsize::new(0));
        let (mut writer, mut reader) = (stream.try_clone()?, stream.try_clone()?);
        let of_writer = answered.clone();
        thread::spawn(move || {
            let batch = request("/spin").repeat(DEPTH);
            let mut asked = 0;
            // Ends when the connection is shut down.
            while writer.write_all(&batch).is_ok() {
                asked += DEPTH;
                while asked - of_writer.load(Ordering::Relaxed) > DEPTH {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        let of_reader = answered.clone();
        thread::spawn(move || {
            let (mut bytes, mut total) = (vec![0; 256 * 1024], 0);
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                total += count;
                of_reader.store(total / answer_bytes, Ordering::Relaxed);
            }
            // Nobody is to wait for an answer that does not come.
            of_reader.store(usize::MAX / 2, Ordering::Relaxed);
        });
        Ok(Pipeliner { stream, answered })
    }

    /// Ends it, and returns how many answers it has had.
    fn end(self) -> usize {
        let answered = self.answered.load(Ordering::Relaxed);
        // It may have ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
        answered
    }
}
