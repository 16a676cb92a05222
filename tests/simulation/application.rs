//! The application: does what the script says, and keeps a ledger of what was done to it.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Read;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::plan::{Answer, Declared, Ending, Item, Kind, Script, Step, TunnelPlan, Wait, content, trailer};
use crate::conversation::Outcome;
use crate::gateway::middleware::{Filter, Passage, PassingHead};
use crate::gateway::{
    Admission, BodyStream, Content, FileRange, IncomingContent, Later, LoopHooks, Piece, ResponseHead,
    Tunnel, Upgrade, Wakeup, Writer,
};
use crate::now::Moment;
use crate::{Body, Environ, Gateway, GatewayError, StartResponse};

/// The message of panics on purpose.
pub const ON_PURPOSE: &str = "on purpose";
/// A file says by its offset whose it is: this much for a connection, and this for a request.
pub const OF_CONNECTION: u64 = 1 << 40;
pub const OF_REQUEST: u64 = 1 << 20;

/// One connection, as the application knows it.
#[derive(Default)]
pub struct Account {
    /// Requests that it was called for.
    pub calls: usize,
    /// Streams and late answers that exist.
    pub alive: usize,
    /// The wait that it has announced, and until when.
    pub pending: Option<Option<Moment>>,
    /// How often it may be asked in this turn without its time having come: woken, told something.
    pub reasons: usize,
    /// How often it was woken since the server last listened.
    pub wakes: usize,
    /// Bytes owed when its turn began, and drawn since.
    pub owed: usize,
    pub drawn: usize,
    /// Bytes written until now, and when its turn began.
    pub written: Rc<Cell<usize>>,
    pub written_before: usize,
    /// Requests that it was called for when its turn began.
    pub calls_before: usize,
    /// Requests whose content was not wanted before it was there.
    pub declined: Vec<usize>,
    /// Requests whose content is read as it comes.
    pub passed: Vec<usize>,
    /// The requests among them whose answer begins before their content has ended.
    pub early: Vec<usize>,
    /// Requests whose answer was begun while the server shut down.
    pub last_ones: Vec<usize>,
    /// Exchanges in the journal, by the number of the request.
    pub records: Vec<(usize, Outcome)>,
    /// The tunnel that has taken the connection over.
    pub tunnel: Option<Tunneled>,
}

impl Account {
    /// The tunnel that has the connection now.
    pub fn present_tunnel(&self) -> Option<&Tunneled> {
        self.tunnel.as_ref().filter(|_| self.alive > 0)
    }
}

/// The notes on a tunnel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tunneled {
    /// Bytes that it was sent, and has given.
    pub received: usize,
    pub given: usize,
    /// Whether it was told that the client has ended its side, or that the server drains.
    pub knows_end: bool,
    pub knows_drain: bool,
    /// Whether it has taken nothing, and was not asked for a piece since.
    pub is_refusing: bool,
    /// How it has ended by itself.
    pub ending: Option<Ending>,
}

/// Somebody in another thread who will wake a connection.
pub struct Job {
    pub connection: usize,
    pub is_done: Arc<AtomicBool>,
    pub wakeup: Wakeup,
}

/// The notes of application and world.
pub struct Ledger {
    pub accounts: Vec<Account>,
    pub jobs: Vec<Job>,
    /// The wake-ups of all connections: somebody may use one at any time.
    pub wakeups: Vec<(usize, Wakeup)>,
    /// Everyone who was accepted, in this order.
    pub accepted: Rc<RefCell<Vec<usize>>>,
    /// Whether the application takes requests.
    pub is_ready: bool,
    /// The connection for which it was called although it takes no requests.
    pub called_unready: Option<usize>,
    /// Violations, in sentences.
    pub violations: Vec<String>,
    pub output_bytes_high: usize,
    pub is_draining: bool,
}

pub type Shared = Rc<RefCell<Ledger>>;

/// Lets requests in while the application takes some.
pub struct Hooks(pub Shared);

impl LoopHooks for Hooks {
    fn is_ready(&self) -> bool {
        self.0.borrow().is_ready
    }
}

