//! Gateways around gateways: a site in layers, each of which knows nothing of the others.
//!
//! ```text
//! ADMIN_PASSWORD=ebb cargo run --release --example middleware
//! curl -i http://127.0.0.1:8000/                           a page, with a footer and fields that nobody wrote there
//! curl -i http://127.0.0.1:8000/waves                      the same for one that is streamed
//! curl -i -u admin:ebb http://127.0.0.1:8000/admin/counts  what was counted; 401 without the password
//! ```
//!
//! ```text
//!   WithFields ─▶ Counting ─▶ Mounts ─┬─▶ WithFooter ─▶ home
//!                                     └─ /admin ─▶ BasicAuth ─▶ counts
//! ```
//!
//! [`WithFields`], [`Mounts`] and [`BasicAuth`] are of the package `tidegate-middleware`. `Counting` and `WithFooter` are written here: one
//! looks at what passes, one changes it.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate::gateway::Admission;
use tidegate::gateway::middleware::{Filter, Passage, PassingHead};
use tidegate::message::ContentLength;
use tidegate::{Body, Environ, Gateway, GatewayError, Server, StartResponse};
use tidegate_middleware::{BasicAuth, Mounts, WithFields};

const HTML: &str = "text/html; charset=utf-8";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("middleware: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let password = std::env::var("ADMIN_PASSWORD").map_err(|_| "ADMIN_PASSWORD is not set")?;
    let site = site(&password)?;
    let server = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
    println!("Starting on http://127.0.0.1:8000/ (Ctrl-C stops)");
    Ok(server.run(site)?)
}

/// Puts all layers together.
pub fn site(password: &str) -> Result<impl Gateway + Send + use<>, Box<dyn Error>> {
    let counts = Arc::<Counts>::default();
    let shown = counts.clone();
    let admin = move |environ: &mut Environ<'_>, start_response: StartResponse<'_>| match &*environ.path() {
        "/counts" => start_response.status(200).field("Content-Type", "text/plain").send(shown.to_string()),
        _ => start_response.status(404).send("There is /admin/counts\n"),
    };
    let admin = BasicAuth::new(admin, "the engine room")?.user("admin", password)?;
    let mounts = Mounts::new().at("/", WithFooter { gateway: home }).at("/admin", admin);
    let site = WithFields::new(Counting { gateway: mounts, counts });
    Ok(site.set("X-Content-Type-Options", "nosniff")?.set("Referrer-Policy", "same-origin")?)
}

/// The application, which knows nothing of all this.
fn home(environ: &mut Environ<'_>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
    let head = |code| start_response.status(code).field("Content-Type", HTML);
    match &*environ.path() {
        "/" => head(200).send("<!DOCTYPE html><title>Tide</title><h1>High water at noon</h1>\n"),
        "/waves" => {
            let waves = (1..=1000).map(|number| format!("<p>Wave {number}</p>\n"));
            head(200)
                .pieces(std::iter::once("<!DOCTYPE html><title>Waves</title>\n".to_string()).chain(waves))
        }
        _ => head(404).send("<!DOCTYPE html><title>404</title><h1>There are / and /waves</h1>\n"),
    }
}

/// The sum of what has passed so far.
#[derive(Debug, Default)]
pub struct Counts {
    responses: AtomicU64,
    failures: AtomicU64,
    bytes: AtomicU64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (responses, failures) = (number(&self.responses), number(&self.failures));
        writeln!(f, "{responses} responses, {failures} failures, {} bytes", number(&self.bytes))
    }
}

/// Counts responses, and the bytes of their content.
struct Counting<G> {
    gateway: G,
    counts: Arc<Counts>,
}

impl<G: Gateway> Gateway for Counting<G> {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let count = Count(self.counts.clone());
        start_response.through(count, |start_response| self.gateway.call(environ, start_response))
    }

    /// Asks the application, since this layer does not care.
    fn admit(&self, environ: &Environ<'_>) -> Admission {
        self.gateway.admit(environ)
    }
}

/// Counts one response.
struct Count(Arc<Counts>);

impl Filter for Count {
    fn head(&mut self, _head: &mut PassingHead<'_>) -> Passage {
        self.0.responses.fetch_add(1, Ordering::Relaxed);
        Passage::Seen
    }

    fn content<'p>(&'p mut self, content: &'p [u8]) -> Result<&'p [u8], GatewayError> {
        self.0.bytes.fetch_add(content.len() as u64, Ordering::Relaxed);
        Ok(content)
    }

    fn failure(&mut self, _head: &mut PassingHead<'_>) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds a footer to pages.
struct WithFooter<G> {
    gateway: G,
}

impl<G: Gateway> Gateway for WithFooter<G> {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let footer = Footer { is_page: false };
        start_response.through(footer, |start_response| self.gateway.call(environ, start_response))
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        self.gateway.admit(environ)
    }
}

/// The footer of one page.
struct Footer {
    is_page: bool,
}

impl Filter for Footer {
    /// Begins again for an application that starts over.
    fn begin(&mut self, _code: u16) {
        self.is_page = false;
    }

    fn field(&mut self, name: &str, value: &[u8]) -> bool {
        if name.eq_ignore_ascii_case("Content-Type") {
            self.is_page = value.starts_with(b"text/html");
        }
        true
    }

    fn head(&mut self, head: &mut PassingHead<'_>) -> Passage {
        // Part of a page has no footer, and what has no content has none either.
        match self.is_page && head.code() != 206 && head.length() != ContentLength::Nothing {
            true => Passage::Changed,
            false => Passage::Unseen,
        }
    }

    fn end(&mut self) -> Result<&[u8], GatewayError> {
        Ok(b"<footer>The tide waits for nobody.</footer>\n")
    }
}
