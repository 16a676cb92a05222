//! Tests `tidegate static DIR` over sockets, with requests that no well-meaning client sends.

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use support::process::{self, Answer, PATIENCE, Program, command, run_command};
use support::temp_folder::TempFolder;

/// A folder of this shape, being served:
///
/// ```text
/// secret.txt
/// public/  hello.txt  data.bin  long.bin  .hidden  bare/<i>.txt  indexed/index.html
/// ```
struct Site {
    folder: TempFolder,
    program: Program,
}

fn long_content() -> Vec<u8> {
    (0..5_000_000_u32).map(|number| (number % 251) as u8).collect()
}

impl Site {
    fn new() -> Site {
        let folder = TempFolder::new();
        folder.write("secret.txt", "secret");
        folder.write("public/hello.txt", "Hello, tide!");
        folder.write("public/data.bin", "0123456789");
        folder.write("public/long.bin", long_content());
        folder.write("public/.hidden", "hidden");
        folder.write("public/bare/<i>.txt", "odd");
        folder.write("public/indexed/index.html", "<p>index");
        folder.settle();
        let program = Program::start(&["static", folder.path().join("public").to_str().unwrap()]);
        Site { folder, program }
    }

    fn check(&self, target: &str, code: u16, content: &str) {
        let answer = self.program.get(target);
        assert_eq!(answer.code, code, "{target}");
        if code < 300 {
            assert_eq!(answer.text(), content, "{target}");
        }
        assert!(!answer.text().contains("secret"), "{target}");
    }

    fn check_range(&self, fields: &[&str], code: u16, range: Option<&str>, content: &str) {
        let answer = self.program.ask("GET", "/data.bin", fields, b"");
        assert_eq!((answer.code, answer.field("Content-Range")), (code, range), "{fields:?}");
        if code < 300 {
            assert_eq!(answer.text(), content, "{fields:?}");
        }
    }
}

#[test]
fn file_arrives_whole_with_its_type() {
    let site = Site::new();
    let answer = site.program.get("/hello.txt");
    assert_eq!((answer.code, answer.text().as_str()), (200, "Hello, tide!"));
    assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("Content-Length"), Some("12"));
    assert_eq!(answer.field("Accept-Ranges"), Some("bytes"));
    assert!(site.program.get("/long.bin").content == long_content());
    site.check("/indexed/", 200, "<p>index");
    site.check("/none", 404, "");
}

#[test]
fn head_says_the_same_without_content() {
    let site = Site::new();
    let (get, head) = (site.program.get("/long.bin"), site.program.ask("HEAD", "/long.bin", &[], b""));
    assert_eq!((head.code, head.content.len()), (200, 0));
    for name in ["Content-Length", "Content-Type", "ETag", "Last-Modified"] {
        assert_eq!(head.field(name), get.field(name), "{name}");
        assert!(head.field(name).is_some(), "{name}");
    }
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let site = Site::new();
    symlink("../secret.txt", site.folder.path().join("public/link")).unwrap();
    symlink("..", site.folder.path().join("public/up")).unwrap();
    symlink("/", site.folder.path().join("public/root")).unwrap();
    for target in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/.%2E/secret.txt",
        "/..%2fsecret.txt",
        "/..%5Csecret.txt",
        "/bare/../../secret.txt",
        "/bare%2f..%2f..%2fsecret.txt",
        "//../secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "/link",
        "/up/secret.txt",
        "/root/etc/hostname",
        "http://host/../secret.txt",
        "/.hidden",
    ] {
        site.check(target, 404, "");
    }
    // No path has a raw backslash in it.
    site.check("/..\\secret.txt", 400, "");
    assert!(site.program.get("/").text().contains("hello.txt"));
}

#[test]
fn links_inside_the_folder_are_followed() {
    let site = Site::new();
    let public = site.folder.path().join("public");
    symlink("../hello.txt", public.join("bare/relative")).unwrap();
    symlink(public.join("hello.txt"), public.join("absolute")).unwrap();
    site.check("/bare/relative", 200, "Hello, tide!");
    site.check("/absolute", 200, "Hello, tide!");
}