/// The application of all connections.
pub struct Application {
    pub scripts: Rc<Vec<Script>>,
    pub ledger: Shared,
}

impl Gateway for Application {
    fn call(
        &mut self,
        environ: &mut Environ<'_>,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let (connection, number) = numbers(environ);
        self.check(connection, number, environ);
        self.ledger.borrow_mut().wakeups.push((connection, environ.wakeup()));
        let promise = Promise {
            scripts: self.scripts.clone(),
            ledger: self.ledger.clone(),
            connection,
            number,
            wakeup: environ.wakeup(),
            upgrade: environ.upgrade("echo"),
        };
        if promise.account(|account| account.passed.contains(&number)) {
            let content = environ.take_incoming();
            if promise.item().is_early() {
                promise.account(|account| account.early.push(number));
                return promise.answer_early(content, start_response);
            }
            return Ok(start_response.later(None, Reader { promise: promise.begin(), content, read: 0 }));
        }
        promise.item().answer(&promise, start_response)
    }

    fn admit(&self, environ: &Environ<'_>) -> Admission {
        let (connection, number) = numbers(environ);
        // What is to be refused names no connection.
        let item = self.scripts.get(connection).and_then(|script| script.items.get(number));
        let Some(Kind::Good { admission, .. }) = item.map(|item| &item.kind) else {
            return Admission::Collect;
        };
        let account = &mut self.ledger.borrow_mut().accounts[connection];
        match admission {
            Admission::FromHead => account.declined.push(number),
            Admission::AsItComes => account.passed.push(number),
            _ => {}
        }
        *admission
    }
}

/// Connection and request, as the path says.
fn numbers(environ: &Environ<'_>) -> (usize, usize) {
    let mut numbers = environ.raw_path()[1..].split('/').map(|number| number.parse().unwrap_or(usize::MAX));
    (numbers.next().unwrap(), numbers.next().unwrap_or(usize::MAX))
}

impl Application {
    /// Checks that this is the right request, on the right connection, once, with the content that was sent.
    fn check(&self, connection: usize, number: usize, environ: &mut Environ<'_>) {
        let mut got = Vec::new();
        let read = environ.content().read_to_end(&mut got);
        let mut ledger = self.ledger.borrow_mut();
        let expected = ledger.accounts[connection].calls;
        // The server counts from 1.
        let asker = environ.client().connection_id as usize - 1;
        let asker = ledger.accepted.borrow()[asker];
        if !ledger.is_ready {
            ledger.called_unready = Some(connection);
        }
        if asker != connection || number != expected || ledger.accounts[connection].pending.is_some() {
            let what = format!("{asker} asks for {connection}/{number}, and {expected} was next");
            ledger.violations.push(what);
        }
        if ledger.accounts[connection].passed.contains(&number) {
            // It counts once its content is there, as if it had been collected.
            return;
        }
        ledger.accounts[connection].calls += 1;
        let length = match self.scripts[connection].items[number].kind {
            Kind::Good { .. } if ledger.accounts[connection].declined.contains(&number) => 0,
            Kind::Good { body, .. } => body,
            Kind::Bad(_) => return ledger.violations.push(format!("{connection}/{number} was accepted")),
        };
        let is_chunked = environ.field("Transfer-Encoding").is_some();
        let is_declined = ledger.accounts[connection].declined.contains(&number);
        let behind = trailer(connection, number).filter(|_| is_chunked && !is_declined);
        let trailers: Vec<_> = environ.trailers().iter().collect();
        let expected: Vec<_> = behind.iter().map(|value| ("X-Sum", value.as_bytes())).collect();
        if trailers != expected || environ.field("X-Sum").is_some() {
            ledger.violations.push(format!("{connection}/{number}: other trailers, {trailers:?}"));
        }
        if read.is_err() || got != content(connection, number, false, length) {
            ledger.violations.push(format!("{connection}/{number}: other content, {} bytes", got.len()));
        }
    }
}

/// The answer to one request, and all it takes to give it.
#[derive(Clone)]
struct Promise {
    scripts: Rc<Vec<Script>>,
    ledger: Shared,
    connection: usize,
    number: usize,
    wakeup: Wakeup,
    upgrade: Option<Upgrade>,
}

