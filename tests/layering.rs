//! Tests which module may know which, by reading `src/`, and the sources below `crates/` for what Cargo does
//! not enforce.
//!
//! An item imports only from layers below its own, and only the reactor knows the operating
//! system's network. The table [`ABSENCES`] says which words a folder never names; comments,
//! string literals and `#[cfg(test)]` modules do not count. The last tests feed the same check
//! with bad snippets, to show that it can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Openings of items that exist only in tests.
const TEST_ITEMS: &[&str] = &["#[cfg(test)]", "#[cfg(all(test,"];
/// Longest function, in lines: a longer one is two functions.
const FUNCTION_LINES_MAX: usize = 75;

/// Every part of the crate, and every package that it knows.
const ALL: &[&str] = &[
    "limits",
    "now",
    "message",
    "protocol",
    "gateway",
    "conversation",
    "reactor",
    "server",
    "access_log",
    "mio",
    "slab",
    "httparse",
    "log",
    "rustix",
    "pyo3",
];

/// Clocks and sockets of the standard library, which only the reactor may use.
const SYSTEM: &[&str] = &[
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
];

/// Words that no source may use.
const NOWHERE: &[&str] = &["unsafe", ".unwrap()", ".expect(", "panic!(", "todo!(", "dbg!("];

/// The places that use them on purpose: bounds that are constants, the page that shows what becomes of a
/// panic, glibc's heap, and the one audited module.
const ON_PURPOSE: &[(&str, &str)] = &[
    ("crates/tidegate-bench/src/histogram.rs", ".expect("),
    ("crates/tidegate-program/src/welcome/mod.rs", "panic!("),
    ("crates/tidegate-program/src/heap.rs", "unsafe"),
    ("crates/tidegate-servlet/src/ffi.rs", "unsafe"),
    ("crates/tidegate-wsgi/src/adapter/ffi.rs", "unsafe"),
];

/// Folders whose files name each other in one direction only: each can be read after those that it names.
const WITHOUT_CIRCLES: &[&str] = &[
    "crates/tidegate-logs/src/",
    "crates/tidegate-files/src/",
    "conversation/",
    "gateway/",
    "message/",
    "protocol/",
    "reactor/",
    "reactor/sys/",
];

/// The files that are the face of their folder.
const FACES: &[&str] = &["mod", "lib"];

/// One line of the table.
struct Absence {
    /// The beginning of a path, below `src/` for the library, below the root for other packages.
    place: &'static str,
    /// The words of [`ALL`] that the place may name; the others it must not.
    knows: &'static [&'static str],
    /// Further words that it must not name.
    nor: &'static [&'static [&'static str]],
}

const ABSENCES: &[Absence] = &[
    Absence { place: "limits.rs", knows: &["limits"], nor: &[SYSTEM, &["std::net", "std::io"]] },
    Absence { place: "now.rs", knows: &["now"], nor: &[SYSTEM, &["std::net", "std::io"]] },
    Absence { place: "message/", knows: &["message"], nor: &[SYSTEM, &["std::net", "std::io"]] },
    Absence {
        place: "protocol/",
        knows: &["protocol", "message", "limits", "now", "httparse"],
        nor: &[SYSTEM, &["std::net", "std::io", "std::fs", "std::thread"]],
    },
    Absence { place: "gateway/", knows: &["gateway", "message", "now"], nor: &[SYSTEM, &["std::thread"]] },
    Absence {
        place: "conversation/",
        knows: &["conversation", "gateway", "protocol", "message", "limits", "now"],
        nor: &[SYSTEM, &["std::thread"]],
    },
    Absence {
        place: "reactor/",
        knows: &[
            "reactor",
            "conversation",
            "gateway",
            "protocol",
            "message",
            "limits",
            "now",
            "mio",
            "slab",
            "log",
            "rustix",
        ],
        nor: &[],
    },
    Absence {
        place: "server.rs",
        knows: &["server", "reactor", "conversation", "gateway", "message", "limits", "now", "log"],
        nor: &[SYSTEM],
    },
    Absence {
        place: "access_log.rs",
        knows: &["conversation"],
        nor: &[SYSTEM, &["std::io", "std::fs", "std::thread"]],
    },
    // Cargo keeps other packages away from what their manifest does not name. What the library has public for those who
    // drive it in another way is not for these.
    Absence {
        place: "crates/tidegate-wsgi/src/adapter/",
        knows: &["gateway", "message", "limits", "now", "log", "pyo3"],
        nor: &[],
    },
    Absence {
        place: "crates/tidegate-wsgi/",
        knows: &["server", "access_log", "gateway", "message", "limits", "now", "log", "pyo3"],
        nor: &[],
    },
    Absence {
        place: "crates/tidegate-servlet/",
        knows: &["server", "gateway", "message", "limits", "now", "log"],
        nor: &[],
    },
    Absence {
        place: "crates/tidegate-status/",
        knows: &["server", "conversation", "gateway", "message", "limits", "now", "log"],
        nor: &[],
    },
    Absence {
        place: "crates/tidegate-middleware/",
        knows: &["gateway", "message"],
        nor: &[SYSTEM, &["std::fs"]],
    },
    Absence {
        place: "crates/tidegate-compress/",
        knows: &["gateway", "message"],
        nor: &[SYSTEM, &["std::fs"]],
    },
    Absence {
        place: "crates/tidegate-files/",
        knows: &["gateway", "message", "limits", "now", "log", "rustix"],
        nor: &[],
    },
    Absence { place: "crates/tidegate-logs/", knows: &["access_log", "message", "log"], nor: &[SYSTEM] },
    Absence {
        place: "crates/tidegate-program/",
        knows: &["server", "access_log", "gateway", "message", "limits", "now", "log", "rustix"],
        nor: &[],
    },
];

