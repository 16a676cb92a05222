//! Tests the welcome application, the WebSocket example and the report of a sweep in a browser.

mod support;

#[path = "../../../examples/websocket.rs"]
#[allow(dead_code)]
mod websocket;

use std::path::Path;

use serde_json::json;

use support::browser::Browser;
use support::loopback::serve_gateway;
use support::process::{PATIENCE, Program};
use support::temp_folder::TempFolder;
use tidegate::Server;

fn check_welcome_page(browser: &Browser, program: &Program) {
    browser.open(&program.url("/"));
    browser.wait_for("document.title === 'Welcome to tidegate'");
    browser.wait_for("document.readyState === 'complete'");
    let row = "[...document.querySelectorAll('#environ tr')]\
               .find(row => row.cells[0].textContent === 'HTTP_USER_AGENT')";
    let agent = browser.evaluate(&format!("{row}.cells[1].textContent"));
    assert!(agent.as_str().unwrap().contains("Chrome"), "{agent}");
    // The style was loaded, and the policy let it pass.
    let rules = browser.evaluate("document.styleSheets[0].cssRules.length");
    assert!(rules.as_u64().unwrap() > 10);
}

fn check_stream_grows(browser: &Browser) {
    browser.click("a[href='/stream']");
    browser.wait_for("document.title === 'A rising tide'");
    let count = "document.querySelectorAll('.tide li').length";
    let first = browser.evaluate(count).as_u64().unwrap();
    assert!(first < 10, "all was there at once");
    browser.wait_for(&format!("{count} > {first}"));
    browser.wait_for("document.body.textContent.includes('High water')");
    assert_eq!(browser.evaluate(count), 10);
}