impl Promise {
    fn item(&self) -> &Item {
        &self.scripts[self.connection].items[self.number]
    }

    fn account<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.ledger.borrow_mut().accounts[self.connection])
    }

    fn content(&self, length: usize) -> &'static [u8] {
        content(self.connection, self.number, true, length)
    }

    fn head<'a>(
        &self,
        start_response: StartResponse<'a>,
        declared: Option<usize>,
    ) -> Result<ResponseHead<'a>, GatewayError> {
        let Kind::Good { status, says_close, .. } = self.item().kind else {
            return Err(GatewayError::new("a request that should have been refused"));
        };
        let is_draining = self.ledger.borrow().is_draining;
        if is_draining {
            self.account(|account| account.last_ones.push(self.number));
        }
        let id = format!("{}/{}", self.connection, self.number);
        let mut head = start_response.status(status).field("X-Answer", id);
        if says_close {
            head = head.field("Connection", "close");
        }
        Ok(match declared {
            Some(length) => head.field("Content-Length", length.to_string()),
            None => head,
        })
    }

    fn answer(&self, answer: &Answer, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        match answer {
            Answer::Send(length, holding) => {
                let content = self.content(*length);
                self.head(start_response, None)?.send(match holding {
                    0 => Content::Borrowed(content),
                    1 => Content::Owned(content.to_vec()),
                    2 => Content::Static(content),
                    _ => Content::Shared(content.into()),
                })
            }
            Answer::Write(lengths, declared, ending) => {
                let declared = declared.length(lengths.iter().sum());
                self.write(lengths, *ending, self.head(start_response, declared)?.start()?)
            }
            Answer::Stream(steps, declared, _) => {
                let declared = declared.length(total(steps));
                let admitted = declared.unwrap_or(usize::MAX);
                let promise = self.begin();
                let stream = Stream { promise, at: 0, drawn: 0, admitted, waiting: None, is_over: false };
                self.head(start_response, declared)?.stream(stream)
            }
            Answer::File { length, .. } => {
                let place = self.connection as u64 * OF_CONNECTION + self.number as u64 * OF_REQUEST;
                let range = FileRange {
                    file: File::open("/dev/null")?.into(),
                    offset: place,
                    length: *length as u64,
                };
                self.head(start_response, None)?.file(range)
            }
            Answer::Later(_, _) => {
                let mut late = Late { promise: self.begin(), at: 0, waiting: None };
                let until = late.wait(start_response.now()).unwrap_or(None);
                Ok(start_response.later(until, late))
            }
            Answer::Fail { panics, begins } => {
                let _begun = begins.then(|| self.head(start_response, None).and_then(|head| head.start()));
                fail(*panics)
            }
            Answer::Tunnel(plan) => {
                let upgrade = self.upgrade.as_ref().ok_or(GatewayError::new("no upgrade was asked for"))?;
                let id = format!("{}/{}", self.connection, self.number);
                self.account(|account| account.tunnel = Some(Tunneled::default()));
                start_response.upgrade(upgrade).field("X-Answer", id).tunnel(Echo::new(self.begin(), plan))
            }
        }
    }

    /// Begins to answer while the content is still coming.
    fn answer_early(
        &self,
        content: IncomingContent,
        start_response: StartResponse<'_>,
    ) -> Result<Body, GatewayError> {
        let promise = self.begin();
        let stream = Stream { promise, at: 0, drawn: 0, admitted: usize::MAX, waiting: None, is_over: false };
        self.head(start_response, None)?.stream(Early { stream, content: Some(content), read: 0 })
    }

    /// Compares content that has come with what was sent, of which `read` bytes had come before.
    fn check_content(&self, read: usize, bytes: &[u8]) {
        let Kind::Good { body, .. } = self.item().kind else { unreachable!("only good requests are read") };
        let expected = content(self.connection, self.number, false, body);
        if expected.get(read..).is_none_or(|rest| !rest.starts_with(bytes))
            || (bytes.is_empty() && read < body)
        {
            let what = format!("{}/{}: other content, after {read} bytes", self.connection, self.number);
            self.ledger.borrow_mut().violations.push(what);
        }
    }

    fn write(&self, lengths: &[usize], ending: Ending, mut writer: Writer<'_>) -> Result<Body, GatewayError> {
        let mut rest = self.content(lengths.iter().sum());
        for length in lengths {
            writer.write(&rest[..*length])?;
            rest = &rest[*length..];
        }
        match ending {
            Ending::End => writer.finish(),
            Ending::Error => fail(false),
            Ending::Panic => fail(true),
        }
    }

    /// Counts itself as long as it lives.
    fn begin(&self) -> Alive {
        self.account(|account| account.alive += 1);
        Alive(self.clone())
    }

    /// Notes that it waits from now on, and lets somebody work on it.
    fn wait(&self, wait: Wait, now: Moment) -> Waiting {
        let waiting = Waiting {
            until: wait.until.map(|millis| now + Duration::from_millis(millis)),
            is_done: Arc::default(),
        };
        if wait.has_job {
            let (connection, is_done) = (self.connection, waiting.is_done.clone());
            let job = Job { connection, is_done, wakeup: self.wakeup.clone() };
            self.ledger.borrow_mut().jobs.push(job);
        }
        self.note_pending(waiting.until);
        waiting
    }

    fn note_pending(&self, until: Option<Moment>) {
        self.account(|account| account.pending = Some(until));
    }

    /// Notes that somebody asks again, which needs a reason.
    fn note_asked(&self, waiting: Option<&Waiting>, now: Moment) {
        let is_due = waiting.is_none_or(|waiting| waiting.until.is_some_and(|until| until <= now));
        let is_right = self.account(|account| {
            account.pending = None;
            let is_right = is_due || account.reasons > 0;
            account.reasons -= usize::from(!is_due && is_right);
            is_right
        });
        if !is_right {
            let what = format!("{}/{} was asked again unasked", self.connection, self.number);
            self.ledger.borrow_mut().violations.push(what);
        }
    }
}

