//! The WebSocket examples in a browser, as their pages have it.

use super::served::Served;
use super::support::browser::Browser;

pub fn play(served: &Served) {
    let browser = Browser::start();
    let open = |page: &str| {
        browser.open(&format!("http://{}/examples/websocket/{page}", served.address()));
        browser.wait_for("document.readyState === 'complete'");
    };
    open("echo.xhtml");
    browser.click("#radio2");
    browser.click("#connect");
    browser
        .wait_for("document.querySelector('#console').textContent.includes('WebSocket connection opened')");
    browser.click("#echo");
    browser
        .wait_for("document.querySelector('#console').textContent.includes('Received: Here is a message!')");
    browser.click("#disconnect");
    browser.wait_for("document.querySelector('#console').textContent.includes('connection closed')");
    open("chat.xhtml");
    browser.wait_for("document.querySelector('#console').textContent.includes('has joined')");
    browser.enter("#chat", "high water\u{e007}");
    browser.wait_for("document.querySelector('#console').textContent.includes(': high water')");
    // The picture comes as a message of bytes.
    open("drawboard.xhtml");
    browser.wait_for("/[1-9]/.test(document.querySelector('#labelContainer').textContent)");
}
