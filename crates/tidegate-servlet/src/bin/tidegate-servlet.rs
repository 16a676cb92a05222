//! The program `tidegate-servlet`: serves `.war` files and exploded folders.
//!
//! It finds `java`, Tomcat's jars and this package's own, and becomes that Java: flags, signals and the log are the JVM's.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
Serves servlets: an unmodified Tomcat in one process with tidegate

usage: tidegate-servlet [OPTIONS] [JAVA FLAGS] APPLICATION...

APPLICATION is a .war file, or a folder with what would be in it. One alone is served at /, several
each at /NAME (and ROOT at /).

  -l, --listen ADDRESS   Listen there [default: 127.0.0.1:8000]; `:8000` is every address
      --threads N        Call servlets on N threads; 1 calls them on that of the event loop
      --status ADDRESS   Show the loop at work there, for this machine only: 127.0.0.1:9000, or unix:PATH
      --context-path P   Serve the application at P instead of /
      --set NAME=VALUE   Set an attribute of the connector, as server.xml would
  -h, --help             Print this
  -V, --version          Print the version

What begins with -X, -D, -ea, --add- or -javaagent: is for Java: -Xmx512m. JAVA_HOME names another Java, CATALINA_HOME
another Tomcat than Debian's libtomcat10-embed-java.
";

/// Tomcat's jars as Debian has them, and what they need.
const JARS: [&str; 6] = [
    "tomcat10-embed-core.jar",
    "tomcat10-embed-el.jar",
    "tomcat10-embed-jasper.jar",
    "tomcat10-embed-websocket.jar",
    "tomcat10-annotations-api.jar",
    "eclipse-jdt-core.jar",
];
const JAR_FOLDER: &str = "/usr/share/java";

const JAVA_INSTALL: &str = "apt-get install default-jre-headless";
const TOMCAT_INSTALL: &str = "apt-get install libtomcat10-embed-java libtomcat10-java";

/// The first release of Java with a flag for what loads native libraries. From 24 on it warns of each that does without.
const NATIVE_ACCESS_SINCE: u32 = 22;

/// The way in which Java is to be started.
#[derive(Default)]
struct Plan {
    flags: Vec<OsString>,
    /// Attributes of the connector.
    attributes: Vec<OsString>,
    context_path: Option<String>,
    applications: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match run(env::args_os().skip(1).collect()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("tidegate-servlet: {reason}");
            ExitCode::from(2)
        }
    }
}

/// Becomes Java; or returns what is to be printed instead.
fn run(arguments: Vec<OsString>) -> Result<String, String> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        return Ok(HELP.to_string());
    }
    if arguments.iter().any(|argument| argument == "--version" || argument == "-V") {
        return Ok(format!("tidegate-servlet {}\n", env!("CARGO_PKG_VERSION")));
    }
    let plan = parse(arguments)?;
    for application in &plan.applications {
        check_application(application)?;
    }
    let java = java()?;
    let mut class_path = vec![own_file("tidegate-servlet.jar", tidegate_servlet::JAR.map(Path::new))?];
    class_path.extend(tomcat()?);
    let mut library = OsString::from("-Dtidegate.library=");
    library.push(own_file("libtidegate_servlet.so", None)?);
    let class_path = env::join_paths(class_path).map_err(|error| error.to_string())?;
    let mut command = Command::new(&java);
    if release(&java).is_some_and(|release| release >= NATIVE_ACCESS_SINCE) {
        command.arg("--enable-native-access=ALL-UNNAMED");
    }
    command.args(&plan.flags).arg(library).arg("-cp").arg(class_path).arg("tidegate.Launcher");
    plan.attributes.iter().for_each(|attribute| _ = command.arg("--set").arg(attribute));
    for application in &plan.applications {
        let mut argument = OsString::from(context_path(application, &plan));
        argument.push("=");
        argument.push(application);
        command.arg(argument);
    }
    // It returns only if there is no such program.
    Err(format!("{}: {}", java.display(), command.exec()))
}

fn parse(arguments: Vec<OsString>) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let mut listen = "127.0.0.1:8000".to_string();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let Some(text) = argument.to_str().filter(|text| text.starts_with('-')) else {
            plan.applications.push(argument.into());
            continue;
        };
        if ["-X", "-D", "-ea", "--add-", "--enable-native-access", "-javaagent:", "-agentlib:"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            plan.flags.push(argument);
            continue;
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name.to_string(), Some(value.to_string())),
            None => (text.to_string(), None),
        };
        let mut value = || match value.clone() {
            Some(value) => Ok(value),
            None => {
                let next = rest.next().and_then(|next| next.into_string().ok());
                next.ok_or(format!("{name} needs a value"))
            }
        };
        match name.as_str() {
            "-l" | "--listen" | "-b" | "--bind" => listen = value()?,
            "--threads" => {
                let count: u16 =
                    value()?.parse().map_err(|_| "--threads needs a number from 1 on".to_string())?;
                match count {
                    0 => return Err("--threads needs a number from 1 on".to_string()),
                    count => plan.attributes.push(format!("threads={count}").into()),
                }
            }
            "--status" => plan.attributes.push(format!("status={}", value()?).into()),
            "--context-path" => {
                plan.context_path = Some(value()?).map(|path| path.trim_matches('/').to_string())
            }
            "--set" => match value()? {
                assignment if assignment.contains('=') => plan.attributes.push(assignment.into()),
                other => return Err(format!("--set needs NAME=VALUE, not {other}")),
            },
            _ => return Err(format!("there is no option {name}; --help names all")),
        }
    }
    match plan.applications.len() {
        0 => return Err("no application; give a .war file or a folder".to_string()),
        1 => {}
        _ if plan.context_path.is_some() => return Err("--context-path is for one application".to_string()),
        _ => {}
    }
    plan.attributes.extend(address(&listen)?.into_iter().map(OsString::from));
    Ok(plan)
}