fn fail<T>(panics: bool) -> Result<T, GatewayError> {
    if panics {
        std::panic::panic_any(ON_PURPOSE);
    }
    Err(GatewayError::new(ON_PURPOSE))
}

fn total(steps: &[Step]) -> usize {
    steps.iter().map(|step| if let Step::Data(length) = step { *length } else { 0 }).sum()
}

impl Declared {
    /// Returns the Content-Length for `total` bytes.
    pub fn length(self, total: usize) -> Option<usize> {
        match self {
            Declared::No => None,
            Declared::Right => Some(total),
            Declared::More => Some(total + 7),
            Declared::Less => Some(total / 2),
        }
    }
}

/// Something the server holds; it must let go of it.
struct Alive(Promise);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.account(|account| {
            account.alive -= 1;
            account.pending = None;
        });
    }
}

/// The wait of an answer.
struct Waiting {
    until: Option<Moment>,
    is_done: Arc<AtomicBool>,
}

impl Waiting {
    fn is_over(&self, now: Moment) -> bool {
        self.is_done.load(Ordering::Relaxed) || self.until.is_some_and(|until| until <= now)
    }
}

/// Reads content as it comes, and answers once all of it has.
struct Reader {
    promise: Alive,
    content: IncomingContent,
    read: usize,
}

impl Later for Reader {
    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let promise = self.promise.0.clone();
        loop {
            match self.content.next_piece()? {
                Piece::Data(bytes) => {
                    promise.check_content(self.read, bytes);
                    self.read += bytes.len();
                }
                Piece::Pending { until } => return Ok(start_response.later_boxed(until, self)),
                Piece::End => break,
            }
        }
        promise.check_content(self.read, &[]);
        drop(self);
        promise.account(|account| account.calls += 1);
        promise.item().answer(&promise, start_response)
    }
}

/// Gives the first piece of an answer while content is still coming, and the rest once all of it has.
struct Early {
    stream: Stream,
    content: Option<IncomingContent>,
    read: usize,
}

