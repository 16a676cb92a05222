//! The watch over a worker that calls its application on the thread of the event loop.

use super::served::{Mode, Served};

/// Its supervisor's timeout is one for each call, however many calls there are in a turn of the loop.
pub fn worker_with_many_calls_in_a_turn_is_not_stuck() {
    let served = Served::start_with("probe_app:application", Mode::Inline, |command| {
        command.args(["--workers", "1", "--timeout", "1"]);
    });
    assert_eq!(served.get("/hello").text(), "hello");
    let mut clients: Vec<_> = (0..8).map(|_| served.connect()).collect();
    // While the first is answered all the others come, so that they are found in the same turn.
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.read("GET").to_string(), "200 length: slow");
    }
}
