//! Raises the limit of connections that the system sets a process: each takes one file descriptor.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::console::say;

/// Descriptors that are left for other things than connections: listeners, the poll, the log, temporary
/// files, served files.
const SPARE: u64 = 32;

/// Raises the soft limit of descriptors as far as an ordinary process may. Returns how many of `wanted`
/// connections there is room for; if that is fewer, it warns the operator.
pub fn make_room_for(wanted: usize) -> usize {
    let allowed = raise();
    let possible = room(wanted, allowed);
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

fn room(wanted: usize, allowed: Option<u64>) -> usize {
    let Some(allowed) = allowed else { return wanted };
    let possible = usize::try_from(allowed.saturating_sub(SPARE)).unwrap_or(usize::MAX);
    wanted.min(possible.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: usize, allowed: Option<u64>, expected: usize) {
        assert_eq!(room(wanted, allowed), expected, "{wanted} of {allowed:?}");
    }

    #[test]
    fn connections_fit_into_what_is_allowed() {
        check(16_384, None, 16_384);
        check(16_384, Some(1 << 20), 16_384);
        check(16_384, Some(16_384 + SPARE), 16_384);
        check(16_384, Some(1_024), 992);
        check(16_384, Some(3), 1);
    }
}
