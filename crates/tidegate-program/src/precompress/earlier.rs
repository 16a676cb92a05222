//! Files of an earlier time, which clients may have, and the codings against them (RFC 9842).

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::hashes::without_hashes;
use super::{LENGTH_MAX, LENGTH_MIN, Sums, find, is_up_to_date};

/// Digits of a SHA-256.
const NAME_DIGITS: usize = 64;

/// The files of an earlier time, by what their paths are without hashes.
#[derive(Default)]
pub struct Earlier(HashMap<PathBuf, Vec<PathBuf>>);

impl Earlier {
    /// Finds the files of text in these folders.
    ///
    /// # Errors
    /// Returns a sentence about a folder that cannot be read, or that the coding is not built in.
    pub fn find(folders: &[PathBuf]) -> Result<Earlier, String> {
        if !cfg!(feature = "dense") && !folders.is_empty() {
            let way_out = super::WAY_OUT;
            return Err(format!(
                "this program cannot code files against others; one that can is built by \"{way_out}\""
            ));
        }
        let mut earlier = Earlier::default();
        for folder in folders {
            let mut files = Vec::new();
            find(folder, &mut files).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
            for file in files {
                let key = without_hashes(file.strip_prefix(folder).unwrap_or(&file));
                earlier.0.entry(key).or_default().push(file);
            }
        }
        Ok(earlier)
    }

    /// Codes a file against its earlier versions, and takes away what was coded of an older content.
    pub fn make_all(
        &self,
        path: &Path,
        folder: &Path,
        metadata: &Metadata,
        is_anew: bool,
    ) -> io::Result<Sums> {
        for coded in codings_beside(path)? {
            if is_anew || !is_up_to_date(&coded, metadata) {
                fs::remove_file(coded)?;
            }
        }
        let mut sums = Sums::default();
        let key = without_hashes(path.strip_prefix(folder).unwrap_or(path));
        for dictionary in self.0.get(&key).into_iter().flatten() {
            let length = fs::metadata(dictionary)?.len();
            if (LENGTH_MIN..=LENGTH_MAX).contains(&length) {
                sums.add(make(path, metadata, &fs::read(dictionary)?)?);
            }
        }
        Ok(sums)
    }
}

/// Codes a file against this dictionary.
#[cfg(feature = "dense")]
fn make(path: &Path, metadata: &Metadata, dictionary: &[u8]) -> io::Result<Sums> {
    let name = format!("{}.dcz", tidegate_compress::dictionary_name(dictionary));
    let coded_path = super::with_extension(path, &name);
    if is_up_to_date(&coded_path, metadata) {
        return Ok(Sums { up_to_date: 1, ..Sums::default() });
    }
    let content = fs::read(path)?;
    // Whoever has it already has nothing to ask for.
    if content == dictionary {
        return Ok(Sums::default());
    }
    let coded = tidegate_compress::code_against(&content, dictionary)?;
    // What others are sent is the measure.
    let lengths = ["br", "zst", "gz"].map(|extension| fs::metadata(super::with_extension(path, extension)));
    let shortest = lengths.into_iter().flatten().map(|other| other.len()).fold(metadata.len(), u64::min);
    if coded.len() as u64 >= shortest {
        return Ok(Sums { not_shorter: 1, ..Sums::default() });
    }
    super::replace(&coded_path, &coded, metadata, metadata.modified()?)?;
    Ok(Sums { made: 1, made_bytes: coded.len() as u64, ..Sums::default() })
}

#[cfg(not(feature = "dense"))]
fn make(_: &Path, _: &Metadata, _: &[u8]) -> io::Result<Sums> {
    Ok(Sums::default())
}

/// The codings of a file with dictionaries: `app.js.HASH.dcz` and `.dcb`.
fn codings_beside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let is_coding = |other: &OsString| {
        let rest = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let digits = rest.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(b".dcz"));
        let digits = digits.or_else(|| rest?.strip_prefix(b".")?.strip_suffix(b".dcb"));
        digits.is_some_and(|digits| digits.len() == NAME_DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
    };
    let mut codings = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if is_coding(&name) {
            codings.push(folder.join(name));
        }
    }
    Ok(codings)
}
