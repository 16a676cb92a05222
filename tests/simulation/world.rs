//! The world around the server: clients, clock, disk, other threads, and who is next.
//!
//! The server is the loop's own code ([`Running`]); only waiting is played here. Each step is one thing that
//! can happen now, chosen by chance: a client does something, or the loop takes its next step. When nothing
//! can happen, the clock goes on to the next moment that somebody waits for; when there is none, somebody
//! waits for ever, and that is a failure.

use std::cell::{Cell, RefCell};
use std::mem;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mio::{Poll, Token, Waker};

use super::application::{Application, Hooks, Ledger, Shared as SharedLedger};
use super::disk::{Room, SimulatedDisk};
use super::door::{Door, Doorkeeper};
use super::model::{Model, Scene, judge_account, judge_wire};
use super::plan::{Goodbye, Pace, Reading, Script};
use super::rng::Rng;
use super::server::{Place, Served, State};
use super::socket::{Socket, System};
use crate::conversation::{AccessLog, Budget, ExchangeRecord, Memory, Outcome, Shutdown, Wants};
use crate::gateway::ReadBuffer;
use crate::limits::Limits;
use crate::now::{Moment, Now};
use crate::reactor::clock::Clock;
use crate::reactor::connection_id::ConnectionId;
use crate::reactor::connections::Connections;
use crate::reactor::journal::LoopJournal;
use crate::reactor::listener::Accepting;
use crate::reactor::readiness::Readiness;
use crate::reactor::running::{LoopBudget, Patience, Running, listener_token};
use crate::reactor::shared::{Means, Settings, Shared};
use crate::reactor::shutdown::{Command, Queue};
use crate::reactor::wakeup_queue::WakeupQueue;
use crate::reactor::watch::LoopSelector;

/// More steps than any schedule needs.
const STEPS_MAX: usize = 100_000;
const SECOND: Duration = Duration::from_secs(1);

/// Everything.
struct World<'g> {
    rng: Rng,
    now: Moment,
    running: Running<'g, Doorkeeper>,
    stage: Stage,
    /// The command to the server.
    command: Command,
    queue: Arc<WakeupQueue>,
    doors: Vec<Rc<RefCell<Door>>>,
    is_exhausted: Rc<Cell<bool>>,
    /// Bytes in the account that belong to nobody here.
    foreign_bytes: usize,
    /// Whether there were some at some time.
    was_memory_taken: bool,
    /// Memory was scarce when the present step began.
    was_scarce: bool,
    scripts: Rc<Vec<Script>>,
    ledger: SharedLedger,
    served: Vec<Served>,
    /// Everyone who was ever inside, and what the server calls them.
    ids: Vec<(usize, ConnectionId)>,
    /// The connections whose applications watch a descriptor that has become ready.
    watching: Vec<(usize, ConnectionId)>,
    clients: Vec<Client>,
    models: Vec<Model>,
    room: Rc<Room>,
    /// Since when connections have made room without the doors having been found empty.
    crowded_since: Option<Moment>,
    records: Option<Records>,
    is_traced: bool,
}

/// Where in its turn the loop is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The loop waits.
    Asleep,
    /// The loop has these events.
    Events(Vec<(Token, u8)>),
    Deliver,
    Accept,
    Wake,
    Remainders,
    Expire,
    Memory,
    Obey,
    /// The loop has ended.
    Over,
}

/// The progress of a client.
struct Client {
    sent: usize,
    /// When a slow one sends again, and reads again.
    sends_at: Moment,
    reads_at: Moment,
    is_done: bool,
}

/// An action that can happen next.
#[derive(Clone, Copy, Debug)]
enum Action {
    Connect(usize),
    /// A client that was deferred is shown.
    Show(usize),
    Send(usize),
    Finish(usize),
    Read(usize),
    /// The loop takes its next step.
    Step,
    Job(usize),
    /// The application takes requests again.
    Ready,
    /// There are descriptors again.
    Free,
}

