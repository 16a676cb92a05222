//! Observes the machine around a measurement: how busy it is, and the kernel's memory for sockets. All of it is read
//! from `/proc`, so on other systems than Linux it is not known.

use std::fs;
use std::time::Duration;

/// The length of a tick in `/proc/stat`: a hundredth of a second wherever Linux runs (USER_HZ).
const TICK: Duration = Duration::from_millis(10);
/// The fields of `/proc/stat` in which a processor works, or another machine has taken it: user, nice, system, irq,
/// softirq and steal.
const BUSY_FIELDS: [usize; 6] = [0, 1, 2, 5, 6, 7];
/// The kernel's caches whose objects belong to a socket: the connection, the inode, the open file, and what epoll
/// keeps of it. Its name in the cache of names (some 192 bytes) is shared with all files, and not told apart.
const SOCKET_CACHES: [&str; 5] = ["TCP", "TCPv6", "sock_inode_cache", "filp", "eventpoll_epi"];

/// Figures of the machine at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// The time for which processors have worked, all together.
    pub busy: Option<Duration>,
    /// Bytes that the kernel keeps for sockets of both ends, their buffers excepted. Only an administrator may look.
    pub kernel: Option<u64>,
    /// The time for which this process has worked.
    pub own: Duration,
}

impl Surroundings {
    pub fn observe() -> Surroundings {
        let read = |path: &str| fs::read_to_string(path).ok();
        Surroundings {
            busy: read("/proc/stat").and_then(|stat| busy_of(&stat)),
            kernel: read("/proc/slabinfo").and_then(|slabs| kernel_of(&slabs)),
            own: own_time(),
        }
    }
}

/// Reads the time for which this process has worked.
#[cfg(target_os = "linux")]
fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns no time: elsewhere it would be compared with what is not known, and not every system has such a clock.
#[cfg(not(target_os = "linux"))]
fn own_time() -> Duration {
    Duration::ZERO
}

/// Reads the busy time of all processors from the first line, `cpu  USER NICE SYSTEM IDLE …`.
fn busy_of(stat: &str) -> Option<Duration> {
    let fields: Vec<&str> = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().collect();
    let ticks = BUSY_FIELDS.iter().map(|field| fields.get(*field)?.parse::<u64>().ok());
    let ticks = ticks.sum::<Option<u64>>()?;
    Some(TICK * u32::try_from(ticks).ok()?)
}

/// Sums up the objects of the caches for sockets, from lines `NAME ACTIVE ALL SIZE …`.
fn kernel_of(slabs: &str) -> Option<u64> {
    let caches = slabs.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_of_sockets = SOCKET_CACHES.contains(&words.next()?);
        let (active, size): (u64, u64) = (words.next()?.parse().ok()?, words.nth(1)?.parse().ok()?);
        is_of_sockets.then_some(active * size)
    });
    Some(caches.sum()).filter(|sum| *sum > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_without_idle_and_waiting() {
        let stat = "cpu  1 2 4 1000 1000 8 16 32 64 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(busy_of(stat), Some(TICK * 63));
        assert_eq!(busy_of("intr 5"), None);
    }

    #[test]
    fn kernel_memory_is_that_of_sockets() {
        let slabs = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize>\n\
                     TCP 10 13 2000 13 8 : tunables 0 0 0\ndentry 500 600 192 21 1\nfilp 3 21 192 21 1\n";
        assert_eq!(kernel_of(slabs), Some(10 * 2000 + 3 * 192));
        assert_eq!(kernel_of(""), None);
    }
}
