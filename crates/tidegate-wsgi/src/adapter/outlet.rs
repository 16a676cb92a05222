//! Where an application's words go while it still runs: `write()` and early hints.

use pyo3::prelude::*;

use tidegate::gateway::GatewayError;

use super::head::Head;

/// The way out for what is not returned, but handed over in the middle of a call.
pub(super) trait Outlet {
    /// The head is fixed, and content follows.
    fn begin(&mut self, head: &Head) -> Result<(), GatewayError>;
    /// Content; the head has begun. It is on its way when this returns, or leaves without waiting for the
    /// application.
    fn write(&mut self, py: Python<'_>, content: &[u8]) -> PyResult<()>;
    /// Fields of an interim response.
    fn hint(&mut self, fields: &Head) -> Result<(), GatewayError>;
    /// Whether the client has ended its side, as far as is known.
    fn client_has_finished(&self) -> bool;
}
