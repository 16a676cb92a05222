//! Connections that are handed over with their request.
//!
//! A client needs some µs between connecting and sending. A server that is not busy is woken by the first,
//! accepts, reads nothing, registers, and is woken again; with `TCP_DEFER_ACCEPT` (tcp(7)) Linux completes a
//! connection when its first bytes are there. Where each request has a connection of its own, that saves
//! four system calls of nine, and 40 % of the CPU. And who only connects costs no descriptor.
//!
//! The price: who has sent nothing yet is not seen for a second, and if the socket closes meanwhile, is told so
//! by a reset only when it sends. A busy proxy always has some such connections, so a server that drains takes
//! the option off, goes on accepting for a moment (`LAST_CALL` in the event loop), and puts it back for others who may have
//! the socket, too. And the system takes the
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
#[cfg(feature = "sockets")]
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
#[cfg(feature = "sockets")]
pub(super) fn defer_accept(socket: &impl AsFd) {
    set_deferral(socket, DEFER_ACCEPT_SECONDS);
}

/// For how many seconds a connection without a request stays with the system, whoever has said so; 0 where it is
/// handed over at once.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
pub(super) fn deferral(socket: &impl AsFd) -> u32 {
    nix::sys::socket::getsockopt(socket, DeferAccept).unwrap_or(0)
}

/// Of who connects from now on. Who has connected already is handed over when it sends. For all that share the socket.
#[cfg(all(feature = "sockets", any(target_os = "linux", target_os = "android")))]
pub(super) fn set_deferral(socket: &impl AsFd, seconds: u32) {
    let _ = nix::sys::socket::setsockopt(socket, DeferAccept, &seconds);
}

/// Nothing like it, or nothing that gives up waiting.
#[cfg(not(all(feature = "sockets", any(target_os = "linux", target_os = "android"))))]
pub(super) fn deferral(_socket: &impl AsFd) -> u32 {
    0
}

/// There is nothing to set.
#[cfg(not(all(feature = "sockets", any(target_os = "linux", target_os = "android"))))]
pub(super) fn set_deferral(_socket: &impl AsFd, _seconds: u32) {}
