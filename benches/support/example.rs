//! The workbench (`examples/workbench.rs`) and the program `tidegate`, built as users get them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Returns the path of the workbench in the profile `release`, whatever profile the bench itself has. `cargo
/// bench` builds no examples, so the first call builds it.
pub fn workbench() -> io::Result<&'static Path> {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    built(&EXECUTABLE, "--example", "workbench")
}

/// Returns the path of the program, in the same profile. It belongs to another package, which `cargo bench`
/// does not build for one of this.
pub fn program() -> io::Result<&'static Path> {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    built(&EXECUTABLE, "--bin", "tidegate")
}

fn built(executable: &'static OnceLock<PathBuf>, kind: &str, name: &str) -> io::Result<&'static Path> {
    match executable.get() {
        Some(path) => Ok(path),
        None => build(kind, name).map(|path| executable.get_or_init(|| path).as_path()),
    }
}

fn build(kind: &str, name: &str) -> io::Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", kind, name, "--message-format=json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ours = messages.filter(|message| message["target"]["name"] == name);
    let path = ours.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.filter(|_| output.status.success()).ok_or_else(|| io::Error::other(format!("{name} does not build")))
}
