//! One server in one process: made after the fork, run on the main thread.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;

use tidegate::gateway::{Gateway, LoopHooks, ServerInfo};
use tidegate::server::{BoundServer, Server, ServerHandle, spool_bytes_by_default};
use tidegate_logs::ReopenHandle;
use tidegate_program::{Facts, Mounts, PoolState, StatusServer, make_room_beside, show_status};

use super::served::{Mode, Reached, Served, Signals, Watched};
use super::settings::{BoundListener, Settings};
use super::watch::{end_when_stuck, wake_on_signals, watch_pool};
use crate::access::access_log;
use crate::adapter::{Crew, Deployment, Inline, InlineHooks, Pool, duplicate_descriptor};
use crate::options::{PythonOptions, WsgiOptions};

/// How long a finished response may wait for others before the application is called again, if it is called
/// on the thread of the loop: see [`Server::hold_responses`]. Half a millisecond: longer gains nothing.
const HOLD_MAX: Duration = Duration::from_micros(500);

/// A server for one application.
#[pyclass(frozen, name = "Server", module = "tidegate._tidegate")]
pub(super) struct PyServer {
    options: Arc<PythonOptions>,
    application: Py<PyAny>,
    deployment: Deployment,
    /// The pipe on which a supervisor is told that this process is worn; taken when it serves.
    supervisor: Mutex<Option<File>>,
    /// The server before it runs; none afterwards.
    bound: Mutex<Option<(BoundServer, Option<Pool>)>>,
    /// The pool's part for threads; none if the application is called on the thread of the loop.
    crew: Option<Crew>,
    handle: ServerHandle,
    /// The status server that shows this one; none if nobody has asked for it, or once it has ended.
    status: Mutex<Option<StatusServer>>,
    reopen: Option<ReopenHandle>,
    watched: Arc<Watched>,
    outcome: Mutex<&'static str>,
}

#[pymethods]
impl PyServer {
    #[new]
    #[pyo3(signature = (settings, listeners, application, *, multiprocess=false, supervisor=None, status=None, worker=0))]
    fn new(
        settings: &Bound<'_, Settings>,
        listeners: Vec<Bound<'_, BoundListener>>,
        application: Py<PyAny>,
        multiprocess: bool,
        supervisor: Option<i32>,
        status: Option<Bound<'_, BoundListener>>,
        worker: u16,
    ) -> PyResult<PyServer> {
        let options = settings.get().options.clone();
        let wsgi = &options.wsgi;
        let deployment = Deployment {
            multithread: wsgi.threads > 1,
            multiprocess,
            trusted_proxies: wsgi.forwarded_allow_ips.clone(),
        };
        // What is wrong with a folder is said before anything is served.
        let mounts = mounts(wsgi)?;
        let (server, reopen) = assemble(&options, &deployment, listeners, &mounts)?;
        let mut bound = server.bind()?;
        let pool = deployment.multithread.then(|| pool(wsgi));
        let crew = pool.as_ref().map(Pool::crew);
        let status = status.map(|listener| listener.get().duplicate()).transpose()?;
        let facts = |addresses| facts(wsgi, worker, crew.clone(), addresses);
        let status = show_status(&options.program, &mut bound, status, facts)?;
        Ok(PyServer {
            application,
            deployment,
            supervisor: Mutex::new(supervisor.map(duplicate_descriptor).transpose()?.map(File::from)),
            crew,
            handle: bound.handle(),
            status: Mutex::new(status),
            reopen,
            watched: Arc::default(),
            outcome: Mutex::new("stopped"),
            bound: Mutex::new(Some((bound, pool))),
            options,
        })
    }

    /// work(): answers requests as one thread of the pool, and returns when the server has ended.
    fn work(&self, py: Python<'_>) -> PyResult<()> {
        match &self.crew {
            Some(crew) => crew.work(py, self.application.clone_ref(py), &self.deployment),
            None => Ok(()),
        }
    }

