//! Where aggregates keep their groups.

use bytes::Bytes;
use hashbrown::HashMap;

use crate::error::SqlError;

/// The state of a group with its event time.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The bytes of the state.
    pub value: Bytes,
    /// The latest event time of its rows.
    pub timestamp: i64,
}

/// States by key, and by the start of the window if there is one.
pub trait AggregateState {
    /// The state of a group.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn load(&mut self, key: &[u8], window: Option<i64>) -> Result<Option<Stored>, SqlError>;

    /// Sets the state of a group.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn save(
        &mut self,
        key: &[u8],
        window: Option<i64>,
        value: &[u8],
        timestamp: i64,
    ) -> Result<(), SqlError>;
}

/// State in memory, for push queries: it is gone when the query ends.
#[derive(Debug, Default)]
pub struct MemoryState {
    groups: HashMap<Vec<u8>, Stored>,
    max_groups: usize,
}

impl MemoryState {
    /// A state for at most so many groups.
    pub fn new(max_groups: usize) -> Self {
        Self {
            groups: HashMap::new(),
            max_groups,
        }
    }
}

impl AggregateState for MemoryState {
    fn load(&mut self, key: &[u8], window: Option<i64>) -> Result<Option<Stored>, SqlError> {
        Ok(self.groups.get(&group_key(key, window)).cloned())
    }

    fn save(
        &mut self,
        key: &[u8],
        window: Option<i64>,
        value: &[u8],
        timestamp: i64,
    ) -> Result<(), SqlError> {
        let stored = Stored {
            value: Bytes::copy_from_slice(value),
            timestamp,
        };
        self.groups.insert(group_key(key, window), stored);
        if self.groups.len() > self.max_groups {
            return Err(SqlError::invalid(format!(
                "the push query has more than {} groups",
                self.max_groups
            ))
            .with_hint("CREATE TABLE .. AS SELECT keeps its groups in a store"));
        }
        Ok(())
    }
}

fn group_key(key: &[u8], window: Option<i64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 8);
    out.extend_from_slice(key);
    if let Some(start) = window {
        out.extend_from_slice(&start.to_be_bytes());
    }
    out
}
