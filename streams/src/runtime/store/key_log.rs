//! Values by key, for many additions and few looks: added at the end, and put in order only when
//! somebody looks, or when it has doubled since.

/// Values by key; a key that comes again is merged into its entry sooner or later.
///
/// Adding costs next to nothing, where an ordered map searches a place; entries that come again
/// and again take at most as much memory as the others.
#[derive(Debug)]
pub(super) struct KeyLog<K, V> {
    entries: Vec<(K, V)>,
    /// So many from the front are in order, each key once.
    settled: usize,
}

/// A value that can take in a later one of the same key.
pub(super) trait Merge {
    /// Takes in what came later.
    fn merge(&mut self, later: &mut Self);
}

impl<K: Ord, V: Merge> KeyLog<K, V> {
    pub(super) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            settled: 0,
        }
    }

    pub(super) fn add(&mut self, key: K, value: V) {
        self.entries.push((key, value));
        if self.entries.len() - self.settled > self.settled.max(FEW) {
            self.settle();
        }
    }

    /// All entries, each key once, in the order of the keys.
    pub(super) fn entries_mut(&mut self) -> &mut [(K, V)] {
        self.settle();
        &mut self.entries
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.settled = 0;
    }

    pub(super) fn into_entries(mut self) -> Vec<(K, V)> {
        self.settle();
        self.entries
    }

    fn settle(&mut self) {
        if self.settled < self.entries.len() {
            // Stable, and quick where the front is in order already.
            self.entries.sort_by(|(key, _), (other, _)| key.cmp(other));
            self.entries.dedup_by(|later, earlier| {
                let is_same = later.0 == earlier.0;
                if is_same {
                    earlier.1.merge(&mut later.1);
                }
                is_same
            });
            self.settled = self.entries.len();
        }
    }
}

/// Fewer entries are not put in order before somebody looks.
const FEW: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl Merge for Vec<u32> {
        fn merge(&mut self, later: &mut Self) {
            self.append(later);
        }
    }

    #[test]
    fn entries_are_in_order_and_merged_in_the_order_they_came() {
        let (mut log, mut expected) = (KeyLog::new(), BTreeMap::<u32, Vec<u32>>::new());
        for value in 0..10_000_u32 {
            let key = value.wrapping_mul(2_654_435_761) % 700;
            log.add(key, vec![value]);
            expected.entry(key).or_default().push(value);
        }
        assert!(log.entries.len() < 3_000);
        assert_eq!(log.into_entries(), Vec::from_iter(expected));
    }
}