    /// run(): serves until drained or stopped. Call it once, on the main thread. An exception of a signal
    /// handler ends it and is raised here.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        let taken = lock(&self.bound).take();
        let (bound, pool) = taken.ok_or_else(|| PyRuntimeError::new_err("the server runs, or has run"))?;
        let signals = wake_on_signals(self.watched.clone(), self.handle.clone())?;
        let before = set_wakeup_descriptor(py, signals.as_raw_fd());
        // Of a signal that has come since Python was last asked nobody has been told.
        self.wake();
        let result = self.serve_application(py, bound, pool);
        let status = lock(&self.status).take();
        py.detach(|| drop(status));
        if let Some(crew) = &self.crew {
            crew.close();
        }
        if let Some(before) = before {
            set_wakeup_descriptor(py, before);
        }
        result
    }

    /// drain(hand_over=False, restart=False): finishes what is being served, and ends. Clients that wait to
    /// be accepted are left to other servers that listen on the same sockets, if there are others, or until
    /// this process has started again. Any thread may call it.
    #[pyo3(signature = (*, hand_over=false, restart=false))]
    fn drain(&self, hand_over: bool, restart: bool) {
        *lock(&self.outcome) = "drained";
        match (hand_over, restart) {
            (_, true) => self.handle.restart(),
            (true, false) => self.handle.hand_over(),
            (false, false) => self.handle.drain(),
        }
    }

    /// stop(): ends at once. Any thread may call it.
    fn stop(&self) {
        *lock(&self.outcome) = "stopped";
        self.handle.stop();
    }

    /// reopen_logs(): opens the files of logs again, after they were moved away.
    fn reopen_logs(&self) {
        if let Some(reopen) = &self.reopen {
            reopen.reopen();
        }
        self.options.program.reopen_log();
    }

    /// wake(): ends the wait of the event loop, which then looks for signals.
    fn wake(&self) {
        self.watched.is_signalled.store(true, Ordering::Release);
        self.handle.wake();
    }

    /// Requests handed to the application so far.
    #[getter]
    fn requests(&self) -> u64 {
        self.watched.requests.load(Ordering::Relaxed)
    }

    /// The way in which the server has ended: "drained", "stopped" or "max_requests".
    #[getter]
    fn outcome(&self) -> &'static str {
        *lock(&self.outcome)
    }
}

impl PyServer {
    fn serve_application(&self, py: Python<'_>, bound: BoundServer, pool: Option<Pool>) -> PyResult<()> {
        self.watch_for_standstill(py)?;
        if let Some(mut pool) = pool {
            let mut hooks = pool.hooks();
            return py.detach(|| self.serve(bound, &mut pool, &mut hooks, Mode::Pool));
        }
        let mut inline = Inline::new(py, self.application.clone_ref(py), &self.deployment)?;
        self.serve(bound, &mut inline, &mut InlineHooks, Mode::Inline)
    }

    fn serve(
        &self,
        bound: BoundServer,
        gateway: &mut dyn Gateway,
        hooks: &mut dyn LoopHooks,
        mode: Mode,
    ) -> PyResult<()> {
        let (watched, handle) = (self.watched.clone(), self.handle.clone());
        let mut signals = Signals { hooks, mode, watched, handle, raised: None };
        let mut served = Served {
            gateway,
            watched: self.watched.clone(),
            handle: self.handle.clone(),
            requests_max: self.requests_max(),
            supervisor: lock(&self.supervisor).take(),
            reached: Reached::Nothing,
        };
        let mounts = mounts(&self.options.wsgi)?;
        let ran = if mounts.is_empty() {
            bound.run_with_hooks(&mut served as &mut dyn Gateway, &mut signals)
        } else {
            // Around the one that counts requests: those for files are none of the application's.
            let mut beside = mounts.beside(&mut served as &mut dyn Gateway)?;
            bound.run_with_hooks(&mut beside as &mut dyn Gateway, &mut signals)
        };
        if served.reached == Reached::MaxRequests {
            *lock(&self.outcome) = "max_requests";
        }
        if let Some(raised) = signals.raised {
            return Err(raised);
        }
        ran.map_err(|error| PyOSError::new_err(error.to_string()))
    }

    /// Adds a share of the jitter that differs from worker to worker; 0 for never.
    fn requests_max(&self) -> u64 {
        let wsgi = &self.options.wsgi;
        if wsgi.max_requests == 0 {
            return 0;
        }
        // The standard library has no random numbers, but random keys for its hash tables.
        use std::hash::{BuildHasher, Hasher};
        let random = std::hash::RandomState::new().build_hasher().finish();
        wsgi.max_requests + random % (wsgi.max_requests_jitter + 1)
    }

