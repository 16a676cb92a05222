//! The codings, and what makes them.

use std::io::{self, Write};

use flate2::write::GzEncoder;
#[cfg(feature = "dense")]
use sha2::{Digest, Sha256};

/// Longest piece of a coder's window that clients of zstd and br have to keep for an answer on the fly, as a power of two.
/// 19: 512 KiB, which keeps the memory of a coder small.
#[cfg(feature = "dense")]
const WINDOW_LOG: u32 = 19;
/// Longest window of a file in zstd, as a power of two. 23: 8 MiB, since browsers have no more (RFC 9659 §3).
#[cfg(feature = "dense")]
const FILE_WINDOW_LOG: u32 = 23;

/// Shortest window of a file with a dictionary, as a power of two. 10: the shortest that zstd has.
#[cfg(feature = "dense")]
const DICTIONARY_WINDOW_LOG_MIN: u32 = 10;
/// The first bytes of content in `dcz`: the head of a frame that decoders of zstd skip, of 32 bytes. The SHA-256 of the
/// dictionary follows, and then a frame of zstd.
#[cfg(feature = "dense")]
const DCZ_MAGIC: &[u8] = b"\x5e\x2a\x4d\x18\x20\0\0\0";

/// A coding of content.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `zstd` (RFC 8878).
    #[cfg(feature = "dense")]
    Zstd,
    /// `br`, which is Brotli (RFC 7932).
    #[cfg(feature = "dense")]
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl Coding {
    /// All codings that are built in. On the fly the first is tried first.
    #[cfg(feature = "dense")]
    pub const ALL: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    /// All codings that are built in. On the fly the first is tried first.
    #[cfg(not(feature = "dense"))]
    pub const ALL: [Coding; 1] = [Coding::Gzip];

    /// The name in Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "dense")]
            Coding::Zstd => "zstd",
            #[cfg(feature = "dense")]
            Coding::Brotli => "br",
            Coding::Gzip => "gzip",
        }
    }

    /// The extension of a file in this coding, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            #[cfg(feature = "dense")]
            Coding::Zstd => "zst",
            #[cfg(feature = "dense")]
            Coding::Brotli => "br",
            Coding::Gzip => "gz",
        }
    }

    /// The most memory of a coder at work, in bytes, with what comes out of 64 KiB of content. `tests/memory.rs` measures it.
    pub(crate) fn held_bytes(self, effort: Effort) -> usize {
        let kib = match self {
            // It grows with effort, by the tables of what was seen, and by commands where content does not become shorter.
            #[cfg(feature = "dense")]
            Coding::Zstd => match effort {
                Effort::Least => 1_664,
                Effort::Little => 2_304,
                Effort::Much | Effort::Most => 4_352,
            },
            #[cfg(feature = "dense")]
            Coding::Brotli => match effort {
                Effort::Least => 1_024,
                Effort::Little => 6_144,
                Effort::Much | Effort::Most => 8_192,
            },
            Coding::Gzip => match effort {
                Effort::Least | Effort::Little | Effort::Much | Effort::Most => 640,
            },
        };
        kib << 10
    }
}

/// The time that a coder takes for making content shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The coder takes as little time as possible.
    Least,
    /// The coder takes a little time, since the result is used once.
    Little,
    /// The coder takes as much time as pays where the result is kept.
    Much,
    /// The coder takes as much time as makes content any shorter: for files.
    Most,
}

impl Effort {
    /// The next lower effort of those on the fly, which takes less memory.
    pub(crate) fn less(self) -> Option<Effort> {
        match self {
            Effort::Most | Effort::Much => Some(Effort::Little),
            Effort::Little => Some(Effort::Least),
            Effort::Least => None,
        }
    }
}

/// A coder at work. Its output is taken in pieces.
pub(crate) enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    #[cfg(feature = "dense")]
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    #[cfg(feature = "dense")]
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Coder {
    pub(crate) fn new(coding: Coding, effort: Effort) -> io::Result<Coder> {
        Ok(match coding {
            Coding::Gzip => {
                let level = match effort {
                    Effort::Least => 1,
                    Effort::Little => 4,
                    Effort::Much => 6,
                    Effort::Most => 9,
                };
                Coder::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level)))
            }
            #[cfg(feature = "dense")]
            Coding::Brotli => {
                let (quality, window) = match effort {
                    Effort::Least => (1, WINDOW_LOG),
                    Effort::Little => (3, WINDOW_LOG),
                    Effort::Much => (5, WINDOW_LOG),
                    Effort::Most => (11, 22),
                };
                Coder::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, quality, window)))
            }
            #[cfg(feature = "dense")]
            Coding::Zstd => {
                let (level, window_log) = zstd_parameters(effort);
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.window_log(window_log)?;
                Coder::Zstd(encoder)
            }
        })
    }

    pub(crate) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        match self {
            Coder::Gzip(encoder) => encoder.write_all(content),
            #[cfg(feature = "dense")]
            Coder::Brotli(encoder) => encoder.write_all(content),
            #[cfg(feature = "dense")]
            Coder::Zstd(encoder) => encoder.write_all(content),
        }
    }

    /// Flushes the coder: everything written so far can be taken.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Coder::Gzip(encoder) => encoder.flush(),
            #[cfg(feature = "dense")]
            Coder::Brotli(encoder) => encoder.flush(),
            #[cfg(feature = "dense")]
            Coder::Zstd(encoder) => encoder.flush(),
        }
    }

    /// Takes what has come out since it was last taken.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Coder::Gzip(encoder) => encoder.get_mut(),
            #[cfg(feature = "dense")]
            Coder::Brotli(encoder) => encoder.get_mut(),
            #[cfg(feature = "dense")]
            Coder::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// Ends the content, and returns the rest.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Coder::Gzip(encoder) => encoder.finish(),
            #[cfg(feature = "dense")]
            Coder::Brotli(encoder) => Ok(encoder.into_inner()),
            #[cfg(feature = "dense")]
            Coder::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// The level of a coder of zstd, and the longest window that its readers need, as a power of two.
