//! Tests the whole adapter by hand, with a folder on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tidegate::gateway::MemoryAccount;
use tidegate::now::Moment;
use tidegate_middleware::Mounts;

use super::StaticFiles;
use super::renderer::{Listing, Version};
use super::view::View;
use crate::recording::{Recorded, ask_at};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A folder of this shape, removed when it is dropped:
///
/// ```text
/// secret.txt
/// public/  hello.txt  empty  data.bin  photo.JPG  a b&c<d>.txt  .hidden  back\slash
///          bare/.keep  indexed/index.html  .well-known/x
/// ```
struct Site {
    base: PathBuf,
    files: StaticFiles,
    now: Moment,
}

impl Site {
    fn new() -> Site {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("tidegate-{}-{number}", std::process::id()));
        let public = base.join("public");
        for folder in ["bare", "indexed", ".well-known"] {
            fs::create_dir_all(public.join(folder)).unwrap();
        }
        for (name, content) in [
            ("../secret.txt", "secret"),
            ("hello.txt", "Hello, tide!"),
            ("empty", ""),
            ("data.bin", "0123456789"),
            ("photo.JPG", "jpeg"),
            ("a b&c<d>.txt", "odd"),
            (".hidden", "hidden"),
            ("bare/.keep", ""),
            ("indexed/index.html", "<p>index"),
            (".well-known/x", "known"),
        ] {
            fs::write(public.join(name), content).unwrap();
        }
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        fs::File::options()
            .write(true)
            .open(public.join("hello.txt"))
            .unwrap()
            .set_modified(modified)
            .unwrap();
        let files = StaticFiles::new(&public).unwrap();
        Site { base, files, now: Moment::START }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.join("public").join(name)
    }

    fn ask(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> Recorded {
        ask_at(self.now, &mut self.files, method, target, fields).unwrap()
    }

    fn get(&mut self, target: &str) -> Recorded {
        self.ask("GET", target, &[])
    }

    /// Compares the status, and the content if the status is no error.
    fn check(&mut self, target: &str, code: u16, content: &str) {
        let answer = self.get(target);
        assert_eq!(answer.code, code, "{target}");
        if code < 300 {
            assert_eq!(answer.text(), content, "{target}");
        }
    }

    /// Sends a request for a range of the ten bytes `0123456789`.
    fn check_range(&mut self, fields: &[(&str, &str)], code: u16, range: Option<&str>, sent: &str) {
        let answer = self.ask("GET", "/data.bin", fields);
        assert_eq!((answer.code, answer.field("Content-Range")), (code, range), "{fields:?}");
        if code < 300 {
            assert_eq!(answer.text(), sent, "{fields:?}");
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

#[test]
fn file_is_served_with_type_length_and_validators() {
    let mut site = Site::new();
    let answer = site.get("/hello.txt?ignored=1");
    assert_eq!((answer.code, answer.text().as_str()), (200, "Hello, tide!"));
    assert_eq!(answer.length, Some(12));
    assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("Last-Modified"), Some(MODIFIED));
    assert_eq!(answer.field("Accept-Ranges"), Some("bytes"));
    assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
    assert!(answer.field("ETag").unwrap().ends_with("-c\""));
    assert_eq!(site.get("/empty").field("Content-Type"), Some("application/octet-stream"));
    assert_eq!(site.get("/photo.JPG").field("Content-Type"), Some("image/jpeg"));
}

#[test]
fn paths_are_decoded_once_and_lead_to_files() {
    let mut site = Site::new();
    site.check("/a%20b%26c%3Cd%3E.txt", 200, "odd");
    site.check("//hello.txt", 200, "Hello, tide!");
    site.check("http://host/hello.txt", 200, "Hello, tide!");
    site.check("/.well-known/x", 200, "known");
    site.check("/indexed/", 200, "<p>index");
    site.check("/%2568ello.txt", 404, "");
    site.check("/hello.txt/", 404, "");
    site.check("/hello.txt/x", 404, "");
    site.check("/none", 404, "");
    site.check(&format!("/{}", "x".repeat(5_000)), 404, "");
}

#[test]
fn paths_out_of_the_folder_lead_nowhere() {
    let mut site = Site::new();
    for target in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/bare/../../secret.txt",
        "/bare/..%2f..%2fsecret.txt",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/indexed%2findex.html",
        "http://host/../secret.txt",
    ] {
        site.check(target, 404, "");
    }
}

#[test]
fn hidden_names_are_not_there() {
    let mut site = Site::new();
    site.check("/.hidden", 404, "");
    site.check("/bare/.keep", 404, "");
    site.check("/.", 404, "");
    assert!(!site.get("/").text().contains("hidden"));
    assert!(site.get("/bare/").text().contains("Nothing here"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_inside_and_refused_outside() {
    use std::os::unix::fs::symlink;
    let mut site = Site::new();
    let inside = site.path("hello.txt");
    symlink("../hello.txt", site.path("indexed/relative")).unwrap();
    symlink(&inside, site.path("absolute")).unwrap();
    symlink(site.path("indexed"), site.path("folder")).unwrap();
    symlink("../secret.txt", site.path("out-relative")).unwrap();
    symlink(site.base.join("secret.txt"), site.path("out-absolute")).unwrap();
    symlink(&site.base, site.path("out-folder")).unwrap();
    symlink("circle", site.path("circle")).unwrap();
    symlink("gone", site.path("broken")).unwrap();
    site.check("/indexed/relative", 200, "Hello, tide!");
    site.check("/absolute", 200, "Hello, tide!");
    site.check("/folder/", 200, "<p>index");
    for target in ["/out-relative", "/out-absolute", "/out-folder/secret.txt", "/circle", "/broken"] {
        site.check(target, 404, "");
    }
    let listing = site.get("/").text();
    assert!(listing.contains("\"absolute\"") && listing.contains("\"folder/\""));
    for name in ["out-", "circle", "broken"] {
        assert!(!listing.contains(name), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    let mut site = Site::new();
    let made = std::process::Command::new("mkfifo").arg(site.path("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(site.path("socket")).unwrap();
    site.check("/pipe", 403, "");
    site.check("/socket", 403, "");
    let listing = site.get("/").text();
    assert!(!listing.contains("pipe") && !listing.contains("socket"));
}

#[test]
fn other_methods_are_refused_with_the_ones_allowed() {
    let mut site = Site::new();
    for (method, target) in
        [("POST", "/hello.txt"), ("DELETE", "/"), ("OPTIONS", "*"), ("CONNECT", "a:1"), ("get", "/")]
    {
        let answer = site.ask(method, target, &[]);
        assert_eq!((answer.code, answer.field("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn empty_path_is_the_folder_itself() {
    let answer = Site::new().get("http://host");
    assert_eq!(answer.code, 200);
    assert!(answer.text().contains("Index of /<"));
}

#[test]
fn folder_without_its_slash_is_redirected_to_the_same_host() {
    let mut site = Site::new();
    for (target, location) in [
        ("/indexed", "/indexed/"),
        ("/indexed?a=b", "/indexed/?a=b"),
        ("//indexed", "/indexed/"),
        ("http://host/bare", "/bare/"),
    ] {
        let answer = site.get(target);
        assert_eq!((answer.code, answer.field("Location")), (301, Some(location)), "{target}");
    }
}

#[test]
fn listing_is_sorted_escaped_and_linked() {
    let mut site = Site::new();
    fs::write(site.path("Zebra.txt"), vec![b'x'; 2_048]).unwrap();
    fs::write(site.path("javascript:alert(1)"), "").unwrap();
    let answer = site.get("/");
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(answer.field("Content-Security-Policy").unwrap().starts_with("default-src 'none'"));
    let html = answer.text();
    assert!(html.contains("<a href=\"a%20b%26c%3Cd%3E.txt\">a b&amp;c&lt;d&gt;.txt</a>"));
    assert!(html.contains("<a href=\"javascript%3Aalert%281%29\">"));
    assert!(html.contains("2.0 KiB") && html.contains("1994-11-06 08:49"));
    assert!(!html.contains("../"));
    check_order(&html, &["bare/", "indexed/", "data.bin", "empty", "hello.txt", "photo.JPG", "Zebra.txt"]);
    assert!(site.get("/bare/").text().contains("href=\"../\""));
}

/// Asserts that a listing shows these names in this order.
fn check_order(html: &str, names: &[&str]) {
    let place = |name: &&str| {
        html.find(&format!("<a href=\"{name}\"")).unwrap_or_else(|| panic!("no {name}: {html}"))
    };
    let places: Vec<_> = names.iter().map(place).collect();
    assert!(places.is_sorted(), "{names:?}: {html}");
}

#[test]
fn listing_is_sorted_as_the_query_wants_and_leads_to_other_orders() {
    let mut site = Site::new();
    for (name, bytes) in [("file-10", 1), ("file-2", 3), ("file-1", 2)] {
        fs::write(site.path(&format!("bare/{name}")), vec![b'x'; bytes]).unwrap();
        let file = fs::File::open(site.path(&format!("bare/{name}"))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(1_000 * bytes as u64)).unwrap();
    }
    fs::create_dir(site.path("bare/sub")).unwrap();
    let by_name = site.get("/bare/").text();
    check_order(&by_name, &["../", "sub/", "file-1", "file-2", "file-10"]);
    assert!(
        by_name.contains("href=\"?sort=size\"") && by_name.contains("href=\"?sort=name&amp;order=desc\"")
    );
    check_order(&site.get("/bare/?sort=name&order=desc").text(), &["file-10", "file-2", "file-1"]);
    check_order(&site.get("/bare/?sort=size").text(), &["sub/", "file-10", "file-1", "file-2"]);
    check_order(&site.get("/bare/?sort=date").text(), &["sub/", "file-2", "file-1", "file-10"]);
    check_order(&site.get("/bare/?sort=date&order=desc").text(), &["sub/", "file-10", "file-1", "file-2"]);
}

#[test]
fn listing_leads_back_to_each_folder_on_its_way() {
    let mut site = Site::new();
    fs::create_dir_all(site.path("a/b <c>/d")).unwrap();
    let html = site.get("/a/b%20%3Cc%3E/d/").text();
    let way = "<a href=\"../../../\">/</a><a href=\"../../\">a/</a><a href=\"../\">b &lt;c&gt;/</a>d/</h1>";
    assert!(html.contains(way), "{html}");
}

#[test]
fn program_that_asks_for_json_gets_it() {
    let mut site = Site::new();
    fs::write(site.path("bare/a \"b\""), "12345").unwrap();
    fs::create_dir(site.path("bare/sub")).unwrap();
    let answer = site.ask("GET", "/bare/", &[("Accept", "application/json")]);
    assert_eq!(answer.field("Content-Type"), Some("application/json"));
    assert_eq!(answer.field("Vary"), Some("Accept"));
    let value: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(
        (&value["path"], &value["pages"], &value["cut"]),
        (&"/bare/".into(), &1.into(), &false.into())
    );
    assert_eq!(
        (&value["entries"][0]["name"], &value["entries"][0]["type"]),
        (&"sub".into(), &"folder".into())
    );
    assert_eq!((&value["entries"][1]["name"], &value["entries"][1]["size"]), (&"a \"b\"".into(), &5.into()));
}

#[test]
fn long_listing_has_pages() {
    let mut site = Site::new();
    for number in 0..5_010 {
        fs::write(site.path(&format!("bare/{number}")), "").unwrap();
    }
    let html = site.get("/bare/").text();
    assert!(html.contains("Page 1 of 6 <a rel=\"next\" href=\"?sort=name&amp;page=2\">"));
    assert_eq!(html.matches("<tr>").count(), 1_002);
    check_order(&html, &["0", "9", "10", "999"]);
    let last = site.get("/bare/?page=6").text();
    assert_eq!(last.matches("<tr>").count(), 12);
    check_order(&last, &["5000", "5009"]);
    // There is none after it.
    assert_eq!(site.get("/bare/?page=999").text(), last);
}

#[test]
fn hidden_names_take_no_place_in_a_listing() {
    let mut site = Site::new();
    for number in 0..5_010 {
        fs::write(site.path(&format!("bare/.{number}")), "").unwrap();
    }
    // No path leads to this one.
    fs::write(site.path("bare/a\\b"), "").unwrap();
    fs::write(site.path("bare/shown"), "").unwrap();
    let html = site.get("/bare/").text();
    assert!(html.contains(">shown<") && !html.contains("Page 1") && !html.contains("a%5C"), "{html}");
}

#[test]
fn ranges_select_part_of_the_file() {
    let mut site = Site::new();
    site.check_range(&[("Range", "bytes=2-5")], 206, Some("bytes 2-5/10"), "2345");
    site.check_range(&[("Range", "bytes=-3")], 206, Some("bytes 7-9/10"), "789");
    site.check_range(&[("Range", "bytes=7-")], 206, Some("bytes 7-9/10"), "789");
    site.check_range(&[("Range", "bytes=10-")], 416, Some("bytes */10"), "");
    // So close together that they are sent as one.
    site.check_range(&[("Range", "bytes=0-1,3-4")], 206, Some("bytes 0-4/10"), "01234");
    site.check_range(&[("Range", "lines=1")], 200, None, "0123456789");
    site.check_range(&[("Range", "bytes=0-1"), ("Range", "bytes=0-1")], 200, None, "0123456789");
    let answer = site.ask("HEAD", "/data.bin", &[("Range", "bytes=2-5")]);
    assert_eq!((answer.code, answer.length), (200, Some(10)));
}

#[test]
fn several_ranges_are_parts_with_a_head_each_from_memory_and_from_the_disk() {
    let mut site = Site::new();
    for length in [1_000, 200_000] {
        let content: Vec<u8> = (0..length).map(|number| b'a' + (number % 23) as u8).collect();
        fs::write(site.path("parts.txt"), &content).unwrap();
        site.now = site.now + Duration::from_secs(1);
        let answer = site.ask("GET", "/parts.txt", &[("Range", "bytes=-5, 0-4, 300-499")]);
        assert_eq!((answer.code, answer.field("Content-Range")), (206, None));
        let boundary =
            answer.field("Content-Type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
        assert_eq!(answer.fields.iter().filter(|(name, _)| name == "Content-Type").count(), 1);
        let mut expected = Vec::new();
        for (first, last) in [(length - 5, length - 1), (0, 4), (300, 499)] {
            let range = format!("Content-Range: bytes {first}-{last}/{length}\r\n\r\n");
            let head = format!("\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n{range}");
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(&content[first..=last]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(answer.content == expected, "{}", answer.content.escape_ascii());
        let declared = answer.field("Content-Length").map(|length| length.parse().unwrap());
        assert_eq!(answer.length.or(declared), Some(expected.len() as u64));
    }
}

#[test]
fn range_of_another_version_is_the_whole_file() {
    let mut site = Site::new();
    let answer = site.get("/data.bin");
    let (tag, date) = (answer.field("ETag").unwrap(), answer.field("Last-Modified").unwrap());
    let range = ("Range", "bytes=2-5");
    site.check_range(&[range, ("If-Range", tag)], 206, Some("bytes 2-5/10"), "2345");
    site.check_range(&[range, ("If-Range", date)], 200, None, "0123456789");
    site.check_range(&[range, ("If-Range", "\"other\"")], 200, None, "0123456789");
    site.check_range(&[range, ("If-Range", MODIFIED)], 200, None, "0123456789");
}

#[test]
fn known_version_is_not_sent_again() {
    let mut site = Site::new();
    let tag = site.get("/hello.txt").field("ETag").unwrap().to_string();
    for fields in
        [[("If-None-Match", tag.as_str())], [("If-None-Match", "*")], [("If-Modified-Since", MODIFIED)]]
    {
        for method in ["GET", "HEAD"] {
            let answer = site.ask(method, "/hello.txt", &fields);
            assert_eq!((answer.code, answer.content.len()), (304, 0), "{fields:?}");
            assert_eq!(answer.field("ETag"), Some(tag.as_str()));
        }
    }
    let fields = [("If-None-Match", tag.as_str()), ("Range", "bytes=0-1")];
    assert_eq!(site.ask("GET", "/hello.txt", &fields).code, 304);
    assert_eq!(site.ask("GET", "/hello.txt", &[("If-None-Match", "\"x\"")]).code, 200);
    assert_eq!(site.ask("GET", "/hello.txt", &[("If-Match", "\"x\"")]).code, 412);
}

#[test]
fn changed_file_has_another_tag() {
    let mut site = Site::new();
    let before = site.get("/data.bin").field("ETag").unwrap().to_string();
    fs::write(site.path("data.bin"), "abcdefghij").unwrap();
    // For a moment it is what it was, tag and content.
    let answer = site.get("/data.bin");
    assert_eq!((answer.field("ETag"), answer.text().as_str()), (Some(before.as_str()), "0123456789"));
    site.now = site.now + Duration::from_secs(1);
    let answer = site.get("/data.bin");
    assert!(answer.field("ETag") != Some(before.as_str()) && answer.text() == "abcdefghij");
}

#[test]
fn vanished_file_is_not_found() {
    let mut site = Site::new();
    site.check("/data.bin", 200, "0123456789");
    fs::remove_file(site.path("data.bin")).unwrap();
    site.now = site.now + Duration::from_secs(1);
    site.check("/data.bin", 404, "");
}

/// Root can read everything, so this checks the translation of errors, not the disk.
#[test]
fn errors_of_the_system_become_statuses() {
    use std::io::ErrorKind;
    for (kind, expected) in [
        (ErrorKind::NotFound, Some(404)),
        (ErrorKind::NotADirectory, Some(404)),
        (ErrorKind::InvalidFilename, Some(404)),
        (ErrorKind::PermissionDenied, Some(403)),
        (ErrorKind::StaleNetworkFileHandle, Some(503)),
        (ErrorKind::OutOfMemory, None),
    ] {
        assert_eq!(super::refusal::status_of(&kind.into()), expected, "{kind}");
    }
}

#[test]
fn what_is_no_folder_cannot_be_served() {
    let site = Site::new();
    let error = StaticFiles::new(site.path("none")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains(&*site.path("none").to_string_lossy()), "{error}");
    assert!(StaticFiles::new(site.path("hello.txt")).is_err());
    assert!(StaticFiles::new(Path::new("")).is_err());
}

#[test]
fn head_of_a_listing_renders_nothing() {
    let mut site = Site::new();
    let answer = site.ask("HEAD", "/", &[]);
    assert_eq!((answer.code, answer.length, answer.content.len()), (200, None, 0));
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert!(site.files.renderer.is_at_rest());
    assert_eq!(site.get("/").code, 200);
    assert!(!site.files.renderer.is_at_rest());
}

/// The page counts once, however many read it, and although none of their connections owns it.
#[test]
fn page_of_a_listing_counts_once_and_as_long_as_it_is_read() {
    let site = Site::new();
    let account = MemoryAccount::default();
    let version = Version { device: 0, inode: 1, modified: None };
    let (renderer, folder) = (&site.files.renderer, &site.files.folder);
    let listing = renderer
        .ask(folder, (Path::new("."), View::default()), version, Moment::START, Some(&account))
        .unwrap();
    let ready = |listing: &Listing| loop {
        match listing.page() {
            Some(page) => return page.unwrap(),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let (one, other) = (ready(&listing), ready(&listing));
    assert_eq!(account.bytes(), one.len());
    drop(one);
    assert_eq!(account.bytes(), other.len());
    drop(other);
    assert_eq!(account.bytes(), 0);
}

#[test]
fn listing_is_kept_until_its_folder_changes() {
    let mut site = Site::new();
    let page = |site: &mut Site| site.get("/bare/").text();
    // The tick of the file system's clock in which it was made is long gone.
    let made = fs::File::open(site.path("bare")).unwrap();
    made.set_modified(SystemTime::now() - Duration::from_secs(10)).unwrap();
    assert!(page(&mut site).contains("Nothing here."));
    fs::write(site.path("bare/new"), "").unwrap();
    assert!(page(&mut site).contains(">new<"));
    // The folder does not tell that an entry has grown: that is seen a moment later.
    fs::write(site.path("bare/new"), "1234567").unwrap();
    assert!(page(&mut site).contains(">0 B<"));
    site.now = site.now + Duration::from_secs(1);
    assert!(page(&mut site).contains(">7 B<"));
}

#[test]
fn folder_that_was_removed_is_unavailable_until_it_is_there_again() {
    let mut site = Site::new();
    fs::remove_dir_all(site.base.join("public")).unwrap();
    for target in ["/", "/hello.txt", "/none", "/bare/"] {
        site.check(target, 503, "");
    }
    assert_eq!(site.ask("HEAD", "/", &[]).code, 503);
    fs::create_dir(site.base.join("public")).unwrap();
    fs::write(site.path("hello.txt"), "new").unwrap();
    site.check("/hello.txt", 200, "new");
    site.check("/none", 404, "");
}

#[test]
fn mount_point_without_its_slash_is_elsewhere_also_when_its_index_is_kept() {
    let site = Site::new();
    let files = StaticFiles::new(site.path("indexed")).unwrap();
    let mut mounts = Mounts::new().at("/files", files);
    let mut ask = |target: &str| ask_at(site.now, &mut mounts, "GET", target, &[]).unwrap();
    assert_eq!(ask("/files/").text(), "<p>index");
    let moved = ask("/files");
    assert_eq!((moved.code, moved.field("Location")), (301, Some("/files/")));
}