#[test]
fn pipe_holds_nobody() {
    let site = Site::new();
    let pipe = site.folder.path().join("public/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    site.check("/pipe", 403, "");
    site.check("/hello.txt", 200, "Hello, tide!");
}

#[test]
fn writer_of_a_pipe_is_not_let_through_by_a_request() {
    let site = Site::new();
    let pipe = site.folder.path().join("public/pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (sender, opened) = channel();
    let path = pipe.clone();
    // It opens only when somebody has opened the other end.
    thread::spawn(move || sender.send(fs::File::options().write(true).open(path).map(drop)));
    for _ in 0..5 {
        site.check("/pipe", 403, "");
        site.check("/", 200, &site.program.get("/").text());
        assert!(matches!(opened.recv_timeout(Duration::from_millis(40)), Err(RecvTimeoutError::Timeout)));
    }
    let _reader = fs::File::open(&pipe).unwrap();
    opened.recv_timeout(PATIENCE).unwrap().unwrap();
}

/// Fills a folder with `count` empty files.
fn fill(folder: &Path, count: u32) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..count {
        fs::File::create(folder.join(format!("a-file-with-an-ordinary-name-{number}.txt"))).unwrap();
    }
}

/// Returns how long another client waits for a small file at most, while eight clients pipeline 40 requests
/// each.
fn longest_wait_during(site: &Site, method: &str, target: &str) -> Duration {
    let kept = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    let last = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    let requests = kept.repeat(39) + &last;
    let mut longest = Duration::ZERO;
    thread::scope(|scope| {
        let stormers: Vec<_> = (0..8)
            .map(|_| {
                let mut stream = site.program.connect();
                stream.write_all(requests.as_bytes()).unwrap();
                scope.spawn(move || {
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).unwrap();
                    assert_eq!(bytes.windows(15).filter(|bytes| bytes == b"HTTP/1.1 200 OK").count(), 40);
                })
            })
            .collect();
        loop {
            let begun = Instant::now();
            site.check("/hello.txt", 200, "Hello, tide!");
            longest = longest.max(begun.elapsed());
            if stormers.iter().all(|stormer| stormer.is_finished()) {
                break;
            }
        }
    });
    longest
}

/// Checks that the longest wait is less than half a second, once in several tries: a machine that has other work makes
/// people wait now and then, a server that blocks does it each time.
fn check_wait(longest_wait: impl Fn() -> Duration) {
    let mut waits = Vec::new();
    for _ in 0..6 {
        waits.push(longest_wait());
        if waits.last() < Some(&Duration::from_millis(500)) {
            return;
        }
    }
    panic!("{waits:?}");
}

#[test]
fn listings_make_nobody_else_wait() {
    let site = Site::new();
    fill(&site.folder.path().join("public/many"), 5_000);
    for method in ["HEAD", "GET"] {
        check_wait(|| longest_wait_during(&site, method, "/many/"));
    }
}

#[test]
fn enormous_folder_makes_nobody_else_wait() {
    let site = Site::new();
    fill(&site.folder.path().join("public/most"), 100_000);
    check_wait(|| {
        // Another version of the folder, which is rendered anew.
        site.folder.write("public/most/another", "");
        fs::remove_file(site.folder.path().join("public/most/another")).unwrap();
        let mut longest = Duration::ZERO;
        thread::scope(|scope| {
            let lister = scope.spawn(|| site.program.get("/most/"));
            while !lister.is_finished() {
                let begun = Instant::now();
                site.check("/hello.txt", 200, "Hello, tide!");
                longest = longest.max(begun.elapsed());
            }
            let page = lister.join().unwrap().text();
            assert!(page.contains("Page 1 of 100") && page.ends_with("</html>\n"));
        });
        longest
    });
}

/// Runs the program as nobody, whom permissions bind (they do not bind root), from a place where nobody can
/// find it.
fn tidegate_of_nobody(folder: &TempFolder) -> Command {
    let program = folder.path().join("tidegate");
    // By another process: a program that somebody has open for writing cannot be started, and children of other
    // tests could have inherited that from this one.
    let copied = Command::new("cp").arg(process::path()).arg(&program).status().unwrap();
    assert!(copied.success());
    let mut command = command(program);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    command.args(["--listen", "127.0.0.1:0", "static"]).arg(folder.path().join("public"));
    command
}

