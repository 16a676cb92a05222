//! Parses formats of lines in the words of gunicorn's `--access-logformat`.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use tidegate::access_log::Wanted;
use tidegate::message::is_field_name;

/// A format of the lines of an access log, parsed, in the words of gunicorn's `--access-logformat`.
///
/// A format is text with atoms in it, `%(name)s`. Each is looked up here, so that writing a line only
/// walks along a list of parts; a name that there is not is an error before the server runs. What the
/// atoms mean stands with [`FormattedLog`](super::FormattedLog).
///
/// ```
/// use tidegate_logs::LogFormat;
///
/// assert!("%(h)s %(s)s %({X-Request-Id}i)s 100%%".parse::<LogFormat>().is_ok());
/// let error = "%(h)s %(x)s".parse::<LogFormat>().unwrap_err();
/// assert!(error.to_string().starts_with("%(x)s is no part of an access log format"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFormat {
    pub(super) parts: Vec<Part>,
    pub(super) wanted: Wanted,
}

/// A part of a line. Numbers are places in the lists of [`Wanted`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Text of the format itself.
    Text(String),
    /// The address of the client.
    Peer,
    /// The user in the Authorization field at this place.
    User(usize),
    /// The time when the exchange ended.
    Time,
    /// The request line.
    Request,
    /// The method alone.
    Method,
    /// The version of the protocol alone.
    Version,
    /// The status code.
    Status,
    /// Bytes of content.
    ContentBytes,
    /// Bytes of content, or a dash if no response was started.
    ContentBytesOrDash,
    /// The duration in whole seconds.
    Seconds,
    /// The duration in milliseconds.
    Milliseconds,
    /// The duration in microseconds.
    Microseconds,
    /// The duration in seconds, with six decimals.
    DecimalSeconds,
    /// The process identifier.
    Process,
    /// A field of the request.
    RequestField(usize),
    /// A field of the response.
    ResponseField(usize),
    /// A variable of the environ.
    Variable(usize),
}

/// The error that a text is not a format of an access log.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidLogFormat {
    /// An unknown atom, as it was written.
    UnknownAtom(String),
    /// A percent sign that begins no atom, with what follows it.
    LonePercent(String),
}

impl LogFormat {
    /// gunicorn's default: the Combined Log Format with the name of the user.
    pub const DEFAULT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

    /// Adds the part that an atom stands for.
    fn add_atom(&mut self, name: &str) -> Option<()> {
        let wanted = &mut self.wanted;
        let part = match name {
            "h" => Part::Peer,
            // The user that identd (RFC 1413) would name; nobody asks it any more.
            "l" => {
                self.add_text("-");
                return Some(());
            }
            "u" => Part::User(place(&mut wanted.request_fields, "Authorization")),
            "t" => Part::Time,
            "r" => Part::Request,
            "m" => Part::Method,
            "U" => Part::Variable(place(&mut wanted.variables, "PATH_INFO")),
            "q" => Part::Variable(place(&mut wanted.variables, "QUERY_STRING")),
            "H" => Part::Version,
            "s" => Part::Status,
            "B" => Part::ContentBytes,
            "b" => Part::ContentBytesOrDash,
            "f" => Part::RequestField(place(&mut wanted.request_fields, "Referer")),
            "a" => Part::RequestField(place(&mut wanted.request_fields, "User-Agent")),
            "T" => Part::Seconds,
            "M" => Part::Milliseconds,
            "D" => Part::Microseconds,
            "L" => Part::DecimalSeconds,
            "p" => Part::Process,
            _ => {
                let (name, kind) = name.strip_prefix('{')?.rsplit_once('}')?;
                match kind {
                    "i" | "o" if !is_field_name(name.as_bytes()) => return None,
                    "i" => Part::RequestField(place(&mut wanted.request_fields, name)),
                    "o" => Part::ResponseField(place(&mut wanted.response_fields, name)),
                    "e" if name.is_empty() => return None,
                    "e" => Part::Variable(place(&mut wanted.variables, &variable_name(name))),
                    _ => return None,
                }
            }
        };
        self.parts.push(part);
        Some(())
    }

    fn add_text(&mut self, text: &str) {
        match self.parts.last_mut() {
            Some(Part::Text(before)) => before.push_str(text),
            _ if text.is_empty() => {}
            _ => self.parts.push(Part::Text(text.to_string())),
        }
    }
}

impl Default for LogFormat {
    /// Returns [`LogFormat::DEFAULT`].
    fn default() -> LogFormat {
        let format = LogFormat::DEFAULT.parse();
        debug_assert!(format.is_ok(), "the default is a format");
        format.unwrap_or(LogFormat { parts: Vec::new(), wanted: Wanted::request_lines() })
    }
}

impl FromStr for LogFormat {
    type Err = InvalidLogFormat;

    fn from_str(text: &str) -> Result<LogFormat, InvalidLogFormat> {
        let mut format = LogFormat { parts: Vec::new(), wanted: Wanted::request_lines() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            format.add_text(before);
            if let Some(after) = after.strip_prefix('%') {
                format.add_text("%");
                rest = after;
                continue;
            }
            let lone = || InvalidLogFormat::LonePercent(format!("%{after}"));
            let (name, after) =
                after.strip_prefix('(').and_then(|atom| atom.split_once(')')).ok_or_else(lone)?;
            let after = after.strip_prefix('s').ok_or_else(lone)?;
            let unknown = || InvalidLogFormat::UnknownAtom(format!("%({name})s"));
            format.add_atom(name).ok_or_else(unknown)?;
            rest = after;
        }
        format.add_text(rest);
        Ok(format)
    }
}

