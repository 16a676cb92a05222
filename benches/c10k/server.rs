//! The server of those subjects that need another application than the workbench, or other limits: this
//! program itself, started once more.
//!
//! Its application measures the turns of the loop from inside, at no cost to the server: [`LoopHooks::wait`] is
//! called once a turn, so a turn is what lies between two waits. Each has its time on the clock, and that on
//! the processor; on a machine that is busy with something else the first is longer than the server made it.

use std::cell::Cell;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tidegate::gateway::{Gateway, LoopHooks, Responder, Response, deferred};
use tidegate::limits::Limits;
use tidegate::server::Listener;
use tidegate::{Body, Environ, GatewayError, Server, StartResponse};

use super::bare;
use super::clients::{ask, content};
use super::process::ServerProcess;

/// The argument that makes this program a server.
pub const SERVE: &str = "--serve";
/// The arguments that make it a server without hooks, and the bare loop: a descriptor to listen on and a number of
/// connections follow.
pub const SERVE_PLAIN: &str = "--serve-plain";
pub const SERVE_BARE: &str = "--serve-bare";
/// The argument that makes it a server with so many reactors.
pub const SERVE_REACTORS: &str = "--serve-reactors";
/// The path that such a server computes for.
pub const COMPUTED: &str = "/computed";
/// The steps that it computes, some 100 µs on a machine of today. A time to be waited for would pass as well while the thread does
/// not run.
const STEPS: u64 = 60_000;
/// The time for which `/spin` computes.
const SPIN: Duration = Duration::from_micros(10);

/// Makes the command that starts this server, with an idle timeout.
pub fn command(idle_timeout: Duration) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([SERVE, &idle_timeout.as_millis().to_string()]);
    Ok(command)
}

/// Serves until it is killed.
pub fn serve(idle_timeout: Duration) -> io::Result<()> {
    let limits = Limits { idle_timeout, ..Limits::default() };
    let server =
        Server::new().listen("127.0.0.1:0".parse().map_err(io::Error::other)?).limits(limits).bind()?;
    for address in server.addresses() {
        // Whoever has started it may be gone.
        let _ = writeln!(io::stderr(), "serves on {address}");
    }
    let longest = Rc::<Cell<Longest>>::default();
    let stopwatch = Stopwatch { began: (Instant::now(), cpu()), longest: longest.clone() };
    server.run_with_hooks(Application::new(longest), stopwatch)
}

/// Serves a short text on a socket that was passed in, until it is killed.
pub fn serve_plain(descriptor: &str, connections_max: usize) -> io::Result<()> {
    // However long it takes to open all of them, none has idled for too long.
    let limits = Limits { connections_max, idle_timeout: Duration::from_secs(300), ..Limits::default() };
    let address = format!("fd://{descriptor}").parse().map_err(io::Error::other)?;
    let server = Server::new().listen(address).limits(limits).bind()?;
    server.run(plaintext)
}

/// Serves as the bare loop does, on a socket that was passed in.
pub fn serve_bare(descriptor: &str) -> io::Result<()> {
    let address = format!("fd://{descriptor}").parse().map_err(io::Error::other)?;
    bare::serve(Listener::bind(&address)?.release()?.into())
}

/// Starts a server of a short text with so many reactors.
pub fn with_reactors(count: usize) -> io::Result<ServerProcess> {
    ServerProcess::start(Command::new(std::env::current_exe()?).args([SERVE_REACTORS, &count.to_string()]))
}

/// Serves a short text with several reactors, until it is killed.
pub fn serve_reactors(count: usize) -> io::Result<()> {
    let address = "127.0.0.1:0".parse().map_err(io::Error::other)?;
    let server = Server::new().listen(address).reactors(count).bind()?;
    // As programs have one that waits for signals. In a process with a second thread a call of the C library that is a
    // point of cancellation costs 45 instructions more, whatever that thread does: epoll_wait is one.
    thread::Builder::new().name("signals".to_string()).spawn(thread::park)?;
    for address in server.addresses() {
        // Whoever has started it may be gone.
        let _ = writeln!(io::stderr(), "serves on {address}");
    }
    server.run_each(|_| {
        Ok(|environ: &mut Environ<'_>, start_response: StartResponse<'_>| {
            if environ.path() == COMPUTED {
                compute();
            }
            plaintext(environ, start_response)
        })
    })
}

/// Computes a chain of steps, each of which needs the one before.
fn compute() {
    let mut number = black_box(1_u64);
    for step in 0..STEPS {
        number = (number ^ step).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17);
    }
    black_box(number);
}

fn plaintext(_: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    start_response.status(200).field("Content-Type", "text/plain").send("Hello, World!")
}

/// The longest turn since the last question.
#[derive(Clone, Copy, Debug, Default)]
pub struct Longest {
    /// By the clock on the wall.
    pub wall: Duration,
    /// The time on the processor, of the turn that took longest there.
    pub cpu: Duration,
}

impl Longest {
    /// Asks the server, which then begins anew.
    pub fn of(server: &ServerProcess) -> io::Result<Longest> {
        let answer = ask(&mut super::clients::connect(server.address)?, "/turns")?;
        let text = content(&answer);
        let mut micros = text.split(' ').filter_map(|number| number.parse().ok().map(Duration::from_micros));
        match (micros.next(), micros.next()) {
            (Some(wall), Some(cpu)) => Ok(Longest { wall, cpu }),
            _ => Err(io::Error::other(format!("{text:?} is no length of a turn"))),
        }
    }
}

struct Application {
    longest: Rc<Cell<Longest>>,
    /// The channel to the thread that answers `/deferred`.
    elsewhere: Sender<Responder>,
}

impl Application {
    fn new(longest: Rc<Cell<Longest>>) -> Application {
        let (elsewhere, asked) = channel::<Responder>();
        thread::spawn(move || {
            for responder in asked {
                responder
                    .respond(Response::new(200).field("Content-Type", "text/plain").content("Hello, World!"));
            }
        });
        Application { longest, elsewhere }
    }
}

impl Gateway for Application {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        match &*environ.path() {
            "/deferred" => {
                let (responder, answer) = deferred(environ.wakeup());
                self.elsewhere.send(responder)?;
                return Ok(answer.wait(start_response));
            }
            "/turns" => {
                let Longest { wall, cpu } = self.longest.take();
                return start_response.status(200).send(format!("{} {}", wall.as_micros(), cpu.as_micros()));
            }
            "/spin" => {
                let start = Instant::now();
                while start.elapsed() < SPIN {}
            }
            _ => {}
        }
        start_response.status(200).field("Content-Type", "text/plain").send("Hello, World!")
    }
}

/// Takes the time of each turn.
struct Stopwatch {
    /// The beginning of the turn, on both clocks.
    began: (Instant, Duration),
    longest: Rc<Cell<Longest>>,
}

impl LoopHooks for Stopwatch {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        let ((wall, on_processor), longest) = (self.began, self.longest.get());
        self.longest.set(Longest {
            wall: longest.wall.max(wall.elapsed()),
            cpu: longest.cpu.max(cpu().saturating_sub(on_processor)),
        });
        wait();
        self.began = (Instant::now(), cpu());
    }
}

/// Returns the time of this thread on the processor.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