impl BodyStream for Early {
    fn client_has_finished(&mut self) {
        self.stream.client_has_finished();
    }

    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        self.stream.trailers()
    }

    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        let promise = self.stream.promise.0.clone();
        while let Some(content) = &mut self.content {
            match content.next_piece()? {
                Piece::Data(bytes) => {
                    promise.check_content(self.read, bytes);
                    self.read += bytes.len();
                    // If the server did not read because too much has waited, it is woken by this.
                    promise.account(|account| account.wakes += 1);
                }
                Piece::Pending { .. } if self.stream.at == 0 => break,
                Piece::Pending { until } => return Ok(Piece::Pending { until }),
                Piece::End => {
                    promise.check_content(self.read, &[]);
                    promise.account(|account| account.calls += 1);
                    self.content = None;
                }
            }
        }
        self.stream.next_piece(now)
    }
}

struct Late {
    promise: Alive,
    at: usize,
    waiting: Option<Waiting>,
}

impl Late {
    /// Begins the next wait: until when, or none if all are over.
    fn wait(&mut self, now: Moment) -> Option<Option<Moment>> {
        let promise = self.promise.0.clone();
        let (waits, _) = promise.item().late();
        let wait = waits.get(self.at)?;
        self.at += 1;
        self.waiting = Some(promise.wait(*wait, now));
        self.waiting.as_ref().map(|waiting| waiting.until)
    }
}

impl Later for Late {
    fn client_has_finished(&mut self) {
        self.promise.0.account(|account| account.reasons += 1);
    }

    fn resume(mut self: Box<Self>, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let now = start_response.now();
        let promise = self.promise.0.clone();
        promise.note_asked(self.waiting.as_ref(), now);
        if let Some(waiting) = &self.waiting
            && !waiting.is_over(now)
        {
            promise.note_pending(waiting.until);
            return Ok(start_response.later_boxed(waiting.until, self));
        }
        if let Some(until) = self.wait(now) {
            return Ok(start_response.later_boxed(until, self));
        }
        drop(self);
        promise.answer(promise.item().late().1, start_response)
    }
}

/// The end of a tunnel: sends back what it is sent.
struct Echo {
    promise: Alive,
    plan: TunnelPlan,
    waiting: Option<Waiting>,
    waits_begun: usize,
    pieces: usize,
    stored: Vec<u8>,
    current: Vec<u8>,
    is_leaving: bool,
}

impl Echo {
    fn new(promise: Alive, plan: &TunnelPlan) -> Echo {
        Echo {
            promise,
            plan: plan.clone(),
            waiting: None,
            waits_begun: 0,
            pieces: 0,
            stored: Vec::new(),
            current: Vec::new(),
            is_leaving: false,
        }
    }

    /// Changes the notes of it; returns what they are then.
    fn note(&self, change: impl FnOnce(&mut Tunneled)) -> Tunneled {
        self.promise.0.account(|account| {
            let tunnel = account.tunnel.as_mut().expect("it was noted when it began");
            change(tunnel);
            *tunnel
        })
    }

    /// Notes that it is told something, and so asked for a piece; `is_wrong` says why it should not be told.
    fn hear(&self, is_wrong: Option<&str>) {
        let promise = &self.promise.0;
        promise.account(|account| account.reasons += 1);
        let what = is_wrong.map(|what| format!("{}/{} {what}", promise.connection, promise.number));
        promise.ledger.borrow_mut().violations.extend(what);
    }

    fn end(&mut self, ending: Ending) -> Result<Piece<'_>, GatewayError> {
        self.note(|tunnel| tunnel.ending = Some(ending));
        match ending {
            Ending::End => Ok(Piece::End),
            Ending::Error => fail(false),
            Ending::Panic => fail(true),
        }
    }
}

