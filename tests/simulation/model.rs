//! What must be true after each turn, and of every byte in the end.
//!
//! The model knows the script, how much the server has read, and what the application was asked. It
//! does not know how the server works.

use std::time::Duration;

use super::application::Account;
use super::disk::ROOM_BYTES;
use super::plan::{Answer, Declared, Ending, Item, Kind, Script, Step, content};
use super::response::{Framing, Response, read_all};
use super::server::Served;
use super::socket::End;
use crate::conversation::{Life, Outcome, Wants};
use crate::limits::Limits;
use crate::now::Moment;
use crate::reactor::connection::Cause;

/// One connection after a turn.
pub struct Scene<'a> {
    pub served: &'a Served,
    pub script: &'a Script,
    pub account: &'a Account,
    pub limits: &'a Limits,
    pub now: Moment,
}

/// What was seen of one connection so far.
#[derive(Default)]
pub struct Model {
    /// Where the client is, and since when: for the deadlines.
    place: Option<(Place, Moment)>,
    /// When the server last read something.
    last_byte: Moment,
    read: usize,
}

/// What the server waits for from the client: by the number of requests that were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between(usize),
    /// Some of the empty lines before a head were read.
    Blank(usize),
    Head(usize),
    Body(usize),
}

impl Model {
    /// What must hold after a turn; what does not, in sentences.
    pub fn watch(&mut self, scene: &Scene<'_>, cause: Option<Cause>, violations: &mut Vec<String>) {
        let Scene { served, script, account, limits, now } = *scene;
        let mut violate = |what: String| violations.push(format!("connection {}: {what}", served.number));
        if served.is_gone {
            if account.alive > 0 {
                violate(format!("{} streams and late answers outlive it", account.alive));
            }
            return;
        }
        if self.read < served.socket().read_by_server {
            self.read = served.socket().read_by_server;
            self.last_byte = now;
        }
        let deadline = served.state.deadline;
        let is_due = deadline.is_some_and(|deadline| deadline <= now);
        if cause == Some(Cause::Timer) && is_due && !served.is_ready {
            violate(format!("its deadline has come, and it lives on: {:?}", served.state.wants));
        }
        if served.state.is_lingering {
            return;
        }
        let has_answer = account.written.get() > account.written_before && served.state.owed == 0;
        let is_kept = served.state.is_idle && served.state.wants == Wants::Read && !served.is_held;
        if has_answer && is_kept && deadline.is_some_and(|deadline| deadline < now + limits.idle_timeout) {
            violate(format!("it has its answer only now, and must ask again until {deadline:?}"));
        }
        match served.state.wants {
            Wants::Read => match self.place(script, account.calls) {
                Some(place) => self.check_deadline(place, scene, violate),
                None => violate(format!("request {} is there, and nothing happens", account.calls)),
            },
            Wants::Application => match account.pending {
                Some(until) if until == served.state.of_conversation => {}
                Some(until) => violate(format!("the application waits until {until:?}, not {deadline:?}")),
                None => violate("it waits for an application that does not".to_string()),
            },
            Wants::Turn if !served.is_ready => violate("it wants a turn, and gets none".to_string()),
            Wants::Write if served.state.owed == 0 => violate("it waits to write nothing".to_string()),
            Wants::Turn | Wants::Write | Wants::Close(_) => {}
        }
    }

    /// Where in the script the server has come; none if it should have acted.
    fn place(&self, script: &Script, calls: usize) -> Option<Place> {
        match script.items.get(calls) {
            None => Some(Place::Between(calls)),
            Some(_) if calls.checked_sub(1).map_or(0, |last| script.items[last].end) >= self.read => {
                Some(Place::Between(calls))
            }
            Some(item) if self.read <= item.start => Some(Place::Blank(calls)),
            Some(item) if self.read < item.head_end => Some(Place::Head(calls)),
            Some(item) if self.read < item.end => Some(Place::Body(calls)),
            Some(_) => None,
        }
    }

    /// While bytes are awaited there is a deadline, and it is the right one at the latest.
    fn check_deadline(&mut self, place: Place, scene: &Scene<'_>, mut violate: impl FnMut(String)) {
        let Scene { served, script, limits, now, .. } = *scene;
        let deadline = served.state.deadline;
        let since = match self.place {
            Some((known, since)) if known == place => since,
            // The first head begins when the connection does.
            _ if place == Place::Head(0) => Moment::START,
            _ => now,
        };
        self.place = (served.state.owed == 0).then_some((place, since));
        if served.state.owed > 0 {
            // While something is owed, its deadline comes first.
            return;
        }
        let latest = match place {
            Place::Between(_) => since + limits.idle_timeout.max(limits.head_timeout),
            // Half an empty line may be the beginning of a head.
            Place::Blank(_) => (since + limits.idle_timeout).max(self.last_byte + limits.head_timeout),
            Place::Head(_) => since + limits.head_timeout,
            Place::Body(number) => {
                // What was read before its turn came counts from then.
                let stalled = self.last_byte.max(since) + limits.body_timeout;
                let bytes = (self.read - script.items[number].head_end) as u64;
                match (bytes * 1_000).checked_div(limits.body_rate_min.into()) {
                    Some(bought) => stalled.min(since + limits.body_timeout + Duration::from_millis(bought)),
                    None => stalled,
                }
            }
        };
        if deadline.is_none_or(|deadline| deadline > latest) {
            violate(format!("{place:?} since {since:?} lasts until {deadline:?}, not {latest:?}"));
        }
    }
}

