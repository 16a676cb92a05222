//! Tests ways to start: addresses of every kind, variables, native commands, and starts that fail.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::environment;
use super::life::{BROKEN, Life, Told, command, folder, in_folder, source};
use super::support::loopback::wait_until;
use super::support::process::{Ended, Program, ask_over, run_command};
use super::support::temp_folder::TempFolder;

#[test]
fn application_that_cannot_be_imported_is_told_once_and_ends_with_status_3() {
    for way in [&["--threads", "4"][..], &["--workers", "2"], &["--workers", "2", "--preload"]] {
        let folder = folder();
        folder.write("app.py", BROKEN);
        let ended = run_command(command(&folder).args(["app:app", "--bind", "127.0.0.1:0"]).args(way));
        let Ended { code, stderr, .. } = ended;
        assert_eq!(code, Some(3), "{way:?}: {stderr}");
        assert_eq!(stderr.matches("Traceback").count(), 1, "{way:?}: {stderr}");
        assert_eq!(
            stderr.matches("broken on purpose").count(),
            2,
            "in the source and of the error: {stderr}"
        );
        assert!(!stderr.contains("takes its place"), "{way:?}: {stderr}");
    }
}

#[test]
fn busy_port_ends_with_status_1_and_one_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for way in [&["--threads", "4"][..], &["--workers", "2"], &["--reload"]] {
        let folder = folder();
        let ended = run_command(command(&folder).args(["app:app", "--bind", &address]).args(way));
        let Ended { code, stderr, .. } = ended;
        assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{way:?}: {stderr}");
        assert!(stderr.contains(&address) && stderr.contains("in use"), "{stderr}");
    }
}

#[test]
fn every_address_is_served_and_announced() {
    for way in [&["--threads", "4"][..], &["--workers", "2"]] {
        let folder = folder();
        let path = folder.path().join("app.sock");
        let mut command = command(&folder);
        command.args(["app:app", "-b", "127.0.0.1:0", "-b"]).arg(format!("unix:{}", path.display()));
        let program = Program::start_command(command.args(["-b", "127.0.0.1:0"]).args(way), 3);
        let mut life = Life { program, folder };
        assert_eq!(life.get().version, "one");
        assert_eq!(life.program.addresses[1], format!("unix:{}", path.display()));
        let third = life.program.addresses[2]["http://".len()..].trim_end_matches('/').to_string();
        let over_third = ask_over(TcpStream::connect(third).unwrap(), "GET", "/", &[], b"");
        let over_unix = ask_over(UnixStream::connect(&path).unwrap(), "GET", "/", &[], b"");
        for answer in [over_third, over_unix] {
            assert_eq!(Told::of(&answer.text()).version, "one", "{way:?}");
        }
        life.program.signal(Signal::TERM);
        assert_eq!(life.program.wait().code(), Some(0));
        assert!(!path.exists(), "{way:?}: the socket is left behind");
    }
}

/// Standard input is the one descriptor that every program hands on; the shell makes another of it.
#[test]
fn inherited_socket_is_served_and_kept_by_sighup() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let folder = folder();
    let mut shell = in_folder("sh", &folder);
    shell.args(["-c", "exec \"$0\" app:app -b fd://3 3<&0 0</dev/null"]).arg(environment::tidegate());
    let life = start_with_stdin(&mut shell, listener, folder);
    assert_eq!((life.address(), life.get().version.as_str()), (address, "one"));
    life.change(&source("two"));
    life.program.signal(Signal::HUP);
    wait_until("the new code serves", || life.get().version == "two");
    life.end();
}

fn start_with_stdin(command: &mut Command, listener: TcpListener, folder: TempFolder) -> Life {
    let program = Program::start_with(command, Stdio::from(OwnedFd::from(listener)), Stdio::piped(), 1);
    Life { program, folder }
}

