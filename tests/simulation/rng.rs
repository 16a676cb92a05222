//! Where all chance comes from: one number in, the same schedule out.

use std::cell::Cell;
use std::rc::Rc;

/// SplitMix64: small, and good enough to choose from a menu. A clone is the same one.
#[derive(Clone)]
pub struct Rng(Rc<Cell<u64>>);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        // Neighbouring seeds must not give neighbouring schedules.
        let rng = Rng(Rc::new(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))));
        rng.next();
        rng.0.set(rng.next());
        rng
    }

    fn next(&self) -> u64 {
        let mut word = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(word);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    /// True once in `times`.
    pub fn once_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A length: short as a rule, long now and then.
    pub fn length(&self) -> usize {
        let bound = self.pick(&[1, 2, 20, 20, 200, 200, 2_000]);
        match self.below(60) {
            0 => 16 * 1024 - 1 + self.below(3_000),
            _ => self.below(bound),
        }
    }
}
