//! Hooks of the event loop, for those who drive an interpreter, or another loop.

use crate::now::Moment;

/// Takes part in the event loop: in its wait for events, and in whether it reads requests.
///
/// Most servers have no hooks, and write and pay nothing for them. They are for gateways that hold an interpreter's
/// lock while they answer, or hand requests to threads that are not to wake the loop for each answer.
/// [`BoundServer::run_with_hooks`](crate::server::BoundServer::run_with_hooks) takes them beside the gateway, as an
/// object of its own: what both know, they share, and a gateway around the gateway has no hooks to pass on.
///
/// A panic in a hook ends nothing. The loop goes on as if there were no such hook, and looks again soon.
///
/// ```no_run
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use tidegate::gateway::LoopHooks;
/// use tidegate::{Environ, Server, StartResponse};
///
/// /// Lets no request in while 100 are being worked on.
/// struct Turnstile(Arc<AtomicUsize>);
///
/// impl LoopHooks for Turnstile {
///     fn is_ready(&self) -> bool {
///         self.0.load(Ordering::Relaxed) < 100
///     }
/// }
///
/// let inside = Arc::<AtomicUsize>::default();
/// let gateway = |_: &mut Environ<'_>, start_response: StartResponse<'_>| {
///     // Counts those that come and go in `inside`, and answers later.
///     # let _ = &inside;
///     start_response.status(202).send("")
/// };
/// let server = Server::new().listen("127.0.0.1:8000".parse()?).bind()?;
/// server.run_with_hooks(gateway, Turnstile(inside.clone()))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait LoopHooks {
    /// Lets the server wait for events: calls `wait` once. An interpreter releases its lock meanwhile, and
    /// looks for signals afterwards.
    ///
    /// Called once a turn of the loop, and never while an application runs.
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        wait();
    }

    /// Returns the moment until which the server may wait for events although nothing happens: none is for ever, `now`
    /// is not at all. Asked before each wait. It is for gateways that do not wake the server for every answer.
    fn deadline(&self, now: Moment) -> Option<Moment> {
        let _ = now;
        None
    }

    /// Whether the gateway can take another request. While it cannot, none is read from any connection, and a
    /// client that has waited for longer than [`gateway_timeout`](crate::limits::Limits::gateway_timeout)
    /// gets 503. Asked again in each turn of the loop; an answer that becomes ready begins one.
    ///
    /// Requests that were read before may still be brought to it: those that came in one read with the last one.
    fn is_ready(&self) -> bool {
        true
    }
}

impl<H: LoopHooks + ?Sized> LoopHooks for &mut H {
    fn wait(&mut self, wait: &mut (dyn FnMut() + Send)) {
        (**self).wait(wait);
    }

    fn deadline(&self, now: Moment) -> Option<Moment> {
        (**self).deadline(now)
    }

    fn is_ready(&self) -> bool {
        (**self).is_ready()
    }
}
