//! The server of those attackers that need an application: this program itself, started once more.
//!
//! | path | answer |
//! |---|---|
//! | `/hello` | a short one, after 10 µs of computing |
//! | `/long` | a stream without end |
//! | `/stuck` | none: it takes a place of the pool for [`VIEW_TIMEOUT`], then it is a 504 |
//! | `/upload/…` | none: the content is kept until the client has left |

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate::gateway::{BodyStream, Gateway, Later, LoopHooks, OwnedContent, Piece};
use tidegate::limits::Limits;
use tidegate::now::Moment;
use tidegate::{Body, Environ, GatewayError, Server, StartResponse};

/// The argument that makes this program a server.
pub const SERVE: &str = "--serve";
/// The time after which a stuck view is given up.
pub const VIEW_TIMEOUT: Duration = Duration::from_secs(2);
/// The wait of a client that comes while the pool is full.
pub const GATEWAY_TIMEOUT: Duration = Duration::from_secs(1);
/// The time for which `/hello` computes.
const SPIN: Duration = Duration::from_micros(10);
static PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// Serves until it is killed, with these places for connections and in the pool.
pub fn serve(connections_max: usize, places: usize) -> io::Result<()> {
    let limits = Limits { connections_max, gateway_timeout: GATEWAY_TIMEOUT, ..Limits::default() };
    let server =
        Server::new().listen("127.0.0.1:0".parse().map_err(io::Error::other)?).limits(limits).bind()?;
    for address in server.addresses() {
        // Whoever has started it may be gone.
        let _ = writeln!(io::stderr(), "serves on {address}");
    }
    let taken = Arc::<AtomicUsize>::default();
    server.run_with_hooks(Application { taken: taken.clone() }, Entrance { places, taken })
}

struct Application {
    taken: Arc<AtomicUsize>,
}

impl Gateway for Application {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        match &*environ.path() {
            "/long" => return start_response.status(200).stream(Endless),
            "/stuck" => {
                let until = start_response.now() + VIEW_TIMEOUT;
                let stuck = Stuck { until, _place: Place::take(&self.taken) };
                return Ok(start_response.later(Some(until), stuck));
            }
            path if path.starts_with("/upload/") => {
                return Ok(start_response.later(None, Kept(environ.content().detach())));
            }
            _ => {}
        }
        let start = Instant::now();
        while start.elapsed() < SPIN {}
        start_response.status(200).field("Content-Type", "text/plain").send("Hello, World!")
    }
}

/// Lets requests in while there are places.
struct Entrance {
    places: usize,
    taken: Arc<AtomicUsize>,
}

impl LoopHooks for Entrance {
    fn is_ready(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.places
    }
}

struct Endless;

impl BodyStream for Endless {
    fn next_piece(&mut self, _now: Moment) -> Result<Piece<'_>, GatewayError> {
        Ok(Piece::Data(&PIECE))
    }
}

/// A place of the pool, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Place {
        taken.fetch_add(1, Ordering::Relaxed);
        Place(taken.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer that never comes.
struct Stuck {
    until: Moment,
    _place: Place,
}

impl Later for Stuck {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        match self.until <= start_response.now() {
            true => start_response.status(504).send("504 Gateway Timeout\n"),
            false => Ok(start_response.later_boxed(Some(self.until), self)),
        }
    }
}

/// Content that nobody reads.
struct Kept(OwnedContent);

impl Later for Kept {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        Ok(start_response.later_boxed(None, self))
    }

    fn held_bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}
