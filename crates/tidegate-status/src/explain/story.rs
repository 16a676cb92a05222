//! The story of a connection: what is told of each act of the loop, and in which words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use tidegate::Environ;
use tidegate::conversation::{ConversationState, Farewell, StageName, Wants};
use tidegate::gateway::Admission;
use tidegate::now::Moment;
use tidegate::server::{
    Act, Cause, ConnectionSnapshot, EventSource, InterestState, Operation, OurSideState, SeenEvent,
    SystemCall,
};

use super::bytes::{Shown, grouped};
use crate::words;

/// Most system calls, and most turns, that are told of one connection. 200: more than anybody reads, and the story of a
/// connection that is kept for hours ends.
const CALLS_TOLD_MAX: u32 = 200;
/// The sentence about a connection whose answer is made, but has not left.
const QUEUED: &str =
    "has its whole answer in the queue, which is sent now; after that comes its next request";
/// The column at which a story stands, beyond numbers and times.
const MARGIN: &str = "                     ";

/// A story that is being told.
pub(super) struct Story {
    tell: Box<dyn FnMut(&str)>,
    /// Lines that were not handed over yet: printing takes time, which the next ones are not to show.
    text: String,
    /// Lines about what the loop does between two acts for a connection that is told. If none follows, the next wait takes
    /// their place: a loop that serves others for hours adds nothing.
    interlude: Vec<Line>,
    /// The moment that times count from.
    begun: Option<Moment>,
    /// System calls so far.
    calls: u32,
    connections: BTreeMap<u64, Told>,
    over: u64,
    /// Explanations that were given: nobody wants to read one twice.
    explained: BTreeSet<&'static str>,
}

/// A line that may be told.
enum Line {
    /// The line is a wait for events.
    Wait(Moment, String),
    /// The line is another system call.
    Call(Moment, String),
    /// The line explains the one above.
    Note(String),
    /// The line explains the one above, unless it was told before.
    NoteOnce(&'static str),
}

/// The facts that were told of a connection.
#[derive(Default)]
struct Told {
    calls: u32,
    turns: u32,
    received_bytes: usize,
    sent_bytes: usize,
    received: Shown,
    sent: Shown,
    /// The state that was told last, and the output that was owed then.
    state: Option<(ConversationState, usize)>,
    /// The wish that was told last in this turn.
    wish: Option<&'static str>,
    answer: Answer,
}

/// Whether an answer waits for those of others, to be sent with them.
#[derive(Default, PartialEq, Eq)]
enum Answer {
    #[default]
    Sent,
    /// The answer waits, and is sent between two turns of its connection.
    Held,
}

impl Told {
    fn goes_on(&self) -> bool {
        self.calls <= CALLS_TOLD_MAX && self.turns <= CALLS_TOLD_MAX
    }
}

impl Story {
    pub fn new(tell: Box<dyn FnMut(&str)>) -> Story {
        Story {
            tell,
            text: String::new(),
            interlude: Vec::new(),
            begun: None,
            calls: 0,
            connections: BTreeMap::new(),
            over: 0,
            explained: BTreeSet::new(),
        }
    }

    /// The number of connections whose story is over.
    pub fn over(&self) -> u64 {
        self.over
    }

    /// Whether a connection that has come is still told.
    pub fn goes_on(&self) -> bool {
        self.connections.values().any(Told::goes_on)
    }

    /// Tells of an act.
    pub fn see(&mut self, connection: Option<u64>, at: Moment, act: &Act<'_>) {
        match (act, connection) {
            (Act::Waited { call, limit, events }, _) => self.wait(at, call, *limit, events),
            (Act::Accepted { call, result }, number) => self.accept(at, call, number, *result),
            (_, None) => {}
            (Act::TurnBegun(cause, connection), Some(number)) => {
                self.begin_turn(number, at, *cause, connection)
            }
            (Act::Advanced { state, wants, owed_bytes }, Some(number)) => {
                self.advance(number, *state, *wants, *owed_bytes);
            }
            (Act::Called(call), Some(number)) => self.call(number, at, call),
            (Act::TurnEnded(connection), Some(number)) => self.end_turn(number, at, connection),
            // Others may come, of which these words do not know.
            (_, Some(_)) => {}
        }
    }

