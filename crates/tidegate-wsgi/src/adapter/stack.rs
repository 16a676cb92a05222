//! Tells whether Python runs on the stack that it was called on.
//!
//! A thread has one stack, unless the application uses greenlets: these copy their stacks to and from the
//! same memory when they switch, so borrowed memory may then belong to another one. A thread on such a stack
//! is recognised by its outermost Python frame, which is not that of the thread.

use std::cell::Cell;

use pyo3::prelude::*;

thread_local! {
    /// The address of the outermost frame of this thread, for as long as it calls applications; otherwise 0.
    static OUTERMOST: Cell<usize> = const { Cell::new(0) };
}

/// Remembers the stack that this thread is on, from which it will call applications.
///
/// # Errors
/// Returns the exception of Python when there is no frame to be found.
pub(super) fn remember_stack(py: Python<'_>) -> PyResult<()> {
    OUTERMOST.set(outermost_frame(py)?);
    Ok(())
}

/// Whether this is the stack from which the application was called.
pub(super) fn is_on_own_stack(py: Python<'_>) -> bool {
    outermost_frame(py).is_ok_and(|frame| frame == OUTERMOST.get())
}

fn outermost_frame(py: Python<'_>) -> PyResult<usize> {
    let mut frame = py.import(pyo3::intern!(py, "sys"))?.call_method0(pyo3::intern!(py, "_getframe"))?;
    loop {
        let back = frame.getattr(pyo3::intern!(py, "f_back"))?;
        if back.is_none() {
            return Ok(frame.as_ptr().addr());
        }
        frame = back;
    }
}