#[test]
fn folder_that_cannot_be_read_is_served_without_listings_and_one_that_cannot_be_entered_refused() {
    let folder = TempFolder::new();
    let file = folder.write("public/hello.txt", "Hello, tide!");
    let public = file.parent().unwrap();
    fs::set_permissions(public, fs::Permissions::from_mode(0o311)).unwrap();
    let mut command = tidegate_of_nobody(&folder);
    let refused = run_command(&mut command);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("denied") && refused.stderr.contains("--listing off"),
        "{}",
        refused.stderr
    );
    let program = Program::start_command(command.args(["--listing", "off"]), 1);
    assert_eq!(program.get("/hello.txt").text(), "Hello, tide!");
    for method in ["GET", "HEAD"] {
        assert_eq!(program.ask(method, "/", &[], b"").code, 404);
    }
    fs::set_permissions(public, fs::Permissions::from_mode(0o600)).unwrap();
    drop(program);
    let ended = run_command(&mut command);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot serve the folder") && ended.stderr.contains("denied"));
    fs::set_permissions(public, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn folder_that_has_gone_is_unavailable_until_it_is_back() {
    let site = Site::new();
    let public = site.folder.path().join("public");
    fs::remove_dir_all(&public).unwrap();
    for target in ["/", "/hello.txt", "/hello.txt"] {
        site.check(target, 503, "");
    }
    let line = site.program.stderr.next_with("has gone");
    assert!(line.contains(" ERROR ") && line.contains("public"), "{line}");
    site.folder.write("public/hello.txt", "back");
    site.check("/hello.txt", 200, "back");
    site.check("/gone.txt", 404, "");
}

/// Another user than root is needed for this, since root may read everything.
#[test]
fn unreadable_file_is_forbidden() {
    let site = Site::new();
    let path = site.folder.path().join("public/data.bin");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let code = site.program.get("/data.bin").code;
    assert_eq!(code, if fs::File::open(&path).is_ok() { 200 } else { 403 });
}

#[test]
fn folder_without_its_slash_is_redirected() {
    let site = Site::new();
    let answer = site.program.get("/indexed?a=b");
    assert_eq!((answer.code, answer.field("Location")), (301, Some("/indexed/?a=b")));
    let answer = site.program.get("//indexed");
    assert_eq!((answer.code, answer.field("Location")), (301, Some("/indexed/")));
}

#[test]
fn listing_shows_what_can_be_opened() {
    let site = Site::new();
    let page = site.program.get("/").text();
    assert!(page.contains("href=\"bare/\"") && page.contains("href=\"hello.txt\""));
    assert!(page.find("indexed/").unwrap() < page.find("data.bin").unwrap());
    assert!(page.contains("4.7 MiB") && !page.contains("hidden"));
    let page = site.program.get("/bare/").text();
    assert!(page.contains("href=\"%3Ci%3E.txt\">&lt;i&gt;.txt<") && page.contains("href=\"../\""));
    site.check("/bare/%3Ci%3E.txt", 200, "odd");
}

#[test]
fn ranges_are_obeyed() {
    let site = Site::new();
    site.check_range(&["Range: bytes=2-5"], 206, Some("bytes 2-5/10"), "2345");
    site.check_range(&["Range: bytes=-3"], 206, Some("bytes 7-9/10"), "789");
    site.check_range(&["Range: bytes=7-"], 206, Some("bytes 7-9/10"), "789");
    site.check_range(&["Range: bytes=10-"], 416, Some("bytes */10"), "");
    site.check_range(&["Range: bytes=0-1,3-4"], 206, Some("bytes 0-4/10"), "01234");
    site.check_range(&["Range: nonsense"], 200, None, "0123456789");
    site.check_range(&["Range: bytes=2-5", "If-Range: \"other\""], 200, None, "0123456789");
    let tag = site.program.get("/data.bin").field("ETag").unwrap().to_string();
    let if_range = format!("If-Range: {tag}");
    site.check_range(&["Range: bytes=2-5", &if_range], 206, Some("bytes 2-5/10"), "2345");
    let answer = site.program.ask("GET", "/long.bin", &["Range: bytes=1000000-3999999"], b"");
    assert!(answer.content == long_content()[1_000_000..4_000_000]);
}

#[test]
fn known_version_is_not_sent_again() {
    let site = Site::new();
    let answer = site.program.get("/hello.txt");
    let tag = format!("If-None-Match: {}", answer.field("ETag").unwrap());
    let date = format!("If-Modified-Since: {}", answer.field("Last-Modified").unwrap());
    for field in [&tag, &date] {
        let answer = site.program.ask("GET", "/hello.txt", &[field], b"");
        assert_eq!((answer.code, answer.content.len()), (304, 0), "{field}");
    }
    let answer = site.program.ask("GET", "/hello.txt", &["If-Match: \"x\""], b"");
    assert_eq!(answer.code, 412);
}

#[test]
fn other_methods_are_refused_and_the_connection_goes_on() {
    let site = Site::new();
    let answer = site.program.ask("POST", "/hello.txt", &[], b"content");
    assert_eq!((answer.code, answer.field("Allow")), (405, Some("GET, HEAD")));
    assert_eq!(site.program.ask("OPTIONS", "*", &[], b"").code, 405);
    let mut stream = site.program.connect();
    let requests = "PUT /hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                    GET /hello.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).unwrap();
    let both = Answer::read(&mut stream);
    assert_eq!(both.code, 405);
    assert!(both.text().ends_with("Hello, tide!"));
}

#[test]
fn content_is_refused_by_the_head_and_holds_no_file() {
    let site = Site::new();
    let head = "PUT /hello.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n";
    let uploads: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = site.program.connect();
            stream.write_all(head.as_bytes()).unwrap();
            // More than may stay in memory; most of it finds nobody who reads it as content.
            stream.write_all(&[b'x'; 1_000_000]).unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 405");
            stream
        })
        .collect();
    #[cfg(target_os = "linux")]
    for entry in fs::read_dir(format!("/proc/{}/fd", site.program.id())).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap_or_default();
        assert!(!target.to_string_lossy().contains("(deleted)"), "a spool file: {}", target.display());
    }
    drop(uploads);
    // Nobody is asked to send what nobody reads, and a GET needs none either.
    for method in ["POST", "GET"] {
        let fields = ["Content-Length: 5", "Expect: 100-continue"];
        let mut stream = site.program.connect();
        let head = format!("{method} /hello.txt HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", fields.join("\r\n"));
        stream.write_all(head.as_bytes()).unwrap();
        let answer = Answer::read(&mut stream);
        assert_eq!(answer.code, if method == "GET" { 200 } else { 405 });
        assert_eq!(answer.field("Connection"), Some("close"));
    }
}

