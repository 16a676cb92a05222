//! Checks what must hold after each turn, and for every byte in the end.
//!
//! The model knows the script, how much the server has read, and what the application was asked. It
//! does not know how the server works.

use std::time::Duration;

use super::application::{Account, Tunneled};
use super::disk::ROOM_BYTES;
use super::plan::{
    Answer, Declared, Ending, Item, Kind, Script, Step, TunnelPlan, content, takes_trailers, trailer,
};
use super::response::{Framing, Response, read_all};
use super::server::{Served, State};
use super::socket::{Closing, End};
use super::world::Stage;
use crate::conversation::{Budget, Outcome, ServerContext, Shutdown, Wants};
use crate::limits::Limits;
use crate::now::Moment;
use crate::reactor::socket::TURN_BYTES;

/// How long a server that shuts down waits for the first request.
const FIRST_REQUEST_PATIENCE: Duration = SECOND;
const SECOND: Duration = Duration::from_secs(1);

/// One connection after a step of the loop.
pub struct Scene<'a> {
    pub served: &'a Served,
    pub script: &'a Script,
    pub account: &'a Account,
    pub limits: &'a Limits,
    pub now: Moment,
    pub shutdown: Shutdown,
    /// Which step, and how the connection was before.
    pub stage: &'a Stage,
    pub before: &'a State,
    /// The application was called for it although it takes no requests.
    pub is_called_unready: bool,
    /// Memory may have been scarce at some time.
    pub is_memory_little: bool,
    /// Memory was scarce when the step began.
    pub was_scarce: bool,
    /// The work that a turn may do.
    pub budget: Budget,
    /// Since when others have come for the places of those who made room, without a pause.
    pub crowded_since: Option<Moment>,
}

/// The observations of one connection so far.
#[derive(Default)]
pub struct Model {
    /// Where the client is, and since when: for the deadlines.
    place: Option<(Place, Since)>,
    /// When the server last read something.
    last_byte: Moment,
    read: usize,
    /// For how long nothing was read since the gateway took nothing.
    excused: Duration,
    /// The flow of the present request's content, and the bytes of it that were read.
    arrival: Option<(Flow, usize)>,
    /// The flow of the output, and the bytes of it that were written.
    departure: Option<(Flow, usize)>,
    /// Since when an answer comes before the content that is still to come.
    paused: Option<Moment>,
    /// When a byte last moved in a tunnel, and how many had moved then.
    tunneled: Option<(Moment, usize)>,
}

/// How something long moves: each byte pays for the time that it may take.
#[derive(Clone, Copy)]
struct Flow {
    last_byte: Moment,
    paid_until: Moment,
}

impl Flow {
    fn new(now: Moment) -> Flow {
        Flow { last_byte: now, paid_until: now }
    }

    fn moved(&mut self, bytes: usize, now: Moment, timeout: Duration, rate_min: u32) {
        if bytes > 0 {
            self.last_byte = now;
            let paid = Duration::from_nanos(
                (bytes as u64 * 1_000_000_000).checked_div(rate_min.into()).unwrap_or(0),
            );
            self.paid_until = (self.paid_until + paid).min(now + timeout * 3);
        }
    }

    fn deadline(&self, timeout: Duration, rate_min: u32) -> Moment {
        let stalled = self.last_byte + timeout;
        if rate_min == 0 { stalled } else { stalled.min(self.paid_until + timeout) }
    }
}

/// Since when a client is where it is.
#[derive(Clone, Copy)]
struct Since {
    place: Moment,
    /// The time when something began that may have been a head.
    head: Moment,
    /// The time when the wait for it began.
    kept: Moment,
}

/// The thing that the server waits for from the client, by the number of requests that were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Between(usize),
    /// Some of the empty lines before a head were read.
    Blank(usize),
    Head(usize),
    Body(usize),
}

