//! Redirects by a small file, in the format of Netlify's `_redirects`.
//!
//! ```text
//! # source       destination               status, 301 if there is none
//! /old           /new
//! /blog/*        https://blog.example/:splat   302
//! /u/:name       /people/:name/            308
//! ```
//!
//! A rule counts where no file is; the first that matches does. A # begins a comment at the start of a line or after a
//! blank, and else is part of a place. The query of a request is passed on, unless the destination has one. Deliberately not here: conditions, and rewrites (200),
//! of which `--spa` is the usual one.

use tidegate_files::Moved;

/// The statuses of a redirect.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
/// The name of the rest of a path in a destination.
const SPLAT: &str = "splat";

/// The rules of a file.
pub struct Redirects(Vec<Rule>);

struct Rule {
    source: Vec<Part>,
    destination: Vec<Piece>,
    code: u16,
}

/// One segment of a source.
enum Part {
    /// This very text.
    Is(String),
    /// Any text, which may stand in the destination.
    Any,
    /// The rest of the path, which may stand in the destination, too.
    Rest,
}

/// A piece of a destination.
enum Piece {
    /// This very text.
    Is(String),
    /// The text that the part of this number stands for, of those that stand for any.
    Value(usize),
}

impl Redirects {
    /// Reads the rules.
    ///
    /// # Errors
    /// Returns a sentence about the first line that makes no sense.
    pub fn parse(text: &str) -> Result<Redirects, String> {
        let lines = text.lines().map(|line| without_comment(line).trim());
        let rules = lines.enumerate().filter(|(_, line)| !line.is_empty());
        let rules =
            rules.map(|(at, line)| Rule::parse(line).map_err(|reason| format!("line {}: {reason}", at + 1)));
        rules.collect::<Result<_, _>>().map(Redirects)
    }

    /// Returns where the first rule for this path leads. The path is as it was sent.
    pub fn find(&self, path: &str) -> Option<Moved> {
        self.0.iter().find_map(|rule| Some(Moved { code: rule.code, location: rule.apply(path)? }))
    }
}

impl Rule {
    fn parse(line: &str) -> Result<Rule, String> {
        let mut words = line.split_whitespace();
        let (Some(source), Some(destination)) = (words.next(), words.next()) else {
            return Err("a rule is SOURCE DESTINATION, and perhaps a status".to_string());
        };
        let code = match words.next() {
            None => 301,
            Some("200") => {
                return Err("rewrites are not supported; --spa serves one page for all paths".to_string());
            }
            Some(word) => word
                .parse()
                .ok()
                .filter(|code| STATUSES.contains(code))
                .ok_or_else(|| format!("{word} is no status of a redirect: 301, 302, 303, 307 or 308"))?,
        };
        if let Some(word) = words.next() {
            return Err(format!("{word}: conditions are not supported"));
        }
        let is_place = destination.starts_with('/') || destination.contains("://");
        if !source.starts_with('/') || !is_place {
            return Err("a source begins with /, and a destination with / or a scheme".to_string());
        }
        let segments: Vec<_> = segments(source).collect();
        if segments.iter().rev().skip(1).any(|segment| *segment == "*") {
            return Err("* stands at the end of a source only".to_string());
        }
        let mut names = Vec::new();
        let mut parts = Vec::new();
        for segment in segments {
            parts.push(match segment.strip_prefix(':') {
                _ if segment == "*" => {
                    names.push(SPLAT);
                    Part::Rest
                }
                Some(name) if is_name_at_start(name) && split_name(name).1.is_empty() => {
                    names.push(name);
                    Part::Any
                }
                Some(_) => {
                    return Err(format!(
                        "{segment}: a name is of letters, digits and _, and begins with no digit"
                    ));
                }
                None => Part::Is(segment.to_string()),
            });
        }
        Ok(Rule { source: parts, destination: pieces(destination, &names)?, code })
    }

