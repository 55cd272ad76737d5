//! The last offset of each key, in bounded memory.

use std::hash::{BuildHasher, RandomState};

/// The last offset of each key, in bounded memory.
///
/// Keys are known by a hash of 128 bits, made of two keyed 64-bit ones whose secrets no producer
/// knows. The table is open-addressed and doubles while its bound allows.
#[derive(Debug)]
pub(super) struct OffsetMap {
    hashers: [RandomState; 2],
    slots: Vec<Slot>,
    used: usize,
    max_slots: usize,
}

/// `offset` is [`FREE`] in a slot without a key.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u64; 2],
    offset: i64,
}

impl OffsetMap {
    /// A map that takes at most `max_bytes`, a growing one's old table included.
    pub(super) fn new(max_bytes: usize) -> Self {
        // While the table doubles, both are there.
        let affordable = max_bytes / size_of::<Slot>() * 2 / 3;
        let max_slots: usize = (affordable / 2 + 1).next_power_of_two().max(FIRST_SLOTS);
        Self {
            hashers: [RandomState::new(), RandomState::new()],
            slots: Vec::new(),
            used: 0,
            max_slots,
        }
    }

    /// How many keys there are.
    pub(super) const fn len(&self) -> usize {
        self.used
    }

    /// Notes that a key has its last record at `offset`; false if there is no room for it.
    ///
    /// Offsets must not fall from call to call.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        if (self.used + 1) * 4 > self.slots.len() * 3 && !self.grow() {
            let known = self
                .find(hash)
                .filter(|slot| self.slots[*slot].offset != FREE);
            let Some(slot) = known else {
                return false;
            };
            self.slots[slot].offset = offset;
            return true;
        }
        let Some(slot) = self.find(hash) else {
            return false;
        };
        self.used += usize::from(self.slots[slot].offset == FREE);
        self.slots[slot] = Slot { hash, offset };
        true
    }

    /// The last offset of a key, if it is known.
    pub(super) fn last_offset(&self, key: &[u8]) -> Option<i64> {
        let slot = self.slots[self.find(self.hash(key))?];
        (slot.offset != FREE).then_some(slot.offset)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }

    /// The slot that has the hash, or the free one that it would get; `None` in an empty table.
    ///
    /// Ends because a quarter of the slots is always free.
    fn find(&self, hash: [u64; 2]) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash[0] as usize & mask;
        loop {
            let found = &self.slots[slot];
            if found.offset == FREE || found.hash == hash {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Doubles the table; false at the bound.
    fn grow(&mut self) -> bool {
        let count = (self.slots.len() * 2).max(FIRST_SLOTS);
        if count > self.max_slots {
            return false;
        }
        let free = Slot {
            hash: [0; 2],
            offset: FREE,
        };
        let old = std::mem::replace(&mut self.slots, vec![free; count]);
        for slot in old.into_iter().filter(|slot| slot.offset != FREE) {
            if let Some(place) = self.find(slot.hash) {
                self.slots[place] = slot;
            }
        }
        true
    }
}

/// No record has this offset.
const FREE: i64 = -1;
const FIRST_SLOTS: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_the_offset_that_was_noted_last() {
        let mut map = OffsetMap::new(1 << 20);
        for offset in 0..10_000_i64 {
            assert!(map.put(&(offset % 3_000).to_be_bytes(), offset));
        }
        assert_eq!(map.len(), 3_000);
        for key in 0..3_000_i64 {
            let last = (0..10_000).rev().find(|offset| offset % 3_000 == key);
            assert_eq!(map.last_offset(&key.to_be_bytes()), last);
        }
        assert_eq!(map.last_offset(b"other"), None);
        assert_eq!(OffsetMap::new(0).last_offset(b"any"), None);
    }

    #[test]
    fn a_full_map_takes_no_new_key_but_updates_those_it_has() {
        let mut map = OffsetMap::new(0);
        let room = (0..)
            .find(|key: &i64| !map.put(&key.to_be_bytes(), *key))
            .unwrap();
        assert_eq!(room, FIRST_SLOTS as i64 * 3 / 4);
        assert!(map.put(&3_i64.to_be_bytes(), 9_999));
        assert_eq!(map.last_offset(&3_i64.to_be_bytes()), Some(9_999));
        assert!(!map.put(b"new", 10_000));
    }

    #[test]
    fn its_memory_stays_below_the_bound() {
        for bytes in [1 << 16, 1 << 20, 100_000_000, 128 << 20] {
            let map = OffsetMap::new(bytes);
            let table = map.max_slots * size_of::<Slot>();
            assert!(table + table / 2 <= bytes, "{bytes}");
            assert!(table + table / 2 > bytes / 3, "{bytes}");
        }
    }
}
