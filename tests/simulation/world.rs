//! The world around the conversations: clients, clock, disk, other threads, and who is next.
//!
//! Each step is one thing that can happen now, chosen by chance. When nothing can, the clock goes on
//! to the next moment that somebody waits for; when there is none, somebody waits for ever, and that
//! is a failure.

use std::cell::RefCell;
use std::mem;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mio::{Poll, Token, Waker};

use super::application::{Application, Ledger, Shared as SharedLedger};
use super::disk::{Room, SimulatedDisk};
use super::model::{Model, Scene, judge_account, judge_wire};
use super::plan::{Goodbye, Pace, Reading, Script};
use super::rng::Rng;
use super::server::{Served, Simulated, State};
use super::socket::{ServerSide, Socket};
use crate::conversation::{AccessLog, Budget, ExchangeRecord, Life, Outcome, Wants};
use crate::gateway::ServerInfo;
use crate::limits::Limits;
use crate::now::{Moment, Now};
use crate::reactor::clock::Clock;
use crate::reactor::connection::{Cause, Verdict};
use crate::reactor::connections::Connections;
use crate::reactor::journal::LoopJournal;
use crate::reactor::shared::{Settings, Shared};
use crate::reactor::wakeup_queue::WakeupQueue;

/// More steps than any schedule needs.
const STEPS_MAX: usize = 100_000;
const SECOND: Duration = Duration::from_secs(1);

/// Everything.
struct World<'g> {
    rng: Rng,
    shared: Shared<'g>,
    connections: Connections<ServerSide>,
    /// Bytes held, by the account of all connections.
    held_bytes: usize,
    queue: Arc<WakeupQueue>,
    drain_until: Option<Moment>,
    scripts: Rc<Vec<Script>>,
    ledger: SharedLedger,
    served: Vec<Served>,
    clients: Vec<Client>,
    models: Vec<Model>,
    room: Rc<Room>,
    records: Option<Records>,
    is_traced: bool,
}

/// What a client has done so far.
struct Client {
    sent: usize,
    /// When a slow one sends again, and reads again.
    sends_at: Moment,
    reads_at: Moment,
    is_done: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug)]
enum Action {
    Send(usize),
    Finish(usize),
    Read(usize),
    Turn(usize, Cause),
    /// Finished responses that have waited for each other are sent.
    Deliver,
    Job(usize),
}

/// Plays one schedule; says what should not have been.
pub fn play(seed: u64, is_traced: bool) -> Result<(), String> {
    let rng = Rng::new(seed);
    let count = rng.pick(&[1, 1, 2, 3, 4]);
    let scripts: Rc<Vec<_>> = Rc::new((0..count).map(|number| Script::new(number, &rng)).collect());
    let limits = Limits {
        output_bytes_high: rng.pick(&[1, 64, 300, 4096, 65_536]),
        body_memory_bytes_max: rng.pick(&[0, 16, 1000]),
        body_rate_min: rng.pick(&[0, 500]),
        ..Limits::default()
    };
    let ledger = Rc::new(RefCell::new(Ledger {
        accounts: (0..count).map(|_| Default::default()).collect(),
        jobs: Vec::new(),
        violations: Vec::new(),
        output_bytes_high: limits.output_bytes_high,
        is_draining: false,
    }));
    let mut application = Application { scripts: scripts.clone(), ledger: ledger.clone() };
    let room = Rc::<Room>::default();
    let records = rng.once_in(2).then(Records::default);
    let poll = Poll::new().map_err(|error| error.to_string())?;
    let waker = Waker::new(poll.registry(), Token(0)).map_err(|error| error.to_string())?;
    let queue = Arc::new(WakeupQueue::new(waker));
    let log = records.clone().map(|records| Box::new(records) as Box<dyn AccessLog + Send>);
    let clock = Clock::start();
    let mut shared = Shared::new(
        &mut application,
        Settings {
            limits,
            server: ServerInfo::default(),
            registry: poll.registry().try_clone().map_err(|error| error.to_string())?,
            journal: LoopJournal::new(log, clock),
            disk: Box::new(SimulatedDisk::new(scripts.clone(), room.clone(), rng.once_in(2))),
            locals: Vec::new(),
            queue: queue.clone(),
            // By the real clock, which so has no part in it.
            hold_max: rng.pick(&[Duration::ZERO, Duration::MAX]),
            at_low_tide: Arc::new(|| {}),
            clock,
        },
    );
    shared.around.refresh(Now::default());
    shared.scratch = vec![0; rng.pick(&[1, 7, 64, 512, 4096, 16_384])].into_boxed_slice();
    let mut world = World {
        connections: Connections::of_loop(0, 1, count),
        held_bytes: 0,
        queue,
        drain_until: None,
        ledger,
        served: Vec::new(),
        clients: Vec::new(),
        models: (0..count).map(|_| Model::default()).collect(),
        room,
        records,
        scripts,
        is_traced,
        rng,
        shared,
    };
    (0..count).for_each(|number| world.accept(number));
    if is_traced {
        eprintln!("{}", world.describe());
    }
    world.run()
}

