//! Shutdown by signal: the first SIGINT or SIGTERM drains, a second one stops.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tidegate::server::ServerHandle;

use super::console::say;

/// The two signals, caught and waiting to be handled.
pub struct ShutdownSignals(Signals);

impl ShutdownSignals {
    /// Catches the signals, which from now on no longer end the process by themselves.
    ///
    /// # Errors
    /// Returns the error of the system when it refuses a handler.
    pub fn install() -> io::Result<ShutdownSignals> {
        Signals::new([SIGINT, SIGTERM]).map(ShutdownSignals)
    }

    /// Passes the signals on to a server, for as long as the process lives.
    ///
    /// # Errors
    /// Returns the error of the system when it grants no thread to wait in.
    pub fn forward_to(mut self, server: ServerHandle) -> io::Result<()> {
        let listen = move || {
            for (count, _signal) in self.0.forever().enumerate() {
                if count == 0 {
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
