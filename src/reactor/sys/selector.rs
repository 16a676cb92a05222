//! Readiness where mio waits with epoll or kqueue.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mio::Registry;

/// The names of the calls that wait for events, and that ask for them.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub const SELECTOR_CALLS: (&str, &str) = ("epoll_wait", "epoll_ctl");
/// The name of the call that does both.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub const SELECTOR_CALLS: (&str, &str) = ("kevent", "kevent");

/// Whether a read that did not fill its buffer has drained the socket, so that the read that would only say
/// `WouldBlock` can be saved. It has, unless the event has said that the peer has ended: then the end is
/// still to be read, and no further event will tell. mio does not promise it.
pub const SHORT_READ_DRAINS: bool = true;

/// Whether the selector tells of a descriptor again without having been asked to, once something new has come.
pub const ARMS_ITSELF: bool = true;

/// Duplicates the selector's descriptor, which can be polled itself: it is readable when there are events.
pub fn selector(registry: &Registry) -> io::Result<OwnedFd> {
    registry.as_fd().try_clone_to_owned()
}