impl Model {
    /// Checks what must hold after a turn, and reports violations in sentences.
    pub fn watch(&mut self, scene: &Scene<'_>, violations: &mut Vec<String>) {
        let Scene { served, script, account, limits, now, .. } = *scene;
        let mut violate = |what: String| violations.push(format!("connection {}: {what}", served.number));
        check_end(scene, &mut violate);
        check_turn(scene, self.read, &mut violate);
        self.check_room(scene, &mut violate);
        if served.is_gone() {
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
        self.check_waiting(scene, &mut violate);
        if served.state.waiting_since.is_some() {
            return;
        }
        self.check_output(scene, &mut violate);
        if served.state.is_lingering {
            if deadline != served.ended.map(|ended| ended + limits.linger_timeout) {
                violate(format!("it lingers until {deadline:?}, and has ended at {:?}", served.ended));
            }
            return;
        }
        let has_answer = account.written.get() > account.written_before && served.state.owed == 0;
        let is_kept = scene.shutdown == Shutdown::No
            && served.state.is_idle
            && served.state.wants == Wants::Read
            && !served.state.is_corked;
        if has_answer && is_kept && deadline.is_some_and(|deadline| deadline < now + limits.idle_timeout) {
            violate(format!("it has its answer only now, and must ask again until {deadline:?}"));
        }
        if let Some(tunnel) = account.present_tunnel() {
            return self.check_tunnel(tunnel, scene, violate);
        }
        if account.early.contains(&account.calls) {
            self.pause(scene);
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
            // Where memory has become ample meanwhile, it goes on when something has left.
            Wants::Turn if !served.state.is_ready && (served.state.owed == 0 || !scene.is_memory_little) => {
                violate("it wants a turn, and gets none".to_string())
            }
            Wants::Write if served.state.owed == 0 => violate("it waits to write nothing".to_string()),
            // It reads on when that has left.
            Wants::Write if served.state.is_idle || served.state.of_conversation.is_some() => {
                if let Some(place) = self.place(script, account.calls) {
                    self.track(place, scene);
                }
            }
            Wants::Turn | Wants::Write | Wants::ReadOrWrite | Wants::Close(_) => {}
        }
    }

    /// Excuses the client for the time in which the answer that it has not read comes before its content.
    fn pause(&mut self, scene: &Scene<'_>) {
        let Scene { served, script, account, now, .. } = *scene;
        if let (Some(since), Some((arrival, _))) = (self.paused, &mut self.arrival) {
            let time = now.since(since);
            arrival.last_byte = arrival.last_byte + time;
            arrival.paid_until = arrival.paid_until + time;
        }
        self.paused = (served.state.wants != Wants::Read).then_some(now);
        if let (Some(_), Some(place)) = (self.paused, self.place(script, account.calls)) {
            self.track(place, scene);
        }
    }

    /// Checks that a tunnel is given up when nothing moves, and asked when it wants to be.
    fn check_tunnel(&mut self, tunnel: &Tunneled, scene: &Scene<'_>, mut violate: impl FnMut(String)) {
        let Scene { served, account, limits, now, .. } = *scene;
        let bytes = tunnel.received + tunnel.given;
        if self.tunneled.is_none_or(|(_, known)| known != bytes) {
            self.tunneled = Some((now, bytes));
        }
        let latest = self.tunneled.map(|(moved, _)| moved + limits.tunnel_timeout);
        let pending = account.pending.flatten().into_iter().chain(latest).min();
        let (wants, deadline) = (served.state.wants, served.state.of_conversation);
        let is_right = match wants {
            Wants::Read | Wants::Application => account.pending.is_some() && deadline == pending,
            // It is asked as soon as there is room, or a turn.
            Wants::ReadOrWrite | Wants::Write => served.state.owed > 0 && deadline == latest,
            Wants::Turn => served.state.is_ready && deadline == latest,
            Wants::Close(_) => false,
        };
        let takes_input = !tunnel.is_refusing && !tunnel.knows_end;
        let is_offered = match wants {
            Wants::Read | Wants::ReadOrWrite => takes_input,
            Wants::Application => !takes_input,
            Wants::Write | Wants::Turn | Wants::Close(_) => true,
        };
        if (!is_right && !scene.is_memory_little) || !is_offered {
            violate(format!("a tunnel wants {wants:?} until {deadline:?}, not {pending:?}: {tunnel:?}"));
        }
    }

    /// Whether more was read than is known.
    pub fn is_behind(&self, served: &Served) -> bool {
        self.read < served.socket().read_by_server
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

    /// Checks that a connection which makes room has asked for nothing. It waits for its next request, or has
    /// had its time for its first, or for the rest of a head: a second, and less where others come all the
    /// time.
    fn check_room(&mut self, scene: &Scene<'_>, violate: &mut impl FnMut(String)) {
        let Scene { served, account, script, now, before, .. } = *scene;
        if !served.has_made_room || served.socket().is_broken {
            return;
        }
        let begun = match self.place(script, account.calls) {
            _ if before.is_lingering => served.ended,
            Some(Place::Between(0) | Place::Blank(0)) => served.accepted,
            Some(Place::Blank(_) | Place::Head(_)) => self.place.map(|(_, since)| since.head),
            Some(Place::Between(_) | Place::Body(_)) | None => None,
        };
        let crowded = scene.crowded_since.map_or(0, |since| now.since(since).as_millis());
        let time = SECOND / [1, 2, 4, 8, 16, 32, 64, 128][(crowded / 50).min(7) as usize];
        let has_had_its_time = begun.is_some_and(|begun| begun + time <= now);
        if before.idle_since.is_none() && !has_had_its_time {
            violate(format!("it made room, and was busy: {before:?}"));
        }
    }

    /// Checks that a connection which waits for the gateway has a deadline of its own, and that its others
    /// are put off by as much.
    fn check_waiting(&mut self, scene: &Scene<'_>, violate: &mut impl FnMut(String)) {
        let Scene { served, limits, now, shutdown, stage, before, .. } = *scene;
        let is_read = matches!(stage, Stage::Events(_) | Stage::Accept | Stage::Remainders);
        let could_wait = before.wants == Wants::Read && before.owed == 0 && shutdown == Shutdown::No;
        let is_due =
            before.waiting_since.is_some() && before.deadline.is_some_and(|deadline| deadline <= now);
        // What follows upon content that is read as it comes may come in the same read.
        let is_passed = scene.account.passed.contains(&scene.account.calls_before);
        if scene.is_called_unready && is_read && could_wait && !is_due && !is_passed {
            violate("the application was called, and takes no requests".to_string());
        }
        if let Some(since) = before.waiting_since
            && served.state.waiting_since.is_none()
        {
            self.excuse(now.since(since));
        }
        if let Some(since) = served.state.waiting_since {
            let patience = if served.state.knows_end {
                SECOND.min(limits.gateway_timeout)
            } else {
                limits.gateway_timeout
            };
            let begun = before.waiting_since.unwrap_or(now);
            if since != begun || served.state.deadline != Some(begun + patience) {
                violate(format!("it waits since {begun:?}, and until {:?}", served.state.deadline));
            }
        }
    }

    /// Excuses a time in which nothing was read.
    fn excuse(&mut self, time: Duration) {
        if let Some((place, since)) = &mut self.place {
            since.place = since.place + time;
            since.head = since.head + time;
            // Half an empty line may have begun a head, that ends again with the other half.
            since.kept = if matches!(place, Place::Blank(_)) { since.kept } else { since.kept + time };
        }
        self.excused += time;
        self.last_byte = self.last_byte + time;
        if let Some((arrival, _)) = &mut self.arrival {
            arrival.last_byte = arrival.last_byte + time;
            arrival.paid_until = arrival.paid_until + time;
        }
    }

    /// While something is owed, the peer must take of it: neither stall nor be too slow. Nothing else counts where
    /// nothing else is going on.
    fn check_output(&mut self, scene: &Scene<'_>, violate: &mut impl FnMut(String)) {
        let Scene { served, account, limits, now, .. } = *scene;
        let written = account.written.get();
        if served.state.owed == 0 {
            self.departure = None;
            return;
        }
        let (flow, known) = self.departure.get_or_insert((Flow::new(now), written));
        flow.moved(written - *known, now, limits.write_timeout, limits.output_rate_min);
        *known = written;
        let until = flow.deadline(limits.write_timeout, limits.output_rate_min);
        let expected = match served.state.of_conversation {
            Some(of_conversation) if !served.state.is_idle => until.min(of_conversation),
            _ => until,
        };
        if served.state.deadline != Some(expected) {
            violate(format!("it must take something until {:?}, not {expected:?}", served.state.deadline));
        }
    }

    /// Where the client is, and since when.
    fn track(&mut self, place: Place, scene: &Scene<'_>) -> Since {
        let Scene { served, script, now, before, limits, .. } = *scene;
        let is_owed = served.state.owed > 0 || before.owed > 0;
        let accepted = served.accepted.unwrap_or(now) + self.excused;
        let place_since = match (self.place, place) {
            // A client that has not its answer is not asked for its next request.
            (_, Place::Between(1..) | Place::Blank(1..)) if is_owed => now,
            (Some((known, since)), _) if known == place => since.place,
            // The first head begins when the connection does.
            (_, Place::Between(0) | Place::Blank(0) | Place::Head(0)) => accepted,
            _ => now,
        };
        let since = match (self.place, place) {
            (Some((Place::Blank(_), known)), Place::Blank(_)) if !is_owed => {
                Since { place: place_since, ..known }
            }
            (Some((Place::Blank(_), known)), Place::Blank(_)) => Since { place: now, kept: now, ..known },
            (Some((Place::Between(_), known)), Place::Blank(_)) if !is_owed => {
                Since { place: place_since, head: place_since, kept: known.kept }
            }
            (Some((Place::Blank(_) | Place::Head(_), known)), Place::Head(_)) => {
                Since { place: place_since, ..known }
            }
            _ => Since { place: place_since, head: place_since, kept: place_since },
        };
        match place {
            Place::Body(number) => {
                let begun = script.items[number].head_end;
                // What follows upon a request in the same read is another's.
                self.arrival =
                    self.arrival.filter(|_| matches!(self.place, Some((known, _)) if known == place));
                let (arrival, known) = self.arrival.get_or_insert((Flow::new(place_since), begun));
                arrival.moved(self.read - *known, now, limits.body_timeout, limits.body_rate_min);
                *known = self.read;
            }
            Place::Between(_) | Place::Blank(_) | Place::Head(_) => self.arrival = None,
        }
        self.place = Some((place, since));
        since
    }

    /// While bytes are awaited there is a deadline, and it is the right one: no later, and no earlier.
    fn check_deadline(&mut self, place: Place, scene: &Scene<'_>, mut violate: impl FnMut(String)) {
        let Scene { served, limits, shutdown, .. } = *scene;
        let deadline = served.state.deadline;
        let Since { place: since, head, kept } = self.track(place, scene);
        if served.state.owed > 0 {
            // While something is owed, its deadline comes first.
            return;
        }
        let latest = match place {
            Place::Between(_) => since + limits.idle_timeout.max(limits.head_timeout),
            // Half an empty line may be the beginning of a head.
            Place::Blank(_) => (since + limits.idle_timeout).max(self.last_byte + limits.head_timeout),
            Place::Head(_) => since + limits.head_timeout,
            Place::Body(_) => match &self.arrival {
                Some((arrival, _)) => arrival.deadline(limits.body_timeout, limits.body_rate_min),
                None => since + limits.body_timeout,
            },
        };
        // A server that hands over waits for the last request of who is kept.
        let handed_over = match (place, shutdown) {
            (Place::Between(1..) | Place::Blank(1..), Shutdown::HandingOver(until)) => Some(until),
            _ => None,
        };
        let latest = handed_over.map_or(latest, |until| until.max(latest));
        if deadline.is_none_or(|deadline| deadline > latest) {
            violate(format!("{place:?} since {since:?} lasts until {deadline:?}, not {latest:?}"));
        }
        let earliest = match place {
            Place::Between(0) | Place::Blank(0) if shutdown != Shutdown::No => since + FIRST_REQUEST_PATIENCE,
            Place::Between(0) => since + limits.head_timeout,
            Place::Between(_) => since + limits.idle_timeout,
            // Half an empty line may have begun the head.
            Place::Blank(_) => (kept + limits.idle_timeout).min(head + limits.head_timeout),
            Place::Head(_) => head + limits.head_timeout,
            Place::Body(_) => latest,
        };
        let earliest = handed_over.map_or(earliest, |until| until.min(earliest));
        if deadline.is_some_and(|deadline| deadline < earliest) {
            violate(format!("{place:?} since {since:?} lasts only until {deadline:?}, not {earliest:?}"));
        }
    }
}

/// No turn does more than its share, and half a head is not read on while memory is scarce.
fn check_turn(scene: &Scene<'_>, read_before: usize, violate: &mut impl FnMut(String)) {
    let Scene { served, script, account, before, budget, .. } = *scene;
    let Stage::Events(_) = scene.stage else {
        // In other steps a connection can have several turns.
        return;
    };
    let calls = account.calls - account.calls_before;
    // One whose content was still to come began before.
    let begun_before = usize::from(!before.is_idle && !before.is_in_head);
    if calls > budget.requests as usize + begun_before {
        violate(format!("{calls} requests in a turn of {}", budget.requests));
    }
    let written = account.written.get() - account.written_before;
    // Of a file as much may leave at a time, whatever has left before. What is in memory leaves in one call.
    if written > 2 * TURN_BYTES + scene.limits.output_bytes_high && script.is_in_parts() {
        violate(format!("{written} bytes in a turn"));
    }
    let has_read = served.socket().read_by_server > read_before;
    if has_read && scene.was_scarce && before.is_in_head && !served.state.knows_end && !served.is_gone() {
        violate("half a head is read on, and memory is scarce".to_string());
    }
}

/// Nobody is cut by a timer that goes off too early, and nobody makes room who is busy.
fn check_end(scene: &Scene<'_>, violate: &mut impl FnMut(String)) {
    let Scene { served, now, stage, before, .. } = *scene;
    let has_ended = served.is_gone() || (served.state.is_lingering && !before.is_lingering);
    let is_past = |deadline: Option<Moment>| deadline.is_some_and(|deadline| deadline <= now);
    // Who waits for the gateway was late before, perhaps.
    let excused = before.waiting_since.zip(before.of_conversation);
    let excused = excused.map(|(since, deadline)| deadline + now.since(since));
    // A server that hands over waits for the last request of who is kept, but no longer than ever.
    let is_kept_too_long = scene.shutdown != Shutdown::No && is_past(before.of_conversation);
    let is_due = is_past(before.deadline) || is_past(excused) || is_kept_too_long;
    let is_excused = before.is_ready || served.socket().is_broken || scene.is_memory_little;
    if *stage == Stage::Expire && has_ended && !is_due && !is_excused {
        violate(format!("it was ended before its time: {before:?}"));
    }
    let is_ended = served.socket().has_ended_first || served.socket().resets();
    if served.is_gone() && !is_ended && !served.is_abandoned {
        violate(format!("it was cut for no reason: {before:?}"));
    }
    let has_lingered = served.ended.is_some_and(|ended| ended + scene.limits.linger_timeout <= now);
    let is_in_order =
        !served.is_abandoned && !served.has_made_room && !served.socket().resets() && !has_lingered;
    if served.is_gone() && served.socket().closing == Closing::UponUnread && is_in_order {
        violate(format!("it was closed upon bytes that were known to be there: {before:?}"));
    }
}

/// Nothing is left, and the journal knows everything once.
pub fn judge_account(account: &Account, script: &Script, wants_exchanges: bool) -> Result<(), String> {
    if account.alive > 0 {
        return Err(format!("{} streams and late answers are left", account.alive));
    }
    let is_early = |number: &usize| account.early.contains(number);
    let begun = (0..account.calls).chain(Some(account.calls).filter(is_early));
    for number in begun.filter(|_| wants_exchanges) {
        let mut records = account.records.iter().filter(|(other, _)| *other == number);
        let (Some((_, outcome)), None) = (records.next(), records.next()) else {
            return Err(format!("request {number} does not stand in the journal once"));
        };
        if let (Outcome::Complete, Some(Fate::Cut(_))) = (outcome, script.items[number].fate()) {
            return Err(format!("request {number} is complete in the journal only"));
        }
        let tunnel = account.tunnel.filter(|_| script.items[number].tunnel().is_some());
        if let Some(tunnel) = tunnel
            && (*outcome == Outcome::Complete) != (tunnel.ending == Some(Ending::End))
        {
            return Err(format!("tunnel {number} stands in the journal as {outcome:?}: {tunnel:?}"));
        }
    }
    Ok(())
}

impl Item {
    /// Returns the expected fate of the answer; none for a refused request.
    fn fate(&self) -> Option<Fate> {
        match &self.kind {
            Kind::Good { answer, status, .. } => {
                let has_content = self.method != "HEAD" && !matches!(status, 204 | 304);
                Some(fate(answer, has_content))
            }
            Kind::Bad(_) => None,
        }
    }

    /// Returns the plan of the tunnel that it asks for.
    fn tunnel(&self) -> Option<&TunnelPlan> {
        match &self.kind {
            Kind::Good { answer, .. } => answer.tunnel(),
            Kind::Bad(_) => None,
        }
    }
}

/// The expected fate of an answer that nothing disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// This many bytes arrive, and the client knows that it is all.
    Whole(usize),
    /// At most this many bytes arrive, and the client knows that some are missing.
    Cut(usize),
    /// Nothing of it arrives: 500.
    Failed,
    /// The connection is taken over.
    Switched,
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
        Answer::Tunnel(_) => Fate::Switched,
    }
}

