//! Tests how the program lives with its system: the places and forms of its log, users and permissions, queues.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use support::process::{self, Answer, Ended, PATIENCE, Program, eventually, run};
use support::temp_folder::TempFolder;

/// A folder with a page, and room for logs and sockets beside it.
fn folder() -> (TempFolder, String) {
    let folder = TempFolder::new();
    folder.write("site/index.html", "page");
    let site = folder.path().join("site").display().to_string();
    (folder, site)
}

/// Waits until a file has a text in it, and returns all of it.
fn wait_for(file: &std::path::Path, text: &str) -> String {
    eventually(|| {
        let found = fs::read_to_string(file)?;
        match found.contains(text) {
            true => Ok(found),
            false => Err(std::io::Error::other(format!("no {text:?} in {found:?}"))),
        }
    })
}

/// Starts the program with a log that is not on stderr, and returns it with the address that it announces there.
fn start_unheard(arguments: &[&str], announcement: impl FnOnce() -> String) -> (Program, String) {
    let mut command = process::tidegate();
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    let program = Program::start_with(&mut command, Stdio::null(), Stdio::null(), 0);
    let line = announcement();
    let (_, rest) = line.split_once("http://").unwrap();
    (program, rest.split('/').next().unwrap().to_string())
}

fn get(address: &str) -> Answer {
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    process::ask_over(stream, "GET", "/", &["Connection: close"], b"")
}

#[test]
fn log_and_exchanges_go_to_the_log_of_the_system() {
    let (folder, site) = folder();
    let path = folder.path().join("log");
    let system = UnixDatagram::bind(&path).unwrap();
    system.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = |word: &str| loop {
        let mut message = [0; 4096];
        let length = system.recv(&mut message).unwrap();
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        assert!(!text.contains('\n'), "{text:?}");
        if text.contains(word) {
            return text;
        }
    };
    let place = format!("syslog:{}", path.display());
    let arguments = [&*site, "--error-logfile", &place, "--access-log-file", &place];
    let (mut program, address) = start_unheard(&arguments, || next("tidegate serves"));
    assert_eq!(get(&address).text(), "page");
    // Facility daemon (3), severity info (6).
    let exchange = next("GET / HTTP/1.1");
    let identity = format!("<30>tidegate[{}]: 127.0.0.1 ", program.id());
    assert!(exchange.starts_with(&identity), "{exchange}");
    program.interrupt();
    // Severity notice (5).
    let goodbye = next("finishes what it is serving");
    assert!(goodbye.starts_with(&format!("<29>tidegate[{}]: tidegate ", program.id())), "{goodbye}");
    assert_eq!(program.wait().code(), Some(0));
    assert_eq!(program.stderr.rest(), "");
}

#[test]
fn log_of_the_system_that_is_not_there_is_an_error_at_the_start() {
    let (_folder, site) = folder();
    for option in ["--error-logfile", "--access-log-file"] {
        let ended = run(&["--listen", "127.0.0.1:0", &site, option, "syslog:/none/log"]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("/none/log"), "{}", ended.stderr);
    }
}

#[test]
fn journal_is_told_the_severity_of_each_line() {
    let (_folder, site) = folder();
    let mut program = Program::start(&[&site, "--log-format", "journal"]);
    program.interrupt();
    assert!(program.stderr.next_with("finishes").starts_with("<5>tidegate "));
    assert_eq!(program.wait().code(), Some(0));
}

/// systemd tells a service which pipe or socket its journal reads.
#[test]
fn journal_that_reads_stderr_is_found_out() {
    let (_folder, site) = folder();
    for is_journal in [true, false] {
        let (reader, writer) = std::io::pipe().unwrap();
        let of_pipe = rustix::fs::fstat(&writer).unwrap();
        let inode = if is_journal { of_pipe.st_ino } else { of_pipe.st_ino + 1 };
        let mut command = process::tidegate();
        command.args(["--listen", "127.0.0.1:0", &site, "--check-config"]);
        command.env("JOURNAL_STREAM", format!("{}:{inode}", of_pipe.st_dev));
        let status = command.stdin(Stdio::null()).stderr(Stdio::from(writer)).status().unwrap();
        drop(command);
        assert!(status.success());
        let text = std::io::read_to_string(reader).unwrap();
        assert_eq!(text.starts_with("<5>tidegate: "), is_journal, "{text}");
    }
}

#[test]
fn log_file_takes_all_of_stderr_and_is_opened_again() {
    let (folder, site) = folder();
    let (log, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let arguments = [&*site, "--error-logfile", log.to_str().unwrap()];
    let (mut program, address) = start_unheard(&arguments, || wait_for(&log, "(Ctrl-C stops)\n"));
    assert_eq!(get(&address).text(), "page");
    fs::rename(&log, &moved).unwrap();
    program.signal(Signal::USR1);
    wait_for(&log, "");
    program.interrupt();
    assert_eq!(program.wait().code(), Some(0));
    assert!(wait_for(&log, "finishes").starts_with("tidegate finishes"));
    assert!(!fs::read_to_string(&moved).unwrap().contains("finishes"));
    assert_eq!(program.stderr.rest(), "");
    let ended = run(&[&site, "--error-logfile", "/none/log"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("/none/log"), "{}", ended.stderr);
}

#[test]
fn umask_is_that_of_new_files_and_sockets() {
    let (folder, site) = folder();
    let (log, socket) = (folder.path().join("access"), folder.path().join("socket"));
    let listen = format!("unix:{}", socket.display());
    let arguments =
        [&*site, "--listen", &listen, "--access-log-file", log.to_str().unwrap(), "--umask", "027"];
    let _program = Program::start_command(process::tidegate().args(arguments), 1);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&log), mode(&socket)), (0o640, 0o750));
}