    /// Returns where this path leads; none if the rule is not about it. A slash at the end makes no difference.
    fn apply(&self, path: &str) -> Option<String> {
        let mut rest = segments(path);
        let mut values = Vec::new();
        for part in &self.source {
            match part {
                Part::Is(text) => (rest.next()? == text).then_some(())?,
                Part::Any => values.push(rest.next()?.to_string()),
                Part::Rest => {
                    let splat = rest.by_ref().collect::<Vec<_>>().join("/");
                    let is_slash_kept = path.ends_with('/') && !splat.is_empty();
                    values.push(if is_slash_kept { splat + "/" } else { splat });
                }
            }
        }
        let text = |piece: &Piece| match piece {
            Piece::Is(text) => text.clone(),
            Piece::Value(at) => values.get(*at).cloned().unwrap_or_default(),
        };
        rest.next().is_none().then(|| self.destination.iter().map(text).collect())
    }
}

/// Cuts off a comment. A # within a word is that of a URL.
fn without_comment(line: &str) -> &str {
    let begins = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let comment = line.match_indices('#').map(|(at, _)| at).find(begins);
    &line[..comment.unwrap_or(line.len())]
}

/// Takes a destination apart, in which values have these names. A colon before anything but a letter is that of a scheme or a
/// port.
///
/// # Errors
/// Returns a sentence about a name that the source does not have.
fn pieces(destination: &str, names: &[&str]) -> Result<Vec<Piece>, String> {
    let mut texts = destination.split(':');
    let mut pieces = vec![Piece::Is(texts.next().unwrap_or_default().to_string())];
    for text in texts {
        let (name, rest) = split_name(text);
        if is_name_at_start(name) {
            let at = names.iter().position(|other| *other == name);
            let at = at.ok_or_else(|| format!("the source has nothing that :{name} stands for"))?;
            pieces.extend([Piece::Value(at), Piece::Is(rest.to_string())]);
        } else {
            pieces.push(Piece::Is(format!(":{text}")));
        }
    }
    Ok(pieces)
}

/// Whether a name begins a text, and no number.
fn is_name_at_start(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Splits a text behind the name at its start, which may be empty.
fn split_name(text: &str) -> (&str, &str) {
    let is_over = |character: char| !character.is_ascii_alphanumeric() && character != '_';
    text.split_at(text.find(is_over).unwrap_or(text.len()))
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "\
# moved
/old        /new
/blog/*     https://blog.example/:splat 302
/u/:name/x  /people/:name/  308   # one
/           /start
/api/:id/:idx/*  http://api.example:8080/:idx/:id?rest=:splat
/guide      /manual#start  # the first chapter
";

    fn check(path: &str, expected: Option<(u16, &str)>) {
        let moved = Redirects::parse(RULES).unwrap().find(path);
        let found = moved.as_ref().map(|moved| (moved.code, moved.location.as_str()));
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn first_rule_that_matches_counts() {
        check("/old", Some((301, "/new")));
        check("/old/", Some((301, "/new")));
        check("/old/x", None);
        check("/blog", Some((302, "https://blog.example/")));
        check("/blog/a/b/", Some((302, "https://blog.example/a/b/")));
        check("/u/ebb%20x/x", Some((308, "/people/ebb%20x/")));
        check("/u/ebb", None);
        check("/", Some((301, "/start")));
        check("/guide", Some((301, "/manual#start")));
        check("/other", None);
    }

    #[test]
    fn values_take_the_place_of_their_own_names_alone() {
        check("/api/1/2/3/4", Some((301, "http://api.example:8080/2/1?rest=3/4")));
        check("/api/:idx/:splat/x", Some((301, "http://api.example:8080/:splat/:idx?rest=x")));
        check("/blog/:splat", Some((302, "https://blog.example/:splat")));
    }

    #[test]
    fn lines_that_make_no_sense_are_refused_by_number() {
        for (line, part) in [
            ("/a", "SOURCE DESTINATION"),
            ("/* /index.html 200", "--spa"),
            ("/a /b 404", "404"),
            ("/a /b 301!", "301!"),
            ("/a /b 301 Country=de", "conditions"),
            ("a /b", "begins with /"),
            ("/*/a /b", "at the end"),
            ("/u/:id /:idx", ":idx"),
            ("/a /b/:splat", ":splat"),
            ("/u/:a-b /b", ":a-b"),
        ] {
            let error = Redirects::parse(&format!("\n{line}\n")).err().unwrap();
            assert!(error.contains("line 2") && error.contains(part), "{line}: {error}");
        }
    }
}