impl World<'_> {
    /// A client has connected.
    fn accept(&mut self, number: usize) {
        let now = self.now();
        let socket = Socket::new(self.scripts[number].socket_bytes, &self.rng, self.scripts.clone());
        self.ledger.borrow_mut().accounts[number].written = socket.written.clone();
        let socket = Rc::new(RefCell::new(socket));
        let connection = Simulated::new(ServerSide(socket.clone()), None, 0, now);
        let state = State::of(&connection, &self.shared, Life::Running);
        self.served.push(Served {
            number,
            id: self.connections.insert(connection),
            socket,
            is_new: true,
            is_ready: false,
            is_woken: false,
            is_held: false,
            is_gone: false,
            is_abandoned: false,
            state,
        });
        self.clients.push(Client { sent: 0, sends_at: now, reads_at: now, is_done: false });
    }

    fn now(&self) -> Moment {
        self.shared.around.now.moment
    }

    /// Not in the midst of a turn of the loop, in which nothing waits.
    fn pass(&mut self, duration: Duration) {
        if !self.shared.held.is_empty() {
            return;
        }
        self.shared.around.now.moment = self.now() + duration;
    }

    /// Lets everything happen until every connection has ended; says what should not have been.
    fn run(&mut self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            if self.served.iter().all(|served| served.is_gone) {
                return self.judge();
            }
            self.chance();
            let actions = self.actions();
            match actions.is_empty() {
                true => self.pass_time()?,
                false => {
                    let action = self.rng.pick(&actions);
                    self.act(action);
                }
            }
            if let Some(what) = self.ledger.borrow_mut().violations.pop() {
                return Err(what);
            }
        }
        Err(format!("no end after {STEPS_MAX} steps"))
    }

    /// What may happen at any time, and seldom does.
    fn chance(&mut self) {
        if !self.rng.once_in(30) {
            return;
        }
        let number = self.rng.below(self.served.len());
        match self.rng.below(12) {
            // A spurious event, a spurious wake-up.
            0..2 => self.served[number].socket.borrow_mut().raise(),
            2..4 => self.served[number].is_woken = true,
            4 => {
                self.room.is_full.set(!self.room.is_full.get());
                self.room.was_full.set(self.room.was_full.get() || self.room.is_full.get());
            }
            5..8 => self.pass(Duration::from_millis(self.rng.pick(&[1, 100, 900]))),
            8 if self.rng.once_in(4) => self.pass(Duration::from_secs(self.rng.pick(&[3, 21, 100, 5_000]))),
            9 if self.rng.once_in(4) => {
                self.served[number].socket.borrow_mut().break_off();
                self.clients[number].is_done = true;
            }
            10 if self.rng.once_in(4) && self.drain_until.is_none() && self.shared.held.is_empty() => {
                self.drain();
            }
            _ => {}
        }
    }

    /// The server is told to end.
    fn drain(&mut self) {
        self.trace("drain", 0);
        self.drain_until = Some(self.now() + self.shared.around.limits.drain_timeout);
        self.shared.around.life = Life::Draining;
        self.ledger.borrow_mut().is_draining = true;
        for served in self.served.iter_mut() {
            if let Some(connection) = self.connections.get(served.id) {
                connection.look_again();
                served.is_ready |= connection.enqueue();
                served.state = State::of(connection, &self.shared, Life::Draining);
            }
        }
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::with_capacity(16);
        for (number, served) in self.served.iter().enumerate() {
            if served.is_gone {
                continue;
            }
            let (client, script) = (&self.clients[number], &self.scripts[number]);
            if self.can_send(number) && client.sends_at <= self.now() {
                actions.push(Action::Send(number));
            }
            if client.sent == script.bytes.len() && !client.is_done {
                actions.push(Action::Finish(number));
            }
            if self.can_read(number) && client.reads_at <= self.now() {
                actions.push(Action::Read(number));
            }
            let has_event = served.socket().has_event;
            let is_due = served.state.deadline.is_some_and(|deadline| deadline <= self.now());
            // In a turn of the loop, timers come last.
            let is_due = is_due && !has_event && !served.is_ready && !served.is_woken && !served.is_new;
            // In a turn of the loop, events come first; then it delivers, and then comes all else.
            let is_free = self.shared.held.is_empty();
            for (is_possible, cause) in [
                (served.is_new && is_free, Cause::Accepted),
                (has_event && !served.is_held, Cause::Event),
                (served.is_ready && is_free, Cause::Remainder),
                (served.is_woken && !served.is_new && is_free, Cause::Wake),
                (is_due && is_free, Cause::Timer),
            ] {
                if is_possible {
                    actions.push(Action::Turn(number, cause));
                }
            }
        }
        actions.extend((0..self.ledger.borrow().jobs.len()).map(Action::Job));
        actions.extend((!self.shared.held.is_empty()).then_some(Action::Deliver));
        actions
    }

    /// Whether the client has something to send, and does not wait for an answer first.
    fn can_send(&self, number: usize) -> bool {
        let (client, script, served) = (&self.clients[number], &self.scripts[number], &self.served[number]);
        let is_answered = || {
            let is_first = !script.items.iter().any(|item| item.start == client.sent && item.start > 2);
            let is_quiet = served.state.is_idle && served.state.owed == 0 && !served.is_held;
            is_first || (is_quiet && served.socket().unread() == 0)
        };
        client.sent < script.stalls_at && !client.is_done && (!script.is_patient || is_answered())
    }

    fn can_read(&self, number: usize) -> bool {
        let socket = self.served[number].socket();
        let is_willing = match self.scripts[number].reading {
            Reading::Until(bytes) => socket.read_by_client < bytes,
            Reading::Fast | Reading::Slow(_) => true,
        };
        socket.unread() > 0 && is_willing && !socket.is_broken
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(number) => self.send(number),
            Action::Finish(number) => self.finish(number),
            Action::Read(number) => self.read(number),
            Action::Turn(number, cause) => self.turn(number, Some(cause)),
            Action::Deliver => self.deliver(),
            Action::Job(index) => {
                let job = self.ledger.borrow_mut().jobs.swap_remove(index);
                job.is_done.store(true, Ordering::Relaxed);
                job.wakeup.wake();
                self.hear();
            }
        }
    }

    fn send(&mut self, number: usize) {
        let now = self.now();
        let (client, script) = (&mut self.clients[number], &self.scripts[number]);
        // A patient client sends up to the next request and no further.
        let next = script.items.iter().map(|item| item.start).find(|start| *start > client.sent);
        let limit = if script.is_patient { next.unwrap_or(usize::MAX) } else { usize::MAX };
        let left = limit.min(script.stalls_at) - client.sent;
        let count = match script.pace {
            Pace::Drip(bytes) => left.min(bytes),
            Pace::Any if self.rng.once_in(2) => left,
            Pace::Any => 1 + self.rng.below(left),
        };
        if let Pace::Drip(_) = script.pace {
            client.sends_at = now + SECOND;
        }
        self.served[number].socket.borrow_mut().send(&script.bytes[client.sent..][..count]);
        client.sent += count;
        self.trace("sent", number);
    }

    fn finish(&mut self, number: usize) {
        let is_served = self.served[number].state.is_idle;
        match self.scripts[number].farewell {
            Goodbye::Stay => {}
            Goodbye::HalfClose => self.served[number].socket.borrow_mut().finish(),
            // Now and then in the middle, else when it is served.
            Goodbye::Reset if !is_served && !self.rng.once_in(20) => return,
            Goodbye::Reset => self.served[number].socket.borrow_mut().break_off(),
        }
        self.clients[number].is_done = true;
        self.trace("finished", number);
    }

    fn read(&mut self, number: usize) {
        let now = self.now();
        let mut socket = self.served[number].socket.borrow_mut();
        let count = match self.scripts[number].reading {
            Reading::Slow(bytes) => {
                self.clients[number].reads_at = now + SECOND;
                bytes.min(socket.unread())
            }
            Reading::Until(bytes) => socket.unread().min(bytes - socket.read_by_client),
            Reading::Fast => socket.unread(),
        };
        socket.take(count);
    }

    /// The turn of a connection; without a cause, its end.
    fn turn(&mut self, number: usize, cause: Option<Cause>) {
        self.prepare(number, cause);
        let served = &mut self.served[number];
        let Some(connection) = self.connections.get(served.id) else {
            return;
        };
        let owed = connection.owed();
        let is_alive = match cause {
            Some(Cause::Event) => {
                let signs = served.socket.borrow_mut().take_event();
                connection.note(signs)
            }
            Some(
                Cause::Accepted
                | Cause::Remainder
                | Cause::Wake
                | Cause::Timer
                | Cause::TurnedAway
                | Cause::Pressure
                | Cause::SentAway,
            ) => true,
            None => false,
        };
        let verdict = match cause.filter(|_| is_alive) {
            Some(cause) => connection.turn(served.id, cause, &mut self.shared),
            None => connection.abandon(served.id, &mut self.shared),
        };
        let is_stalled = cause == Some(Cause::Timer) && owed > 0 && served.socket().resets();
        self.follow(number, verdict, !is_alive || is_stalled);
        self.watch(number, cause);
    }

    /// Sends the finished responses that have waited for each other.
    fn deliver(&mut self) {
        let mut held = self.shared.held.take();
        for (id, response) in &mut held {
            let number = self.served.iter().position(|served| served.id == *id);
            let (Some(number), Some(connection)) = (number, self.connections.get(*id)) else {
                continue;
            };
            self.served[number].is_held = false;
            let verdict = connection.deliver(*id, response, &mut self.shared);
            self.follow(number, verdict, false);
            self.watch(number, None);
        }
        self.shared.held.give_back(held);
    }

    /// What follows from a turn. A connection that is gone has lost what it owed.
    fn follow(&mut self, number: usize, verdict: Verdict, is_cut: bool) {
        let served = &mut self.served[number];
        let Some(connection) = self.connections.get(served.id) else {
            return;
        };
        connection.account(&mut self.held_bytes);
        served.is_held = verdict == Verdict::Held;
        // Who is starved comes into the ready list when there is more; here, at any time.
        served.is_ready |= match verdict {
            Verdict::Again => connection.enqueue(),
            Verdict::Starved => connection.enqueue(),
            Verdict::Keep | Verdict::Held | Verdict::Gone => false,
        };
        served.state = State::of(connection, &self.shared, self.shared.around.life);
        if verdict == Verdict::Gone {
            served.is_abandoned = is_cut || connection.owed() > 0;
            let is_early =
                served.state.is_lingering && served.state.deadline > Some(self.shared.around.now.moment);
            let has_client_left = served.socket().has_client_ended || served.socket().is_broken;
            if is_early && !has_client_left && !is_cut {
                self.ledger.borrow_mut().violations.push(format!("connection {number} does not linger"));
            }
            served.is_gone = true;
            connection.close_account(&mut self.held_bytes);
            drop(self.connections.remove(served.id));
        }
        self.hear();
    }

    /// What a turn finds, and what is different from turn to turn.
    fn prepare(&mut self, number: usize, cause: Option<Cause>) {
        let served = &mut self.served[number];
        let account = &mut self.ledger.borrow_mut().accounts[number];
        // What was not heard in a turn that was over, or while the client was owed too much, is heard later.
        account.reasons = match served.state.wants {
            Wants::Turn | Wants::Write => account.reasons,
            Wants::Read | Wants::Application | Wants::Close(_) => 0,
        };
        account.reasons += usize::from(cause == Some(Cause::Wake));
        match cause {
            Some(Cause::Accepted) => served.is_new = false,
            Some(Cause::Remainder) => {
                served.is_ready = false;
                self.connections.get(served.id).into_iter().for_each(Simulated::dequeue);
            }
            Some(Cause::Wake) => served.is_woken = false,
            Some(Cause::Event | Cause::Timer | Cause::TurnedAway | Cause::Pressure | Cause::SentAway)
            | None => {}
        }
        (account.owed, account.drawn) = (served.state.owed, 0);
        account.written_before = account.written.get();
        let rng = &self.rng;
        self.shared.budget = Budget { requests: rng.pick(&[1, 2, 32]), pieces: rng.pick(&[1, 3, 256]) };
        // Memory is scarce now and then, whoever has it.
        self.shared.held_bytes = rng.pick(&[0, 0, self.shared.around.limits.memory_bytes_max]);
    }

    /// Wakes who is to be woken, and takes what stands in the access log.
    fn hear(&mut self) {
        let mut woken = Vec::new();
        if self.queue.is_notified() {
            self.queue.drain(&mut woken);
        }
        for served in self.served.iter_mut().filter(|served| woken.contains(&served.id)) {
            served.is_woken = true;
        }
        let records = self.records.iter().flat_map(Records::take);
        let accounts = &mut self.ledger.borrow_mut().accounts;
        records
            .for_each(|(connection, number, outcome)| accounts[connection].records.push((number, outcome)));
    }

    /// Whether everything is as it should be after a turn.
    fn watch(&mut self, number: usize, cause: Option<Cause>) {
        let (limits, now) = (&self.shared.around.limits, self.shared.around.now.moment);
        let mut ledger = self.ledger.borrow_mut();
        let Ledger { accounts, violations, .. } = &mut *ledger;
        let (served, script, account) = (&self.served[number], &self.scripts[number], &accounts[number]);
        self.models[number].watch(&Scene { served, script, account, limits, now }, cause, violations);
        drop(ledger);
        if self.is_traced {
            self.trace(&format!("{cause:?}"), number);
        }
    }

    /// Nothing can happen now: on to the next moment that somebody waits for, or a little later.
    fn pass_time(&mut self) -> Result<(), String> {
        if self.drain_until.is_some_and(|until| until <= self.now()) {
            let open = (0..self.served.len()).filter(|number| !self.served[*number].is_gone);
            open.collect::<Vec<_>>().into_iter().for_each(|number| self.turn(number, None));
            return Ok(());
        }
        let mut moments: Vec<Moment> = self.drain_until.into_iter().collect();
        for (number, served) in self.served.iter().enumerate().filter(|(_, served)| !served.is_gone) {
            if let Some(what) = self.overlooked(served) {
                return Err(format!("connection {number} waits for {what}: {:?}", served.state));
            }
            let Some(deadline) = served.state.deadline else {
                return Err(format!("connection {number} waits for ever: {:?}", served.state.wants));
            };
            moments.push(deadline);
            moments.extend(self.can_send(number).then_some(self.clients[number].sends_at));
            moments.extend(self.can_read(number).then_some(self.clients[number].reads_at));
        }
        let next = moments.into_iter().min().ok_or("nobody waits for anything")?;
        self.shared.around.now.moment =
            next + Duration::from_millis(self.rng.pick(&[0, 0, 0, 1, 700, 100_000]));
        Ok(())
    }

    /// What is there already and of which nobody will tell any more: an edge was lost.
    fn overlooked(&self, served: &Served) -> Option<&'static str> {
        let socket = served.socket();
        match served.state.wants {
            _ if socket.is_broken => Some("a client that has left"),
            Wants::Read | Wants::Close(_) if socket.is_readable() => Some("what it could read"),
            _ if served.state.owed > 0 && socket.has_much_room() => Some("room that there is"),
            Wants::Application if served.state.is_untold && socket.has_client_ended => Some("no reason"),
            _ => None,
        }
    }

    /// Every connection has ended: is everything as it should be?
    fn judge(&mut self) -> Result<(), String> {
        if self.held_bytes > 0 {
            return Err(format!("{} bytes are still accounted for", self.held_bytes));
        }
        let ledger = self.ledger.borrow();
        for (number, (served, script)) in self.served.iter().zip(&*self.scripts).enumerate() {
            let account = &ledger.accounts[number];
            let judge = || {
                let life = self.shared.around.life;
                judge_wire(number, served, script, account, life, self.room.was_full.get())?;
                judge_account(account, script, self.records.is_some())
            };
            judge().map_err(|what| format!("connection {number}: {what}"))?;
        }
        Ok(())
    }

    fn trace(&self, what: &str, number: usize) {
        if self.is_traced {
            let served = &self.served[number];
            eprintln!(
                "{:>9} ms  connection {number}: {what}: sent {}, read {}, calls {}, written {}, {:?}, owes {}",
                self.now().since(Moment::START).as_millis(),
                self.clients[number].sent,
                served.socket().read_by_server,
                self.ledger.borrow().accounts[number].calls,
                served.socket().wire.len(),
                if served.is_gone { None } else { Some(served.state.wants) },
                served.state.owed,
            );
        }
    }

    /// What was to happen, for whoever replays a seed.
    fn describe(&self) -> String {
        format!(
            "{:#?}\n{:?}",
            self.shared.around.limits,
            self.scripts.iter().map(|script| &script.items).collect::<Vec<_>>()
        )
    }
}

/// The access log: one record for each exchange, by connection and number of the request.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<(usize, usize, Outcome)>>>);

impl Records {
    fn take(&self) -> Vec<(usize, usize, Outcome)> {
        mem::take(&mut *self.0.lock().unwrap())
    }
}

impl AccessLog for Records {
    fn record(&mut self, record: &ExchangeRecord<'_>) {
        let Some(request) = record.request else {
            return;
        };
        let mut numbers = request.target.split('/').skip(1).map(str::parse::<usize>);
        if let (Some(Ok(connection)), Some(Ok(number))) = (numbers.next(), numbers.next()) {
            self.0.lock().unwrap().push((connection, number, record.outcome));
        }
    }

    fn flush(&mut self) {}
}