    /// Whether a connection is still told.
    fn is_told(&self, number: u64) -> bool {
        self.connections.get(&number).is_some_and(Told::goes_on)
    }

    // Lines

    /// Adds a line for a system call, after all that has led to it.
    fn number(&mut self, at: Moment, what: &str) {
        self.tell_interlude();
        self.add_numbered(at, what);
    }

    fn add_numbered(&mut self, at: Moment, what: &str) {
        let begun = *self.begun.get_or_insert(at);
        self.calls += 1;
        let millis = at.since(begun).as_secs_f64() * 1000.0;
        let _ = writeln!(self.text, "{:>4}  {millis:>+9.3} ms   {what}", self.calls);
    }

    /// Adds a line of explanation below the last system call.
    fn explain(&mut self, what: &str) {
        let _ = writeln!(self.text, "{MARGIN}   {what}");
    }

    /// Adds a line of explanation, if it was not given before.
    fn explain_once(&mut self, what: &'static str) {
        if self.explained.insert(what) {
            self.explain(what);
        }
    }

    /// Adds a line that stands for itself.
    fn say(&mut self, what: &str) {
        let _ = writeln!(self.text, "{MARGIN}{what}");
    }

    /// Adds a line that stands for itself, if it was not added before.
    fn say_once(&mut self, what: &'static str) {
        if self.explained.insert(what) {
            self.say(what);
        }
    }

    fn hand_over(&mut self) {
        (self.tell)(&self.text);
        self.text.clear();
    }

    // What is not of one connection

    /// Adds the lines of the interlude: something has come of it.
    fn tell_interlude(&mut self) {
        for line in std::mem::take(&mut self.interlude) {
            match line {
                Line::Wait(at, what) | Line::Call(at, what) => self.add_numbered(at, &what),
                Line::Note(what) => self.explain(&what),
                Line::NoteOnce(what) => self.explain_once(what),
            }
        }
    }

    fn wait(&mut self, at: Moment, call: &str, limit: Option<Duration>, events: &[SeenEvent]) {
        // One that nothing came of is forgotten. What follows a told act without a wait is the end of that.
        match self.interlude.first() {
            Some(Line::Wait(..)) => self.interlude.clear(),
            Some(_) | None => self.tell_interlude(),
        }
        let concerns = |event: &&SeenEvent| match event.about {
            EventSource::Connection(number) | EventSource::Watched(number) => self.is_told(number),
            _ => true,
        };
        let of_interest: Vec<SeenEvent> = events.iter().filter(concerns).copied().collect();
        let (timeout, why) = match limit {
            None => {
                ("no timeout".to_string(), "There is no deadline: the loop sleeps until something happens.")
            }
            Some(Duration::ZERO) => (
                "timeout 0".to_string(),
                "It only looks: something can go on without an event, a listener that was not asked yet for instance.",
            ),
            Some(limit) => (
                format!("timeout {}", time(limit)),
                "The timeout is that of the next timer. Where a deadline has moved away, that is early, and is set anew.",
            ),
        };
        let result = match events.len() {
            0 => "0 events".to_string(),
            1 => "1 event".to_string(),
            count => format!("{count} events"),
        };
        self.interlude.push(Line::Wait(at, format!("{call}({timeout}) = {result}")));
        self.interlude.push(Line::NoteOnce(why));
        let mut notes: Vec<String> = of_interest.iter().map(|event| said(*event)).collect();
        notes.dedup();
        if events.len() > of_interest.len() {
            notes.push("(The others are for connections that are not told of.)".to_string());
        }
        if events.is_empty() && limit != Some(Duration::ZERO) {
            notes.push("Nothing has happened until then.".to_string());
        }
        self.interlude.extend(notes.into_iter().map(Line::Note));
    }

