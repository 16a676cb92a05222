//! A server that takes its turns: where it is, what it is asked, and what was measured of it.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use super::observed::Process;
use super::options::{Load, Plan, Server};
use super::progress::Progress;
use super::request::Request;
use super::result::Side;
use super::rig::{Measurement, Rig};

/// A server to be measured.
pub(super) struct Contender {
    pub side: Side,
    pub name: String,
    request: Request,
    address: SocketAddr,
}

impl Contender {
    pub fn new(plan: &Plan, server: &Server) -> Result<Contender, String> {
        let address = server.target.resolve()?;
        let process = Process::listening_at(address);
        let side = Side { target: server.target.clone(), process, rounds: Vec::new(), is_gone: false };
        Ok(Contender { side, name: server.name.clone(), request: plan.request(&server.target), address })
    }

    /// Measures once. The measurement says whether the server was gone at the end.
    ///
    /// # Errors
    /// Returns a sentence when nothing could be measured.
    pub fn turn(
        &self,
        load: &Load,
        interrupted: &AtomicBool,
        progress: &Progress,
    ) -> Result<Measurement, String> {
        let server = self.side.process.as_ref().ok();
        let rig = Rig::new(load, &self.request, self.address, interrupted, progress, server);
        rig.map_err(|error| error.to_string())?.run()
    }

    /// Measures once, and keeps the measurement.
    ///
    /// # Errors
    /// Returns a sentence when nothing could be measured, or when the server was gone at the end.
    pub fn measure(
        &mut self,
        load: &Load,
        interrupted: &AtomicBool,
        progress: &Progress,
    ) -> Result<(), String> {
        let measurement = self.turn(load, interrupted, progress)?;
        let gone = measurement.gone.as_ref().map(|gone| format!("{} {gone}", self.side.target));
        if !measurement.time.is_zero() {
            self.side.rounds.push(measurement);
        }
        gone.map_or(Ok(()), Err)
    }
}
