//! Hashes in the names of files: two versions of a file differ in nothing else.
//!
//! ```text
//! hexadecimal, 8 digits or more, between dots, hyphens and underscores   webpack, Parcel, Next.js, Vite until 4
//! base64url, 8 characters at the end, behind a dot or a hyphen           Vite, Rollup, Astro, SvelteKit
//! base32 in capitals, 8 characters, likewise                             esbuild, Angular
//! ```
//!
//! A hash in letters is told from a word by how they change. Of a hundred hashes of Rollup four look like words, and of those of
//! esbuild, which often have no digit, a quarter: such files are coded against none but their namesakes. A word that is taken for a
//! hash does no harm either: what is coded against another file is right, and kept only if it is shorter.

use std::path::{Path, PathBuf};

use tidegate_files::is_hash;

/// Characters of a hash that is not hexadecimal, or the fewest where no hyphen is in it. 8: what Rollup and esbuild write.
const LETTERS: usize = 8;

/// Returns a path with a `*` for each hash in the name: two versions of a file have the same.
pub fn without_hashes(path: &Path) -> PathBuf {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return path.to_path_buf() };
    path.with_file_name(
        without_digits(name).or_else(|| without_letters(name)).unwrap_or_else(|| name.to_string()),
    )
}

/// Returns a name without its hexadecimal hashes, if it has any.
fn without_digits(name: &str) -> Option<String> {
    let parts = name.split_inclusive(['.', '-', '_']).map(|part| {
        let bare = part.trim_end_matches(['.', '-', '_']);
        if is_hash(bare) { format!("*{}", &part[bare.len()..]) } else { part.to_string() }
    });
    Some(parts.collect::<String>()).filter(|without| without != name)
}

/// Returns a name without the hash of letters at its end, if it has one.
fn without_letters(name: &str) -> Option<String> {
    let (stem, _) = name.strip_suffix(".map").unwrap_or(name).rsplit_once('.')?;
    let is_behind_sign = |at: &usize| stem[..*at].ends_with(['-', '.']);
    // A hash of the usual length may have a hyphen in it.
    let usual = stem.len().checked_sub(LETTERS).filter(|at| stem.is_char_boundary(*at));
    let usual = usual.filter(is_behind_sign);
    let last = stem.rfind(['-', '.']).map(|at| at + 1);
    let at = [usual, last].into_iter().flatten().find(|at| is_of_letters(&stem[*at..]))?;
    // A name that is nothing but a hash says nothing of what it is a version of.
    (at > 1).then(|| format!("{}*{}", &stem[..at], &name[stem.len()..]))
}

/// Whether a part of a name is a hash in base64url or base32, and no word: capitals, small letters and digits change more often
/// than in words, which have few capitals and all digits at their end.
fn is_of_letters(part: &str) -> bool {
    let is_possible = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if part.len() < LETTERS || !part.bytes().all(is_possible) {
        return false;
    }
    let pairs = || part.as_bytes().windows(2).map(|pair| (pair[0], pair[1]));
    let has_digit_before_letter =
        pairs().any(|(one, next)| one.is_ascii_digit() && next.is_ascii_alphabetic());
    let is_mixed = part.bytes().any(|byte| byte.is_ascii_uppercase())
        && part.bytes().any(|byte| byte.is_ascii_lowercase());
    // No more than 8 characters for 3 runs, where words have 4 characters for each.
    let is_broken = runs(part) * 8 >= part.len() * 3;
    let is_base32 =
        part.len() == LETTERS && part.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
    is_broken && (is_mixed || has_digit_before_letter) || is_base32 && has_digit_before_letter
}