    fn accept(
        &mut self,
        at: Moment,
        call: &str,
        number: Option<u64>,
        result: Result<Option<SocketAddr>, &io::Error>,
    ) {
        match (result, number) {
            (Ok(peer), Some(number)) => {
                self.connections.insert(number, Told::default());
                let from = peer.map_or("a unix socket".to_string(), |peer| peer.to_string());
                self.number(at, &format!("{call}(the listener) = connection {number}, from {from}"));
            }
            (Err(error), _) if error.kind() == io::ErrorKind::WouldBlock => {
                self.interlude.push(Line::Call(at, format!("{call}(the listener) = WouldBlock")));
                self.interlude.push(Line::NoteOnce(
                    "Nobody waits to be accepted any more. The next event of the listener will tell.",
                ));
            }
            (Err(error), _) => {
                self.interlude.push(Line::Call(at, format!("{call}(the listener) = {error}")));
            }
            (Ok(_), None) => {}
        }
    }

    // Turns

    fn begin_turn(&mut self, number: u64, at: Moment, cause: Cause, connection: &ConnectionSnapshot) {
        let Some(told) = self.connections.get_mut(&number).filter(|told| told.goes_on()) else { return };
        told.wish = None;
        told.turns += 1;
        if !told.goes_on() {
            return self.leave_off(number);
        }
        self.tell_interlude();
        self.begun.get_or_insert(at);
        let _ = writeln!(self.text);
        self.say(&format!("Connection {number} has its turn: {}.", reason(cause)));
        let ConnectionSnapshot { state, wants, owed_bytes, our_side, .. } = *connection;
        match self.tell_state(number, state, owed_bytes) {
            true => self.tell_wish(number, wants, words::wish_of(our_side, wants, state.stage)),
            false => self.say(&format!("  state   {state}, wants {wants:?}")),
        }
    }

    fn advance(&mut self, number: u64, state: ConversationState, wants: Wants, owed_bytes: usize) {
        self.tell_state(number, state, owed_bytes);
        // What is still queued is tried at once. Only if it does not leave it is waited for.
        if owed_bytes == 0 {
            self.tell_wish(number, wants, words::wish_of(OurSideState::Clear, wants, state.stage));
        }
    }

    /// Tells what has become of a conversation since it was told last. Returns whether the state was.
    fn tell_state(&mut self, number: u64, state: ConversationState, owed_bytes: usize) -> bool {
        let Some(told) = self.connections.get_mut(&number).filter(|told| told.goes_on()) else { return true };
        let before = told.state.replace((state, owed_bytes));
        let is_new = before.is_none_or(|(before, _)| before != state);
        if is_new {
            self.say(&format!("  state   {state}"));
            let meaning = match state.stage {
                StageName::Kept if owed_bytes > 0 => QUEUED,
                stage => words::meaning(stage),
            };
            self.say(&format!("          it {meaning}"));
            if state.stage == StageName::Kept {
                self.say_once("          (the request is Complete, so is the response, and both begin anew)");
            }
        }
        if before.map_or(0, |(_, before)| before) != owed_bytes {
            self.say(&match owed_bytes {
                0 => "  output  nothing is owed any more".to_string(),
                _ => format!("  output  {} bytes are queued for the client", grouped(owed_bytes)),
            });
        }
        is_new
    }

    /// Tells what is wanted, unless that was told in this turn.
    fn tell_wish(&mut self, number: u64, wants: Wants, wish: &'static str) {
        let Some(told) = self.connections.get_mut(&number).filter(|told| told.goes_on()) else { return };
        if told.wish.replace(wish) != Some(wish) {
            self.say(&format!("  wants   {wants:?}: {wish}"));
            if let Some(why) = reason_for(wants) {
                self.say_once(why);
            }
        }
    }

