//! The extension module `tidegate._tidegate`: the native half of the Python package.

use pyo3::prelude::*;

/// The native half of the package.
#[pymodule(gil_used = true)]
mod _tidegate {
    use super::*;

    /// The version of the package.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
