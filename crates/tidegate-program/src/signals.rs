//! Signals: the first SIGINT or SIGTERM drains, a second one stops, and SIGHUP takes up what was
//! exchanged, and SIGUSR1 log files that were moved away.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tidegate::server::ServerHandle;
use tidegate_files::Reopening;
use tidegate_logs::ReopenHandle;

use super::console::{open_place, say};
use super::log_place::LogPlace;

/// All that can be opened again while the server runs.
#[derive(Default)]
pub struct Again {
    pub folder: Option<Reopening>,
    pub log: Option<ReopenHandle>,
    /// The place of the messages that go to stderr.
    pub errors: Option<LogPlace>,
}

/// Opens the place of the log again, after it was moved away.
pub fn reopen(place: &LogPlace) {
    if let Err(error) = open_place(place) {
        log::warn!("the old one is written on: {error}");
    }
}

/// The signals, caught and waiting to be handled.
pub struct ProgramSignals(Signals);

impl ProgramSignals {
    /// Catches the signals, which from now on no longer end the process by themselves.
    ///
    /// # Errors
    /// Returns the error of the system when it refuses a handler.
    pub fn install() -> io::Result<ProgramSignals> {
        Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1]).map(ProgramSignals)
    }

    /// Passes the signals on to a server, for as long as the process lives. SIGHUP has all of
    /// `again` opened again, and SIGUSR1 its logs.
    ///
    /// # Errors
    /// Returns the error of the system when it grants no thread to wait in.
    pub fn forward_to(mut self, server: ServerHandle, again: Again) -> io::Result<()> {
        let listen = move || {
            let mut is_draining = false;
            for signal in self.0.forever() {
                if matches!(signal, SIGHUP | SIGUSR1) {
                    again.log.iter().for_each(ReopenHandle::reopen);
                    again.errors.iter().for_each(reopen);
                    again.folder.iter().filter(|_| signal == SIGHUP).for_each(Reopening::ask);
                } else if !std::mem::replace(&mut is_draining, true) {
                    say("tidegate finishes what it is serving (Ctrl-C again stops at once)");
                    server.drain();
                } else {
                    say("tidegate stops");
                    server.stop();
                }
            }
        };
        thread::Builder::new().name("signals".to_string()).spawn(listen).map(drop)
    }
}
