//! A whole server over simulated sockets and a simulated clock, from one number.
//!
//! ```text
//!  plan ──▶ world: who is next, by chance ──▶ Running: dispatch · deliver · accept · wake · remainders · expire · …
//!   │        clients, clock, disk, threads      │      the loop's own code, over sockets and doors that take and give
//!   │        and what the system would tell     ▼      little ──▶ application
//!   └─────────────────▶ model: after each step, and of every byte in the end ◀────────┘
//! ```
//!
//! What is simulated is the system: sockets and listening sockets as mio shows those of epoll, of kqueue (reading and writing
//! have events of their own, each with its own end) and of poll(2) (nothing is told twice before a call has found nothing),
//! the wait for events, clocks, disk, and the order in which things happen. All else is the code that serves real
//! connections: the loop's turn with its budgets, timers, lists and the search for room, and each connection. Since that is
//! private to the reactor, these files are part of the library's own tests. Not played are descriptors (files are sent by
//! name), threads that race, and several loops.
//!
//! A schedule is a function of its seed: what the clients send and how they read, what the application
//! answers and when, short reads and writes, interruptions, resets, stalls, wake-ups too early and too
//! late, a disk that fills up, files that shrink or cannot be sent, responses that wait for each other, descriptors that
//! applications watch, connections that they take over, panics, jumps of the clock, waits that end for nothing, applications
//! that take no requests for a while, a house that is full, descriptors that run out, memory that is scarce, and shutdown at
//! any moment. Who closes upon bytes that nobody has read resets the
//! connection, and what is on its way to the client is lost. The model checks that each accepted request is answered once, in
//! order, on its connection, whole or visibly cut; that a tunnel gets all that is sent, with back-pressure, and gives all that
//! it can; that nothing is kept, no edge is lost, nobody waits for ever, at a door
//! either; that whoever may still be sending is waited for; that only those make room who have asked for nothing; that the
//! account of memory is what is held; and that every deadline is the right one, and ends nobody before or after its time.
//!
//! | variable | what it does |
//! |---|---|
//! | `TIDEGATE_SCHEDULES` | how many schedules; 100,000 without it |
//! | `TIDEGATE_SEED` | the first seed; alone, it replays that one and tells what happens |

mod application;
mod disk;
mod door;
mod model;
mod plan;
#[allow(dead_code)] // What other tests need of it.
#[path = "../support/response.rs"]
mod response;
mod rng;
mod server;
mod socket;
mod world;

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::play;

/// How many schedules are run unless the environment says otherwise.
const SCHEDULES: u64 = 100_000;

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}

/// Runs one schedule; what is wrong with it, if something is.
fn run(seed: u64, is_traced: bool) -> Result<(), String> {
    let result = panic::catch_unwind(|| play(seed, is_traced));
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}

/// Applications panic on purpose here; nobody wants to read that.
fn hush() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&application::ON_PURPOSE) {
            hook(info);
        }
    }));
}

#[test]
fn every_schedule_ends_with_every_answer_whole_or_visibly_cut() {
    hush();
    let first = number("TIDEGATE_SEED");
    let schedules = number("TIDEGATE_SCHEDULES").unwrap_or(if first.is_some() { 1 } else { SCHEDULES });
    let first = first.unwrap_or(0);
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let work = || {
        // The one that failed first ends the search: the same one, however many threads there are.
        let next = || next.fetch_add(1, Ordering::Relaxed);
        let mut at = next();
        while at < schedules.min(failed.load(Ordering::Relaxed)) {
            if run(first + at, schedules == 1).is_err() {
                failed.fetch_min(at, Ordering::Relaxed);
            }
            at = next();
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |count| count.get()) {
            scope.spawn(AssertUnwindSafe(work));
        }
    });
    let failed = failed.into_inner();
    if failed < schedules {
        let seed = first + failed;
        let what = run(seed, false).expect_err("a schedule is a function of its seed");
        panic!(
            "after {failed} schedules: {what}\nreplay it: TIDEGATE_SEED={seed} cargo test --lib simulation"
        );
    }
}
