//! Tests `--compress` and `precompress` over sockets, and decodes what comes.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::Duration;

use support::process::{Answer, Program, eventually, run};
use support::temp_folder::TempFolder;

/// The codings that are built in.
const CODINGS: &[&str] = if cfg!(feature = "dense") { &["gzip", "br", "zstd"] } else { &["gzip"] };

/// A text of several pieces, which no coding makes longer.
fn text() -> String {
    (0..20_000).map(|number| format!("The tide of day {number} rises.\n")).collect()
}

fn site() -> TempFolder {
    let folder = TempFolder::new();
    folder.write("public/long.txt", text());
    folder.write("public/short.css", "a { color: blue } ".repeat(40));
    folder.write("public/tiny.css", "a { color: blue }");
    folder.write("public/photo.png", vec![7; 10_000]);
    folder.settle();
    folder
}

fn serve(folder: &TempFolder, options: &[&str]) -> Program {
    let public = folder.path().join("public");
    Program::start(&[&["static", public.to_str().unwrap(), "--compress"], options].concat())
}

fn ask(program: &Program, target: &str, fields: &[&str]) -> Answer {
    program.ask("GET", target, &[&["Accept-Encoding: gzip"], fields].concat(), b"")
}

/// Fetches a target in this coding, and decodes it.
fn decoded(program: &Program, target: &str, coding: &str) -> Vec<u8> {
    // As it is built here, it knows no coding, and gives what the server has sent.
    let client = ureq::Agent::config_builder().proxy(None).build().new_agent();
    let mut answer = client.get(program.url(target)).header("Accept-Encoding", coding).call().unwrap();
    assert_eq!(answer.headers()["Content-Encoding"], coding, "{target}");
    decode(coding, &answer.body_mut().read_to_vec().unwrap())
}

fn decode(coding: &str, content: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    match coding {
        // It refuses what follows the end.
        "gzip" => flate2::read::MultiGzDecoder::new(content).read_to_end(&mut decoded).map(drop),
        #[cfg(feature = "dense")]
        "br" => brotli::BrotliDecompress(&mut { content }, &mut decoded),
        #[cfg(feature = "dense")]
        "zstd" => zstd::stream::copy_decode(content, &mut decoded),
        _ => panic!("{coding} is not built in"),
    }
    .unwrap();
    decoded
}

#[test]
fn texts_are_coded_for_those_who_take_it_and_nothing_else_is() {
    let folder = site();
    let program = serve(&folder, &[]);
    for (target, is_coded, vary) in [
        ("/long.txt", true, Some("Accept-Encoding")),
        ("/short.css", true, Some("Accept-Encoding")),
        ("/tiny.css", false, Some("Accept-Encoding")),
        ("/photo.png", false, None),
    ] {
        // From the second time on from what is kept.
        for _ in 0..2 {
            let answer = ask(&program, target, &[]);
            assert_eq!(
                (answer.code, answer.field("Content-Encoding").is_some()),
                (200, is_coded),
                "{target}"
            );
            assert_eq!(answer.field("Vary"), vary, "{target}");
            assert_eq!(answer.field("ETag").unwrap().starts_with("W/"), is_coded);
            assert_eq!(answer.field("Accept-Ranges").is_none(), is_coded);
        }
        let plain = program.get(target);
        assert_eq!((plain.field("Content-Encoding"), plain.field("Vary")), (None, vary), "{target}");
        assert!(plain.field("ETag").unwrap().starts_with('"') && plain.field("Content-Length").is_some());
    }
    let refused = program.ask("GET", "/long.txt", &["Accept-Encoding: gzip;q=0, identity"], b"");
    assert_eq!(refused.field("Content-Encoding"), None);
    for coding in CODINGS {
        for _ in 0..3 {
            assert!(decoded(&program, "/long.txt", coding) == text().as_bytes(), "{coding}");
        }
    }
}

