//! The way out for content and hints while an application still runs: `write()` and early hints.

use pyo3::prelude::*;

use tidegate::gateway::GatewayError;

use super::head::Head;

/// Sends what is not returned, but handed over in the middle of a call.
pub(super) trait Outlet {
    /// Fixes the head; content follows.
    fn begin(&mut self, head: &Head) -> Result<(), GatewayError>;
    /// Sends content; the head has begun. When this returns, the content is on its way, or leaves without
    /// waiting for the application.
    fn write(&mut self, py: Python<'_>, content: &[u8]) -> PyResult<()>;
    /// Sends the fields of an interim response.
    fn hint(&mut self, fields: &Head) -> Result<(), GatewayError>;
    /// Whether the client has ended its side, as far as is known.
    fn client_has_finished(&self) -> bool;
}
