//! The codings in which a file lies beside itself, made beforehand: `app.js` and `app.js.br`.
//!
//! A client is sent the one that it likes best (RFC 9110 §12.5.3), which is a representation of its own: with its own
//! validators, and ranges of its coded bytes.
//!
//! Where [`Rules::dictionaries`](super::Rules::dictionaries) are set, these may be coded against what a client has of an earlier
//! time (RFC 9842): it names that by its SHA-256, and `app.js` lies coded in
//! `app.js.4ce3….dcz`, with all 64 digits of it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tidegate::message::{Fields, accepted_codings};

use super::dictionary::Dictionary;

/// Largest window that a client has to have for zstd, in bytes. 8 MiB: browsers have no more (RFC 9659 §3).
const ZSTD_WINDOW_MAX: u64 = 8 << 20;

/// The first bytes of content in `dcz`: the head of a frame that decoders of zstd skip, of 32 bytes (RFC 9842 §5).
const DCZ_MAGIC: &[u8] = b"\x5e\x2a\x4d\x18\x20\0\0\0";
/// The first bytes of content in `dcb` (RFC 9842 §4).
const DCB_MAGIC: &[u8] = b"\xffDCB";
/// Bytes at the start of a coded file that tell which clients can decode it: those of `dcz`, its dictionary's hash,
/// and what tells the window of a frame.
const START_BYTES: usize = 8 + 32 + 14;

/// A coding of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Zstandard with a dictionary (RFC 9842 §5).
    DictionaryZstd,
    /// Brotli with a dictionary (RFC 9842 §4).
    DictionaryBrotli,
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// All codings, the densest first.
    const ALL: [Coding; 5] =
        [Coding::DictionaryZstd, Coding::DictionaryBrotli, Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// The name in Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Coding::DictionaryZstd => "dcz",
            Coding::DictionaryBrotli => "dcb",
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// Whether content is coded against what the client has.
    pub fn has_dictionary(self) -> bool {
        matches!(self, Coding::DictionaryZstd | Coding::DictionaryBrotli)
    }

    /// A letter for the coding, another one for each.
    pub fn letter(self) -> u8 {
        match self {
            Coding::DictionaryZstd => b'Z',
            Coding::DictionaryBrotli => b'B',
            Coding::Zstd => b'z',
            Coding::Brotli => b'b',
            Coding::Gzip => b'g',
        }
    }

    /// The path of a file in this coding.
    pub fn path_of(self, path: &Path, dictionary: Option<&Dictionary>) -> PathBuf {
        let mut coded = OsString::from(path);
        if let Some(dictionary) = dictionary.filter(|_| self.has_dictionary()) {
            coded.push(format!(".{dictionary}"));
        }
        coded.push(match self {
            Coding::DictionaryZstd => ".dcz",
            Coding::DictionaryBrotli => ".dcb",
            Coding::Zstd => ".zst",
            Coding::Brotli => ".br",
            Coding::Gzip => ".gz",
        });
        coded.into()
    }

    /// Whether every client that takes the coding, and has the dictionary, can decode this file.
    ///
    /// # Errors
    /// Returns the error of the system when the file cannot be read.
    pub fn is_for_all(self, file: &File, dictionary: Option<&Dictionary>) -> io::Result<bool> {
        let mut start = [0; START_BYTES];
        let count = match self {
            Coding::Brotli | Coding::Gzip => return Ok(true),
            _ => file.read_at(&mut start, 0)?,
        };
        let start = &start[..count];
        let is_narrow = |frame| zstd_window(frame).is_some_and(|window| window <= ZSTD_WINDOW_MAX);
        let coded = |magic| dictionary.and_then(|dictionary| dictionary.strip_from(start, magic));
        Ok(match self {
            Coding::DictionaryZstd => coded(DCZ_MAGIC).is_some_and(is_narrow),
            Coding::DictionaryBrotli => coded(DCB_MAGIC).is_some(),
            Coding::Zstd | Coding::Brotli | Coding::Gzip => is_narrow(start),
        })
    }
}

/// Returns the codings that a client takes, the best for it first; those with a dictionary only if it has one. As it is, every
/// client takes a file.
pub fn accepted(fields: Fields<'_>, dictionary: Option<&Dictionary>) -> Vec<Coding> {
    let accepted = accepted_codings(fields, &Coding::ALL.map(Coding::name));
    let codings =
        accepted.iter().filter_map(|name| Coding::ALL.into_iter().find(|coding| coding.name() == *name));
    codings.filter(|coding| dictionary.is_some() || !coding.has_dictionary()).collect()
}

/// Returns the window that a frame of zstd needs, in bytes (RFC 8878 §3.1.1.1); none if it is no frame.
fn zstd_window(start: &[u8]) -> Option<u64> {
    let [descriptor, rest @ ..] = start.strip_prefix(b"\x28\xb5\x2f\xfd")? else { return None };
    let is_single_segment = descriptor & 0x20 != 0;
    if !is_single_segment {
        let window = rest.first()?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // The window is all of the content, whose length stands behind the dictionary's number.
    let rest = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
    let bytes = rest.get(..1 << (descriptor >> 6))?;
    let length = bytes.iter().rev().fold(0, |length, byte| length << 8 | u64::from(*byte));
    Some(if bytes.len() == 2 { length + 256 } else { length })
}

#[cfg(test)]
mod tests {
    use super::Coding::{Brotli, DictionaryBrotli, DictionaryZstd, Gzip, Zstd};
    use super::*;

    #[test]
    fn codings_are_those_that_the_client_likes_best() {
        let lines = vec![("Accept-Encoding".to_string(), b"gzip;q=0.5, br, zstd".to_vec())];
        assert_eq!(accepted(Fields::new(&lines), None), [Zstd, Brotli, Gzip]);
        assert_eq!(accepted(Fields::EMPTY, None), []);
    }

    #[test]
    fn codings_with_a_dictionary_are_for_those_who_have_one() {
        let lines = vec![
            ("Accept-Encoding".to_string(), b"gzip, br, zstd, dcb, dcz".to_vec()),
            ("Available-Dictionary".to_string(), b":pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4=:".to_vec()),
        ];
        let fields = Fields::new(&lines);
        let dictionary = Dictionary::of(fields);
        let all = [DictionaryZstd, DictionaryBrotli, Zstd, Brotli, Gzip];
        assert_eq!(accepted(fields, dictionary.as_ref()), all);
        assert_eq!(accepted(fields, None), all[2..]);
    }

    #[test]
    fn window_of_zstd_is_read_from_its_frame() {
        // By zstd -19 (8 MiB), zstd --long=27 (128 MiB), and a short content in a single segment.
        assert_eq!(zstd_window(b"\x28\xb5\x2f\xfd\x04\x68"), Some(8 << 20));
        assert_eq!(zstd_window(b"\x28\xb5\x2f\xfd\x04\x88"), Some(128 << 20));
        assert_eq!(zstd_window(b"\x28\xb5\x2f\xfd\x24\x05"), Some(5));
        assert_eq!(zstd_window(b"\x28\xb5\x2f\xfd\x64\x00\x01"), Some(512));
        assert_eq!(zstd_window(b"plain"), None);
        assert_eq!(zstd_window(b"\x28\xb5\x2f\xfd"), None);
    }
}
