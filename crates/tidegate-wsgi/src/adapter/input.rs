//! `wsgi.input`: the content of a request as a file (PEP 3333, "Input and Error Streams").
//!
//! The content is complete before the application is called, in memory or in a temporary file, so no
//! read ever waits for a client. All methods work on one position, in any order; at the end each
//! gives nothing, for ever.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use tidegate::gateway::{OwnedContent, SpoolFile};

/// Bytes that are read ahead of lines in a temporary file. 8 KiB: as Python's own.
const READ_AHEAD_BYTES: usize = 8 * 1024;

/// The content of a request.
#[pyclass(frozen, module = "tidegate")]
pub(super) struct Input {
    /// The content; none if there is none. One such object serves all requests without content.
    content: Option<Mutex<Rest>>,
}

/// The content that was not read yet.
enum Rest {
    Memory {
        bytes: Vec<u8>,
        position: usize,
    },
    File {
        file: BufReader<Box<dyn SpoolFile>>,
        /// The number of bytes that should be left in the file.
        length: u64,
    },
}

impl Rest {
    /// Reads up to `limit` bytes, copied once: straight into the object that the application gets.
    fn read<'py>(&mut self, py: Python<'py>, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
        match self {
            Rest::Memory { bytes, position } => {
                let rest = &bytes[*position..];
                let count = usize::try_from(limit).map_or(rest.len(), |limit| limit.min(rest.len()));
                let read = PyBytes::new(py, &rest[..count]);
                self.skip_in_memory(count);
                Ok(read)
            }
            Rest::File { file, length } => {
                let wanted = usize::try_from(limit.min(*length)).map_err(|_| too_long())?;
                let mut count = 0;
                let read = PyBytes::new_with(py, wanted, |into| {
                    count = read_fully(file, into)?;
                    Ok(())
                })?;
                *length -= count as u64;
                // Somebody has cut the file short.
                Ok(if count == wanted { read } else { PyBytes::new(py, &read.as_bytes()[..count]) })
            }
        }
    }

    /// Reads up to the end of the line, and no more than `limit` bytes.
    fn read_line<'py>(&mut self, py: Python<'py>, limit: u64) -> PyResult<Bound<'py, PyBytes>> {
        match self {
            Rest::Memory { bytes, position } => {
                let rest = &bytes[*position..];
                let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |index| index + 1);
                self.read(py, limit.min(end as u64))
            }
            Rest::File { file, length } => {
                let mut line = Vec::new();
                *length -= file.take(limit.min(*length)).read_until(b'\n', &mut line)? as u64;
                Ok(PyBytes::new(py, &line))
            }
        }
    }

    /// Passes over bytes that were read. Content that was read to its end is freed.
    fn skip_in_memory(&mut self, count: usize) {
        if let Rest::Memory { bytes, position } = self {
            *position += count;
            if *position == bytes.len() {
                *position = 0;
                drop(mem::take(bytes));
            }
        }
    }
}

#[cold]
fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, "the content is longer than memory can be")
}

/// Fills `into`, unless the end comes before, and returns the number of bytes in it.
fn read_fully(file: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < into.len() {
        match file.read(&mut into[count..]) {
            Ok(0) => break,
            Ok(read) => count += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

impl Input {
    /// The content of one request.
    pub fn new(content: OwnedContent) -> Input {
        let rest = match content {
            OwnedContent::Memory(bytes) => Rest::Memory { bytes, position: 0 },
            OwnedContent::Spooled { file, length } => {
                Rest::File { file: BufReader::with_capacity(READ_AHEAD_BYTES, file), length }
            }
        };
        Input { content: Some(Mutex::new(rest)) }
    }

    /// The object that requests without content share.
    pub fn empty(py: Python<'_>) -> PyResult<Py<Input>> {
        Py::new(py, Input { content: None })
    }

    fn lock(&self) -> Option<MutexGuard<'_, Rest>> {
        self.content.as_ref().map(|content| content.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_line<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        match self.lock() {
            Some(mut rest) => rest.read_line(py, limit_of(size)),
            None => Ok(PyBytes::new(py, b"")),
        }
    }
}

/// Turns a size into a limit: none or a negative number is no limit.
fn limit_of(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(u64::MAX)
}

#[pymethods]
impl Input {
    /// read(size=-1): reads up to `size` bytes, or without it all that is left.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        match self.lock() {
            Some(mut rest) => rest.read(py, limit_of(size)),
            None => Ok(PyBytes::new(py, b"")),
        }
    }

    /// readline(size=-1): reads up to the end of the line, and no more than `size` bytes.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        self.read_line(py, size)
    }

    /// readlines(hint=-1): reads all lines, or only as many as have `hint` bytes together.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<i64>) -> PyResult<Bound<'py, PyList>> {
        let enough =
            hint.and_then(|hint| u64::try_from(hint).ok()).filter(|&hint| hint > 0).unwrap_or(u64::MAX);
        let lines = PyList::empty(py);
        let mut total = 0;
        while total < enough {
            let line = self.read_line(py, None)?;
            let length = line.as_bytes().len();
            if length == 0 {
                break;
            }
            total += length as u64;
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.read_line(py, None)?;
        Ok(Some(line).filter(|line| !line.as_bytes().is_empty()))
    }

    /// close(): does nothing; the content goes with the request.
    fn close(&self) {}
}