#[cfg(feature = "dense")]
pub(crate) fn zstd_parameters(effort: Effort) -> (i32, u32) {
    match effort {
        Effort::Least => (1, WINDOW_LOG),
        Effort::Little => (3, WINDOW_LOG),
        Effort::Much => (6, WINDOW_LOG),
        Effort::Most => (19, FILE_WINDOW_LOG),
    }
}

/// Codes all of some content.
///
/// # Errors
/// Returns the error of the coder, which has none that content can cause.
pub fn code(content: &[u8], coding: Coding, effort: Effort) -> io::Result<Vec<u8>> {
    let mut coder = Coder::new(coding, effort)?;
    coder.write(content)?;
    coder.finish()
}

/// Codes content against a dictionary that its readers have, as `dcz` wants it (RFC 9842 §5).
///
/// # Errors
/// Returns the error of the coder, which has none that content can cause.
#[cfg(feature = "dense")]
pub fn code_against(content: &[u8], dictionary: &[u8]) -> io::Result<Vec<u8>> {
    let mut coded = DCZ_MAGIC.to_vec();
    coded.extend_from_slice(&Sha256::digest(dictionary));
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(coded, 19, dictionary)?;
    // As long as all of both is in the window, all of the dictionary can be referred to.
    let both = (content.len() + dictionary.len()).next_power_of_two().ilog2();
    encoder.window_log(both.clamp(DICTIONARY_WINDOW_LOG_MIN, FILE_WINDOW_LOG))?;
    encoder.write_all(content)?;
    encoder.finish()
}

/// The name of a dictionary: its SHA-256 in hexadecimal digits.
#[cfg(feature = "dense")]
pub fn dictionary_name(dictionary: &[u8]) -> String {
    Sha256::digest(dictionary).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(all(test, feature = "dense"))]
mod tests {
    use super::*;
    use std::io::Read;

    /// Two versions of a script, the later one with a change every hundred lines.
    fn versions(lines: u64) -> [Vec<u8>; 2] {
        [1, 2].map(|version| {
            let line = |number: u64| {
                let changed = if number.is_multiple_of(100) { version } else { 0 };
                format!("let tide_{number:x} = {};\n", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ changed)
            };
            (0..lines).map(line).collect::<String>().into_bytes()
        })
    }

    /// Codes one content against another, and returns its length when it has been decoded again.
    fn check(new: &[u8], old: &[u8]) -> usize {
        let coded = code_against(new, old).unwrap();
        let rest = coded.strip_prefix(DCZ_MAGIC).unwrap();
        let frame = rest.strip_prefix(&Sha256::digest(old)[..]).unwrap();
        let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(frame, old).unwrap();
        // No more than every client has (RFC 9842 §5).
        decoder.window_log_max(FILE_WINDOW_LOG).unwrap();
        let mut decoded = Vec::new();
        decoder.read_to_end(&mut decoded).unwrap();
        assert!(decoded == new, "{} bytes", new.len());
        coded.len()
    }

    #[test]
    fn content_coded_against_another_version_is_its_difference() {
        for lines in [0, 1, 100, 5_000] {
            let [old, new] = versions(lines);
            let length = check(&new, &old);
            if lines >= 100 {
                let alone = code(&new, Coding::Zstd, Effort::Most).unwrap();
                assert!(length * 5 < alone.len(), "{lines}: {length} and {}", alone.len());
            }
        }
        // Longer than a window, both together and each.
        for length in [6 << 20, 9 << 20] {
            check(&vec![b'x'; length + 1], &vec![b'x'; length]);
        }
    }

    #[test]
    fn dictionary_has_the_name_that_sha256sum_gives_it() {
        let name = "a591a6d40bf420404a011733cfb7b190d62c65bf0bcda32b57b277d9ad9f146e";
        assert_eq!(dictionary_name(b"Hello World"), name);
    }
}