    fn end_turn(&mut self, number: u64, at: Moment, connection: &ConnectionSnapshot) {
        let ConnectionSnapshot { state, wants, mut owed_bytes, .. } = *connection;
        if let Some(told) = self.connections.get_mut(&number).filter(|_| connection.lists.has("Corked")) {
            // The loop holds it now; the connection itself knows of nothing that is owed.
            told.answer = Answer::Held;
            owed_bytes = told.state.map_or(0, |(_, owed_bytes)| owed_bytes);
        }
        self.tell_state(number, state, owed_bytes);
        self.tell_wish(number, wants, words::wish(connection));
        if wants == Wants::Write
            && matches!(state.stage, StageName::Stream | StageName::ReadFile)
            && self.is_told(number)
        {
            self.say_once(
                "          (enough is queued: no more of the answer is drawn until the client has read)",
            );
        }
        if !self.is_told(number) {
            return;
        }
        match connection.deadline {
            Some(deadline) => {
                let (left, otherwise) = (deadline.since(at), words::otherwise(connection));
                self.say(&format!("  until   {} from now; then {otherwise}", time(left)));
            }
            None => self.say("  until   whenever it comes: it has no deadline"),
        }
        self.say(next(connection));
        self.hand_over();
    }

    /// Tells that an answer was sent that has waited for others.
    fn end_hold(&mut self, number: u64) {
        let Some(told) = self.connections.get_mut(&number) else { return };
        if std::mem::take(&mut told.answer) == Answer::Held {
            // What the socket has not taken is told in the next turn, with its number of bytes.
            self.hand_over();
        }
    }

    // System calls on the socket

    fn call(&mut self, number: u64, at: Moment, call: &SystemCall<'_>) {
        if matches!(call.operation, Operation::Close) {
            return self.close(number, at, call.name);
        }
        let Some(told) = self.connections.get_mut(&number) else { return };
        told.calls += 1;
        if !told.goes_on() {
            if told.calls == CALLS_TOLD_MAX + 1 && told.turns <= CALLS_TOLD_MAX {
                self.leave_off(number);
            }
            return;
        }
        match call.operation {
            Operation::Receive { room, bytes } => self.received(number, at, call, room, bytes),
            Operation::Send { pieces, more_follows } => self.sent(number, at, call, pieces, more_follows),
            Operation::SendFile { offset, bytes } => {
                let what = format!("{} bytes of a file from {} on", grouped(bytes), grouped(offset as usize));
                self.transferred(number, at, call, &what, bytes);
                self.explain_once("The kernel copies from file to socket; this process never has the bytes.");
            }
            Operation::Register { interest, is_change } => {
                let (interest, why) = match interest {
                    InterestState::ReadWrite if !is_change => (
                        "READABLE | WRITABLE",
                        "From now on an event tells when something new has come, and when the socket has room again.",
                    ),
                    InterestState::ReadWrite => (
                        "READABLE | WRITABLE",
                        "From now on an event also tells when the socket has room again.",
                    ),
                    InterestState::Read | InterestState::None => (
                        "READABLE",
                        "From now on an event tells when something new has come: once, as it comes.",
                    ),
                };
                let how = if is_change { "change" } else { "add" };
                let failed = failure(call.result);
                self.number(at, &format!("{}({how} connection {number}, {interest}){failed}", call.name));
                self.explain_once(why);
            }
            Operation::End => {
                self.number(at, &format!("{}(connection {number}, our side)", call.name));
                self.explain_once("The client reads what was sent before, and then the end.");
            }
            Operation::ResetOnClose => {
                self.number(at, &format!("{}(connection {number}, SO_LINGER 0 s)", call.name));
                self.explain_once(
                    "The close that follows is a reset: the client sees that something is missing.",
                );
            }
            Operation::TakeError => {
                let is_broken = if call.result.is_err() { "it is broken" } else { "nothing is wrong" };
                self.number(at, &format!("{}(connection {number}, SO_ERROR) = {is_broken}", call.name));
            }
            _ => self.number(at, &format!("{}(connection {number})", call.name)),
        }
    }

    /// Ends the story of a connection before the connection ends.
    fn leave_off(&mut self, number: u64) {
        self.say(&format!("Connection {number} goes on like this: the rest of it is not told."));
        self.hand_over();
    }

