//! Calls one application, and keeps what can be used again for its next call on the same thread.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use tidegate::gateway::{Environ, GatewayError};
use tidegate::message::Method;

use super::call::{CallSet, Calls};
use super::environ::{Deployment, Environs};
use super::forked::{unless_forked, watch_for_forks};
use super::reply::{Opening, open};
use super::stack::remember_stack;

/// Calls an application.
pub(super) struct Interpreter {
    application: Py<PyAny>,
    environs: Environs,
    pub calls: Calls,
}

impl Interpreter {
    /// Prepares calls of one application on one thread.
    ///
    /// # Errors
    /// Returns the exception of Python when the template of the environ cannot be made.
    pub fn new(py: Python<'_>, application: Py<PyAny>, deployment: &Deployment) -> PyResult<Interpreter> {
        watch_for_forks(py)?;
        remember_stack(py)?;
        let environs = Environs::new(py, deployment)?;
        Ok(Interpreter { application, environs, calls: Calls::default() })
    }

    /// Calls the application with this request, and returns what there is to send when it has returned.
    ///
    /// # Errors
    /// Returns the exception that the application raises, or one for a breach of PEP 3333.
    pub fn call(&mut self, py: Python<'_>, environ: &mut Environ<'_>, call: &CallSet) -> PyResult<Opening> {
        let is_head = environ.method() == Method::HEAD;
        let dict = self.environs.make(py, environ)?;
        let result = self.application.bind(py).call1((&dict, call.start_response()));
        let result = unless_forked(py, result)?;
        open(&result, call, is_head)
    }
}

/// Reports a failed application: its error stream gets the traceback, the server's log the last line of it,
/// and the client nothing.
pub(super) fn failure(py: Python<'_>, error: &PyErr) -> GatewayError {
    report(py, "answering a request", error);
    GatewayError::new(format!("the application raised {error}"))
}

/// Turns an error of the server into an exception for the application.
pub(super) fn runtime_error(error: &GatewayError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Prints a traceback to `sys.stderr`. `PyErr::print` would obey SystemExit.
pub(crate) fn report(py: Python<'_>, doing: &str, error: &PyErr) {
    let printed = py.import("traceback").and_then(|traceback| {
        let stderr = py.import("sys")?.getattr("stderr")?;
        stderr.call_method1("write", (format!("Exception while {doing}:\n"),))?;
        let of = (error.get_type(py), error.value(py), error.traceback(py));
        traceback.call_method1("print_exception", of)?;
        stderr.call_method0("flush").map(drop)
    });
    if printed.is_err() {
        log::error!("{error}, of which no traceback can be printed");
    }
}
