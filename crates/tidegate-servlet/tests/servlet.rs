//! Tests servlets: Debian's examples and an application of our own, in an embedded Tomcat with tidegate as its connector.
//!
//! ```text
//! cargo test -p tidegate-servlet --test servlet
//! ```
//!
//! Needs a JDK and Tomcat, and names the command that installs them where they are missing. The same questions are put to
//! Tomcat's own connector: `servlet/differences.rs` lists in what the two differ, and why.

#[path = "servlet/asynchronous.rs"]
mod asynchronous;
#[path = "servlet/browser.rs"]
mod browser;
#[path = "servlet/bytes.rs"]
mod bytes;
#[path = "servlet/content.rs"]
mod content;
#[path = "servlet/differences.rs"]
mod differences;
#[path = "servlet/environment.rs"]
mod environment;
#[path = "servlet/examples.rs"]
mod examples;
#[path = "servlet/launcher.rs"]
mod launcher;
#[path = "servlet/life.rs"]
mod life;
#[path = "servlet/misuse.rs"]
mod misuse;
#[path = "servlet/probe.rs"]
mod probe;
#[path = "servlet/requests.rs"]
mod requests;
#[path = "servlet/responses.rs"]
mod responses;
#[path = "servlet/served.rs"]
mod served;
#[path = "servlet/sockets.rs"]
mod sockets;
#[path = "servlet/status.rs"]
mod status;
mod support;

use probe::{Probe, expect};
use served::{Connector, Served};
use support::contract::{Edition, check_column};

/// All that is asked of both connectors.
fn probes() -> Vec<Probe> {
    core().chain(examples::probes()).collect()
}

/// Questions to our own application.
fn core() -> impl Iterator<Item = Probe> {
    requests::probes()
        .chain(bytes::probes())
        .chain(content::probes())
        .chain(responses::probes())
        .chain(misuse::probes())
        .chain(asynchronous::probes())
        .chain(sockets::probes())
}

#[test]
fn both_connectors_answer_alike_but_for_what_is_listed() {
    let (tomcat, tidegate) = std::thread::scope(|scope| {
        let tomcat = scope.spawn(|| Served::start(Connector::Tomcat));
        let tidegate = Served::start(Connector::Tidegate);
        (tomcat.join().unwrap(), tidegate)
    });
    probe::play(&tomcat, &tidegate, &probes());
}

/// The Java half is where native code could do harm: the JVM looks at each of its calls, and says what is wrong.
#[test]
fn java_has_nothing_to_say_of_the_native_calls() {
    let served = Served::start_with(Connector::Tidegate, &["-Xcheck:jni"], &["threads=8"]);
    expect(&served, core());
    served.get("/examples/jsp/jsp2/el/basic-arithmetic.jsp");
    let said = served.end();
    let warnings: Vec<_> =
        said.lines().filter(|line| JNI_WARNINGS.iter().any(|word| line.contains(word))).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

/// Words of a JVM that has found native code wrong.
const JNI_WARNINGS: &[&str] =
    &["WARNING in native method", "FATAL ERROR in native", "JNI call made", "WARNING: JNI"];

/// Questions that need a thread which can wait: for content that the client sends once it is asked, or for a client to read.
const NEED_A_THREAD: &[&str] = &[
    "client that leaves in the middle of content that it was asked for",
    "content that is ignored before 100",
    "content that is refused before 100",
    "stream of fifty megabytes",
];

/// The thread of the loop calls servlets itself, which is for those that never wait.
#[test]
fn servlets_on_the_thread_of_the_loop_answer_the_same() {
    let served = Served::start_with(Connector::Tidegate, &[], &["threads=1"]);
    expect(
        &served,
        requests::probes()
            .chain(content::probes())
            .chain(responses::probes())
            .chain(misuse::probes())
            .filter(|probe| !NEED_A_THREAD.contains(&probe.name)),
    );
    // A servlet that cannot wait for content has all of it when it is called: it is asked for before, as Tomcat's own does it.
    for (path, answer) in [("refuse", "413 length: page of 413"), ("ignore", IGNORED)] {
        assert_eq!(content::expectation(&served, path), format!("100 none; {answer}"));
    }
}

const IGNORED: &str = "200 length {Content-Type: text/plain;charset=UTF-8}: ignored";

/// Each request has a virtual thread of its own, which the native half never holds to a thread of the system: many more
/// clients wait than the machine has processors, and others are served beside them.
#[test]
#[ignore = "needs a Java of 21 or later, which TIDEGATE_JAVA names: Debian 12 has none"]
fn servlets_on_virtual_threads_answer_the_same() {
    let java = std::env::var("TIDEGATE_JAVA").expect("TIDEGATE_JAVA=/path/of/java");
    let attributes = ["useVirtualThreads=true", "threads=150"];
    let served = Served::start_in(&java, Connector::Tidegate, &[], &attributes);
    expect(&served, core());
    life::clients_beside_many_that_do_not_read(&served, 100);
    let name = served.get("/probe/life/threads?millis=0").text();
    assert!(name.contains("-virt-"), "{name}");
    let name = served.get("/probe/async/run-where").text();
    assert!(name.contains("-virt-"), "{name}");
}

#[test]
fn workbench_keeps_its_contract() {
    let served = Served::start(Connector::Tidegate);
    let edition = Edition { address: served.address(), serves_beside_sleepers: true, resets: true };
    check_column("Servlet", &edition);
}

#[test]
fn browser_speaks_over_the_web_sockets_of_the_examples() {
    let served = Served::start(Connector::Tidegate);
    browser::play(&served);
}