/// Every byte that was written on one connection.
pub fn judge_wire(
    connection: usize,
    served: &Served,
    script: &Script,
    account: &Account,
    context: &ServerContext,
    was_disk_full: bool,
    is_memory_little: bool,
) -> Result<(), String> {
    let socket = served.socket();
    // The method of a request that was refused is known only if it was read.
    let is_known =
        |number: usize, item: &Item| number < account.calls || socket.read_by_server >= item.start + 5;
    let methods = script.items.iter().enumerate();
    let methods = methods.map(|(number, item)| if is_known(number, item) { item.method } else { "GET" });
    let methods: Vec<_> = methods.collect();
    let wire = &socket.wire[..];
    // What was lost because the client went on sending to who had long gone, or just then, is nobody's fault.
    let is_lost = served.is_abandoned || socket.is_broken || socket.is_destroyed;
    let mut responses = match read_all(wire, &methods) {
        Ok(responses) => responses,
        // A head may be cut where the connection was.
        Err(what) if what.contains("within a head") && is_lost => return Ok(()),
        Err(what) => return Err(format!("{what}: {:?}", String::from_utf8_lossy(wire))),
    };
    responses.retain(|response| response.code != 100);
    for (number, response) in responses.iter().enumerate() {
        let is_last = number + 1 == responses.len();
        if let (Some(tunnel), Some(plan)) = (&account.tunnel, script.items.get(number).and_then(Item::tunnel))
        {
            judge_tunnel((connection, number), plan, tunnel, script, response, served)?;
        } else if number == account.calls && account.early.contains(&number) {
            let item = &script.items[number];
            judge_early(connection, number, item, response, served, is_last, is_memory_little)?;
        } else if number < account.calls {
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
    judge_lingering(script, account, served, &context.limits)?;
    if is_lost {
        return Ok(());
    }
    if responses.len() < account.calls {
        return Err(format!("{} requests, {} answers", account.calls, responses.len()));
    }
    judge_rest(script, account, &responses, served, context.shutdown)
}

/// Checks that a client which may still be sending is waited for, so that the last answer is not destroyed.
fn judge_lingering(
    script: &Script,
    account: &Account,
    served: &Served,
    limits: &Limits,
) -> Result<(), String> {
    let socket = served.socket();
    let (Some(ended), Some(closed)) = (served.ended, served.closed) else {
        return Ok(());
    };
    let has_lingered = socket.has_client_ended || closed >= ended + limits.linger_timeout;
    let is_tunnel = account.tunnel.is_some();
    if has_lingered || served.is_abandoned || served.has_made_room || socket.is_broken || socket.resets() {
        return Ok(());
    }
    let answered_until = account.calls.checked_sub(1).map_or(0, |last| script.items[last].end);
    let known = &script.bytes[..socket.read_by_server];
    let is_more =
        known.get(answered_until..).is_some_and(|more| !more.iter().all(|byte| b"\r\n".contains(byte)));
    if is_more || is_tunnel {
        Err("it does not linger, and the client may be sending".to_string())
    } else {
        Ok(())
    }
}

/// An answer that has begun before its content, which has not come to its end. Where memory is little, what nobody has read
/// of the content yet is thrown away, and the answer cut.
fn judge_early(
    connection: usize,
    number: usize,
    item: &Item,
    response: &Response,
    served: &Served,
    is_last: bool,
    is_memory_little: bool,
) -> Result<(), String> {
    let socket = served.socket();
    let is_open = response.framing == Framing::UntilClose;
    let looks_whole = if is_open { socket.end == Some(End::Fin) } else { !response.is_cut };
    let is_its_own = response.field("X-Answer") == Some(&format!("{connection}/{number}"));
    let is_right = content(connection, number, true, response.content.len()) == response.content;
    let is_lost = served.is_abandoned || socket.is_broken || socket.is_destroyed;
    match is_its_own && is_right && is_last && !looks_whole {
        false => Err(format!("early answer {number} is not what has come of it: {response:?}")),
        true if !is_lost && !is_memory_little && socket.read_by_server >= item.end => {
            Err(format!("early answer {number} was cut for no reason"))
        }
        true => Ok(()),
    }
}

/// The answer that takes a connection over, and all that has come through the tunnel.
fn judge_tunnel(
    (connection, number): (usize, usize),
    plan: &TunnelPlan,
    tunnel: &Tunneled,
    script: &Script,
    response: &Response,
    served: &Served,
) -> Result<(), String> {
    let socket = served.socket();
    let id = format!("{connection}/{number}");
    if response.code != 101 || response.field("X-Answer") != Some(&id) {
        return Err(format!("no 101 for tunnel {id}: {response:?}"));
    }
    let came_back = response.content.len();
    let is_right = content(connection, number, false, plan.bytes).starts_with(&response.content);
    if !is_right || came_back > tunnel.given || tunnel.given > tunnel.received {
        return Err(format!("tunnel {id} gives other bytes, {came_back} of {tunnel:?}"));
    }
    if served.is_abandoned || socket.is_broken || socket.is_destroyed {
        return Ok(());
    }
    let is_whole = socket.end == Some(End::Fin);
    let read = socket.read_by_server - script.items[number].head_end;
    match tunnel.ending {
        Some(Ending::End) if !is_whole || came_back < tunnel.given => {
            Err(format!("tunnel {id} was cut for no reason: {tunnel:?}, {came_back} bytes came back"))
        }
        Some(Ending::End) if tunnel.knows_end && tunnel.received < read => {
            Err(format!("tunnel {id} has not got all of {read} bytes: {tunnel:?}"))
        }
        Some(Ending::Error | Ending::Panic) | None if is_whole => {
            Err(format!("tunnel {id} looks whole, and is not: {tunnel:?}"))
        }
        _ => Ok(()),
    }
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
    let (Kind::Good { status, answer, .. }, Some(fate)) = (&item.kind, item.fate()) else {
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
    let is_trailed = answer.is_streamed() && response.framing == Framing::Chunked && looks_whole;
    let trailer = trailer(connection, number).filter(|_| is_trailed && takes_trailers(connection, number));
    let trailers: Vec<_> = response.trailers.iter().map(|(_, value)| value).collect();
    if trailers != trailer.iter().collect::<Vec<_>>() {
        return Err(format!("answer {number} has other trailers: {response:?}"));
    }
    let is_whole = matches!(fate, Fate::Whole(_)) && response.content.len() == length;
    if looks_whole && !is_whole {
        return Err(format!("answer {number} looks whole, and is not: {fate:?}"));
    }
    let is_lost = served.is_abandoned || served.socket().is_broken || served.socket().is_destroyed;
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
        (503, _) if was_disk_full || served.is_turned_away => Ok(()),
        (503, Kind::Good { body, .. }) if *body > ROOM_BYTES => Ok(()),
        _ => wrong(),
    }
}

/// Checks that every missing answer has a reason.
fn judge_rest(
    script: &Script,
    account: &Account,
    responses: &[Response],
    served: &Served,
    shutdown: Shutdown,
) -> Result<(), String> {
    let Some(next) = script.items.get(responses.len()) else {
        return Ok(());
    };
    let is_old = responses.len().checked_sub(1).is_some_and(|last| !script.items[last].is_http11);
    let is_last = responses.last().is_some_and(|last| last.says_close() || last.is_cut || is_old);
    let is_last = is_last || responses.last().is_some_and(|last| last.framing == Framing::UntilClose);
    // What is in one read with a request that ends the connection is no request.
    let is_ended_midway = account.calls > 0 && is_failing(&script.items[account.calls - 1]);
    if served.socket().read_by_server > next.start && !is_last && !is_ended_midway && shutdown == Shutdown::No
    {
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
