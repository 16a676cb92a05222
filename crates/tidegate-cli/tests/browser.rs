//! Tests the welcome application, the WebSocket example and the report of a sweep in a browser: Debian's Chromium, headless, driven over WebDriver
//! (<https://www.w3.org/TR/webdriver2/>) by plain HTTP and JSON.

mod support;

#[path = "../../../examples/websocket.rs"]
#[allow(dead_code)]
mod websocket;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::loopback::serve_gateway;
use support::process::{Lines, PATIENCE, Program};
use support::temp_folder::TempFolder;
use tidegate::Server;

const INSTALL: [&str; 5] = ["install", "-y", "--no-install-recommends", "chromium", "chromium-driver"];

/// The key under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser, in a profile of its own; ended when it is dropped.
struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: TempFolder,
}

impl Browser {
    fn start() -> Browser {
        let (chromium, chromedriver) = programs();
        let mut driver = Command::new(chromedriver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let line = Lines::of(driver.stdout.take().unwrap()).next_with("started successfully on");
        let port = line.trim_end_matches('.').rsplit(' ').next().unwrap();
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(2 * PATIENCE))
            .build()
            .new_agent();
        let profile = TempFolder::new();
        let mut browser =
            Browser { driver, agent, session: format!("http://127.0.0.1:{port}/session"), _profile: profile };
        let flags = [
            "--headless".to_string(),
            "--no-sandbox".to_string(),
            "--disable-gpu".to_string(),
            "--disable-quic".to_string(),
            "--disable-dev-shm-usage".to_string(),
            "--no-first-run".to_string(),
            "--disable-background-networking".to_string(),
            "--disable-component-update".to_string(),
            "--disable-sync".to_string(),
            "--no-proxy-server".to_string(),
            format!("--user-data-dir={}", browser._profile.path().display()),
        ];
        let options = json!({ "binary": chromium, "args": flags });
        let wanted = json!({ "goog:chromeOptions": options, "pageLoadStrategy": "none" });
        let started = browser.post("", json!({ "capabilities": { "alwaysMatch": wanted } }));
        let id = started["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Sends a command, and returns the value of its answer.
    fn post(&self, command: &str, parameters: Value) -> Value {
        let url = format!("{}{command}", self.session);
        let request = self.agent.post(&url).content_type("application/json");
        let mut response = request.send(parameters.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert!(response.status() == 200, "{command} {parameters}: {text}");
        answer["value"].take()
    }

    fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    /// Evaluates an expression of JavaScript in the page.
    fn evaluate(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    fn wait_for(&self, expression: &str) {
        let start = Instant::now();
        while self.evaluate(expression) != true {
            let page = || self.evaluate("document.documentElement.outerHTML");
            assert!(start.elapsed() < PATIENCE, "{expression} never came true in {}", page());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The path of an element's commands.
    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector }));
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    fn click(&self, selector: &str) {
        self.post(&format!("{}/click", self.element(selector)), json!({}));
    }

    fn enter(&self, selector: &str, text: &str) {
        self.post(&format!("{}/value", self.element(selector)), json!({ "text": text }));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // So that the browser itself ends as well.
        let _ = self.agent.delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Finds browser and driver; they are installed if they are missing and can be.
fn programs() -> (PathBuf, PathBuf) {
    // One test installs, and the others find what it has installed.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_by_one = INSTALLING.lock();
    let find_both = || Some((find("chromium")?, find("chromedriver")?));
    if let Some(both) = find_both() {
        return both;
    }
    let command = format!("apt-get {}", INSTALL.join(" "));
    let is_root = rustix::process::geteuid().is_root();
    if let Some(apt_get) = find("apt-get").filter(|_| is_root) {
        eprintln!("chromium or chromedriver is missing, so this test runs: {command}");
        let update = Command::new(&apt_get).arg("update").status();
        let install = Command::new(&apt_get).args(INSTALL).env("DEBIAN_FRONTEND", "noninteractive").status();
        eprintln!("update: {update:?}, install: {install:?}");
    }
    find_both().unwrap_or_else(|| {
        panic!("this test needs Chromium and its WebDriver; on Debian or Ubuntu: sudo {command}")
    })
}

/// A program on the path.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

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