impl BodyStream for Echo {
    fn client_has_finished(&mut self) {
        let knows_end = self.note(|_| {}).knows_end;
        self.hear(knows_end.then_some("is told twice that the client has ended"));
    }

    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        let notes = self.note(|tunnel| tunnel.is_refusing = false);
        self.promise.0.note_drawn(self.waiting.as_ref(), notes.ending.is_some(), now);
        if let Some(waiting) = self.waiting.take_if(|waiting| !waiting.is_over(now)) {
            self.promise.0.note_pending(waiting.until);
            let until = waiting.until;
            self.waiting = Some(waiting);
            return Ok(Piece::Pending { until });
        }
        if self.pieces > self.waits_begun
            && let Some(wait) = self.plan.waits.get(self.waits_begun)
        {
            self.waits_begun += 1;
            let waiting = self.promise.0.wait(*wait, now);
            let until = waiting.until;
            self.waiting = Some(waiting);
            return Ok(Piece::Pending { until });
        }
        self.waiting = None;
        match self.plan.ends_after {
            Some((bytes, ending)) if notes.given >= bytes => return self.end(ending),
            _ if !self.stored.is_empty() => {}
            _ if notes.knows_end || self.is_leaving => return self.end(Ending::End),
            _ => {
                // Whatever it is told is a reason to ask again, and nothing else is.
                self.promise.0.note_pending(None);
                self.waiting = Some(Waiting { until: None, is_done: Arc::new(AtomicBool::new(true)) });
                return Ok(Piece::Pending { until: None });
            }
        }
        self.current = self.stored.drain(..self.plan.most.min(self.stored.len())).collect();
        self.pieces += 1;
        self.note(|tunnel| tunnel.given += self.current.len());
        self.promise.0.account(|account| account.drawn += self.current.len());
        Ok(Piece::Data(&self.current))
    }

    /// So much that what it takes is seen in the account.
    fn held_bytes(&self) -> usize {
        2 * self.stored.len()
    }
}

impl Tunnel for Echo {
    fn receive(&mut self, bytes: &[u8]) -> Result<usize, GatewayError> {
        let notes = self.note(|_| {});
        let promise = &self.promise.0;
        let expected = content(promise.connection, promise.number, false, self.plan.bytes);
        let wrong = match () {
            () if bytes.is_empty() || notes.ending.is_some() || notes.knows_end => {
                Some("gets bytes after all")
            }
            () if !expected[notes.received..].starts_with(bytes) => Some("gets other bytes"),
            () if notes.is_refusing => Some("is offered bytes that it has just refused"),
            () => None,
        };
        if let Some(what) = wrong {
            self.hear(Some(what));
        }
        let taken = bytes.len().min(self.plan.room - self.stored.len());
        self.note(|tunnel| tunnel.is_refusing = taken == 0);
        if taken > 0 {
            self.hear(None);
            self.stored.extend_from_slice(&bytes[..taken]);
            self.note(|tunnel| tunnel.received += taken);
        }
        Ok(taken)
    }

    fn receive_end(&mut self) {
        let knows_end = self.note(|_| {}).knows_end;
        self.hear(knows_end.then_some("is told of the end twice"));
        self.note(|tunnel| tunnel.knows_end = true);
    }

    fn server_is_draining(&mut self) {
        let is_draining = self.promise.0.ledger.borrow().is_draining;
        let is_wrong = self.note(|_| {}).knows_drain || !is_draining;
        self.hear(is_wrong.then_some("is told of a drain for no reason"));
        self.note(|tunnel| tunnel.knows_drain = true);
        self.is_leaving = self.plan.leaves;
    }
}

struct Stream {
    promise: Alive,
    at: usize,
    drawn: usize,
    /// The most bytes that are sent.
    admitted: usize,
    waiting: Option<Waiting>,
    is_over: bool,
}

impl BodyStream for Stream {
    fn client_has_finished(&mut self) {
        self.promise.0.account(|account| account.reasons += 1);
    }

    fn trailers(&mut self) -> Vec<(String, Vec<u8>)> {
        let Promise { connection, number, ref ledger, .. } = self.promise.0;
        if !self.is_over {
            ledger.borrow_mut().violations.push(format!("{connection}/{number} ends before its content"));
        }
        trailer(connection, number)
            .map(|value| ("X-Sum".to_string(), value.into_bytes()))
            .into_iter()
            .collect()
    }

