//! Tests deploys without a gap: SIGHUP, `--max-requests`, `--reload`, and log files that are moved away.
//! Clients come all the time meanwhile, and each must get its answer.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::environment;
use super::life::{BROKEN, Crowd, Life, folder, in_folder, source};
use super::support::loopback::{Client, End, wait_until};
use super::support::process::Program;

/// Deploys two new versions, each served before the next.
fn deploy(life: &Life, crowd: &Crowd) {
    crowd.wait_for("one");
    for version in ["two", "three"] {
        life.change(&source(version));
        life.program.signal(Signal::HUP);
        crowd.wait_for(version);
    }
}

#[test]
fn sighup_with_workers_serves_the_new_code_and_loses_nobody() {
    for threads in ["1", "4"] {
        let life = Life::start(&["--workers", "2", "--threads", threads]);
        let crowd = Crowd::at(&life);
        deploy(&life, &crowd);
        crowd.end();
        let said = life.end();
        assert!(!said.contains("takes its place") && !said.contains("killed"), "{said}");
    }
}

#[test]
fn sighup_alone_serves_the_new_code_in_the_same_process_and_loses_nobody() {
    for threads in ["1", "4"] {
        let life = Life::start(&["--threads", threads]);
        let crowd = Crowd::at(&life);
        deploy(&life, &crowd);
        assert!(crowd.end().iter().all(|told| told.pid == life.program.id()));
        life.end();
    }
}

#[test]
fn sighup_finishes_what_is_in_flight() {
    for way in [&["--threads", "4"][..], &["--workers", "1"]] {
        let life = Life::start(way);
        let (mut client, _) = life.begin("a");
        life.change(&source("two"));
        life.program.signal(Signal::HUP);
        life.program.stderr.next_with(if way[0] == "--workers" {
            "replaces its workers"
        } else {
            "starts again"
        });
        life.release("a");
        assert!(client.read("GET").text().starts_with("one "), "{way:?}");
        drop(client);
        wait_until("the new code serves", || life.get().version == "two");
        life.end();
    }
}

/// Some signals come while a process or a worker is about to start.
#[test]
fn sighup_many_times_in_a_row_loses_nobody_and_leaves_nobody_behind() {
    for way in [&["--threads", "1"][..], &["--threads", "4"], &["--workers", "2", "--threads", "1"]] {
        let life = Life::start(way);
        let crowd = Crowd::at(&life);
        crowd.wait_for("one");
        for number in 0..12 {
            life.program.signal(Signal::HUP);
            thread::sleep(Duration::from_millis(10 + number % 7));
        }
        life.change(&source("two"));
        life.program.signal(Signal::HUP);
        // Alone, one that comes when the old code has ended, and the new is not loaded, says nothing new.
        crowd.wait_for("two");
        crowd.end();
        let said = life.end();
        assert!(!said.contains("killed") && !said.contains("Traceback"), "{way:?}: {said}");
    }
}

#[test]
fn sighup_with_broken_code_keeps_the_old_workers() {
    let life = Life::start(&["--workers", "2"]);
    let crowd = Crowd::at(&life);
    crowd.wait_for("one");
    life.change(BROKEN);
    life.program.signal(Signal::HUP);
    life.program.stderr.next_with("this version is broken on purpose");
    life.program.stderr.next_with("the old ones go on serving");
    crowd.wait_for("one");
    life.change(&source("two"));
    life.program.signal(Signal::HUP);
    crowd.wait_for("two");
    crowd.end();
    let said = life.end();
    assert!(!said.contains("broken on purpose"), "it was tried more than once: {said}");
}

#[test]
fn preloaded_application_is_shared_by_workers_and_loaded_again_by_sighup() {
    let life = Life::start(&["--workers", "2", "--preload", "--threads", "1"]);
    // Inline, a worker with a request in it takes no other.
    let ((mut first, one), (mut second, other)) = (life.begin("a"), life.begin("b"));
    assert_ne!(one, other);
    assert_eq!(life.told("loads"), format!("one {}\n", life.program.id()));
    ["a", "b"].iter().for_each(|id| life.release(id));
    assert!([first.read("GET"), second.read("GET")].iter().all(|answer| answer.code == 200));
    let crowd = Crowd::at(&life);
    crowd.wait_for("one");
    life.change(&source("two"));
    life.program.signal(Signal::HUP);
    crowd.wait_for("two");
    crowd.end();
    assert_eq!(life.loads("two"), 1);
    life.end();
}

/// Nobody serves until the supervisor has started again, so a kept idle connection is not waited for as long
/// as it would be if others served on.
#[test]
fn kept_connections_do_not_keep_a_preloaded_application_from_being_loaded_again() {
    let life = Life::start(&["--workers", "2", "--preload"]);
    let mut kept = Client::connect(life.address());
    assert_eq!(kept.get("/").code, 200);
    life.change(&source("two"));
    life.program.signal(Signal::HUP);
    life.program.stderr.next_with("starts again");
    let begun = Instant::now();
    life.wait_for_loads("two", 1);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(kept.read_end(), End::Fin);
    assert_eq!(life.get().version, "two");
    life.end();
}

/// Processes come and go, and nobody notices.
fn check_max_requests(way: &[&str]) {
    let life = Life::start(&[way, &["--max-requests", "20", "--max-requests-jitter", "5"]].concat());
    let crowd = Crowd::at(&life);
    life.wait_for_loads("one", 5);
    let answers = crowd.end();
    assert!(answers.len() >= 20, "{}", answers.len());
    let said = life.end();
    assert!(!said.contains("takes its place") && !said.contains("Traceback"), "{said}");
}

