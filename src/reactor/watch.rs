//! Descriptors of applications in the loop's selector.
//!
//! Nothing is kept of them. The token of a watched descriptor names the connection that its event wakes
//! ([`ConnectionId::watch_token`](super::connection_id::ConnectionId::watch_token)), with its generation, so
//! a connection that is gone is found by nobody. Which descriptor it was, the loop need not know: an
//! application tries what it waits for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use mio::unix::SourceFd;
use mio::{Registry, Token};

use super::sys;
use crate::gateway::{Interest, Selector};

/// The selector of one loop. An application may keep it beyond the end of the loop: then nobody asks it for events.
pub(super) struct LoopSelector {
    pub registry: Registry,
}

impl Selector for LoopSelector {
    fn register(&self, token: usize, descriptor: BorrowedFd<'_>, interest: Interest) -> io::Result<()> {
        // One that blocked would stop the loop, and everybody with it.
        sys::set_nonblocking(descriptor)?;
        let descriptor = descriptor.as_raw_fd();
        let mut source = SourceFd(&descriptor);
        self.registry.register(&mut source, Token(token), in_words_of_mio(interest)).map_err(explain)
    }

    fn rearm(&self, token: usize, descriptor: RawFd, interest: Interest) {
        if !sys::ARMS_ITSELF {
            // It fails where the other end is gone, which calls find out without waiting.
            let _ =
                self.registry.reregister(&mut SourceFd(&descriptor), Token(token), in_words_of_mio(interest));
        }
    }

    fn deregister(&self, descriptor: RawFd) {
        // With poll(2), one whose other end is gone is no longer there.
        let _ = self.registry.deregister(&mut SourceFd(&descriptor));
    }
}

fn in_words_of_mio(interest: Interest) -> mio::Interest {
    match interest {
        Interest::Read => mio::Interest::READABLE,
        Interest::Write => mio::Interest::WRITABLE,
        Interest::ReadWrite => mio::Interest::READABLE | mio::Interest::WRITABLE,
    }
}

/// Translates errors of epoll_ctl(2).
fn explain(error: io::Error) -> io::Error {
    let (kind, text) = match error.kind() {
        io::ErrorKind::AlreadyExists => (error.kind(), "it is watched already"),
        io::ErrorKind::PermissionDenied => (
            io::ErrorKind::InvalidInput,
            "it is a regular file or a folder, which no event loop can wait for",
        ),
        io::ErrorKind::StorageFull => {
            (io::ErrorKind::QuotaExceeded, "the system watches no more for this user (max_user_watches)")
        }
        _ => return error,
    };
    io::Error::new(kind, format!("cannot watch a descriptor: {text}"))
}
