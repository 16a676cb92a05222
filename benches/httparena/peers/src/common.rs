//! Reads the same parameters and files for each peer.
#![allow(dead_code, reason = "one peer uses one part, and the other another")]

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::str;

use crate::dataset::Dataset;

pub struct Data {
    pub dataset: Dataset,
    folder: PathBuf,
}

/// A file as it is sent.
pub struct File {
    pub media_type: &'static str,
    pub coding: Option<&'static str>,
    pub content: Vec<u8>,
}

const MEDIA_TYPES: [(&str, &str); 8] = [
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("html", "text/html"),
    ("svg", "image/svg+xml"),
    ("woff2", "font/woff2"),
    ("webp", "image/webp"),
    ("json", "application/json"),
    ("", "application/octet-stream"),
];

/// Binds the address and reads the data that the command line names.
pub fn start() -> (TcpListener, Data) {
    let mut arguments = std::env::args().skip(1);
    let address: SocketAddr = arguments.next().and_then(|text| text.parse().ok()).expect("an address");
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let listener = TcpListener::bind(address).expect("a free address");
    let dataset = Dataset::read(&folder.join("dataset.json")).expect("a data set");
    eprintln!("listens on {}", listener.local_addr().expect("an address"));
    (listener, Data { dataset, folder: folder.join("static") })
}

/// A parameter that is a number.
pub fn number(query: &str, name: &str) -> Option<i64> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(other, _)| *other == name)?.1.parse().ok()
}

/// Content that is a number, or none.
pub fn content(bytes: &[u8]) -> Option<i64> {
    match bytes.trim_ascii() {
        b"" => Some(0),
        digits => str::from_utf8(digits).ok()?.parse().ok(),
    }
}

impl Data {
    /// Reads a file, coded if that lies beside it and is taken.
    pub fn file(&self, name: &str, codings: &str) -> Option<File> {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let media_type = MEDIA_TYPES.iter().find(|(other, _)| *other == ending)?.1;
        if name.contains("..") {
            return None;
        }
        for (coding, ending) in [("br", "br"), ("gzip", "gz")] {
            if codings.contains(coding)
                && let Ok(content) = fs::read(self.folder.join(format!("{name}.{ending}")))
            {
                return Some(File { media_type, coding: Some(coding), content });
            }
        }
        let content = fs::read(self.folder.join(name)).ok()?;
        Some(File { media_type, coding: None, content })
    }
}
