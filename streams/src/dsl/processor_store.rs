//! Typed stores of processors.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;

use bytes::{Bytes, BytesMut};

use super::serde::{Serde, SerdeContext, SerdeError, encode};
use crate::runtime::{KeyValueStore, StoreIndex, StreamsError};

/// What lets a processor at its stores: the context of the call it is in.
pub trait StoreAccess {
    /// The bytes of a store.
    ///
    /// # Errors
    /// The task has no such store.
    fn key_value_store(
        &mut self,
        index: StoreIndex,
    ) -> Result<&mut dyn KeyValueStore, StreamsError>;

    /// Event time of what is written now.
    fn write_timestamp(&self) -> i64;
}

/// A typed key-value store of a processor. What changes goes to its changelog at commit.
pub struct ProcessorStore<K, V> {
    name: String,
    index: StoreIndex,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K: Serde, V: Serde> ProcessorStore<K, V> {
    pub(super) const fn new(name: String, index: StoreIndex) -> Self {
        Self {
            name,
            index,
            types: PhantomData,
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn get(&self, cx: &mut impl StoreAccess, key: &K) -> Result<Option<V>, StreamsError> {
        let key = self.key(key)?;
        let found = cx.key_value_store(self.index)?.get(&key)?;
        found.map(|stored| self.value(&stored.value)).transpose()
    }

    /// Sets the value of a key, with the event time of the record or punctuation at work.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put(&self, cx: &mut impl StoreAccess, key: &K, value: &V) -> Result<(), StreamsError> {
        let bytes = encode(
            value,
            &SerdeContext::value(&self.name),
            &mut BytesMut::new(),
        );
        let Some(bytes) = bytes.map_err(|error| self.error("write a value", &error))? else {
            return self.delete(cx, key);
        };
        let (key, timestamp) = (self.key(key)?, cx.write_timestamp());
        cx.key_value_store(self.index)?.put(&key, &bytes, timestamp)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn delete(&self, cx: &mut impl StoreAccess, key: &K) -> Result<(), StreamsError> {
        let (key, timestamp) = (self.key(key)?, cx.write_timestamp());
        cx.key_value_store(self.index)?.delete(&key, timestamp)
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
        let (from, to) = (self.key(from)?, self.key(to)?);
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
        let store = cx.key_value_store(self.index)?;
        let entries = store.range(from, to)?.map(|entry| {
            let (key, stored) = entry?;
            let key = K::decode(&SerdeContext::key(&self.name), &key)
                .map_err(|error| self.error("read a key", &error))?;
            Ok((key, self.value(&stored.value)?))
        });
        entries.collect()
    }

    fn key(&self, key: &K) -> Result<Bytes, StreamsError> {
        let bytes = encode(key, &SerdeContext::key(&self.name), &mut BytesMut::new());
        let bytes = bytes.map_err(|error| self.error("write a key", &error))?;
        bytes.ok_or_else(|| self.error("write a key", &SerdeError::new("it is null")))
    }

    fn value(&self, bytes: &Bytes) -> Result<V, StreamsError> {
        V::decode(&SerdeContext::value(&self.name), bytes)
            .map_err(|error| self.error("read a value", &error))
    }

    fn error(&self, action: &str, error: &SerdeError) -> StreamsError {
        StreamsError::Store {
            store: self.name.clone(),
            reason: format!("cannot {action}: {error}"),
        }
    }
}

impl<K, V> Clone for ProcessorStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            index: self.index,
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for ProcessorStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ProcessorStore")
            .field(&self.name)
            .finish()
    }
}
