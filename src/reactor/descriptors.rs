//! Room in the process's table of open files, made before it is needed.
//!
//! Linux makes the table twice as large whenever it is full. In a process with several threads (one that waits
//! for signals is enough) the one that has opened the file waits meanwhile until no other processor can be
//! looking at the old table: 10 to 20 ms in which nobody is served, seven times on the way to 10,000
//! connections. The table never shrinks, so a descriptor that is high enough, opened once and closed at once, brings
//! it to its size beforehand: 8 bytes for each file, in the kernel. While there is a single thread nobody waits.

use std::os::fd::AsFd;

/// Makes room for so many descriptors, or for all that are allowed. `any` is one to make copies of.
#[cfg(all(feature = "sockets", target_os = "linux"))]
pub(super) fn make_room(count: usize, any: impl AsFd) {
    use rustix::process::{Resource, getrlimit};
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let Some(highest) = allowed.min(count as u64).checked_sub(1) else { return };
    if let Ok(highest) = i32::try_from(highest) {
        // Where it fails, the table grows when it must.
        let _ = rustix::io::fcntl_dupfd_cloexec(any, highest);
    }
}

/// Elsewhere the table grows without waiting, or nothing is known of it.
#[cfg(not(all(feature = "sockets", target_os = "linux")))]
pub(super) fn make_room(_count: usize, _any: impl AsFd) {}
