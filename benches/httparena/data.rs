//! The folder that the arena mounts as `/data`: a data set of fifty items, and twenty files with their codings.
//!
//! Names and lengths are the arena's; what the files contain means nothing, and what is called `.br` or `.gz` is no
//! coding of anything: an entry is to send what lies on the disk.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

/// A file below `static/`: its name, its length, and that of its `.br` and `.gz`; 0 where there are none.
pub struct File {
    pub name: &'static str,
    #[allow(dead_code, reason = "only tests ask for it")]
    pub media_type: &'static str,
    pub bytes: usize,
    pub coded_bytes: [usize; 2],
}

const CSS: &str = "text/css";
const JS: &str = "text/javascript";
const HTML: &str = "text/html";
const SVG: &str = "image/svg+xml";
const FONT: &str = "font/woff2";
const IMAGE: &str = "image/webp";
const JSON: &str = "application/json";

/// The endings of the codings, in the order of their lengths.
pub const CODINGS: [(&str, &str); 2] = [("br", "br"), ("gz", "gzip")];

pub const FILES: [File; 20] = [
    text("reset.css", CSS, 8),
    text("layout.css", CSS, 25),
    text("theme.css", CSS, 40),
    text("components.css", CSS, 200),
    text("utilities.css", CSS, 60),
    text("analytics.js", JS, 12),
    text("helpers.js", JS, 15),
    text("app.js", JS, 65),
    text("vendor.js", JS, 300),
    text("router.js", JS, 35),
    text("header.html", HTML, 120),
    text("footer.html", HTML, 55),
    packed("regular.woff2", FONT, 18),
    packed("bold.woff2", FONT, 22),
    text("logo.svg", SVG, 15),
    text("icon-sprite.svg", SVG, 70),
    packed("hero.webp", IMAGE, 45),
    packed("thumb1.webp", IMAGE, 8),
    packed("thumb2.webp", IMAGE, 6),
    text("manifest.json", JSON, 3),
];

/// The number of items in the data set.
pub const ITEMS: usize = 50;

const fn text(name: &'static str, media_type: &'static str, kilobytes: usize) -> File {
    let bytes = kilobytes * 1_000;
    File { name, media_type, bytes, coded_bytes: [bytes / 5, bytes / 4] }
}

const fn packed(name: &'static str, media_type: &'static str, kilobytes: usize) -> File {
    File { name, media_type, bytes: kilobytes * 1_000, coded_bytes: [0; 2] }
}

/// The content of a file: its name, over and over.
pub fn content(name: &str, bytes: usize) -> Vec<u8> {
    format!("{name} ").bytes().cycle().take(bytes).collect()
}

/// Writes all of it into a folder.
///
/// # Errors
/// Returns the error of the system.
pub fn write(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("dataset.json"), dataset())?;
    let folder = folder.join("static");
    fs::create_dir_all(&folder)?;
    for file in &FILES {
        fs::write(folder.join(file.name), content(file.name, file.bytes))?;
        for ((ending, _), bytes) in CODINGS.iter().zip(file.coded_bytes) {
            let name = format!("{}.{ending}", file.name);
            if bytes > 0 {
                fs::write(folder.join(&name), content(&name, bytes))?;
            }
        }
    }
    Ok(())
}

/// Returns price and quantity of an item, which begin with 0 here.
pub fn price_and_quantity(at: usize) -> (i64, i64) {
    let at = at as i64;
    (30 + at * 37 % 970, 1 + at * 11 % 40)
}

fn dataset() -> String {
    let mut json = String::from("[");
    for at in 0..ITEMS {
        let ((price, quantity), separator) = (price_and_quantity(at), if at == 0 { "" } else { "," });
        let (id, active, score, count) = (at + 1, at % 3 != 0, at * 7 % 50, at * 13 % 500);
        // A String takes all that is written.
        let _ = write!(
            json,
            "{separator}\n{{\"id\": {id}, \"name\": \"Alpha \\\"Widget\\\" {id}\", \"category\": \"electronics\", \
             \"price\": {price}, \"quantity\": {quantity}, \"active\": {active}, \"tags\": [\"fast\", \"new\"], \
             \"rating\": {{\"score\": {score}, \"count\": {count}}}}}"
        );
    }
    json + "\n]\n"
}
