//! Which leader epoch wrote which offsets (KIP-101, KIP-279).

/// Which leader epoch wrote which offsets.
///
/// Invariant: epochs and start offsets both rise strictly from entry to entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    entries: Vec<EpochEntry>,
}

/// The first offset that a leader epoch wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The leader epoch.
    pub epoch: i32,
    /// First offset of the epoch.
    pub start_offset: i64,
}

/// Where a leader epoch ends; both are -1 if the log does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The largest epoch known that is not above the one asked for.
    pub epoch: i32,
    /// First offset after that epoch.
    pub end_offset: i64,
}

impl EpochEndOffset {
    /// The log does not know.
    pub const UNKNOWN: Self = Self {
        epoch: -1,
        end_offset: -1,
    };
}

impl LeaderEpochs {
    /// All entries, the oldest first.
    #[must_use]
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest entry.
    #[must_use]
    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    /// The epoch that wrote `offset`.
    #[must_use]
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= offset);
        Some(self.entries.get(after.checked_sub(1)?)?.epoch)
    }

    /// Where the epoch `requested` ends, or if it wrote nothing, the epoch before it.
    ///
    /// - the newest epoch ends at `log_end_offset`
    /// - an epoch above all that are known, or -1, is unknown
    /// - an epoch below all that are known ends where the log starts
    #[must_use]
    pub fn end_offset_for(&self, requested: i32, log_end_offset: i64) -> EpochEndOffset {
        let Some(latest) = self.latest() else {
            return EpochEndOffset::UNKNOWN;
        };
        if requested < 0 || requested > latest.epoch {
            return EpochEndOffset::UNKNOWN;
        }
        if requested == latest.epoch {
            return EpochEndOffset {
                epoch: requested,
                end_offset: log_end_offset,
            };
        }
        let after = self
            .entries
            .partition_point(|entry| entry.epoch <= requested);
        let end_offset = self.entries[after].start_offset;
        let epoch = after
            .checked_sub(1)
            .map_or(requested, |floor| self.entries[floor].epoch);
        EpochEndOffset { epoch, end_offset }
    }

    /// Notes that `entry.epoch` writes from `entry.start_offset` on; returns whether anything
    /// changed.
    ///
    /// Entries that contradict the new one are dropped, as those of a leader that was cut off.
    pub(crate) fn assign(&mut self, entry: EpochEntry) -> bool {
        if entry.epoch < 0 || entry.start_offset < 0 {
            return false;
        }
        if self.latest().is_some_and(|latest| {
            latest.epoch == entry.epoch && entry.start_offset >= latest.start_offset
        }) {
            return false;
        }
        self.entries
            .retain(|old| old.epoch < entry.epoch && old.start_offset < entry.start_offset);
        self.entries.push(entry);
        true
    }

    /// Forgets what was written from `end_offset` on; returns whether anything changed.
    pub(crate) fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start_offset < end_offset);
        self.entries.len() != before
    }

    /// Forgets what was written below `start_offset`; returns whether anything changed.
    ///
    /// The epoch that wrote `start_offset` begins there now.
    pub(crate) fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let after = self
            .entries
            .partition_point(|entry| entry.start_offset <= start_offset);
        let Some(last) = after.checked_sub(1) else {
            return false;
        };
        if last == 0 && self.entries[0].start_offset == start_offset {
            return false;
        }
        self.entries.drain(..last);
        self.entries[0].start_offset = start_offset;
        true
    }
}

impl From<Vec<EpochEntry>> for LeaderEpochs {
    fn from(entries: Vec<EpochEntry>) -> Self {
        let mut epochs = Self::default();
        for entry in entries {
            epochs.assign(entry);
        }
        epochs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        let entry = |&(epoch, start_offset)| EpochEntry {
            epoch,
            start_offset,
        };
        LeaderEpochs::from(entries.iter().map(entry).collect::<Vec<_>>())
    }

    fn entries(epochs: &LeaderEpochs) -> Vec<(i32, i64)> {
        epochs
            .entries()
            .iter()
            .map(|entry| (entry.epoch, entry.start_offset))
            .collect()
    }

    fn end(epochs: &LeaderEpochs, requested: i32) -> (i32, i64) {
        let end = epochs.end_offset_for(requested, 100);
        (end.epoch, end.end_offset)
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_begins() {
        let epochs = epochs(&[(2, 10), (3, 20), (7, 50)]);
        assert_eq!(end(&epochs, 2), (2, 20));
        assert_eq!(end(&epochs, 3), (3, 50));
        assert_eq!(end(&epochs, 7), (7, 100));
    }

    #[test]
    fn an_epoch_that_wrote_nothing_ends_with_the_one_before_it() {
        let epochs = epochs(&[(2, 10), (3, 20), (7, 50)]);
        assert_eq!(end(&epochs, 5), (3, 50));
        assert_eq!(end(&epochs, 1), (1, 10));
    }

    #[test]
    fn an_epoch_of_the_future_and_an_empty_log_are_unknown() {
        assert_eq!(end(&epochs(&[(2, 10)]), 3), (-1, -1));
        assert_eq!(end(&epochs(&[(2, 10)]), -1), (-1, -1));
        assert_eq!(end(&epochs(&[]), 0), (-1, -1));
    }

    #[test]
    fn assigning_the_same_epoch_again_changes_nothing() {
        let mut epochs = epochs(&[(2, 10)]);
        assert!(!epochs.assign(EpochEntry {
            epoch: 2,
            start_offset: 15
        }));
        assert_eq!(entries(&epochs), [(2, 10)]);
    }

    #[test]
    fn entries_that_contradict_a_new_one_are_dropped() {
        let mut first = epochs(&[(2, 10), (3, 20), (7, 50)]);
        assert!(first.assign(EpochEntry {
            epoch: 8,
            start_offset: 20
        }));
        assert_eq!(entries(&first), [(2, 10), (8, 20)]);
        let mut second = epochs(&[(2, 10), (3, 20), (7, 50)]);
        assert!(second.assign(EpochEntry {
            epoch: 3,
            start_offset: 60
        }));
        assert_eq!(entries(&second), [(2, 10), (3, 60)]);
    }

    #[test]
    fn truncation_from_the_end_drops_epochs_that_began_later() {
        let mut epochs = epochs(&[(2, 10), (3, 20), (7, 50)]);
        assert!(epochs.truncate_from_end(50));
        assert_eq!(entries(&epochs), [(2, 10), (3, 20)]);
        assert!(!epochs.truncate_from_end(21));
    }

    #[test]
    fn truncation_from_the_start_keeps_the_epoch_of_the_first_offset() {
        let mut epochs = epochs(&[(2, 10), (3, 20), (7, 50)]);
        assert!(!epochs.truncate_from_start(5));
        assert!(epochs.truncate_from_start(30));
        assert_eq!(entries(&epochs), [(3, 30), (7, 50)]);
        assert!(!epochs.truncate_from_start(30));
        assert!(epochs.truncate_from_start(50));
        assert_eq!(entries(&epochs), [(7, 50)]);
    }

    #[test]
    fn every_offset_belongs_to_one_epoch() {
        let epochs = epochs(&[(2, 10), (3, 20)]);
        assert_eq!(epochs.epoch_for_offset(9), None);
        assert_eq!(epochs.epoch_for_offset(10), Some(2));
        assert_eq!(epochs.epoch_for_offset(19), Some(2));
        assert_eq!(epochs.epoch_for_offset(20), Some(3));
    }
}
