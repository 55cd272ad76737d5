//! Which entries of a store have changed since the last commit.

use std::collections::BTreeMap;

use bytes::Bytes;

/// What a store's changelog gets for one changed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangelogRecord {
    /// Key as in the changelog topic.
    pub(crate) key: Bytes,
    /// Value, `None` for a removed entry.
    pub(crate) value: Option<Bytes>,
    /// Event time of the entry or of its removal.
    pub(crate) timestamp: i64,
}

/// Changed keys with the time of the last change, in key order so that runs can be repeated.
///
/// A store without a changelog records nothing.
#[derive(Debug)]
pub(super) struct Changes<K> {
    logged: bool,
    changed: BTreeMap<K, i64>,
    /// Records of values that the store itself did not take, because they are too late. Kafka
    /// Streams logs them too.
    expired: Vec<ChangelogRecord>,
}

impl<K: Ord> Changes<K> {
    pub(super) const fn new(logged: bool) -> Self {
        Self {
            logged,
            changed: BTreeMap::new(),
            expired: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, key: K, timestamp: i64) {
        if self.logged {
            self.changed.insert(key, timestamp);
        }
    }

    pub(super) fn record_expired(&mut self, record: impl FnOnce() -> ChangelogRecord) {
        if self.logged {
            self.expired.push(record());
        }
    }

    /// The changed keys, and finished records to put before theirs.
    pub(super) fn take(&mut self) -> (BTreeMap<K, i64>, Vec<ChangelogRecord>) {
        let changed = std::mem::take(&mut self.changed);
        (changed, std::mem::take(&mut self.expired))
    }
}
