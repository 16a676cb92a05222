//! The world around the conversations: clients, clock, disk, other threads, and who is next.
//!
//! Each step is one thing that can happen now, chosen by chance. When nothing can, the clock goes on
//! to the next moment that somebody waits for; when there is none, somebody waits for ever, and that
//! is a failure.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::application::{Application, Ledger, Shared};
use super::disk::SimulatedDisk;
use super::model::{Model, Scene, judge_account, judge_wire};
use super::plan::{Goodbye, Pace, Reading, Script};
use super::rng::Rng;
use super::server::{Around, Cause, Served, Wakes};
use tidegate::conversation::{
    Budget, ExchangeRecord, Journal, Life, Memory, OutputQueue, RequestLine, Surroundings, Turn, Wanted,
};
use tidegate::gateway::{Client as Asker, GatewayError, Peer, ServerInfo};
use tidegate::limits::Limits;
use tidegate::now::{Moment, Now};

/// More steps than any schedule needs.
const STEPS_MAX: usize = 100_000;
const SECOND: Duration = Duration::from_secs(1);

/// Everything.
pub struct World {
    rng: Rng,
    around: Surroundings,
    drain_until: Option<Moment>,
    scripts: Rc<Vec<Script>>,
    application: Application,
    ledger: Shared,
    served: Vec<Served>,
    clients: Vec<Client>,
    models: Vec<Model>,
    disk: SimulatedDisk,
    wants_exchanges: bool,
    scratch: Vec<u8>,
    out: OutputQueue,
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
    Job(usize),
}

impl World {
    pub fn new(seed: u64, is_traced: bool) -> World {
        let mut rng = Rng::new(seed);
        let count = rng.pick(&[1, 1, 2, 3, 4]);
        let scripts: Rc<Vec<_>> = Rc::new((0..count).map(|number| Script::new(number, &mut rng)).collect());
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
        let now = Moment::START;
        let served = scripts.iter().enumerate();
        let served = served.map(|(number, script)| Served::new(number, script.socket_bytes, now)).collect();
        let client = || Client { sent: 0, sends_at: now, reads_at: now, is_done: false };
        World {
            around: Surroundings::new(limits, ServerInfo::default(), Now::default()),
            drain_until: None,
            application: Application { scripts: scripts.clone(), ledger: ledger.clone() },
            ledger,
            served,
            clients: (0..count).map(|_| client()).collect(),
            models: (0..count).map(|_| Model::default()).collect(),
            disk: SimulatedDisk::new(scripts.clone()),
            scripts,
            wants_exchanges: rng.once_in(2),
            scratch: vec![0; rng.pick(&[1, 7, 64, 512, 4096])],
            out: OutputQueue::default(),
            is_traced,
            rng,
        }
    }

