//! The content codings that a client takes (RFC 9110 §12.5.3).

use super::{Fields, list_items};

/// Returns those of the `known` codings that a client takes by its Accept-Encoding, the best for it first; of two that it
/// likes equally, the one that is named first here. Without a coding at all every client takes content, and one that
/// prefers it so gets none that it likes less.
///
/// ```
/// use tidegate::message::{Fields, accepted_codings};
///
/// let lines = vec![("Accept-Encoding".to_string(), b"gzip, br;q=0.9, zstd;q=0".to_vec())];
/// assert_eq!(accepted_codings(Fields::new(&lines), &["zstd", "br", "gzip"]), ["gzip", "br"]);
/// ```
pub fn accepted_codings<'n>(fields: Fields<'_>, known: &[&'n str]) -> Vec<&'n str> {
    let mut weights: Vec<Option<u16>> = vec![None; known.len()];
    let (mut of_others, mut of_none) = (0, 0);
    for item in fields.all("Accept-Encoding").flat_map(list_items) {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = match parts.next().unwrap_or_default() {
            old if old.eq_ignore_ascii_case(b"x-gzip") => b"gzip",
            name => name,
        };
        let weight = parts.next().map_or(1_000, weight);
        match known.iter().position(|coding| name.eq_ignore_ascii_case(coding.as_bytes())) {
            Some(at) => weights[at] = Some(weight),
            None if name == b"*" => of_others = weight,
            None if name.eq_ignore_ascii_case(b"identity") => of_none = weight,
            None => {}
        }
    }
    let weighed = known.iter().zip(weights).map(|(name, weight)| (*name, weight.unwrap_or(of_others)));
    let mut accepted: Vec<_> = weighed.filter(|(_, weight)| *weight > 0 && *weight >= of_none).collect();
    accepted.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    accepted.into_iter().map(|(name, _)| name).collect()
}

/// Reads the weight `q=0.5` as 500 (RFC 9110 §12.4.2), as it follows a coding, a type or a language; one that cannot be
/// read is 0.
///
/// ```
/// use tidegate::message::weight;
///
/// assert_eq!([weight(b"q=0.5"), weight(b"Q=1"), weight(b"q=2")], [500, 1_000, 0]);
/// ```
pub fn weight(parameter: &[u8]) -> u16 {
    let Some((b'q' | b'Q', [b'=', digits @ ..])) = parameter.split_first() else { return 0 };
    match digits {
        [b'1', ..] => 1_000,
        [b'0', b'.', decimals @ ..] if decimals.len() <= 3 && decimals.iter().all(u8::is_ascii_digit) => (0
            ..3)
            .fold(0, |weight, at| weight * 10 + u16::from(decimals.get(at).map_or(0, |digit| digit - b'0'))),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expected: &[&str]) {
        let lines = vec![("Accept-Encoding".to_string(), accept.as_bytes().to_vec())];
        assert_eq!(accepted_codings(Fields::new(&lines), &["zstd", "br", "gzip"]), expected, "{accept}");
    }

    #[test]
    fn codings_are_those_that_the_client_likes_best() {
        check("gzip, deflate, br, zstd", &["zstd", "br", "gzip"]);
        check("gzip", &["gzip"]);
        check("GZIP;q=1.0, br;q=0.5", &["gzip", "br"]);
        check("gzip;q=0, *", &["zstd", "br"]);
        check("*;q=0", &[]);
        check("br;q=0.001", &["br"]);
        check("identity, br;q=0.5, gzip", &["gzip"]);
        check("x-gzip", &["gzip"]);
        for nothing in ["", "identity", "deflate", "br;q=0", "br;q=x", "br;q=0.1234"] {
            check(nothing, &[]);
        }
    }
}
