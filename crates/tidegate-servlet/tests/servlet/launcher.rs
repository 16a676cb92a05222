//! The program `tidegate-servlet`, and the line in an unmodified Tomcat's `server.xml`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::environment;
use super::served::FLAGS;
use super::support::process::{self, Ended, Program, run_command};
use super::support::temp_folder::TempFolder;

fn launcher() -> Command {
    process::command(env!("CARGO_BIN_EXE_tidegate-servlet"))
}

fn run(arguments: &[&str]) -> Ended {
    run_command(launcher().args(arguments))
}

/// Packs the probe into a .war file, as a build would.
fn war(folder: &TempFolder, name: &str) -> String {
    let path = folder.path().join(name);
    let packed = environment::run(
        Command::new("jar")
            .arg("--create")
            .arg("--file")
            .arg(&path)
            .arg("-C")
            .arg(&environment::prepared().probe)
            .arg("."),
    );
    packed.unwrap();
    path.display().to_string()
}

#[test]
fn war_file_is_served_with_pages_and_web_sockets_and_ends_by_ctrl_c() {
    let folder = TempFolder::new();
    // A shell has what it starts with `&` ignore Ctrl-C, and Java obeys that for life.
    let mut command = process::command("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_tidegate-servlet")]);
    command.arg(war(&folder, "shop.war")).args(["--listen", "127.0.0.1:0", "--threads", "4"]).args(FLAGS);
    // Where the application is unpacked to.
    command.arg(format!("-Djava.io.tmpdir={}", folder.path().display()));
    let mut program = Program::start_command(&mut command, 1);
    let page = program.get("/page.jsp");
    assert_eq!((page.code, page.text().trim()), (200, "2 REQUEST"));
    assert!(page.field("Server").unwrap().starts_with("tidegate/"));
    let stream = program.connect();
    let (mut socket, _) =
        tungstenite::client(format!("ws://{}/socket/a", program.authority()), stream).unwrap();
    socket.send(tungstenite::Message::text("high water")).unwrap();
    assert_eq!(socket.read().unwrap(), tungstenite::Message::text("high water"));
    drop(socket);
    let busy = program.authority().to_string();
    let ended = run(&[&war(&folder, "other.war"), "-l", &busy]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&busy) && ended.stderr.contains("in use"), "{}", ended.stderr);
    program.interrupt();
    assert_eq!(program.wait().code(), Some(130));
    assert_eq!(program.stderr.rest(), "");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        left.iter().all(|name| name.to_string_lossy().ends_with(".war")
            || name.to_string_lossy().starts_with("hsperfdata_")),
        "{left:?}"
    );
}

#[test]
fn several_applications_are_served_by_their_names() {
    let folder = TempFolder::new();
    let workbench = environment::prepared().workbench.display().to_string();
    let mut command = launcher();
    command.args([&war(&folder, "shop#tea.war"), &workbench]).args([
        "--listen=127.0.0.1:0",
        "--set",
        "threads=1",
    ]);
    let program = Program::start_command(command.args(FLAGS), 1);
    assert_eq!(program.get("/shop/tea/respond/short").text(), "short");
    assert_eq!(program.get("/workbench/plaintext").text(), "Hello, World!");
    assert_eq!(program.get("/plaintext").code, 404);
}

