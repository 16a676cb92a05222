//! Remembers blocks of fields that were seen before, and what was made of them.
//!
//! A client sends the same fields with each of its requests, byte for byte. A block that comes a second
//! time is worth keeping; one that comes once (with a request id in it, for instance) must not cost more
//! than the looking. What is kept is bounded: clients that vary their fields on purpose only lose what
//! the memory would have saved them.

use tidegate::message::Fields;

/// Blocks that are kept. 16: as many kinds of clients as are busy at the same moment, in front of one thread.
const KEPT_MAX: usize = 16;
/// Longest block that is kept, in bytes. 4 KiB: browsers send a quarter of it, and all together stay
/// below 64 KiB.
const BLOCK_BYTES_MAX: usize = 4 * 1024;
/// Blocks that were seen once and are remembered by their hash.
const SEEN_MAX: usize = 64;

/// Values by block of fields.
pub(super) struct FieldMemo<T> {
    kept: Vec<Kept<T>>,
    /// The place that the next block takes.
    next: usize,
    seen: [u64; SEEN_MAX],
    next_seen: usize,
}

struct Kept<T> {
    hash: u64,
    block: Vec<u8>,
    thing: T,
}

/// Tells whether a block of fields was seen before.
pub(super) enum Sight {
    /// The block is kept at this place.
    Known(usize),
    /// The block was seen lately, and may be [kept](FieldMemo::keep).
    Repeated(Block),
    /// The block was not seen lately.
    New,
}

/// A block on its way into the memo.
pub(super) struct Block {
    hash: u64,
    bytes: Vec<u8>,
}

impl<T> Default for FieldMemo<T> {
    fn default() -> FieldMemo<T> {
        FieldMemo { kept: Vec::new(), next: 0, seen: [0; SEEN_MAX], next_seen: 0 }
    }
}

impl<T> FieldMemo<T> {
    /// Looks a block of fields up.
    pub fn look_up(&mut self, fields: Fields<'_>) -> Sight {
        let (hash, length) = fields.iter().fold((0, 0), |(hash, length), (name, value)| {
            (mix(mix(hash, name.as_bytes()), value), length + name.len() + value.len() + 2)
        });
        let is_same = |kept: &Kept<T>| kept.hash == hash && kept.block.len() == length && kept.holds(fields);
        if let Some(place) = self.kept.iter().position(is_same) {
            return Sight::Known(place);
        }
        if length > BLOCK_BYTES_MAX {
            return Sight::New;
        }
        if self.seen.contains(&hash) {
            return Sight::Repeated(Block { hash, bytes: encode(fields, length) });
        }
        self.seen[self.next_seen] = hash;
        self.next_seen = (self.next_seen + 1) % SEEN_MAX;
        Sight::New
    }

    /// Keeps a value for a block, and returns its place.
    pub fn keep(&mut self, block: Block, thing: T) -> usize {
        let kept = Kept { hash: block.hash, block: block.bytes, thing };
        if self.kept.len() < KEPT_MAX {
            self.kept.push(kept);
            return self.kept.len() - 1;
        }
        let place = self.next;
        self.next = (self.next + 1) % KEPT_MAX;
        self.kept[place] = kept;
        place
    }

    /// The value at a place that was just looked up.
    pub fn at(&mut self, place: usize) -> &mut T {
        &mut self.kept[place].thing
    }
}

impl<T> Kept<T> {
    /// Whether this is the block of these fields: the hash only says that it may be.
    fn holds(&self, fields: Fields<'_>) -> bool {
        let mut rest = &self.block[..];
        let mut next = |bytes: &[u8]| match rest.strip_prefix(bytes) {
            Some([SEPARATOR, behind @ ..]) => {
                rest = behind;
                true
            }
            _ => false,
        };
        fields.iter().all(|(name, value)| next(name.as_bytes()) && next(value))
    }
}

/// The byte after each name and value; neither can contain it.
const SEPARATOR: u8 = b'\n';

fn encode(fields: Fields<'_>, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length);
    for (name, value) in fields.iter() {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(SEPARATOR);
        bytes.extend_from_slice(value);
        bytes.push(SEPARATOR);
    }
    bytes
}

/// Hashes eight bytes at a time. A client that finds two blocks with the same hash gains nothing: they are
/// compared.
fn mix(hash: u64, bytes: &[u8]) -> u64 {
    let add = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = bytes.as_chunks::<8>();
    let hash =
        words.iter().fold(add(hash, bytes.len() as u64), |hash, word| add(hash, u64::from_le_bytes(*word)));
    rest.iter().fold(hash, |hash, byte| add(hash, u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = Vec<(String, Vec<u8>)>;

    fn lines(value: &str) -> Lines {
        vec![("Host".to_string(), b"a".to_vec()), ("X".to_string(), value.as_bytes().to_vec())]
    }

    /// Looks up as the environ does, and keeps `thing` if it may.
    fn look_up(memo: &mut FieldMemo<u32>, lines: &Lines, thing: u32) -> Option<u32> {
        match memo.look_up(Fields::new(lines)) {
            Sight::Known(place) => Some(*memo.at(place)),
            Sight::Repeated(block) => {
                memo.keep(block, thing);
                None
            }
            Sight::New => None,
        }
    }

    #[test]
    fn block_is_kept_when_it_comes_again() {
        let mut memo = FieldMemo::default();
        assert_eq!(look_up(&mut memo, &lines("1"), 1), None);
        assert_eq!(look_up(&mut memo, &lines("2"), 2), None);
        assert_eq!(look_up(&mut memo, &lines("1"), 3), None);
        assert_eq!(look_up(&mut memo, &lines("1"), 4), Some(3));
        assert_eq!(look_up(&mut memo, &lines("2"), 5), None);
        assert_eq!(look_up(&mut memo, &lines("2"), 6), Some(5));
    }

    #[test]
    fn blocks_that_differ_in_a_byte_or_a_place_are_not_the_same() {
        let mut memo = FieldMemo::default();
        let kept: Lines = vec![("Ab".to_string(), b"c".to_vec())];
        for _ in 0..2 {
            look_up(&mut memo, &kept, 1);
        }
        for (name, value) in [("A", "bc"), ("ab", "c"), ("Ab", "d"), ("Ab", ""), ("Abc", "")] {
            let other = vec![(name.to_string(), value.as_bytes().to_vec())];
            for thing in [2, 3] {
                assert_eq!(look_up(&mut memo, &other, thing), None, "{name}: {value}");
            }
        }
        assert_eq!(look_up(&mut memo, &kept, 9), Some(1));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut memo = FieldMemo::default();
        for number in 0..10_000_u32 {
            for _ in 0..2 {
                look_up(&mut memo, &lines(&number.to_string()), number);
            }
        }
        assert_eq!(memo.kept.len(), KEPT_MAX);
        let long = lines(&"x".repeat(BLOCK_BYTES_MAX));
        for _ in 0..3 {
            assert_eq!(look_up(&mut memo, &long, 1), None);
        }
    }
}