/// Plays one schedule; says what should not have been.
pub fn play(seed: u64, is_traced: bool) -> Result<(), String> {
    let rng = Rng::new(seed);
    let count = rng.pick(&[1, 1, 1, 2, 2, 3, 4, 5]);
    let scripts: Rc<Vec<_>> = Rc::new((0..count).map(|number| Script::new(number, &rng)).collect());
    let limits = limits(count, &rng);
    let accepted = Rc::<RefCell<Vec<usize>>>::default();
    let ledger = Rc::new(RefCell::new(Ledger {
        accounts: (0..count).map(|_| Default::default()).collect(),
        jobs: Vec::new(),
        wakeups: Vec::new(),
        accepted: accepted.clone(),
        is_ready: true,
        called_unready: None,
        violations: Vec::new(),
        output_bytes_high: limits.output_bytes_high,
        is_draining: false,
    }));
    let application = Application { scripts: scripts.clone(), ledger: ledger.clone() };
    let hooks = Hooks(ledger.clone());
    let room = Rc::<Room>::default();
    let records = rng.once_in(2).then(Records::default);
    let poll = Poll::new().map_err(|error| error.to_string())?;
    let waker = Waker::new(poll.registry(), Token(0)).map_err(|error| error.to_string())?;
    let queue = Arc::new(WakeupQueue::new(waker));
    let log = records.clone().map(|records| Box::new(records) as Box<dyn AccessLog + Send>);
    let clock = Clock::start();
    let connections_max = limits.connections_max;
    let mut shared = Shared::new(
        Box::new(application),
        Some(Box::new(hooks)),
        Settings {
            limits,
            // By the real clock, which so has no part in it.
            hold_max: rng.pick(&[Duration::ZERO, Duration::MAX]),
            ..Settings::default()
        },
        Means {
            selector: Arc::new(LoopSelector {
                registry: poll.registry().try_clone().map_err(|error| error.to_string())?,
            }),
            journal: LoopJournal::new(log, clock),
            disk: Box::new(SimulatedDisk::new(scripts.clone(), room.clone(), rng.once_in(2))),
            locals: Vec::new(),
            queue: queue.clone(),
            clock,
        },
    );
    shared.context.refresh(Now::default());
    shared.scratch = ReadBuffer::for_reads_of(rng.pick(&[1, 7, 64, 512, 4096, 16_384]));
    let is_exhausted = Rc::<Cell<bool>>::default();
    let door = |_| Rc::new(RefCell::new(Door::new(&rng, is_exhausted.clone(), accepted.clone())));
    let doors: Vec<_> = (0..rng.pick(&[1, 1, 2])).map(door).collect();
    let doorkeepers = doors.iter().cloned().map(Doorkeeper).collect();
    let system = rng.pick(&[System::Epoll, System::Epoll, System::Kqueue, System::Poll]);
    let mut world = World {
        now: Moment::START,
        running: Running::new(doorkeepers, Connections::of_loop(0, 1, connections_max), shared),
        stage: Stage::Asleep,
        command: Command::Run,
        queue,
        doors,
        is_exhausted,
        foreign_bytes: 0,
        was_memory_taken: false,
        was_scarce: false,
        ledger,
        served: Vec::new(),
        ids: Vec::new(),
        watching: Vec::new(),
        clients: Vec::new(),
        models: (0..count).map(|_| Model::default()).collect(),
        room,
        crowded_since: None,
        records,
        scripts,
        is_traced,
        rng,
    };
    (0..count).for_each(|number| world.invite(number, system));
    if is_traced {
        eprintln!("{system:?}\n{}", world.describe());
    }
    world.run()
}

fn limits(count: usize, rng: &Rng) -> Limits {
    let defaults = Limits::default();
    Limits {
        output_bytes_high: rng.pick(&[1, 64, 300, 4096, 65_536]),
        body_memory_bytes_max: rng.pick(&[0, 16, 1000, 1 << 20]),
        body_rate_min: rng.pick(&[0, 500]),
        output_rate_min: rng.pick(&[0, 500]),
        tunnel_timeout: rng.pick(&[defaults.tunnel_timeout, Duration::from_secs(8)]),
        connections_max: rng.pick(&[defaults.connections_max, count, 1, 2]),
        memory_bytes_max: rng.pick(&[
            defaults.memory_bytes_max,
            defaults.memory_bytes_max,
            2 * defaults.head_bytes_max,
            4_000,
        ]),
        ..defaults
    }
}

