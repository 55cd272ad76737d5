//! What a store says to each kind of question.

use bytes::Bytes;

use crate::runtime::error::StreamsError;
use crate::runtime::query::{QueryEntry, QueryKind};
use crate::runtime::store::{SessionWindow, StoreSlot, StoredValue, VersionedValue};

/// The entries of a store that a question asks for, at most [`MAX_ENTRIES`].
///
/// # Errors
/// The store is of another kind than the question is for, or cannot be read.
pub(super) fn look_up(
    store: &mut StoreSlot,
    what: &QueryKind,
) -> Result<Vec<QueryEntry>, StreamsError> {
    match what {
        QueryKind::Get { key } => {
            let found = store.key_value()?.get(key)?;
            let found = found.map(|stored| entry(key.clone(), stored));
            Ok(found.into_iter().collect())
        }
        QueryKind::Scan { limit } => {
            let all = store.key_value()?.all()?.take(most(*limit));
            all.map(|found| found.map(|(key, stored)| entry(key, stored)))
                .collect()
        }
        QueryKind::Windows { key, from, to } => {
            let windows = store.window()?.fetch(key, *from, *to)?.take(MAX_ENTRIES);
            windows.map(|found| found.map(window)).collect()
        }
        QueryKind::ScanWindows { from, to, limit } => {
            let windows = store.window()?.fetch_all(*from, *to)?.take(most(*limit));
            windows.map(|found| found.map(window)).collect()
        }
        QueryKind::Sessions { key, from, to } => {
            let sessions = store.session()?.find(key, *from, *to)?.take(MAX_ENTRIES);
            sessions.map(|found| found.map(session)).collect()
        }
        QueryKind::Version { key, as_of } => {
            let store = store.versioned()?;
            let found = match as_of {
                Some(as_of) => store.get_as_of(key, *as_of)?,
                None => store.get(key)?,
            };
            let found = found.map(|version| version_entry(key, version));
            Ok(found.into_iter().collect())
        }
        QueryKind::Versions { key, from, to } => {
            let versions = store.versioned()?.history(key, *from, *to)?;
            versions
                .take(MAX_ENTRIES)
                .map(|found| found.map(|version| version_entry(key, version)))
                .collect()
        }
    }
}

fn entry(key: Bytes, stored: StoredValue) -> QueryEntry {
    QueryEntry {
        key,
        window_start: None,
        window_end: None,
        valid_to: None,
        value: stored.value,
        timestamp: stored.timestamp,
    }
}

fn window((key, start, stored): (Bytes, i64, StoredValue)) -> QueryEntry {
    QueryEntry {
        window_start: Some(start),
        ..entry(key, stored)
    }
}

fn session((key, session, stored): (Bytes, SessionWindow, StoredValue)) -> QueryEntry {
    QueryEntry {
        window_start: Some(session.start),
        window_end: Some(session.end),
        ..entry(key, stored)
    }
}

fn version_entry(key: &Bytes, version: VersionedValue) -> QueryEntry {
    let stored = StoredValue {
        value: version.value,
        timestamp: version.valid_from,
    };
    QueryEntry {
        valid_to: version.valid_to,
        ..entry(key.clone(), stored)
    }
}

fn most(limit: usize) -> usize {
    limit.min(MAX_ENTRIES)
}

/// Most entries of one answer.
const MAX_ENTRIES: usize = 10_000;
