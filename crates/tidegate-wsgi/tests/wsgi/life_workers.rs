//! Tests workers that die, that are stuck, and that lose their supervisor.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::life::{Crowd, Life, folder, signal, source};
use super::support::loopback::{Client, wait_until};

/// Inline, a worker with a request in it takes no other, so it is known which worker has which request.
#[test]
fn killed_worker_is_replaced_and_only_its_own_clients_notice() {
    let life = Life::start(&["--workers", "2", "--threads", "1"]);
    let (mut victim, pid) = life.begin("a");
    let (mut other, other_pid) = life.begin("b");
    assert_ne!(pid, other_pid);
    let crowd = Crowd::at(&life);
    signal(pid, Signal::KILL);
    life.program
        .stderr
        .next_with(&format!("worker {pid} was killed by SIGKILL; another one takes its place"));
    assert_eq!(victim.read_to_end().0, b"");
    // The other worker is still busy, so these are answers of the new one.
    crowd.wait_for("one");
    assert!(crowd.end().iter().all(|told| told.pid != pid && told.pid != other_pid));
    life.release("b");
    assert!(other.read("GET").text().starts_with(&format!("one {other_pid} ")));
    life.end();
}

#[test]
fn worker_that_is_stuck_is_replaced() {
    let life = Life::start(&["--timeout", "1", "--threads", "1", "--workers", "1"]);
    let (mut client, pid) = life.begin("a");
    life.program.stderr.next_with("the application has not answered for 1s");
    // Where it was stuck.
    life.program.stderr.next_with("in app");
    life.program.stderr.next_with("was killed by SIGABRT; another one takes its place");
    assert_eq!(client.read_to_end().0, b"");
    assert_ne!(life.get().pid, pid);
    life.end();
}

#[test]
fn thread_that_is_stuck_costs_its_client_a_504() {
    let life = Life::start(&["--timeout", "1", "--threads", "4"]);
    let (mut client, pid) = life.begin("a");
    assert_eq!(client.read("GET").code, 504);
    assert_eq!(life.get().pid, pid);
    life.release("a");
    assert_eq!(life.get().pid, pid);
    life.end();
}

/// A thread goes on with the next job before the event loop collects its answer, which must not wait long for
/// that.
#[test]
fn answer_is_not_held_behind_a_view_that_blocks() {
    let life = Life::start(&["--threads", "2"]);
    let ((mut first, _), (mut second, _)) = (life.begin("a"), life.begin("b"));
    // Both threads are busy. When one is let go, it finds four jobs, and blocks in the second of them.
    let [mut quick, mut third, mut fourth, mut last] = ["/", "/wait/c", "/wait/d", "/"].map(|target| {
        let mut client = Client::connect(life.address());
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    });
    // Answered by the event loop itself, which has read the others by then.
    let mut bad = Client::connect(life.address());
    bad.send("GET / HTTP/1.1\r\n\r\n");
    assert_eq!(bad.read("GET").code, 400);
    drop(bad);
    life.release("b");
    assert_eq!((second.read("GET").code, quick.read("GET").code), (200, 200));
    wait_until("the thread blocks", || !life.told("c.here").is_empty());
    assert!(life.told("d.here").is_empty(), "nobody was free for the last jobs");
    ["c", "d", "a"].iter().for_each(|id| life.release(id));
    for client in [&mut first, &mut third, &mut fourth, &mut last] {
        assert_eq!(client.read("GET").code, 200);
    }
    life.end();
}

/// The worker has served for a while, so its application can serve, and a pause before the next start would
/// gain nothing.
#[test]
fn worker_that_dies_again_and_again_is_replaced_at_once_if_it_has_served() {
    let life = Life::start(&["--workers", "2", "--threads", "1"]);
    life.wait_for_loads("one", 2);
    for round in 0..7 {
        // Both are well, and have been for a second.
        thread::sleep(Duration::from_millis(1_500));
        let killed = Instant::now();
        signal(life.get().pid, Signal::KILL);
        life.program.stderr.next_with("another one takes its place");
        assert_eq!(life.get().version, "one", "the other serves");
        life.wait_for_loads("one", 3 + round);
        assert!(killed.elapsed() < Duration::from_secs(2), "round {round}: {:?}", killed.elapsed());
    }
    life.end();
}

/// The place of one that dies early stays empty, and that of another does not wait for it.
#[test]
fn worker_that_dies_before_it_serves_is_not_started_without_a_pause() {
    let folder = folder();
    // All that load it after the first two die, as long as there is a file that says so. (The second may still be at it when the
    // file comes.)
    let fatal = r#"
with open(os.path.join(FOLDER, "loads")) as file:
    first = file.read().splitlines()[:2]
if os.path.exists(os.path.join(FOLDER, "fatal")) and f"{VERSION} {os.getpid()}" not in first:
    os._exit(9)
"#;
    folder.write("app.py", source("one") + fatal);
    let life = Life::start_in(folder, &["--workers", "2", "--threads", "1"]);
    life.wait_for_loads("one", 2);
    life.folder.write("fatal", "");
    signal(life.get().pid, Signal::KILL);
    let start = Instant::now();
    // Pauses of 0.1, 0.2, 0.4 and 0.8 seconds.
    life.wait_for_loads("one", 7);
    assert!(start.elapsed() > Duration::from_millis(1_500), "{:?}", start.elapsed());
    assert_eq!(life.get().version, "one");
    std::fs::remove_file(life.folder.path().join("fatal")).unwrap();
    life.end();
}

#[test]
fn workers_end_when_their_supervisor_was_killed() {
    let mut life = Life::start(&["--workers", "2"]);
    life.wait_for_loads("one", 2);
    let (mut client, _) = life.begin("a");
    life.program.signal(Signal::KILL);
    life.program.wait();
    life.program.stderr.next_with("the supervisor is gone");
    life.release("a");
    assert_eq!(client.read("GET").code, 200);
    drop(client);
    // The pipe ends with the last process that has it.
    let _ = life.program.stderr.rest();
    let address = life.address();
    wait_until("nobody listens any more", || TcpStream::connect(address).is_err());
}

#[test]
fn worker_more_and_one_fewer_can_be_had_by_signals() {
    let life = Life::start(&["--workers", "1", "--threads", "1"]);
    let (mut first, pid) = life.begin("a");
    life.program.signal(Signal::TTIN);
    let (mut second, other) = life.begin("b");
    assert_ne!(pid, other);
    ["a", "b"].iter().for_each(|id| life.release(id));
    assert!([first.read("GET"), second.read("GET")].iter().all(|answer| answer.code == 200));
    life.program.signal(Signal::TTOU);
    // Of two workers, the older one goes.
    wait_until("the first worker is gone", || std::fs::metadata(format!("/proc/{pid}")).is_err());
    assert_eq!(life.get().pid, other);
    life.end();
}

#[test]
fn children_of_the_application_can_be_terminated() {
    for way in [&["--threads", "1"][..], &["--threads", "4"], &["--workers", "1"]] {
        let folder = folder();
        let body = "    child = subprocess.Popen(['sleep', '60'])\n    child.terminate()\n    status = child.wait(20)\n";
        let app = format!(
            "import subprocess\ndef app(environ, start_response):\n{body}    start_response('200 OK', [])\n    \
             return [str(status).encode()]\n"
        );
        folder.write("app.py", app);
        let life = Life::start_in(folder, way);
        assert_eq!(life.program.get("/").text(), "-15", "{way:?}");
        life.end();
    }
}
