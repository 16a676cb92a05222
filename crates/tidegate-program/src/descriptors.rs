//! How many connections the system lets a process have: one file descriptor each.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::console::say;

/// Left for what is no connection: listeners, the poll, the log, temporary files, served files.
const SPARE: u64 = 32;

/// Raises the soft limit of descriptors as far as an ordinary process may, and says how many of
/// `wanted` connections there is room for. If that is fewer, the operator gets to know.
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

/// The soft limit that holds from now on; none if there is none.
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
