//! What has changed in a store in memory since the last commit, and what was there before: for the
//! changelog, and for the way back when the changes cannot be committed.

use bytes::Bytes;

use super::changes::{ChangelogRecord, Chunks};
use super::compact_bytes::CompactBytes;
use super::key_log::{KeyLog, Merge};

/// Changed keys with the time and value of the last change, in key order so that runs can be
/// repeated, and with the values before the first one.
///
/// A store without a changelog records nothing.
#[derive(Debug)]
pub(super) struct Undo<K, V> {
    logged: bool,
    changed: KeyLog<K, Change<V>>,
    /// What was changed before that and is in the changelog, but is not committed; oldest first.
    taken: Vec<KeyLog<K, Change<V>>>,
    /// Records of values that the store itself did not take, because they are too late. Kafka
    /// Streams logs them too.
    expired: Vec<ChangelogRecord>,
}

#[derive(Debug)]
struct Change<V> {
    timestamp: i64,
    /// Whether the changelog is told.
    is_logged: bool,
    before: Option<V>,
    /// What the changelog gets.
    now: Option<CompactBytes>,
}

impl<V> Merge for Change<V> {
    /// What was there before the first change stays.
    fn merge(&mut self, later: &mut Self) {
        self.now = later.now.take();
        if later.is_logged {
            self.timestamp = later.timestamp;
            self.is_logged = true;
        }
    }
}

impl<K: Ord, V> Undo<K, V> {
    pub(super) const fn new(logged: bool) -> Self {
        Self {
            logged,
            changed: KeyLog::new(),
            taken: Vec::new(),
            expired: Vec::new(),
        }
    }

    /// A key that had the value `before` has the value `now`.
    pub(super) fn record(&mut self, key: K, timestamp: i64, before: Option<V>, now: Option<&[u8]>) {
        if self.logged {
            let change = Change {
                timestamp,
                is_logged: true,
                before,
                now: now.map(CompactBytes::from),
            };
            self.changed.add(key, change);
        }
    }

    /// As [`record`](Self::record), for a change that the changelog need not know; if it is told of
    /// another one, it gets a tombstone.
    pub(super) fn record_silently(&mut self, key: K, before: Option<V>) {
        if self.logged {
            let change = Change {
                timestamp: 0,
                is_logged: false,
                before,
                now: None,
            };
            self.changed.add(key, change);
        }
    }

    pub(super) fn record_expired(&mut self, record: impl FnOnce() -> ChangelogRecord) {
        if self.logged {
            self.expired.push(record());
        }
    }

    /// What the changelog gets: finished records, and behind them one of each changed key, whose
    /// bytes `key` makes.
    pub(super) fn take(
        &mut self,
        mut key: impl FnMut(&mut Chunks, &K) -> Bytes,
    ) -> Vec<ChangelogRecord> {
        let mut records = std::mem::take(&mut self.expired);
        let mut chunks = Chunks::default();
        let changed = self.changed.entries_mut().iter_mut();
        let logged = changed.filter(|(_, change)| change.is_logged);
        records.extend(logged.map(|(place, change)| ChangelogRecord {
            key: key(&mut chunks, place),
            value: change.now.take().map(|now| chunks.of(&now)),
            timestamp: change.timestamp,
        }));
        self.set_aside();
        records
    }

    /// The changes are in the changelog from now on; they are kept for the way back.
    pub(super) fn set_aside(&mut self) {
        if !self.changed.is_empty() {
            self.taken
                .push(std::mem::replace(&mut self.changed, KeyLog::new()));
        }
    }

    /// What was taken is committed.
    pub(super) fn committed(&mut self) {
        if let Some(mut taken) = self.taken.pop()
            && self.changed.is_empty()
        {
            // Its memory is used again.
            taken.clear();
            self.changed = taken;
        }
        self.taken.clear();
    }

    /// All that was changed since the last commit, the latest change first: setting the keys to
    /// these values one after the other undoes it. `None` if nobody has kept account.
    pub(super) fn roll_back(&mut self) -> Option<Vec<(K, Option<V>)>> {
        self.expired.clear();
        let changed = std::mem::replace(&mut self.changed, KeyLog::new());
        let mut spans = std::mem::take(&mut self.taken);
        spans.push(changed);
        let changes = spans.into_iter().rev().flat_map(KeyLog::into_entries);
        let undone = changes.map(|(key, change)| (key, change.before));
        self.logged.then(|| undone.collect())
    }
}
