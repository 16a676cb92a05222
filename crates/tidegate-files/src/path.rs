//! Turns the path of a request into a path below the folder.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// The one name with a leading dot that is served, since it exists to be asked for (RFC 8615).
const WELL_KNOWN: &str = ".well-known";

/// Returns the file path that a decoded request path stands for; none if it can mean no file.
///
/// Empty segments are skipped, as every file system does. A segment that begins with a dot stands
/// for nothing: that hides `.git` and `.env`, and covers `.` and `..`. Neither does one with a
/// NUL, or a backslash, which some clients take for a slash.
pub fn file_path(decoded: &[u8]) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for segment in decoded.split(|&byte| byte == b'/').filter(|segment| !segment.is_empty()) {
        if segment.contains(&0) || segment.contains(&b'\\') {
            return None;
        }
        let name = os_name(segment)?;
        let is_at_top = path.as_os_str().is_empty();
        let is_shown = !is_hidden(name) || is_at_top && name == WELL_KNOWN;
        // On Windows a segment such as `C:` is no name either.
        let is_name = Path::new(name).components().eq([Component::Normal(name)]);
        if !is_shown || !is_name {
            return None;
        }
        path.push(name);
    }
    Some(path)
}

/// Whether an encoded path contains a percent-encoded slash or backslash. It would be part of a name (RFC
/// 3986 §2.2), and no file has such a name.
pub fn has_encoded_separator(encoded: &str) -> bool {
    encoded
        .as_bytes()
        .windows(3)
        .any(|bytes| bytes.eq_ignore_ascii_case(b"%2f") || bytes.eq_ignore_ascii_case(b"%5c"))
}

/// Whether a path below the folder has no hidden part.
pub fn is_shown(path: &Path) -> bool {
    let mut parts = path.iter();
    parts.next().is_none_or(|first| !is_hidden(first) || first == WELL_KNOWN) && !parts.any(is_hidden)
}

/// Whether a name in a folder is listed: neither hidden nor one that [`file_path`] has no path for.
pub fn is_listed(name: &OsStr) -> bool {
    !is_hidden(name) && !name.as_encoded_bytes().contains(&b'\\')
}

/// Whether a name begins with a dot.
fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Returns the bytes of a name as the client has to send them.
pub fn name_bytes(name: &OsStr) -> &[u8] {
    name.as_encoded_bytes()
}

#[cfg(unix)]
fn os_name(segment: &[u8]) -> Option<&OsStr> {
    Some(std::os::unix::ffi::OsStrExt::from_bytes(segment))
}

#[cfg(not(unix))]
fn os_name(segment: &[u8]) -> Option<&OsStr> {
    std::str::from_utf8(segment).ok().map(OsStr::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(decoded: &[u8], expected: Option<&str>) {
        let path = file_path(decoded);
        assert_eq!(path.as_deref(), expected.map(Path::new), "{:?}", decoded.escape_ascii());
    }

    #[test]
    fn paths_go_down_and_nowhere_else() {
        check(b"", Some(""));
        check(b"/", Some(""));
        check(b"/a/b.txt", Some("a/b.txt"));
        check(b"//a///b/", Some("a/b"));
        check(b"/a b", Some("a b"));
        check(b"/a..b/c.", Some("a..b/c."));
        check(b"/..", None);
        check(b"/a/../b", None);
        check(b"/a/./b", None);
        check(b"/...", None);
        check(b"/a\\..\\b", None);
        check(b"/a\0", None);
    }

    #[test]
    fn names_with_a_leading_dot_are_hidden_but_the_well_known_one() {
        check(b"/.git/config", None);
        check(b"/a/.env", None);
        check(b"/.well-known/acme-challenge/x", Some(".well-known/acme-challenge/x"));
        check(b"/a/.well-known/x", None);
        check(b"/.well-known/.x", None);
    }

    #[cfg(unix)]
    #[test]
    fn names_need_not_be_utf_8() {
        assert_eq!(file_path(b"/\xff").map(|path| path.into_os_string().len()), Some(1));
    }

    #[test]
    fn encoded_separators_are_found_in_either_case() {
        for bad in ["/a%2fb", "/%2F", "/..%5c", "/%5C"] {
            assert!(has_encoded_separator(bad), "{bad}");
        }
        for good in ["/", "/a", "/%20f", "/%2", "/2f", "/%25"] {
            assert!(!has_encoded_separator(good), "{good}");
        }
    }
}
