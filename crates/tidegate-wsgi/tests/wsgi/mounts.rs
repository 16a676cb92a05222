//! Tests folders beside an application (`--mount`): their files are answered without it, however busy it is.

use std::path::PathBuf;
#[cfg(target_os = "linux")]
use std::time::Duration;

use super::frameworks::drive_with;
use super::served::{Mode, Served, command};
use super::support::process::{Ended, run_command};
use super::support::temp_folder::TempFolder;

/// Requests that wait for a thread, and more of them than a pool without folders lets in.
const WAITING: usize = 1_100;
/// A name as Django's ManifestStaticFilesStorage makes it.
const HASHED: &str = "app.5d41402abc4b.css";

/// Serves the application of the probe with a folder `static` in its working directory.
fn serve(mode: Mode, more: &[&str]) -> Served {
    Served::start_with("probe_app:application", mode, |command| {
        let folder = folder_of(command);
        std::fs::create_dir_all(folder.join("static/sub")).unwrap();
        for (name, content) in
            [("app.css", "a{}"), (HASHED, "b{}"), ("sub/index.html", "page"), (".env", "s")]
        {
            std::fs::write(folder.join("static").join(name), content).unwrap();
        }
        let path = format!("/static={}", folder.join("static").display());
        command.args(["--mount", &path]).args(more);
    })
}

/// The folder that the application was given for its files.
pub fn folder_of(command: &std::process::Command) -> PathBuf {
    let (_, folder) = command.get_envs().find(|(name, _)| *name == "PROBE_FOLDER").unwrap();
    PathBuf::from(folder.unwrap())
}

