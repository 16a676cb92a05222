//! Drives a browser: Debian's Chromium, headless, over WebDriver (<https://www.w3.org/TR/webdriver2/>) by plain HTTP and
//! JSON.
#![allow(dead_code)] // Each test file uses its own part of this.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::process::{Lines, PATIENCE};
use super::temp_folder::TempFolder;

const INSTALL: [&str; 5] = ["install", "-y", "--no-install-recommends", "chromium", "chromium-driver"];

/// The key under which WebDriver hands out elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser, in a profile of its own; ended when it is dropped.
pub struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    _profile: TempFolder,
}

impl Browser {
    pub fn start() -> Browser {
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
            // Keeps cache and dictionaries in memory: on a slow disk, they take longer than a test waits.
            "--incognito".to_string(),
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
        let wanted = json!({ "goog:chromeOptions": options, "pageLoadStrategy": "none", "goog:loggingPrefs": { "browser": "ALL" } });
        let started = browser.post("", json!({ "capabilities": { "alwaysMatch": wanted } }));
        let id = started["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Sends a command, and returns the value of its answer.
    pub fn post(&self, command: &str, parameters: Value) -> Value {
        let url = format!("{}{command}", self.session);
        let request = self.agent.post(&url).content_type("application/json");
        let mut response = request.send(parameters.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert!(response.status() == 200, "{command} {parameters}: {text}");
        answer["value"].take()
    }

    pub fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    /// Evaluates an expression of JavaScript in the page.
    pub fn evaluate(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.post("/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    pub fn wait_for(&self, expression: &str) {
        let start = Instant::now();
        while self.evaluate(expression) != true {
            let page = || self.evaluate("document.documentElement.outerHTML");
            assert!(start.elapsed() < PATIENCE, "{expression} never came true in {}", page());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Takes what the console has said of errors since it was last asked: of scripts, of policies, of what could not be
    /// loaded.
    pub fn console_errors(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" }));
        let errors = entries.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE");
        errors.map(|entry| entry["message"].as_str().unwrap().to_string()).collect()
    }

    /// The path of an element's commands.
    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector }));
        format!("/element/{}", found[ELEMENT].as_str().unwrap())
    }

    pub fn click(&self, selector: &str) {
        self.post(&format!("{}/click", self.element(selector)), json!({}));
    }

    pub fn enter(&self, selector: &str, text: &str) {
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
