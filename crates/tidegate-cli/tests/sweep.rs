//! Tests the sweeps of `tidegate bench` as their users meet them: the program itself, against servers in this process
//! that know what they were asked.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use support::loopback::{PATIENCE, Running, serve};
use support::process::{Ended, Lines, run, tidegate};
use support::temp_folder::TempFolder;
use tidegate::limits::Limits;

const QUICK: [&str; 4] = ["--duration=150ms", "--warm-up=20ms", "--rounds=2", "--timeout=5s"];

/// A server that counts what it answers.
struct Counting {
    url: String,
    count: Arc<AtomicU64>,
    // Runs until it is dropped.
    _server: Running,
}

impl Counting {
    fn start() -> Counting {
        let count = Arc::new(AtomicU64::new(0));
        let counted = count.clone();
        let server = serve(
            move |_, start_response| {
                counted.fetch_add(1, Ordering::SeqCst);
                start_response.status(200).send("Hello, World!")
            },
            Limits::default(),
        );
        Counting { url: format!("http://{}/", server.address()), count, _server: server }
    }
}

/// Runs a sweep, and returns the exit status, the figures, and what it says.
fn sweep(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let Ended { code, stdout, stderr } = run(&[&["bench", "--json"], &QUICK[..], arguments].concat());
    let figures = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    (code, figures, stderr)
}

/// Returns the points of a server.
fn points(figures: &Value, sweep: usize, server: usize) -> &Vec<Value> {
    let points = figures.pointer(&format!("/sweeps/{sweep}/servers/{server}/points"));
    points.and_then(Value::as_array).unwrap_or_else(|| panic!("{figures}"))
}

fn numbers(points: &[Value]) -> Vec<u64> {
    points.iter().map(|point| point["connections"].as_u64().unwrap()).collect()
}