pub fn files_and_application_have_their_paths(mode: Mode) {
    let served = serve(mode, &[]);
    let file = served.get("/static/app.css");
    assert_eq!(
        (file.code, file.text(), file.field("Content-Type")),
        (200, "a{}".into(), Some("text/css; charset=utf-8"))
    );
    let etag = file.field("ETag").unwrap();
    let again =
        served.ask(format!("GET /static/app.css HTTP/1.1\r\nHost: a\r\nIf-None-Match: {etag}\r\n\r\n"));
    assert_eq!((again.code, again.content.len()), (304, 0));
    let part = served.ask("GET /%73tatic/app.css HTTP/1.1\r\nHost: a\r\nRange: bytes=1-\r\n\r\n");
    assert_eq!((part.code, part.text()), (206, "{}".into()));
    let kept = served.get(&format!("/static/{HASHED}"));
    assert!(kept.field("Cache-Control").unwrap().contains("immutable"));
    let moved = served.get("/static/sub?x");
    assert_eq!((moved.code, moved.field("Location")), (301, Some("/static/sub/?x")));
    assert_eq!(served.get("/static/sub/").text(), "page");
    for (target, code) in
        [("/static/", 404), ("/static/none", 404), ("/static/.env", 404), ("/static/../hello", 404)]
    {
        assert_eq!(served.get(target).code, code, "{target}");
    }
    let upload = served.ask("POST /static/app.css HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!((upload.code, upload.field("Allow")), (405, Some("GET, HEAD")));
    // The application has all the rest, with its whole path.
    assert_eq!(served.get("/hello").text(), "hello");
    for target in ["/staticky", "/x/static/app.css"] {
        assert_eq!(served.get(target).text(), "no such application", "{target}");
    }
}

pub fn folder_has_the_options_of_static(mode: Mode) {
    let more = ["--listing", "on", "--header", "X-From: folder", "--cache-control", "*.css=no-cache"];
    let served = serve(mode, &more);
    let file = served.get("/static/app.css");
    assert_eq!((file.field("X-From"), file.field("Cache-Control")), (Some("folder"), Some("no-cache")));
    assert!(served.get("/static/").text().contains(HASHED));
    assert_eq!(served.get("/hello").field("X-From"), None);
}

/// All threads of the application wait, and so many requests for them that no other would be read.
pub fn files_are_served_while_the_application_takes_nothing_more() {
    tidegate_program::make_room_for(2 * WAITING);
    let served = serve(Mode::Threads, &[]);
    let mut waiting: Vec<_> = (0..WAITING)
        .map(|_| {
            let mut client = served.connect();
            client.send("GET /close_gate_list?full HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    served.wait_for_note("full", "called");
    assert_eq!(served.get("/static/app.css").text(), "a{}");
    served.open_gate("full");
    for client in &mut waiting {
        assert_eq!(client.read("GET").text(), "one");
    }
}

/// Waits until nobody in the pool has anything left to do, and returns how often its threads have gone to sleep.
#[cfg(target_os = "linux")]
fn sleeps_once_at_rest(served: &Served) -> u64 {
    let mut sleeps = served.sleeps_of_the_pool();
    super::support::loopback::wait_until("the pool is at rest", || {
        std::thread::sleep(Duration::from_millis(50));
        let before = std::mem::replace(&mut sleeps, served.sleeps_of_the_pool());
        sleeps == before
    });
    sleeps
}

/// A thread of the pool that is woken goes to sleep again, which the system counts.
#[cfg(target_os = "linux")]
pub fn files_wake_no_thread_of_the_application() {
    let served = serve(Mode::Threads, &["--max-requests", "50"]);
    assert_eq!(served.get("/hello").text(), "hello");
    let mut client = served.connect();
    assert_eq!(client.get("/static/app.css").text(), "a{}");
    let before = sleeps_once_at_rest(&served);
    for _ in 0..200 {
        assert_eq!(client.get("/static/app.css").text(), "a{}");
    }
    let sleeps = served.sleeps_of_the_pool() - before;
    // What the interpreter's threads do for themselves now and then is no part of it.
    assert!(sleeps < 10, "{sleeps} sleeps of threads that had nothing to do");
    // Nor do files count as requests of the application: else this connection would have been the last.
    assert_eq!(client.get("/hello").text(), "hello");
    assert!(!client.get("/static/app.css").says_close());
}

/// `collectstatic` fills the folder while the application is loaded; WhiteNoise has no part in it.
pub fn django_needs_no_whitenoise(mode: Mode) {
    drive_with("django_app:app", "drive_django.py", mode, |command| {
        let folder = folder_of(command);
        let path = format!("/static={}", folder.join("static").display());
        command.env("DJANGO_WITHOUT_WHITENOISE", "1").args(["--mount", &path]);
    });
}

/// Flask's own folder, `static` beside the module, is found by the working directory.
pub fn flask_has_its_folder_served(mode: Mode) {
    let folder = TempFolder::new();
    let source = "from flask import Flask, url_for\napp = Flask(__name__)\n\n\n\
                  @app.get('/')\ndef index():\n    return url_for('static', filename='app.css')\n";
    folder.write("shop.py", source);
    folder.write("static/app.css", "a{}");
    let served = Served::start_with("shop:app", mode, |command| {
        command.arg("--chdir").arg(folder.path()).args([
            "--mount",
            "/static=static",
            "--header",
            "X-By: tidegate",
        ]);
    });
    let place = served.get("/").text();
    let file = served.get(&place);
    assert_eq!((file.text(), file.field("X-By")), ("a{}".into(), Some("tidegate")), "{place}");
}

#[test]
fn wrong_folder_is_named_at_the_start() {
    let folder = TempFolder::new();
    for (arguments, code, word) in [
        (["--mount", "/static=/none"], 1, "/none"),
        (["--mount", "/=."], 2, "nothing to the application"),
        (["--listing", "on"], 2, "--listing is about folders"),
    ] {
        let mut command = command("probe_app:application", Mode::Threads, &folder);
        let Ended { code: found, stderr, .. } = run_command(command.args(arguments));
        assert_eq!(found, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(word), "{arguments:?}: {stderr}");
    }
}

/// Workers have the folder each for itself, and one that is exchanged is taken up with the application.
#[test]
fn workers_serve_the_folder_that_is_there_when_they_are_replaced() {
    let served = serve(Mode::Threads, &["--workers", "2"]);
    assert_eq!(served.get("/static/app.css").text(), "a{}");
    let folder = served.folder.path();
    std::fs::rename(folder.join("static"), folder.join("old")).unwrap();
    served.folder.write("static/app.css", "new{}");
    served.program.signal(rustix::process::Signal::HUP);
    super::support::loopback::wait_until("the new folder is served", || {
        served.get("/static/app.css").text() == "new{}"
    });
}
