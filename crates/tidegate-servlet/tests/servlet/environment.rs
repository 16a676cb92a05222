//! Finds Java and Tomcat, and compiles what the tests deploy, once for the sources and the Java that it was made of.
//!
//! ```text
//! target/tmp/servlet/HASH/harness    the program that embeds Tomcat
//! target/tmp/servlet/HASH/probe      the application of our own, as an exploded .war
//! target/tmp/servlet/HASH/workbench  the workbench as a servlet
//! ```

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

/// The command that installs everything on Debian.
const INSTALL: &str = "apt-get install --no-install-recommends default-jdk-headless libtomcat10-embed-java \
                       libtomcat10-java tomcat10-examples";
/// Jars of an embedded Tomcat, the compiler of its pages last.
const JARS: &[&str] = &[
    "tomcat10-embed-core.jar",
    "tomcat10-embed-el.jar",
    "tomcat10-embed-jasper.jar",
    "tomcat10-embed-websocket.jar",
    "tomcat10-annotations-api.jar",
    "eclipse-jdt-core.jar",
];
const JAR_FOLDER: &str = "/usr/share/java";

/// Debian's examples, unmodified.
pub const EXAMPLES: &str = "/usr/share/tomcat10-examples/examples";

/// Length of the large static file: more than Tomcat sends without sendfile.
pub const LARGE_FILE_BYTES: usize = 3_000_000;

/// Content of the large static file, which tells each of its places apart.
pub fn large_file() -> Vec<u8> {
    (0..LARGE_FILE_BYTES / 8).flat_map(|number| format!("{number:07}\n").into_bytes()).collect()
}

/// Folders that the tests deploy and start.
pub struct Prepared {
    pub harness: PathBuf,
    pub probe: PathBuf,
    pub workbench: PathBuf,
}

/// Compiles what is not compiled yet. Other test programs wait meanwhile.
pub fn prepared() -> &'static Prepared {
    static PREPARED: OnceLock<Result<Prepared, String>> = OnceLock::new();
    match PREPARED.get_or_init(prepare) {
        Ok(prepared) => prepared,
        Err(reason) => panic!("servlets cannot be tested: {reason}\non Debian or Ubuntu: sudo {INSTALL}"),
    }
}

/// Jars that every program with an embedded Tomcat has, as a class path.
pub fn tomcat() -> String {
    let path = |name: &&str| Path::new(JAR_FOLDER).join(name).display().to_string();
    JARS.iter().map(path).collect::<Vec<_>>().join(":")
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn prepare() -> Result<Prepared, String> {
    let mut needed: Vec<PathBuf> = JARS.iter().map(|name| Path::new(JAR_FOLDER).join(name)).collect();
    needed.push(Path::new(EXAMPLES).join("WEB-INF/web.xml"));
    if let Some(missing) = needed.iter().find(|path| !path.exists()) {
        return Err(format!("{} is missing", missing.display()));
    }
    let version = run(Command::new("javac").arg("-version"))?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servlet");
    let examples = root().join("examples/servlet");
    let mut hasher = DefaultHasher::new();
    (version, LARGE_FILE_BYTES).hash(&mut hasher);
    for path in files(&sources).iter().chain(&files(&examples)) {
        (path, fs::read(path).unwrap_or_default()).hash(&mut hasher);
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("servlet");
    let said = |error: std::io::Error| format!("{}: {error}", target.display());
    fs::create_dir_all(&target).map_err(said)?;
    let lock = File::create(target.join("lock")).map_err(said)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| said(error.into()))?;
    let folder = target.join(format!("{:016x}", hasher.finish()));
    let [harness, probe, workbench] = ["harness", "probe", "workbench"].map(|name| folder.join(name));
    let stamp = folder.join("done");
    if !stamp.exists() {
        let _ = fs::remove_dir_all(&folder);
        compile(&sources.join("java/harness"), &harness)?;
        copy(&sources.join("web"), &probe).map_err(said)?;
        fs::write(probe.join("static.bin"), large_file()).map_err(said)?;
        compile(&sources.join("java/probe"), &probe.join("WEB-INF/classes"))?;
        compile(&examples, &workbench.join("WEB-INF/classes"))?;
        fs::write(stamp, "").map_err(said)?;
    }
    Ok(Prepared { harness, probe, workbench })
}

fn compile(sources: &Path, target: &Path) -> Result<(), String> {
    let mut command = Command::new("javac");
    command.args(["-encoding", "UTF-8", "-Xlint:all,-serial,-processing", "-Werror", "-cp", &tomcat(), "-d"]);
    let is_java = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "java");
    run(command.arg(target).args(files(sources).into_iter().filter(is_java))).map(|_| ())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap_or(&path));
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(&path, target)?;
    }
    Ok(())
}

/// All files below a folder, in order.
pub fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_path_buf()];
    }
    let mut paths: Vec<PathBuf> =
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path)).collect()
}

/// Runs a command, and returns its stdout; an error contains its stderr.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    match output.status.success() {
        true => Ok(stdout),
        false => Err(format!("{command:?} ended with {}\n{stdout}{stderr}", output.status)),
    }
}

/// The jar of the connector.
pub fn connector() -> PathBuf {
    tidegate_servlet::JAR.map(PathBuf::from).expect("a jar, since there is a javac")
}

/// The flag with which Java finds the library of the connector: that which was built with these tests.
pub fn library() -> String {
    let program = env::current_exe().unwrap();
    let folder = program.parent().unwrap();
    format!("-Dtidegate.library={}", folder.join("libtidegate_servlet.so").display())
}
