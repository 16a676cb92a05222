//! Whether Python runs on the stack that it was called on.
//!
//! A thread has one stack, unless the application uses greenlets: then one that is switched to has its own
//! copied to where that of another was, and what lies there meanwhile is not what was borrowed. Whoever
//! runs on such a stack is told apart by its outermost Python frame, which is not that of the thread.

use std::cell::Cell;

use pyo3::prelude::*;

thread_local! {
    /// The address of the outermost frame of this thread, which lasts for as long as it calls
    /// applications; 0 where it does not.
    static OUTERMOST: Cell<usize> = const { Cell::new(0) };
}

/// This thread calls applications from now on, on the stack that it is on.
///
/// # Errors
/// What Python says.
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
