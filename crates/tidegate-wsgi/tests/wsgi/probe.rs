//! Probes PEP 3333: every rule that binds a server, as named checks over raw sockets against `probe_app.py`.
//! A group of checks shares one server, and all that fail are reported at its end.
//!
//! Most checks are rows of a table: what is asked, and how the answer reads in one line (see
//! `support/response.rs`). What takes a conversation is a function.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::served::{Mode, Served};

/// A group of checks: its server, and their results.
pub struct Probe {
    pub served: Served,
    ids: Cell<u32>,
    count: usize,
    failed: Vec<String>,
}

/// A check that needs more than a row.
pub type Check = (&'static str, fn(&Probe));

/// The functions with these names, with their names.
macro_rules! checks {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn(&Probe))),*] };
}
pub(crate) use checks;

/// A row: its name, the target of a GET, and the answer.
pub type Row = (&'static str, &'static str, &'static str);

/// Runs a group of checks against a server of its own. There must be `count_min` of them at least, so that
/// none gets lost.
pub fn play(mode: Mode, count_min: usize, group: impl FnOnce(&mut Probe)) {
    let mut probe = Probe { served: start(mode), ids: Cell::new(0), count: 0, failed: Vec::new() };
    group(&mut probe);
    let (count, failed) = (probe.count, std::mem::take(&mut probe.failed));
    assert!(failed.is_empty(), "{mode:?}: {} of {count} checks failed:\n{}", failed.len(), failed.join("\n"));
    assert!(count >= count_min, "only {count} checks");
}

fn start(mode: Mode) -> Served {
    Served::start_with("probe_app:application", mode, |command| {
        // Python looks closer: at memory, at what is not closed, at exceptions that get lost.
        command.env("PYTHONDEVMODE", "1").env("PROBE_SECRET", "of the operator");
    })
}

impl Probe {
    pub fn check(&mut self, name: &str, check: impl FnOnce(&Probe)) {
        self.count += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| check(self)));
        // Whatever was asked before, the server lives and serves.
        let alive = catch_unwind(AssertUnwindSafe(|| {
            assert_eq!(self.served.get("/hello").to_string(), "200 length: hello");
        }));
        if let Err(panic) = outcome {
            self.failed.push(format!("  {name}: {}", message(&*panic)));
        }
        if let Err(panic) = alive {
            self.failed.push(format!("  {name}: afterwards the server does not serve: {}", message(&*panic)));
            self.served = start(self.served.mode);
        }
    }

    pub fn rows(&mut self, rows: &[Row]) {
        for (name, target, expected) in rows {
            self.check(name, |probe| assert_eq!(probe.served.get(target).to_string(), *expected));
        }
    }

    pub fn all(&mut self, checks: &[Check]) {
        for (name, check) in checks {
            self.check(name, *check);
        }
    }

    /// A name for a request that is noted.
    pub fn id(&self) -> String {
        self.ids.set(self.ids.get() + 1);
        format!("request-{}", self.ids.get())
    }

    /// A GET whose application may note something; its id and its answer in one line.
    pub fn noted(&self, path: &str) -> (String, String) {
        let id = self.id();
        let answer = self.served.get(&format!("{path}?{id}")).to_string();
        (id, answer)
    }

    /// Waits for a note, and asserts that no other one comes until another request was answered.
    pub fn only_note(&self, id: &str, note: &str) {
        self.served.wait_for_note(id, note);
        self.served.get("/hello");
        assert_eq!(self.served.notes(id), [note]);
    }
}

/// Returns the message of a failed assertion, in one line.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text");
    text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ")
}
