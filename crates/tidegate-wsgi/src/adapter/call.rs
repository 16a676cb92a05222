//! The callables of one request: `start_response`, `write` and their like, through which an application calls
//! back.
//!
//! ```text
//!              start_response(status, fields)
//!   Unstarted ────────────────────────────────▶ Started ──▶ Sent ──▶ Over
//!                    with exc_info, again ◀────────┘          │
//!                                     raises exc_info ◀───────┘
//! ```
//!
//! Both callables are bound methods of one [`Call`]. Making them costs more than the rest of a
//! small request, so they serve one request after the other, unless the application has kept one:
//! that can be seen from their reference counts, and then the next request gets new ones.

use std::mem;
use std::sync::{Mutex, MutexGuard};

use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::ffi::{Owner, reference_count, with_outlet, with_outlet_of};
use super::head::Head;
use super::interpreter::runtime_error;

/// Sets of callables that are kept for later requests. 64: more than are under way at a time, unless many
/// stream.
const SPARE_MAX: usize = 64;

/// How far the response to one request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseStage {
    /// start_response was not called.
    Unstarted,
    /// start_response was called; the head can still be replaced.
    Started,
    /// The head is on its way.
    Sent,
    /// The request is over: a callable that is called now comes too late.
    Over,
}

/// The exchange of calls between an application and the server about one request.
#[pyclass(frozen, module = "tidegate")]
pub(super) struct Call(Mutex<Inner>);

struct Inner {
    stage: ResponseStage,
    head: Head,
    /// The buffer that the next head is read into, so that a refused one leaves the last in place.
    draft: Head,
    /// The callable that start_response returns. It refers to this very object: see [`CallSet`].
    write: Option<Py<PyAny>>,
}

impl Call {
    fn new() -> Call {
        Call(Mutex::new(Inner {
            stage: ResponseStage::Unstarted,
            head: Head::default(),
            draft: Head::default(),
            write: None,
        }))
    }

    /// Locks the state. Only code that runs while another of these methods does can find it locked: a
    /// finalizer, or another thread of the application.
    fn lock(&self) -> PyResult<MutexGuard<'_, Inner>> {
        self.0
            .try_lock()
            .map_err(|_| PyRuntimeError::new_err("the response is being written by somebody else"))
    }
}

#[pymethods]
impl Call {
    /// start_response(status, response_headers, exc_info=None) -> write: sets the head of the response.
    #[pyo3(signature = (status, response_headers, exc_info=None))]
    fn start_response(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        response_headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let inner = &mut *self.lock()?;
        let exc_info = exc_info.filter(|exc_info| !exc_info.is_none());
        match (inner.stage, exc_info) {
            (ResponseStage::Unstarted | ResponseStage::Started, Some(exc_info)) => drop(raised(exc_info)?),
            (ResponseStage::Unstarted, None) => {}
            (ResponseStage::Started | ResponseStage::Sent, None) => {
                return Err(PyAssertionError::new_err(
                    "start_response was called already, and exc_info not given",
                ));
            }
            (ResponseStage::Sent, Some(exc_info)) => return Err(raised(exc_info)?),
            (ResponseStage::Over, _) => {
                return Err(PyRuntimeError::new_err("the request of this start_response is over"));
            }
        }
        inner.draft.read(status, response_headers)?;
        mem::swap(&mut inner.head, &mut inner.draft);
        inner.stage = ResponseStage::Started;
        Ok(inner.write.as_ref().map(|write| write.clone_ref(py)))
    }

    /// write(data): sends data before the application returns.
    #[pyo3(signature = (data, /))]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data =
            data.cast::<PyBytes>().map_err(|_| PyTypeError::new_err("write() takes bytes"))?.as_bytes();
        if data.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock()?;
        let elsewhere =
            || PyRuntimeError::new_err("write() belongs to the thread of the call, while it runs");
        match inner.stage {
            ResponseStage::Unstarted => {
                return Err(PyAssertionError::new_err("write() before start_response()"));
            }
            ResponseStage::Over => {
                return Err(PyRuntimeError::new_err("the request of this write() is over"));
            }
            ResponseStage::Started => {
                let begun = with_outlet_of(py, Owner::of(self), |outlet| outlet.begin(&inner.head));
                let begun = begun.ok_or_else(elsewhere)?;
                begun.map_err(|error| runtime_error(&error))?;
                inner.stage = ResponseStage::Sent;
            }
            ResponseStage::Sent => {}
        }
        // Writing may wait for the client: whoever asks something meanwhile must not wait, too.
        drop(inner);
        with_outlet_of(py, Owner::of(self), |outlet| outlet.write(py, data)).ok_or_else(elsewhere)?
    }
}

