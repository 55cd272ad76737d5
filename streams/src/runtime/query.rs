//! Interactive queries: what can be asked of the stores of a running application.
//!
//! A key is looked up in the task that owns it, in this process or, where members have an
//! `application_server`, in another one over HTTP (KIP-67). With a bound on staleness a standby
//! may answer too (KIP-535). Answers are as of the last commit: what lies in a write-back cache is
//! not seen before.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::offset_metadata::{decode_base64, encode_base64};

/// A question to a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreQuery {
    /// Name of the store.
    pub store: String,
    /// Partition to look into; `None` lets the key decide.
    pub partition: Option<i32>,
    /// What to look for.
    pub what: QueryKind,
    /// How many changelog records an answer may lack; 0 asks for the task that owns the
    /// partition, restored as a whole.
    pub max_staleness: u64,
}

/// What to look for in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueryKind {
    /// The value of a key in a key-value store.
    Get {
        /// The key's bytes.
        #[serde(with = "base64")]
        key: Bytes,
    },
    /// The first entries of one partition of a key-value store, in the order of their keys.
    Scan {
        /// Most entries to give.
        limit: usize,
    },
    /// The windows of a key that start within a time, oldest first.
    Windows {
        /// The key's bytes.
        #[serde(with = "base64")]
        key: Bytes,
        /// First start, in milliseconds, inclusive.
        from: i64,
        /// Last start, in milliseconds, inclusive.
        to: i64,
    },
    /// The windows of all keys of one partition that start within a time, oldest first.
    ScanWindows {
        /// First start, in milliseconds, inclusive.
        from: i64,
        /// Last start, in milliseconds, inclusive.
        to: i64,
        /// Most windows to give.
        limit: usize,
    },
    /// The sessions of a key that overlap with a time, in the order of their ends.
    Sessions {
        /// The key's bytes.
        #[serde(with = "base64")]
        key: Bytes,
        /// First millisecond, inclusive.
        from: i64,
        /// Last millisecond, inclusive.
        to: i64,
    },
    /// The version of a key that was valid at a time, in a versioned store (KIP-960).
    Version {
        /// The key's bytes.
        #[serde(with = "base64")]
        key: Bytes,
        /// The time in milliseconds; `None` for the latest version.
        as_of: Option<i64>,
    },
    /// The versions of a key that were valid within a time, oldest first (KIP-968).
    Versions {
        /// The key's bytes.
        #[serde(with = "base64")]
        key: Bytes,
        /// First millisecond, inclusive.
        from: i64,
        /// Last millisecond, inclusive.
        to: i64,
    },
}

/// What a store answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryAnswer {
    /// The entries that were found.
    pub entries: Vec<QueryEntry>,
    /// Changelog records that the answer may lack.
    pub staleness: u64,
    /// Whether the owner of the partition has answered, not a standby.
    pub is_active: bool,
}

/// An entry of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryEntry {
    /// The key's bytes.
    #[serde(with = "base64")]
    pub key: Bytes,
    /// Start of its window or session, of a window or session store.
    pub window_start: Option<i64>,
    /// End of its session, inclusive, of a session store.
    pub window_end: Option<i64>,
    /// First millisecond in which it is not valid any more, of a versioned store; `None` for the
    /// latest version.
    pub valid_to: Option<i64>,
    /// The value's bytes.
    #[serde(with = "base64")]
    pub value: Bytes,
    /// Event time in milliseconds; of a versioned store, from when on it is valid.
    pub timestamp: i64,
}

impl StoreQuery {
    /// The value of a key, from its owner.
    #[must_use]
    pub fn get(store: impl Into<String>, key: Bytes) -> Self {
        Self::new(store, QueryKind::Get { key })
    }

    /// The windows of a key that start within `from..=to`, from its owner.
    #[must_use]
    pub fn windows(store: impl Into<String>, key: Bytes, from: i64, to: i64) -> Self {
        Self::new(store, QueryKind::Windows { key, from, to })
    }

    /// The windows of all keys of a partition that start within `from..=to`, at most `limit`, from
    /// its owner.
    #[must_use]
    pub fn scan_windows(
        store: impl Into<String>,
        partition: i32,
        (from, to): (i64, i64),
        limit: usize,
    ) -> Self {
        let mut query = Self::new(store, QueryKind::ScanWindows { from, to, limit });
        query.partition = Some(partition);
        query
    }

    /// The sessions of a key that overlap with `from..=to`, from their owner.
    #[must_use]
    pub fn sessions(store: impl Into<String>, key: Bytes, from: i64, to: i64) -> Self {
        Self::new(store, QueryKind::Sessions { key, from, to })
    }

    /// The latest version of a key, from its owner.
    #[must_use]
    pub fn latest_version(store: impl Into<String>, key: Bytes) -> Self {
        Self::new(store, QueryKind::Version { key, as_of: None })
    }

    /// The version of a key that was valid at a time, from its owner.
    #[must_use]
    pub fn version_as_of(store: impl Into<String>, key: Bytes, as_of: i64) -> Self {
        let as_of = Some(as_of);
        Self::new(store, QueryKind::Version { key, as_of })
    }

    /// The versions of a key that were valid within `from..=to`, from its owner.
    #[must_use]
    pub fn versions(store: impl Into<String>, key: Bytes, from: i64, to: i64) -> Self {
        Self::new(store, QueryKind::Versions { key, from, to })
    }

    /// The first `limit` entries of a partition, from its owner.
    #[must_use]
    pub fn scan(store: impl Into<String>, partition: i32, limit: usize) -> Self {
        let mut query = Self::new(store, QueryKind::Scan { limit });
        query.partition = Some(partition);
        query
    }

    /// The same question, which a standby may answer that lacks at most `records`.
    #[must_use]
    pub const fn max_staleness(mut self, records: u64) -> Self {
        self.max_staleness = records;
        self
    }

    fn new(store: impl Into<String>, what: QueryKind) -> Self {
        Self {
            store: store.into(),
            partition: None,
            what,
            max_staleness: 0,
        }
    }

    /// The key that decides the partition.
    pub(crate) const fn key(&self) -> Option<&Bytes> {
        match &self.what {
            QueryKind::Get { key }
            | QueryKind::Windows { key, .. }
            | QueryKind::Sessions { key, .. }
            | QueryKind::Version { key, .. }
            | QueryKind::Versions { key, .. } => Some(key),
            QueryKind::Scan { .. } | QueryKind::ScanWindows { .. } => None,
        }
    }
}

/// Bytes in JSON.
mod base64 {
    use bytes::Bytes;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::encode_base64(bytes))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = super::decode_base64(&text);
        bytes
            .map(Bytes::from)
            .ok_or_else(|| D::Error::custom("is not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_travels_as_json_with_its_bytes_in_base64() {
        let query = StoreQuery::windows("views", Bytes::from_static(b"ann"), 0, 59_999);
        let json = serde_json::to_string(&query.clone().max_staleness(7)).expect("json");
        assert_eq!(
            json,
            r#"{"store":"views","partition":null,"what":{"Windows":{"key":"YW5u","from":0,"to":59999}},"max_staleness":7}"#
        );
        let back: StoreQuery = serde_json::from_str(&json).expect("a query");
        assert_eq!(back, query.max_staleness(7));
    }
}
