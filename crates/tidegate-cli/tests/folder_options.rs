//! The options of `tidegate static`, over real sockets.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::process::{Answer, Ended, Program, eventually, run, tidegate};
use support::temp_folder::TempFolder;

/// The fields by which a browser asks whether a page of another origin may read something.
const QUESTION: [&str; 2] = ["Origin: http://b.example", "Access-Control-Request-Method: GET"];
/// The field of `ebb:flow`, who is one of [`USERS`].
const EBB: &str = "Authorization: Basic ZWJiOmZsb3c=";

/// Serves a folder with these options.
fn serve(folder: &TempFolder, options: &[&str]) -> Program {
    folder.settle();
    let public = folder.path().join("public");
    Program::start(&[&["static", public.to_str().unwrap()], options].concat())
}

fn check(answer: &Answer, code: u16, content: &str) {
    assert_eq!((answer.code, answer.text().as_str()), (code, content), "{}", answer.head);
}

/// Asserts that a command line is refused with these words.
fn check_refused(options: &[&str], code: i32, words: &[&str]) {
    let Ended { code: found, stderr, .. } = run(&[&["static", "."], options].concat());
    assert_eq!(found, Some(code), "{options:?}: {stderr}");
    words.iter().for_each(|word| assert!(stderr.contains(word), "{options:?}: no {word} in {stderr}"));
}

#[test]
fn fields_of_the_operator_are_in_every_answer() {
    let folder = TempFolder::new();
    folder.write("public/a.txt", "a");
    let program = serve(&folder, &["--header", "X-Tide: high", "--header", "X-Content-Type-Options:none"]);
    for target in ["/a.txt", "/missing"] {
        assert_eq!(program.get(target).field("X-Tide"), Some("high"));
    }
    assert_eq!(program.get("/a.txt").head.matches("X-Content-Type-Options").count(), 1);
    let users = folder.write("users", USERS);
    let options = ["--header", "X-Tide: high", "--cors", "--auth", users.to_str().unwrap()];
    let program = serve(&folder, &options);
    let refused = program.get("/a.txt");
    assert_eq!((refused.code, refused.field("X-Tide")), (401, Some("high")));
    let question = program.ask("OPTIONS", "/a.txt", &QUESTION, b"");
    assert_eq!((question.code, question.field("X-Tide")), (204, Some("high")));
    fs::rename(folder.path().join("public"), folder.path().join("away")).unwrap();
    fs::remove_dir_all(folder.path().join("away")).unwrap();
    let gone = program.ask("GET", "/none", &[EBB], b"");
    assert_eq!((gone.code, gone.field("X-Tide")), (503, Some("high")));
    check_refused(&["--header", "nonsense"], 2, &["--header", "NAME:VALUE"]);
    check_refused(&["--header", "Content-Length: 3"], 2, &["the server's own"]);
}

#[test]
fn caching_is_said_by_pattern_and_never_of_what_is_missing() {
    let folder = TempFolder::new();
    for name in ["index.html", "app.3f2a9c1b.js", "assets/logo.png"] {
        folder.write(&format!("public/{name}"), name);
    }
    let program =
        serve(&folder, &["--cache-control", "*.html=no-cache", "--cache-control", "assets/**=max-age=60"]);
    let cache_control = |target: &str| program.get(target).field("Cache-Control").map(String::from);
    assert_eq!(cache_control("/").as_deref(), Some("no-cache"));
    assert_eq!(cache_control("/assets/logo.png").as_deref(), Some("max-age=60"));
    assert_eq!(cache_control("/app.3f2a9c1b.js").as_deref(), Some("max-age=31536000, immutable"));
    assert_eq!(cache_control("/gone.3f2a9c1b.js"), None);
    let tag = program.get("/").field("ETag").unwrap().to_string();
    let known = program.ask("GET", "/", &[&format!("If-None-Match: {tag}")], b"");
    assert_eq!((known.code, known.field("Cache-Control")), (304, Some("no-cache")));
}