/// The number of words and numbers that a part seems to be made of: `MyButton2` of three.
fn runs(part: &str) -> usize {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Class {
        Capital,
        Small,
        Digit,
        Sign,
    }
    let class = |byte: u8| match byte {
        b'A'..=b'Z' => Class::Capital,
        b'a'..=b'z' => Class::Small,
        b'0'..=b'9' => Class::Digit,
        _ => Class::Sign,
    };
    let classes: Vec<Class> = part.bytes().map(class).collect();
    let begins = |at: usize| {
        let before = at.checked_sub(1).map(|before| classes[before]);
        match classes[at] {
            Class::Sign => false,
            // A capital belongs to the small letter behind it, also after other capitals.
            Class::Capital if classes.get(at + 1) == Some(&Class::Small) => true,
            Class::Small => !matches!(before, Some(Class::Small | Class::Capital)),
            class => before != Some(class),
        }
    };
    (0..classes.len()).filter(|at| begins(*at)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        assert_eq!(without_hashes(Path::new(path)), Path::new(expected), "{path}");
    }

    #[test]
    fn versions_have_the_same_name_without_hashes() {
        for (path, expected) in [
            ("app.js", "app.js"),
            ("js/app-3f2a9c1b.js", "js/app-*.js"),
            ("js/app.0a1b2c3d4e5f60718293.chunk.js", "js/app.*.chunk.js"),
            ("3f2a9c1b/app.js", "3f2a9c1b/app.js"),
            ("facade-decade-20240131.js", "facade-decade-20240131.js"),
            ("index-BxyZ12_a.js", "index-*.js"),
            ("index-D4f-9kQ2.js.map", "index-*.js.map"),
            ("_astro/index.BxyZ12_a.css", "_astro/index.*.css"),
            ("chunk-5YRFQ2XZ.js", "chunk-*.js"),
            ("main-3JPXGUYK.js", "main-*.js"),
            ("entry.b8Jk2fQz7Wc1.js", "entry.*.js"),
            // Nothing but a hash.
            ("chunks/BxyZ12_a.js", "chunks/BxyZ12_a.js"),
        ] {
            check(path, expected);
        }
    }

    /// Names that `vite build` (5.4) has written for some pages.
    #[test]
    fn names_of_a_build_by_vite_lose_their_hashes() {
        for (name, expected) in [
            ("index-CV0MLID1.css", "index-*.css"),
            ("Home-_-OARC6o.css", "Home-*.css"),
            ("Table-B-ku3oZI.css", "Table-*.css"),
            ("Home1-bIlTm8Lh.css", "Home1-*.css"),
            ("Home3-pqr1IIBH.css", "Home3-*.css"),
            ("vendor3-NwPe_8P1.css", "vendor3-*.css"),
            ("about-us-kCyfWiaG.css", "about-us-*.css"),
            ("settings-D-0GD5_w.css", "settings-*.css"),
            ("UserProfile-DF3yTlt9.css", "UserProfile-*.css"),
            ("chart-Dknp-TXi.js", "chart-*.js"),
            ("Table1-Cp0w-8_t.js", "Table1-*.js"),
            ("_plugin-CM4Y9OGy.js", "_plugin-*.js"),
            ("vendor2-Xd-AXAU4.js", "vendor2-*.js"),
            ("about-us2-DsSQf_Sv.js", "about-us2-*.js"),
            ("use-auth1-v-mOv6F_.js", "use-auth1-*.js"),
            ("UserProfile-f-r89dnJ.js", "UserProfile-*.js"),
            ("settings.page2-DfZEl_8L.js", "settings.page2-*.js"),
            ("index-Dlv3Ugp6.js", "index-*.js"),
            ("chart1-CISB55DB.js", "chart1-*.js"),
            ("about-us3-DONhMuGf.js", "about-us3-*.js"),
        ] {
            check(name, expected);
        }
    }

    #[test]
    fn words_are_no_hashes() {
        for name in [
            "main-component.js",
            "user-settings.page.js",
            "use-getElementById.js",
            "lib-MyButton.js",
            "icons-Version2.css",
            "notes-README.txt",
            "list-CHECKLIST.txt",
            "photo-IMG_1234.svg",
            "date-2024-01-31.json",
            "jquery-3.7.1.min.js",
            "polyfills-es2015.js",
            "bootstrap.bundle.min.js",
            "sitemap-products.xml",
            "Überschrift-Änderungen.html",
            "a-b.c",
        ] {
            check(name, name);
        }
    }
}
