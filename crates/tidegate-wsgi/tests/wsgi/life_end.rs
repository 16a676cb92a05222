//! Tests how a server ends: requests in flight are finished, and a second signal does not wait for them.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::life::{Life, Told, folder, source};
use super::support::loopback::{Client, wait_until};

/// The ways in which an application is run: alone and under a supervisor, inline and in a pool.
const WAYS: &[&[&str]] =
    &[&["--threads", "1"], &["--threads", "4"], &["--workers", "2", "--threads", "1"], &["--workers", "2"]];

/// A request that is in the application when the signal comes is answered.
fn check_finish(signal: Signal) {
    for way in WAYS {
        let mut life = Life::start(way);
        let (mut client, pid) = life.begin("a");
        life.program.signal(signal);
        life.program.stderr.next_with("tidegate finishes what it is serving");
        life.release("a");
        let told = Told::of(&client.read("GET").text());
        assert_eq!((told.version.as_str(), told.pid), ("one", pid), "{way:?}");
        drop(client);
        assert_eq!(life.program.wait().code(), Some(0), "{way:?}");
        let rest = life.program.stderr.rest();
        assert!(!rest.contains("tidegate stops") && !rest.contains("Traceback"), "{way:?}: {rest}");
    }
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_exits_0() {
    check_finish(Signal::TERM);
}

#[test]
fn sigint_finishes_what_is_in_flight_and_exits_0() {
    check_finish(Signal::INT);
}

/// A signal could get lost right after the announcement, when the native half takes over from Python.
#[test]
fn signal_right_after_the_announcement_is_heard() {
    for round in 0..30 {
        let mut life = Life::start(WAYS[round % 2]);
        // Sooner in one round, and later in the next.
        (0..round).for_each(|_| thread::yield_now());
        life.program.signal(Signal::TERM);
        assert_eq!(life.program.wait().code(), Some(0), "{round}");
    }
}

#[test]
fn second_signal_ends_at_once() {
    for way in WAYS {
        let mut life = Life::start(way);
        let (mut client, _) = life.begin("a");
        life.program.signal(Signal::TERM);
        life.program.stderr.next_with("tidegate finishes what it is serving");
        // Inline, the application is on the thread that would have to end: it is let go after all.
        let is_inline_alone = way == &["--threads", "1"];
        life.program.signal(Signal::INT);
        life.program.stderr.next_with("tidegate stops");
        if is_inline_alone {
            life.release("a");
        }
        assert_eq!(life.program.wait().code(), Some(0), "{way:?}");
        let (bytes, _) = client.read_to_end();
        assert!(is_inline_alone || bytes.is_empty(), "{way:?}: {}", bytes.escape_ascii());
    }
}

#[test]
fn application_that_does_not_finish_is_cut_at_the_graceful_timeout() {
    for way in [&["--threads", "4"][..], &["--workers", "1", "--threads", "1"]] {
        let mut life = Life::start(&[way, &["--graceful-timeout", "0.5"]].concat());
        let (mut client, _) = life.begin("a");
        life.program.signal(Signal::TERM);
        assert_eq!(life.program.wait().code(), Some(0), "{way:?}");
        assert_eq!(client.read_to_end().0, b"", "{way:?}");
    }
}

/// Workers of a preloaded application leave waiting clients to a successor, and here there is none.
#[test]
fn preloaded_application_that_was_to_start_again_and_is_to_end_serves_who_waits() {
    let mut life = Life::start(&["--workers", "1", "--preload"]);
    let (mut first, _) = life.begin("a");
    life.program.signal(Signal::HUP);
    life.program.stderr.next_with("starts again");
    // Sooner or later nobody accepts any more.
    let mut waiting = loop {
        let mut client = Client::connect(life.address());
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if client.is_quiet_for(Duration::from_millis(500)) {
            break client;
        }
    };
    life.program.signal(Signal::TERM);
    assert_eq!(Told::of(&waiting.read("GET").text()).version, "one");
    life.release("a");
    assert_eq!(first.read("GET").code, 200);
    drop(first);
    assert_eq!(life.program.wait().code(), Some(0));
}

/// Makes an application that catches SIGTERM itself, and then does this.
fn with_handler(body: &str) -> String {
    let handler = format!("def handle(number, frame):\n    tell('handled', str(number))\n    {body}\n");
    format!("{}\nimport signal\n{handler}\nsignal.signal(signal.SIGTERM, handle)\n", source("one"))
}

#[test]
fn applications_own_handler_is_called_and_what_is_in_flight_is_finished() {
    for way in WAYS {
        let folder = folder();
        folder.write("app.py", with_handler("pass"));
        let mut life = Life::start_in(folder, way);
        let (mut client, _) = life.begin("a");
        life.program.signal(Signal::TERM);
        wait_until("the handler is called", || !life.told("handled").is_empty());
        life.release("a");
        assert_eq!(client.read("GET").code, 200, "{way:?}");
        drop(client);
        assert_eq!(life.program.wait().code(), Some(0), "{way:?}");
    }
}

#[test]
fn applications_own_handler_says_with_which_status_to_end() {
    for way in &WAYS[..2] {
        let folder = folder();
        folder.write("app.py", with_handler("sys.exit(7)"));
        let mut life = Life::start_in(folder, way);
        let (mut client, _) = life.begin("a");
        life.program.signal(Signal::TERM);
        life.program.stderr.next_with("tidegate finishes what it is serving");
        life.release("a");
        assert_eq!(client.read("GET").code, 200, "{way:?}");
        drop(client);
        assert_eq!(life.program.wait().code(), Some(7), "{way:?}");
    }
}

#[test]
fn pid_file_names_the_process_and_is_removed_with_it() {
    for way in [&["--threads", "4"][..], &["--workers", "1"]] {
        let mut life = Life::start(&[way, &["--pid", "the.pid"]].concat());
        assert_eq!(life.told("the.pid"), format!("{}\n", life.program.id()), "{way:?}");
        life.get();
        life.program.signal(Signal::TERM);
        assert_eq!(life.program.wait().code(), Some(0));
        assert!(!life.folder.path().join("the.pid").exists(), "{way:?}");
    }
}

/// The handler is called alone until the application is loaded, and then the worker must end all the same.
#[test]
fn signal_that_only_the_applications_own_handler_has_heard_ends_the_worker() {
    let wait = "tell('loading', '')\nwhile not os.path.exists(FOLDER + '/a.go'):\n    time.sleep(0.005)\n";
    for signal in [Signal::TERM, Signal::INT] {
        let folder = folder();
        folder.write("app.py", with_handler("pass") + wait);
        let mut life = Life::start_unheard(folder, &["--workers", "1"]);
        wait_until("the application is being loaded", || !life.told("loading").is_empty());
        life.program.signal(signal);
        wait_until("the handler is called", || !life.told("handled").is_empty());
        life.release("a");
        assert_eq!(life.program.wait().code(), Some(0), "{signal:?}");
    }
}

/// Makes an application that loads for ever; once it is told to leave, or has left, it waits for `a.go`.
fn unfinished(is_held: &str) -> String {
    let hold = "def hold():\n    tell('held', '')\n    while not os.path.exists(FOLDER + '/a.go'):\n        \
                time.sleep(0.005)\n";
    let load = "tell('loading', '')\nwhile True:\n    time.sleep(0.005)\n".replace('\n', "\n    ");
    format!("{}\n{hold}\nimport atexit\ntry:\n    {load}\n{is_held}\n", source("two"))
}

#[test]
fn sigterm_ends_a_process_that_is_about_to_start_again() {
    let while_it_leaves = "finally:\n    hold()";
    let at_its_exit = "finally:\n    atexit.register(hold)";
    for (is_held, first, second) in [
        (while_it_leaves, Signal::HUP, Signal::TERM),
        (while_it_leaves, Signal::TERM, Signal::HUP),
        (at_its_exit, Signal::HUP, Signal::TERM),
    ] {
        let mut life = Life::start(&[]);
        life.change(&unfinished(is_held));
        life.program.signal(Signal::HUP);
        wait_until("the application is being loaded", || !life.told("loading").is_empty());
        life.program.signal(first);
        wait_until("it is held", || !life.told("held").is_empty());
        life.program.signal(second);
        life.release("a");
        assert_eq!(life.program.wait().code(), Some(0), "{is_held:?}: {first:?}, {second:?}");
    }
}

/// An exception may get lost in imports, or become another one.
#[test]
fn sigterm_ends_a_process_whose_application_loses_what_it_raises() {
    let lost = "class Lost:\n    def __del__(self):\n        wait()\nLost()\n";
    let another = "try:\n    wait()\nexcept BaseException as error:\n    raise RuntimeError from error\n";
    let wait = "def wait():\n    tell('loading', '')\n    while not os.path.exists(FOLDER + '/a.go'):\n        \
                time.sleep(0.005)\n";
    for way in [lost, another] {
        let folder = folder();
        folder.write("app.py", source("one") + wait + way);
        let mut life = Life::start_unheard(folder, &[]);
        wait_until("the application is being loaded", || !life.told("loading").is_empty());
        life.program.signal(Signal::TERM);
        life.release("a");
        assert_eq!(life.program.wait().code(), Some(0), "{way}");
        assert_eq!(life.program.stderr.rest(), "", "{way}");
    }
}
