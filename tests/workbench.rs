//! Tests the workbench without Python: its contract, routes, and how its server ends.

mod support;

#[path = "../examples/workbench.rs"]
#[allow(dead_code)]
mod workbench;

use serde_json::Value;
use support::contract::{Edition, check_column};
use support::loopback::serve_gateway;
use tidegate::Server;
use workbench::Workbench;

#[test]
fn contract_is_kept() {
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), Workbench::default());
    let resets = cfg!(feature = "sockets");
    check_column("Rust", &Edition { address: server.address(), serves_beside_sleepers: true, resets });
}

#[test]
fn routes_go_by_the_decoded_path_and_what_is_none_is_missing_for_every_method() {
    let server = serve_gateway(Server::new().listen("127.0.0.1:0".parse().unwrap()), Workbench::default());
    let mut client = server.connect();
    let mut ask = |request: &[u8]| {
        client.send(request);
        client.read("GET")
    };
    for (line, expected) in [
        ("GET /plaintext", "200 length: Hello, World!"),
        ("GET /plain%74ext", "200 length: Hello, World!"),
        ("GET http://a/%70laintext", "200 length: Hello, World!"),
        ("POST /plaintext", "405 length: Method Not Allowed\n"),
        ("POST /%70laintext", "405 length: Method Not Allowed\n"),
        ("GET /plaintext%2f", "404 length: Not Found\n"),
        ("POST /missing", "404 length: Not Found\n"),
        ("DELETE /%e9", "404 length: Not Found\n"),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(ask(request.as_bytes()).to_string(), expected, "{line}");
    }
    // Content in pieces, which is collected only where it is read.
    let chunks = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = ask(format!("PUT /%65cho HTTP/1.1\r\nHost: a\r\n{chunks}").as_bytes());
    assert_eq!(answer.to_string(), "200 length: abc");
    let answer = ask(b"PUT /%65nviron HTTP/1.1\r\nHost: a\r\nX-Y: \xe9\xff\"\r\nContent-Length: 2\r\n\r\nok");
    let environ: Value = serde_json::from_slice(&answer.content).unwrap();
    assert_eq!(environ["PATH_INFO"], "/environ");
    assert_eq!(environ["HTTP_X_Y"], "\u{e9}\u{ff}\"");
    assert_eq!(environ["body_length"], "2");
}

mod signals {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::process::{Child, Command, Stdio};
    use std::{env, thread};

    use rustix::process::{Pid, Signal, kill_process};

    use super::support::loopback::PATIENCE;

    /// The variable that is set in the process that is the workbench.
    const CHILD: &str = "TIDEGATE_WORKBENCH_CHILD";

    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn signal_lets_finish_what_is_in_flight() {
        if env::var_os(CHILD).is_some() {
            return super::workbench::run("127.0.0.1:0".parse().unwrap()).unwrap();
        }
        for signal in [Signal::TERM, Signal::INT] {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", "signals::signal_lets_finish_what_is_in_flight", "--nocapture"]);
            let child = command.env(CHILD, "1").stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
            let mut running = Running(child.unwrap());
            let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines().map(Result::unwrap);
            let address = lines
                .find_map(|line| line.rsplit_once("workbench on http://").map(|(_, end)| end.to_string()));
            thread::spawn(move || lines.for_each(drop));
            let address = address.expect("an address");
            let mut client = TcpStream::connect(address.trim_end_matches('/')).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            // The first answer says that the second request has come.
            client
                .write_all(
                    b"GET /json HTTP/1.1\r\nHost: a\r\n\r\nGET /sleep?ms=300 HTTP/1.1\r\nHost: a\r\n\r\n",
                )
                .unwrap();
            let mut first = [0; 15];
            client.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200 OK");
            kill_process(Pid::from_child(&running.0), signal).unwrap();
            let mut rest = String::new();
            client.read_to_string(&mut rest).unwrap();
            assert!(rest.ends_with("slept 300"), "{rest}");
            // It would be lingered for.
            drop(client);
            assert!(running.0.wait().unwrap().success());
        }
    }
}
