//! Has redbot (<https://redbot.org>) look at what `tidegate static` sends: it asks for each URL in several ways, and says what
//! a response lacks or has wrong for browsers and caches.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use serde_json::Value;

use support::process::{Program, run};
use support::temp_folder::TempFolder;

/// How long a copy is good is said by `--cache-control`. Without it caches guess from Last-Modified, which redbot always
/// warns of.
const LIFETIME: &str = "FRESHNESS_HEURISTIC";

const CONDITIONS: [&str; 2] = ["INM_304", "IMS_304"];
const RANGE: &str = "RANGE_CORRECT";
const GZIP: &str = "CONNEG_GZIP_GOOD";

/// One URL, and what redbot is to say of it.
struct Case {
    target: &'static str,
    status: u64,
    /// Notes that praise it; there may be more.
    praise: &'static [&'static [&'static str]],
    /// Notes that it could be better, all of them.
    blame: &'static [&'static str],
}

const fn case(
    target: &'static str,
    status: u64,
    praise: &'static [&'static [&'static str]],
    blame: &'static [&'static str],
) -> Case {
    Case { target, status, praise, blame }
}

/// A site as its options leave it.
const PLAIN: &[Case] = &[
    case("/", 200, &[&CONDITIONS, &[RANGE]], &[LIFETIME]),
    case("/assets/app.3f2a9c1b.js", 200, &[&CONDITIONS, &[RANGE, "FRESHNESS_FRESH"]], &[]),
    case("/many/", 200, &[&["CL_CORRECT"]], &[LIFETIME]),
    case("/many", 301, &[&["CL_CORRECT"]], &[LIFETIME]),
    case("/nothing", 404, &[&["CL_CORRECT"]], &[]),
];

/// A site whose texts are coded, some of them beforehand, and that says how long its files are good.
const CODED: &[Case] = &[
    // Its coding lies beside it.
    case("/", 200, &[&CONDITIONS, &[RANGE, GZIP, "CL_CORRECT"]], &[]),
    // It is coded on the fly.
    case("/page.html", 200, &[&CONDITIONS, &[RANGE, GZIP]], &[]),
    case("/assets/app.3f2a9c1b.js", 200, &[&CONDITIONS, &[RANGE, GZIP]], &[]),
    case("/photo.png", 200, &[&CONDITIONS, &[RANGE]], &[]),
    case("/many/", 200, &[&[GZIP]], &[LIFETIME]),
    case("/nothing", 404, &[&[GZIP]], &[]),
];

fn site() -> TempFolder {
    let folder = TempFolder::new();
    let page =
        |word: &str| format!("<!doctype html><title>{word}</title>{}", format!("<p>{word}</p>").repeat(200));
    folder.write("public/index.html", page("tide"));
    folder.write("public/404.html", page("nothing"));
    folder.write("public/assets/app.3f2a9c1b.js", "let tide = 1;\n".repeat(300));
    // As it begins; redbot looks no further.
    folder.write("public/photo.png", [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &[7; 20_000]].concat());
    folder.write("public/many/one.txt", "one");
    let public = folder.path().join("public");
    let coding = run(&["precompress", public.to_str().unwrap(), "--codings", "gz"]);
    assert_eq!(coding.code, Some(0), "{}", coding.stderr);
    folder.write("public/page.html", page("flood"));
    folder.settle();
    folder
}

/// Returns a Python with redbot, which is made once for its requirements.
fn python() -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redbot");
    let (requirements, venv) =
        (sources.join("requirements.txt"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("redbot"));
    let (python, stamp) = (venv.join("bin/python"), venv.join("requirements.txt"));
    let wanted = fs::read(&requirements).unwrap();
    if fs::read(&stamp).is_ok_and(|made_of| made_of == wanted) {
        return python;
    }
    let _ = fs::remove_dir_all(&venv);
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&venv);
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&requirements);
    for command in [&mut make, &mut install] {
        let output = command.output();
        let is_done = output.as_ref().is_ok_and(|output| output.status.success());
        assert!(
            is_done,
            "this test needs a python3 with venv (on Debian or Ubuntu: apt-get install python3-venv) and redbot from \
             PyPI: {command:?}: {output:?}"
        );
    }
    fs::write(stamp, wanted).unwrap();
    python
}

/// Has redbot look at all cases, and compares what it says.
fn check(python: &Path, program: &Program, cases: &[Case]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/redbot/notes.py");
    let urls = cases.iter().map(|case| program.url(case.target));
    let output = Command::new(python).arg(script).args(urls).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let seen: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(seen.len(), cases.len(), "{lines}\n{}", String::from_utf8_lossy(&output.stderr));
    for case in cases {
        let of_case = seen.iter().find(|seen| seen["url"] == program.url(case.target)).unwrap();
        let notes = of_case["notes"].as_array().unwrap();
        let names = |levels: &[&str]| -> Vec<&str> {
            let notes = notes.iter().filter(|note| levels.contains(&note["level"].as_str().unwrap()));
            notes.map(|note| note["name"].as_str().unwrap()).collect()
        };
        assert_eq!(of_case["status"], case.status, "{}", case.target);
        assert_eq!(names(&["warning", "bad"]), case.blame, "{}: {of_case:#}", case.target);
        let praise = names(&["good"]);
        for name in case.praise.concat() {
            assert!(praise.contains(&name), "{}: no {name} in {praise:?}", case.target);
        }
    }
}

#[test]
#[ignore = "needs a python3 with venv, and redbot from PyPI, which it installs below target/"]
fn redbot_finds_nothing_to_improve_but_what_options_decide() {
    let (python, folder) = (python(), site());
    let public = folder.path().join("public");
    let serve = |options: &[&str]| Program::start(&[&["static", public.to_str().unwrap()], options].concat());
    let plain = serve(&[]);
    let coded = serve(&["--compress", "--precompressed", "--cache-control", "*=no-cache"]);
    thread::scope(|scope| {
        scope.spawn(|| check(&python, &plain, PLAIN));
        scope.spawn(|| check(&python, &coded, CODED));
    });
}