#[test]
fn empty_path_is_the_folder_itself() {
    let site = Site::new();
    assert!(site.program.get("http://host").text().contains("Index of /<"));
}

#[test]
fn vanished_file_is_not_found() {
    let site = Site::new();
    site.check("/hello.txt", 200, "Hello, tide!");
    fs::remove_file(site.folder.path().join("public/hello.txt")).unwrap();
    // It is kept for a second.
    let code = process::eventually(|| match site.program.get("/hello.txt").code {
        200 => Err(io::ErrorKind::WouldBlock.into()),
        code => Ok(code),
    });
    assert_eq!(code, 404);
}

/// The operator learns which file it was.
#[test]
fn file_that_shrinks_while_it_leaves_stands_in_the_log() {
    let folder = TempFolder::new();
    let file = fs::File::create(folder.path().join("tide.bin")).unwrap();
    file.set_len(100 << 20).unwrap();
    let program = Program::start(&["static", folder.path().to_str().unwrap()]);
    let mut stream = program.connect();
    stream.write_all(b"GET /tide.bin HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the end, after {} bytes", head.len());
        head.extend_from_slice(&piece[..count]);
    }
    file.set_len(50 << 20).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let line = program.stderr.next_with("GET /tide.bin");
    assert!(line.contains(&(50 << 20).to_string()), "{line}");
}
