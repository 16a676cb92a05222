//! Tests codings against what a client has of an earlier time (RFC 9842), as files that lie beside theirs, raw and in a
//! browser.

mod support;

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use support::browser::Browser;
use support::process::{Answer, Program, run};
use support::temp_folder::TempFolder;

/// The versions of a script, under names with a hash each, and the SHA-256 of the first.
const OLD: &str = "js/app-1a2b3c4d.js";
const NEW: &str = "js/app-5e6f7a8b.js";
const OLD_HASH: &str = "fba86cd793d4575fbbde5a535b287c910881092c41908b6d2745a8da4e8b47f7";
const OLD_AVAILABLE: &str = "Available-Dictionary: :+6hs15PUV1+73lpTWyh8kQiBCSxBkIttJ0Wo2k6LR/c=:";

const CODINGS: &str = "Accept-Encoding: gzip, deflate, br, zstd, dcb, dcz";
const VARY: Option<&str> = Some("Accept-Encoding, Available-Dictionary");

fn script(version: u32) -> String {
    format!("let tide = {version}; // It rises and falls.\n").repeat(100)
}

/// Content in `dcz`, which refers to the dictionary in its name only: a frame of zstd with one block as it is.
fn dcz(hash: &str, content: &str) -> Vec<u8> {
    let hash = (0..32).map(|at| u8::from_str_radix(&hash[2 * at..2 * at + 2], 16).unwrap());
    let (length, block) = (content.len() as u32, (content.len() as u32) << 3 | 1);
    [
        b"\x5e\x2a\x4d\x18\x20\0\0\0",
        &hash.collect::<Vec<u8>>()[..],
        b"\x28\xb5\x2f\xfd\xa0",
        &length.to_le_bytes(),
        &block.to_le_bytes()[..3],
        content.as_bytes(),
    ]
    .concat()
}

/// A folder with both versions, and a coding of the newer one.
struct Site(TempFolder);

impl Site {
    fn new() -> Site {
        let site = Site(TempFolder::new());
        site.write(OLD, script(1));
        site.write(NEW, script(2));
        site.write("index.html", "<!doctype html><link rel=icon href=data:,><title>tide</title>");
        site.write(&format!("{NEW}.{OLD_HASH}.dcz"), dcz(OLD_HASH, &script(2)));
        site
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        self.0.write(&format!("public/{name}"), content);
    }

    fn serve(&self, options: &[&str]) -> Program {
        self.0.settle();
        let public = self.0.path().join("public");
        let dictionaries = ["--use-as-dictionary", "js/app*.js=/js/app*.js"];
        Program::start(&[&["static", public.to_str().unwrap()], &dictionaries[..], options].concat())
    }
}

fn ask(program: &Program, name: &str, fields: &[&str]) -> Answer {
    program.ask("GET", &format!("/{name}"), fields, b"")
}

#[test]
fn whoever_has_the_dictionary_is_sent_what_is_coded_against_it() {
    let site = Site::new();
    let program = site.serve(&[]);
    let coded = dcz(OLD_HASH, &script(2));
    // From the second time on from what is kept.
    for _ in 0..3 {
        let answer = ask(&program, NEW, &[CODINGS, OLD_AVAILABLE]);
        assert_eq!(
            (answer.code, answer.field("Content-Encoding"), answer.field("Vary")),
            (200, Some("dcz"), VARY)
        );
        assert_eq!(answer.field("Use-As-Dictionary"), Some("match=\"/js/app*.js\""));
        assert_eq!(answer.field("Content-Type"), Some("text/javascript; charset=utf-8"));
        assert!(answer.content == coded);
        let head = program.ask("HEAD", &format!("/{NEW}"), &[CODINGS, OLD_AVAILABLE], b"");
        let length = coded.len().to_string();
        assert_eq!(
            (head.field("Content-Length"), head.field("ETag")),
            (Some(&*length), answer.field("ETag"))
        );
        let part = ask(&program, NEW, &[CODINGS, OLD_AVAILABLE, "Range: bytes=40-49"]);
        assert_eq!((part.code, part.field("Content-Encoding")), (206, Some("dcz")));
        assert!(part.content == coded[40..50]);
    }
    // The page is no dictionary, and may be coded against one all the same.
    let page = ask(&program, "", &[CODINGS, OLD_AVAILABLE]);
    assert_eq!((page.field("Use-As-Dictionary"), page.field("Vary")), (None, VARY));
}

