//! Tests applications that switch stacks in the middle of a call.

use super::served::{Mode, Served};

/// Memory that the call has lent to `write` is elsewhere while another stack is in its place.
pub fn write_on_an_older_stack_is_refused() {
    let served = Served::start("greenlet_app:application", Mode::Inline);
    for _ in 0..3 {
        assert_eq!(served.get("/").to_string(), "200 length: refused False");
    }
}