#[test]
fn every_server_is_measured_at_every_point() {
    let servers = [Counting::start(), Counting::start(), Counting::start()];
    let named: Vec<String> =
        servers.iter().zip(["one", "two", "three"]).map(|(s, name)| format!("{name}={}", s.url)).collect();
    let (code, figures, stderr) =
        sweep(&[&named[0], "--against", &named[1], "--against", &named[2], "--sweep", "1..5"]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    for (index, server) in servers.iter().enumerate() {
        assert!(server.count.load(Ordering::SeqCst) > 0);
        let points = points(&figures, 0, index);
        assert_eq!(numbers(points), [1, 2, 5], "{figures}");
        for point in points {
            let held = point["connections"].as_u64().unwrap();
            assert_eq!((&point["rounds"], &point["held"]), (&2.into(), &serde_json::json!([held, held])));
            for figure in ["requests_per_second", "p50_us", "p99_us", "p99_9_us"] {
                let [median, least, most] =
                    ["median", "least", "most"].map(|name| point["figures"][figure][name].as_f64().unwrap());
                assert!(0.0 < least && least <= median && median <= most, "{figure}: {point}");
            }
            assert_eq!(point["figures"]["errors"]["most"], 0.0, "{point}");
        }
    }
    assert_eq!(figures["sweeps"][0]["servers"][2]["name"], "three");
    assert_eq!(figures["shortfalls"], serde_json::json!([]));
}

#[test]
fn idle_connections_are_swept_beside_active_ones() {
    let server = Counting::start();
    let (code, figures, _) = sweep(&[&server.url, "-c2", "--sweep=3", "--sweep-idle=10,120"]);
    assert_eq!(code, Some(0));
    assert_eq!(
        (figures["sweeps"][0]["axis"].as_str(), numbers(points(&figures, 0, 0))),
        (Some("active"), vec![3])
    );
    let idle = points(&figures, 1, 0);
    assert_eq!((figures["sweeps"][1]["axis"].as_str(), numbers(idle)), (Some("idle"), vec![10, 120]));
    assert_eq!(idle[1]["held"], serde_json::json!([122, 122]));
    // The memory of a few is lost in that of a page.
    assert_eq!(idle[0]["figures"]["bytes_per_connection"], Value::Null);
    #[cfg(target_os = "linux")]
    assert!(idle[1]["figures"]["bytes_per_connection"]["median"].is_number(), "{figures}");
}

#[test]
fn table_and_values_have_a_line_for_every_point() {
    let server = Counting::start();
    let arguments = [&["bench", "--sweep=2,4"], &QUICK[..]].concat();
    let named = format!("a, b={}", server.url);
    let Ended { code, stdout, stderr } = run(&[&arguments[..], &[&named]].concat());
    assert_eq!((code, &*stderr), (Some(0), ""));
    for part in ["Connections that send requests", "requests/s", "p99.9", &server.url, "closed loop, 0.15 s"]
    {
        assert!(stdout.contains(part), "no {part} in {stdout}");
    }
    let rows = stdout.lines().filter(|line| line.contains("  a, b  ") && line.contains('±')).count();
    assert_eq!(rows, 2, "{stdout}");
    let Ended { code, stdout, .. } = run(&[&arguments[..], &[&named, "--csv"]].concat());
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(lines[0].starts_with("axis,server,connections,rounds,requests_per_second,"), "{stdout}");
    assert!(
        lines[1].starts_with("active,\"a, b\",2,2,") && lines[2].starts_with("active,\"a, b\",4,2,"),
        "{stdout}"
    );
    let columns = lines[0].split(',').count();
    assert_eq!((lines.len(), lines[1].replace("\"a, b\"", "a").split(',').count()), (3, columns), "{stdout}");
}

/// A server that answers a number of requests, then ends, and its URL.
fn mortal(requests: usize) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let life = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(listener);
        let mut bytes = [0; 4096];
        for _ in 0..requests {
            if !matches!(stream.read(&mut bytes), Ok(1..)) {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    (url, life)
}

#[test]
fn server_that_is_gone_sits_out_and_the_others_go_on() {
    let (alive, (url, life)) = (Counting::start(), mortal(20));
    let (code, figures, stderr) = sweep(&[&format!("mortal={url}"), "--against", &alive.url, "--sweep=1,2"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("mortal at 1 connections: stopped answering"), "{stderr}");
    assert!(figures["shortfalls"][0].as_str().unwrap().starts_with("mortal at 1 "), "{figures}");
    assert!(points(&figures, 0, 0).len() <= 1, "{figures}");
    assert_eq!(numbers(points(&figures, 0, 1)), [1, 2], "{figures}");
    life.join().unwrap();
}

#[test]
fn interruption_keeps_the_points_so_far() {
    let server = Counting::start();
    let mut child = tidegate()
        .args(["bench", &server.url, "--json", "--sweep=1..1000", "-d200ms", "--warm-up=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = Lines::of(child.stdout.take().unwrap());
    let start = Instant::now();
    // Two rounds of the first point have passed, or more.
    thread::sleep(Duration::from_millis(600));
    while server.count.load(Ordering::SeqCst) < 100 && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let stdout = stdout.rest();
    assert!(child.wait().unwrap().success(), "{stdout}");
    let figures: Value = serde_json::from_str(&stdout).unwrap();
    let points = points(&figures, 0, 0);
    assert!(!points.is_empty() && points.len() < 10, "{figures}");
    assert!(figures["shortfalls"].to_string().contains("interrupted"), "{figures}");
}

#[test]
fn points_beyond_the_descriptors_are_left_out_and_told() {
    let server = Counting::start();
    let program = format!("ulimit -n 100 && exec {} bench \"$@\"", support::process::path());
    let mut shell = support::process::command("sh");
    shell.args(["-c", &program, "sh", &server.url, "--json", "--sweep=10,500"]).args(QUICK);
    let Ended { code, stdout, stderr } = support::process::run_command(&mut shell);
    assert_eq!(code, Some(0), "{stderr}");
    let figures: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(numbers(points(&figures, 0, 0)), [10]);
    assert!(
        figures["shortfalls"][0].as_str().unwrap().starts_with("500 connections were left out"),
        "{figures}"
    );
}

#[test]
fn sweeps_that_make_no_sense_are_refused() {
    for (arguments, words) in [
        (&["http://a/", "--sweep", "0..5"][..], &["--sweep", "begins with 1"][..]),
        (&["http://a/", "--sweep", "50..5"], &["5..50"]),
        (&["http://a/", "--sweep", "many"], &["10..10000"]),
        (&["http://a/", "--sweep", "5", "-c3"], &["--sweep", "--connections"]),
        (&["http://a/", "--sweep-idle", "5", "--idle", "3"], &["--sweep-idle", "--idle"]),
        (&["http://a/", "--sweep-idle", "5", "-c0", "--rate=5"], &["--rate needs"]),
        (&["http://a/", "--sweep-idle", "1048576"], &["a million"]),
        (&["http://a/", "--csv"], &["--csv", "--sweep"]),
        (&["http://a/", "--report", "a.html"], &["--report", "--sweep"]),
        (&["http://a/", "--sweep", "5", "--csv", "--json"], &["--csv", "--json"]),
        (&["http://a/", "--sweep", "5", "--rounds", "0"], &["--rounds 0"]),
        (&["http://a/", "--against", "http://b/", "--against", "http://c/"], &["--against", "--sweep"]),
        (&["http://a/", "--sweep", "5", "--against", "http://a"], &["two servers", "NAME=URL"]),
        (&["x=http://a/", "--sweep", "5", "--against", "x=http://b/"], &["two servers", "\"x\""]),
        (&["=http://a/"], &["no name"]),
        (&["http://a/", "--processes", "0"], &["--processes", "auto"]),
        (&["http://a/", "--source", "here"], &["--source"]),
        (&["http://a/", "--part", "[]"], &["--part"]),
    ] {
        let ended = run(&[&["bench"], arguments].concat());
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{arguments:?}: {}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{arguments:?}: no {word:?} in {}", ended.stderr);
        }
    }
}

#[test]
fn each_curve_is_drawn_into_a_file_of_its_own() {
    let (server, folder) = (Counting::start(), TempFolder::new());
    let path = folder.path().join("curve.svg");
    let arguments = ["--sweep=2,4", "--sweep-idle=3", "--plot", path.to_str().unwrap()];
    let (code, _, stderr) = sweep(&[&[&*server.url], &arguments[..]].concat());
    assert_eq!((code, &*stderr), (Some(0), ""));
    for name in ["throughput", "p50", "p99", "p999", "percentiles", "idle-throughput", "idle-percentiles"] {
        let svg = std::fs::read_to_string(folder.path().join(format!("curve-{name}.svg"))).unwrap();
        assert!(
            svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.contains("<polyline"),
            "{name}"
        );
        assert!(svg.contains("prefers-color-scheme: dark") && !svg.contains("NaN"), "{name}: {svg}");
    }
    // Nothing is there that was not drawn.
    let folder = TempFolder::new();
    let path = folder.path().join("curve.svg");
    let (code, _, stderr) = sweep(&[&server.url, "--sweep-idle=3", "--plot", path.to_str().unwrap()]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("<svg "), "{}", path.display());
    }
    let ended = run(&["bench", &server.url, "--sweep=2", "--report", "/no/such/folder/a.html"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("/no/such/folder/a.html"), "{}", ended.stderr);
}

#[test]
fn several_processes_hold_what_one_may_not() {
    let server = Counting::start();
    let program = format!("ulimit -n 100 && exec {} bench \"$@\"", support::process::path());
    let mut shell = support::process::command("sh");
    shell.args(["-c", &program, "sh", &server.url, "--json", "-c4", "--sweep-idle=20,120"]);
    shell.args(["--processes=auto"]).args(QUICK);
    let Ended { code, stdout, stderr } = support::process::run_command(&mut shell);
    assert_eq!((code, &*stderr), (Some(0), ""));
    let figures: Value = serde_json::from_str(&stdout).unwrap();
    let points = points(&figures, 0, 0);
    assert_eq!(numbers(points), [20, 120], "{figures}");
    assert_eq!(points[1]["held"], serde_json::json!([124, 124]), "{figures}");
    assert!(points[1]["figures"]["requests_per_second"]["least"].as_f64().unwrap() > 0.0, "{figures}");
    assert_eq!(figures["shortfalls"], serde_json::json!([]));
}

/// A limit that may be raised is no reason for a second process, but for raising it.
#[test]
fn limit_that_may_be_raised_is_raised_with_any_number_of_processes() {
    let server = Counting::start();
    let program = format!("ulimit -Sn 256 && exec {} bench \"$@\"", support::process::path());
    for (manner, held) in
        [(&["-c300"][..], "/held/active"), (&["--sweep=300"], "/sweeps/0/servers/0/points/0/held/0")]
    {
        let mut shell = support::process::command("sh");
        shell.args(["-c", &program, "sh", &server.url, "--json", "--processes=auto"]).args(manner);
        shell.args(&QUICK[..2]);
        let Ended { code, stdout, stderr } = support::process::run_command(&mut shell);
        assert_eq!((code, &*stderr), (Some(0), ""), "{manner:?}");
        let figures: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(figures.pointer(held), Some(&300.into()), "{figures}");
    }
}

/// The processes of the rig have counted together what the server has.
#[test]
fn figures_of_several_processes_are_their_sum() {
    let server = Counting::start();
    let arguments = ["bench", "--json", "-c6", "--processes=3", "--rate=300", "-d1s", "--warm-up=100ms"];
    let Ended { code, stdout, stderr } = run(&[&arguments[..], &[&server.url]].concat());
    assert_eq!((code, &*stderr), (Some(0), ""));
    let figures: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(figures["in_all"]["answered"], server.count.load(Ordering::SeqCst), "{figures}");
    assert_eq!((&figures["answered"], &figures["held"]["active"]), (&300.into(), &6.into()), "{figures}");
    assert_eq!(figures["load"]["connections"], 6);
    #[cfg(target_os = "linux")]
    assert!(figures["server"]["cpu_us_per_request"].as_f64().is_some_and(|micros| micros > 0.0), "{figures}");
}

#[test]
fn connections_come_from_the_addresses_that_were_chosen() {
    let seen = Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let notes = seen.clone();
    let server = serve(
        move |environ, start_response| {
            notes
                .lock()
                .unwrap()
                .insert(environ.client().peer.address().map(|address| address.ip().to_string()));
            start_response.status(200).send("")
        },
        Limits::default(),
    );
    let url = format!("http://{}/", server.address());
    let sources: &[&str] =
        if cfg!(target_os = "linux") { &["127.0.0.7", "127.0.0.8"] } else { &["127.0.0.1"] };
    let arguments: Vec<&str> = sources.iter().flat_map(|source| ["--source", source]).collect();
    let Ended { code, stdout, stderr } =
        run(&[&["bench", &url, "-c4", "-d200ms", "--warm-up=0"], &arguments[..]].concat());
    assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
    let seen: Vec<String> = seen.lock().unwrap().iter().flatten().cloned().collect();
    assert_eq!(seen.len(), sources.len(), "{seen:?}");
    assert!(seen.iter().zip(sources).all(|(seen, source)| seen.starts_with(source)), "{seen:?}");
}

#[test]
fn interruption_of_several_processes_prints_what_they_have() {
    let server = Counting::start();
    let mut child = tidegate()
        .args(["bench", &server.url, "--json", "-c4", "--processes=2", "-d1h", "--warm-up=0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = Lines::of(child.stdout.take().unwrap());
    let start = Instant::now();
    while server.count.load(Ordering::SeqCst) < 500 && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let stdout = stdout.rest();
    assert!(child.wait().unwrap().success(), "{stdout}");
    let figures: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(figures["in_all"]["answered"], server.count.load(Ordering::SeqCst), "{figures}");
}

/// Returns the processes that a process has started.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<Pid> {
    let ids =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let is_child = |id: &i32| {
        // Behind the name in brackets: the state, and the parent.
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_whitespace().nth(1).is_some_and(|of| of == parent.to_string())
    };
    ids.filter_map(|id| id.parse().ok()).filter(is_child).filter_map(Pid::from_raw).collect()
}

/// Nobody answers, so that no process is ready before the other has gone.
#[test]
#[cfg(target_os = "linux")]
fn process_that_dies_ends_the_others_which_would_wait_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let arguments = ["bench", &url, "-c0", "--idle=4", "--processes=2", "--timeout=1h"];
    let mut rig = support::process::Program::start_command(tidegate().args(arguments), 0);
    let parts = support::process::eventually(|| match &children(rig.id())[..] {
        parts @ [_, _] => Ok(parts.to_vec()),
        others => Err(std::io::Error::other(format!("there are {others:?}"))),
    });
    kill_process(parts[0], Signal::KILL).unwrap();
    rig.stderr.next_with("a process of the rig has ended before its time");
    assert_eq!(rig.wait().code(), Some(1));
    let other = format!("/proc/{}", parts[1].as_raw_nonzero());
    assert!(!std::path::Path::new(&other).exists(), "{other} is still there");
}

/// A server that takes a known time for each answer is measured as such, in both manners.
#[test]
fn server_of_known_delay_has_that_latency() {
    const DELAY: Duration = Duration::from_millis(80);
    let server = slow_server(DELAY);
    for manner in [&["-c3"][..], &["-c6", "--rate=20"]] {
        let arguments = [&["bench", "--json", &server, "-d1500ms", "--warm-up=100ms"], manner].concat();
        let Ended { code, stdout, stderr } = run(&arguments);
        assert_eq!((code, &*stderr), (Some(0), ""), "{stdout}");
        let figures: Value = serde_json::from_str(&stdout).unwrap();
        let millis = figures["latency_us"]["p50"].as_f64().unwrap() / 1e3;
        // A busy machine adds to it, but never takes from it.
        assert!((80.0..120.0).contains(&millis), "{manner:?}: {millis} ms");
        let rate = figures["requests_per_second"].as_f64().unwrap();
        let most = if manner.len() == 1 { 3.0 / DELAY.as_secs_f64() } else { 20.0 };
        assert!(rate <= most * 1.1 && rate >= most * 0.6, "{manner:?}: {rate} of {most}");
    }
}

/// A load generator: its name, its options in a closed loop and at a fixed rate, and how its report tells the rate.
type Tool = (&'static str, &'static [&'static str], &'static [&'static str], fn(&str) -> Option<f64>);

/// The rig finds of a server of known delay what others find.
#[test]
#[ignore = "needs wrk and h2load; on Debian or Ubuntu: apt-get install -y --no-install-recommends wrk nghttp2-client"]
fn others_agree_about_a_server_of_known_delay() {
    const DELAY: Duration = Duration::from_millis(20);
    const CONNECTIONS: f64 = 8.0;
    const RATE: f64 = 80.0;
    const TURNS: usize = 3;
    let wrk = |text: &str| text.split_once("Requests/sec:")?.1.split_whitespace().next()?.parse().ok();
    let h2load = |text: &str| text.split_once(" req/s,")?.0.rsplit_once(' ')?.1.parse().ok();
    let rig = |text: &str| serde_json::from_str::<Value>(text).ok()?["requests_per_second"].as_f64();
    let tools: [Tool; 3] = [
        (
            support::process::path(),
            &["bench", "--json", "-c8", "-d1s", "--warm-up=100ms"],
            &["bench", "--json", "-c8", "-d1s", "--warm-up=100ms", "--rate=80"],
            rig,
        ),
        ("wrk", &["-t1", "-c8", "-d1s"], &[], wrk),
        ("h2load", &["--h1", "-c8", "-D1"], &["--h1", "-c8", "-D1", "--rps=10"], h2load),
    ];
    let server = slow_server(DELAY);
    let median = |tool: &Tool, options: &[&str]| {
        let mut rates = Vec::new();
        for _ in 0..TURNS {
            let output = std::process::Command::new(tool.0).args(options).arg(&server).output().expect(
                "this test needs wrk and h2load; on Debian or Ubuntu: \
                 apt-get install -y --no-install-recommends wrk nghttp2-client",
            );
            let text = String::from_utf8_lossy(&output.stdout);
            rates.push((tool.3)(&text).unwrap_or_else(|| panic!("{} says {text:?}", tool.0)));
        }
        rates.sort_by(f64::total_cmp);
        rates[TURNS / 2]
    };
    for (is_open, known) in [(false, CONNECTIONS / DELAY.as_secs_f64()), (true, RATE)] {
        let options = |tool: &Tool| if is_open { tool.2 } else { tool.1 };
        let of_rig = median(&tools[0], options(&tools[0]));
        assert!((known * 0.5..known * 1.05).contains(&of_rig), "{of_rig} of {known}");
        for tool in tools[1..].iter().filter(|tool| !options(tool).is_empty()) {
            let rate: f64 = median(tool, options(tool));
            assert!((0.66..1.5).contains(&(of_rig / rate)), "{of_rig}, and {rate} of {}", tool.0);
        }
    }
}

/// Starts a server with a thread for each connection, which sleeps before each answer; returns its URL.
fn slow_server(delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes) {
                    thread::sleep(delay);
                    if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}