    fn next_piece(&mut self, now: Moment) -> Result<Piece<'_>, GatewayError> {
        let promise = &self.promise.0;
        promise.note_drawn(self.waiting.as_ref(), self.is_over, now);
        if let Some(waiting) = self.waiting.take_if(|waiting| !waiting.is_over(now)) {
            promise.note_pending(waiting.until);
            let until = waiting.until;
            self.waiting = Some(waiting);
            return Ok(Piece::Pending { until });
        }
        self.waiting = None;
        let (steps, ending) = promise.item().stream();
        let Some(step) = steps.get(self.at) else {
            self.is_over = true;
            return match ending {
                Ending::End => Ok(Piece::End),
                Ending::Error => fail(false),
                Ending::Panic => fail(true),
            };
        };
        self.at += 1;
        match *step {
            Step::Data(length) => {
                let piece = &promise.content(self.drawn + length)[self.drawn..];
                let before = self.drawn.min(self.admitted);
                self.drawn += length;
                let admitted = self.drawn.min(self.admitted) - before;
                promise.account(|account| account.drawn += admitted);
                Ok(Piece::Data(piece))
            }
            Step::Wait(wait) => {
                let waiting = promise.wait(wait, now);
                let until = waiting.until;
                self.waiting = Some(waiting);
                Ok(Piece::Pending { until })
            }
        }
    }
}

impl Promise {
    /// Notes that a piece was asked for: not after the end, not unasked, not beyond the mark.
    fn note_drawn(&self, waiting: Option<&Waiting>, is_over: bool, now: Moment) {
        self.note_asked(waiting, now);
        let mut ledger = self.ledger.borrow_mut();
        let account = &ledger.accounts[self.connection];
        // At least: heads and framing are not counted, where they have left they are.
        let left = account.written.get() - account.written_before;
        let owed = (account.owed + account.drawn).saturating_sub(left);
        if is_over || owed >= ledger.output_bytes_high {
            let what = format!("{}/{} drawn with {owed} owed", self.connection, self.number);
            ledger.violations.push(what);
        }
    }
}

impl Item {
    /// Answers, and lets two of three answers pass a filter that changes nothing.
    fn answer(&self, promise: &Promise, start_response: StartResponse<'_>) -> Result<Body, GatewayError> {
        let Kind::Good { answer, .. } = &self.kind else {
            return fail(false);
        };
        let passage = match (promise.connection + promise.number) % 3 {
            0 => return promise.answer(answer, start_response),
            // A filter that sees a file reads it from the real disk.
            1 if !answer.is_file() => Passage::Seen,
            _ => Passage::Unseen,
        };
        start_response.through(PassBy(passage), |start_response| promise.answer(answer, start_response))
    }

    /// Whether its answer begins before its content has ended, if that is read as it comes: where it can.
    fn is_early(&self) -> bool {
        match &self.kind {
            Kind::Good { answer: Answer::Stream(steps, Declared::No, _), status: 200 | 404, .. } => {
                matches!(steps[..], [Step::Data(_), _, ..])
            }
            Kind::Good { .. } | Kind::Bad(_) => false,
        }
    }

    fn late(&self) -> (&[Wait], &Answer) {
        match &self.kind {
            Kind::Good { answer: Answer::Later(waits, then), .. } => (waits, then),
            _ => unreachable!("only late answers are resumed"),
        }
    }

    /// Returns the content that is drawn, perhaps after some waiting.
    fn stream(&self) -> (&[Step], Ending) {
        let Kind::Good { answer, .. } = &self.kind else { unreachable!("only good requests are answered") };
        match answer {
            Answer::Stream(steps, _, ending) => (steps, *ending),
            Answer::Later(_, then) => match &**then {
                Answer::Stream(steps, _, ending) => (steps, *ending),
                _ => unreachable!("only streams are drawn"),
            },
            _ => unreachable!("only streams are drawn"),
        }
    }
}

/// Lets a response pass as it is.
struct PassBy(Passage);

impl Filter for PassBy {
    fn head(&mut self, _head: &mut PassingHead<'_>) -> Passage {
        self.0
    }
}