/// Nothing is left, and the journal knows everything once.
pub fn judge_account(account: &Account, script: &Script, wants_exchanges: bool) -> Result<(), String> {
    if account.alive > 0 {
        return Err(format!("{} streams and late answers are left", account.alive));
    }
    for number in (0..account.calls).filter(|_| wants_exchanges) {
        let mut records = account.records.iter().filter(|(other, _)| *other == number);
        let (Some((_, outcome)), None) = (records.next(), records.next()) else {
            return Err(format!("request {number} does not stand in the journal once"));
        };
        if let (Outcome::Complete, Some(Fate::Cut(_))) = (outcome, script.items[number].fate()) {
            return Err(format!("request {number} is complete in the journal only"));
        }
    }
    Ok(())
}

impl Item {
    /// What is to come of it; none for what is refused.
    fn fate(&self) -> Option<Fate> {
        match &self.kind {
            Kind::Good { answer, status, .. } => {
                let has_content = self.method != "HEAD" && !matches!(status, 204 | 304);
                Some(fate(answer, has_content))
            }
            Kind::Bad(_) => None,
        }
    }
}

/// What must come of an answer that nothing disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// So many bytes, and the client knows that it is all.
    Whole(usize),
    /// At most so many, and the client knows that some are missing.
    Cut(usize),
    /// Nothing of it: 500.
    Failed,
}

fn fate(answer: &Answer, has_content: bool) -> Fate {
    let declared_fate = |total: usize, declared: Declared, ending: Ending, is_drawn: bool| {
        let length = declared.length(total);
        match (length, ending) {
            _ if is_drawn && !has_content => Fate::Whole(0),
            // Nothing more is drawn than was declared.
            (Some(length), _) if is_drawn && length <= total => Fate::Whole(length),
            (_, Ending::Error | Ending::Panic) if !is_drawn && total == 0 => Fate::Failed,
            _ if !has_content => Fate::Whole(0),
            (Some(length), _) if length <= total => Fate::Whole(length),
            (None, Ending::End) => Fate::Whole(total),
            _ => Fate::Cut(total),
        }
    };
    match answer {
        Answer::Send(length, _) => Fate::Whole(if has_content { *length } else { 0 }),
        Answer::Write(lengths, declared, ending) => {
            declared_fate(lengths.iter().sum(), *declared, *ending, false)
        }
        Answer::Stream(steps, declared, ending) => {
            let lengths = steps.iter().map(|step| if let Step::Data(length) = step { *length } else { 0 });
            declared_fate(lengths.sum(), *declared, *ending, true)
        }
        Answer::File { .. } if !has_content => Fate::Whole(0),
        Answer::File { length, left } if left >= length => Fate::Whole(*length),
        Answer::File { left, .. } => Fate::Cut(*left),
        Answer::Later(_, then) => fate(then, has_content),
        Answer::Fail { .. } => Fate::Failed,
    }
}

/// Every byte that was written on one connection.
pub fn judge_wire(
    connection: usize,
    served: &Served,
    script: &Script,
    account: &Account,
    life: Life,
    was_disk_full: bool,
) -> Result<(), String> {
    let socket = served.socket();
    // The method of a request that was refused is known only if it was read.
    let is_known =
        |number: usize, item: &Item| number < account.calls || socket.read_by_server >= item.start + 5;
    let methods = script.items.iter().enumerate();
    let methods = methods.map(|(number, item)| if is_known(number, item) { item.method } else { "GET" });
    let methods: Vec<_> = methods.collect();
    let wire = &socket.wire[..];
    let is_lost = served.is_abandoned || socket.is_broken;
    let mut responses = match read_all(wire, &methods) {
        Ok(responses) => responses,
        // A head may be cut where the connection was.
        Err(what) if what.contains("within a head") && is_lost => return Ok(()),
        Err(what) => return Err(format!("{what}: {:?}", String::from_utf8_lossy(wire))),
    };
    responses.retain(|response| response.code != 100);
    for (number, response) in responses.iter().enumerate() {
        let is_last = number + 1 == responses.len();
        if number < account.calls {
            judge_answer(connection, number, &script.items[number], response, served, is_last)?;
            let is_last_one =
                [&account.last_ones, &account.declined].iter().any(|those| those.contains(&number));
            if is_last_one && !response.says_close() {
                return Err(format!("answer {number} does not say that it is the last: {response}"));
            }
        } else {
            judge_refusal(number, script, response, served, account, was_disk_full)?;
        }
    }
    if is_lost {
        return Ok(());
    }
    if responses.len() < account.calls {
        return Err(format!("{} requests, {} answers", account.calls, responses.len()));
    }
    judge_rest(script, account, &responses, served, life)
}

