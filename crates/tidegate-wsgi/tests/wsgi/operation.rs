//! Tests how a server of Python lives with its system: the place of its log, users, variables, and what is checked before.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use super::mounts::folder_of;
use super::served::{Mode, Served, command};
use super::support::loopback::wait_until;
use super::support::process::{Ended, Program, run_command};
use super::support::temp_folder::TempFolder;

const SOURCE: &str = "import os, sys\n\n\
    def app(environ, start_response):\n    \
    start_response('200 OK', [])\n    \
    print('asked', file=sys.stderr)\n    \
    return [repr((os.environ.get('COLOUR'), os.getuid(), os.getgroups(), os.umask(0o22))).encode()]\n";

fn served(more: &[&str]) -> Served {
    Served::start_with("here:app", Mode::Threads, |command| {
        let folder = folder_of(command);
        fs::write(folder.join("here.py"), SOURCE).unwrap();
        command.arg("--chdir").arg(folder).args(more);
    })
}

#[test]
fn application_finds_variables_and_umask_of_the_command_line() {
    let served = served(&["--env", "COLOUR=light=blue", "--umask", "077"]);
    let text = served.get("/").text();
    assert!(text.starts_with("('light=blue', ") && text.ends_with(", 63)"), "{text}");
}

/// Only the group is changed here: another user may be unable to read the package, which can lie in root's own folder.
#[test]
#[cfg(target_os = "linux")]
fn group_of_workers_is_changed_for_root_and_for_nobody_else() {
    if !rustix::process::geteuid().is_root() {
        let folder = TempFolder::new();
        folder.write("here.py", SOURCE);
        let mut command = command("here:app", Mode::Threads, &folder);
        let ended = run_command(command.current_dir(folder.path()).args(["--user", "0"]));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("only a process of root may"), "{}", ended.stderr);
        return;
    }
    for more in [&["--group", "65534"][..], &["--group", "65534", "--workers", "2"]] {
        let text = served(more).get("/").text();
        assert!(text.starts_with("(None, 0, [65534], "), "{more:?}: {text}");
    }
}

/// Only root can become somebody else, who then has to read the package.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs root, and a Python that everybody may read: a checkout and a python3 outside of root's own folder"]
fn workers_are_processes_of_the_user_that_was_named() {
    for more in [&["--user", "65534"][..], &["--user", "nobody", "--workers", "2"]] {
        let text = served(more).get("/").text();
        assert!(text.starts_with("(None, 65534, [65534], "), "{more:?}: {text}");
    }
}

#[test]
fn log_file_takes_what_supervisor_worker_and_application_say_and_is_opened_again() {
    let folder = TempFolder::new();
    folder.write("here.py", SOURCE);
    let (log, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let mut command = command("here:app", Mode::Threads, &folder);
    command.current_dir(folder.path()).args(["--workers", "1", "--error-logfile", "log"]);
    let mut program = Program::start_with(&mut command, Stdio::null(), Stdio::null(), 0);
    let has =
        |path: &std::path::Path, text: &str| fs::read_to_string(path).is_ok_and(|found| found.contains(text));
    wait_until("it is announced", || has(&log, "(Ctrl-C stops)\n"));
    let announced = fs::read_to_string(&log).unwrap();
    let address = announced.split_once("http://").unwrap().1.split('/').next().unwrap().to_string();
    let ask = || {
        let mut client = super::support::loopback::Client::connect(address.parse().unwrap());
        assert_eq!(client.get("/").code, 200);
    };
    ask();
    wait_until("the application is heard", || has(&log, "asked\n"));
    fs::rename(&log, &moved).unwrap();
    program.signal(Signal::USR1);
    // The supervisor opens it first, and its worker a moment later.
    wait_until("the application is heard again", || {
        ask();
        has(&log, "asked\n")
    });
    program.interrupt();
    assert_eq!(program.wait().code(), Some(0));
    assert!(has(&log, "finishes what it is serving") && !has(&moved, "finishes"));
    assert_eq!(program.stderr.rest(), "");
}

#[test]
fn configuration_is_checked_with_its_application_and_folders() {
    let folder = TempFolder::new();
    folder.write("here.py", SOURCE);
    for (application, more, code, word) in [
        ("here:app", &[][..], 0, "nothing is wrong"),
        ("here:none", &[], 3, "none"),
        ("here:app", &["--mount", "/static=/none"], 1, "/none"),
        ("here:app", &["-c", "gunicorn.conf.py"], 2, "gunicorn's --config"),
    ] {
        let mut command = command(application, Mode::Threads, &folder);
        command.current_dir(folder.path()).arg("--check-config").args(more);
        let Ended { code: found, stderr, .. } = run_command(&mut command);
        assert_eq!(found, Some(code), "{application} {more:?}: {stderr}");
        assert!(stderr.contains(word), "{application} {more:?}: {stderr}");
    }
}

#[test]
fn unix_socket_has_the_permissions_that_were_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempFolder::new();
    let socket = folder.path().join("socket");
    let listen = format!("unix:{}", socket.display());
    let _served = served(&["--bind", &listen, "--socket-mode", "600"]);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
}
