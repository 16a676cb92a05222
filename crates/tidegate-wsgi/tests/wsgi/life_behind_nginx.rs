//! Tests deploys behind nginx, which keeps connections to the server and sends requests on them at any
//! moment. One that it sends while the server closes is lost: nginx does not repeat a POST, and tells its
//! client 502.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;

use super::life::{Life, Told, source};
use super::support::loopback::{Client, wait_until};
use super::support::temp_folder::TempFolder;

const INSTALL: [&str; 4] = ["install", "-y", "--no-install-recommends", "nginx"];
/// The number of clients that post at a time.
const CLIENTS: usize = 6;
/// The number of deploys meanwhile.
const DEPLOYS: usize = 12;

/// nginx in front of one server, in one process and in a folder of its own; ended when it is dropped.
struct Nginx {
    process: Child,
    address: SocketAddr,
    folder: TempFolder,
}

impl Nginx {
    /// Starts nginx on a port that was free a moment ago, since nginx has no port 0; if somebody else was
    /// faster, it tries another.
    fn before(server: SocketAddr) -> Nginx {
        for _ in 0..5 {
            let mut nginx = Nginx::start(server);
            let (mut has_failed, address) = (false, nginx.address);
            wait_until("nginx listens, or says that it cannot", || {
                has_failed = nginx.process.try_wait().unwrap().is_some();
                has_failed || TcpStream::connect(address).is_ok()
            });
            if !has_failed {
                return nginx;
            }
            eprintln!("{}", nginx.said());
        }
        panic!("nginx does not start")
    }

    fn start(server: SocketAddr) -> Nginx {
        let program = program();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = TempFolder::new();
        let configuration = folder.write(
            "nginx.conf",
            format!(
                "daemon off; master_process off; pid pid; error_log said;
                 events {{ worker_connections 256; }}
                 http {{
                     access_log off; keepalive_requests 1000000;
                     client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                     uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                     upstream app {{ server {server}; keepalive 16; }}
                     server {{
                         listen {address};
                         location / {{
                             proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";
                         }}
                     }}
                 }}"
            ),
        );
        let process = Command::new(program)
            .args(["-e", "said", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(configuration)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Nginx { process, address, folder }
    }

    /// Returns nginx's complaints.
    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Finds nginx where only administrators look, which is where Debian keeps it; installed if it is missing and
/// can be.
fn program() -> PathBuf {
    // One test at a time.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock();
    if let Some(program) = find("nginx") {
        return program;
    }
    let command = format!("apt-get {}", INSTALL.join(" "));
    let is_root = rustix::process::geteuid().is_root();
    if let Some(apt_get) = find("apt-get").filter(|_| is_root) {
        eprintln!("nginx is missing, so this test runs: {command}");
        let update = Command::new(&apt_get).arg("update").status();
        let install = Command::new(&apt_get).args(INSTALL).env("DEBIAN_FRONTEND", "noninteractive").status();
        eprintln!("update: {update:?}, install: {install:?}");
    }
    find("nginx").unwrap_or_else(|| panic!("this test needs nginx; on Debian or Ubuntu: sudo {command}"))
}

/// A program on the path of an administrator.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_path_buf()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Clients that post all the time over connections that they keep, until they are told to stop.
struct Posters {
    is_over: Arc<AtomicBool>,
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    count: AtomicUsize,
    /// The number of answers of each version.
    answers: Mutex<HashMap<String, usize>>,
    /// Each request that did not get the application's answer.
    failed: Mutex<Vec<String>>,
}

impl Posters {
    fn at(address: SocketAddr) -> Posters {
        let (is_over, seen) = (Arc::<AtomicBool>::default(), Arc::<Seen>::default());
        let start = |_| {
            let (is_over, seen) = (is_over.clone(), seen.clone());
            thread::spawn(move || {
                let mut client = Client::connect(address);
                while !is_over.load(Ordering::Relaxed) {
                    let note = seen.count.fetch_add(1, Ordering::Relaxed);
                    post(&mut client, note, &seen);
                    // So that there are now more and now fewer at a time, and nginx keeps more connections than it uses.
                    thread::sleep(Duration::from_millis(note as u64 * 7 % 11));
                }
            })
        };
        Posters { threads: (0..CLIENTS).map(start).collect(), is_over, seen }
    }

    /// Waits until a version has given enough answers that nginx keeps connections to it.
    fn wait_for(&self, version: &str) {
        wait_until(&format!("{version} answers"), || {
            let answers = self.seen.answers.lock().unwrap().get(version).copied();
            answers.is_some_and(|count| count >= 10 * CLIENTS)
        });
    }

    /// Lets the clients go, and returns how many requests there were, and which failed.
    fn end(mut self) -> (usize, Vec<String>) {
        self.leave();
        let failed = std::mem::take(&mut *self.seen.failed.lock().unwrap());
        (self.seen.count.load(Ordering::Relaxed), failed)
    }

    fn leave(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        assert!(
            thread::panicking() || ended.iter().all(Result::is_ok),
            "a client was left without an answer"
        );
    }
}

impl Drop for Posters {
    fn drop(&mut self) {
        self.leave();
    }
}

fn post(client: &mut Client, note: usize, seen: &Seen) {
    let content = note.to_string();
    let length = content.len();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}"));
    let answer = client.read("POST");
    match answer.code {
        200 => {
            let version = Told::of(&answer.text()).version;
            *seen.answers.lock().unwrap().entry(version).or_default() += 1;
        }
        code => seen.failed.lock().unwrap().push(format!("{note}: {code}")),
    }
}

fn check_deploys(way: &[&str]) {
    let life = Life::start(way);
    let nginx = Nginx::before(life.address());
    let posters = Posters::at(nginx.address);
    posters.wait_for("one");
    for number in 0..DEPLOYS {
        let version = format!("version-{number}");
        life.change(&source(&version));
        life.program.signal(Signal::HUP);
        posters.wait_for(&version);
    }
    let (count, failed) = posters.end();
    eprintln!("{count} requests during {DEPLOYS} deploys, {way:?}");
    assert!(failed.is_empty(), "of {count}, these failed: {failed:?}; nginx: {}", nginx.said());
    let posts = life.told("posts");
    let mut done: Vec<usize> = posts.lines().map(|note| note.parse().unwrap()).collect();
    done.sort_unstable();
    assert!(done.iter().copied().eq(0..count), "of {count}, each was to be done once: {done:?}");
    let said = life.end();
    assert!(!said.contains("killed") && !said.contains("Traceback"), "{said}");
}

#[test]
fn posts_through_nginx_are_done_once_each_while_workers_are_replaced() {
    check_deploys(&["--workers", "2", "--threads", "4"]);
}

#[test]
fn posts_through_nginx_are_done_once_each_while_the_process_starts_again() {
    check_deploys(&["--threads", "4"]);
}

/// The supervisor itself starts again, and its workers end before it does.
#[test]
fn posts_through_nginx_are_done_once_each_while_a_preloaded_application_is_loaded_again() {
    check_deploys(&["--workers", "2", "--threads", "4", "--preload"]);
}