/// Only root can become somebody else, and in containers this is root.
#[test]
#[cfg(target_os = "linux")]
fn program_becomes_the_user_that_was_named_once_all_is_open() {
    let (folder, site) = folder();
    if !rustix::process::geteuid().is_root() {
        let ended = run(&["--listen", "127.0.0.1:0", &site, "--user", "root"]);
        assert_eq!(ended.code, Some(1));
        return assert!(ended.stderr.contains("only a process of root may"), "{}", ended.stderr);
    }
    let (log, socket) = (folder.path().join("access"), folder.path().join("socket"));
    let listen = format!("unix:{}", socket.display());
    let log = log.to_str().unwrap();
    let arguments = ["--listen", &listen, "--user", "nobody", "--access-log-file", log];
    let mut program = Program::start(&[&[&*site], &arguments[..]].concat()[..]);
    assert_eq!(program.get("/").text(), "page");
    wait_for(std::path::Path::new(log), "GET / ");
    // Each thread has credentials of its own.
    for task in fs::read_dir(format!("/proc/{}/task", program.id())).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        for (name, numbers) in [("Uid:", 4), ("Gid:", 4), ("Groups:", 1)] {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let found: Vec<_> = line.split_whitespace().skip(1).collect();
            assert_eq!(found, vec!["65534"; numbers], "{line}");
        }
    }
    assert_eq!(fs::metadata(&socket).unwrap().uid(), 65534);
    // Moved away, the log is opened again by that user: a file that is made for it, as logrotate does.
    let moved = folder.path().join("access.1");
    assert_eq!(fs::metadata(log).unwrap().uid(), 65534);
    fs::rename(log, &moved).unwrap();
    fs::write(log, "").unwrap();
    chown(log, Some(65534), None).unwrap();
    program.signal(Signal::USR1);
    eventually(|| match (program.get("/").text(), fs::metadata(log)?.len()) {
        (_, 0) => Err(std::io::Error::other("not opened again")),
        _ => Ok(()),
    });
    program.interrupt();
    assert_eq!(program.wait().code(), Some(0));
    // A link in the place of a log leads to what is not the user's.
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    fs::remove_file(log).unwrap();
    symlink(&other, log).unwrap();
    drop(Program::start(&[&[&*site], &arguments[..]].concat()[..]));
    assert_eq!(fs::metadata(&other).unwrap().uid(), 0);
    // What that user must not read is an error at the start, and no page of errors later.
    fs::set_permissions(&site, fs::Permissions::from_mode(0o700)).unwrap();
    let ended = run(&["--listen", "127.0.0.1:0", &site, "--user", "nobody"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot serve the folder"), "{}", ended.stderr);
}

#[test]
fn users_that_are_not_there_are_named() {
    let (_folder, site) = folder();
    for option in ["--user", "--group"] {
        let ended = run(&["--listen", "127.0.0.1:0", &site, option, "nobody-of-this-name"]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.stderr.contains("nobody-of-this-name"), "{}", ended.stderr);
    }
}

#[test]
fn configuration_is_checked_and_nothing_served() {
    let (folder, site) = folder();
    let log = folder.path().join("log");
    let check = |arguments: &[&str]| run(&[&["--check-config"], arguments].concat());
    let Ended { code, stderr, .. } = check(&[&site]);
    assert_eq!((code, stderr.contains("nothing is wrong")), (Some(0), true), "{stderr}");
    for (arguments, code, word) in [
        (&["static", "/none"][..], 1, "/none"),
        (&["static", &site, "--redirects", "/none"], 1, "/none"),
        (&["static", &site, "--user", "nobody-of-this-name"], 1, "no user"),
        (&["static", &site, "--umask", "999"], 2, "--umask"),
        (&["static", &site, "--backlog", "9", "--reactors", "2"], 2, "--backlog"),
        (&["static", &site, "--error-logfile", "/none/log"], 1, "/none/log"),
        (&["static", &site, "--access-log-file", &site], 1, &site),
        // The log is not made, and the verdict does not go into it.
        (&["static", &site, "--error-logfile", log.to_str().unwrap()], 0, "nothing is wrong"),
        (&["static", &site, "--access-log-file", log.to_str().unwrap()], 0, "nothing is wrong"),
    ] {
        let ended = check(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(word), "{arguments:?}: {}", ended.stderr);
        assert!(!log.exists(), "{arguments:?}");
    }
}

/// A unix socket refuses whoever finds its queue full, if he does not wait.
#[test]
#[cfg(target_os = "linux")]
fn backlog_is_the_length_of_the_queue() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let (folder, site) = folder();
    let socket = folder.path().join("socket");
    let listen = format!("unix:{}", socket.display());
    let mut command: Command = process::tidegate();
    let program = Program::start_command(command.args([&*site, "--listen", &listen, "--backlog", "2"]), 1);
    program.signal(Signal::STOP);
    let address = SocketAddrUnix::new(&socket).unwrap();
    let queue: Vec<_> = (0..50)
        .map_while(|_| {
            let client =
                socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
            connect(&client, &address).is_ok().then_some(client)
        })
        .collect();
    program.signal(Signal::CONT);
    assert!((1..10).contains(&queue.len()), "{} clients in a queue for 2", queue.len());
}
