//! Coded content that is kept, so that it is coded once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tidegate::gateway::{MemoryAccount, Reservation};

use crate::filter::Key;

/// Results, within a bound that is given with each that comes. What nobody has asked for since its last turn goes first.
#[derive(Default)]
pub struct Results {
    entries: HashMap<Arc<Key>, Entry>,
    queue: VecDeque<Arc<Key>>,
    bytes: usize,
}

struct Entry {
    content: Arc<[u8]>,
    bytes: usize,
    use_: Use,
    _reservation: Option<Reservation>,
}

/// Whether a result was asked for since it went to the end of the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Used,
    Unused,
}

impl Results {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn get(&mut self, key: &Key) -> Option<Arc<[u8]>> {
        let entry = self.entries.get_mut(key)?;
        entry.use_ = Use::Used;
        Some(entry.content.clone())
    }

    /// Keeps a result if it fits into `bytes_max` bytes.
    pub fn keep(&mut self, key: Key, content: Arc<[u8]>, bytes_max: usize, account: Option<&MemoryAccount>) {
        let bytes = size_of::<Entry>() + key.held_bytes() + content.len();
        if bytes > bytes_max || self.entries.contains_key(&key) {
            return;
        }
        while self.bytes + bytes > bytes_max && self.forget_next() {}
        let key = Arc::new(key);
        let _reservation = account.map(|account| account.reserve(bytes));
        self.entries.insert(key.clone(), Entry { content, bytes, use_: Use::Unused, _reservation });
        self.queue.push_back(key);
        self.bytes += bytes;
    }

    /// Forgets the first result that was not asked for since it went to its place. Returns whether there was any.
    fn forget_next(&mut self) -> bool {
        while let Some(key) = self.queue.pop_front() {
            match self.entries.get_mut(&key) {
                Some(entry) if entry.use_ == Use::Used => {
                    entry.use_ = Use::Unused;
                    self.queue.push_back(key);
                }
                _ => {
                    let forgotten = self.entries.remove(&key);
                    self.bytes -= forgotten.map_or(0, |entry| entry.bytes);
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Coding;

    #[test]
    fn results_are_bounded_and_who_is_asked_for_stays() {
        let account = MemoryAccount::default();
        let mut results = Results::default();
        let key =
            |number: usize| Key::new(["host", &format!("/{number}"), "\"tag\"", "text/css"], Coding::Gzip);
        for number in 0..10 {
            results.keep(key(number), vec![0; 1_000].into(), 4_500, Some(&account));
            assert!(results.get(&key(0)).is_some());
            assert!(results.bytes() <= 4_500 && results.bytes() == account.bytes());
        }
        assert!(results.get(&key(1)).is_none() && results.get(&key(9)).is_some());
        results.keep(key(10), vec![0; 5_000].into(), 4_500, Some(&account));
        assert!(results.get(&key(10)).is_none() && results.get(&key(9)).is_some());
        drop(results);
        assert_eq!(account.bytes(), 0);
    }
}
