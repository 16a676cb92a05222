//! Compiles the Java half against Tomcat's jars, and packs it into `servlet/tidegate-servlet.jar` in the target folder.
//!
//! Where there is no `javac`, or no Tomcat, the Rust half is built nevertheless: whoever works on the rest of the
//! workspace needs neither.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command that installs what the build needs on Debian and Ubuntu.
const INSTALL: &str = "apt-get install default-jdk-headless libtomcat10-embed-java libtomcat10-java";

/// The jars of Tomcat on Debian. The second has what the first lacks, `jakarta.annotation`.
const JARS: [&str; 3] = [
    "/usr/share/java/tomcat10-embed-core.jar",
    "/usr/share/java/tomcat10-annotations-api.jar",
    "/usr/share/java/tomcat10-embed-websocket.jar",
];

fn main() {
    println!("cargo::rerun-if-changed=java");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TIDEGATE_TOMCAT_JARS");
    println!("cargo::rustc-env=TIDEGATE_INSTALL={INSTALL}");
    match build() {
        Ok(jar) => println!("cargo::rustc-env=TIDEGATE_JAR={}", jar.display()),
        Err(reason) => println!("cargo::warning=tidegate-servlet.jar was not built: {reason}. {INSTALL}"),
    }
}

/// Builds the jar, and returns where it is.
fn build() -> Result<PathBuf, String> {
    let class_path = class_path()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // target/PROFILE/build/PACKAGE/out
    let target = out.ancestors().nth(4).ok_or("OUT_DIR is too short")?;
    let classes = out.join("classes");
    let fresh = |folder: &Path| -> io::Result<()> {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder)
    };
    fresh(&classes).map_err(|error| error.to_string())?;
    let mut sources = Vec::new();
    collect(Path::new("java"), &mut sources).map_err(|error| error.to_string())?;
    // Java 11 is what Tomcat 10.1 asks for.
    let mut javac = Command::new("javac");
    javac.args(["--release", "11", "-Xlint:all,-processing,-classfile", "-cp"]).arg(class_path);
    run(javac.arg("-d").arg(&classes).args(sources))?;
    let folder = target.join("servlet");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let jar = folder.join("tidegate-servlet.jar");
    // Another build may be reading the old one, so it is replaced in one step.
    let made = out.join("tidegate-servlet.jar");
    run(Command::new("jar").arg("--create").arg("--file").arg(&made).arg("-C").arg(&classes).arg("."))?;
    fs::copy(&made, jar.with_extension("new")).map_err(|error| error.to_string())?;
    fs::rename(jar.with_extension("new"), &jar).map_err(|error| error.to_string())?;
    Ok(jar)
}

fn class_path() -> Result<OsString, String> {
    if let Some(given) = env::var_os("TIDEGATE_TOMCAT_JARS") {
        return Ok(given);
    }
    match JARS.iter().find(|jar| !Path::new(jar).exists()) {
        Some(missing) => Err(format!("there is no {missing}")),
        None => env::join_paths(JARS).map_err(|error| error.to_string()),
    }
}

fn collect(folder: &Path, sources: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "java") {
            sources.push(path);
        }
    }
    Ok(())
}

/// Runs a command; what it says is the error if it fails.
fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Err(format!("{name} failed: {}", said.replace('\n', " | ")))
}
