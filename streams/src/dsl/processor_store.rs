//! Typed stores of processors.

use std::fmt;
use std::ops::Bound;

use super::serde::Serde;
use super::store_codec::Codec;
use crate::runtime::{
    KeyValueStore, SessionStore, StoreIndex, StreamsError, TaskContext, VersionedStore, WindowStore,
};

/// What lets a processor at its stores: the context of the call it is in.
pub trait StoreAccess {
    /// The task's stores.
    #[doc(hidden)]
    fn stores(&mut self) -> &mut dyn Stores;

    /// Event time of what is written now.
    fn write_timestamp(&self) -> i64;
}

/// The bytes of a task's stores.
pub trait Stores {
    /// A key-value store.
    ///
    /// # Errors
    /// The task has no such store.
    fn key_value(&mut self, index: StoreIndex) -> Result<&mut dyn KeyValueStore, StreamsError>;

    /// A window store.
    ///
    /// # Errors
    /// The task has no such store.
    fn window(&mut self, index: StoreIndex) -> Result<&mut dyn WindowStore, StreamsError>;

    /// A session store.
    ///
    /// # Errors
    /// The task has no such store.
    fn session(&mut self, index: StoreIndex) -> Result<&mut dyn SessionStore, StreamsError>;

    /// A versioned store.
    ///
    /// # Errors
    /// The task has no such store.
    fn versioned(&mut self, index: StoreIndex) -> Result<&mut dyn VersionedStore, StreamsError>;
}

impl Stores for TaskContext<'_> {
    fn key_value(&mut self, index: StoreIndex) -> Result<&mut dyn KeyValueStore, StreamsError> {
        self.store(index)
    }

    fn window(&mut self, index: StoreIndex) -> Result<&mut dyn WindowStore, StreamsError> {
        self.window_store(index)
    }

    fn session(&mut self, index: StoreIndex) -> Result<&mut dyn SessionStore, StreamsError> {
        self.session_store(index)
    }

    fn versioned(&mut self, index: StoreIndex) -> Result<&mut dyn VersionedStore, StreamsError> {
        self.versioned_store(index)
    }
}

/// A typed key-value store of a processor. What changes goes to its changelog at commit.
pub struct ProcessorStore<K, V> {
    codec: Codec<K, V>,
    index: StoreIndex,
}

impl<K: Serde, V: Serde> ProcessorStore<K, V> {
    pub(super) const fn new(name: String, index: StoreIndex) -> Self {
        Self {
            codec: Codec::new(name),
            index,
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn get(&self, cx: &mut impl StoreAccess, key: &K) -> Result<Option<V>, StreamsError> {
        let key = self.codec.key_bytes(key)?;
        let found = cx.stores().key_value(self.index)?.get(&key)?;
        found
            .map(|stored| self.codec.value(&stored.value))
            .transpose()
    }

    /// Sets the value of a key, with the event time of the record or punctuation at work.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put(&self, cx: &mut impl StoreAccess, key: &K, value: &V) -> Result<(), StreamsError> {
        let Some(bytes) = self.codec.value_bytes(value)? else {
            return self.delete(cx, key);
        };
        let (key, timestamp) = (self.codec.key_bytes(key)?, cx.write_timestamp());
        cx.stores()
            .key_value(self.index)?
            .put(&key, &bytes, timestamp)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn delete(&self, cx: &mut impl StoreAccess, key: &K) -> Result<(), StreamsError> {
        let (key, timestamp) = (self.codec.key_bytes(key)?, cx.write_timestamp());
        cx.stores().key_value(self.index)?.delete(&key, timestamp)
    }

    /// All entries, in the order of their keys' bytes. They are read into memory.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn all(&self, cx: &mut impl StoreAccess) -> Result<Vec<(K, V)>, StreamsError> {
        self.entries(cx, Bound::Unbounded, Bound::Unbounded)
    }

    /// The entries from one key to another, both included, in the order of their keys' bytes.
    /// They are read into memory.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn range(
        &self,
        cx: &mut impl StoreAccess,
        from: &K,
        to: &K,
    ) -> Result<Vec<(K, V)>, StreamsError> {
        let (from, to) = (self.codec.key_bytes(from)?, self.codec.key_bytes(to)?);
        self.entries(cx, Bound::Included(&from), Bound::Included(&to))
    }

    /// Removes the entries for which `keep` is false.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub fn retain(
        &self,
        cx: &mut impl StoreAccess,
        keep: impl Fn(&K, &V) -> bool,
    ) -> Result<(), StreamsError> {
        for (key, value) in self.all(cx)? {
            if !keep(&key, &value) {
                self.delete(cx, &key)?;
            }
        }
        Ok(())
    }

    fn entries(
        &self,
        cx: &mut impl StoreAccess,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Vec<(K, V)>, StreamsError> {
        let store = cx.stores().key_value(self.index)?;
        let entries = store.range(from, to)?.map(|entry| {
            let (key, stored) = entry?;
            Ok((self.codec.key(&key)?, self.codec.value(&stored.value)?))
        });
        entries.collect()
    }
}

impl<K, V> Clone for ProcessorStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            codec: self.codec.clone(),
            index: self.index,
        }
    }
}

impl<K, V> fmt::Debug for ProcessorStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ProcessorStore")
            .field(&self.codec.name)
            .finish()
    }
}
