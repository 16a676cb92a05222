//! Wakes the rig in time: a request that is due in 300 µs must not wait for the next millisecond.
//!
//! epoll waits for whole milliseconds. A timer with a descriptor is finer, and is one more thing to
//! wait for; on other systems (kqueue knows nanoseconds) the timeout of the wait is enough.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

/// A timer with a descriptor, which ends the wait for events. It needs no answer: ending the wait is its
/// whole purpose.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) struct Alarm(std::os::fd::OwnedFd);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Alarm {
    pub fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use std::os::fd::AsRawFd;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let raw = timer.as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&raw), token, mio::Interest::READABLE)?;
        Ok(Alarm(timer))
    }

    /// Sets the alarm, and returns how long the wait itself may take.
    pub fn set(&self, time: Duration) -> io::Result<Duration> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        if !time.is_zero() {
            let never = Timespec { tv_sec: 0, tv_nsec: 0 };
            let at = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
            let spec = Itimerspec { it_interval: never, it_value: at };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)?;
        }
        Ok(time)
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) struct Alarm;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Alarm {
    pub fn new(_: &Registry, _: Token) -> io::Result<Alarm> {
        Ok(Alarm)
    }

    pub fn set(&self, time: Duration) -> io::Result<Duration> {
        Ok(time)
    }
}