#[test]
fn all_others_are_sent_the_file_as_before() {
    let site = Site::new();
    let plain = site.serve(&[]);
    site.write(&format!("{NEW}.gz"), b"gzip of it");
    let with_gzip = site.serve(&[]);
    let other_hash = OLD_AVAILABLE.replace("::", ":").replacen(&OLD_AVAILABLE[23..25], "AA", 1);
    let no_dictionary = OLD_AVAILABLE.replace(": :", ": ");
    for fields in [
        &[CODINGS][..],
        &[CODINGS, &other_hash],
        &[CODINGS, &no_dictionary],
        &[CODINGS, OLD_AVAILABLE, OLD_AVAILABLE],
        &[CODINGS, "Available-Dictionary: :Li4vLi4vLi4vLi4vLi4vLi4vLi4vLi4vLi4vLi4vLi4=:"],
        &[CODINGS, "Available-Dictionary: :../../../../../../../../../../../../../../..=:"],
        &["Accept-Encoding: gzip, br, zstd", OLD_AVAILABLE],
        &["Accept-Encoding: gzip, dcz;q=0", OLD_AVAILABLE],
        &["Accept-Encoding: gzip, dcz;q=0.5", OLD_AVAILABLE],
    ] {
        let answer = ask(&with_gzip, NEW, fields);
        let coding = answer.field("Content-Encoding");
        assert_eq!((answer.code, coding, answer.field("Vary")), (200, Some("gzip"), VARY), "{fields:?}");
        assert_eq!(answer.text(), "gzip of it", "{fields:?}");
        let answer = ask(&plain, OLD, fields);
        assert_eq!((answer.code, answer.field("Content-Encoding"), answer.text()), (200, None, script(1)));
    }
    // Without the option nothing is a dictionary, and nobody's is looked at.
    let public = site.0.path().join("public");
    let program = Program::start(&["static", public.to_str().unwrap(), "--precompressed"]);
    let answer = ask(&program, NEW, &[CODINGS, OLD_AVAILABLE]);
    assert_eq!(
        (answer.field("Content-Encoding"), answer.field("Vary")),
        (Some("gzip"), Some("Accept-Encoding"))
    );
    assert_eq!(answer.field("Use-As-Dictionary"), None);
}

#[test]
fn coding_that_is_of_another_dictionary_or_content_is_passed_over() {
    let name = format!("{NEW}.{OLD_HASH}.dcz");
    let other = OLD_HASH.replacen(&OLD_HASH[..4], "0000", 1);
    // It wants a window of 9 MiB.
    let mut wide = dcz(OLD_HASH, &script(2));
    wide[45..49].copy_from_slice(&(9_u32 << 20).to_le_bytes());
    for content in [dcz(&other, &script(2)), dcz(OLD_HASH, &script(2))[40..].to_vec(), Vec::new(), wide] {
        let site = Site::new();
        site.write(&name, content);
        let answer = ask(&site.serve(&[]), NEW, &[CODINGS, OLD_AVAILABLE]);
        assert_eq!((answer.field("Content-Encoding"), answer.text()), (None, script(2)));
    }
    let site = Site::new();
    let old = File::options().write(true).open(site.0.path().join("public").join(&name)).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    assert_eq!(ask(&site.serve(&[]), NEW, &[CODINGS, OLD_AVAILABLE]).field("Content-Encoding"), None);
    // What is brotli is only said to be.
    site.write(
        &format!("{NEW}.{OLD_HASH}.dcb"),
        [&b"\xffDCB"[..], &dcz(OLD_HASH, "")[8..40], b"brotli"].concat(),
    );
    let answer = ask(&site.serve(&[]), NEW, &[CODINGS, OLD_AVAILABLE]);
    assert_eq!(answer.field("Content-Encoding"), Some("dcb"));
}

/// A client that has a version is told so, whatever dictionary it has by then: most likely that version.
#[test]
fn version_that_is_known_is_not_sent_again_in_another_coding() {
    let site = Site::new();
    site.write(&format!("{NEW}.gz"), b"gzip of it");
    let program = site.serve(&[]);
    let tag = |fields: &[&str]| ask(&program, NEW, fields).field("ETag").unwrap().to_string();
    let coded = tag(&[CODINGS, OLD_AVAILABLE]);
    let gzip = tag(&[CODINGS]);
    let plain = tag(&[]);
    assert!(coded != gzip && gzip != plain && coded.starts_with('"'));
    let own = "Available-Dictionary: :AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    for fields in [&[CODINGS, OLD_AVAILABLE][..], &[CODINGS, own], &[CODINGS], &[]] {
        let known = format!("If-None-Match: \"x\", {coded}");
        let answer = ask(&program, NEW, &[fields, &[&known]].concat());
        assert_eq!((answer.code, answer.field("ETag"), answer.field("Vary")), (304, Some(&*coded), VARY));
        // Bytes of one coding do not go on in another.
        let (range, is_coded) = (format!("If-Range: {coded}"), fields.contains(&OLD_AVAILABLE));
        let part = ask(&program, NEW, &[fields, &["Range: bytes=1-2", &range]].concat());
        assert_eq!(part.code, if is_coded { 206 } else { 200 }, "{fields:?}");
    }
    site.write(NEW, script(3));
    let public = site.0.path().join("public");
    let anew = Program::start(&["static", public.to_str().unwrap(), "--use-as-dictionary", "*.js=/js/*.js"]);
    let answer = ask(&anew, NEW, &[CODINGS, OLD_AVAILABLE, &format!("If-None-Match: {coded}")]);
    assert_eq!((answer.code, answer.field("Content-Encoding"), answer.text()), (200, None, script(3)));
}