    /// Watches for an application that does not return. A stuck thread of a pool is named in the log; a stuck
    /// worker can only be replaced, by a supervisor.
    fn watch_for_standstill(&self, py: Python<'_>) -> PyResult<()> {
        let Some(timeout) = unless_zero(self.options.wsgi.timeout) else { return Ok(()) };
        let supervisor = lock(&self.supervisor).as_ref().map(File::try_clone).transpose()?;
        if supervisor.is_some() {
            // Aborting prints where the application is stuck, unless stderr is nowhere.
            let _ = py.import("faulthandler").and_then(|faulthandler| faulthandler.call_method0("enable"));
        }
        match (&self.crew, supervisor) {
            (Some(crew), supervisor) => watch_pool(crew.clone(), timeout, supervisor)?,
            (None, Some(_)) => end_when_stuck(self.watched.clone(), timeout)?,
            (None, None) => {}
        }
        Ok(())
    }
}

/// Makes the pool for an application.
fn pool(wsgi: &WsgiOptions) -> Pool {
    let pool = Pool::new(unless_zero(wsgi.timeout)).reader_wait_max(unless_zero(wsgi.reader_wait_max));
    match wsgi.mounts.is_empty() {
        true => pool,
        false => pool.reads_all(),
    }
}

/// Says what is served, by which worker (from 1; 0 if there is only one process), and by which threads.
fn facts(wsgi: &WsgiOptions, worker: u16, crew: Option<Crew>, addresses: Vec<String>) -> Facts {
    let application = wsgi.application.as_deref().unwrap_or_default();
    let facts = match worker {
        0 => Facts::new(application, addresses),
        number => {
            Facts::new(format!("{application} (worker {number}, process {})", std::process::id()), addresses)
        }
    };
    let Some(crew) = crew else { return facts };
    facts.pool("the application", move || {
        let (threads, busy, waiting) = crew.state();
        PoolState { threads, busy, waiting }
    })
}

/// Finds the folders beside the application.
pub(super) fn mounts(wsgi: &WsgiOptions) -> PyResult<Mounts<'_>> {
    Mounts::new(&wsgi.mounts, &wsgi.files).map_err(PyOSError::new_err)
}

/// Turns the 0 that an operator gives for "any" into none.
fn unless_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// Makes the server of these options, on these sockets.
fn assemble(
    options: &PythonOptions,
    deployment: &Deployment,
    listeners: Vec<Bound<'_, BoundListener>>,
    mounts: &Mounts<'_>,
) -> PyResult<(Server, Option<ReopenHandle>)> {
    let mut limits = options.program.limits().clone();
    limits.connections_max = make_room_beside(limits.connections_max, || mounts.descriptors_kept_max());
    // The folder for temporary files is one for all workers.
    let workers = u64::from(options.wsgi.workers.unwrap_or(1));
    limits.spool_bytes_max.get_or_insert_with(|| spool_bytes_by_default() / workers);
    if let Some(timeout) = unless_zero(options.wsgi.timeout) {
        // Whoever waits to be read waits for an answer, too: together that is twice the timeout at most.
        limits.gateway_timeout = limits.gateway_timeout.min(timeout);
    }
    let info = ServerInfo {
        multithread: deployment.multithread,
        multiprocess: deployment.multiprocess,
        ..ServerInfo::default()
    };
    let hold_max = if deployment.multithread { Duration::ZERO } else { HOLD_MAX };
    let server = Server::new().limits(limits).info(info).hold_responses(hold_max);
    tidegate_program::keep_what_is_free();
    let mut server = server.at_low_tide(tidegate_program::give_back);
    for listener in listeners {
        server = server.listener(listener.get().duplicate()?);
    }
    let asked = access_log(options)?;
    if let Some(log) = asked.log {
        server = server.access_log(log);
    }
    Ok((server, asked.reopen))
}

/// Lets Python's signal handler write to this descriptor, and returns the one before. Outside of the main
/// thread, which gets no signals, there is none.
fn set_wakeup_descriptor(py: Python<'_>, descriptor: i32) -> Option<i32> {
    let set = || -> PyResult<i32> {
        if descriptor >= 0 {
            py.import("os")?.call_method1("set_blocking", (descriptor, false))?;
        }
        py.import("signal")?.call_method1("set_wakeup_fd", (descriptor,))?.extract()
    };
    set().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
