//! The first sentence of a doc comment must make sense alone: it is read in a hover, where neither the lines above
//! nor the name of the file can be seen.
//!
//! [`HEADLESS`] and [`NAMELESS`] list openings that leave out what the sentence is about. The last test feeds the
//! check with bad snippets, to show that it can fail.

use std::fs;
use std::path::{Path, PathBuf};

/// Openings of sentences without a subject, or with one that only their surroundings name.
const HEADLESS: &[&str] = &[
    "And", "As", "Besides", "But", "From", "How it", "In", "It", "Its", "Nor", "Of", "On", "One that", "So",
    "Such", "That", "The same", "Their", "Them", "These", "They", "Those", "To", "What", "Whatever", "Who",
    "Whoever", "Whom", "Whose", "With", "Without",
];

/// Openings of sentences about an `it` that only their surroundings name, or in English that nobody speaks.
const NAMELESS: &[&str] = &[
    "Asks it",
    "Hands it",
    "Likewise",
    "Makes it",
    "Reads it",
    "Returns since when",
    "Returns until when",
    "Tells it",
    "The bytes that it",
    "The memory it",
    "The memory that it",
    "The state that it",
    "The thing that",
    "Whether it",
    "Writes it",
];

/// Phrases that refer to a number which the reader is left to guess.
const RIDDLES: &[&str] = &["so many bytes", "so many of", "so many were", "for so long"];

/// Every doc comment of a source that begins headless, or has a riddle in it, with the number of its first line.
fn headless(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut above: Option<(&str, usize)> = None;
    for (at, line) in source.lines().enumerate() {
        let marker = ["///", "//!"].into_iter().find(|marker| line.trim_start().starts_with(marker));
        let Some(marker) = marker.filter(|_| !line.trim_start().starts_with("////")) else {
            above = None;
            continue;
        };
        let text = line.trim_start()[marker.len()..].trim();
        let is_first = above.is_none_or(|(of, _)| of != marker);
        let first = if is_first { at + 1 } else { above.map_or(at + 1, |(_, first)| first) };
        let mut openings = HEADLESS.iter().chain(NAMELESS);
        let opens_headless = is_first && openings.any(|opening| begins(text, opening));
        if opens_headless || RIDDLES.iter().any(|riddle| text.contains(riddle)) {
            found.push((first, text.to_string()));
        }
        above = Some((marker, first));
    }
    found
}

/// Whether a text begins with these words, not only with these letters.
fn begins(text: &str, words: &str) -> bool {
    text.strip_prefix(words).is_some_and(|rest| !rest.starts_with(|char: char| char.is_alphanumeric()))
}

/// All Rust sources below `src/` and `crates/`, tests included.
fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("crates")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[test]
fn first_sentences_make_sense_alone() {
    let files = sources();
    assert!(files.len() >= 100, "{files:?}");
    let mut found = Vec::new();
    for path in files {
        let source = fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path).display().to_string();
        found.extend(headless(&source).into_iter().map(|(line, text)| format!("{place}:{line}: {text}")));
    }
    assert!(found.is_empty(), "{} comments:\n{}", found.len(), found.join("\n"));
}

#[test]
fn headless_openings_are_found_and_others_are_not() {
    let check = |source: &str, expected: &[usize]| {
        let lines: Vec<usize> = headless(source).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, expected, "in {source:?}");
    };
    check("/// What is sent.\nstruct A;", &[1]);
    check("struct A {\n    /// Of the next request.\n    b: u8,\n}", &[2]);
    check("//! It is the last.\n", &[1]);
    check("/// So many bytes.\nA(usize),\n/// The same again.\nB,", &[1, 3]);
    check("//! Reads.\n//! What follows.\n/// Who waits.\nfn a() {}", &[3]);
    check("/// Takes\n/// so many bytes.\nfn a() {}", &[1]);
    check("/// What is sent.\n\n/// Whose it is.\nfn a() {}", &[1, 3]);
    check("/// Whether it is the last.\nfn a() {}", &[1]);

    check("/// Sends what is there.\nfn a() {}", &[]);
    check("/// Whether items are in order.\nfn a() {}", &[]);
    check("/// Items in order.\n///\n/// In most cases few.\nfn a() {}", &[]);
    check("// What is sent.\nfn a() {}", &[]);
    check("//// What is sent.\nfn a() {}", &[]);
    check("/// Sofas and Towers.\nfn a() {}", &[]);
}
