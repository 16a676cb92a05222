//! The codings in which a file lies beside itself, made beforehand: `app.js` and `app.js.br`.
//!
//! A client is sent the one that it likes best (RFC 9110 §12.5.3), which is a representation of its own: with its own
//! validators, and ranges of its coded bytes.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tidegate::message::{Fields, accepted_codings};

/// Largest window that a client has to have for zstd, in bytes. 8 MiB: browsers have no more (RFC 9659 §3).
const ZSTD_WINDOW_MAX: u64 = 8 << 20;

/// A coding of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    /// All codings, the densest first.
    const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

    /// The name in Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Zstd => "zstd",
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// The path of a file in this coding.
    pub fn path_of(self, path: &Path) -> PathBuf {
        let mut coded = OsString::from(path);
        coded.push(match self {
            Coding::Zstd => ".zst",
            Coding::Brotli => ".br",
            Coding::Gzip => ".gz",
        });
        coded.into()
    }

    /// Whether every client that takes the coding can decode this file.
    ///
    /// # Errors
    /// Returns the error of the system when the file cannot be read.
    pub fn is_for_all(self, file: &File) -> io::Result<bool> {
        if self != Coding::Zstd {
            return Ok(true);
        }
        let mut start = [0; 14];
        let count = file.read_at(&mut start, 0)?;
        Ok(zstd_window(&start[..count]).is_some_and(|window| window <= ZSTD_WINDOW_MAX))
    }
}

/// Returns the codings that a client takes, the best for it first. As it is, every client takes a file.
pub fn accepted(fields: Fields<'_>) -> Vec<Coding> {
    let accepted = accepted_codings(fields, &Coding::ALL.map(Coding::name));
    accepted.iter().filter_map(|name| Coding::ALL.into_iter().find(|coding| coding.name() == *name)).collect()
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
    use super::Coding::{Brotli, Gzip, Zstd};
    use super::*;

    #[test]
    fn codings_are_those_that_the_client_likes_best() {
        let lines = vec![("Accept-Encoding".to_string(), b"gzip;q=0.5, br, zstd".to_vec())];
        assert_eq!(accepted(Fields::new(&lines)), [Zstd, Brotli, Gzip]);
        assert_eq!(accepted(Fields::EMPTY), []);
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
