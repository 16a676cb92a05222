//! The functions that the reactor needs of the system beyond std and mio, and every `cfg` that depends on the
//! system.
//!
//! ```text
//! plain.rs ─── sockets and the disk, as std and mio can do it anywhere
//! sockets.rs ─ what takes rustix, on every unix             ┐ with the feature `sockets`,
//! linux.rs ─── what Linux and Android alone have            ┘ in place of the same function in plain.rs
//! selector.rs  what epoll and kqueue know of readiness      ┐ one of them
//! poll.rs ──── what poll(2) knows of it                     ┘
//! calls.rs     how the system's calls are named, for those who tell of them
//! ```
//!
//! Each file has functions of the same names, and the rest of the reactor calls them without asking where it is. Nothing
//! that a user sees depends on which of them it gets; only what it costs does. The plain ones are always compiled.

mod calls;
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
mod linux;
#[allow(dead_code)]
mod plain;
// Where mio has epoll or kqueue; elsewhere it waits with poll(2).
#[cfg_attr(
    any(
        mio_unsupported_force_poll_poll,
        not(any(
            target_os = "linux",
            target_os = "android",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd",
            target_os = "dragonfly",
            target_vendor = "apple",
        ))
    ),
    path = "poll.rs"
)]
mod selector;
#[cfg(feature = "sockets")]
mod sockets;

use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};

pub(super) use calls::CALLS;
// Names that are imported one by one hide those of a glob.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
pub(super) use linux::{
    LETS_BYTES_WAIT, SENDS_FILES, accept_queue, bind_beside, bind_tcp, create_unnamed, deferral, inherited,
    receive, reserve_descriptors, send, send_file, send_more, set_deferral,
};
#[allow(unused_imports)]
pub(super) use plain::*;
pub(super) use selector::{ARMS_ITSELF, SHORT_READ_DRAINS, selector};
#[cfg(all(feature = "sockets", not(any(target_os = "linux", target_os = "android"))))]
pub(super) use sockets::bind_tcp;
#[cfg(feature = "sockets")]
pub(super) use sockets::{
    KNOWS_RESETS, check_that_it_listens, free_bytes, reset_on_close, set_listener_options, set_nonblocking,
    set_stream_options,
};

/// Returns the path of a unix socket; an abstract name gets an `@`, as is usual.
pub(super) fn path_of(address: &SocketAddr) -> PathBuf {
    #[cfg(target_os = "linux")]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
        return PathBuf::from(format!("@{}", String::from_utf8_lossy(name)));
    }
    address.as_pathname().unwrap_or(Path::new("")).to_path_buf()
}