#[test]
fn page_for_what_is_missing_is_the_folders_or_the_one_named() {
    let folder = TempFolder::new();
    folder.write("public/404.html", "own");
    folder.write("public/errors/gone.txt", "gone");
    let missing = serve(&folder, &[]).get("/missing");
    check(&missing, 404, "own");
    assert_eq!(missing.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(missing.field("ETag"), None);
    let missing = serve(&folder, &["--not-found", "errors/gone.txt"]).get("/missing");
    check(&missing, 404, "gone");
    check_refused(&["--not-found", "../x"], 2, &["below the folder"]);
}

#[test]
fn error_is_a_page_for_browsers_and_a_line_for_others() {
    let folder = TempFolder::new();
    folder.write("public/a.txt", "a");
    let program = serve(&folder, &[]);
    let page = program.ask("GET", "/missing", &["Accept: text/html,*/*;q=0.8"], b"");
    assert!(page.code == 404 && page.text().contains("<title>404 Not Found</title>"), "{}", page.text());
    assert_eq!(page.field("Vary"), Some("Accept"));
    check(&program.get("/missing"), 404, "404 Not Found\n");
    assert!(program.ask("POST", "/a.txt", &["Accept: text/html"], b"").text().contains("<h1>405"));
}

#[test]
fn single_page_is_served_for_paths_that_look_like_pages() {
    let folder = TempFolder::new();
    folder.write("public/index.html", "app");
    folder.write("public/a.txt", "a");
    let program = serve(&folder, &["--spa"]);
    for (target, code, content) in [
        ("/users/7", 200, "app"),
        ("/users/", 200, "app"),
        ("/a.txt", 200, "a"),
        ("/app.js", 404, "404 Not Found\n"),
    ] {
        check(&program.get(target), code, content);
    }
}

#[test]
fn folders_are_listed_only_where_that_is_wanted_and_their_pages_have_the_names_given() {
    let folder = TempFolder::new();
    folder.write("public/a/home.htm", "home");
    folder.write("public/b/x", "x");
    let program = serve(&folder, &["--listing", "off", "--index", "index.html", "--index", "home.htm"]);
    check(&program.get("/a/"), 200, "home");
    check(&program.get("/b/"), 404, "404 Not Found\n");
    check(&program.get("/b/x"), 200, "x");
}

#[test]
fn pages_need_no_extension_where_urls_are_clean() {
    let folder = TempFolder::new();
    folder.write("public/about.html", "about");
    folder.write("public/both", "bare");
    folder.write("public/both.html", "page");
    let program = serve(&folder, &["--clean-urls"]);
    check(&program.get("/about"), 200, "about");
    check(&program.get("/about.html"), 200, "about");
    check(&program.get("/both"), 200, "bare");
    assert_eq!((program.get("/about/").code, program.get("/none").code), (404, 404));
    assert_eq!(serve(&folder, &[]).get("/about").code, 404);
}

#[test]
fn paths_without_a_file_are_redirected_by_the_file_of_redirects() {
    let folder = TempFolder::new();
    folder.write("public/here.txt", "here");
    let rules = folder.write(
        "redirects",
        "# moved\n/old/* /new/:splat\n/here.txt /there 302\n/gone https://a.example/ 308\n/asked /b?c=d#e\n",
    );
    let program = serve(&folder, &["--redirects", rules.to_str().unwrap()]);
    for (target, code, location) in [
        ("/old/a/b", 301, Some("/new/a/b")),
        ("/gone", 308, Some("https://a.example/")),
        ("/old/a?x=%20y", 301, Some("/new/a?x=%20y")),
        ("/asked?x=y", 301, Some("/b?c=d#e")),
        ("/here.txt", 200, None),
    ] {
        let answer = program.get(target);
        assert_eq!((answer.code, answer.field("Location")), (code, location), "{target}");
    }
    let wrong = folder.write("wrong", "/a\n");
    check_refused(&["--redirects", wrong.to_str().unwrap()], 1, &["wrong, line 1"]);
    check_refused(&["--redirects", "/no/such/file"], 1, &["/no/such/file"]);
}

#[test]
fn other_origins_may_read_where_that_is_wanted() {
    let folder = TempFolder::new();
    folder.write("public/a.txt", "a");
    let program = serve(&folder, &["--cors"]);
    assert_eq!(program.get("/a.txt").field("Access-Control-Allow-Origin"), Some("*"));
    let answer = program.ask("OPTIONS", "/a.txt", &QUESTION, b"");
    assert_eq!((answer.code, answer.field("Access-Control-Allow-Methods")), (204, Some("GET, HEAD")));
    let one = serve(&folder, &["--cors=https://b.example"]).get("/a.txt");
    assert_eq!(one.field("Access-Control-Allow-Origin"), Some("https://b.example"));
    assert_eq!(serve(&folder, &[]).get("/a.txt").field("Access-Control-Allow-Origin"), None);
    // A browser asks first, without a password; and a page has to see that one is wanted.
    let users = folder.write("users", USERS);
    let program = serve(&folder, &["--cors", "--auth", users.to_str().unwrap()]);
    for (method, fields, code) in [("OPTIONS", &QUESTION[..], 204), ("GET", &[], 401), ("GET", &[EBB], 200)] {
        let answer = program.ask(method, "/a.txt", fields, b"");
        assert_eq!((answer.code, answer.field("Access-Control-Allow-Origin")), (code, Some("*")), "{method}");
    }
}

/// `htpasswd -nbB -C 4 ebb flow`, and `tide` with the password `high`.
const USERS: &str = "\
ebb:$2y$04$bkD7OyEnM36M2Oup7bw1JugM7Sz4G9sCLFB6pLpep6SJ1a7RPD5Ee
tide:$2y$04$WTMnYYYd/ggRC2x8lTnPC.6HybJrfiTw70kPzQGeY6fOGHoh9z5wO
";

#[test]
fn files_are_for_those_who_know_a_password() {
    let folder = TempFolder::new();
    folder.write("public/a.txt", "a");
    folder.write("public/app.3f2a9c1b.js", "js");
    let users = folder.write("users", USERS);
    let program = serve(&folder, &["--auth", users.to_str().unwrap()]);
    let ask = |field: &str| program.ask("GET", "/a.txt", &[field], b"");
    // No cache that others share may take this for everybody's.
    let hashed = program.ask("GET", "/app.3f2a9c1b.js", &[EBB], b"");
    assert_eq!(hashed.field("Cache-Control"), Some("max-age=31536000, immutable"));
    let refused = program.get("/a.txt");
    check(&refused, 401, "401 Unauthorized\n");
    assert!(refused.field("WWW-Authenticate").unwrap().starts_with("Basic realm="));
    // ebb:flow, twice: the second time it is known.
    for _ in 0..2 {
        check(&ask(EBB), 200, "a");
    }
    // ebb:high, nobody:flow, and no base64.
    for wrong in ["ZWJiOmhpZ2g=", "bm9ib2R5OmZsb3c=", "!"] {
        assert_eq!(ask(&format!("Authorization: Basic {wrong}")).code, 401, "{wrong}");
    }
    let plain = folder.write("plain", "ebb:flow\n");
    check_refused(&["--auth", plain.to_str().unwrap()], 1, &["line 1", "bcrypt"]);
}

/// `htpasswd -nbB -C 10 ebb flow`, without the name: slow enough that requests meet.
const SLOW_HASH: &str = "$2y$10$zbyLLXpFcLfkFTNqaMoHaeW0znhkosWCl4AF7RcTtpZRRbNipZhge";

#[test]
fn those_who_know_a_password_are_let_in_also_when_they_come_at_once() {
    let folder = TempFolder::new();
    folder.write("public/a.txt", "a");
    let users: String =
        ["ebb", "eba", "eaa", "dbb", "dba", "daa"].map(|name| format!("{name}:{SLOW_HASH}\n")).concat();
    let users = folder.write("users", users);
    // Each of the six, and then one of them six times.
    let of_each =
        ["ZWJiOmZsb3c=", "ZWJhOmZsb3c=", "ZWFhOmZsb3c=", "ZGJiOmZsb3c=", "ZGJhOmZsb3c=", "ZGFhOmZsb3c="];
    for credentials in [of_each, [of_each[0]; 6]] {
        let program = serve(&folder, &["--auth", users.to_str().unwrap()]);
        let ask = &|credentials: &str| {
            program.ask("GET", "/a.txt", &[&format!("Authorization: Basic {credentials}")], b"").code
        };
        let codes = thread::scope(|scope| {
            let requests = credentials.map(|credentials| scope.spawn(move || ask(credentials)));
            requests.map(|request| request.join().unwrap())
        });
        assert_eq!(codes, [200; 6]);
    }
}

#[test]
fn own_types_and_copies_to_keep() {
    let folder = TempFolder::new();
    folder.write("public/a.tide", "a");
    let program = serve(&folder, &["--media-type", ".tide=text/x-tide"]);
    let answer = program.get("/a.tide?download");
    assert_eq!(answer.field("Content-Type"), Some("text/x-tide; charset=utf-8"));
    assert_eq!(answer.field("Content-Disposition"), Some("attachment"));
    assert_eq!(program.get("/a.tide?other").field("Content-Disposition"), None);
}

#[test]
fn links_out_of_the_folder_are_named_once_and_followed_where_that_is_wanted() {
    let folder = TempFolder::new();
    folder.write("public/a.txt", "a");
    folder.write("public/.hidden/secret", "secret");
    let outside = folder.write("outside.js", "outside");
    let public = folder.path().join("public");
    symlink(&outside, public.join("out.js")).unwrap();
    symlink(".hidden/secret", public.join("shown")).unwrap();
    symlink("a.txt", public.join("inside")).unwrap();
    let program = serve(&folder, &[]);
    check(&program.get("/inside"), 200, "a");
    for _ in 0..2 {
        assert_eq!(program.get("/out.js").code, 404);
    }
    let warning = program.stderr.next_with("out.js");
    assert!(warning.contains("--follow-links anywhere"), "{warning}");
    assert_eq!(program.stderr.next_within(Duration::from_millis(50)), None);
    assert_eq!(program.get("/shown").code, 404);
    let program = serve(&folder, &["--follow-links", "anywhere"]);
    check(&program.get("/out.js"), 200, "outside");
    check(&program.get("/a.txt"), 200, "a");
    assert_eq!(program.get("/shown").code, 404);
}

#[test]
fn folder_that_was_exchanged_is_taken_up_on_sighup() {
    let folder = TempFolder::new();
    folder.write("one/a.txt", "one");
    folder.write("two/a.txt", "two");
    let public = folder.path().join("public");
    symlink("one", &public).unwrap();
    let program = serve(&folder, &[]);
    check(&program.get("/a.txt"), 200, "one");
    fs::remove_file(&public).unwrap();
    symlink("two", &public).unwrap();
    check(&program.get("/a.txt"), 200, "one");
    program.signal(Signal::HUP);
    eventually(|| match program.get("/a.txt").text().as_str() {
        "two" => Ok(()),
        other => Err(std::io::Error::other(other.to_string())),
    });
}

#[test]
fn access_log_in_a_file_is_opened_again_when_it_was_moved_away() {
    let folder = TempFolder::new();
    folder.write("public/a.txt", "a");
    let (log, old) = (folder.path().join("access.log"), folder.path().join("old.log"));
    let program = serve(&folder, &["--access-log-file", log.to_str().unwrap()]);
    for signal in [Signal::USR1, Signal::HUP] {
        assert_eq!(program.get("/a.txt").code, 200);
        await_line(&log);
        fs::rename(&log, &old).unwrap();
        program.signal(signal);
        // The signal is handled on a thread: until then lines go to the old file.
        eventually(|| {
            program.get("/a.txt");
            fs::metadata(&log).map(drop)
        });
    }
    let json = serve(&folder, &["--access-log", "json", "--access-log-file", log.to_str().unwrap()]);
    fs::write(&log, "").unwrap();
    json.get("/a.txt");
    assert!(await_line(&log).starts_with('{'));
    let missing = ["static", ".", "--access-log-file", "/no/such/folder/log"];
    let Ended { code, stderr, .. } = run(&missing);
    assert!(code == Some(1) && stderr.contains("/no/such/folder/log"), "{stderr}");
}

/// Waits until a log has a line, and returns what it has.
fn await_line(log: &std::path::Path) -> String {
    eventually(|| match fs::read_to_string(log)? {
        text if text.ends_with('\n') => Ok(text),
        text => Err(std::io::Error::other(text)),
    })
}

#[test]
fn unix_socket_has_the_mode_and_the_group_given() {
    let folder = TempFolder::new();
    folder.write("public/a.txt", "a");
    let path = folder.path().join("socket");
    let group = fs::metadata(folder.path()).unwrap().gid().to_string();
    let public = folder.path().join("public");
    let address = format!("unix:{}", path.display());
    let mut command = tidegate();
    command.args([
        "static",
        public.to_str().unwrap(),
        "-l",
        &address,
        "--socket-mode",
        "620",
        "--socket-group",
        &group,
    ]);
    let _program = Program::start_command(&mut command, 1);
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.gid().to_string()), (0o620, group));
    check_refused(&["--socket-mode", "660"], 2, &["none is listened on"]);
    check_refused(&["--socket-mode", "8", "-l", "unix:/tmp/x"], 2, &["octal"]);
}