    fn received(&mut self, number: u64, at: Moment, call: &SystemCall<'_>, room: usize, bytes: &[u8]) {
        let result = match call.result {
            Ok(count) => format!("{} bytes", grouped(count)),
            Err(error) => named(error),
        };
        let what = format!("{}(connection {number}, room for {}) = {result}", call.name, grouped(room));
        self.number(at, &what);
        if self.connections.get(&number).is_some_and(|told| told.calls == 1) {
            self.explain_once(
                "It is read before any event: its request may be here already. What stays open is registered afterwards.",
            );
        }
        match call.result {
            Ok(0) => self.explain("The client has ended its side: it will send nothing more."),
            Ok(_) => {
                let told = self.connections.entry(number).or_default();
                told.received_bytes += bytes.len();
                let shown = told.received.lines(bytes.iter().copied());
                self.show(shown);
                self.explain_chunks(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.explain_once("Nothing is there to be read. That is no error: an event will tell.");
            }
            Err(_) => self.explain("The connection is lost."),
        }
    }

    fn sent(
        &mut self,
        number: u64,
        at: Moment,
        call: &SystemCall<'_>,
        pieces: &[IoSlice<'_>],
        more_follows: bool,
    ) {
        let offered = pieces.iter().map(|piece| piece.len()).sum();
        let mut what = format!("{} bytes", grouped(offered));
        if pieces.len() > 1 {
            let _ = write!(what, " in {} pieces", pieces.len());
        }
        if more_follows {
            what.push_str(", MSG_MORE");
        }
        self.transferred(number, at, call, &what, offered);
        if more_follows {
            self.explain_once("They wait for what follows at once, to share a packet with it.");
        }
        if let Ok(count) = call.result {
            let told = self.connections.entry(number).or_default();
            let bytes = pieces.iter().flat_map(|piece| piece.iter().copied()).take(count);
            let shown = told.sent.lines(bytes);
            self.show(shown);
            if let Some(first) = pieces.first() {
                self.explain_chunks(first);
            }
        }
        self.end_hold(number);
    }

    /// Tells that bytes were offered to the socket, and what it took.
    fn transferred(&mut self, number: u64, at: Moment, call: &SystemCall<'_>, what: &str, offered: usize) {
        let result = call.result.map_or_else(named, |count| format!("{} bytes", grouped(count)));
        self.number(at, &format!("{}(connection {number}, {what}) = {result}", call.name));
        match call.result {
            Ok(count) => {
                self.connections.entry(number).or_default().sent_bytes += count;
                if count < offered {
                    self.explain_once(
                        "The socket's buffer is full: it took a part. The rest is kept until there is room.",
                    );
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.explain_once(
                    "The socket's buffer is full: it took nothing. That is no error: an event will tell.",
                );
            }
            Err(_) => {}
        }
    }

    /// Says what the lines between the content are, if these bytes begin with a head whose content is in chunks.
    fn explain_chunks(&mut self, bytes: &[u8]) {
        let head = bytes.split(|byte| *byte == b'\n');
        let is_chunked = |line: &[u8]| line.trim_ascii().eq_ignore_ascii_case(b"transfer-encoding: chunked");
        if head.into_iter().any(is_chunked) {
            self.explain_once(
                "Its length is not known yet, so content goes in chunks: a length in hexadecimal, the bytes; 0 is the end.",
            );
        }
    }

    fn show(&mut self, (lines, left_out): (Vec<String>, usize)) {
        for line in lines {
            self.explain(&format!("| {line}"));
        }
        if left_out > 0 {
            self.explain(&format!("| … and {} bytes more", grouped(left_out)));
        }
    }

    fn close(&mut self, number: u64, at: Moment, call: &str) {
        let Some(told) = self.connections.remove(&number) else { return };
        self.over += 1;
        self.number(at, &format!("{call}(connection {number})"));
        self.explain_once("Closing takes it out of the list of sockets that events come for, too.");
        let _ = writeln!(self.text);
        self.say(&format!(
            "Connection {number} is over: {} bytes came and {} left, by {} system calls on its socket.",
            grouped(told.received_bytes),
            grouped(told.sent_bytes),
            told.calls + 2,
        ));
        self.hand_over();
    }

    // The application

    /// Tells that the application is called.
    pub fn call_begins(&mut self, number: u64, environ: &Environ<'_>) {
        if self.is_told(number) {
            let request = Shown::request(environ.method().0, environ.raw_target().as_bytes());
            self.say(&format!("  call    the request is whole: the application is called for {request}"));
        }
    }

    /// Tells that the application has returned.
    pub fn call_ends(&mut self, number: u64, has_failed: bool) {
        if self.is_told(number) {
            self.say(match has_failed {
                false => "  return  the application has given its answer, or a way to it, back to the loop",
                true => "  return  the application has failed, which becomes a 500",
            });
        }
    }

    /// Tells what the application has decided by the head of a request.
    pub fn admits(&mut self, number: u64, admission: Admission) {
        if self.is_told(number) {
            self.say(&format!("  admit   the head is there; what becomes of the content: {admission:?}"));
        }
    }
}

/// Says in more words why a connection wants what the code names in one.
fn reason_for(wants: Wants) -> Option<&'static str> {
    match wants {
        Wants::Turn => Some(
            "          (it has done as much as one may in a turn, so that others come to theirs; it goes on in the next)",
        ),
        Wants::Close(Farewell::Clean) => {
            Some("          (Clean: the client sends no more, so nothing of the answer can be lost)")
        }
        Wants::Close(Farewell::Linger) => Some(
            "          (Linger: the client may still send, and a close would answer with a reset; so only our side ends now)",
        ),
        Wants::Close(Farewell::Reset) => {
            Some("          (Reset: the answer was cut, and an ordinary end would look like its real one)")
        }
        Wants::Read | Wants::ReadOrWrite | Wants::Write | Wants::Application => None,
    }
}

/// Says how a connection goes on after its turn.
fn next(connection: &ConnectionSnapshot) -> &'static str {
    let in_list = |name: &str| connection.lists.has(name);
    if in_list("Corked") {
        "  next    its answer leaves at the end of this turn of the loop, or a little later, with those of others"
    } else if in_list("Ready") {
        "  next    another turn at once, behind all others that can go on"
    } else if in_list("Starved") {
        "  next    another turn once there is memory for it, and the application takes requests"
    } else if connection.readiness.has("READABLE") {
        "  next    it sleeps until an event; what has come meanwhile lies unread"
    } else {
        "  next    it sleeps until an event, and costs nothing but its place"
    }
}

/// The reason of a turn.
fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Accepted => "it was just accepted, and may have sent its request already",
        Cause::Event => "an event came for it",
        Cause::Remainder => "it could go on, and had let others come first",
        Cause::Relieved => "there is memory for it again, and the application takes requests",
        Cause::Wake => "the application has woken it, from another thread perhaps",
        Cause::Timer => "its deadline has come",
        Cause::TurnedAway => "the application has taken no request for too long",
        Cause::Pressure => "memory is scarce, and it is to give some back",
        Cause::Evicted => "the house is full, and it makes room",
        _ => "the loop has given it one",
    }
}

