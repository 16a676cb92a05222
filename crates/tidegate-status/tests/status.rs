//! Tests the status server over real sockets: its page, metrics, health and connections, and that it answers while the
//! other server cannot.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::open_metrics::{check, samples};
use support::{Both, PATIENCE, ask_socket, eventually, get};

/// The events of a stream until this many frames have come: names and data.
fn events(both: &Both, frames: usize) -> Vec<(String, Value)> {
    let mut stream = TcpStream::connect(both.status()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get("/events").as_bytes()).unwrap();
    let mut events: Vec<(String, Value)> = Vec::new();
    let mut name = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_string();
        } else if let Some(data) = line.strip_prefix("data: ") {
            events.push((name.clone(), serde_json::from_str(data).unwrap()));
        }
        if events.iter().filter(|(name, _)| name == "frame").count() == frames {
            break;
        }
    }
    events
}

#[test]
fn page_loads_nothing_from_elsewhere() {
    let both = Both::serve();
    for (path, media_type) in
        [("/", "text/html"), ("/style.css", "text/css"), ("/live.js", "text/javascript")]
    {
        let (code, head, content) = both.ask(path);
        assert_eq!(code, 200, "{path}");
        assert!(head.contains(&format!("Content-Type: {media_type}")), "{head}");
        assert!(head.contains("default-src 'none'"), "{head}");
        assert!(!content.contains("http://") && !content.contains("https://"), "{path} names another place");
        assert!(
            !content.contains(" style=\"") && !content.contains("onclick"),
            "{path} has what is forbidden"
        );
    }
}

#[test]
fn live_views_that_nobody_reads_leave_places_for_who_asks_for_health() {
    let both = Both::serve();
    let view = || {
        let mut view = TcpStream::connect(both.status()).unwrap();
        view.set_read_timeout(Some(PATIENCE)).unwrap();
        view.write_all(get("/events").as_bytes()).unwrap();
        let mut line = [0; 12];
        view.read_exact(&mut line).unwrap();
        (String::from_utf8_lossy(&line[9..]).into_owned(), view)
    };
    let mut views: Vec<_> = (0..100).map(|_| view()).collect();
    for (number, (code, _)) in views.iter().enumerate() {
        assert_eq!(code, if number < 32 { "200" } else { "503" }, "view {number}");
    }
    assert_eq!(both.ask("/health").0, 200);
    // Who leaves makes room for another.
    views.clear();
    eventually(|| {
        thread::sleep(Duration::from_millis(10));
        let code = view().0;
        if code == "200" { Ok(()) } else { Err(code) }
    });
}

#[test]
fn names_of_the_page_are_those_of_the_server() {
    let both = Both::serve();
    let (_, hello) = events(&both, 1).remove(0);
    let script = both.ask("/live.js").2;
    for step in hello["steps"].as_array().unwrap() {
        let step = step.as_str().unwrap();
        assert!(script.contains(&format!("  {step}: [")), "the page does not know {step}");
    }
    let boxes: String = script.split("boxes: '").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    let legend = hello["legend"].as_array().unwrap();
    let mut letters: Vec<&str> = legend.iter().map(|kind| kind["letter"].as_str().unwrap()).collect();
    let mut drawn: Vec<&str> = boxes.split("").filter(|letter| !letter.is_empty()).collect();
    letters.sort_unstable();
    drawn.sort_unstable();
    assert_eq!(letters, drawn);
}

#[test]
fn metrics_are_open_metrics_for_who_asks_and_the_older_format_for_others() {
    let both = Both::serve();
    let _half = both.client("GET / HT");
    let _kept = both.answered("/");
    both.wait_for("Intake::Head");
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (code, head, text) = both.ask_with("/metrics", accept);
    assert_eq!(code, 200);
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    check(&text).unwrap_or_else(|error| panic!("{error} in:\n{text}"));
    let found = samples(&text);
    let value = |sample: &str| *found.get(sample).unwrap_or_else(|| panic!("no {sample} in:\n{text}"));
    assert_eq!(value("tidegate_connections{reactor=\"0\",stage=\"Intake::Head\"}"), 1.0);
    assert_eq!(value("tidegate_connections{reactor=\"0\",stage=\"Awaited::Next\"}"), 1.0);
    assert_eq!(value("tidegate_connections_accepted_total{reactor=\"0\"}"), 2.0);
    assert_eq!(value("tidegate_exchanges_total{reactor=\"0\",status=\"2xx\"}"), 1.0);
    assert_eq!(value("tidegate_exchange_seconds_count{reactor=\"0\"}"), 1.0);
    assert_eq!(value("tidegate_draining{reactor=\"0\"}"), 0.0);
    assert!(value("tidegate_memory_bytes{reactor=\"0\",holder=\"connections\"}") > 0.0);
    for (name, expected) in [("threads", 4.0), ("threads_busy", 3.0), ("waiting", 17.0)] {
        assert_eq!(value(&format!("tidegate_pool_{name}{{pool=\"a test\"}}")), expected);
    }
    let (_, head, text) = both.ask("/metrics");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(text.contains("# TYPE tidegate_exchanges_total counter\n") && !text.contains("# EOF"), "{text}");
}

