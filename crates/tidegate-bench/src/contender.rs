//! A server that takes its turns: where it is, what it is asked, and what was measured of it.

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use super::observed::Process;
use super::options::{Load, Plan};
use super::parts;
use super::progress::Progress;
use super::request::Request;
use super::result::Side;
use super::rig::{Conductor, Measurement, Rig};

/// A server to be measured.
pub(super) struct Contender {
    pub side: Side,
    pub name: String,
    /// The place among the servers of the command line.
    number: usize,
    request: Request,
    address: SocketAddr,
}

impl Contender {
    pub fn new(plan: &Plan, number: usize) -> Result<Contender, String> {
        let server = &plan.servers[number];
        let address = server.target.resolve()?;
        let process = Process::listening_at(address);
        let side = Side { target: server.target.clone(), process, rounds: Vec::new(), is_gone: false };
        let request = plan.request(&server.target);
        Ok(Contender { side, name: server.name.clone(), number, request, address })
    }

    /// Measures once. The measurement says whether the server was gone at the end.
    ///
    /// # Errors
    /// Returns a sentence when nothing could be measured.
    pub fn turn(
        &self,
        plan: &Plan,
        load: &Load,
        interrupted: &AtomicBool,
        progress: &Progress,
    ) -> Result<Measurement, String> {
        let server = self.side.process.as_ref().ok();
        match &plan.parts(self.number, self.address, load)[..] {
            [alone] => self.rig(&alone.load, interrupted, progress, server)?.run(),
            parts => parts::measure(parts, server, interrupted, progress),
        }
    }

    /// Measures once as one of several processes, which another process has started and conducts.
    ///
    /// # Errors
    /// Returns a sentence when nothing could be measured.
    pub fn part(
        &self,
        load: &Load,
        interrupted: &AtomicBool,
        conductor: &dyn Conductor,
    ) -> Result<Measurement, String> {
        let progress = Progress::silent();
        self.rig(load, interrupted, &progress, None)?.conducted_by(conductor).run()
    }

    fn rig<'r>(
        &'r self,
        load: &'r Load,
        interrupted: &'r AtomicBool,
        progress: &'r Progress,
        server: Option<&'r Process>,
    ) -> Result<Rig<'r>, String> {
        let rig = Rig::new(load, &self.request, self.address, interrupted, progress, server);
        rig.map_err(|error| error.to_string())
    }

    /// Measures once, and keeps the measurement.
    ///
    /// # Errors
    /// Returns a sentence when nothing could be measured, or when the server was gone at the end.
    pub fn measure(
        &mut self,
        plan: &Plan,
        interrupted: &AtomicBool,
        progress: &Progress,
    ) -> Result<(), String> {
        let measurement = self.turn(plan, &plan.load, interrupted, progress)?;
        let gone = measurement.gone.as_ref().map(|gone| format!("{} {gone}", self.side.target));
        if !measurement.time.is_zero() {
            self.side.rounds.push(measurement);
        }
        gone.map_or(Ok(()), Err)
    }
}
