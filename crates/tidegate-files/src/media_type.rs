//! The media type (RFC 9110 §8.3.1) that goes with the extension of a file's name.
//!
//! The table is a text, `media_types.txt`: one line for each extension, which it begins with, in their order.
//! It is compiled in as it is: as pairs of strings it would be five times as large, and most of that would be
//! addresses to relocate when the program starts. It says what the crate `mime_guess` says (whose sources are
//! mime-db and MimeTypeMap); a test compares every line.
//!
//! Deliberately not here: looking into the file, and extensions of more than one part (`.tar.gz` is
//! `.gz`).

use std::path::Path;

/// The table: `EXTENSION TYPE` in each line. Missing extensions have [`super::rules::UNKNOWN_TYPE`].
const TABLE: &str = include_str!("media_types.txt");

/// The offset of each line, computed by the compiler so that a search need not look for it.
static STARTS: [u16; lines()] = starts();

// Positions fit into 16 bits, and every one is between two characters.
const _: () = assert!(TABLE.len() <= u16::MAX as usize && TABLE.is_ascii());

const fn lines() -> usize {
    let (mut count, mut position) = (0, 0);
    while position < TABLE.len() {
        count += (TABLE.as_bytes()[position] == b'\n') as usize;
        position += 1;
    }
    count
}

const fn starts() -> [u16; lines()] {
    let mut starts = [0; lines()];
    let (mut line, mut position) = (1, 0);
    while line < starts.len() {
        if TABLE.as_bytes()[position] == b'\n' {
            starts[line] = position as u16 + 1;
            line += 1;
        }
        position += 1;
    }
    starts
}

/// Returns the media type that a file's name tells; none if its extension is not known.
pub fn media_type(path: &Path) -> Option<&'static str> {
    path.extension().and_then(|extension| extension.to_str()).and_then(of_extension)
}

/// Returns the type of an extension, in whatever case it is written.
pub(super) fn of_extension(extension: &str) -> Option<&'static str> {
    let compare = |start: &u16| {
        let known = TABLE.as_bytes()[usize::from(*start)..].iter().copied().take_while(|byte| *byte != b' ');
        known.cmp(extension.bytes().map(|byte| byte.to_ascii_lowercase()))
    };
    let found = STARTS.binary_search_by(compare).ok()?;
    let end = STARTS.get(found + 1).map_or(TABLE.len(), |next| usize::from(*next));
    let line = &TABLE[usize::from(STARTS[found])..end];
    line.trim_end().split_once(' ').map(|(_, media_type)| media_type)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::rules::UNKNOWN_TYPE;
    use super::*;

    /// Returns all extensions that one table or the other knows.
    fn extensions() -> BTreeSet<&'static str> {
        let ours = TABLE.lines().filter_map(|line| line.split_once(' ')).map(|(extension, _)| extension);
        mime_guess::get_extensions("*", "*").unwrap().iter().copied().chain(ours).collect()
    }

    #[test]
    fn table_says_what_mime_guess_says() {
        let missing: Vec<_> = extensions()
            .into_iter()
            .filter_map(|extension| {
                let expected = mime_guess::from_ext(extension).first_raw().unwrap_or(UNKNOWN_TYPE);
                let is_said = of_extension(extension).unwrap_or(UNKNOWN_TYPE) == expected;
                (!is_said).then(|| format!("{extension} {expected}"))
            })
            .collect();
        assert!(missing.is_empty(), "media_types.txt should say, and nothing else of these:\n{missing:#?}");
        assert!(extensions().len() > 1_400);
    }

    #[test]
    fn lines_are_in_order_and_every_one_is_found() {
        let lines: Vec<_> = TABLE.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert!(lines.is_sorted_by(|(one, _), (other, _)| one < other));
        for (extension, media_type) in lines {
            assert_eq!(of_extension(extension), Some(media_type), "{extension}");
        }
    }

    #[test]
    fn extension_in_capitals_is_the_same_and_nonsense_is_unknown() {
        assert_eq!(of_extension("HTML"), Some("text/html"));
        assert_eq!(of_extension("Jpg"), Some("image/jpeg"));
        for nonsense in ["", " ", "html ", "htm\n", "html text/html", "\u{17f}vg", "0", "zzzzzz", "é"] {
            assert_eq!(of_extension(nonsense), None, "{nonsense:?}");
        }
    }
}
