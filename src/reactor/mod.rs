//! The event loop: the only place that touches the operating system's network.
//!
//! ```text
//! EventLoop ── waits and reads the clocks; in a GuestLoop somebody else waits
//! Running ──── gives turns
//!   ├── Listener ×n ────────── accepts; pauses when the means are exhausted
//!   ├── Connections ────────── slab + generation ↔ token
//!   │     └── Connection ───── Socket (stream, readiness, peer) + Conversation; a turn(): pump, settle
//!   ├── Timers ─────────────── heap of (moment, connection)
//!   ├── WakeupQueue ────────── filled by other threads
//!   ├── ServerHandle ───────── drain, stop
//!   ├── Witness ────────────── sees each system call of the first few connections; a Running of its own, with sockets that tell
//!   ├── Observer ───────────── asks for a Snapshot, reads the counters; nothing unless somebody observes
//!   └── Shared ─────────────── application, limits, clock, scratches, disk, journal
//! ```
//!
//! Which system it is, and whether the feature `sockets` is on, nobody asks but [`sys`].
//!
//! # Readiness, in nine sentences
//!
//! The system says when a socket *becomes* readable or writable, once: an edge, not a level. It
//! says so again only after a call has found nothing left (`WouldBlock`), or something new has
//! come. So whoever stops before that must remember that there is more: nobody else will. Every
//! event is a hint: a socket that is said to be readable may have nothing, and every call must be
//! ready for `WouldBlock`, which is no error. On connections it is handled in two functions only, one that
//! reads and one that writes, and becomes a bit of the connection's readiness. On epoll and kqueue a read
//! that brings less than it had room for has found nothing left, too, unless the peer has ended;
//! that saves one system call in four. Writing is tried at once, and asked for only when the socket
//! has taken less than it was given: most never do. A place in the slab is used again at once, so
//! tokens, timers and wake-ups carry a generation. Whoever may close a connection does it by
//! saying so ([`Verdict::Gone`](connection::Verdict)); only the loop removes it.

mod act;
mod address;
mod clock;
mod connection;
mod connection_id;
mod connections;
mod corked;
mod disk;
mod event_loop;
mod guest;
mod journal;
mod listener;
mod meter;
mod observer;
mod pressure;
mod readiness;
mod room;
mod running;
mod shared;
mod shutdown;
#[cfg(test)]
#[path = "../../tests/simulation/mod.rs"]
mod simulation;
mod snapshot;
mod socket;
mod stream;
mod sys;
mod timers;
mod wakeup_queue;
mod watch;
mod witness;

pub use act::{Act, Cause, EventSource, Operation, SeenEvent, SystemCall, Witness};
pub use address::{InvalidAddress, ListenAddress};
pub use disk::spool_bytes_by_default;
pub(crate) use event_loop::BoundLoop;
pub use guest::GuestLoop;
pub use listener::Listener;
pub use meter::{BUCKETS, Counters, Histogram, Step};
pub use observer::Observer;
pub(crate) use shared::Settings;
pub use shutdown::ServerHandle;
pub use snapshot::{
    BudgetSnapshot, ConnectionSnapshot, InterestState, ListenerSnapshot, MemorySnapshot, Names, OurSideState,
    QueuesSnapshot, Snapshot,
};