/// One answer: of this connection, of this request, and as the application gave it.
fn judge_answer(
    connection: usize,
    number: usize,
    item: &Item,
    response: &Response,
    served: &Served,
    is_last: bool,
) -> Result<(), String> {
    let (Kind::Good { status, .. }, Some(fate)) = (&item.kind, item.fate()) else {
        return Err(format!("bad request {number} was answered: {response}"));
    };
    let is_open = response.framing == Framing::UntilClose;
    let looks_whole = if is_open { served.socket().end == Some(End::Fin) } else { !response.is_cut };
    if !is_last && !looks_whole {
        return Err(format!("something follows cut answer {number}"));
    }
    if fate == Fate::Failed {
        let is_right = response.code == 500 && response.field("X-Answer").is_none() && response.says_close();
        return if is_right { Ok(()) } else { Err(format!("no 500 for request {number}: {response}")) };
    }
    let id = format!("{connection}/{number}");
    if response.code != *status || response.field("X-Answer") != Some(&id) {
        return Err(format!("another answer than {id}: {response:?}"));
    }
    let (Fate::Whole(length) | Fate::Cut(length)) = fate else { unreachable!() };
    let expected = content(connection, number, true, length);
    if !expected.starts_with(&response.content) {
        return Err(format!("answer {number} has other content, {} bytes", response.content.len()));
    }
    let is_whole = matches!(fate, Fate::Whole(_)) && response.content.len() == length;
    if looks_whole && !is_whole {
        return Err(format!("answer {number} looks whole, and is not: {fate:?}"));
    }
    let is_lost = served.is_abandoned || served.socket().is_broken;
    match fate {
        Fate::Whole(_) if !is_lost && (!looks_whole || !is_whole) => {
            Err(format!("answer {number} was cut for no reason after {}", response.content.len()))
        }
        _ => Ok(()),
    }
}

/// A request that the application has not seen, and that was answered all the same.
fn judge_refusal(
    number: usize,
    script: &Script,
    response: &Response,
    served: &Served,
    account: &Account,
    was_disk_full: bool,
) -> Result<(), String> {
    let wrong = || Err(format!("request {number} was refused for no reason: {response}"));
    let (Some(item), true) = (script.items.get(number), number == account.calls) else {
        return Err(format!("an answer too many: {response}"));
    };
    let read = served.socket().read_by_server;
    if !response.says_close() || read <= item.start.saturating_sub(2) {
        return wrong();
    }
    let is_part = read < item.end;
    match (response.code, &item.kind) {
        (code, Kind::Bad(expected)) if code == *expected => Ok(()),
        (400, _) if is_part && served.socket().has_client_ended => Ok(()),
        (408, _) if is_part => Ok(()),
        (503, _) if was_disk_full => Ok(()),
        (503, Kind::Good { body, .. }) if *body > ROOM_BYTES => Ok(()),
        _ => wrong(),
    }
}

/// What was not answered has a reason.
fn judge_rest(
    script: &Script,
    account: &Account,
    responses: &[Response],
    served: &Served,
    life: Life,
) -> Result<(), String> {
    let Some(next) = script.items.get(responses.len()) else {
        return Ok(());
    };
    let is_old = responses.len().checked_sub(1).is_some_and(|last| !script.items[last].is_http11);
    let is_last = responses.last().is_some_and(|last| last.says_close() || last.is_cut || is_old);
    let is_last = is_last || responses.last().is_some_and(|last| last.framing == Framing::UntilClose);
    // What is in one read with a request that ends the connection is no request.
    let is_ended_midway = account.calls > 0 && is_failing(&script.items[account.calls - 1]);
    if served.socket().read_by_server > next.start && !is_last && !is_ended_midway && life == Life::Running {
        return Err(format!("request {} got no answer", responses.len()));
    }
    Ok(())
}

/// Whether the answer can only be ended with the connection.
fn is_failing(item: &Item) -> bool {
    match &item.kind {
        Kind::Good { answer, .. } => {
            !matches!(fate(answer, true), Fate::Whole(_)) || is_failing_at_end(answer)
        }
        Kind::Bad(_) => true,
    }
}

/// Enough was given, and then it failed.
fn is_failing_at_end(answer: &Answer) -> bool {
    match answer {
        Answer::Write(_, _, ending) => *ending != Ending::End,
        Answer::Later(_, then) => is_failing_at_end(then),
        _ => false,
    }
}