/// early_hints(headers): sends 103 (Early Hints, RFC 8297) with these headers, before the answer of the
/// call that runs on this thread. Once the answer has begun, what it hints at is on its way, and nothing
/// is sent.
#[pyfunction]
#[pyo3(signature = (headers, /))]
pub(super) fn early_hints(headers: &Bound<'_, PyAny>) -> PyResult<()> {
    let mut head = Head::default();
    head.read_fields(headers)?;
    let hinted = with_outlet(headers.py(), |outlet| outlet.hint(&head)).unwrap_or(Ok(()));
    hinted.map_err(|error| runtime_error(&error))
}

/// client_disconnected(): whether the client whose request is being answered on this thread has ended
/// its side of the connection. It has left, or still waits for the answer: both look the same.
#[pyfunction]
pub(super) fn client_disconnected(py: Python<'_>) -> bool {
    with_outlet(py, |outlet| outlet.client_has_finished()).unwrap_or(false)
}

/// Returns the exception that `exc_info` asks to be raised.
fn raised(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let exc_info =
        exc_info.cast::<PyTuple>().map_err(|_| PyTypeError::new_err("exc_info must be a tuple"))?;
    Ok(PyErr::from_value(exc_info.get_item(1)?))
}

/// A call with its bound methods.
pub(super) struct CallSet {
    call: Py<Call>,
    start_response: Py<PyAny>,
    write: Py<PyAny>,
}

impl CallSet {
    fn new(py: Python<'_>) -> PyResult<CallSet> {
        let call = Bound::new(py, Call::new())?;
        let write = call.getattr("write")?.unbind();
        if let Ok(mut inner) = call.get().lock() {
            inner.write = Some(write.clone_ref(py));
        }
        Ok(CallSet { start_response: call.getattr("start_response")?.unbind(), write, call: call.unbind() })
    }

    /// The callable that the application gets as start_response.
    pub fn start_response(&self) -> &Py<PyAny> {
        &self.start_response
    }

    /// The owner of the outlet that `write` uses.
    pub fn owner(&self) -> Owner {
        Owner::of(self.call.get())
    }

    /// Shows stage and head to `look`.
    ///
    /// # Errors
    /// Returns RuntimeError while another thread of the application is writing.
    pub fn with_head<R>(&self, look: impl FnOnce(ResponseStage, &Head) -> R) -> PyResult<R> {
        let inner = self.call.get().lock()?;
        Ok(look(inner.stage, &inner.head))
    }

    /// Notes that the head has been sent.
    pub fn set_sent(&self) -> PyResult<()> {
        self.call.get().lock()?.stage = ResponseStage::Sent;
        Ok(())
    }

    /// Whether nobody else has kept one of the callables: ours are the only references.
    fn is_unshared(&self, py: Python<'_>) -> bool {
        // `write` is referred to from here and from the call; the call from here and by its methods.
        reference_count(py, &self.start_response) == 1
            && reference_count(py, &self.write) == 2
            && reference_count(py, &self.call) == 3
    }

    /// Ends the request: from now on the callables refuse to work.
    fn end(&self) {
        if let Ok(mut inner) = self.call.get().lock() {
            inner.stage = ResponseStage::Over;
        }
    }
}

impl Drop for CallSet {
    /// Breaks the cycle between call and write, so that both are freed.
    fn drop(&mut self) {
        self.end();
        let write = self.call.get().lock().ok().and_then(|mut inner| inner.write.take());
        drop(write);
    }
}

/// Callables that wait for the next requests.
#[derive(Default)]
pub(super) struct Calls(Vec<CallSet>);

impl Calls {
    /// Returns callables for a request.
    pub fn begin(&mut self, py: Python<'_>) -> PyResult<CallSet> {
        let set = self.0.pop().map_or_else(|| CallSet::new(py), Ok)?;
        set.call.get().lock()?.stage = ResponseStage::Unstarted;
        Ok(set)
    }

    /// Takes back the callables of a request that is over. A set that the application has kept must not reach
    /// the next one.
    pub fn end(&mut self, py: Python<'_>, set: CallSet) {
        set.end();
        if set.is_unshared(py) && self.0.len() < SPARE_MAX {
            self.0.push(set);
        }
    }
}