#[test]
fn what_is_kept_is_sent_with_its_length_also_to_those_who_ask_for_the_head() {
    let folder = site();
    let program = serve(&folder, &[]);
    let first = ask(&program, "/long.txt", &[]);
    assert_eq!(first.field("Content-Length"), None);
    let second = ask(&program, "/long.txt", &[]);
    let length = second.field("Content-Length").unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), second.content.len());
    assert!(second.content.len() * 3 < text().len());
    let head = program.ask("HEAD", "/long.txt", &["Accept-Encoding: gzip"], b"");
    for name in ["Content-Length", "Content-Encoding", "ETag", "Vary", "Content-Type"] {
        assert_eq!(head.field(name), second.field(name), "{name}");
    }
    // Another version has another tag, and so nothing that is kept.
    folder.write("public/long.txt", "another tide\n".repeat(1_000));
    eventually(|| match ask(&program, "/long.txt", &[]).field("ETag") == second.field("ETag") {
        true => Err(std::io::Error::other("the same")),
        false => Ok(()),
    });
    let content = decoded(&program, "/long.txt", "gzip");
    assert_eq!(String::from_utf8(content).unwrap(), "another tide\n".repeat(1_000));
}

#[test]
fn known_versions_are_not_sent_again_and_ranges_are_of_the_file() {
    let folder = site();
    let program = serve(&folder, &[]);
    let coded = ask(&program, "/long.txt", &[]).field("ETag").unwrap().to_string();
    let plain = program.get("/long.txt").field("ETag").unwrap().to_string();
    assert_eq!(coded, format!("W/{plain}"));
    for tag in [&coded, &plain] {
        let known = ask(&program, "/long.txt", &[&format!("If-None-Match: {tag}")]);
        assert_eq!((known.code, known.field("ETag")), (304, Some(tag.as_str())));
        assert_eq!((known.field("Vary"), known.content.len()), (Some("Accept-Encoding"), 0));
    }
    let range = "Range: bytes=4-7";
    let part = ask(&program, "/long.txt", &[range]);
    assert_eq!((part.code, part.text().as_str(), part.field("Content-Encoding")), (206, "tide", None));
    for range in [range, "Range: bytes=4-7,9-12"] {
        let part = ask(&program, "/long.txt", &[range]);
        assert_eq!((part.code, part.field("Vary")), (206, Some("Accept-Encoding")), "{range}");
    }
    let part_of_picture = ask(&program, "/photo.png", &[range]);
    assert_eq!((part_of_picture.code, part_of_picture.field("Vary")), (206, None));
    // Whoever has the coded form cannot go on with the other one.
    let whole = ask(&program, "/long.txt", &[range, &format!("If-Range: {coded}")]);
    assert_eq!((whole.code, whole.field("Content-Encoding")), (200, Some("gzip")));
    assert_eq!(ask(&program, "/long.txt", &[&format!("If-Match: {coded}")]).code, 412);
}

#[test]
fn what_is_secret_is_never_coded() {
    let folder = site();
    for (options, fields, is_coded) in [
        (&[][..], &["Authorization: Basic ZWJiOmZsb3c="][..], false),
        (&[], &["Cookie: a=b"], true),
        (&["--header", "Set-Cookie: a=b"], &[], false),
        (&["--header", "Cache-Control: no-store"], &[], false),
        (&["--cache-control", "*=private, max-age=3"], &[], false),
        (&["--cache-control", "*=no-transform"], &[], false),
        (&["--cache-control", "*=max-age=3"], &[], true),
    ] {
        let program = serve(&folder, options);
        let answer = ask(&program, "/long.txt", fields);
        assert_eq!(answer.field("Content-Encoding").is_some(), is_coded, "{options:?} {fields:?}");
        assert!(is_coded || answer.content == text().as_bytes());
    }
}

