//! Raises the system's limit of file descriptors for a process: each connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::console::say;

/// Descriptors that are left for other things than connections: listeners, the poll, the log, temporary
/// files, files that are being served.
const SPARE: u64 = 32;

/// Raises the soft limit of descriptors as far as an ordinary process can. Returns how many of `wanted` connections
/// there is room for; if that is fewer, it warns the operator.
pub fn make_room_for(wanted: usize) -> usize {
    make_room_beside(wanted, || 0)
}

/// Makes room as [`make_room_for`] does, beside descriptors that are kept for something else. How many these are is asked
/// when the limit is what it will be.
pub fn make_room_beside(wanted: usize, kept: impl FnOnce() -> usize) -> usize {
    let allowed = raise();
    let possible = room(wanted, allowed, kept());
    if possible < wanted {
        let allowed = allowed.unwrap_or(u64::MAX);
        say(&format!(
            "tidegate: only {allowed} descriptors are allowed (ulimit -Hn), so there will be at \
             most {possible} connections at a time, not {wanted}"
        ));
    }
    possible
}

/// Raises the soft limit, and returns what holds from now on; none if descriptors are unlimited.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        // Some systems have a lower bound of their own that this one cannot name.
        Err(_) => current,
    }
}

fn room(wanted: usize, allowed: Option<u64>, kept: usize) -> usize {
    let Some(allowed) = allowed else { return wanted };
    let possible = usize::try_from(allowed.saturating_sub(SPARE)).unwrap_or(usize::MAX);
    wanted.min(possible.saturating_sub(kept).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: usize, allowed: Option<u64>, expected: usize) {
        check_beside(0, wanted, allowed, expected);
    }

    fn check_beside(kept: usize, wanted: usize, allowed: Option<u64>, expected: usize) {
        assert_eq!(room(wanted, allowed, kept), expected, "{wanted} of {allowed:?} beside {kept}");
    }

    #[test]
    fn connections_fit_into_what_is_allowed() {
        check(16_384, None, 16_384);
        check(16_384, Some(1 << 20), 16_384);
        check(16_384, Some(16_384 + SPARE), 16_384);
        check(16_384, Some(1_024), 992);
        check(16_384, Some(3), 1);
        check_beside(128, 16_384, Some(1_024), 864);
        check_beside(128, 500, Some(1_024), 500);
        check_beside(512, 500, Some(100), 1);
    }
}
