//! Tests threads that are kept busy: the one of the event loop by the application, those of a pool by slow
//! readers.

use std::thread;
use std::time::{Duration, Instant};

use super::served::{Mode, Served};

/// A supervisor's timeout is one for each call, however many calls there are in a turn of the loop.
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

/// The generator works for each of its blocks. Others wait for one block, not for all of them.
pub fn others_are_served_between_the_blocks_of_a_stream() {
    let served = Served::start("probe_app:application", Mode::Inline);
    let mut streaming = served.connect();
    streaming.send("GET /slow_blocks HTTP/1.1\r\nHost: a\r\n\r\n");
    streaming.read_until("block 0");
    let reading = thread::spawn(move || {
        streaming.read_until("block 19");
        Instant::now()
    });
    assert_eq!(served.get("/hello").text(), "hello");
    let answered = Instant::now();
    assert!(answered < reading.join().unwrap(), "the answer came after all blocks of another's");
}

/// An alarm that an application has set for itself, and that goes off when its call is over.
pub fn signal_handler_that_raises_between_calls_ends_nothing() {
    let served = Served::start("probe_app:application", Mode::Inline);
    assert_eq!(served.get("/alarmed").text(), "alarmed");
    served.program.stderr.next_with("the alarm of a call that is over");
    assert_eq!(served.get("/hello").text(), "hello");
}

fn with_little_patience() -> Served {
    Served::start_with("probe_app:application", Mode::Threads, |command| {
        command.args(["--reader-wait-max", "0.2"]);
        // A thread is free at once; the log says of whom when the client has not read for this long, or reads again.
        command.args(["--write-timeout", "5"]);
    })
}

/// All threads wait for clients that do not read.
pub fn slow_reader_gives_its_thread_up_for_another_who_waits() {
    let served = with_little_patience();
    let ids = ["a", "b", "c", "d"];
    let mut slow: Vec<_> = ids
        .iter()
        .map(|id| {
            let mut client = served.connect();
            client.send(format!("GET /blocks_endless?{id} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.read_until("200 OK");
            client
        })
        .collect();
    assert_eq!(served.get("/hello").text(), "hello");
    let line =
        served.program.stderr.next_with("the client has read too slowly while others waited for a thread");
    assert!(line.contains("/blocks_endless"), "{line}");
    let is_closed = |id: &&&str| served.notes(id).iter().any(|note| note == "closed");
    let index = ids.iter().position(|id| is_closed(&id)).expect("one whose iterable was closed");
    // It can tell that this was not all.
    let (bytes, _) = slow[index].read_to_end();
    assert!(!bytes.ends_with(b"0\r\n\r\n"));
}

pub fn slow_reader_is_waited_for_where_nobody_needs_its_thread() {
    let served = with_little_patience();
    let mut client = served.connect();
    client.send("GET /blocks_large HTTP/1.1\r\nHost: a\r\n\r\n");
    client.read_until("200 OK");
    thread::sleep(Duration::from_millis(2_500));
    // Others come and go: there are threads for them.
    (0..20).for_each(|_| assert_eq!(served.get("/hello").text(), "hello"));
    assert_eq!(client.read("GET").content.len(), 160 * 65_536);
}

/// Blocks are made some at a time: a thread that is woken whenever one has been taken would sleep after each.
#[cfg(target_os = "linux")]
#[test]
fn thread_makes_several_blocks_each_time_it_is_woken() {
    const CLIENTS: u64 = 16;
    const BLOCKS: u64 = 512;
    let served = Served::start("probe_app:application", Mode::Threads);
    assert_eq!(served.get("/hello").text(), "hello");
    let before = served.sleeps_of_the_pool();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| assert_eq!(served.get("/blocks_small").content.len() as u64, BLOCKS * 4096));
        }
    });
    // 16 blocks fill what a thread may be ahead of its client: 1 sleep for these, and 1 for the interpreter's lock.
    let sleeps = served.sleeps_of_the_pool() - before;
    assert!(sleeps < CLIENTS * BLOCKS / 4, "{sleeps} sleeps for {} blocks", CLIENTS * BLOCKS);
}
