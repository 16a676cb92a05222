//! Looks at bytes eight at a time.
//!
//! Targets, names and values are short, and every request has some. A word at a time takes fewer instructions
//! than a loop over bytes.

/// A word with the lowest bit of every byte set.
const ONES: u64 = u64::MAX / 255;
/// A word with the highest bit of every byte set.
const HIGHS: u64 = ONES << 7;

/// Whether there is a byte that satisfies `is_it`. `may_hold` looks at eight at once, and sets a bit if there
/// may be one; it may do so too often, which costs a look at each byte, but must never miss one.
#[inline]
pub(super) fn any(bytes: &[u8], may_hold: impl Fn(u64) -> u64, is_it: impl Fn(u8) -> bool) -> bool {
    let one_by_one = || bytes.iter().any(|&byte| is_it(byte));
    let Some(last) = bytes.last_chunk() else {
        return one_by_one();
    };
    // The last word overlaps the one before: that is cheaper than a rest of bytes.
    let (words, _) = bytes.as_chunks();
    words.iter().chain([last]).any(|word| may_hold(u64::from_ne_bytes(*word)) != 0) && one_by_one()
}

/// Sets a bit if a byte of the word is below `bound`, which is 128 at most: only such a byte borrows from its
/// highest bit when the bound is subtracted.
#[inline]
pub(super) const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(ONES * bound as u64) & !word & HIGHS
}

/// Sets a bit if a byte of the word equals `byte`.
#[inline]
pub(super) const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

/// Sets a bit if a byte of the word is not ASCII.
#[inline]
pub(super) const fn beyond_ascii(word: u64) -> u64 {
    word & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_agree() {
        for background in [0_u8, 1, 0x1f, 0x20, 0x7f, 0x80, 0xff] {
            for byte in 0..=255_u8 {
                for place in 0..8 {
                    let mut bytes = [background; 8];
                    bytes[place] = byte;
                    let word = u64::from_ne_bytes(bytes);
                    for sought in [0, 1, 0x1f, b'?', 0x7f, 0x80, 0xff, byte] {
                        assert_eq!(
                            equal(word, sought) != 0,
                            bytes.contains(&sought),
                            "{sought} in {bytes:?}"
                        );
                        let bound = sought.min(128);
                        assert_eq!(below(word, bound) != 0, bytes.iter().any(|byte| *byte < bound));
                    }
                    assert_eq!(beyond_ascii(word) != 0, !bytes.is_ascii());
                }
            }
        }
    }

    #[test]
    fn byte_is_found_wherever_it_stands() {
        for length in 0..30 {
            let mut bytes = vec![b'a'; length];
            let is_there = |bytes: &[u8], may_hold: fn(u64) -> u64| any(bytes, may_hold, |byte| byte == b'x');
            assert!(!is_there(&bytes, |word| equal(word, b'x')) && !is_there(&bytes, |_| 1));
            for at in 0..length {
                bytes.fill(b'a');
                bytes[at] = b'x';
                assert!(is_there(&bytes, |word| equal(word, b'x')), "{at} of {length}");
            }
        }
    }
}
