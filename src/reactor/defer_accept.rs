//! Connections that are handed over with their request.
//!
//! A client needs some µs between connecting and sending. A server that is not busy is woken by the first,
//! accepts, reads nothing, registers, and is woken again; with `TCP_DEFER_ACCEPT` (tcp(7)) Linux completes a
//! connection when its first bytes are there. Where each request has a connection of its own, that saves
//! four system calls of nine, and 40 % of the CPU. And who only connects costs no descriptor.
//!
//! The price: who has sent nothing yet is not seen for a second, and reset if the socket closes meanwhile.
//!
//! Only sockets that are bound here are given it: whoever binds one and passes it on has its own opinion.

use std::os::fd::AsFd;

#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

/// How long a connection without a request stays with the system. 1 s: the shortest there is, and nobody's
/// timeout is put off by more.
#[cfg(any(target_os = "linux", target_os = "android"))]
const DEFER_ACCEPT_SECONDS: u32 = 1;

// std's own is not stable yet (`TcpStreamExt::set_deferaccept`), and rustix has none.
#[cfg(any(target_os = "linux", target_os = "android"))]
sockopt_impl!(
    /// For how many seconds a connection that brings no data is not handed over.
    DeferAccept,
    Both,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    u32
);

/// To be set before it listens. A system that does not know it goes without.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn defer_accept(socket: &impl AsFd) {
    let _ = nix::sys::socket::setsockopt(socket, DeferAccept, &DEFER_ACCEPT_SECONDS);
}

/// Whether it has been set, by whomever.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn is_deferred(socket: &impl AsFd) -> bool {
    nix::sys::socket::getsockopt(socket, DeferAccept).is_ok_and(|seconds| seconds > 0)
}

/// Nothing like it, or nothing that gives up waiting.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn defer_accept(_socket: &impl AsFd) {}
