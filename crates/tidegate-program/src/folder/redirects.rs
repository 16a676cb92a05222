//! Redirects by a small file, in the format of Netlify's `_redirects`.
//!
//! ```text
//! # source       destination               status, 301 if there is none
//! /old           /new
//! /blog/*        https://blog.example/:splat   302
//! /u/:name       /people/:name/            308
//! ```
//!
//! A rule counts where no file is; the first that matches does. Deliberately not here: conditions, and rewrites (200),
//! of which `--spa` is the usual one.

use tidegate::adapters::Moved;

/// The statuses of a redirect.
const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// The rules of a file.
pub struct Redirects(Vec<Rule>);

struct Rule {
    source: Vec<Part>,
    destination: String,
    code: u16,
}

/// One segment of a source.
enum Part {
    /// This very text.
    Is(String),
    /// Any text, which has this name in the destination.
    Any(String),
    /// The rest of the path.
    Rest,
}

impl Redirects {
    /// Reads the rules.
    ///
    /// # Errors
    /// Returns a sentence about the first line that makes no sense.
    pub fn parse(text: &str) -> Result<Redirects, String> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
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
        let part = |segment: &str| match segment.strip_prefix(':') {
            _ if segment == "*" => Part::Rest,
            Some(name) => Part::Any(name.to_string()),
            None => Part::Is(segment.to_string()),
        };
        let source = segments.into_iter().map(part).collect();
        Ok(Rule { source, destination: destination.to_string(), code })
    }

    /// Returns where this path leads; none if the rule is not about it. A slash at the end makes no difference.
    fn apply(&self, path: &str) -> Option<String> {
        let mut rest = segments(path);
        let mut location = self.destination.clone();
        for part in &self.source {
            match part {
                Part::Is(text) => (rest.next()? == text).then_some(())?,
                Part::Any(name) => location = location.replace(&format!(":{name}"), rest.next()?),
                Part::Rest => {
                    let splat = rest.by_ref().collect::<Vec<_>>().join("/");
                    let is_slash_kept = path.ends_with('/') && !splat.is_empty();
                    let splat = if is_slash_kept { splat + "/" } else { splat };
                    return Some(location.replace(":splat", &splat));
                }
            }
        }
        rest.next().is_none().then_some(location)
    }
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
        check("/other", None);
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
        ] {
            let error = Redirects::parse(&format!("\n{line}\n")).err().unwrap();
            assert!(error.contains("line 2") && error.contains(part), "{line}: {error}");
        }
    }
}
