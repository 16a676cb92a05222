//! The workbench (`examples/workbench.rs`), built as users get it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// Where the workbench is, in the profile `release`, whatever profile the bench itself has. `cargo bench` builds no
/// examples, so the first call builds it.
pub fn workbench() -> io::Result<&'static Path> {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    match EXECUTABLE.get() {
        Some(path) => Ok(path),
        None => build().map(|path| EXECUTABLE.get_or_init(|| path).as_path()),
    }
}

fn build() -> io::Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--example", "workbench", "--message-format=json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut ours = messages.filter(|message| message["target"]["name"] == "workbench");
    let path = ours.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.filter(|_| output.status.success()).ok_or_else(|| io::Error::other("the workbench does not build"))
}