/// The attributes that an address stands for.
fn address(text: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("--listen needs HOST:PORT or :PORT, not {text}");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let mut attributes = vec![format!("port={port}")];
    if !host.is_empty() {
        attributes.push(format!("address={host}"));
    }
    Ok(attributes)
}

/// The path at which an application is served.
fn context_path(application: &Path, plan: &Plan) -> String {
    let name = application.file_stem().unwrap_or(OsStr::new("ROOT")).to_string_lossy().into_owned();
    match &plan.context_path {
        Some(path) => format!("/{path}"),
        None if plan.applications.len() == 1 || name == "ROOT" => "/".to_string(),
        // As Tomcat has it: `a#b.war` is served at /a/b.
        None => format!("/{}", name.replace('#', "/")),
    }
}

/// Says what is wrong with a file that cannot be an application, before a Java is started for it.
fn check_application(path: &Path) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(said)?.is_dir() {
        return Ok(());
    }
    let mut start = [0; 4];
    let is_archive =
        File::open(path).map_err(said)?.read_exact(&mut start).is_ok() && start == *b"PK\x03\x04";
    match is_archive {
        true => Ok(()),
        false => Err(format!("{}: neither a .war file (a zip archive) nor a folder", path.display())),
    }
}

fn java() -> Result<PathBuf, String> {
    if let Some(home) = env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        let java = Path::new(&home).join("bin/java");
        return match java.is_file() {
            true => Ok(java),
            false => Err(format!("JAVA_HOME has no {}", java.display())),
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let java = env::split_paths(&path).map(|folder| folder.join("java")).find(|file| file.is_file());
    java.ok_or_else(|| format!("there is no java; on Debian or Ubuntu: sudo {JAVA_INSTALL}"))
}

/// The release of a Java, as the file beside its folder says it: `JAVA_VERSION="17.0.15"`.
fn release(java: &Path) -> Option<u32> {
    let java = fs::canonicalize(java).ok()?;
    let text = fs::read_to_string(java.parent()?.parent()?.join("release")).ok()?;
    let version = text.lines().find_map(|line| line.strip_prefix("JAVA_VERSION=\""))?;
    version.split(['.', '"', '-']).next()?.parse().ok()
}

/// Tomcat's jars: those of a Tomcat that is named, or Debian's.
fn tomcat() -> Result<Vec<PathBuf>, String> {
    if let Some(home) = env::var_os("CATALINA_HOME").filter(|home| !home.is_empty()) {
        let folder = Path::new(&home).join("lib");
        let entries =
            fs::read_dir(&folder).map_err(|error| format!("CATALINA_HOME: {}: {error}", folder.display()))?;
        let mut jars: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        jars.retain(|path| path.extension().is_some_and(|extension| extension == "jar"));
        jars.push(Path::new(&home).join("bin/tomcat-juli.jar"));
        jars.sort();
        return Ok(jars);
    }
    let jars: Vec<PathBuf> = JARS.iter().map(|name| Path::new(JAR_FOLDER).join(name)).collect();
    match jars.iter().find(|jar| !jar.is_file()) {
        None => Ok(jars),
        Some(missing) => Err(format!(
            "there is no {}; on Debian or Ubuntu: sudo {TOMCAT_INSTALL}\n(CATALINA_HOME names a Tomcat elsewhere)",
            missing.display()
        )),
    }
}

/// A file of this package: beside the program, or where the build or an installation has put it.
fn own_file(name: &str, built: Option<&Path>) -> Result<PathBuf, String> {
    let program = env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    let folder = program.parent().unwrap_or(Path::new("/"));
    let folders = ["", "deps", "../servlet", "../lib/tidegate", "../lib", "../share/java"];
    let beside = folders.iter().map(|below| folder.join(below).join(name));
    let found = beside.chain(built.map(Path::to_path_buf)).find(|path| path.is_file());
    found.ok_or_else(|| {
        format!(
            "there is no {name} beside {}; cargo build --release -p tidegate-servlet makes it",
            program.display()
        )
    })
}
