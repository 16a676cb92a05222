//! The application of the status server: its paths.

use std::sync::Arc;
use std::time::Duration;

use tidegate::conversation::Shutdown;
use tidegate::gateway::{Later, Response, Wakeup};
use tidegate::message::Method;
use tidegate::now::Moment;
use tidegate::server::{Counters, Observer, Snapshot};
use tidegate::{Body, Environ, Gateway, GatewayError, StartResponse};

use crate::events::{Events, Frames};
use crate::facts::Facts;
use crate::frame::{connections, shutdown_name};
use crate::inbox::Inbox;
use crate::metrics::{Format, metrics};

/// How long a loop may take to answer. Two seconds: a check of health that is less patient says nothing about a server
/// whose application may take its time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most live views at a time. 32: half of the [places](crate::CONNECTIONS_MAX), which a view never leaves by itself. The
/// others are for those who ask for health, and are not to wait for people who have left a page open.
const VIEWERS_MAX: usize = 32;
const _: () = assert!(VIEWERS_MAX < crate::CONNECTIONS_MAX);

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/live.js");
/// The policy of the page: nothing from elsewhere, and nothing in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The application.
pub(crate) struct StatusGateway {
    frames: Arc<Frames>,
    observer: Observer,
    facts: Facts,
    /// Whether browsers can reach the status server by names of the Internet.
    is_tcp: bool,
}

impl StatusGateway {
    pub fn new(observer: Observer, facts: Facts, is_tcp: bool) -> StatusGateway {
        let frames = Arc::new(Frames::new(observer.clone(), facts.clone()));
        StatusGateway { frames, observer, facts, is_tcp }
    }

    /// Answers when all loops have, or when they have had their time.
    fn when_asked(
        &self,
        environ: &Environ<'_>,
        start_response: StartResponse<'_>,
        answer: Answer,
    ) -> Result<Body, GatewayError> {
        let inbox = Inbox::ask(&self.observer);
        let wakeup = environ.wakeup();
        inbox.wake_when_complete(&wakeup);
        let until = start_response.now() + PATIENCE;
        let (observer, facts) = (self.observer.clone(), self.facts.clone());
        let asked = Asked { inbox, until, observer, facts, answer, _wakeup: wakeup };
        // The answers may have come in between.
        Box::new(asked).resume(start_response)
    }
}

impl Gateway for StatusGateway {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        if self.is_tcp && !environ.host().is_some_and(is_own_name) {
            // A page from elsewhere, whose name was made to mean this machine, is to learn nothing.
            return plain(
                421,
                "this server has another name: ask http://127.0.0.1:PORT/ or http://localhost:PORT/\n",
            )
            .send(start_response);
        }
        if !matches!(environ.method(), Method::GET | Method::HEAD) {
            return plain(405, "only GET and HEAD\n").field("Allow", "GET, HEAD").send(start_response);
        }
        match &*environ.path() {
            "/" => asset(start_response, "text/html; charset=utf-8", PAGE),
            "/style.css" => asset(start_response, "text/css; charset=utf-8", STYLE),
            "/live.js" => asset(start_response, "text/javascript; charset=utf-8", SCRIPT),
            "/events" if self.frames.viewers() >= VIEWERS_MAX => plain(
                503,
                &format!("{VIEWERS_MAX} live views are open, and others are to find a place, too\n"),
            )
            .field("Retry-After", "10")
            .send(start_response),
            "/events" => start_response
                .status(200)
                .field("Content-Type", "text/event-stream")
                .field("Cache-Control", "no-store")
                .stream(Events::new(&self.frames, environ.wakeup())),
            "/health" => self.when_asked(environ, start_response, Answer::Health),
            "/metrics" => {
                let format = Format::of(environ.field("Accept"));
                self.when_asked(environ, start_response, Answer::Metrics(format))
            }
            "/connections.json" => match Selection::parse(environ.query()) {
                Some(selection) => self.when_asked(environ, start_response, Answer::Connections(selection)),
                None => {
                    plain(400, "it is /connections.json?reactor=NUMBER&place=NUMBER, or without either\n")
                        .send(start_response)
                }
            },
            _ => plain(404, "there are /, /metrics, /health, /connections.json and /events\n")
                .send(start_response),
        }
    }
}

/// Whether this host is a name that only the machine itself uses for itself, with or without a port.
fn is_own_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.is_ok_and(|address| address.is_loopback()) || name.eq_ignore_ascii_case("localhost")
}

fn plain(code: u16, text: &str) -> Response {
    Response::new(code)
        .field("Content-Type", "text/plain; charset=utf-8")
        .field("Cache-Control", "no-store")
        .content(text)
}

fn asset(start_response: StartResponse<'_>, media_type: &str, content: &str) -> Result<Body, GatewayError> {
    start_response
        .status(200)
        .field("Content-Type", media_type)
        .field("Content-Security-Policy", POLICY)
        .field("X-Content-Type-Options", "nosniff")
        .field("Cache-Control", "no-cache")
        .send(content)
}