#[test]
fn worker_that_has_served_its_requests_is_replaced_and_nobody_is_lost() {
    check_max_requests(&["--workers", "2"]);
    check_max_requests(&["--workers", "2", "--threads", "1"]);
}

/// A worn worker serves on until another one serves. Were it to finish first, nobody would accept for as long
/// as its slowest client takes.
#[test]
fn worker_that_has_served_its_requests_serves_on_until_another_one_does() {
    let life = Life::start(&["--workers", "1", "--threads", "4", "--max-requests", "1"]);
    let ((mut first, old), mut pid) = (life.begin("a"), None);
    wait_until("another worker serves", || {
        pid = Some(life.get().pid).filter(|pid| *pid != old);
        pid.is_some()
    });
    life.release("a");
    assert_eq!(first.read("GET").code, 200);
    let said = life.end();
    assert!(!said.contains("takes its place") && !said.contains("Traceback"), "{said}");
}

/// Only one worker is started in its place; for a second one a worker that is well would have to go.
#[test]
fn worker_that_has_served_its_requests_has_one_successor() {
    let life = Life::start(&["--workers", "1", "--max-requests", "50"]);
    let old = life.get().pid;
    (1..50).for_each(|_| drop(life.get()));
    wait_until("another worker serves", || {
        // Not too often: it has its requests, too.
        thread::sleep(Duration::from_millis(100));
        life.get().pid != old
    });
    thread::sleep(Duration::from_secs(1));
    assert_eq!(life.loads("one"), 2);
    life.end();
}

#[test]
fn single_process_that_has_served_its_requests_starts_again_and_nobody_is_lost() {
    check_max_requests(&["--threads", "4"]);
    check_max_requests(&["--threads", "1"]);
}

#[test]
fn reload_notices_a_change_and_waits_a_syntax_error_out() {
    let mut life = Life::start(&["--reload"]);
    assert_eq!(life.get().version, "one");
    life.change(&source("two"));
    life.program.stderr.next_with("app.py has changed");
    wait_until("the new code serves", || life.get().version == "two");
    life.change("def app(:\n");
    life.program.stderr.next_with("app.py has changed");
    life.program.stderr.next_with("SyntaxError");
    life.program.stderr.next_with("tidegate waits for a file to change");
    // At once: from the sentence on, what is saved is noticed.
    life.change(&source("three"));
    assert_eq!(life.get().version, "three", "who came meanwhile has waited for the mended code");
    life.program.signal(Signal::INT);
    assert_eq!(life.program.wait().code(), Some(0));
    let said = life.program.stderr.rest();
    assert!(!said.contains("SyntaxError"), "it was shown more than once: {said}");
}

#[test]
fn reload_that_begins_with_a_broken_application_waits_for_it() {
    let folder = folder();
    folder.write("app.py", "def app(:\n");
    let mut life = Life::start_unheard(folder, &["--reload"]);
    life.program.stderr.next_with("SyntaxError");
    life.program.stderr.next_with("tidegate waits for a file to change");
    life.change(&source("two"));
    life.program.hear_announcements(1);
    assert_eq!(life.get().version, "two");
    life.end();
}

#[test]
fn sigusr1_opens_the_access_log_again() {
    for way in [&["--threads", "1"][..], &["--threads", "4"], &["--workers", "1"]] {
        let life = Life::start(&[way, &["--access-logfile", "access.log"]].concat());
        let log = life.folder.path().join("access.log");
        life.program.get("/before");
        wait_until("the first is logged", || life.told("access.log").contains("/before"));
        fs::rename(&log, life.folder.path().join("access.1")).unwrap();
        life.program.signal(Signal::USR1);
        // The new file is opened for the first line after the signal was heard.
        wait_until("there is a new file", || {
            life.program.get("/meanwhile");
            log.exists()
        });
        life.program.get("/after");
        wait_until("the second is logged", || life.told("access.log").contains("/after"));
        assert!(!life.told("access.1").contains("/after") && !life.told("access.log").contains("/before"));
        life.end();
    }
}

#[test]
fn program_run_as_a_module_starts_again_as_one() {
    let folder = folder();
    let mut command = in_folder(environment::python(), &folder);
    command.args(["-m", "tidegate", "app:app", "--bind=127.0.0.1:0", "-b127.0.0.1:0"]);
    let life = Life { program: Program::start_command(&mut command, 2), folder };
    assert_eq!(life.get().version, "one");
    life.change(&source("two"));
    life.program.signal(Signal::HUP);
    wait_until("the new code serves", || life.get().version == "two");
    // On the same two sockets.
    for address in &life.program.addresses {
        life.program.stderr.next_with(&format!("on {address} "));
    }
    life.end();
}

#[test]
fn program_that_calls_serve_goes_on_after_it() {
    let folder = folder();
    folder.write(
        "program.py",
        "import tidegate, app\ntidegate.serve(app.app, bind='127.0.0.1:0')\nprint('after', flush=True)\n",
    );
    let mut command = in_folder(environment::python(), &folder);
    command.arg("program.py");
    let life = Life { program: Program::start_command(&mut command, 1), folder };
    assert_eq!(life.get().version, "one");
    life.program.interrupt();
    assert_eq!(life.program.stdout.next(), "after");
}
