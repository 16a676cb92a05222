//! Isolates application code: a panic in it is an error of one exchange.
//!
//! Calls that answer a request go through [`guard`]. What an application leaves with the server is held as [`Foreign`],
//! because dropping it runs the application's code, too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::gateway::GatewayError;
use crate::now::Moment;

/// Runs application code, and turns a panic into an error. State that the application leaves half changed is
/// its own: the server's is only touched through checked calls.
pub(super) fn guard<T>(call: impl FnOnce() -> Result<T, GatewayError>) -> Result<T, GatewayError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let error = GatewayError::of_panic(panic.as_ref());
        drop(Foreign::new(panic));
        Err(error)
    })
}

/// A value of the application's that may panic when it is dropped.
pub(super) struct Foreign<T>(Option<T>);

impl<T> Foreign<T> {
    pub fn new(thing: T) -> Foreign<T> {
        Foreign(Some(thing))
    }

    /// The value, to be used under guard.
    pub fn get(&mut self) -> Option<&mut T> {
        self.0.as_mut()
    }

    /// Tells the value something, unless it was taken. A panic is no answer, and changes nothing.
    pub fn notify(&mut self, notify: impl FnOnce(&mut T)) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.as_mut().map(notify)));
    }

    /// Asks the value for a number; 0 if it panics.
    pub fn measure(&self, measure: impl FnOnce(&T) -> usize) -> usize {
        catch_unwind(AssertUnwindSafe(|| self.0.as_ref().map_or(0, measure))).unwrap_or(0)
    }

    /// Hands the value out, once; whoever takes it drops it under guard.
    pub fn take(&mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T> Drop for Foreign<T> {
    fn drop(&mut self) {
        if let Some(thing) = self.0.take() {
            // The panic hook has told of it; there is no exchange left to fail.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(thing)));
        }
    }
}

/// When the application is to be asked for more of its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// The application is to be asked as soon as there is room.
    Now,
    /// The application is pending: it is asked once it has woken its connection, or at this moment.
    WhenWoken { until: Option<Moment> },
}

impl Asking {
    /// Whether the application has said that it has nothing yet.
    pub fn is_pending(self) -> bool {
        matches!(self, Asking::WhenWoken { .. })
    }

    /// Returns when the application is asked even without a wake-up.
    pub fn until(self) -> Option<Moment> {
        match self {
            Asking::Now => None,
            Asking::WhenWoken { until } => until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Grenade;

    impl Drop for Grenade {
        fn drop(&mut self) {
            panic!("boom");
        }
    }

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let error = guard::<()>(|| panic!("low {}", "tide")).unwrap_err();
        assert!(error.to_string().contains("low tide"));
    }

    #[test]
    fn a_panic_while_dropping_ends_nothing() {
        drop(Foreign::new(Box::new(Grenade)));
    }
}