#[test]
fn connections_are_described_by_name_and_in_words() {
    let both = Both::serve();
    let half = both.client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234");
    both.wait_for("Intake::Content");
    let all: Value = serde_json::from_str(&both.ask("/connections.json").2).unwrap();
    let one = &all["connections"][0];
    assert_eq!(one["peer"], half.local_addr().unwrap().to_string());
    assert_eq!((&one["request"], &one["wants"]), (&"Body".into(), &"Read".into()));
    assert_eq!(one["waits_for"], "more of the request's content");
    assert_eq!(one["otherwise"], "it is answered 408 (body_timeout)");
    let left: f64 = one["seconds_left"].as_f64().unwrap();
    assert!(left > 10.0 && left <= 30.0, "{one}");
    let path = format!("/connections.json?reactor=0&place={}", one["place"]);
    let found: Value = serde_json::from_str(&both.ask(&path).2).unwrap();
    assert_eq!(found["connections"][0]["number"], one["number"]);
    let (_, _, nobody) = both.ask("/connections.json?place=77");
    assert_eq!(nobody, "{\"connections\":[]}\n");
    assert_eq!(both.ask("/connections.json?place=x").0, 400);
}

#[test]
fn deadlines_of_answers_say_what_happens() {
    let both = Both::serve();
    let _uploads = both.client("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234");
    both.wait_for("Delivery::Deferred");
    let upgrade = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nbytes";
    let _tunnel = both.client(upgrade);
    let all = eventually(|| match both.ask("/connections.json").2 {
        // It has been offered bytes, and has refused them.
        text if text.contains("\"wants\":\"Application\"") => Ok(text),
        text => Err(text),
    });
    let all: Value = serde_json::from_str(&all).unwrap();
    let otherwise = |stage: &str| {
        let mut connections = all["connections"].as_array().unwrap().iter();
        connections.find(|one| one["stage"] == stage).unwrap()["otherwise"].as_str().unwrap()
    };
    let of_upload = "it is answered 408, or cut if its answer has begun (body_timeout)";
    assert_eq!(otherwise("Delivery::Deferred"), of_upload, "{all}");
    assert_eq!(otherwise("Delivery::Tunnel"), "it is cut if nothing has moved (tunnel_timeout)", "{all}");
}

#[test]
fn frames_come_by_themselves_and_have_every_connection_as_a_mark() {
    let both = Both::serve();
    let _half = both.client("GET / HT");
    let _kept = both.answered("/");
    let _slow = both.client(&get("/long"));
    both.wait_for("\"output\":\"Backlog\"");
    both.wait_for("Intake::Head");
    let events = events(&both, 3);
    assert_eq!(events[0].0, "hello");
    assert_eq!(events[0].1["serves"], "a test");
    let last = &events.last().unwrap().1["loops"][0];
    let mut marks: Vec<char> = last["marks"].as_str().unwrap().chars().collect();
    marks.sort_unstable();
    assert_eq!(marks, ['H', 'K', 's'], "a slow reader's is in lower case");
    assert_eq!(last["described"].as_array().unwrap().len(), 3);
    let turns = |index: usize| events[index].1["loops"][0]["turns"].as_u64().unwrap();
    assert!(turns(3) > turns(1), "to be looked at is a turn, too");
}

#[test]
fn browser_that_comes_later_is_shown_no_old_frame() {
    let both = Both::serve();
    let kept = both.answered("/");
    let marks = |events: Vec<(String, Value)>| events[1].1["loops"][0]["marks"].clone();
    assert_eq!(marks(events(&both, 1)), "K");
    // The stream that has ended is written to once more, and makes a frame for that.
    thread::sleep(Duration::from_millis(1_200));
    drop(kept);
    eventually(|| match both.ask("/connections.json").2 {
        text if text == "{\"connections\":[]}\n" => Ok(()),
        text => Err(text),
    });
    // Longer than two frames are apart, should that stream go on.
    thread::sleep(Duration::from_millis(600));
    assert_eq!(marks(events(&both, 1)), "", "the connection has gone before");
}

