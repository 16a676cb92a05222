//! The options of the command line for Python, and the sockets that they name.

use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyCFunction;

use tidegate::ListenAddress;
use tidegate::server::Listener;

use crate::adapter::duplicate_descriptor;
use crate::options::PythonOptions;

/// The options for a WSGI application.
#[pyclass(frozen, module = "tidegate._tidegate")]
pub(super) struct Settings {
    pub options: Arc<PythonOptions>,
}

impl Settings {
    pub fn new(options: PythonOptions) -> Settings {
        Settings { options: Arc::new(options) }
    }
}

#[pymethods]
impl Settings {
    /// MODULE:APP, as it was given.
    #[getter]
    fn application(&self) -> &str {
        self.options.wsgi.application.as_deref().unwrap_or_default()
    }

    #[getter]
    fn chdir(&self) -> Option<std::path::PathBuf> {
        self.options.wsgi.chdir.clone()
    }

    #[getter]
    fn pythonpath(&self) -> Vec<String> {
        self.options.wsgi.pythonpath.iter().map(|path| path.display().to_string()).collect()
    }

    /// The number of workers; None: the process serves by itself.
    #[getter]
    fn workers(&self) -> Option<u16> {
        self.options.wsgi.workers
    }

    #[getter]
    fn threads(&self) -> u16 {
        self.options.wsgi.threads
    }

    /// The longest time for one answer in seconds; 0 for any.
    #[getter]
    fn timeout(&self) -> f64 {
        self.options.wsgi.timeout.as_secs_f64()
    }

    /// The longest time for a graceful shutdown in seconds.
    #[getter]
    fn graceful_timeout(&self) -> f64 {
        self.options.program.limits().drain_timeout.as_secs_f64()
    }

    #[getter]
    fn max_requests(&self) -> u64 {
        self.options.wsgi.max_requests
    }

    #[getter]
    fn max_requests_jitter(&self) -> u64 {
        self.options.wsgi.max_requests_jitter
    }

    #[getter]
    fn pid(&self) -> Option<String> {
        self.options.wsgi.pid.as_ref().map(|path| path.display().to_string())
    }

    #[getter]
    fn reload(&self) -> bool {
        self.options.wsgi.reload
    }

    #[getter]
    fn reload_extra_files(&self) -> Vec<String> {
        self.options.wsgi.reload_extra_file.iter().map(|path| path.display().to_string()).collect()
    }

    #[getter]
    fn preload(&self) -> bool {
        self.options.wsgi.preload
    }

    /// The variables for the application, as pairs.
    #[getter]
    fn env(&self) -> Vec<(String, String)> {
        self.options.wsgi.env.clone()
    }

    #[getter]
    fn check_config(&self) -> bool {
        self.options.program.only_checks()
    }

    /// The socket of the log of the system; None if the log is not sent there.
    #[getter]
    fn syslog(&self) -> Option<String> {
        self.options.program.syslog().map(|path| path.display().to_string())
    }

    /// bind_status(worker) -> Listener or None: binds the address on which a worker is shown, from 0. Raises OSError with a
    /// ready sentence.
    fn bind_status(&self, worker: u16) -> PyResult<Option<BoundListener>> {
        let bound = tidegate_program::bind_status(&self.options.program, worker);
        let bound = bound.map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(bound.map(BoundListener::new))
    }

    /// check_folders(): raises OSError with a ready sentence if a mounted folder is not there.
    fn check_folders(&self) -> PyResult<()> {
        super::server::mounts(&self.options.wsgi).map(drop)
    }

    /// reopen_log(): opens the file of the log again, after it was moved away.
    fn reopen_log(&self) {
        self.options.program.reopen_log();
    }

    /// become_user(): becomes the user and the group of the options, for good. Raises OSError with a ready sentence.
    fn become_user(&self) -> PyResult<()> {
        self.options.program.become_user().map_err(PyOSError::new_err)
    }

    /// prepare_process(): sets the umask, and sends the log of this process to its place. A second call is harmless.
    /// Messages are written before the process ends by the functions of `atexit`, or becomes another program after
    /// them. Raises OSError with a ready sentence.
    fn prepare_process(&self, py: Python<'_>) -> PyResult<()> {
        self.options.program.prepare_process().map_err(|error| PyOSError::new_err(error.to_string()))?;
        let finish = PyCFunction::new_closure(py, None, None, |arguments, _| {
            arguments.py().detach(tidegate_program::finish)
        })?;
        py.import("atexit")?.call_method1("register", (finish,)).map(drop)
    }

    /// bind() -> list of Listener: binds all addresses, and gives unix sockets and log files to the user to be. Raises OSError with a ready sentence.
    fn bind(&self, py: Python<'_>) -> PyResult<Vec<BoundListener>> {
        let bind = |address: &ListenAddress| {
            let listener = match address {
                ListenAddress::Descriptor(number) => take_over(py, *number, address)?,
                address => tidegate_program::bind(&self.options.program, address)
                    .map_err(|error| PyOSError::new_err(error.to_string()))?,
            };
            Ok(BoundListener::new(listener))
        };
        let addresses = self.options.program.addresses();
        let bound = addresses.iter().map(bind).collect::<PyResult<_>>()?;
        tidegate_program::give_away(&self.options.program, addresses).map_err(PyOSError::new_err)?;
        // The workers open it, as the user that they have become.
        let log = self.options.wsgi.access_logfile.as_ref();
        tidegate_program::give_log_away(&self.options.program, log).map_err(PyOSError::new_err)?;
        Ok(bound)
    }
}

/// Takes over an inherited listening socket. Whoever has named it has given it up: it is closed, and a
/// duplicate serves in its place.
fn take_over(py: Python<'_>, number: RawFd, address: &ListenAddress) -> PyResult<Listener> {
    let listener = duplicate_descriptor(number)
        .and_then(Listener::adopt)
        .map_err(|error| PyOSError::new_err(format!("cannot listen on {address}: {error}")))?;
    py.import("os")?.call_method1("close", (number,))?;
    Ok(listener)
}

/// A listening socket.
#[pyclass(frozen, name = "Listener", module = "tidegate._tidegate")]
pub(super) struct BoundListener {
    /// The listener; none once it was given away.
    listener: Mutex<Option<Listener>>,
    address: String,
}

impl BoundListener {
    fn new(listener: Listener) -> BoundListener {
        BoundListener { address: listener.address().to_string(), listener: Mutex::new(Some(listener)) }
    }

    /// Duplicates the listener, for a server.
    pub fn duplicate(&self) -> std::io::Result<Listener> {
        match &*self.listener.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(listener) => listener.try_clone(),
            None => Err(std::io::Error::other("the listener was given away")),
        }
    }
}

#[pymethods]
impl BoundListener {
    /// The address as it is announced, with the real port.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// detach_for_exec() -> int: gives the socket away as a descriptor that programs inherit; "fd://N" takes
    /// it over there.
    fn detach_for_exec(&self, py: Python<'_>) -> PyResult<i32> {
        let taken = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listener = taken.ok_or_else(|| PyOSError::new_err("the listener was given away before"))?;
        let descriptor = std::os::fd::IntoRawFd::into_raw_fd(listener.release()?);
        py.import("os")?.call_method1("set_inheritable", (descriptor, true))?;
        Ok(descriptor)
    }
}
