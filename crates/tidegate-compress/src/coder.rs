//! The codings, and what makes them.

use std::io::{self, Write};

use flate2::write::GzEncoder;

/// Longest piece of a coder's window that clients of zstd and br have to keep for an answer on the fly, as a power of two.
/// 19: 512 KiB, which keeps the memory of a coder small.
#[cfg(feature = "dense")]
const WINDOW_LOG: u32 = 19;
/// Longest window of a file in zstd, as a power of two. 23: 8 MiB, since browsers have no more (RFC 9659 §3).
#[cfg(feature = "dense")]
const FILE_WINDOW_LOG: u32 = 23;

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

    /// The memory of a coder at work, in bytes, an estimate from windows and tables.
    pub(crate) fn held_bytes(self) -> usize {
        match self {
            #[cfg(feature = "dense")]
            Coding::Zstd => 1_536 << 10,
            #[cfg(feature = "dense")]
            Coding::Brotli => 2 << 20,
            Coding::Gzip => 320 << 10,
        }
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
                let (level, window) = match effort {
                    Effort::Least => (1, WINDOW_LOG),
                    Effort::Little => (3, WINDOW_LOG),
                    Effort::Much => (6, WINDOW_LOG),
                    Effort::Most => (19, FILE_WINDOW_LOG),
                };
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), level)?;
                encoder.window_log(window)?;
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

    /// Lets everything out that was written.
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

/// Codes all of some content.
///
/// # Errors
/// Returns the error of the coder, which has none that content can cause.
pub fn code(content: &[u8], coding: Coding, effort: Effort) -> io::Result<Vec<u8>> {
    let mut coder = Coder::new(coding, effort)?;
    coder.write(content)?;
    coder.finish()
}
