//! Tests `--status`: the running server is shown on an address of its own, and in a browser.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;

use support::browser::Browser;
use support::process::{PATIENCE, Program, eventually, run, tidegate};
use support::temp_folder::TempFolder;

/// Starts the program with a status server, and returns the address of that, too.
fn start(arguments: &[&str]) -> (Program, String) {
    let status = ["--listen", "127.0.0.1:0", "--status", "127.0.0.1:0"];
    let mut program = Program::start_command(tidegate().args(status).args(arguments), 0);
    let line = program.stderr.next_with("tidegate shows its status on ");
    let address = line.rsplit_once(" on http://").unwrap().1.trim_end_matches('/').to_string();
    program.hear_announcements(1);
    (program, address)
}

/// Asks the status server, and returns status code and answer.
fn ask(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[test]
fn every_command_that_serves_is_shown_and_its_paths_stay_its_own() {
    let folder = TempFolder::new();
    folder.write("metrics", "a file of this name");
    for (arguments, serves) in [
        (&[][..], "the welcome application"),
        (&[folder.path().to_str().unwrap()], folder.path().to_str().unwrap()),
    ] {
        let (mut program, status) = start(arguments);
        assert_eq!(ask(&status, "/health").0, 200);
        assert!(ask(&status, "/metrics").1.contains("tidegate_loop_turns_total"));
        let own = program.get("/metrics");
        let expected: &[u8] = if arguments.is_empty() { b"" } else { b"a file of this name" };
        assert!(own.content.starts_with(expected), "{serves}");
        assert!(
            ask(&status, "/metrics").1.contains("tidegate_connections_accepted_total{reactor=\"0\"} 1\n")
        );
        program.interrupt();
        assert_eq!(program.wait().code(), Some(0));
        assert!(TcpStream::connect(&status).is_err(), "it ends with the server");
    }
}

#[test]
fn threads_that_check_passwords_are_shown() {
    let folder = TempFolder::new();
    // `htpasswd -nbB -C 12 ebb flow`: slow enough to be seen at work.
    let users = folder.write("users", "ebb:$2y$12$zbyLLXpFcLfkFTNqaMoHaeW0znhkosWCl4AF7RcTtpZRRbNipZhge\n");
    let folder = folder.path().to_str().unwrap();
    let (program, status) = start(&[folder, "--auth", users.to_str().unwrap()]);
    let shown = |sample: &str| ask(&status, "/metrics").1.contains(&format!("\ntidegate_pool_{sample}\n"));
    assert!(shown("threads{pool=\"passwords\"} 0"));
    let mut client = program.connect();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic ZWJiOmhpZ2g=\r\n\r\n").unwrap();
    eventually(|| match shown("threads_busy{pool=\"passwords\"} 1") {
        true => Ok(()),
        false => Err(std::io::Error::other("no thread is at work")),
    });
}

#[test]
fn status_is_for_this_machine_only_and_off_by_default() {
    let refused = run(&["--status", "0.0.0.0:0"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("127.0.0.1:PORT or unix:PATH"), "{}", refused.stderr);
    let program = Program::start(&[]);
    let taken = run(&["--listen", "127.0.0.1:0", "--status", program.authority()]);
    assert_eq!(taken.code, Some(1));
    assert!(taken.stderr.contains(program.authority()), "{}", taken.stderr);
}

#[test]
fn unix_socket_of_the_status_has_the_mode_and_the_group_given() {
    let folder = TempFolder::new();
    let path = folder.path().join("status");
    let group = fs::metadata(folder.path()).unwrap().gid().to_string();
    let status = format!("unix:{}", path.display());
    let arguments =
        ["-l", "127.0.0.1:0", "--status", &status, "--socket-mode", "620", "--socket-group", &group];
    let _program = Program::start_command(tidegate().args(arguments), 1);
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.mode() & 0o777, metadata.gid().to_string()), (0o620, group));
}

#[test]
fn browser_sees_connections_in_their_states() {
    let (program, status) = start(&[]);
    let browser = Browser::start();
    browser.open(&format!("http://{status}/"));
    browser.wait_for("document.querySelector('#state')?.textContent.startsWith('serving')");
    // The style and the script were loaded, and the policy let them pass.
    assert_eq!(
        browser.evaluate(
            "performance.getEntriesByType('resource').every(one => one.name.startsWith(location.origin))"
        ),
        true
    );
    browser.wait_for("document.querySelectorAll('#steps li').length === 7");
    let mut half = program.connect();
    half.write_all(b"GET / HT").unwrap();
    browser.wait_for("document.querySelector('#count-H').textContent === '1'");
    let mut kept = program.connect();
    kept.write_all(b"GET /style.css HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    browser.wait_for("document.querySelector('#count-K').textContent === '1'");
    // A click on the mark in the box of heads asks what it waits for.
    let click = "(() => { const mark = [...marks.values()].find(mark => mark.letter === 'H'), at = position(mark), \
                 edge = map.getBoundingClientRect(); map.dispatchEvent(new MouseEvent('click', \
                 { clientX: edge.left + at.x, clientY: edge.top + at.y })); return true; })()";
    browser.evaluate(click);
    browser.wait_for("document.querySelector('#asked').textContent.includes('the rest of a head')");
    browser.wait_for("document.querySelector('#asked').textContent.includes('it is answered 408')");
    drop(half);
    browser.wait_for("document.querySelector('#count-H').textContent === '0'");
    // It fits a telephone.
    let size = serde_json::json!({ "width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": true });
    browser.post(
        "/goog/cdp/execute",
        serde_json::json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size }),
    );
    browser.wait_for("document.documentElement.scrollWidth <= 390");
    // Ten thousand in one state stay squares with gaps between them, which say how many each of them stands for.
    browser.wait_for("map.width === map.clientWidth * 2");
    let crowd = "(() => { place([{ reactor: 0, marks: 'K'.repeat(9900) + 'k'.repeat(100) }]); \
                 const said = [], write = drawing.fillText; \
                 drawing.fillText = words => said.push(words); draw(); drawing.fillText = write; \
                 const box = boxes.K, { size, across, each } = cells(box), y = (box.y + box.top + 2 + size / 2) * scale; \
                 const row = drawing.getImageData((box.x + 6) * scale, y, across * size * scale, 1).data; \
                 let edges = 0; \
                 for (let at = 4; at < row.length; at += 4) if (row[at] !== row[at - 4]) edges += 1; \
                 return size >= 5 && each > 1 && box.used === 10000 && edges >= 2 * across - 1 && \
                 said.some(words => words.includes(`■ = ${each}`)) ? 'squares' : \
                 JSON.stringify([size, across, each, edges, said]); })()";
    assert_eq!(browser.evaluate(crowd), "squares");
    drop(program);
    browser.wait_for("document.querySelector('#state').textContent.startsWith('no connection')");
}