#[test]
fn health_tells_of_a_server_that_drains_and_of_one_whose_application_blocks_it() {
    let both = Both::serve();
    let (code, _, text) = both.ask("/health");
    assert_eq!((code, &*text), (200, "serving\n"));
    // Another reason than the one that is waited for may come before: a machine under load is slow, too.
    let await_reason = |expected: &str| {
        eventually(|| match both.ask("/health") {
            (503, _, text) if text.contains(expected) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    let _blocked = both.client(&get("/hold"));
    await_reason("the application blocks it");
    both.release();
    eventually(|| match both.ask("/health") {
        (200, ..) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let _busy = both.client(&get("/later"));
    both.wait_for("Delivery::Deferred");
    both.handle.drain();
    await_reason("draining\n");
}

#[test]
fn counters_are_known_while_the_application_blocks_the_loop() {
    let both = Both::serve();
    let _blocked = both.client(&get("/hold"));
    let accept = "Accept: application/openmetrics-text\r\n";
    eventually(|| {
        let metrics = both.ask_with("/metrics", accept).2;
        check(&metrics).unwrap_or_else(|error| panic!("{error} in:\n{metrics}"));
        let age = samples(&metrics)["tidegate_loop_turn_age_seconds{reactor=\"0\"}"];
        (age > 0.1 && !metrics.contains("tidegate_connections{")).then_some(()).ok_or(metrics)
    });
}

/// Returns a server with two event loops that each have a half head, and the clients that have sent them.
fn two_loops() -> (Both, Vec<TcpStream>) {
    let both = Both::serve_by(2, "127.0.0.1:0");
    let mut clients = Vec::new();
    eventually(|| {
        let text = both.ask("/connections.json").2;
        if text.contains("\"reactor\":0") && text.contains("\"reactor\":1") {
            return Ok(());
        }
        clients.push(both.client("GET / HT"));
        Err(format!("one loop gets all connections: {text}"))
    });
    (both, clients)
}

#[test]
fn loop_that_is_blocked_does_not_hide_the_others() {
    let (both, _clients) = two_loops();
    let _blocked = both.client(&get("/hold"));
    let blocked = eventually(|| {
        let (code, _, text) = both.ask("/health");
        let is_blocked = |number: &usize| {
            text.starts_with(&format!("event loop {number} of 2 has not answered"))
                && text.contains("the application blocks it")
        };
        (0..2).find(|number| code == 503 && is_blocked(number)).ok_or(text.clone())
    });
    let other = 1 - blocked;
    eventually(|| {
        let (_, frame) = events(&both, 1).pop().unwrap();
        let (seen, unseen) = (&frame["loops"][other], &frame["loops"][blocked]);
        let is_seen = seen["marks"].as_str().is_some_and(|marks| marks.contains('H'));
        let is_blocked = unseen["turn_lasts"].as_f64().is_some_and(|seconds| seconds > 0.9);
        (is_seen && is_blocked && unseen["marks"].is_null()).then_some(()).ok_or(frame.to_string())
    });
    eventually(|| {
        let metrics = both.ask("/metrics").2;
        let has = |number| metrics.contains(&format!("tidegate_connections{{reactor=\"{number}\""));
        (has(other) && !has(blocked)).then_some(()).ok_or(metrics.clone())
    });
    eventually(|| {
        let (code, _, text) = both.ask("/connections.json");
        let all: Value = serde_json::from_str(&text).unwrap_or_default();
        let is_known = code == 200 && all["connections"][0]["reactor"] == other;
        (is_known && all["silent_reactors"] == serde_json::json!([blocked])).then_some(()).ok_or(text)
    });
    let (code, _, text) = both.ask(&format!("/connections.json?reactor={blocked}"));
    assert_eq!(code, 503, "what is asked for is not known: {text}");
}

#[test]
fn health_says_that_a_server_drains_of_which_one_loop_has_ended() {
    let (both, clients) = two_loops();
    let _busy = both.client(&get("/later"));
    both.wait_for("Delivery::Deferred");
    drop(clients);
    both.handle.drain();
    eventually(|| {
        let metrics = both.ask("/metrics").2;
        let drains = |number| metrics.contains(&format!("tidegate_draining{{reactor=\"{number}\"}} 1"));
        (drains(0) != drains(1)).then_some(()).ok_or(metrics.clone())
    });
    let health = || Some(both.ask("/health")).filter(|(code, ..)| *code == 503).map(|(.., text)| text);
    eventually(|| match health() {
        Some(text) if text == "draining\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn strange_names_and_methods_are_refused() {
    let both = Both::serve();
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(both.status()).unwrap();
        ask_socket(&mut stream, request).0
    };
    assert_eq!(ask("GET / HTTP/1.0\r\nHost: rebound.example:80\r\n\r\n"), 421);
    assert_eq!(ask("GET / HTTP/1.0\r\nHost: localhost:80\r\n\r\n"), 200);
    assert_eq!(ask("DELETE /health HTTP/1.0\r\nHost: localhost\r\n\r\n"), 405);
    assert_eq!(both.ask("/other").0, 404);
}

#[test]
fn other_machines_cannot_reach_it() {
    for address in ["0.0.0.0:0", "192.0.2.1:80", "[::]:0"] {
        let refused = tidegate_status::check_address(&address.parse().unwrap()).unwrap_err();
        assert!(refused.contains("127.0.0.1:PORT or unix:PATH"), "{refused}");
    }
    let both = Both::serve_on(&support::unix_address());
    let mut stream = std::os::unix::net::UnixStream::connect(both.path()).unwrap();
    assert_eq!(ask_socket(&mut stream, "GET /health HTTP/1.0\r\n\r\n").2, "serving\n");
}

#[test]
fn streams_end_with_the_server() {
    let both = Both::serve();
    let mut stream = TcpStream::connect(both.status()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(get("/events").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 10]).unwrap();
    drop(both);
    // An end or a reset: in any case it does not wait for ever.
    if let Err(error) = stream.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}
