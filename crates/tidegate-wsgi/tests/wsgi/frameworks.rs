//! Tests the frameworks that people use, each driven by a Python script as its users would, and once more
//! behind the standard library's validator, which objects to mistakes of either side.

use std::process::{Command, Stdio};

use super::environment;
use super::served::{Mode, Served};

/// Complaints of the validator on stderr: it cannot raise in a destructor.
const OBJECTIONS: &[&str] = &["AssertionError", "garbage collected without being closed"];

/// Serves the application, lets the script drive it, and ends it in order.
fn drive(application: &str, script: &str, mode: Mode) {
    drive_with(application, script, mode, |_| {});
}

/// Does the same with additions to the command line or environment of the server.
pub fn drive_with(application: &str, script: &str, mode: Mode, change: impl FnOnce(&mut Command)) {
    let mut served = Served::start_with(application, mode, change);
    // Its name in the module, for what is different there.
    let name = application.rsplit(':').next().unwrap().trim_end_matches("()");
    let output = Command::new(environment::python())
        .arg(environment::folder().join(script))
        .args([&served.program.url("/"), name])
        .stdin(Stdio::null())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{application}: {said}");
    served.program.interrupt();
    assert_eq!(served.program.wait().code(), Some(0), "{application}");
    let stderr = served.program.stderr.rest();
    assert!(OBJECTIONS.iter().all(|objection| !stderr.contains(objection)), "{application}:\n{stderr}");
}

pub fn flask(mode: Mode) {
    drive("flask_app:app", "drive_flask.py", mode);
    drive("flask_app:validated", "drive_flask.py", mode);
    drive("flask_app:debugging()", "drive_flask.py", mode);
}

pub fn django(mode: Mode) {
    drive("django_app:app", "drive_django.py", mode);
    drive("django_app:validated", "drive_django.py", mode);
}

pub fn pyramid(mode: Mode) {
    drive("pyramid_app:app", "drive_pyramid.py", mode);
    drive("pyramid_app:validated", "drive_pyramid.py", mode);
}

pub fn bottle(mode: Mode) {
    drive("bottle_app:app", "drive_bottle.py", mode);
    drive("bottle_app:validated", "drive_bottle.py", mode);
}

pub fn httpbin(mode: Mode) {
    drive("httpbin:app", "drive_httpbin.py", mode);
}

/// Runs the examples as the first lines of their sources tell.
pub fn examples(mode: Mode) {
    for (application, framework) in [
        ("flask_hello:app", "Flask"),
        ("django_hello:application", "Django"),
        ("django_hello", "Django"),
        ("pyramid_hello:make_application()", "Pyramid"),
        ("bottle_hello:app", "Bottle"),
    ] {
        let served = Served::start_with(application, mode, |command| {
            command.current_dir(environment::root().join("examples/wsgi"));
        });
        let answer = served.ask("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!((answer.code, answer.text()), (200, format!("Hello from {framework}!\n")));
        assert!(answer.field("Content-Type").unwrap().starts_with("text/plain"), "{answer:?}");
    }
}
