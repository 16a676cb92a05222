//! The extension module `tidegate._tidegate`: the native half of the Python package.
//!
//! It connects the command line, the server, and the WSGI adapter. Processes, signals, loading and reloading
//! are written in Python.
//!
//! It joins what is there: the command line, the server, and the WSGI adapter. Processes, signals,
//! loading and reloading are Python's affair, and in Python.

mod served;
mod server;
mod settings;
mod watch;

use std::ffi::OsString;

use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::options::{PythonOptions, WsgiOptions};

/// The native half of the package.
#[pymodule(gil_used = true)]
fn _tidegate(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<settings::Settings>()?;
    module.add_class::<settings::BoundListener>()?;
    module.add_class::<server::PyServer>()?;
    module.add_function(wrap_pyfunction!(command_line, module)?)?;
    module.add_function(wrap_pyfunction!(write_stderr, module)?)?;
    module.add_function(wrap_pyfunction!(finish_stderr, module)?)
}

/// write_stderr(lines): hands whole lines to the thread that writes to stderr, and does not wait.
#[pyfunction]
fn write_stderr(lines: &[u8]) {
    tidegate_program::print(lines);
}

/// finish_stderr(): waits until everything is written, but no longer than a second.
#[pyfunction]
fn finish_stderr(py: Python<'_>) {
    py.detach(tidegate_program::finish);
}

/// command_line(arguments) -> Settings, or an exit status.
///
/// Reads a command line as in sys.argv. Anything that needs no Python is done at once: help, errors, and the
/// native commands.
#[pyfunction]
fn command_line(py: Python<'_>, arguments: Vec<OsString>) -> PyResult<Py<PyAny>> {
    // Whatever is said begins a thread.
    tidegate_program::share_one_heap();
    let (program, wsgi) = match tidegate_program::parse::<WsgiOptions>(arguments) {
        Ok(options) => options,
        Err(refusal) => return status(py, refusal.print()),
    };
    if wsgi.application.is_none() {
        leave_interrupts_to_the_system(py);
        let done = py.detach(|| tidegate_program::run(&program));
        return status(py, done);
    }
    Ok(Py::new(py, settings::Settings::new(PythonOptions { program, wsgi }))?.into_any())
}

/// Removes Python's own handler of Ctrl-C. The native commands have theirs, which calls the one before it: a
/// command that has ended in order would end once more, by KeyboardInterrupt.
fn leave_interrupts_to_the_system(py: Python<'_>) {
    let set = || -> PyResult<()> {
        let signal = py.import("signal")?;
        signal.call_method1("signal", (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?))?;
        Ok(())
    };
    // Outside of the main thread Python hears of no signals anyway.
    let _ = set();
}

fn status(py: Python<'_>, status: u8) -> PyResult<Py<PyAny>> {
    Ok(status.into_pyobject(py)?.into_any().unbind())
}
