//! A timing wheel: twenty slots of a millisecond, each with the legs whose 20 ms begin in it.

use std::collections::HashMap;
use std::hash::Hash;

pub(crate) const SLOTS: usize = 20;

/// Spreads items over the slots, so that a thread's work and its packets are spread over time.
pub(crate) struct Wheel<K, T> {
    slots: [Vec<(K, T)>; SLOTS],
    /// Slot and index in it.
    places: HashMap<K, (usize, usize)>,
}

impl<K: Copy + Eq + Hash, T> Wheel<K, T> {
    pub(crate) fn new() -> Self {
        Wheel { slots: std::array::from_fn(|_| Vec::new()), places: HashMap::new() }
    }

    pub(crate) fn contains(&self, key: K) -> bool {
        self.places.contains_key(&key)
    }

    /// Puts an item into the emptiest slot. The key must be new.
    pub(crate) fn insert(&mut self, key: K, item: T) {
        let emptiest = (0..SLOTS).min_by_key(|&slot| self.slots[slot].len()).unwrap_or(0);
        self.places.insert(key, (emptiest, self.slots[emptiest].len()));
        self.slots[emptiest].push((key, item));
    }

    pub(crate) fn find(&mut self, key: K) -> Option<&mut T> {
        let &(slot, index) = self.places.get(&key)?;
        self.slots[slot].get_mut(index).map(|(_, item)| item)
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let (slot, index) = self.places.remove(&key)?;
        let removed = self.slots[slot].swap_remove(index);
        if let Some((moved, _)) = self.slots[slot].get(index) {
            self.places.insert(*moved, (slot, index));
        }
        Some(removed.1)
    }

    /// The items of the slot of a millisecond.
    pub(crate) fn slot(&mut self, millisecond: u64) -> &mut [(K, T)] {
        &mut self.slots[(millisecond % SLOTS as u64) as usize]
    }

    /// The first millisecond from `from` on whose slot has items.
    pub(crate) fn next_busy(&self, from: u64) -> Option<u64> {
        (from..from + SLOTS as u64).find(|&ms| !self.slots[(ms % SLOTS as u64) as usize].is_empty())
    }

    pub(crate) fn keys(&self) -> Vec<K> {
        self.slots.iter().flatten().map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_spread_found_and_removed() {
        let mut wheel = Wheel::new();
        (0..45u64).for_each(|key| wheel.insert(key, key * 10));
        let lengths: Vec<usize> = (0..SLOTS as u64).map(|ms| wheel.slot(ms).len()).collect();
        assert!(lengths.iter().all(|&length| length == 2 || length == 3), "{lengths:?}");
        assert_eq!(wheel.find(7), Some(&mut 70));
        assert_eq!(wheel.remove(7), Some(70));
        assert_eq!(wheel.remove(7), None);
        assert_eq!(wheel.find(7), None);
        assert!(!wheel.contains(7));
        assert_eq!(wheel.keys().len(), 44);
        for key in (0..45).filter(|key| key % 3 == 0) {
            assert_eq!(wheel.remove(key), Some(key * 10));
        }
        for key in 0..45 {
            let left = key % 3 != 0 && key != 7;
            assert_eq!(wheel.find(key).copied(), left.then_some(key * 10), "{key}");
        }
    }

    #[test]
    fn the_next_busy_slot_is_found_across_the_turn() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.next_busy(5), None);
        wheel.insert(1, ());
        assert_eq!(
            (wheel.next_busy(0), wheel.next_busy(1), wheel.next_busy(39)),
            (Some(0), Some(20), Some(40))
        );
    }
}
