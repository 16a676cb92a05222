//! Tests `tidegate static` with sites that others have made, as a browser goes through them.
//!
//! The site is Python's documentation as Debian packs it: pages with scripts, styles, images and links out of the
//! folder. Its sources are a tree without pages, which is listed.

mod support;

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::browser::Browser;
use support::process::Program;

const FOLDER: &str = "/usr/share/doc/python3-doc/html";
const INSTALL: &str = "apt-get install -y --no-install-recommends python3-doc";

/// Most pages that are opened. 40: they are of all kinds by then.
const PAGES_MAX: usize = 40;
/// Fewest pages that are opened, however slow the machine.
const PAGES_MIN: usize = 10;
/// Time after which no further page is opened.
const TIME_MAX: Duration = Duration::from_secs(25);

/// Links of the site that lead nowhere, and why.
const DEAD: &[(&str, &str)] =
    &[("/whatsnew/changelog.html", "Debian leaves this page out of the package, and the links to it in")];

/// A browser that goes from page to page.
struct Crawl<'a> {
    browser: &'a Browser,
    program: &'a Program,
    client: ureq::Agent,
    /// Targets that were seen, whether or not they are pages.
    seen: HashSet<String>,
    /// Pages that are still to be opened.
    pages: VecDeque<String>,
    /// The faults that were found.
    failures: Vec<String>,
}

impl Crawl<'_> {
    /// Opens the pages that can be reached from the first, the nearest first. Returns how many.
    fn run(&mut self, first: &str) -> usize {
        let (begun, mut count) = (Instant::now(), 0);
        self.note(first.to_string(), "the beginning");
        while let Some(target) = self.pages.pop_front()
            && count < PAGES_MAX
            && (count < PAGES_MIN || begun.elapsed() < TIME_MAX)
        {
            count += 1;
            self.open(&target);
        }
        count
    }

    /// Opens a page, and notes whither it leads and what the browser finds wrong with it.
    fn open(&mut self, target: &str) {
        let url = self.program.url(target);
        self.browser.open(&url);
        self.browser.wait_for(&format!(
            "location.href === {} && document.readyState === 'complete'",
            Value::from(url)
        ));
        let failed = "['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))\
                      .filter(entry => ![200, 304].includes(entry.responseStatus))\
                      .map(entry => entry.name + ': ' + entry.responseStatus)";
        let failed = texts(&self.browser.evaluate(failed));
        let errors = self.browser.console_errors();
        self.failures.extend(failed.iter().chain(&errors).map(|failure| format!("{target}: {failure}")));
        let links = "[...document.links].filter(link => link.origin === location.origin)\
                     .map(link => link.pathname + link.search)";
        for link in texts(&self.browser.evaluate(links)) {
            self.note(link, target);
        }
    }

    /// Asks what a link leads to: a page is opened later.
    fn note(&mut self, target: String, of: &str) {
        if DEAD.iter().any(|(dead, _)| *dead == target) || !self.seen.insert(target.clone()) {
            return;
        }
        let answer = self.client.head(self.program.url(&target)).call().unwrap();
        if answer.status() != 200 {
            self.failures.push(format!("{of}: its link {target} is answered with {}", answer.status()));
        } else if answer.headers()["Content-Type"] == "text/html; charset=utf-8" {
            self.pages.push_back(target);
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_string()).collect()
}

fn serve(options: &[&str]) -> Program {
    assert!(Path::new(FOLDER).exists(), "this test needs python3-doc; on Debian or Ubuntu: {INSTALL}");
    Program::start(&[&["static", FOLDER], options].concat())
}

#[test]
#[ignore = "needs python3-doc; on Debian or Ubuntu: apt-get install -y --no-install-recommends python3-doc"]
fn browser_finds_nothing_wrong_with_the_pages_of_others_nor_with_listings() {
    // Debian's scripts lie in a package of their own.
    let program = serve(&["--follow-links", "anywhere", "--precompressed", "--compress"]);
    let browser = Browser::start();
    for first in ["/", "/_sources/"] {
        let client =
            ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().new_agent();
        let (seen, pages, failures) = (HashSet::new(), VecDeque::new(), Vec::new());
        let mut crawl = Crawl { browser: &browser, program: &program, client, seen, pages, failures };
        let count = crawl.run(first);
        assert!(crawl.failures.is_empty(), "of {count} pages:\n{}", crawl.failures.join("\n"));
        assert!(count >= PAGES_MIN && crawl.seen.len() > count, "{count} pages, {:?}", crawl.seen);
    }
}

#[test]
#[ignore = "needs python3-doc; on Debian or Ubuntu: apt-get install -y --no-install-recommends python3-doc"]
fn script_that_lies_elsewhere_is_missed_until_its_link_is_followed() {
    let program = serve(&[]);
    let script = "/_static/jquery.js";
    assert_eq!(program.get(script).code, 404);
    let line = program.stderr.next_with("leads out of the folder");
    assert!(line.contains("jquery.js") && line.contains("--follow-links anywhere"), "{line}");
    let browser = Browser::start();
    browser.open(&program.url("/"));
    browser.wait_for("document.readyState === 'complete' && document.title.includes('Documentation')");
    // The browser of these tests does notice what is missing.
    let errors = browser.console_errors();
    assert!(errors.iter().any(|error| error.contains(script)), "{errors:?}");
}
