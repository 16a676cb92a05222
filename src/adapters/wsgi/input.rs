//! `wsgi.input`: the content of a request as a file (PEP 3333, "Input and Error Streams").
//!
//! The content is complete before the application is called, in memory or in a temporary file, so no
//! read ever waits for a client. All methods work on one position, in any order; at the end each
//! gives nothing, for ever.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::gateway::OwnedContent;

/// Read ahead of lines in a temporary file, in bytes. 8 KiB: as Python's own.
const READ_AHEAD_BYTES: usize = 8 * 1024;

/// A request's content.
#[pyclass(frozen, module = "tidegate")]
pub(super) struct Input {
    /// None where there is no content: one such object serves all those requests.
    content: Option<Mutex<Box<dyn BufRead + Send>>>,
}

impl Input {
    /// The content of one request.
    pub fn new(content: OwnedContent) -> Input {
        let reader: Box<dyn BufRead + Send> = match content {
            OwnedContent::Memory(bytes) => Box::new(Cursor::new(bytes)),
            OwnedContent::Spooled { file, .. } => Box::new(BufReader::with_capacity(READ_AHEAD_BYTES, file)),
        };
        Input { content: Some(Mutex::new(reader)) }
    }

    /// What requests without content share.
    pub fn empty(py: Python<'_>) -> PyResult<Py<Input>> {
        Py::new(py, Input { content: None })
    }

    /// Reads with the reader; without content there is nothing to read.
    fn read_with(
        &self,
        read: impl FnOnce(&mut dyn BufRead, &mut Vec<u8>) -> std::io::Result<()>,
    ) -> PyResult<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(content) = &self.content {
            read(&mut **content.lock().unwrap_or_else(PoisonError::into_inner), &mut bytes)?;
        }
        Ok(bytes)
    }

    fn read_line(&self, size: Option<i64>) -> PyResult<Vec<u8>> {
        let limit = limit_of(size);
        self.read_with(|content, line| content.take(limit).read_until(b'\n', line).map(drop))
    }
}

/// A negative number, or none, is no limit.
fn limit_of(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX)
}

#[pymethods]
impl Input {
    /// read(size=-1): up to `size` bytes; all that is left without it.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit_of(size);
        let bytes = self.read_with(|content, bytes| content.take(limit).read_to_end(bytes).map(drop))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// readline(size=-1): up to the end of the line, and no more than `size` bytes.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.read_line(size)?))
    }

    /// readlines(hint=-1): all lines, or as many as together have `hint` bytes.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<i64>) -> PyResult<Bound<'py, PyList>> {
        let enough =
            hint.and_then(|hint| u64::try_from(hint).ok()).filter(|&hint| hint > 0).unwrap_or(u64::MAX);
        let lines = PyList::empty(py);
        let mut total = 0;
        while total < enough {
            let line = self.read_line(None)?;
            if line.is_empty() {
                break;
            }
            total += line.len() as u64;
            lines.append(PyBytes::new(py, &line))?;
        }
        Ok(lines)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.read_line(None)?;
        Ok(Some(line).filter(|line| !line.is_empty()).map(|line| PyBytes::new(py, &line)))
    }

    /// close(): does nothing; the content goes with the request.
    fn close(&self) {}
}