#[test]
fn what_is_coded_on_the_fly_is_kept_and_what_has_a_dictionary_passes() {
    let site = Site::new();
    let program = site.serve(&["--compress"]);
    for _ in 0..2 {
        let answer = ask(&program, NEW, &[CODINGS, OLD_AVAILABLE]);
        assert_eq!(answer.field("Content-Encoding"), Some("dcz"));
        assert!(answer.content == dcz(OLD_HASH, &script(2)));
    }
    let once = ask(&program, OLD, &["Accept-Encoding: gzip"]);
    assert_eq!((once.field("Content-Encoding"), once.field("Content-Length")), (Some("gzip"), None));
    // What is kept has a length.
    let again = ask(&program, OLD, &["Accept-Encoding: gzip"]);
    assert_eq!((again.field("Vary"), again.field("Content-Length").is_some()), (VARY, true));
}

#[test]
fn browser_sends_what_it_has_and_decodes_what_it_gets() {
    let site = Site::new();
    if cfg!(feature = "dense") {
        let old = TempFolder::new();
        old.write(OLD, script(1));
        fs::remove_file(site.0.path().join("public").join(OLD)).unwrap();
        precompress(&site, &old);
        site.write(OLD, script(1));
    }
    let program = site.serve(&[]);
    let browser = Browser::start();
    browser.open(&program.url("/"));
    browser.wait_for("document.title === 'tide'");
    let fetch = |name: &str, cache: &str| {
        format!(
            "fetch('/{name}', {{ cache: '{cache}' }}).then(async answer => \
             [answer.headers.get('Content-Encoding'), await answer.text()])"
        )
    };
    // Chromium takes in a dictionary some time after it was fetched, and none while it starts.
    let (old, new) = (fetch(OLD, "reload"), fetch(NEW, "no-store"));
    browser.wait_for(&format!("{old}.then(() => {new}).then(([coding]) => coding === 'dcz')"));
    assert_eq!(browser.evaluate(&new)[1], script(2));
    let errors = browser.console_errors();
    assert!(errors.is_empty(), "{errors:?}");
}

/// Makes the codings of a site against an earlier one, and returns what was said.
fn precompress(site: &Site, old: &TempFolder) -> String {
    let (public, old) = (site.0.path().join("public"), old.path().to_str().unwrap());
    let coding = run(&["precompress", public.to_str().unwrap(), "--codings", "gz", "--against", old]);
    assert_eq!(coding.code, Some(0), "{}", coding.stderr);
    coding.stderr
}

#[test]
fn codings_are_made_against_the_files_of_an_earlier_time() {
    let (site, old) = (Site::new(), TempFolder::new());
    let public = site.0.path().join("public");
    old.write(OLD, script(1));
    old.write("index.html", "<!doctype html><title>tide</title>");
    let coded = public.join(format!("{NEW}.{OLD_HASH}.dcz"));
    if !cfg!(feature = "dense") {
        let refused = run(&["precompress", public.to_str().unwrap(), "--codings", "gz", "--against", "."]);
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains("--features dense"), "{}", refused.stderr);
        return;
    }
    // One that is of an older content is taken away, even if nothing comes in its place.
    let stale = public.join(format!("{NEW}.{}.dcz", "0".repeat(64)));
    fs::write(&stale, "of another time").unwrap();
    fs::remove_file(&coded).unwrap();
    let said = precompress(&site, &old);
    assert!(said.contains("3 codings made"), "two of gzip, and one against the old: {said}");
    assert!(!stale.exists() && coded.metadata().unwrap().len() < 100);
    let said = precompress(&site, &old);
    assert!(said.contains("0 codings made") && said.contains("3 up to date"), "{said}");
    let answer = ask(&site.serve(&[]), NEW, &[CODINGS, OLD_AVAILABLE]);
    assert_eq!(answer.field("Content-Encoding"), Some("dcz"));
    assert!(decode(&answer.content[40..], script(1).as_bytes()) == script(2).as_bytes());
}

#[cfg(feature = "dense")]
fn decode(frame: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(frame, dictionary).unwrap();
    let mut decoded = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut decoded).unwrap();
    decoded
}

#[cfg(not(feature = "dense"))]
fn decode(_: &[u8], _: &[u8]) -> Vec<u8> {
    Vec::new()
}
