//! Installs the package as its users do: into a virtual environment below `target/`, made once for the
//! requirements, the interpreter and the sources that it was made of.
//!
//! ```text
//! target/wsgi/venv      python3 -m venv; pip install -r requirements.txt; pip install .
//! target/wsgi/build     cargo's own folder for that: no lock shared with the cargo that runs us
//! target/wsgi/*.stamp   what they were made of
//! ```
//!
//! `TIDEGATE_PYTHON` names another interpreter than `python3`. `TIDEGATE_WSGI_COMMAND` names a command
//! to test instead of the package, for those who want to see what the tests find in another server.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

/// The sources of an installed package.
const SOURCES: &[&str] = &[
    "src",
    "crates/tidegate-bench/src",
    "crates/tidegate-bench/Cargo.toml",
    "crates/tidegate-compress/src",
    "crates/tidegate-jobs/src",
    "crates/tidegate-program/src",
    "crates/tidegate-status/src",
    "crates/tidegate-program/Cargo.toml",
    "crates/tidegate-wsgi/src",
    "crates/tidegate-wsgi/python",
    "crates/tidegate-wsgi/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
    "pyproject.toml",
    "README.md",
];
/// Variables that cargo sets for the tests, and that must not reach the cargo that they run.
const OURS: &[&str] =
    &["CARGO", "CARGO_BIN_NAME", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "LD_LIBRARY_PATH"];
const OURS_BEGIN: &[&str] =
    &["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_EXE_", "PYO3_", "PYTHON", "MATURIN_"];

/// The installed command.
pub fn tidegate() -> PathBuf {
    match env::var_os("TIDEGATE_WSGI_COMMAND") {
        Some(command) => command.into(),
        None => bin("tidegate"),
    }
}

/// Returns a Python with all that the tests need.
pub fn python() -> PathBuf {
    bin("python")
}

/// The folder of the tests' own Python files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wsgi")
}

/// Returns the root of the repository, where users run `pip install .`.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn bin(name: &str) -> PathBuf {
    static PREPARED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PREPARED.get_or_init(prepare) {
        Ok(venv) => venv.join("bin").join(name),
        Err(reason) => panic!("no Python environment to test in: {reason}"),
    }
}

/// Installs what is missing. Other test programs wait meanwhile.
fn prepare() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("wsgi");
    let said = |error: std::io::Error| format!("{}: {error}", target.display());
    fs::create_dir_all(&target).map_err(said)?;
    let lock = File::create(target.join("lock")).map_err(said)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| said(error.into()))?;

    let python = env::var_os("TIDEGATE_PYTHON").unwrap_or("python3".into());
    let version = run(Command::new(&python).args(["-c", "import sys; print(sys.version, sys.executable)"]))?;
    let requirements = folder().join("requirements.txt");
    let made_of = hash(&version, std::slice::from_ref(&requirements));
    let venv = target.join("venv");
    once(&target.join("venv.stamp"), made_of, || {
        let _ = fs::remove_dir_all(&venv);
        let _ = fs::remove_file(target.join("package.stamp"));
        run(Command::new(&python).args(["-m", "venv"]).arg(&venv)).map_err(|reason| {
            format!("{reason}\nDebian has `venv` in a package of its own: apt-get install python3-venv")
        })?;
        run(pip(&venv).arg("-r").arg(&requirements))
    })?;
    let sources: Vec<PathBuf> = SOURCES.iter().flat_map(|name| files(&root().join(name))).collect();
    once(&target.join("package.stamp"), hash(&version, &sources), || {
        run(pip(&venv).arg(root()).env("CARGO_TARGET_DIR", target.join("build")))
    })?;
    Ok(venv)
}

/// Runs `make` unless the stamp says that it was done.
fn once(stamp: &Path, made_of: String, make: impl FnOnce() -> Result<String, String>) -> Result<(), String> {
    if fs::read_to_string(stamp).is_ok_and(|found| found == made_of) {
        return Ok(());
    }
    let _ = fs::remove_file(stamp);
    make()?;
    fs::write(stamp, made_of).map_err(|error| format!("{}: {error}", stamp.display()))
}

fn pip(venv: &Path) -> Command {
    let mut command = Command::new(venv.join("bin/python"));
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    command
}

/// Runs a command, and returns its stdout; an error contains its stderr.
fn run(command: &mut Command) -> Result<String, String> {
    let is_ours = |name: &str| OURS.contains(&name) || OURS_BEGIN.iter().any(|start| name.starts_with(start));
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    match output.status.success() {
        true => Ok(stdout),
        false => Err(format!("{command:?} ended with {}\n{stdout}{stderr}", output.status)),
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| !path.ends_with("__pycache__")).collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path)).collect()
}

fn hash(version: &str, paths: &[PathBuf]) -> String {
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    for path in paths {
        (path, fs::read(path).unwrap_or_default()).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}