/// The line that holds for a path: that of the innermost place.
fn absence_at(path: &str) -> Option<&'static Absence> {
    let at_path = ABSENCES.iter().filter(|absence| path.starts_with(absence.place));
    at_path.max_by_key(|absence| absence.place.len())
}

/// Finds everything that a file with this path and this text does and must not.
fn violations(path: &str, source: &str) -> Vec<String> {
    let code = without_tests(&without_comments(source));
    let mut found = Vec::new();
    if let Some(absence) = absence_at(path) {
        let unknown = ALL.iter().filter(|word| !absence.knows.contains(word));
        let forbidden = unknown.chain(absence.nor.iter().copied().flatten());
        let named = forbidden.filter(|word| names(&code, word));
        found.extend(named.map(|word| format!("{path} names {word}")));
    }
    let nowhere = NOWHERE.iter().filter(|text| !ON_PURPOSE.contains(&(path, **text)));
    found.extend(nowhere.filter(|text| contains(&code, text)).map(|text| format!("{path} has {text}")));
    found.extend(long_functions(&code).into_iter().map(|what| format!("{path}: {what}")));
    found
}

/// Whether code names a module or type: the word beside a `::`, or anywhere in a `use`.
fn names(code: &str, path: &str) -> bool {
    occurrences(code, path).any(|at| {
        let before = code[..at].trim_end();
        let after = code[at + path.len()..].trim_start();
        let statement = &code[code[..at].rfind([';', '{', '}']).map_or(0, |end| end + 1)..at];
        let is_in_use = used(code).iter().any(|range| range.contains(&at));
        before.ends_with("::") || after.starts_with("::") || is_in_use || statement.contains("extern crate")
    })
}

/// Finds the `use` statements.
fn used(code: &str) -> Vec<std::ops::Range<usize>> {
    occurrences(code, "use").map(|at| at..at + code[at..].find(';').unwrap_or(0)).collect()
}

/// Whether code contains a text; where the text begins or ends with a letter, as whole words.
fn contains(code: &str, text: &str) -> bool {
    occurrences(code, text).next().is_some()
}

fn occurrences<'c>(code: &'c str, text: &'c str) -> impl Iterator<Item = usize> + 'c {
    let is_word = |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    code.match_indices(text).map(|(at, _)| at).filter(move |&at| {
        let starts_free = !is_word(text.chars().next()) || !is_word(code[..at].chars().next_back());
        let ends_free =
            !is_word(text.chars().next_back()) || !is_word(code[at + text.len()..].chars().next());
        starts_free && ends_free
    })
}

