//! The numbers by which Java names exchanges: a stale one finds nobody, and nothing in Java is a pointer of ours.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::handoff::Handoff;

/// The exchanges that Java knows, in all connectors of the process.
static EXCHANGES: Mutex<Slots> = Mutex::new(Slots { slots: Vec::new(), free: Vec::new() });

struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    handoff: Option<Arc<Handoff>>,
}

fn lock() -> MutexGuard<'static, Slots> {
    EXCHANGES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives an exchange its number, which is positive.
pub(crate) fn insert(handoff: Arc<Handoff>) -> i64 {
    let mut slots = lock();
    let index = match slots.free.pop() {
        Some(index) => index,
        None => {
            slots.slots.push(Slot { generation: 0, handoff: None });
            // There are no more exchanges than connections, which are fewer.
            u32::try_from(slots.slots.len() - 1).unwrap_or(u32::MAX)
        }
    };
    let slot = &mut slots.slots[index as usize];
    slot.generation = (slot.generation + 1) & 0x7fff_ffff;
    slot.handoff = Some(handoff);
    (i64::from(slot.generation) << 32) | i64::from(index)
}

/// Finds an exchange by its number.
pub(crate) fn find(id: i64) -> Option<Arc<Handoff>> {
    let slots = lock();
    let slot = slots.slots.get(index_of(id))?;
    (i64::from(slot.generation) == id >> 32).then(|| slot.handoff.clone())?
}

/// Forgets an exchange, and returns it.
pub(crate) fn remove(id: i64) -> Option<Arc<Handoff>> {
    let mut slots = lock();
    let index = index_of(id);
    let slot = slots.slots.get_mut(index).filter(|slot| i64::from(slot.generation) == id >> 32)?;
    let handoff = slot.handoff.take()?;
    slots.free.push(u32::try_from(index).unwrap_or(u32::MAX));
    Some(handoff)
}

fn index_of(id: i64) -> usize {
    (id & 0xffff_ffff) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    use tidegate::gateway::Wakeup;

    use crate::request::{Content, Request};
    use tidegate_jobs::Jobs;

    #[test]
    fn number_that_is_out_of_date_finds_nobody() {
        let new = || {
            let request = Request { block: vec![0; 16], content: Content::Nothing, reservation: None };
            let (wakeup, queue) = (Wakeup::new(Waker::noop().clone()), Arc::new(Jobs::new(1, 1)));
            Arc::new(Handoff::new(request, None, wakeup, queue, 1024))
        };
        let (first, second) = (new(), new());
        let id = insert(first.clone());
        assert!(id > 0 && find(id).is_some_and(|found| Arc::ptr_eq(&found, &first)));
        assert!(remove(id).is_some());
        let next = insert(second.clone());
        assert_ne!(next, id);
        assert!(find(id).is_none() && remove(id).is_none(), "it is over");
        assert!(remove(next).is_some_and(|found| Arc::ptr_eq(&found, &second)));
        for stranger in [0, -1, i64::MAX, i64::MIN] {
            assert!(find(stranger).is_none() && remove(stranger).is_none());
        }
    }
}