#[test]
fn mistakes_on_the_command_line_are_named_before_java_starts() {
    let folder = TempFolder::new();
    let text = folder.write("a.txt", "no archive").display().to_string();
    let missing = folder.path().join("none.war").display().to_string();
    let here = folder.path().display().to_string();
    let [text, missing, here] = [&*text, &*missing, &*here];
    let rows: [(&[&str], &str); 9] = [
        (&[], "no application"),
        (&[missing], "none.war: No such file"),
        (&[text], "a.txt: neither a .war file"),
        (&[here, "--listen", "nowhere"], "--listen needs HOST:PORT"),
        (&[here, "--threads", "0"], "--threads needs a number"),
        (&[here, "--threads"], "--threads needs a value"),
        (&[here, "--set", "threads"], "--set needs NAME=VALUE"),
        (&[here, "--wings"], "no option --wings"),
        (&[here, here, "--context-path", "/a"], "--context-path is for one"),
    ];
    for (arguments, said) in rows {
        let ended = run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(
            ended.stderr.starts_with("tidegate-servlet: ") && ended.stderr.contains(said),
            "{}",
            ended.stderr
        );
    }
    let ended = run_command(launcher().arg(here).env("JAVA_HOME", "/nowhere"));
    assert!(ended.stderr.contains("JAVA_HOME has no /nowhere/bin/java"), "{}", ended.stderr);
    let ended = run_command(launcher().arg(here).env_remove("JAVA_HOME").env("PATH", "/nowhere"));
    assert!(ended.stderr.contains("sudo apt-get install default-jre-headless"), "{}", ended.stderr);
    let ended = run_command(launcher().arg(here).env("CATALINA_HOME", "/nowhere"));
    assert!(ended.stderr.contains("CATALINA_HOME: /nowhere/lib"), "{}", ended.stderr);
    assert!(run(&["--help"]).stdout.contains("usage: tidegate-servlet"));
    assert_eq!(run(&["--version"]).stdout, format!("tidegate-servlet {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn attribute_that_the_connector_has_not_is_named() {
    let workbench = environment::prepared().workbench.display().to_string();
    let ended = run(&[&workbench, "--set", "wings=2"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("the connector has no attribute wings"), "{}", ended.stderr);
}

#[test]
fn attributes_that_do_nothing_here_are_named() {
    let workbench = environment::prepared().workbench.display().to_string();
    let mut command = launcher();
    command.args([&workbench, "--listen=127.0.0.1:0"]);
    let rows =
        ["acceptCount=7", "tcpNoDelay=false", "connectionLinger=5", "threadPriority=3", "maxQueueSize=9"];
    rows.iter().for_each(|row| _ = command.args(["--set", row]));
    let mut program = Program::start_command(command.args(["--set", "maxHeaderCount=-1"]).args(FLAGS), 0);
    for row in rows {
        let name = row.split('=').next().unwrap();
        program.stderr.next_with(&format!("The attribute {name} has no effect"));
    }
    program.stderr.next_with("maxHeaderCount is 128");
    program.hear_announcements(1);
    assert_eq!(program.get("/plaintext").text(), "Hello, World!");
}

/// Debian's Tomcat, with nothing changed but the line of its connector and what it is told to serve.
#[test]
fn one_line_in_server_xml_is_enough() {
    const HOME: &str = "/usr/share/tomcat10";
    let folder = TempFolder::new();
    let connector = r#"<Connector protocol="tidegate.TidegateProtocol" address="127.0.0.1" port="0"/>"#;
    let workbench = environment::prepared().workbench.display().to_string();
    let server = format!(
        r#"<Server port="-1"><Service name="Catalina">{connector}<Engine name="Catalina" defaultHost="localhost">
           <Host name="localhost" appBase="webapps"><Context path="" docBase="{workbench}"/></Host></Engine></Service></Server>"#
    );
    folder.write("conf/server.xml", server);
    folder.write("conf/web.xml", fs::read_to_string("/etc/tomcat10/web.xml").unwrap_or(WEB_XML.to_string()));
    folder.write("webapps/none.txt", "");
    let mut path = vec![environment::connector()];
    path.extend(["bin/bootstrap.jar", "bin/tomcat-juli.jar"].map(|name| Path::new(HOME).join(name)));
    path.extend(environment::files(&Path::new(HOME).join("lib")));
    let mut command = process::command("java");
    command.args(FLAGS).arg(environment::library()).arg("-cp").arg(std::env::join_paths(path).unwrap());
    command
        .arg(format!("-Dcatalina.home={HOME}"))
        .arg(format!("-Dcatalina.base={}", folder.path().display()));
    command.args(["org.apache.catalina.startup.Bootstrap", "start"]);
    let mut program = Program::start_command(&mut command, 0);
    // [http-auto-1-PORT]
    let started = program.stderr.next_with("Starting ProtocolHandler");
    let port = started.trim_end_matches(['"', ']']).rsplit('-').next().unwrap().to_string();
    program.stderr.next_with("Server startup in");
    program.addresses.push(format!("http://127.0.0.1:{port}/"));
    let answer = program.get("/plaintext");
    assert_eq!((answer.code, answer.text().as_str()), (200, "Hello, World!"));
    assert!(answer.field("Server").unwrap().starts_with("tidegate/"));
}

/// Where Debian's own is not installed.
const WEB_XML: &str = r#"<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0"></web-app>"#;
