//! The dictionary that a client has: an earlier version of a file, which it names by its SHA-256 (RFC 9842 §2.2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate::message::Fields;

/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;

/// The hash of what a client says that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dictionary([u8; HASH_BYTES]);

impl Dictionary {
    /// Reads Available-Dictionary, a byte sequence (RFC 9651 §3.3.5). Anything else than one hash is none.
    pub fn of(fields: Fields<'_>) -> Option<Dictionary> {
        let mut values = fields.all("Available-Dictionary");
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let digits = value.trim_ascii().strip_prefix(b":")?.strip_suffix(b":")?;
        STANDARD.decode(digits).ok()?.try_into().ok().map(Dictionary)
    }

    /// The bytes of its hash.
    pub fn hash(&self) -> &[u8] {
        &self.0
    }

    /// Returns what follows in content that begins with these bytes and with the hash of this dictionary.
    pub fn strip_from<'c>(&self, content: &'c [u8], magic: &[u8]) -> Option<&'c [u8]> {
        content.strip_prefix(magic)?.strip_prefix(&self.0)
    }
}

/// The hash in hexadecimal digits, as `sha256sum` has it: nothing else that a client sends comes into a name.
impl fmt::Display for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = ":pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=:";
    const DIGITS: &str = "a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e";

    fn check(values: &[&str], expected: Option<&str>) {
        let lines: Vec<_> = values
            .iter()
            .map(|value| ("Available-Dictionary".to_string(), value.as_bytes().to_vec()))
            .collect();
        let digits = Dictionary::of(Fields::new(&lines)).map(|dictionary| dictionary.to_string());
        assert_eq!(digits.as_deref(), expected, "{values:?}");
    }

    #[test]
    fn dictionary_is_one_hash_and_nothing_else() {
        check(&[VALUE], Some(DIGITS));
        check(&[&format!(" {VALUE} ")], Some(DIGITS));
        check(&[], None);
        check(&[VALUE, VALUE], None);
        let digits = &VALUE[1..VALUE.len() - 1];
        for other in [
            "",
            ":",
            "::",
            ":=:",
            digits,
            &format!(":{digits}"),
            &format!(":{}:", &digits[..43]),
            &format!(":{}=:", &digits[..40]),
            &format!(":A{digits}:"),
            &format!(":../{}:", &digits[3..]).replace('.', "%"),
            &format!(":-_{}:", &digits[2..]),
            DIGITS,
        ] {
            check(&[other], None);
        }
    }

    #[test]
    fn content_is_of_the_dictionary_that_it_names() {
        let dictionary = Dictionary([7; HASH_BYTES]);
        let content = [&b"magic"[..], &[7; HASH_BYTES], b"rest"].concat();
        assert_eq!(dictionary.strip_from(&content, b"magic"), Some(&b"rest"[..]));
        assert_eq!(Dictionary([8; HASH_BYTES]).strip_from(&content, b"magic"), None);
        assert_eq!(dictionary.strip_from(&content[..20], b"magic"), None);
    }
}
