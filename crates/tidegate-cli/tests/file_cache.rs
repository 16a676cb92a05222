//! Tests what `tidegate static` keeps of files, over sockets, while somebody changes them.

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::process::{self, Answer, Program, command};
use support::temp_folder::TempFolder;

/// Time for which the changes of one kind go on.
const LONG_ENOUGH: Duration = Duration::from_millis(600);
/// Lengths of a file that is kept with its content, and of one that is kept as a descriptor.
const LENGTHS: [usize; 2] = [1_000, 100_000];

fn serve(folder: &Path, options: &[&str]) -> Program {
    Program::start(&[&["static", folder.to_str().unwrap()], options].concat())
}

/// Fewest answers that show anything, however slow the machine is.
const ANSWERS_MIN: usize = 10;

/// Asks for a file over and over while `change` is called with 0, 1, 2 …; returns all answers.
fn ask_during(program: &Program, target: &str, mut change: impl FnMut(usize)) -> Vec<Answer> {
    let (is_over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let ask = || {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                answers.push(program.get(target));
                count.fetch_add(1, Ordering::Relaxed);
            }
            answers
        };
        let clients = [scope.spawn(ask), scope.spawn(ask)];
        let begun = Instant::now();
        let mut number = 0;
        let is_enough = || begun.elapsed() >= LONG_ENOUGH && count.load(Ordering::Relaxed) >= ANSWERS_MIN;
        while !is_enough() && begun.elapsed() < process::PATIENCE {
            change(number);
            number += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// Asks until an answer is as it should be: what was kept holds for a moment.
fn eventually(program: &Program, target: &str, is_right: impl Fn(&Answer) -> bool) {
    let begun = Instant::now();
    loop {
        let answer = program.get(target);
        if is_right(&answer) {
            return;
        }
        assert!(begun.elapsed() < process::PATIENCE, "{target}: {} {}", answer.code, answer.text());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Checks that each tag stands for one content, and returns how many there were.
fn versions(answers: &[Answer]) -> usize {
    let mut known: HashMap<&str, &[u8]> = HashMap::new();
    for answer in answers.iter().filter(|answer| answer.code == 200) {
        assert_eq!(answer.field("Content-Length").unwrap(), answer.content.len().to_string());
        let (tag, content) = (answer.field("ETag").unwrap(), &answer.content[..]);
        assert!(*known.entry(tag).or_insert(content) == content, "two contents under {tag}");
    }
    known.len()
}

#[test]
fn tag_and_content_agree_while_a_file_is_replaced() {
    for length in LENGTHS {
        for cache in ["1s", "5ms", "off"] {
            let folder = TempFolder::new();
            folder.write("file", vec![b'a'; length]);
            let program = serve(folder.path(), &["--file-cache", cache]);
            let answers = ask_during(&program, "/file", |number| {
                let next = folder.write("next", vec![b'a' + (number % 26) as u8; length]);
                fs::rename(next, folder.path().join("file")).unwrap();
            });
            assert!(answers.iter().all(|answer| answer.code == 200 && answer.content.len() == length));
            let is_one = |content: &[u8]| content.iter().all(|byte| *byte == content[0]);
            assert!(answers.iter().all(|answer| is_one(&answer.content)), "a mixture, with {cache}");
            let count = versions(&answers);
            assert!(count > 1 || cache == "1s" && length == LENGTHS[0], "{count} with {cache}");
        }
    }
}

/// Only content in memory can agree: what the system sends is what stands in the file when it leaves.
#[test]
fn tag_and_content_agree_while_a_file_is_written_to() {
    for cache in ["1s", "5ms", "off"] {
        let folder = TempFolder::new();
        let path = folder.write("file", vec![b'a'; 1_000]);
        let program = serve(folder.path(), &["--file-cache", cache]);
        let answers = ask_during(&program, "/file", |number| {
            // Truncated first, then filled: as an editor does it.
            fs::write(&path, vec![b'a' + (number % 26) as u8; 1_000]).unwrap();
            if number % 4 == 0 {
                thread::sleep(Duration::from_millis(3));
            }
        });
        versions(&answers);
        for answer in answers.iter().filter(|answer| answer.code == 200) {
            let tag = answer.field("ETag").unwrap();
            let length = format!("-{:x}\"", answer.content.len());
            assert!(tag.ends_with(&length), "{tag} for {} bytes", answer.content.len());
        }
    }
}

/// A file of sysfs says that it is as long as a page of memory, and ends long before.
#[cfg(target_os = "linux")]
#[test]
fn file_that_is_shorter_than_it_says_is_no_empty_answer() {
    let program = serve(Path::new("/sys/devices/system/cpu"), &["--file-cache", "1h"]);
    for _ in 0..2 {
        let mut stream = program.connect();
        stream.write_all(b"GET /online HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        // The connection may be reset.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains("Content-Length: 0\r\n"), "{answer}");
    }
}

#[test]
fn length_and_tag_of_a_file_that_is_kept_as_a_descriptor_are_those_of_now() {
    let folder = TempFolder::new();
    let path = folder.write("file", vec![b'a'; 100_000]);
    folder.settle();
    let program = serve(folder.path(), &["--file-cache", "1h"]);
    let before = program.get("/file");
    assert_eq!((before.code, before.content.len()), (200, 100_000));
    fs::File::options().write(true).open(&path).unwrap().set_len(70_000).unwrap();
    let shorter = program.get("/file");
    assert_eq!((shorter.content.len(), shorter.field("Content-Length")), (70_000, Some("70000")));
    assert_ne!(before.field("ETag"), shorter.field("ETag"));
    fs::remove_file(&path).unwrap();
    assert_eq!(program.get("/file").code, 404);
}

#[test]
fn what_is_removed_or_replaced_by_a_pipe_is_seen_a_moment_later() {
    let folder = TempFolder::new();
    let program = serve(folder.path(), &["--file-cache", "50ms"]);
    for name in ["removed", "pipe", "folder"] {
        let path = folder.write(name, "content");
        let target = format!("/{name}");
        assert_eq!(program.get(&target).text(), "content");
        fs::remove_file(&path).unwrap();
        let code = match name {
            "removed" => 404,
            "folder" => {
                fs::create_dir(&path).unwrap();
                301
            }
            _ => {
                assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
                403
            }
        };
        eventually(&program, &target, |answer| answer.code == code);
    }
    // The index of a folder goes with it.
    folder.write("site/index.html", "index");
    assert_eq!(program.get("/site/").text(), "index");
    fs::rename(folder.path().join("site"), folder.path().join("moved")).unwrap();
    eventually(&program, "/site/", |answer| answer.code == 404);
}

#[test]
fn links_that_are_turned_outwards_lead_nowhere() {
    let folder = TempFolder::new();
    folder.write("secret/file", "secret");
    folder.write("public/inside/file", "inside");
    let (public, spare) = (folder.path().join("public"), folder.path().join("spare"));
    let turn = |link: &str, target: &str| {
        symlink(target, &spare).unwrap();
        fs::rename(&spare, public.join(link)).unwrap();
    };
    for cache in ["1s", "1ms"] {
        let program = serve(&public, &["--file-cache", cache]);
        for (link, target, places) in [
            ("link", "/link", ["inside/file", "../secret/file"]),
            ("folder", "/folder/file", ["inside", "../secret"]),
        ] {
            turn(link, places[0]);
            assert_eq!(program.get(target).text(), "inside");
            let answers = ask_during(&program, target, |number| turn(link, places[number % 2]));
            assert!(answers.iter().all(|answer| !answer.text().contains("secret")));
            turn(link, places[1]);
            eventually(&program, target, |answer| answer.code == 404);
        }
    }
}

#[test]
fn what_is_kept_goes_with_its_folder() {
    let folder = TempFolder::new();
    let (public, other) = (folder.path().join("public"), folder.path().join("other"));
    folder.write("public/file", "old");
    folder.write("other/file", "new");
    folder.settle();
    let program = serve(&public, &["--file-cache", "1h", "--reactors", "1"]);
    let get = |target: &str| {
        let answer = program.get(target);
        (answer.code, answer.text())
    };
    assert_eq!(get("/file"), (200, "old".to_string()));
    fs::remove_dir_all(&public).unwrap();
    assert_eq!(get("/none").0, 503);
    assert_eq!(get("/file").0, 503);
    fs::rename(&other, &public).unwrap();
    assert_eq!(get("/file"), (200, "new".to_string()));
    // Put in its place between two requests.
    fs::remove_dir_all(&public).unwrap();
    folder.write("public/file", "newest");
    assert_eq!(get("/none").0, 404);
    assert_eq!(get("/file"), (200, "newest".to_string()));
}

#[cfg(target_os = "linux")]
#[test]
fn descriptors_are_few_where_few_are_allowed() {
    let folder = TempFolder::new();
    for number in 0..60 {
        folder.write(&format!("{number}"), vec![b'x'; 100_000]);
    }
    folder.settle();
    let script = format!(
        "ulimit -n 64; exec {} static {} --file-cache 1h --listen 127.0.0.1:0",
        process::path(),
        folder.path().display()
    );
    let program = Program::start_command(command("sh").args(["-c", &script]), 1);
    for _ in 0..3 {
        for number in 0..60 {
            assert_eq!(program.get(&format!("/{number}")).content.len(), 100_000);
        }
    }
    let descriptors = fs::read_dir(format!("/proc/{}/fd", program.id())).unwrap();
    let is_kept = |target: &Path| target.starts_with(folder.path()) && target != folder.path();
    let kept = descriptors.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        fs::read_link(path).is_ok_and(|target| is_kept(&target))
    });
    assert_eq!(kept.count(), 64 / 8);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_bounded_by_a_quarter_of_what_the_server_may_hold() {
    let folder = TempFolder::new();
    for number in 0..1_600 {
        folder.write(&format!("{number}"), vec![b'x'; 15_000]);
    }
    let program = serve(folder.path(), &["--memory-max", "8m"]);
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    program.get("/0");
    let before = resident();
    for number in 0..1_600 {
        assert_eq!(program.get(&format!("/{number}")).content.len(), 15_000);
    }
    // All of them are 24 MB.
    assert!(resident() < before + 6_000, "{before} KiB, {} KiB", resident());
}
