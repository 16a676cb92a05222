//! The event loop: the only place that touches the operating system's network.
mod address;
mod connection;
mod connections;
mod disk;
mod event_loop;
mod journal;
mod listener;
mod shared;
mod shutdown;
mod stream;
mod timers;
mod wakeup_queue;

pub use address::ListenAddress;
pub(crate) use event_loop::EventLoop;
pub(crate) use listener::Listener;
pub use shutdown::ServerHandle;