    /// Lets everything happen until every connection has ended; says what should not have been.
    pub fn run(&mut self) -> Result<(), String> {
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
            0..2 => self.served[number].has_event = true,
            2..4 => self.served[number].woken.0.store(true, Ordering::Relaxed),
            4 => {
                self.disk.is_full = !self.disk.is_full;
                self.disk.was_full |= self.disk.is_full;
            }
            5..8 => {
                self.around.now.moment =
                    self.around.now.moment + Duration::from_millis(self.rng.pick(&[1, 100, 900]))
            }
            8 if self.rng.once_in(4) => {
                self.around.now.moment =
                    self.around.now.moment + Duration::from_secs(self.rng.pick(&[3, 21, 100, 5_000]));
            }
            9 if self.rng.once_in(4) => {
                self.served[number].socket.is_broken = true;
                self.served[number].has_event = true;
                self.clients[number].is_done = true;
            }
            10 if self.rng.once_in(4) && self.drain_until.is_none() => {
                self.trace("drain", 0);
                self.drain_until = Some(self.around.now.moment + self.around.limits.drain_timeout);
                self.around.life = Life::Draining;
                self.ledger.borrow_mut().is_draining = true;
                self.served.iter_mut().for_each(Served::look_again);
            }
            _ => {}
        }
    }

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::with_capacity(16);
        for (number, served) in self.served.iter().enumerate() {
            if served.is_gone {
                continue;
            }
            let (client, script) = (&self.clients[number], &self.scripts[number]);
            if self.can_send(number) && client.sends_at <= self.around.now.moment {
                actions.push(Action::Send(number));
            }
            if client.sent == script.bytes.len() && !client.is_done {
                actions.push(Action::Finish(number));
            }
            if self.can_read(number) && client.reads_at <= self.around.now.moment {
                actions.push(Action::Read(number));
            }
            let is_due = served
                .deadline(&self.around.limits)
                .is_some_and(|deadline| deadline <= self.around.now.moment);
            let is_woken = served.woken.0.load(Ordering::Relaxed);
            // In a turn of the loop, timers come last.
            let is_due = is_due && !served.has_event && !served.is_ready && !is_woken;
            for (is_possible, cause) in [
                (served.has_event, Cause::Event),
                (served.is_ready, Cause::Remainder),
                (is_woken, Cause::Wake),
                (is_due, Cause::Timer),
            ] {
                if is_possible {
                    actions.push(Action::Turn(number, cause));
                }
            }
        }
        actions.extend((0..self.ledger.borrow().jobs.len()).map(Action::Job));
        actions
    }

    /// Whether the client has something to send, and does not wait for an answer first.
    fn can_send(&self, number: usize) -> bool {
        let (client, script, served) = (&self.clients[number], &self.scripts[number], &self.served[number]);
        let is_answered = || {
            let is_first = !script.items.iter().any(|item| item.start == client.sent && item.start > 2);
            is_first
                || (served.conversation.is_idle() && served.backlog.is_none() && served.socket.unread() == 0)
        };
        client.sent < script.stalls_at && !client.is_done && (!script.is_patient || is_answered())
    }

    fn can_read(&self, number: usize) -> bool {
        let socket = &self.served[number].socket;
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
            Action::Job(index) => {
                let job = self.ledger.borrow_mut().jobs.swap_remove(index);
                job.is_done.store(true, Ordering::Relaxed);
                job.wakeup.wake();
            }
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
            client.sends_at = self.around.now.moment + SECOND;
        }
        self.served[number].socket.send(&script.bytes[client.sent..][..count]);
        self.served[number].has_event = true;
        client.sent += count;
        self.trace("sent", number);
    }

    fn finish(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let is_served = self.served[number].conversation.is_idle();
        match self.scripts[number].farewell {
            Goodbye::Stay => {}
            Goodbye::HalfClose => self.served[number].socket.has_client_ended = true,
            // Now and then in the middle, else when it is served.
            Goodbye::Reset if !is_served && !self.rng.once_in(20) => return,
            Goodbye::Reset => self.served[number].socket.is_broken = true,
        }
        client.is_done = true;
        self.served[number].has_event = true;
        self.trace("finished", number);
    }

    fn read(&mut self, number: usize) {
        let socket = &mut self.served[number].socket;
        let count = match self.scripts[number].reading {
            Reading::Slow(bytes) => {
                self.clients[number].reads_at = self.around.now.moment + SECOND;
                bytes.min(socket.unread())
            }
            Reading::Until(bytes) => socket.unread().min(bytes - socket.read_by_client),
            Reading::Fast => socket.unread(),
        };
        socket.read_by_client += count;
        let has_room = socket.has_much_room();
        let served = &mut self.served[number];
        if served.waits_for_room && has_room {
            served.waits_for_room = false;
            served.has_event = true;
        }
    }

    /// The turn of a connection; without a cause, its end.
    fn turn(&mut self, number: usize, cause: Option<Cause>) {
        let served = &mut self.served[number];
        let wakes = Wakes(served.woken.clone());
        let mut journal =
            Records { ledger: self.ledger.clone(), wanted: self.wants_exchanges.then(Wanted::default) };
        let budget = Budget { requests: self.rng.pick(&[1, 2, 32]), pieces: self.rng.pick(&[1, 3, 256]) };
        let turn = Turn {
            gateway: &mut self.application,
            around: &self.around,
            client: Asker {
                connection_id: number as u64,
                peer: &Peer::Unix,
                local: None,
                has_finished_sending: served.socket.has_client_ended,
                wake_source: &wakes,
            },
            disk: &mut self.disk,
            wire: &tidegate::conversation::NoWire,
            journal: &mut journal,
            memory: self.rng.pick(&[Memory::Ample, Memory::Ample, Memory::Scarce]),
            budget,
        };
        let (scratch, out) = (&mut self.scratch[..], &mut self.out);
        let mut around = Around { turn, scratch, out, rng: &mut self.rng, ledger: &self.ledger };
        match cause {
            Some(cause) => served.turn(cause, &mut around),
            None => served.abandon(&mut around),
        }
        let mut ledger = self.ledger.borrow_mut();
        if !self.out.is_empty() {
            ledger.violations.push(format!("connection {number} left bytes behind for others"));
        }
        let Ledger { accounts, violations, .. } = &mut *ledger;
        let (script, account) = (&self.scripts[number], &accounts[number]);
        let scene =
            Scene { served, script, account, limits: &self.around.limits, now: self.around.now.moment };
        self.models[number].watch(&scene, cause, violations);
        drop(ledger);
        if self.is_traced {
            self.trace(&format!("{cause:?}"), number);
        }
    }

    /// Nothing can happen now: on to the next moment that somebody waits for, or a little later.
    fn pass_time(&mut self) -> Result<(), String> {
        if self.drain_until.is_some_and(|until| until <= self.around.now.moment) {
            let open = (0..self.served.len()).filter(|number| !self.served[*number].is_gone);
            open.collect::<Vec<_>>().into_iter().for_each(|number| self.turn(number, None));
            return Ok(());
        }
        let mut moments: Vec<Moment> = self.drain_until.into_iter().collect();
        for (number, served) in self.served.iter().enumerate().filter(|(_, served)| !served.is_gone) {
            let Some(deadline) = served.deadline(&self.around.limits) else {
                return Err(format!(
                    "connection {number} waits for ever: {:?}",
                    served.wants(&self.around.limits)
                ));
            };
            moments.push(deadline);
            moments.extend(self.can_send(number).then_some(self.clients[number].sends_at));
            moments.extend(self.can_read(number).then_some(self.clients[number].reads_at));
        }
        let next = moments.into_iter().min().ok_or("nobody waits for anything")?;
        self.around.now.moment = next + Duration::from_millis(self.rng.pick(&[0, 0, 0, 1, 700, 100_000]));
        Ok(())
    }

    /// Every connection has ended: is everything as it should be?
    fn judge(&mut self) -> Result<(), String> {
        let ledger = self.ledger.borrow();
        for (number, (served, script)) in self.served.iter().zip(&*self.scripts).enumerate() {
            let account = &ledger.accounts[number];
            let judge = || {
                judge_wire(number, served, script, account, self.around.life, self.disk.was_full)?;
                judge_account(account, script, self.wants_exchanges)
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
                self.around.now.moment.since(Moment::START).as_millis(),
                self.clients[number].sent,
                served.socket.read_by_server,
                self.ledger.borrow().accounts[number].calls,
                served.socket.wire.len(),
                if served.is_gone { None } else { Some(served.wants(&self.around.limits)) },
                served.owed(),
            );
        }
    }

    /// What was to happen, for whoever replays a seed.
    pub fn describe(&self) -> String {
        format!(
            "{:#?}\n{:?}",
            self.around.limits,
            self.scripts.iter().map(|script| &script.items).collect::<Vec<_>>()
        )
    }
}

/// The journal: one record for each exchange.
struct Records {
    ledger: Shared,
    wanted: Option<Wanted>,
}

impl Journal for Records {
    fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    fn exchange(&mut self, record: &ExchangeRecord<'_>) {
        let Some(request) = record.request else {
            return;
        };
        let mut numbers = request.target.split('/').skip(1).map(str::parse::<usize>);
        if let (Some(Ok(connection)), Some(Ok(number))) = (numbers.next(), numbers.next()) {
            let accounts = &mut self.ledger.borrow_mut().accounts;
            accounts[connection].records.push((number, record.outcome));
        }
    }

    fn failure(&mut self, _: Option<RequestLine<'_>>, _: &GatewayError) {}
}
