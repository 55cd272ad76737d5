//! Which entries of a store have changed since the last commit.

use bytes::{Bytes, BytesMut};

use super::StoredValue;
use super::compact_bytes::CompactBytes;
use super::key_log::{KeyLog, Merge};

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

impl ChangelogRecord {
    /// The record of an entry that is `stored` now, or was removed at `changed_at`.
    pub(super) fn of(key: Bytes, stored: Option<StoredValue>, changed_at: i64) -> Self {
        let timestamp = stored.as_ref().map(|stored| stored.timestamp);
        Self {
            key,
            timestamp: timestamp.unwrap_or(changed_at),
            value: stored.map(|stored| stored.value),
        }
    }
}

/// Copies of bytes that share memory, a chunk at a time. Only for those that go away together:
/// each keeps its whole chunk.
#[derive(Debug, Default)]
pub(super) struct Chunks(BytesMut);

impl Chunks {
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.join(&[bytes])
    }

    /// What lies in place is copied, the rest shared.
    pub(super) fn of(&mut self, bytes: &CompactBytes) -> Bytes {
        match bytes {
            CompactBytes::Short { .. } => self.copy(bytes.as_ref()),
            CompactBytes::Long(_) => bytes.to_bytes(),
        }
    }

    /// The pieces one after the other.
    pub(super) fn join(&mut self, pieces: &[&[u8]]) -> Bytes {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.0.capacity() < length {
            self.0 = BytesMut::with_capacity(length.max(CHUNK));
        }
        for piece in pieces {
            self.0.extend_from_slice(piece);
        }
        self.0.split().freeze()
    }
}

const CHUNK: usize = 16 * 1024;

/// Changed keys with the time of the last change, in key order so that runs can be repeated.
///
/// A store without a changelog records nothing.
#[derive(Debug)]
pub(super) struct Changes<K> {
    logged: bool,
    changed: KeyLog<K, ChangedAt>,
    /// Records of values that the store itself did not take, because they are too late. Kafka
    /// Streams logs them too.
    expired: Vec<ChangelogRecord>,
}

impl<K: Ord> Changes<K> {
    pub(super) const fn new(logged: bool) -> Self {
        Self {
            logged,
            changed: KeyLog::new(),
            expired: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, key: K, timestamp: i64) {
        if self.logged {
            self.changed.add(key, ChangedAt(timestamp));
        }
    }

    pub(super) fn record_expired(&mut self, record: impl FnOnce() -> ChangelogRecord) {
        if self.logged {
            self.expired.push(record());
        }
    }

    /// The changed keys, and finished records to put before theirs.
    pub(super) fn take(
        &mut self,
    ) -> (
        impl Iterator<Item = (K, i64)> + use<K>,
        Vec<ChangelogRecord>,
    ) {
        let changed = std::mem::replace(&mut self.changed, KeyLog::new()).into_entries();
        let changed = changed.into_iter().map(|(key, ChangedAt(at))| (key, at));
        (changed, std::mem::take(&mut self.expired))
    }
}

/// Event time of a key's last change.
#[derive(Debug)]
struct ChangedAt(i64);

impl Merge for ChangedAt {
    fn merge(&mut self, later: &mut Self) {
        self.0 = later.0;
    }
}
