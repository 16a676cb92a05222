//! Readiness where mio waits with poll(2).

use std::io;
use std::os::fd::OwnedFd;

use mio::Registry;

/// The names of the calls that wait for events, and that ask for them: poll is given the whole list each time, and has no
/// call to add to it.
pub const SELECTOR_CALLS: (&str, &str) = ("poll", "(no call: the list of poll)");

/// Whether a read that did not fill its buffer has drained the socket. mio's poll(2) back end arms an event again only on
/// `WouldBlock`: so reading goes on until then.
pub const SHORT_READ_DRAINS: bool = false;

/// Whether the selector tells of a descriptor again without having been asked to, once something new has come. mio's
/// poll(2) back end must be.
pub const ARMS_ITSELF: bool = false;

/// Fails to duplicate the selector: that of poll(2) has no descriptor.
pub fn selector(_registry: &Registry) -> io::Result<OwnedFd> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no descriptor that tells of events"))
}