/// A client that reads nothing holds a coder, and others get theirs all the same, or the file as it is.
#[test]
fn those_who_do_not_read_hold_no_more_memory_than_is_allowed() {
    let folder = site();
    let long: String = (0..3_000_000_u64).map(|number| format!("{:x} ", number * number)).collect();
    folder.write("public/longest.txt", long);
    let program = serve(&folder, &["--memory-max", "16m"]);
    let idle: Vec<_> = (0..30)
        .map(|_| {
            let mut stream = program.connect();
            let request = "GET /longest.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
            stream.write_all(request.as_bytes()).unwrap();
            let mut start = [0; 12];
            stream.read_exact(&mut start).unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let answer = ask(&program, "/long.txt", &[]);
    assert_eq!((answer.code, answer.field("Content-Encoding")), (200, None), "all coders are in use");
    assert!(answer.content == text().as_bytes());
    drop(idle);
    eventually(|| match ask(&program, "/long.txt", &[]).field("Content-Encoding") {
        Some("gzip") => Ok(()),
        _ => Err(std::io::Error::other("not coded")),
    });
}

#[test]
fn folder_is_coded_beforehand_and_what_is_not_built_in_says_so() {
    let folder = site();
    let public = folder.path().join("public");
    let coding = run(&["precompress", public.to_str().unwrap(), "--codings", "gz"]);
    assert_eq!(coding.code, Some(0), "{}", coding.stderr);
    assert!(coding.stderr.contains("2 codings made"), "{}", coding.stderr);
    assert!(!public.join("photo.png.gz").exists() && !public.join("tiny.css.gz").exists());
    let program = serve(&folder, &["--precompressed"]);
    let answer = ask(&program, "/long.txt", &[]);
    let beside = fs::read(public.join("long.txt.gz")).unwrap();
    assert!(answer.content == beside && answer.field("ETag").unwrap().starts_with('"'));
    let part = ask(&program, "/long.txt", &["Range: bytes=0-9"]);
    assert_eq!((part.code, part.field("Content-Encoding")), (206, Some("gzip")));
    assert!(part.content == beside[..10]);
    let again = run(&["precompress", public.to_str().unwrap(), "--codings", "gz"]);
    assert!(
        again.stderr.contains("0 codings made") && again.stderr.contains("2 up to date"),
        "{}",
        again.stderr
    );
    // Made of another content, it is made anew.
    folder.write("public/long.txt", "another tide\n".repeat(1_000));
    std::thread::sleep(Duration::from_millis(10));
    let anew = run(&["precompress", public.to_str().unwrap(), "--codings", "gz"]);
    assert!(
        anew.stderr.contains("1 codings made") && anew.stderr.contains("1 up to date"),
        "{}",
        anew.stderr
    );
    let all = run(&["precompress", public.to_str().unwrap()]);
    if cfg!(feature = "dense") {
        assert_eq!(all.code, Some(0), "{}", all.stderr);
        let program = serve(&folder, &["--precompressed"]);
        for coding in CODINGS {
            let content = decoded(&program, "/long.txt", coding);
            assert_eq!(String::from_utf8(content).unwrap(), "another tide\n".repeat(1_000), "{coding}");
        }
    } else {
        assert!(all.code != Some(0) && all.stderr.contains("--features dense"), "{}", all.stderr);
    }
    let missing = run(&["precompress", "/no/such/folder", "--codings", "gz"]);
    assert!(missing.code == Some(1) && missing.stderr.contains("/no/such/folder"), "{}", missing.stderr);
}

/// A client of others decodes what is made on the fly, and what lies beside the file.
#[test]
#[ignore = "needs curl; on Debian or Ubuntu: apt-get install -y --no-install-recommends curl"]
fn curl_decodes_what_is_sent() {
    let folder = site();
    let public = folder.path().join("public");
    let mut text = text();
    for beforehand in [false, true] {
        if beforehand {
            // Made as dense as can be, a longer one takes its time.
            text = "another tide\n".repeat(1_000);
            folder.write("public/long.txt", &text);
            let codings = if cfg!(feature = "dense") { "gz,br,zst" } else { "gz" };
            let coding = run(&["precompress", public.to_str().unwrap(), "--codings", codings]);
            assert_eq!(coding.code, Some(0), "{}", coding.stderr);
        }
        let program = serve(&folder, if beforehand { &["--precompressed"] } else { &[] });
        for coding in CODINGS {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--fail", "--noproxy", "*", "--compressed"]);
            curl.args(["-H", &format!("Accept-Encoding: {coding}"), &program.url("/long.txt")]);
            let output = curl.output().expect("curl is installed");
            assert!(output.status.success(), "{coding}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout == text.as_bytes(), "{coding}");
        }
    }
}

#[test]
fn options_of_serving_are_refused_where_nothing_is_served() {
    let refused = run(&["precompress", ".", "--reactors", "2"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("serves nothing"), "{}", refused.stderr);
}