/// The part of the connections that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Selection {
    reactor: Option<usize>,
    place: Option<usize>,
}

impl Selection {
    fn parse(query: &str) -> Option<Selection> {
        let mut selection = Selection::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=')? {
                ("reactor", number) => selection.reactor = Some(number.parse().ok()?),
                ("place", number) => selection.place = Some(number.parse().ok()?),
                _ => return None,
            }
        }
        Some(selection)
    }
}

/// The kind of answer that is made of snapshots.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Health,
    Metrics(Format),
    Connections(Selection),
}

/// An answer that waits for the loops.
struct Asked {
    inbox: Inbox,
    /// The moment after which the answer no longer waits.
    until: Moment,
    observer: Observer,
    facts: Facts,
    answer: Answer,
    _wakeup: Wakeup,
}

impl Later for Asked {
    fn resume(self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let until = self.until;
        if !self.inbox.is_complete() && start_response.now() < until {
            return Ok(start_response.later_boxed(Some(until), self));
        }
        self.respond(&self.inbox.arrived()).send(start_response)
    }
}

impl Asked {
    /// Shows the loops that have answered. A loop that is blocked, or has ended, does not hide the others.
    fn respond(&self, snapshots: &[Arc<Snapshot>]) -> Response {
        let counters = self.observer.counters();
        match self.answer {
            Answer::Health => match health(&counters, snapshots) {
                Ok(()) => plain(200, "serving\n"),
                Err(reason) => plain(503, &format!("{reason}\n")),
            },
            Answer::Metrics(format) => Response::new(200)
                .field("Content-Type", format.media_type())
                .field("Cache-Control", "no-store")
                .content(metrics(format, &self.facts, &counters, snapshots)),
            Answer::Connections(Selection { reactor, place }) => {
                let silent = silent(&counters, snapshots);
                let is_known = reactor.map_or(silent.len() < counters.len(), |one| !silent.contains(&one));
                if !is_known {
                    return plain(503, &format!("{}\n", silence(&counters, snapshots)));
                }
                Response::new(200)
                    .field("Content-Type", "application/json")
                    .field("Cache-Control", "no-store")
                    .field("X-Content-Type-Options", "nosniff")
                    .content(connections(snapshots, &silent, reactor, place))
            }
        }
    }
}

/// Says why the server is not to get more requests, if it is not. A loop that drains says more than one that does not
/// answer: it may have ended already.
fn health(counters: &[Counters], snapshots: &[Arc<Snapshot>]) -> Result<(), String> {
    match snapshots.iter().find(|snapshot| snapshot.shutdown != Shutdown::No) {
        Some(snapshot) => Err(shutdown_name(snapshot.shutdown).to_string()),
        None if snapshots.len() < counters.len() => Err(silence(counters, snapshots)),
        None => Ok(()),
    }
}

/// The numbers of the loops that have not answered.
fn silent(counters: &[Counters], snapshots: &[Arc<Snapshot>]) -> Vec<usize> {
    let is_silent = |number: &usize| snapshots.iter().all(|snapshot| snapshot.reactor != *number);
    (0..counters.len()).filter(is_silent).collect()
}

/// Says which loops have not answered, and the longest turn among theirs.
fn silence(counters: &[Counters], snapshots: &[Arc<Snapshot>]) -> String {
    let silent = silent(counters, snapshots);
    let turns = silent.iter().map(|number| &counters[*number]);
    let longest = turns.filter_map(|of_loop| Some(of_loop.read.since(of_loop.turn_begun?))).max();
    let who = match (&silent[..], counters.len()) {
        (_, 1) => "the event loop has".to_string(),
        ([one], all) => format!("event loop {one} of {all} has"),
        (several, all) => format!("{} of {all} event loops have", several.len()),
    };
    let lasts = longest.map_or("no turn is under way".to_string(), |longest| {
        format!("its turn has lasted for {:.1} s: the application blocks it", longest.as_secs_f64())
    });
    format!("{who} not answered for {} s; {lasts}", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_machine_itself_are_taken() {
        for host in ["localhost", "LOCALHOST:9000", "127.0.0.1", "127.0.0.1:80", "[::1]:9000", "[::1]"] {
            assert!(is_own_name(host), "{host}");
        }
        for host in
            ["", "example.com", "127.0.0.1.example.com", "localhost.example.com:80", "10.0.0.1:80", "a:b:c"]
        {
            assert!(!is_own_name(host), "{host}");
        }
    }

    #[test]
    fn selection_is_read_or_refused() {
        let selection = |reactor, place| Some(Selection { reactor, place });
        assert_eq!(Selection::parse(""), selection(None, None));
        assert_eq!(Selection::parse("reactor=1&place=7"), selection(Some(1), Some(7)));
        assert_eq!(Selection::parse("place=7&"), selection(None, Some(7)));
        for bad in ["place", "place=-1", "x=1", "place=1=2"] {
            assert_eq!(Selection::parse(bad), None, "{bad}");
        }
    }
}
