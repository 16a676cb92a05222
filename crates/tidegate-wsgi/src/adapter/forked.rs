//! Ends processes that the application forks: they are its own, and must not come back and serve.
//!
//! A child that an application makes with `os.fork()` has the server's sockets and its event loop, too.
//! Mostly it ends by `os._exit` or becomes another program, and nobody notices. One that leaves the call
//! by `sys.exit()`, an exception or a return would answer the client once more, and then serve the same
//! connections as its parent. So it ends where the call does, with the status that it has asked for.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict};

use super::interpreter::report;

/// Whether this process was forked from one that serves.
static IS_FORKED: AtomicBool = AtomicBool::new(false);
/// Whether Python tells us of forks. It cannot be asked to stop, so it is asked once.
static IS_WATCHED: AtomicBool = AtomicBool::new(false);

/// Asks Python to tell us of forks, so that children of this process are recognised.
///
/// # Errors
/// Returns the exception of Python when it refuses.
pub(super) fn watch_for_forks(py: Python<'_>) -> PyResult<()> {
    IS_FORKED.store(false, Ordering::Relaxed);
    if IS_WATCHED.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let note = PyCFunction::new_closure(py, None, None, |_, _| IS_FORKED.store(true, Ordering::Relaxed))?;
    let when = PyDict::new(py);
    when.set_item("after_in_child", note)?;
    py.import("os")?.getattr("register_at_fork")?.call((), Some(&when)).map(drop)
}

/// Passes on the result of a call of the application, but ends this process if the application has forked it.
pub(super) fn unless_forked<T>(py: Python<'_>, result: PyResult<T>) -> PyResult<T> {
    if IS_FORKED.load(Ordering::Relaxed) {
        leave(py, result.err().as_ref());
    }
    result
}

#[cold]
fn leave(py: Python<'_>, error: Option<&PyErr>) -> ! {
    let status = match error {
        None => 0,
        Some(error) if error.is_instance_of::<PySystemExit>(py) => status_of(py, error),
        Some(error) => {
            report(py, "running in a process that the application has forked", error);
            1
        }
    };
    // As multiprocessing ends its children: without the functions that are for the end of the parent.
    for stream in ["stdout", "stderr"] {
        let _ = py.import("sys").and_then(|sys| sys.getattr(stream)?.call_method0("flush"));
    }
    let _ = py.import("os").and_then(|os| os.call_method1("_exit", (status,)));
    process::abort()
}

/// Returns the status that `sys.exit()` was called with: nothing is 0, and a text is 1.
fn status_of(py: Python<'_>, exit: &PyErr) -> i32 {
    match exit.value(py).getattr("code") {
        Ok(code) if code.is_none() => 0,
        Ok(code) => code.extract().unwrap_or(1),
        Err(_) => 1,
    }
}