fn check_upload(browser: &Browser, program: &Program, file: &Path) {
    browser.open(&program.url("/upload"));
    browser.wait_for("document.readyState === 'complete' && document.title === 'An upload'");
    browser.enter("input[type=file]", file.to_str().unwrap());
    browser.enter("input[type=text]", "Grüße <vom> Deich");
    browser.click("form button");
    browser.wait_for("document.title === 'It arrived'");
    browser.wait_for("document.readyState === 'complete'");
    let text = browser.evaluate("document.body.innerText");
    let text = text.as_str().unwrap();
    for word in ["multipart/form-data", "tide & time.bin", "123456789", "Grüße <vom> Deich"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[test]
fn browser_walks_through_the_welcome_application() {
    let program = Program::start(&[]);
    let folder = TempFolder::new();
    let file = folder.write("tide & time.bin", "123456789");
    let browser = Browser::start();
    check_welcome_page(&browser, &program);
    check_stream_grows(&browser);
    check_upload(&browser, &program, &file);
    browser.open(&program.url("/fail"));
    browser.wait_for("document.readyState === 'complete' && location.pathname === '/fail'");
    check_welcome_page(&browser, &program);
}

#[test]
fn browser_hears_the_echo_of_a_websocket() {
    let server = Server::new().listen("127.0.0.1:0".parse().unwrap());
    let server = serve_gateway(server, websocket::site(PATIENCE));
    let browser = Browser::start();
    browser.open(&format!("http://{}/", server.address()));
    browser.wait_for("document.querySelector('#state')?.textContent === 'open'");
    let texts = ["high water", "Grüße <vom> Deich", &"x".repeat(3000)];
    for (number, text) in (1..).zip(texts) {
        browser.enter("input", text);
        browser.click("form button");
        browser.wait_for(&format!("document.querySelectorAll('#echoes li').length === {number}"));
        let echo = browser.evaluate("document.querySelector('#echoes li:last-child').textContent");
        assert_eq!(echo, *text);
    }
    // Too long a message is refused with a reason, which reaches the page although the browser still sends.
    let too_long = websocket::MESSAGE_BYTES_MAX + 1;
    browser.evaluate(&format!("socket.send('x'.repeat({too_long}))"));
    browser.wait_for("document.querySelector('#state').textContent === 'closed (1009)'");
    // A page of another site gets no socket: 'about:blank' has the origin null.
    browser.open("about:blank");
    browser.wait_for("location.href === 'about:blank'");
    browser.evaluate(&format!(
        "(window.outcome = 'none', window.foreign = new WebSocket('ws://{}/echo'), \
         foreign.onopen = () => outcome = 'open', foreign.onclose = () => outcome = 'closed', null)",
        server.address()
    ));
    browser.wait_for("outcome !== 'none'");
    assert_eq!(browser.evaluate("outcome"), "closed");
}

/// Charts whose names, ticks or titles cover each other, or leave their chart.
const COLLISIONS: &str = "[...document.querySelectorAll('svg.chart')].flatMap(chart => { \
    const edge = chart.getBoundingClientRect(); \
    const texts = [...chart.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]); \
    return texts.filter(([name, a], index) => \
        a.left < edge.left - 1 || a.right > edge.right + 1 || a.top < edge.top - 1 || a.bottom > edge.bottom + 1 || \
        texts.slice(index + 1).some(([_, b]) => \
            a.left < b.right - 2 && b.left < a.right - 2 && a.top < b.bottom - 4 && b.top < a.bottom - 4)) \
        .map(([name]) => chart.getAttribute('aria-label') + ': ' + name); })";

#[test]
fn browser_shows_the_report_of_a_sweep() {
    let (program, folder) = (Program::start(&[]), TempFolder::new());
    let (path, url) = (folder.path().join("report.html"), program.url("/"));
    let named =
        ["one", "two", "three <b>", "a server whose name is very long"].map(|name| format!("{name}={url}"));
    let against = named[1..].iter().flat_map(|name| ["--against", name]);
    let arguments = ["bench", &named[0], "--sweep=1..20", "--sweep-idle=10,120", "-d60ms", "--warm-up=0"];
    let arguments: Vec<&str> = arguments.into_iter().chain(against).collect();
    let report = ["--rounds=2", "--report", path.to_str().unwrap()];
    let ended = support::process::run(&[&arguments[..], &report].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let browser = Browser::start();
    browser.open(&format!("file://{}", path.display()));
    browser
        .wait_for("document.readyState === 'complete' && document.querySelectorAll('svg.chart').length > 12");
    let text = browser.evaluate("document.body.innerText");
    let text = text.as_str().unwrap();
    for part in [
        "one, two, three <b> and a server whose name is very long from few",
        "--sweep=1..20",
        "descriptors of a process",
        "What the rig could not do",
        "coordinated omission",
        "HdrHistogram",
    ] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    // Everything is in the page, and every link leads to something in it.
    assert_eq!(browser.evaluate("performance.getEntriesByType('resource').length"), 0);
    let dangling = "[...document.querySelectorAll('a')].filter(a => !document.querySelector(a.hash)).length";
    assert_eq!(browser.evaluate(dangling), 0);
    assert_eq!(browser.evaluate(COLLISIONS), json!([]));
    // Each server has a dash of its own, so that colours are not needed.
    let dashes = "new Set([...document.querySelector('svg.chart').querySelectorAll('.line')]\
                  .map(line => getComputedStyle(line).strokeDasharray)).size";
    assert_eq!(browser.evaluate(dashes), 4);
    let rows = "document.querySelectorAll('table.all')[0].rows.length";
    assert_eq!(browser.evaluate(rows), 1 + 4 * 5);
    // An open loop sees the stall of the example, and a closed one does not.
    let p90 = |row: u32| {
        browser.evaluate(&format!("document.querySelector('.stall').rows[{row}].cells[3].innerText"))
    };
    assert_ne!(p90(1), p90(2));
    check_colours(&browser, &path);
}

/// The page is dark where its reader wants it so.
fn check_colours(browser: &Browser, path: &Path) {
    let paper = "getComputedStyle(document.body).backgroundColor";
    let mut papers = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let parameters = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        browser.post("/goog/cdp/execute", parameters);
        browser.open(&format!("file://{}", path.display()));
        browser.wait_for("document.readyState === 'complete'");
        papers.push(browser.evaluate(paper));
    }
    assert_ne!(papers[0], papers[1]);
}