/// Says what an event tells.
fn said(event: SeenEvent) -> String {
    let signs: Vec<&str> = event.signs.iter().collect();
    let signs = signs.join(" | ");
    match event.about {
        EventSource::Listener(_) => format!("the listener is {signs}: somebody has connected"),
        EventSource::Connection(number) => {
            let meaning = match () {
                () if event.signs.has("BROKEN") => "it is broken, or both sides have ended",
                () if event.signs.has("READ_CLOSED") => "the client has ended its side",
                () if event.signs.has("READABLE") && event.signs.has("WRITABLE") => {
                    "something has come, and there is room for more to be sent"
                }
                () if event.signs.has("READABLE") => "something has come",
                () => "there is room for more to be sent",
            };
            format!("connection {number} is {signs}: {meaning}")
        }
        EventSource::Watched(number) => {
            format!("what the application of connection {number} watches is {signs}")
        }
        EventSource::Waker => "another thread has woken the loop".to_string(),
        EventSource::Gone => "an event for a connection that is gone".to_string(),
        _ => format!("something is {signs}"),
    }
}

fn named(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => "WouldBlock".to_string(),
        _ => error.to_string(),
    }
}

fn failure(result: Result<usize, &io::Error>) -> String {
    result.err().map(|error| format!(" = {}", named(error))).unwrap_or_default()
}

/// A time as people read it.
fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.1} ms", seconds * 1000.0),
    }
}
