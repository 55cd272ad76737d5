//! Global tables: topics that every instance reads as a whole, whatever its tasks are.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::StreamsError;
use super::record::Record;
use super::store::{KeyValueStore, StoreKind, StorePlace, StoreSlot, StoreSpec, StoredValue};

/// Brings a record of a global table's topic into its store.
pub type GlobalUpdate =
    Arc<dyn Fn(&Record, &mut dyn KeyValueStore) -> Result<(), StreamsError> + Send + Sync>;

/// A topic of which every instance has all partitions in one store.
///
/// It is read to its end before any task starts, and followed from then on. It is not in step
/// with the tasks' time: a look-up sees what has come so far. The topic is its own changelog.
#[derive(Clone)]
pub struct GlobalTable {
    /// Topic. No sub-topology may have it as a source.
    pub topic: String,
    /// Name of the store, unique in the application.
    pub store: String,
    /// What a record does to the store.
    pub update: GlobalUpdate,
}

impl GlobalTable {
    /// A table whose store holds the bytes of the topic: a null value removes its key, and a
    /// record without a key is left out.
    #[must_use]
    pub fn new(topic: impl Into<String>, store: impl Into<String>) -> Self {
        Self {
            topic: topic.into(),
            store: store.into(),
            update: Arc::new(put_or_delete),
        }
    }

    /// The same table with another way for its records into the store: for example one that
    /// leaves out what cannot be read.
    #[must_use]
    pub fn with_update(mut self, update: GlobalUpdate) -> Self {
        self.update = update;
        self
    }
}

fn put_or_delete(record: &Record, store: &mut dyn KeyValueStore) -> Result<(), StreamsError> {
    match (&record.key, &record.value) {
        (None, _) => Ok(()),
        (Some(key), Some(value)) => store.put(key, value, record.timestamp),
        (Some(key), None) => store.delete(key, record.timestamp),
    }
}

/// Position of a global table in [`Application::global_tables`](super::Application::global_tables).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlobalIndex(pub usize);

/// The store of a global table, shared by all tasks of a process. Tasks only read it.
#[derive(Clone, Debug)]
pub struct GlobalStore {
    name: Arc<str>,
    slot: Arc<Mutex<StoreSlot>>,
}

impl GlobalStore {
    pub(crate) fn open(table: &GlobalTable) -> Self {
        let spec = StoreSpec {
            name: table.store.clone(),
            kind: StoreKind::KeyValue,
            changelog: None,
            place: StorePlace::InMemory,
        };
        Self {
            name: table.store.as_str().into(),
            slot: Arc::new(Mutex::new(StoreSlot::in_memory(&spec))),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of `key` as of now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn get(&self, key: &[u8]) -> Result<Option<StoredValue>, StreamsError> {
        self.with(|store| store.get(key))
    }

    /// Looks into the store; it does not change while `read` runs, so that should be short.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn with<T>(
        &self,
        read: impl FnOnce(&dyn KeyValueStore) -> Result<T, StreamsError>,
    ) -> Result<T, StreamsError> {
        read(self.lock().key_value()?)
    }

    pub(crate) fn update(
        &self,
        records: &[Record],
        update: &GlobalUpdate,
    ) -> Result<(), StreamsError> {
        let mut slot = self.lock();
        let store = slot.key_value()?;
        for record in records {
            update(record, store)?;
        }
        Ok(())
    }

    /// A reader that panicked has changed nothing.
    fn lock(&self) -> MutexGuard<'_, StoreSlot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for GlobalTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GlobalTable")
            .field("topic", &self.topic)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
