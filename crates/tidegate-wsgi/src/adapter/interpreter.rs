//! One application, and what is kept from one of its calls to the next on the same thread.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use tidegate::gateway::{Environ, GatewayError};
use tidegate::message::Method;

use super::call::{CallSet, Calls};
use super::environ::{Environs, Surroundings};
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
    /// For one thread, and one application.
    ///
    /// # Errors
    /// What Python says to the making of the template.
    pub fn new(py: Python<'_>, application: Py<PyAny>, surroundings: &Surroundings) -> PyResult<Interpreter> {
        watch_for_forks(py)?;
        remember_stack(py)?;
        let environs = Environs::new(py, surroundings)?;
        Ok(Interpreter { application, environs, calls: Calls::default() })
    }

    /// Calls the application with this request: what there is to send when it has returned.
    ///
    /// # Errors
    /// What the application raises, or does that PEP 3333 forbids.
    pub fn call(&mut self, py: Python<'_>, environ: &mut Environ<'_>, call: &CallSet) -> PyResult<Opening> {
        let is_head = environ.method() == Method::HEAD;
        let dict = self.environs.make(py, environ)?;
        let result = self.application.bind(py).call1((&dict, call.start_response()));
        let result = unless_forked(py, result)?;
        open(&result, call, is_head)
    }
}

/// What a failed application has come to: the traceback is in its error stream, the server's log gets
/// the last line of it, and the client nothing.
pub(super) fn failure(py: Python<'_>, error: &PyErr) -> GatewayError {
    report(py, "answering a request", error);
    GatewayError::new(format!("the application raised {error}"))
}

/// What the server says to an application, as an exception.
pub(super) fn runtime_error(error: &GatewayError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Prints a traceback to `sys.stderr`. Not by `PyErr::print`, which obeys SystemExit.
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
