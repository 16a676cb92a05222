//! Text that is safe inside HTML, and bytes that are safe inside a URI.
//!
//! ```
//! use tidegate_files::html::{Escaped, UriSegment};
//!
//! assert_eq!(Escaped("<a href='x'>").to_string(), "&lt;a href=&#39;x&#39;&gt;");
//! assert_eq!(UriSegment(b"50% off/now").to_string(), "50%25%20off%2Fnow");
//! ```

use std::fmt::{self, Write};

/// Shows a text with everything escaped that means something in HTML, in elements and in quoted
/// attributes alike.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// Shows bytes as one segment of a path: all but the unreserved characters of RFC 3986 §2.3 are
/// percent-encoded. So it needs no escaping in HTML, and no colon in it passes for a scheme.
#[derive(Clone, Copy, Debug)]
pub struct UriSegment<'a>(pub &'a [u8]);

impl fmt::Display for UriSegment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_loses_its_meaning_in_html_and_nothing_else() {
        assert_eq!(Escaped("").to_string(), "");
        assert_eq!(Escaped("plain \u{e9}").to_string(), "plain \u{e9}");
        assert_eq!(Escaped("a&b\"c\"<d>").to_string(), "a&amp;b&quot;c&quot;&lt;d&gt;");
        assert_eq!(Escaped("&amp;").to_string(), "&amp;amp;");
    }

    #[test]
    fn bytes_become_one_segment_of_a_path() {
        assert_eq!(UriSegment("tide-gate_1.~é".as_bytes()).to_string(), "tide-gate_1.~%C3%A9");
        assert_eq!(UriSegment(b"javascript:x?#%/\\\xff").to_string(), "javascript%3Ax%3F%23%25%2F%5C%FF");
    }
}