impl World<'_> {
    /// A client that may connect.
    fn invite(&mut self, number: usize, system: System) {
        let bytes = self.scripts[number].socket_bytes;
        let socket = Socket::new(bytes, system, &self.rng, self.scripts.clone());
        self.ledger.borrow_mut().accounts[number].written = socket.written.clone();
        self.served.push(Served {
            number,
            place: Place::Away,
            socket: Rc::new(RefCell::new(socket)),
            accepted: None,
            ended: None,
            closed: None,
            is_abandoned: false,
            is_turned_away: false,
            has_made_room: false,
            state: State::NEW,
        });
        self.clients.push(Client { sent: 0, sends_at: self.now, reads_at: self.now, is_done: false });
        // Most are there from the beginning.
        if !self.rng.once_in(3) {
            self.connect(number);
        }
    }

    fn connect(&mut self, number: usize) {
        let door = self.rng.below(self.doors.len());
        let served = &mut self.served[number];
        if self.doors[door].borrow().is_closed {
            served.place = Place::Gone;
        } else {
            self.doors[door].borrow_mut().connect(number, served.socket.clone());
            served.place = Place::AtDoor(door);
        }
    }

    /// Lets time pass, but not in the midst of a turn of the loop, in which nothing waits.
    fn pass(&mut self, duration: Duration) {
        if self.stage == Stage::Asleep {
            self.now = self.now + duration;
        }
    }

    /// Lets everything happen until every connection has ended; says what should not have been.
    fn run(&mut self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            if self.served.iter().all(Served::is_gone) {
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

    /// Lets something happen that may happen at any time, and seldom does.
    fn chance(&mut self) {
        if !self.rng.once_in(30) {
            return;
        }
        let number = self.rng.below(self.served.len());
        match self.rng.below(16) {
            0..2 => self.served[number].socket.borrow_mut().lie(),
            2..4 => self.wake_anybody(),
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
            10 if self.rng.once_in(4) => self.command(),
            11 => self.ledger.borrow_mut().is_ready = false,
            12 => self.is_exhausted.set(true),
            13 => self.take_memory(),
            // The wait for events is interrupted.
            14 if self.stage == Stage::Asleep => self.begin(),
            _ => {}
        }
    }

    /// The server is told to end.
    fn command(&mut self) {
        if let Command::Drain(Queue::Left | Queue::Waiting) = self.command {
            // Now for good.
            self.command = Command::Drain(Queue::Accepted);
            self.queue.notify();
        }
        if self.command == Command::Run {
            let queue = self.rng.pick(&[Queue::Accepted, Queue::Left, Queue::Waiting]);
            self.command = if self.rng.once_in(6) { Command::Stop } else { Command::Drain(queue) };
            self.queue.notify();
        }
    }

    /// Others take of the memory, or give it back.
    fn take_memory(&mut self) {
        let all = self.running.shared.context.limits.memory_bytes_max;
        let bytes = self.rng.pick(&[0, 0, all / 4 * 3, all / 4 * 3, all]);
        self.running.shared.connection_bytes -= self.foreign_bytes;
        self.running.shared.connection_bytes += bytes;
        self.foreign_bytes = bytes;
        self.was_memory_taken = true;
        self.queue.notify();
    }

    /// Somebody is woken who need not wait for it, nor be there any more.
    fn wake_anybody(&mut self) {
        if !self.ids.is_empty() && self.rng.once_in(2) {
            return self.watching.push(self.rng.pick(&self.ids));
        }
        let mut ledger = self.ledger.borrow_mut();
        if !ledger.wakeups.is_empty() {
            let (connection, wakeup) = ledger.wakeups[self.rng.below(ledger.wakeups.len())].clone();
            ledger.accounts[connection].wakes += 1;
            wakeup.wake();
        }
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::with_capacity(16);
        for (number, served) in self.served.iter().enumerate() {
            match served.place {
                Place::Gone => continue,
                Place::Away => {
                    actions.push(Action::Connect(number));
                    continue;
                }
                Place::AtDoor(_) | Place::Inside(_) => {}
            }
            let (client, script) = (&self.clients[number], &self.scripts[number]);
            if self.can_send(number) && client.sends_at <= self.now {
                actions.push(Action::Send(number));
            }
            if client.sent == script.bytes.len() && !client.is_done {
                actions.push(Action::Finish(number));
            }
            if self.can_read(number) && client.reads_at <= self.now {
                actions.push(Action::Read(number));
            }
        }
        let deferred = self.doors.iter().filter_map(|door| door.borrow().deferred());
        actions.extend(deferred.map(Action::Show));
        let ledger = self.ledger.borrow();
        actions.extend((0..ledger.jobs.len()).map(Action::Job));
        actions.extend((!ledger.is_ready).then_some(Action::Ready));
        actions.extend(self.is_exhausted.get().then_some(Action::Free));
        actions.extend(self.can_step().then_some(Action::Step));
        actions
    }

    /// Whether the client has something to send, and does not wait for an answer first.
    fn can_send(&self, number: usize) -> bool {
        let (client, script, served) = (&self.clients[number], &self.scripts[number], &self.served[number]);
        let is_answered = || {
            let is_first = !script.items.iter().any(|item| item.start == client.sent && item.start > 2);
            let is_quiet = served.state.is_idle && served.state.owed == 0 && !served.state.is_corked;
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

    /// Whether the loop has something to do, or the system would end its wait.
    fn can_step(&self) -> bool {
        match self.stage {
            Stage::Asleep => self.has_events() || self.queue.is_notified() || self.is_due(),
            Stage::Over => false,
            _ => true,
        }
    }

    fn has_events(&self) -> bool {
        self.served.iter().any(|served| served.id().is_some() && served.socket().has_event())
            || self.doors.iter().any(|door| door.borrow().has_event && !door.borrow().is_closed)
            || !self.watching.is_empty()
    }

    fn is_due(&self) -> bool {
        match self.running.patience() {
            Patience::None => true,
            Patience::Until(moment) => moment <= self.now,
            Patience::Endless => false,
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Connect(number) => self.connect(number),
            Action::Show(number) => self.doors.iter().for_each(|door| door.borrow_mut().show(number)),
            Action::Send(number) => self.send(number),
            Action::Finish(number) => self.finish(number),
            Action::Read(number) => self.read(number),
            Action::Step => self.step(),
            Action::Job(index) => {
                let mut ledger = self.ledger.borrow_mut();
                let job = ledger.jobs.swap_remove(index);
                job.is_done.store(true, Ordering::Relaxed);
                match self.served[job.connection].id() {
                    // What it has waited for was a descriptor.
                    Some(id) if self.rng.once_in(2) => self.watching.push((job.connection, id)),
                    Some(_) | None => {
                        ledger.accounts[job.connection].wakes += 1;
                        job.wakeup.wake();
                    }
                }
            }
            Action::Ready => {
                self.ledger.borrow_mut().is_ready = true;
                self.queue.notify();
            }
            Action::Free => self.is_exhausted.set(false),
        }
    }

    fn send(&mut self, number: usize) {
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
            client.sends_at = self.now + SECOND;
        }
        self.served[number].socket.borrow_mut().send(&script.bytes[client.sent..][..count]);
        client.sent += count;
        self.doors.iter().for_each(|door| door.borrow_mut().show(number));
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
        let mut socket = self.served[number].socket.borrow_mut();
        let count = match self.scripts[number].reading {
            Reading::Slow(bytes) => {
                self.clients[number].reads_at = self.now + SECOND;
                bytes.min(socket.unread())
            }
            Reading::Until(bytes) => socket.unread().min(bytes - socket.read_by_client),
            Reading::Fast => socket.unread(),
        };
        socket.take(count);
    }

    /// The loop takes its next step in which there is something to do.
    fn step(&mut self) {
        loop {
            let is_busy = self.is_busy();
            let stage = self.stage.clone();
            if is_busy {
                self.prepare();
            }
            match &mut self.stage {
                Stage::Asleep => return self.begin(),
                Stage::Events(events) => match events.pop() {
                    Some((token, signs)) => {
                        if self.is_traced {
                            eprintln!("event {signs:#b} for {token:?}");
                        }
                        if signs & Readiness::READABLE != 0 {
                            let heard = self.served.iter().filter(|served| served.socket().token == token);
                            heard.for_each(|served| served.socket.borrow_mut().tell());
                        }
                        self.running.dispatch(token, signs);
                    }
                    None => self.stage = Stage::Deliver,
                },
                Stage::Deliver => self.running.deliver(),
                Stage::Accept => {
                    self.running.accept();
                }
                Stage::Wake => {
                    self.running.wake(&self.queue);
                }
                Stage::Remainders => {
                    self.running.take_up_remainders();
                }
                Stage::Expire => {
                    self.running.expire();
                }
                Stage::Memory => {
                    self.running.watch_memory();
                }
                Stage::Obey => {
                    if self.running.obey(self.command).is_break() {
                        self.stage = Stage::Over;
                    }
                }
                Stage::Over => return,
            }
            if is_busy || self.stage == Stage::Over {
                self.observe(&stage);
            }
            self.stage = match mem::replace(&mut self.stage, Stage::Asleep) {
                Stage::Events(events) => Stage::Events(events),
                Stage::Deliver if matches!(stage, Stage::Events(_)) => Stage::Deliver,
                Stage::Deliver => Stage::Accept,
                Stage::Accept => Stage::Wake,
                Stage::Wake => Stage::Remainders,
                Stage::Remainders => Stage::Expire,
                Stage::Expire => Stage::Memory,
                Stage::Memory => Stage::Obey,
                Stage::Obey | Stage::Asleep => Stage::Asleep,
                Stage::Over => Stage::Over,
            };
            if is_busy || self.stage == Stage::Asleep || self.stage == Stage::Over {
                return;
            }
        }
    }

    /// Whether something is to be done now, as far as can be told.
    fn is_busy(&self) -> bool {
        let now = self.running.shared.context.now.moment;
        let states = || self.served.iter().filter(|served| served.id().is_some()).map(|served| served.state);
        match &self.stage {
            Stage::Asleep | Stage::Over => false,
            Stage::Events(events) => !events.is_empty(),
            Stage::Deliver => !self.running.shared.corked_responses.is_empty(),
            Stage::Accept => self.doors.iter().any(|door| match door.borrow().accepting {
                Accepting::Ready => !door.borrow().is_closed,
                Accepting::Paused(until) => until <= now,
                Accepting::Waiting => false,
            }),
            Stage::Wake => self.queue.is_notified() || !self.running.woken.is_empty(),
            Stage::Remainders => states().any(|state| state.is_ready || state.is_starved),
            Stage::Expire => self.running.timers.next().is_some_and(|next| next <= now),
            Stage::Memory => self.is_memory_little(),
            Stage::Obey => self.command != Command::Run,
        }
    }

    /// The wait for events is over: a turn of the loop begins.
    fn begin(&mut self) {
        let unix_seconds = self.now.since(Moment::START).as_secs();
        self.running.shared.context.refresh(Now { moment: self.now, unix_seconds });
        let rng = &self.rng;
        self.running.budget = LoopBudget {
            accepts: rng.pick(&[1, 2, 32]),
            remainders: rng.pick(&[1, 2, 256]),
            expiries: rng.pick(&[1, 2, 64]),
        };
        let events_max = rng.pick(&[1, 2, 128, 128]);
        let mut events = Vec::new();
        let first = rng.below(self.served.len());
        for number in (0..self.served.len()).map(|number| (first + number) % self.served.len()) {
            let mut socket = self.served[number].socket.borrow_mut();
            if events.len() < events_max && socket.has_event() {
                let token = socket.token;
                events.extend(socket.take_events().into_iter().map(|signs| (token, signs)));
            }
        }
        for (number, id) in self.watching.drain(..) {
            self.ledger.borrow_mut().accounts[number].wakes += 1;
            events.push((id.watch_token(), Readiness::READABLE));
        }
        for (index, door) in self.doors.iter().enumerate() {
            if mem::take(&mut door.borrow_mut().has_event) {
                events.push((listener_token(index), 1));
            }
        }
        if events.len() > 1 && rng.once_in(2) {
            events.reverse();
        }
        self.stage = Stage::Events(events);
    }

    /// Prepares a step: what it finds differs from step to step.
    fn prepare(&mut self) {
        let is_listening = self.stage == Stage::Wake;
        let ledger = &mut *self.ledger.borrow_mut();
        for (served, account) in self.served.iter().zip(&mut ledger.accounts) {
            // What was not heard in a turn that was over, or while the client was owed too much, is heard later.
            account.reasons = match served.state.wants {
                Wants::Turn | Wants::Write | Wants::ReadOrWrite => account.reasons,
                Wants::Read | Wants::Application | Wants::Close(_) => 0,
            };
            account.reasons += if is_listening { account.wakes } else { 0 };
            (account.owed, account.drawn) = (served.state.owed, 0);
            account.written_before = account.written.get();
            account.calls_before = account.calls;
        }
        ledger.called_unready = None;
        ledger.is_draining = self.running.shared.context.shutdown != Shutdown::No;
        // While memory is scarce nothing more is drawn for who is owed anything. It can become so within a step.
        let shared = &self.running.shared;
        ledger.output_bytes_high = match self.stage {
            Stage::Events(_) if shared.corked_responses.is_empty() => shared.output_bytes_high(),
            _ => shared.context.limits.output_bytes_high,
        };
        self.was_scarce = self.running.shared.memory() == Memory::Scarce;
        let rng = &self.rng;
        self.running.shared.budget =
            Budget { requests: rng.pick(&[1, 2, 32]), pieces: rng.pick(&[1, 3, 256]) };
    }

    /// Observes what has become of everybody in a step.
    fn observe(&mut self, stage: &Stage) {
        self.admit();
        self.hear(stage);
        let now = self.running.shared.context.now.moment;
        let (crowded_since, mut was_room_made) = (self.crowded_since, false);
        for number in 0..self.served.len() {
            let Some(id) = self.served[number].id() else {
                continue;
            };
            let before = self.served[number].state;
            let is_memory_little = self.is_memory_little();
            let served = &mut self.served[number];
            match self.running.connections.get(id) {
                Some(connection) => served.state = State::of(connection, id, &self.running.shared),
                None => {
                    served.place = Place::Gone;
                    served.closed = Some(now);
                    let is_stalled = *stage == Stage::Expire && before.owed > 0 && served.socket().resets();
                    let is_stopped = self.stage == Stage::Over;
                    // Who does not move gives back what is held for it, where there is little.
                    let is_cut = is_memory_little && !served.socket().has_ended_first;
                    served.is_abandoned = is_stopped || is_stalled || is_cut || served.socket().is_broken;
                    let is_accepting =
                        matches!(stage, Stage::Accept | Stage::Obey) && before.deadline.is_some();
                    // Perhaps for somebody who has gone again within the same step.
                    was_room_made |= matches!(stage, Stage::Accept | Stage::Obey);
                    served.has_made_room = is_accepting && !is_stopped && !is_cut && before.owed == 0;
                    // Who makes room in the midst of a head hears so, but for what the socket does not take.
                    served.is_abandoned |= served.has_made_room && before.idle_since.is_none();
                }
            }
            let waits_in_vain =
                before.waiting_since.is_some() && before.deadline.is_some_and(|deadline| deadline <= now);
            served.is_turned_away |= waits_in_vain && served.state.waiting_since.is_none();
            if served.ended.is_none() && served.socket().end.is_some() {
                served.ended = Some(now);
            }
            // Most are as they were.
            if self.served[number].state != before || self.served[number].is_gone() || self.has_moved(number)
            {
                self.watch(number, stage, &before);
            }
            if self.served[number].is_gone() && !self.scripts[number].is_patient && self.can_send(number) {
                // It cannot know.
                self.send(number);
            }
        }
        self.crowded_since = crowded_since.or(was_room_made.then_some(now));
        if self.doors.iter().all(|door| door.borrow().accepting == Accepting::Waiting) {
            self.crowded_since = None;
        }
        self.check_account();
        if self.stage == Stage::Over {
            self.served.iter_mut().for_each(|served| served.place = Place::Gone);
        }
    }

    /// Whether bytes of a connection have moved in this step, or are known to nobody yet.
    fn has_moved(&self, number: usize) -> bool {
        let account = &self.ledger.borrow().accounts[number];
        account.written.get() > account.written_before || self.models[number].is_behind(&self.served[number])
    }

    /// Notes who was accepted, and who has left before.
    fn admit(&mut self) {
        let ledger = self.ledger.borrow();
        for (index, number) in ledger.accepted.borrow().iter().enumerate() {
            let served = &mut self.served[*number];
            if let Place::AtDoor(_) = served.place {
                let ids = self.running.connections.ids();
                let now = self.running.shared.context.now.moment;
                served.accepted = Some(now);
                // The server counts from 1. Who has gone already had an id as well, that nobody has now.
                let id = ids.iter().find(|id| id.number() == index as u64 + 1);
                served.place = Place::Inside(id.copied().unwrap_or_default());
                self.ids.extend(id.map(|id| (*number, *id)));
            }
        }
        for number in self.doors.iter().flat_map(|door| door.borrow_mut().take_left()) {
            self.served[number].place = Place::Gone;
        }
    }

    /// Notes who was woken, and what stands in the access log.
    fn hear(&mut self, stage: &Stage) {
        let records = self.records.iter().flat_map(Records::take);
        let accounts = &mut self.ledger.borrow_mut().accounts;
        records
            .for_each(|(connection, number, outcome)| accounts[connection].records.push((number, outcome)));
        // A turn may have woken somebody, too, who reads content and so makes room.
        if *stage == Stage::Wake && self.running.woken.is_empty() && !self.queue.is_notified() {
            accounts.iter_mut().for_each(|account| account.wakes = 0);
        }
    }

    /// Whether everything is as it should be after a step.
    fn watch(&mut self, number: usize, stage: &Stage, before: &State) {
        let shared = &self.running.shared;
        let (limits, now, shutdown) =
            (&shared.context.limits, shared.context.now.moment, shared.context.shutdown);
        let mut ledger = self.ledger.borrow_mut();
        let ledger_called = ledger.called_unready;
        let Ledger { accounts, violations, .. } = &mut *ledger;
        let (served, script, account) = (&self.served[number], &self.scripts[number], &accounts[number]);
        let is_called_unready = ledger_called == Some(number);
        let is_memory_little = self.is_memory_little();
        let (was_scarce, budget, crowded_since) = (self.was_scarce, shared.budget, self.crowded_since);
        let scene = Scene {
            served,
            script,
            account,
            limits,
            now,
            shutdown,
            stage,
            before,
            is_called_unready,
            is_memory_little,
            was_scarce,
            budget,
            crowded_since,
        };
        self.models[number].watch(&scene, violations);
        drop(ledger);
        let is_changed = self.served[number].state != *before || self.served[number].is_gone();
        if self.is_traced && is_changed {
            self.trace(&format!("{stage:?}"), number);
        }
    }

    /// Whether there may have been too little memory at some time.
    fn is_memory_little(&self) -> bool {
        let all = self.running.shared.context.limits.memory_bytes_max;
        self.was_memory_taken || all < Limits::default().memory_bytes_max
    }

    /// The account of memory is the sum of what everybody holds.
    fn check_account(&mut self) {
        let inside = self.served.iter().filter(|served| served.id().is_some());
        let held: usize = inside.map(|served| served.state.memory_in_use).sum();
        let known = self.running.shared.connection_bytes - self.foreign_bytes;
        if held != known {
            let what = format!("{held} bytes are held, and {known} are known of");
            self.ledger.borrow_mut().violations.push(what);
        }
    }

    /// Nothing can happen now: on to the next moment that somebody waits for, or a little later.
    fn pass_time(&mut self) -> Result<(), String> {
        let mut moments = Vec::new();
        let alarm = match self.running.patience() {
            Patience::None => return Err("it sleeps although it could go on".to_string()),
            Patience::Until(moment) => Some(moment),
            Patience::Endless => None,
        };
        moments.extend(alarm);
        for (number, served) in self.served.iter().enumerate().filter(|(_, served)| !served.is_gone()) {
            let tunnel = self.ledger.borrow().accounts[number].present_tunnel().copied();
            let is_draining = self.running.shared.context.shutdown != Shutdown::No;
            if tunnel.is_some_and(|tunnel| is_draining && !tunnel.knows_drain) {
                return Err(format!("connection {number}: its tunnel does not know that the server drains"));
            }
            if let Some(what) = self.overlooked(served) {
                return Err(format!("connection {number} waits for {what}: {:?}", served.state));
            }
            if served.id().is_some() && alarm.is_none_or(|alarm| served.state.deadline < Some(alarm)) {
                return Err(format!("connection {number}: no timer goes off in time: {:?}", served.state));
            }
            moments.extend(self.can_send(number).then_some(self.clients[number].sends_at));
            moments.extend(self.can_read(number).then_some(self.clients[number].reads_at));
        }
        let next = moments.into_iter().min().ok_or("nobody waits for anything")?;
        self.now = next + Duration::from_millis(self.rng.pick(&[0, 0, 0, 1, 700, 100_000]));
        Ok(())
    }

    /// Finds readiness that exists and that no event will report any more: an edge was lost.
    fn overlooked(&self, served: &Served) -> Option<&'static str> {
        if let Place::AtDoor(door) = served.place {
            return self.overlooked_at(&self.doors[door].borrow());
        }
        let socket = served.socket();
        match served.state.wants {
            _ if socket.is_broken => Some("a client that has left"),
            _ if served.state.deadline.is_none() => Some("ever"),
            // Where memory has become ample meanwhile, it goes on when something has left.
            Wants::Read if served.state.owed > 0 && self.is_memory_little() && !socket.has_much_room() => {
                None
            }
            Wants::Read | Wants::ReadOrWrite | Wants::Close(_)
                if socket.is_readable() && !served.state.is_starved =>
            {
                Some("what it could read")
            }
            _ if served.state.owed > 0 && socket.has_much_room() => Some("room that there is"),
            Wants::Application if served.state.is_untold && socket.has_client_ended => Some("no reason"),
            _ => None,
        }
    }

    /// Finds the reason why somebody should not have to wait at this door.
    fn overlooked_at(&self, door: &Door) -> Option<&'static str> {
        let inside = || self.served.iter().filter(|served| served.id().is_some());
        let is_full = inside().count() >= self.running.shared.context.limits.connections_max;
        match door.accepting {
            Accepting::Ready | Accepting::Waiting => Some("a door that nobody opens"),
            Accepting::Paused(until) if until > self.now + SECOND => Some("more than a second"),
            Accepting::Paused(_) if door.was_exhausted => None,
            Accepting::Paused(_) if !is_full => Some("a place that there is"),
            Accepting::Paused(_) if inside().any(|served| served.state.idle_since.is_some()) => {
                Some("a place that somebody could make")
            }
            Accepting::Paused(_) => None,
        }
    }

    /// Every connection has ended: is everything as it should be?
    fn judge(&mut self) -> Result<(), String> {
        let ledger = self.ledger.borrow();
        for (number, (served, script)) in self.served.iter().zip(&*self.scripts).enumerate() {
            let account = &ledger.accounts[number];
            let judge = || {
                let context = &self.running.shared.context;
                let (was_disk_full, is_memory_little) = (self.room.was_full.get(), self.is_memory_little());
                judge_wire(number, served, script, account, context, was_disk_full, is_memory_little)?;
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
                self.now.since(Moment::START).as_millis(),
                self.clients[number].sent,
                served.socket().read_by_server,
                self.ledger.borrow().accounts[number].calls,
                served.socket().wire.len(),
                if served.is_gone() { None } else { Some(served.state.wants) },
                served.state.owed,
            );
        }
    }

    /// Describes the scripts, for whoever replays a seed.
    fn describe(&self) -> String {
        format!(
            "{:#?}\n{:?}",
            self.running.shared.context.limits,
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
