//! Draws from what an application has returned: an iterable, asked block by block, and closed once.

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyTuple};

use tidegate::gateway::FileRange;

use super::call::{CallSet, ResponseStage};
use super::file_wrapper::FileWrapper;
use super::forked::unless_forked;
use super::interpreter::report;

/// The iterable of one response.
pub(super) struct Reply {
    /// The iterable; none once it is closed.
    iterable: Option<Py<PyAny>>,
    iterator: Option<Py<PyIterator>>,
}

/// The beginning of a response, known when an application has returned, and if need be has made a first
/// block.
pub(super) enum Opening {
    /// All of the content: a list or tuple of blocks. Its length is known.
    Blocks(Vec<Py<PyBytes>>),
    /// The whole content in one block, or none: the iterable has ended, or no more is wanted.
    Last(Option<Py<PyBytes>>),
    /// A block that is not empty; there may be more.
    First(Py<PyBytes>, Reply),
    /// A file that the system can send.
    File(FileRange),
}

impl Reply {
    fn new(iterable: &Bound<'_, PyAny>) -> PyResult<Reply> {
        let mut reply = Reply { iterable: Some(iterable.clone().unbind()), iterator: None };
        match iterable.try_iter() {
            Ok(iterator) => {
                reply.iterator = Some(iterator.unbind());
                Ok(reply)
            }
            Err(error) => {
                reply.close(iterable.py());
                Err(error)
            }
        }
    }

    /// The next block; none at the end.
    ///
    /// # Errors
    /// Returns the exception that the application raises, or one for a block that is not bytes.
    pub fn next(&self, py: Python<'_>) -> PyResult<Option<Py<PyBytes>>> {
        let Some(iterator) = &self.iterator else {
            return Ok(None);
        };
        match unless_forked(py, iterator.bind(py).clone().next().transpose())? {
            Some(block) => Ok(Some(to_block(block)?.unbind())),
            None => Ok(None),
        }
    }

    /// Calls `close()`, if there is one. An exception in it is reported, and changes nothing.
    pub fn close(&mut self, py: Python<'_>) {
        self.iterator = None;
        let Some(iterable) = self.iterable.take() else {
            return;
        };
        let closed = match iterable.bind(py).getattr_opt(pyo3::intern!(py, "close")) {
            Ok(Some(close)) => close.call0().map(drop),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = closed {
            report(py, "closing a response", &error);
        }
    }
}

impl Drop for Reply {
    /// Closes the iterable, however the response ends.
    fn drop(&mut self) {
        if self.iterable.is_some() {
            // Not where the interpreter has ended already; then there is nobody to close anything.
            let _ = Python::try_attach(|py| self.close(py));
        }
    }
}

/// Draws from what the application has returned until there is something to send.
///
/// # Errors
/// Returns the exception that the application raises, or one for a block that is not bytes or for content
/// without start_response.
pub(super) fn open(result: &Bound<'_, PyAny>, call: &CallSet, is_head: bool) -> PyResult<Opening> {
    if let Some(blocks) = blocks_at_hand(result)? {
        need_start(call)?;
        return Ok(Opening::Blocks(blocks));
    }
    if let Ok(wrapper) = result.cast_exact::<FileWrapper>() {
        return open_file(wrapper, call, is_head);
    }
    draw_first(Reply::new(result)?, result.py(), call, is_head)
}

fn draw_first(mut reply: Reply, py: Python<'_>, call: &CallSet, is_head: bool) -> PyResult<Opening> {
    loop {
        // Nothing is drawn for a response without content, once it is known to be one.
        let is_unwanted = call.with_head(|stage, head| {
            stage != ResponseStage::Unstarted && (is_head || head.forbids_content())
        })?;
        let block = if is_unwanted { None } else { reply.next(py)? };
        let Some(block) = block else {
            reply.close(py);
            need_start(call)?;
            return Ok(Opening::Last(None));
        };
        let length = block.as_bytes(py).len();
        if length == 0 {
            continue;
        }
        need_start(call)?;
        let is_all = call.with_head(|stage, head| {
            stage == ResponseStage::Started
                && head.declared_length().is_some_and(|declared| declared <= length as u64)
        })?;
        if is_all {
            reply.close(py);
            return Ok(Opening::Last(Some(block)));
        }
        return Ok(Opening::First(block, reply));
    }
}

fn open_file(wrapper: &Bound<'_, FileWrapper>, call: &CallSet, is_head: bool) -> PyResult<Opening> {
    let py = wrapper.py();
    // Content that was written before it leaves by another way.
    let is_first = call.with_head(|stage, _| stage == ResponseStage::Started)?;
    let mut reply = Reply::new(wrapper)?;
    match wrapper.get().file_range(py)?.filter(|_| is_first) {
        Some(mut range) => {
            let declared = call.with_head(|_, head| head.declared_length())?;
            // A file that is shorter than declared is found out when it is read.
            range.length = declared.unwrap_or(range.length);
            // The descriptor was duplicated: what happens to the file's own does not matter any more.
            reply.close(py);
            Ok(Opening::File(range))
        }
        None => draw_first(reply, py, call, is_head),
    }
}

/// Returns the blocks of a list or tuple, which need no closing.
fn blocks_at_hand(result: &Bound<'_, PyAny>) -> PyResult<Option<Vec<Py<PyBytes>>>> {
    if let Ok(list) = result.cast_exact::<PyList>() {
        return list.iter().map(|block| Ok(to_block(block)?.unbind())).collect::<PyResult<_>>().map(Some);
    }
    if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        return tuple.iter().map(|block| Ok(to_block(block)?.unbind())).collect::<PyResult<_>>().map(Some);
    }
    Ok(None)
}

/// Joins blocks into one piece.
pub(super) fn joined(py: Python<'_>, blocks: &[Py<PyBytes>]) -> Vec<u8> {
    let mut content = Vec::with_capacity(blocks.iter().map(|block| block.as_bytes(py).len()).sum());
    blocks.iter().for_each(|block| content.extend_from_slice(block.as_bytes(py)));
    content
}

fn need_start(call: &CallSet) -> PyResult<()> {
    match call.with_head(|stage, _| stage)? {
        ResponseStage::Unstarted => {
            Err(PyRuntimeError::new_err("the application did not call start_response"))
        }
        ResponseStage::Started | ResponseStage::Sent | ResponseStage::Over => Ok(()),
    }
}

fn to_block(block: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyBytes>> {
    block.cast_into::<PyBytes>().map_err(|error| {
        let name =
            error.into_inner().get_type().name().map_or_else(|_| "?".to_string(), |name| name.to_string());
        PyTypeError::new_err(format!("a block of content must be bytes, not {name}"))
    })
}