/// Returns code with comments and the insides of literals blanked out; every line keeps its number.
fn without_comments(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(char) = rest.chars().next() {
        let length = match char {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            'r' if rest.starts_with("r\"") => rest[2..].find('"').map_or(rest.len(), |end| end + 3),
            'r' if rest.starts_with("r#\"") => rest.find("\"#").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest, '"'),
            '\'' if rest[1..].starts_with('\\') => quoted(rest, '\''),
            '\'' if rest.chars().nth(2) == Some('\'') => quoted(rest, '\''),
            char => {
                code.push(char);
                rest = &rest[char.len_utf8()..];
                continue;
            }
        };
        code.extend(rest[..length].chars().map(|char| if char == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    code
}

/// Bytes of a literal, its quotes included.
fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, char) in rest.char_indices().skip(1) {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if char == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Returns code without its test modules.
fn without_tests(code: &str) -> String {
    let mut code = code.to_string();
    while let Some(start) = find_test_item(&code) {
        let end = start + block(&code[start..]).unwrap_or(code.len() - start);
        let blank: String = code[start..end].chars().filter(|char| *char == '\n').collect();
        code.replace_range(start..end, &blank);
    }
    code
}

fn find_test_item(code: &str) -> Option<usize> {
    TEST_ITEMS.iter().filter_map(|attribute| code.find(attribute)).min()
}

/// Names of modules that are whole files of tests.
fn test_modules(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for attribute in TEST_ITEMS {
        for (at, _) in code.match_indices(attribute) {
            let item = code[at..].split_once(']').map(|(_, item)| item.trim_start()).unwrap_or_default();
            let declared = item.strip_prefix("mod ").and_then(|rest| rest.split_once(';'));
            names.extend(declared.map(|(name, _)| name.to_string()).filter(|name| !name.contains('{')));
        }
    }
    names
}

/// Counts the bytes up to the end of the first block in braces, unless a semicolon comes first (one that is
/// not in brackets, as that of an array's type is).
fn block(code: &str) -> Option<usize> {
    let (mut depth, mut brackets) = (0, 0);
    for (at, char) in code.char_indices() {
        match char {
            '[' => brackets += 1,
            ']' => brackets -= 1,
            ';' if depth == 0 && brackets == 0 => return Some(at + 1),
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn long_functions(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for at in occurrences(code, "fn") {
        let function = &code[at..at + block(&code[at..]).unwrap_or(0)];
        let lines = function.lines().count();
        if lines > FUNCTION_LINES_MAX {
            let name = function["fn".len()..].split(['(', '<']).next().unwrap_or_default().trim();
            found.push(format!("function {name} has {lines} lines"));
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns path, as the table has it, and text of every source file that is not all tests.
fn sources() -> Vec<(String, String)> {
    let files = all_files();
    let mut tests = Vec::new();
    for (path, source) in &files {
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let modules = test_modules(&without_comments(source));
        tests.extend(modules.iter().map(|name| format!("{folder}{name}.rs")));
    }
    files.into_iter().filter(|(path, _)| !tests.contains(path)).collect()
}

fn all_files() -> Vec<(String, String)> {
    let packages = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = packages.map(|package| package.join("src")).collect();
    assert!(folders.len() >= 3, "{folders:?}");
    folders.push(root().join("src"));
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(root()).unwrap();
                let below = below.strip_prefix("src").unwrap_or(below).to_string_lossy().into_owned();
                files.push((below, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Asserts what is wrong with a snippet at a place.
fn check(place: &str, snippet: &str, expected: &[&str]) {
    assert_eq!(violations(place, snippet), expected, "in {snippet:?}");
}

#[test]
fn every_layer_names_only_what_lies_below_it() {
    let sources = sources();
    let found: Vec<String> = sources.iter().flat_map(|(path, source)| violations(path, source)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_folder_has_a_line_in_the_table() {
    for (path, _) in sources() {
        let has_line = absence_at(&path).is_some() || path.starts_with("crates/");
        assert!(has_line || path == "lib.rs", "{path} belongs to no layer");
    }
    for Absence { place, .. } in ABSENCES {
        let exists = root().join(place).exists() || root().join("src").join(place).exists();
        assert!(exists, "{place} is gone");
    }
}

/// Finds which file of a folder, or folder in it, names which others. What the face of the folder passes on counts as what it
/// is, and passing it on does not count.
fn acquaintances(folder: &str, files: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let below = |path: &str| path.strip_prefix(folder).map(|below| below.trim_end_matches(".rs").to_string());
    let node = |below: &str| below.split('/').next().unwrap_or_default().to_string();
    let code_of = |source: &str| without_tests(&without_comments(source));
    let inside: Vec<(String, String)> =
        files.iter().filter_map(|(path, source)| Some((below(path)?, code_of(source)))).collect();
    let nodes: BTreeSet<String> = inside.iter().map(|(below, _)| node(below)).collect();
    let is_face = |below: &str| FACES.contains(&below);
    let face = inside.iter().find(|(below, _)| is_face(below)).map_or("", |(_, code)| code);
    let mut passed_on = BTreeMap::new();
    for file in &nodes {
        for name in occurrences(face, file).flat_map(|at| named_after(face, at + file.len())) {
            passed_on.insert(name, file.clone());
        }
    }
    let mut known = BTreeMap::<String, BTreeSet<String>>::new();
    for (below, code) in &inside {
        let others = match below.as_str() {
            below if is_face(below) => nodes.iter().filter(|file| uses(face, file)).cloned().collect(),
            _ => {
                let up = "super::".repeat(below.matches('/').count() + 1);
                let within = folder.rsplit_once("src/").map_or(folder, |(_, within)| within);
                let absolute = format!("crate::{}", within.replace('/', "::"));
                let prefixes = [up.trim_end_matches("::"), absolute.trim_end_matches("::")];
                let ends = prefixes.iter().flat_map(|prefix| code.match_indices(*prefix));
                let names = ends.flat_map(|(at, prefix)| named_after(code, at + prefix.len()));
                let resolve = |name: String| match nodes.contains(&name) {
                    true => Some(name),
                    false => passed_on.get(&name).cloned(),
                };
                names.filter_map(resolve).collect::<BTreeSet<_>>()
            }
        };
        known
            .entry(node(below))
            .or_default()
            .extend(others.into_iter().filter(|other| *other != node(below)));
    }
    known
}

/// Whether the face of a folder works with what a file of it has, beyond passing it on.
fn uses(face: &str, file: &str) -> bool {
    occurrences(face, file).any(|at| {
        let statement = face[..at].rfind([';', '{', '}']).map_or(face, |end| &face[end + 1..at]);
        face[at + file.len()..].starts_with("::") && !statement.contains("pub")
    })
}

/// The names after a path: one, or several in braces.
fn named_after(code: &str, at: usize) -> Vec<String> {
    let Some(rest) = code[at..].strip_prefix("::") else { return Vec::new() };
    let first = |text: &str| -> String {
        text.trim_start().chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    match rest.strip_prefix('{').and_then(|group| group.split_once('}')) {
        Some((group, _)) => group.split(',').map(first).collect(),
        None => vec![first(rest)],
    }
}

/// Files that know each other, be it through others.
fn circle(known: &BTreeMap<String, BTreeSet<String>>) -> Vec<&str> {
    let leads_back = |start: &&String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![*start]);
        while let Some(file) = open.pop() {
            open.extend(known.get(file).into_iter().flatten().filter(|next| seen.insert(*next)));
        }
        seen.contains(start)
    };
    known.keys().filter(leads_back).map(String::as_str).collect()
}

#[test]
fn files_of_a_folder_know_each_other_in_one_direction() {
    let sources = sources();
    for folder in WITHOUT_CIRCLES {
        let known = acquaintances(folder, &sources);
        assert!(known.values().any(|others| !others.is_empty()), "{folder}");
        assert_eq!(circle(&known), [""; 0], "in {folder}: {known:#?}");
    }
}

#[test]
fn circles_are_found_also_through_the_face_of_a_folder() {
    let files = |texts: [&str; 4]| {
        let paths = ["a/mod.rs", "a/b.rs", "a/c.rs", "a/d/e.rs"];
        paths
            .into_iter()
            .zip(texts)
            .map(|(path, text)| (path.to_string(), text.to_string()))
            .collect::<Vec<_>>()
    };
    let check = |texts, expected: &[&str]| assert_eq!(circle(&acquaintances("a/", &files(texts))), expected);
    let package = [("b", "use crate::c::C;"), ("c", "use super::B;"), ("lib", "mod c; pub use b::B;")]
        .map(|(name, text)| (format!("crates/a/src/{name}.rs"), text.to_string()));
    assert_eq!(circle(&acquaintances("crates/a/src/", &package)), ["b", "c"]);
    check(["mod b; pub use b::B;", "use super::c::C;", "use super::d::E;", ""], &[]);
    check(["mod b; pub use b::B;", "use super::c::C;", "use super::{B, X};", ""], &["b", "c"]);
    check(["", "use super::c;", "use super::d::E;", "use super::super::b;"], &["b", "c", "d"]);
    check(["", "use super::c;", "", "use crate::a::{c, b};"], &[]);
    check(["use b::B;", "use super::M;", "", ""], &[]);
}

/// Code that differs from system to system is a function there.
#[test]
fn reactor_asks_in_one_place_which_system_it_is() {
    let asks = |line: &&str| {
        line.contains("cfg")
            && ["\"sockets\"", "target_os", "target_vendor"].iter().any(|what| line.contains(what))
    };
    let (of_sys, others): (Vec<_>, Vec<_>) = sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("reactor/"))
        .partition(|(path, _)| path.starts_with("reactor/sys/"));
    for (path, source) in others {
        assert_eq!(source.lines().find(asks), None, "{path}");
    }
    assert!(of_sys.iter().any(|(_, source)| source.lines().any(|line| asks(&line))));
}

#[test]
fn forbidden_names_are_found_in_every_spelling() {
    check("message/a.rs", "use crate::limits::Limits;", &["message/a.rs names limits"]);
    check("protocol/a.rs", "use crate::{message::X, gateway::{Y, Z}};", &["protocol/a.rs names gateway"]);
    check("protocol/a.rs", "fn f() { crate :: reactor :: run() }", &["protocol/a.rs names reactor"]);
    check("gateway/a.rs", "use crate::protocol;", &["gateway/a.rs names protocol"]);
    check("gateway/a.rs", "use std::time::{Duration, Instant};", &["gateway/a.rs names Instant"]);
    check("conversation/a.rs", "fn f() { log::warn!(\"x\") }", &["conversation/a.rs names log"]);
    check(
        "conversation/a.rs",
        "use std::net::{SocketAddr, TcpStream};",
        &["conversation/a.rs names TcpStream"],
    );
    check("server.rs", "use mio::Poll;", &["server.rs names mio"]);
    let program = "crates/tidegate-program/src/a.rs";
    check(program, "use tidegate::{Server, server::Listener};", &[]);
    check(program, "use tidegate::protocol::Http1;", &["crates/tidegate-program/src/a.rs names protocol"]);
    let adapter = "crates/tidegate-wsgi/src/adapter/a.rs";
    check(adapter, "use tidegate::server::Server;", &["crates/tidegate-wsgi/src/adapter/a.rs names server"]);
    let files = "crates/tidegate-files/src/a.rs";
    check(files, "use tidegate::conversation::Turn;", &["crates/tidegate-files/src/a.rs names conversation"]);
    check("now.rs", "fn f() { let _ = SystemTime::now(); }", &["now.rs names SystemTime"]);
}

#[test]
fn what_stands_nowhere_is_found() {
    check("reactor/a.rs", "fn f() { x.unwrap(); }", &["reactor/a.rs has .unwrap()"]);
    check("reactor/a.rs", "fn f() { x\n.expect(\"y\"); }", &["reactor/a.rs has .expect("]);
    check("lib.rs", "fn f() { unsafe { g() } }", &["lib.rs has unsafe"]);
    let long = format!("fn long(a: [u8; 2]) {{\n{}}}", "x();\n".repeat(FUNCTION_LINES_MAX));
    check("lib.rs", &long, &["lib.rs: function long has 77 lines"]);
}

#[test]
fn words_that_only_look_like_it_do_not_count() {
    check("protocol/a.rs", "//! [`gateway`](crate::gateway)\nfn f() {} // mio::Poll", &[]);
    check("protocol/a.rs", "fn f() { g(\"crate::gateway::X\", '\"', \"unsafe\") }", &[]);
    check("conversation/a.rs", "fn f(server: &S) { server.x(); turn.reactor_like(); }", &[]);
    check("gateway/a.rs", "fn f() { x.unwrap_or(1); my_protocol::f(); }", &[]);
    check("message/a.rs", "#[cfg(test)]\nmod tests { use crate::limits::L; fn f() { x.unwrap() } }", &[]);
    check("protocol/a.rs", "fn f<'a>(x: &'a str) -> &'a str { x }", &[]);
}