impl fmt::Display for LogFormat {
    /// Spells the format so that it parses back to the same one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wanted { request_fields, response_fields, variables, .. } = &self.wanted;
        for part in &self.parts {
            let atom = match part {
                Part::Text(text) => {
                    f.write_str(&text.replace('%', "%%"))?;
                    continue;
                }
                Part::RequestField(place) => {
                    write!(f, "%({{{}}}i)s", request_fields[*place])?;
                    continue;
                }
                Part::ResponseField(place) => {
                    write!(f, "%({{{}}}o)s", response_fields[*place])?;
                    continue;
                }
                Part::Variable(place) => {
                    write!(f, "%({{{}}}e)s", variables[*place])?;
                    continue;
                }
                Part::Peer => 'h',
                Part::User(_) => 'u',
                Part::Time => 't',
                Part::Request => 'r',
                Part::Method => 'm',
                Part::Version => 'H',
                Part::Status => 's',
                Part::ContentBytes => 'B',
                Part::ContentBytesOrDash => 'b',
                Part::Seconds => 'T',
                Part::Milliseconds => 'M',
                Part::Microseconds => 'D',
                Part::DecimalSeconds => 'L',
                Part::Process => 'p',
            };
            write!(f, "%({atom})s")?;
        }
        Ok(())
    }
}

impl fmt::Display for InvalidLogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidLogFormat::UnknownAtom(atom) => write!(
                f,
                "{atom} is no part of an access log format: there are %(h)s, l, u, t, r, m, U, q, H, s, B, b, \
                 f, a, T, D, M, L, p, and %({{name}}i)s, %({{name}}o)s, %({{name}}e)s for fields and variables"
            ),
            InvalidLogFormat::LonePercent(rest) => write!(
                f,
                "the access log format goes wrong at {rest:?}: a part is written %(name)s, and a percent sign %%"
            ),
        }
    }
}

impl Error for InvalidLogFormat {}

/// Finds a name in a list, to which a new one is added.
fn place(names: &mut Vec<String>, name: &str) -> usize {
    let known = names.iter().position(|other| other.eq_ignore_ascii_case(name));
    known.unwrap_or_else(|| {
        names.push(name.to_string());
        names.len() - 1
    })
}

/// Spells a variable as the environ does; in a format case does not matter.
fn variable_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("wsgi.") { lower } else { name.to_ascii_uppercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_text_and_parts() {
        let format: LogFormat =
            "a %(l)s %% %({x-A}i)s%({X-a}i)s%({Set-Cookie}o)s%({http_host}e)s é%(s)s!".parse().unwrap();
        let text = |text: &str| Part::Text(text.to_string());
        let parts = [
            text("a - % "),
            Part::RequestField(0),
            Part::RequestField(0),
            Part::ResponseField(0),
            Part::Variable(0),
            text(" é"),
            Part::Status,
            text("!"),
        ];
        assert_eq!(format.parts, parts);
        assert_eq!(format.wanted.request_fields, ["x-A"]);
        assert_eq!(format.wanted.response_fields, ["Set-Cookie"]);
        assert_eq!(format.wanted.variables, ["HTTP_HOST"]);
        assert_eq!(
            "%({WSGI.url_scheme}e)s".parse::<LogFormat>().unwrap().wanted.variables,
            ["wsgi.url_scheme"]
        );
        assert!("".parse::<LogFormat>().unwrap().parts.is_empty());
        assert_eq!("%(h)s %(s)s".parse::<LogFormat>().unwrap().wanted, Wanted::request_lines());
    }

    #[test]
    fn format_is_displayed_as_it_is_parsed() {
        let every_part = "%(h)s %(l)s %(u)s %(t)s %(r)s %(m)s %(U)s %(q)s %(H)s %(s)s %(B)s %(b)s %(f)s %(a)s \
                          %(T)s %(M)s %(D)s %(L)s %(p)s %({x-a}i)s %({Server}o)s %({wsgi.url_scheme}e)s 100%%";
        for text in [every_part, LogFormat::DEFAULT, ""] {
            let format: LogFormat = text.parse().unwrap();
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("%(s)s %({X-A}i)s %%".parse::<LogFormat>().unwrap().to_string(), "%(s)s %({X-A}i)s %%");
    }

    #[test]
    fn what_is_no_format_is_named() {
        let unknown = |atom: &str| InvalidLogFormat::UnknownAtom(atom.to_string());
        let lone = |rest: &str| InvalidLogFormat::LonePercent(rest.to_string());
        for (text, expected) in [
            ("%(x)s", unknown("%(x)s")),
            ("%(hh)s", unknown("%(hh)s")),
            ("%()s", unknown("%()s")),
            ("%({a}x)s", unknown("%({a}x)s")),
            ("%({a b}i)s", unknown("%({a b}i)s")),
            ("%({}o)s", unknown("%({}o)s")),
            ("%({}e)s", unknown("%({}e)s")),
            ("%({a)s", unknown("%({a)s")),
            ("50% of", lone("% of")),
            ("%", lone("%")),
            ("%(h", lone("%(h")),
            ("%(h)", lone("%(h)")),
            ("%(D)d", lone("%(D)d")),
            ("%h", lone("%h")),
        ] {
            let error = text.parse::<LogFormat>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(error.to_string().len() < 300, "{error}");
        }
    }
}
