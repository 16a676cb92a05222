//! Asks Prometheus' own tool what it thinks of the metrics.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::Both;

#[test]
#[ignore = "needs promtool; on Debian or Ubuntu: apt-get install -y --no-install-recommends prometheus"]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let both = Both::serve();
    let _kept = both.answered("/");
    let metrics = both.ask("/metrics").2;
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        panic!(
            "this test needs promtool; on Debian or Ubuntu: apt-get install -y --no-install-recommends prometheus"
        );
    };
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let ended = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.is_empty(), "{said}\n{metrics}");
}