#[test]
fn port_and_web_concurrency_are_understood() {
    let folder = folder();
    let mut command = command(&folder);
    command.args(["app:app"]).env("PORT", "0").env("WEB_CONCURRENCY", "2");
    let program = Program::start_command(&mut command, 1);
    let address = program.addresses[0].clone();
    let port = address.trim_end_matches('/').rsplit(':').next().unwrap();
    assert!(address.starts_with("http://[::]:") || address.starts_with("http://0.0.0.0:"), "{address}");
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let told = Told::of(&ask_over(stream, "GET", "/", &[], b"").text());
    assert!(told.is_one_of_several && told.pid != program.id(), "{told:?}");
    Life { program, folder }.end();
}

#[test]
fn single_process_is_the_one_that_was_started() {
    let life = Life::start(&[]);
    let told = life.get();
    assert_eq!((told.pid, told.is_one_of_several), (life.program.id(), false));
    life.end();
}

#[test]
fn native_commands_come_with_the_package() {
    let folder = folder();
    let Ended { code, stdout, .. } = run_command(command(&folder).arg("--help"));
    assert_eq!(code, Some(0));
    assert!(["MODULE:APP", "--workers", "static"].iter().all(|word| stdout.contains(word)), "{stdout}");
    let Ended { code, stdout, .. } = run_command(command(&folder).arg("--version"));
    assert_eq!((code, stdout), (Some(0), format!("tidegate {}\n", env!("CARGO_PKG_VERSION"))));
    let mut command = command(&folder);
    let mut program = Program::start_command(command.args(["static", ".", "-b", "127.0.0.1:0"]), 1);
    assert_eq!(program.get("/app.py").text(), source("one"));
    program.interrupt();
    assert_eq!(program.wait().code(), Some(0));
    let said = program.stderr.rest();
    assert!(said.contains("tidegate finishes") && !said.contains("Traceback"), "{said}");
}

/// Files that are opened next would get their numbers, and printed text must not land in them.
#[cfg(target_os = "linux")]
#[test]
fn closed_standard_descriptors_are_opened_on_the_null_device() {
    for way in [&["--threads", "4"][..], &["--threads", "1"], &["--workers", "1"]] {
        for closed in 1..8 {
            check_closed(way, (0..3).filter(|number| closed & (1 << number) != 0).collect());
        }
    }
}

fn check_closed(way: &[&str], closed: Vec<u32>) {
    let folder = folder();
    // It prints, logs, and fails.
    let noise = "    print('noise')\n    print('noise', file=sys.stderr)\n    environ['wsgi.errors'].write('noise')\n";
    let fail = "    if environ['PATH_INFO'] == '/fail':\n        raise ValueError('noise')\n";
    let outer = format!(
        "plain = app\ndef app(environ, start_response):\n{noise}{fail}    return plain(environ, start_response)\n"
    );
    folder.write("app.py", source("one") + &outer);
    let path = folder.path().join("app.sock");
    let redirections: String = closed.iter().map(|number| format!(" {number}>&-")).collect();
    let mut command = in_folder("sh", &folder);
    command.arg("-c").arg(format!("exec \"$@\"{redirections}")).arg("sh").arg(environment::tidegate());
    command.args(["app:app", "-b"]).arg(format!("unix:{}", path.display())).args(way);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_until("it listens", || UnixStream::connect(&path).is_ok());
    let ask = |target: &str| ask_over(UnixStream::connect(&path).unwrap(), "GET", target, &[], b"").code;
    let codes = [ask("/"), ask("/fail"), ask("/")];
    let opened: Vec<_> = closed
        .iter()
        .map(|number| std::fs::read_link(format!("/proc/{}/fd/{number}", child.id())).unwrap())
        .collect();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = child.wait().unwrap();
    assert_eq!((codes, status.code()), ([200, 500, 200], Some(0)), "{way:?}, closed: {closed:?}");
    assert!(opened.iter().all(|file| file.as_os_str() == "/dev/null"), "{way:?}, {closed:?}: {opened:?}");
}
