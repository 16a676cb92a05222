//! Tests how an application is named, and how a start fails: with a sentence or a traceback, and a status
//! that tells whose fault it was.

use std::net::TcpListener;
use std::process::Command;

use super::environment;
use super::served::{Mode, command};
use super::support::process::{self, Ended, Program, run_command};
use super::support::temp_folder::TempFolder;

/// Modules of applications, good and bad.
fn modules() -> TempFolder {
    let folder = TempFolder::new();
    let app = "def {}(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{}']\n";
    let define = |name: &str, text: &str| app.replacen("{}", name, 1).replacen("{}", text, 1);
    folder.write("plain.py", define("application", "application") + &define("app", "app"));
    folder.write("short.py", define("app", "short"));
    let made =
        format!("def make(word, count=1):\n    name = word * count\n{}", indent(&define("app", "made")));
    folder.write("factory.py", made.replace("b'made'", "name.encode()") + "    return app\n");
    folder.write("package/__init__.py", "");
    folder.write(
        "package/inner.py",
        define("app", "inner") + "class holder:\n    nested = staticmethod(app)\n",
    );
    folder.write("broken.py", "def app(:\n");
    folder.write("failing.py", "raise RuntimeError('this module fails on purpose')\n");
    folder.write("importing.py", "import a_module_that_is_missing\n");
    folder.write("number.py", "app = 7\n");
    folder
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[test]
fn application_is_found_under_every_name() {
    let folder = modules();
    for (application, expected) in [
        ("plain:app", "app"),
        ("plain:application", "application"),
        ("plain", "application"),
        ("short", "short"),
        ("package.inner:app", "inner"),
        ("package.inner:holder.nested", "inner"),
        ("factory:make('a')", "a"),
        ("factory:make('ab', count=2)", "abab"),
    ] {
        let mut command = command(application, Mode::Inline, &folder);
        let program = Program::start_command(command.current_dir(folder.path()), 1);
        assert_eq!(program.get("/").text(), expected, "{application}");
    }
}

#[test]
fn application_elsewhere_is_found_with_chdir_and_pythonpath() {
    let folder = modules();
    let path = folder.path().to_str().unwrap();
    let inner = format!("{path}/package");
    for arguments in [["--chdir", path], ["--pythonpath", path], ["--chdir", &inner]] {
        let application = if arguments[1] == inner { "inner:app" } else { "package.inner:app" };
        let program = Program::start_command(command(application, Mode::Threads, &folder).args(arguments), 1);
        assert_eq!(program.get("/").text(), "inner", "{arguments:?}");
    }
}

#[test]
fn package_can_be_run_as_a_module() {
    let folder = modules();
    let mut command = process::command(environment::python());
    command.args(["-m", "tidegate", "plain:app", "--bind", "127.0.0.1:0"]).current_dir(folder.path());
    assert_eq!(Program::start_command(&mut command, 1).get("/").text(), "app");
}

/// Asserts that a start fails with this status, and with these words on stderr.
fn check_failure(application: &str, arguments: &[&str], code: i32, words: &[&str]) {
    let folder = modules();
    let mut command: Command = command(application, Mode::Threads, &folder);
    let Ended { code: found, stderr, .. } = run_command(command.args(arguments).current_dir(folder.path()));
    assert_eq!(found, Some(code), "{application}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{application}: no {word:?} in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{application}: {stderr}");
}

#[test]
fn application_that_cannot_be_loaded_ends_with_status_3_and_says_why() {
    check_failure("missing:app", &[], 3, &["missing"]);
    check_failure("plain:missing", &[], 3, &["missing", "plain"]);
    check_failure("plain:app.missing", &[], 3, &["missing"]);
    check_failure("number:app", &[], 3, &["number:app"]);
    check_failure("broken:app", &[], 3, &["broken.py", "SyntaxError"]);
    check_failure("failing:app", &[], 3, &["Traceback", "this module fails on purpose"]);
    check_failure("importing:app", &[], 3, &["importing.py", "a_module_that_is_missing"]);
    check_failure("factory:make(", &[], 3, &["factory:make("]);
    check_failure("factory:make()", &[], 3, &["word"]);
    check_failure("factory:make(open('x'))", &[], 3, &["factory:make("]);
}

#[test]
fn wrong_command_line_ends_with_status_2() {
    check_failure("plain:app", &["--no-such-flag"], 2, &["--no-such-flag"]);
    check_failure("plain:app", &["--bind", "nonsense"], 2, &["nonsense"]);
    check_failure("plain:app", &["--threads", "0"], 2, &["--threads"]);
}

#[test]
fn busy_port_ends_with_status_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    check_failure("plain:app", &["--bind", &address], 1, &[&address, "in use"]);
}

/// The number of workers cannot be seen from outside, but an invalid number of them is refused.
#[test]
fn number_of_workers_on_the_command_line_wins_over_variables_and_ours_over_the_common_one() {
    let code = |arguments: &[&str], variables: &[(&str, &str)]| {
        let command = &mut process::command(environment::tidegate());
        let ended =
            run_command(command.args(arguments).args(["static", "/none"]).envs(variables.iter().copied()));
        ended.code
    };
    assert_eq!(code(&[], &[("WEB_CONCURRENCY", "many")]), Some(2));
    assert_eq!(code(&[], &[("WEB_CONCURRENCY", "2")]), Some(1));
    assert_eq!(code(&[], &[("TIDEGATE_WORKERS", "2"), ("WEB_CONCURRENCY", "many")]), Some(1));
    assert_eq!(code(&[], &[("TIDEGATE_WORKERS", "many"), ("WEB_CONCURRENCY", "2")]), Some(2));
    assert_eq!(code(&["-w2"], &[("TIDEGATE_WORKERS", "many")]), Some(1));
    assert_eq!(code(&[], &[("TIDEGATE_RELOAD", "1"), ("TIDEGATE_PRELOAD", "no")]), Some(1));
}
