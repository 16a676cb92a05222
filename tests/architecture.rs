//! Tests that ARCHITECTURE.md and README.md name files, functions and states that exist.
//!
//! Two forms are understood. `folder/file.rs` is a file of some package; followed by ` · ` and a function, as in each hop of
//! the walk, it has that function. `Type::member` is a function, variant, field or constant of that type, wherever it
//! stands. The last test feeds the same check with wrong names, to show that it can fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The documents that are checked.
const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "README.md"];
/// The most hops that one request may take, of those that its walk tells.
const HOPS_MAX: usize = 35;
/// The openings of items that have members.
const ITEMS: &[&str] = &["impl", "trait", "enum", "struct"];

/// The sources of all packages.
struct Sources(Vec<Source>);

struct Source {
    /// The path below the root.
    path: String,
    /// The lines at the edge of the page: openings of items.
    edge: String,
    /// Head and body of each item that has members.
    items: Vec<(String, String)>,
}

impl Source {
    fn new(path: String, source: &str) -> Source {
        let code = without_comments(source);
        let edge =
            code.lines().filter(|line| !line.starts_with(' ')).map(|line| format!("{line}\n")).collect();
        let items =
            code.split("\n}").filter_map(item).map(|(head, body)| (head.into(), body.into())).collect();
        Source { path, edge, items }
    }

    /// The bodies of a type: its own and those of its implementations.
    fn bodies<'s>(&'s self, of: &'s str) -> impl Iterator<Item = &'s str> {
        self.items.iter().filter(move |(head, _)| contains(head, of)).map(|(_, body)| body.as_str())
    }

    fn has_function(&self, function: &str) -> bool {
        match member_of_type(function) {
            Some((of, name)) => self.bodies(of).any(|body| contains(body, &format!("fn {name}"))),
            None => contains(&self.edge, &format!("fn {function}")),
        }
    }

    fn has_member(&self, of: &str, member: &str) -> bool {
        let spellings = match member.starts_with(char::is_uppercase) {
            true => vec![member.to_string()],
            false => vec![format!("fn {member}"), format!("{member}:")],
        };
        self.bodies(of).any(|body| spellings.iter().any(|spelling| contains(body, spelling)))
    }
}

impl Sources {
    fn read() -> Sources {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let names = ["src", "crates", "tests", "benches", "examples"];
        let mut folders: Vec<PathBuf> = names.map(|name| root.join(name)).into();
        let mut sources = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let below = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                    sources.push(Source::new(below, &fs::read_to_string(&path).unwrap()));
                }
            }
        }
        Sources(sources)
    }

    /// The files whose path is this one, or ends with it.
    fn files<'s>(&'s self, path: &'s str) -> impl Iterator<Item = &'s Source> {
        let is_it = move |name: &str| name == path || name.ends_with(&format!("/{path}"));
        self.0.iter().filter(move |source| is_it(&source.path))
    }

    /// Finds what of this document does not exist.
    fn wrong_names(&self, document: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for name in document.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            if name.ends_with(".rs") && !name.contains(' ') {
                wrong.extend(self.files(name).next().is_none().then(|| format!("no file {name}")));
            } else if let Some((of, member)) = member_of_type(name) {
                let exists = self.0.iter().any(|source| source.has_member(of, member));
                wrong.extend((!exists).then(|| format!("no {name}")));
            }
        }
        let hops = document.lines().filter_map(hop);
        let missing =
            hops.filter(|(file, function)| !self.files(file).any(|source| source.has_function(function)));
        wrong.extend(missing.map(|(file, function)| format!("no {function} in {file}")));
        wrong
    }
}

/// The file and the function of a hop.
fn hop(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(". `").filter(|(number, _)| number.parse::<u32>().is_ok())?;
    let (file, rest) = rest.split_once("` · `")?;
    Some((file, rest.split('`').next().unwrap_or_default()))
}

/// The two halves of `Type::member`.
fn member_of_type(name: &str) -> Option<(&str, &str)> {
    let is_word = |text: &str| text.chars().all(|char| char.is_alphanumeric() || char == '_');
    let (of, member) = name.split_once("::")?;
    (of.starts_with(char::is_uppercase) && is_word(of) && is_word(member)).then_some((of, member))
}

/// Head and body of the item with members that is the last in this text. It begins at the edge of the page.
fn item(text: &str) -> Option<(&str, &str)> {
    let (mut at, mut start) = (0, None);
    for line in text.split_inclusive('\n') {
        let opening = line.split('{').next().unwrap_or_default();
        let is_item = !line.starts_with(' ') && ITEMS.iter().any(|kind| contains(opening, kind));
        // One that ends on its line has no members.
        if is_item && !line.trim_end().ends_with(';') {
            start = Some(at);
        }
        at += line.len();
    }
    text[start?..].split_once('{')
}

/// Whether code contains a text as whole words.
fn contains(code: &str, text: &str) -> bool {
    let is_word = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    let ends_in_word = is_word(text.chars().next_back());
    code.match_indices(text).any(|(at, _)| {
        let after = code[at + text.len()..].chars().next();
        let starts_free = !is_word(code[..at].chars().next_back());
        starts_free && !(ends_in_word && is_word(after))
    })
}

fn without_comments(source: &str) -> String {
    let code = source.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.map(|line| format!("{line}\n")).collect()
}

fn text_of(document: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap()
}

#[test]
fn documents_name_what_exists() {
    let sources = Sources::read();
    for document in DOCUMENTS {
        let wrong = sources.wrong_names(&text_of(document));
        assert!(wrong.is_empty(), "in {document}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn walk_of_one_request_is_short() {
    let text = text_of("ARCHITECTURE.md");
    let walks: Vec<usize> = text
        .split("\n## The walk\n")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .unwrap()
        .split("\n### ")
        .skip(1)
        .map(|walk| walk.lines().filter_map(hop).count())
        .collect();
    assert!(walks.len() == 4 && walks.iter().all(|hops| *hops >= 5), "{walks:?}");
    assert!(walks[0] <= HOPS_MAX, "{walks:?}");
    let files: BTreeSet<&str> = text.lines().filter_map(hop).take(walks[0]).map(|(file, _)| file).collect();
    let count = format!("\n{} hops through {} files.", walks[0], files.len());
    assert!(text.contains(&count), "the walk says another count than {count}");
}

#[test]
fn wrong_names_are_found() {
    let sources = Sources::read();
    let check =
        |document: &str, expected: &[&str]| assert_eq!(sources.wrong_names(document), expected, "{document}");
    check(
        "`src/reactor/connection.rs`, `reactor/connection.rs`, `connection.rs`, `rection.rs`",
        &["no file rection.rs"],
    );
    check(
        "`Exchange::consume`, `Wants::Read`, `std::env`, `ServerContext::now`, `Shutdown::HandingOver`",
        &[],
    );
    check("`Exchange::advances`, `Wants::Reads`", &["no Exchange::advances", "no Wants::Reads"]);
    check("`Talk::steps` and `Running::consume`", &["no Talk::steps", "no Running::consume"]);
    check(
        "1. `src/reactor/readiness.rs` · `fill`: reads.\n2. `src/conversation/sink.rs` · `Sink::begin`: begins.",
        &[],
    );
    check(
        "1. `src/reactor/readiness.rs` · `fills`: reads.\n12. `src/reactor/timers.rs` · `Connection::pump`: turns.",
        &["no fills in src/reactor/readiness.rs", "no Connection::pump in src/reactor/timers.rs"],
    );
}
