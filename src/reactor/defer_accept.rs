//! Connections that are handed over with their request.
//!
//! A client needs some µs between connecting and sending. A server that is not busy is woken by the first,
//! accepts, reads nothing, registers, and is woken again; with `TCP_DEFER_ACCEPT` (tcp(7)) Linux completes a
//! connection when its first bytes are there. Where each request has a connection of its own, that saves
//! four system calls of nine, and 40 % of the CPU. And who only connects costs no descriptor.
//!
//! The price: who has sent nothing yet is not seen for a second, and if the socket closes meanwhile, is told so
//! by a reset only when it sends. A busy proxy always has some such connections, so a server that drains takes
//! the option off, and goes on accepting for a moment (`LAST_CALL` in the event loop). And the system takes the
//! time until a client sends for that of the way there and back: where the first response to a client that had
//! connected beforehand is lost, it is sent again up to three seconds later, and BBR paces it: 300 kB after
//! 0.9 s took 32 ms. More than 4,096 clients who connect in a second and say nothing have SYN cookies.
//!
//! Only sockets that are bound here are given it: whoever binds one and passes it on has its own opinion.

use std::os::fd::AsFd;

#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

/// How long a connection without a request stays with the system. 1 s: the shortest there is, and nobody's
/// timeout is put off by more, unless a segment is lost: a second SYN-ACK and its answer end the wait.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
const DEFER_ACCEPT_SECONDS: u32 = 1;

// std's own is not stable yet (`TcpStreamExt::set_deferaccept`), and rustix has none.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
sockopt_impl!(
    /// For how many seconds a connection that brings no data is not handed over.
    DeferAccept,
    Both,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    u32
);

/// To be set before it listens. A system that does not know it goes without.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
pub(super) fn defer_accept(socket: &impl AsFd) {
    let _ = nix::sys::socket::setsockopt(socket, DeferAccept, &DEFER_ACCEPT_SECONDS);
}

/// Whether it has been set, by whomever.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
pub(super) fn is_deferred(socket: &impl AsFd) -> bool {
    nix::sys::socket::getsockopt(socket, DeferAccept).is_ok_and(|seconds| seconds > 0)
}

/// Who connects from now on is handed over at once; who has connected already, when it sends. For all that
/// share the socket.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
pub(super) fn stop_deferring(socket: &impl AsFd) {
    let _ = nix::sys::socket::setsockopt(socket, DeferAccept, &0);
}

/// Nothing like it, or nothing that gives up waiting.
#[cfg(all(feature = "sockets", not(any(target_os = "linux", target_os = "android"))))]
pub(super) fn defer_accept(_socket: &impl AsFd) {}

/// Never.
#[cfg(not(all(feature = "sockets", any(target_os = "linux", target_os = "android"))))]
pub(super) fn is_deferred(_socket: &impl AsFd) -> bool {
    false
}

/// There is nothing to stop.
#[cfg(not(all(feature = "sockets", any(target_os = "linux", target_os = "android"))))]
pub(super) fn stop_deferring(_socket: &impl AsFd) {}
