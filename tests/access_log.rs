//! Access logs of a server that runs: what its lines say of exchanges that have taken place.

mod support;

use std::io::Write;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use support::loopback::{Answer, PATIENCE, Running, run};
use tidegate::access_log::JsonLog;
use tidegate::{AccessLog, Environ, Server, StartResponse};

/// Where a log goes in these tests.
struct Channel(Sender<String>);

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // The test may have ended before its server.
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a log has written.
struct Written {
    writes: Receiver<String>,
    lines: Vec<String>,
}

impl Written {
    /// The next line.
    fn next(&mut self) -> String {
        if self.lines.is_empty() {
            let written = self.writes.recv_timeout(PATIENCE).expect("a line in the access log");
            self.lines.extend(written.lines().map(str::to_string));
        }
        self.lines.remove(0)
    }
}

/// A server whose log is made by `log`, and what that writes.
fn serve<L, F>(log: impl FnOnce(Channel) -> L, gateway: F) -> (Running, Written)
where
    L: AccessLog + Send + 'static,
    F: FnMut(&mut Environ<'_>, StartResponse<'_>) -> Answer + Send + 'static,
{
    let (sender, writes) = mpsc::channel();
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap()).access_log(log(Channel(sender)));
    (run(server, gateway), Written { writes, lines: Vec::new() })
}

#[test]
fn application_that_blocks_the_loop_is_in_the_duration() {
    let pause = Duration::from_millis(50);
    let (server, mut written) = serve(JsonLog::new, move |environ, start_response| {
        if environ.path() == "/slow" {
            thread::sleep(pause);
        }
        start_response.status(200).send("done")
    });
    let mut client = server.connect();
    for (target, is_slow) in [("/slow", true), ("/fast", false), ("/slow", true)] {
        client.get(target);
        let record: serde_json::Value = serde_json::from_str(&written.next()).unwrap();
        assert_eq!(record["target"], target);
        let duration = record["duration"].as_f64().unwrap();
        // A loaded machine may take as long for anything; less than the pause it can never be.
        assert!(!is_slow || duration >= pause.as_secs_f64(), "{target}: {duration}");
        assert!(duration < PATIENCE.as_secs_f64(), "{target}: {duration}");
    }
}
