//! `wsgi.file_wrapper`: a file as an iterable (PEP 3333, "Optional Platform-Specific File Handling").
//!
//! Returned as it is, a file of the system is sent by the system, from where it stands to its end, and
//! Python does not see its bytes. Anything else that can be read is read block by block.

use std::fs::File;
use std::io::Seek;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use tidegate::gateway::FileRange;

use super::ffi::duplicate_descriptor;

/// Bytes read at a time if the application says nothing. 8 KiB: as in PEP 3333's example.
const BLOCK_BYTES: usize = 8 * 1024;

/// file_wrapper(file, block_size=8192): an iterable over the blocks of a file.
#[pyclass(frozen, module = "tidegate")]
pub(super) struct FileWrapper {
    file: Py<PyAny>,
    block_size: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize=BLOCK_BYTES, /))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> FileWrapper {
        FileWrapper { file: filelike, block_size: blksize }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let block = self.file.call_method1(py, pyo3::intern!(py, "read"), (self.block_size,))?;
        let block = block.into_bound(py).cast_into::<PyBytes>()?;
        Ok(Some(block).filter(|block| !block.as_bytes().is_empty()))
    }

    /// close(): closes the file, if it can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.file.bind(py).getattr_opt(pyo3::intern!(py, "close"))? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}

impl FileWrapper {
    /// Returns the rest of the file, for the system to send; none if this is no regular file of the system.
    ///
    /// The descriptor is duplicated: the application may close its own whenever it likes.
    pub fn file_range(&self, py: Python<'_>) -> PyResult<Option<FileRange>> {
        let file = self.file.bind(py);
        if !is_plain_file(file)? {
            return Ok(None);
        }
        // A closed file raises here, and when it is read: that is the application's to see.
        let descriptor: i32 = file.call_method0(pyo3::intern!(py, "fileno"))?.extract()?;
        // A Python file reads ahead: only it knows where the application has read to.
        let Ok(position) = file.call_method0(pyo3::intern!(py, "tell")).and_then(|at| at.extract::<u64>())
        else {
            return Ok(None);
        };
        let opened = File::from(duplicate_descriptor(descriptor)?);
        let metadata = opened.metadata()?;
        if !metadata.is_file() || (&opened).stream_position().is_err() {
            return Ok(None);
        }
        // Files of /proc have no length, and content.
        if metadata.len() == 0 {
            return Ok(None);
        }
        let length = metadata.len().saturating_sub(position);
        Ok(Some(FileRange { file: opened.into(), offset: position, length }))
    }
}

/// Whether reading gives what lies in the file itself. A `gzip.GzipFile` has a descriptor, too, and does not.
fn is_plain_file(file: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = file.py();
    let raw = file.getattr_opt(pyo3::intern!(py, "raw"))?.unwrap_or_else(|| file.clone());
    let plain = py.import(pyo3::intern!(py, "io"))?.getattr(pyo3::intern!(py, "FileIO"))?;
    Ok(raw.get_type().is(&plain))
}
