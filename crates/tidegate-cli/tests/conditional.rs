//! Tests conditional and range requests by a table, against nginx, lighttpd and h2o, too, as far as they are installed.
//!
//! The file has 1,000 bytes and was modified on Sun, 06 Nov 1994 08:49:37 GMT; `{tag}` is what each server calls it. Where a
//! peer answers in another way, the table says so, and why tidegate does not.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use support::process::{self, Answer, Program};
use support::temp_folder::TempFolder;

/// One request, its answer, and the peers that answer in another way.
struct Row {
    request: &'static [&'static str],
    /// The status, and Content-Range or `multipart`.
    answer: &'static str,
    peers: &'static [(&'static str, &'static str)],
}

const fn row(
    request: &'static [&'static str],
    answer: &'static str,
    peers: &'static [(&'static str, &'static str)],
) -> Row {
    Row { request, answer, peers }
}

const FIRST: &str = "206 bytes 0-4/1000";
const BEYOND: &str = "416 bytes */1000";

const TABLE: &[Row] = &[
    row(&["GET"], "200", &[]),
    row(&["GET", "If-None-Match: {tag}"], "304", &[]),
    // h2o compares the whole field with its tag; a list, a weak tag and * are RFC 9110 §13.1.2.
    row(&["GET", "If-None-Match: W/{tag}"], "304", &[("h2o", "200")]),
    row(&["GET", "If-None-Match: \"x\", {tag}"], "304", &[("h2o", "200")]),
    row(&["GET", "If-None-Match: *"], "304", &[("h2o", "200")]),
    row(&["GET", "If-None-Match: \"x\"", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], "200", &[]),
    row(&["GET", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], "304", &[]),
    // h2o knows one form of dates; a recipient must know three (§5.6.7).
    row(&["GET", "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"], "304", &[("h2o", "200")]),
    row(&["GET", "If-Modified-Since: Sun Nov  6 08:49:37 1994"], "304", &[("h2o", "200")]),
    row(&["GET", "If-Modified-Since: Sat, 05 Nov 1994 08:49:37 GMT"], "200", &[]),
    // nginx wants the very date that it has sent; "earlier or equal" is §13.1.3.
    row(&["GET", "If-Modified-Since: Mon, 07 Nov 1994 08:49:37 GMT"], "304", &[("nginx", "200")]),
    row(&["GET", "If-Modified-Since: yesterday"], "200", &[]),
    // lighttpd and h2o do not look at If-Match and If-Unmodified-Since (§13.1.1, §13.1.4).
    row(&["GET", "If-Match: {tag}"], "200", &[]),
    row(&["GET", "If-Match: *"], "200", &[]),
    row(&["GET", "If-Match: \"x\""], "412", &[("lighttpd", "200"), ("h2o", "200")]),
    row(&["GET", "If-Match: W/{tag}"], "412", &[("lighttpd", "200"), ("h2o", "200")]),
    row(&["GET", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"], "200", &[]),
    row(
        &["GET", "If-Unmodified-Since: Sat, 05 Nov 1994 08:49:37 GMT"],
        "412",
        &[("lighttpd", "200"), ("h2o", "200")],
    ),
    row(
        &["GET", "If-Unmodified-Since: Saturday, 05-Nov-94 08:49:37 GMT"],
        "412",
        &[("lighttpd", "200"), ("h2o", "200")],
    ),
    row(
        &["GET", "If-Unmodified-Since: Sat Nov  5 08:49:37 1994"],
        "412",
        &[("lighttpd", "200"), ("h2o", "200")],
    ),
    row(&["GET", "Range: bytes=0-4"], FIRST, &[]),
    row(&["GET", "Range: bytes=-5"], "206 bytes 995-999/1000", &[]),
    row(&["GET", "Range: bytes=990-"], "206 bytes 990-999/1000", &[]),
    // lighttpd does not say how long the file is, though a server should (§15.5.17).
    row(&["GET", "Range: bytes=1000-"], BEYOND, &[("lighttpd", "416")]),
    row(&["GET", "Range: bytes=-0"], BEYOND, &[("lighttpd", "416")]),
    row(&["GET", "Range: bytes=2000-,3000-"], BEYOND, &[("lighttpd", "416")]),
    // A range that is none may be ignored or refused (§14.2); ignoring it gives the client what it needs.
    row(&["GET", "Range: bytes=5-2"], "200", &[("nginx", BEYOND), ("lighttpd", "416"), ("h2o", BEYOND)]),
    row(&["GET", "Range: bytes=0-4,x"], "200", &[("nginx", BEYOND), ("lighttpd", FIRST), ("h2o", BEYOND)]),
    // An unknown unit must be ignored (§14.2).
    row(&["GET", "Range: lines=0-1"], "200", &[("h2o", BEYOND)]),
    row(&["GET", "Range: bytes=0-4", "If-Range: {tag}"], FIRST, &[]),
    // h2o obeys the range of another version (§13.1.5).
    row(&["GET", "Range: bytes=0-4", "If-Range: \"x\""], "200", &[("h2o", FIRST)]),
    row(&["GET", "Range: bytes=0-4", "If-Range: W/{tag}"], "200", &[("h2o", FIRST)]),
    // A date tells versions apart only where a file never changes twice in a second (§8.8.2.2), and nobody knows that.
    row(
        &["GET", "Range: bytes=0-4", "If-Range: Sun, 06 Nov 1994 08:49:37 GMT"],
        "200",
        &[("nginx", FIRST), ("lighttpd", FIRST), ("h2o", FIRST)],
    ),
    row(&["GET", "Range: bytes=0-4", "If-Range: Sat, 05 Nov 1994 08:49:37 GMT"], "200", &[("h2o", FIRST)]),
    row(&["GET", "Range: bytes=0-4,500-504"], "206 multipart", &[]),
    row(&["GET", "Range: bytes=0-4,2000-"], FIRST, &[]),
    // nginx and h2o send bytes twice; parts that overlap may be one (§14.2).
    row(
        &["GET", "Range: bytes=0-4,2-9"],
        "206 bytes 0-9/1000",
        &[("nginx", "206 multipart"), ("h2o", "206 multipart")],
    ),
    // Range is defined for GET alone (§14.2).
    row(&["HEAD", "Range: bytes=0-4"], "200", &[("nginx", FIRST), ("h2o", FIRST)]),
    row(&["GET", "If-None-Match: {tag}", "Range: bytes=0-4"], "304", &[]),
    row(&["GET", "If-Match: \"x\"", "Range: bytes=0-4"], "412", &[("lighttpd", FIRST), ("h2o", FIRST)]),
];

/// A server of the files of a folder, ended when this is dropped.
struct Peer {
    name: &'static str,
    socket: PathBuf,
    _process: Running,
}

enum Running {
    Tidegate { _program: Program },
    Other(Child),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Other(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Peer {
    fn tidegate(folder: &Path) -> Peer {
        let socket = folder.join("tidegate.sock");
        let files = folder.join("files");
        let arguments =
            ["static", files.to_str().unwrap(), "--listen", &format!("unix:{}", socket.display())];
        let program = Program::start_command(process::tidegate().args(arguments), 1);
        Peer { name: "tidegate", socket, _process: Running::Tidegate { _program: program } }
    }

    /// Starts one of the others; none if it is not installed.
    fn start(name: &'static str, folder: &Path) -> Option<Peer> {
        let (at, socket) = (folder.display(), folder.join(format!("{name}.sock")));
        let configuration = match name {
            "nginx" => format!(
                "daemon off; master_process off; pid {at}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; \
                 client_body_temp_path {at}/1; proxy_temp_path {at}/2; fastcgi_temp_path {at}/3; \
                 uwsgi_temp_path {at}/4; scgi_temp_path {at}/5;\n\
                 server {{ listen unix:{at}/nginx.sock; root {at}/files; }} }}\n"
            ),
            "lighttpd" => format!(
                "server.document-root = \"{at}/files\"\nserver.bind = \"{at}/lighttpd.sock\"\n\
                 mimetype.assign = (\"\" => \"text/plain\")\n"
            ),
            _ => {
                let user = if fs::metadata(folder).unwrap().uid() == 0 { "user: root\n" } else { "" };
                format!(
                    "{user}listen: {{port: {at}/h2o.sock, type: unix}}\n\
                     hosts: {{default: {{paths: {{/: {{file.dir: {at}/files}}}}}}}}\n"
                )
            }
        };
        let file = folder.join(format!("{name}.conf"));
        fs::write(&file, configuration).unwrap();
        let before: &[&str] = match name {
            "nginx" => &["-e", "stderr", "-c"],
            "lighttpd" => &["-D", "-f"],
            _ => &["-c"],
        };
        // Where services are, though not in the path of everybody.
        let found = [name.to_string(), format!("/usr/sbin/{name}")].into_iter().find_map(|program| {
            let command = &mut Command::new(program);
            command
                .args(before)
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        })?;
        let running = Running::Other(found);
        process::eventually(|| UnixStream::connect(&socket));
        Some(Peer { name, socket, _process: running })
    }

    fn ask(&self, request: &[&str], tag: &str) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(process::PATIENCE)).unwrap();
        let fields: Vec<_> = request[1..].iter().map(|field| field.replace("{tag}", tag) + "\r\n").collect();
        let head = format!(
            "{} /file.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{}\r\n",
            request[0],
            fields.concat()
        );
        stream.write_all(head.as_bytes()).unwrap();
        Answer::read(&mut stream)
    }
}

fn summary(answer: &Answer) -> String {
    let is_multipart =
        answer.field("Content-Type").is_some_and(|value| value.starts_with("multipart/byteranges"));
    match answer.field("Content-Range") {
        Some(range) => format!("{} {range}", answer.code),
        None if is_multipart => format!("{} multipart", answer.code),
        None => answer.code.to_string(),
    }
}

#[test]
fn conditional_and_range_requests_are_answered_by_the_standard_as_the_table_compares_it() {
    let folder = TempFolder::new();
    let path = folder.write("files/file.txt", vec![b'a'; 1_000]);
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    folder.settle();
    let mut peers = vec![Peer::tidegate(folder.path())];
    for name in ["nginx", "lighttpd", "h2o"] {
        match Peer::start(name, folder.path()) {
            Some(peer) => peers.push(peer),
            None => eprintln!("not compared with {name}: apt-get install {name}"),
        }
    }
    for peer in &peers {
        let tag = peer.ask(&["GET"], "").field("ETag").unwrap().to_string();
        for Row { request, answer, peers } in TABLE {
            let other = peers.iter().find(|(name, _)| *name == peer.name);
            let expected = other.map_or(*answer, |(_, answer)| answer);
            assert_eq!(summary(&peer.ask(request, &tag)), expected, "{} {request:?}", peer.name);
        }
    }
}