#[test]
fn codings_that_lie_beside_a_file_are_sent_to_those_who_take_them() {
    let folder = TempFolder::new();
    folder.write("public/a.js", "as it is");
    folder.write("public/a.js.br", "0123456789");
    folder.write("public/a.js.gz", "gzip");
    // A frame that needs a window of 128 MiB.
    fs::write(folder.path().join("public/a.js.zst"), b"\x28\xb5\x2f\xfd\x04\x88").unwrap();
    let program = serve(&folder, &["--precompressed", "--cache-control", "*.js=no-cache"]);
    let ask = |fields: &[&str]| program.ask("GET", "/a.js", fields, b"");
    let mut tags = Vec::new();
    for (accept, content, coding) in [
        ("Accept-Encoding: gzip, deflate, br, zstd", "0123456789", Some("br")),
        ("Accept-Encoding: gzip, br;q=0.5", "gzip", Some("gzip")),
        ("Accept-Encoding: br;q=0, identity", "as it is", None),
    ] {
        let answer = ask(&[accept]);
        check(&answer, 200, content);
        assert_eq!(answer.field("Content-Encoding"), coding, "{accept}");
        assert_eq!(answer.field("Content-Type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(
            (answer.field("Vary"), answer.field("Cache-Control")),
            (Some("Accept-Encoding"), Some("no-cache"))
        );
        tags.push(answer.field("ETag").unwrap().to_string());
    }
    assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");
    let brotli = "Accept-Encoding: br";
    let part = ask(&[brotli, "Range: bytes=2-5"]);
    check(&part, 206, "2345");
    assert_eq!(
        (part.field("Content-Encoding"), part.field("Content-Range")),
        (Some("br"), Some("bytes 2-5/10"))
    );
    assert_eq!(ask(&[brotli, &format!("If-None-Match: {}", tags[0])]).code, 304);
    assert_eq!(ask(&[brotli, &format!("If-None-Match: {}", tags[2])]).code, 200);
    // An edit of the file makes its codings those of another content.
    let later = std::time::SystemTime::now() + Duration::from_secs(10);
    fs::File::options()
        .append(true)
        .open(folder.path().join("public/a.js"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    // It is kept for a second.
    let is_noticed = || match ask(&[brotli]).text().as_str() {
        "as it is" => Ok(()),
        other => Err(std::io::Error::other(other.to_string())),
    };
    eventually(is_noticed);
    assert_eq!(serve(&folder, &[]).ask("GET", "/a.js", &["Accept-Encoding: br"], b"").field("Vary"), None);
}
