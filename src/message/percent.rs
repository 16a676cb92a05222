//! Percent-decoding (RFC 3986 §2.1): of paths, and of anything else that is encoded in this way.

use std::borrow::Cow;

use super::words;

/// Decodes escapes (`%41` is `A`) once. A `%` that begins no escape stays as it is, and so does `+`, which means a
/// space in forms only. Nothing is copied where there is no escape.
///
/// ```
/// use tidegate::message::percent_decode;
///
/// assert_eq!(*percent_decode("/a%2Fb%25%e9+%zz"), *b"/a/b%\xe9+%zz");
/// ```
pub fn percent_decode(encoded: &str) -> Cow<'_, [u8]> {
    match holds_percent(encoded) {
        false => Cow::Borrowed(encoded.as_bytes()),
        true => Cow::Owned(decode(encoded.as_bytes())),
    }
}

/// Decodes escapes into text, as [`percent_decode`] does, and replaces what is not UTF-8 by U+FFFD.
///
/// ```
/// use tidegate::message::percent_decode_text;
///
/// assert_eq!(percent_decode_text("%C3%A9t%C3%a9"), "été");
/// assert_eq!(percent_decode_text("%e9t%e9"), "\u{fffd}t\u{fffd}");
/// ```
pub fn percent_decode_text(encoded: &str) -> Cow<'_, str> {
    if !holds_percent(encoded) {
        return Cow::Borrowed(encoded);
    }
    let decoded = String::from_utf8(decode(encoded.as_bytes()));
    Cow::Owned(decoded.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn holds_percent(encoded: &str) -> bool {
    words::any(encoded.as_bytes(), |word| words::equal(word, b'%'), |byte| byte == b'%')
}
fn decode(encoded: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((byte, after)) = split_first_decoded(rest) {
        decoded.push(byte);
        rest = after;
    }
    decoded
}

/// The first byte, decoded, and what follows it; none where there is nothing more.
pub(crate) fn split_first_decoded(encoded: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    if let [b'%', high, low, rest @ ..] = encoded
        && let (Some(high), Some(low)) = (digit(*high), digit(*low))
    {
        return Some(((high * 16 + low) as u8, rest));
    }
    encoded.split_first().map(|(byte, rest)| (*byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_escape_is_not_copied() {
        for plain in ["", "/", "/a/b+c", "/longer/than/eight/bytes"] {
            assert!(matches!(percent_decode(plain), Cow::Borrowed(_)), "{plain}");
            assert!(matches!(percent_decode_text(plain), Cow::Borrowed(_)), "{plain}");
        }
    }

    #[test]
    fn escapes_are_decoded_once_and_what_is_none_stays() {
        for (encoded, expected) in [
            ("%2541", "%41"),
            ("%4", "%4"),
            ("%", "%"),
            ("%%41", "%A"),
            ("%é", "%é"),
            ("/a%20b/%7Ec", "/a b/~c"),
        ] {
            assert_eq!(percent_decode_text(encoded), expected);
            assert_eq!(*percent_decode(encoded), *expected.as_bytes());
        }
    }
}
