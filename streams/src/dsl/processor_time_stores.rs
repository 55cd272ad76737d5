//! Typed stores of processors that keep windows, sessions or versions.

use std::fmt;

use super::processor_store::StoreAccess;
use super::serde::Serde;
use super::store_codec::Codec;
use crate::runtime::{SessionWindow, StoreIndex, StreamsError, VersionPut, VersionedValue};

/// A typed window store of a processor. What changes goes to its changelog at commit.
pub struct ProcessorWindowStore<K, V> {
    codec: Codec<K, V>,
    index: StoreIndex,
}

impl<K, V> ProcessorWindowStore<K, V> {
    pub(super) const fn new(name: String, index: StoreIndex) -> Self {
        Self {
            codec: Codec::new(name),
            index,
        }
    }
}

impl<K: Serde, V: Serde> ProcessorWindowStore<K, V> {
    /// The value of a key in the window that starts at `start`.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn get(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        start: i64,
    ) -> Result<Option<V>, StreamsError> {
        let key = self.codec.key_bytes(key)?;
        let found = cx.stores().window(self.index)?.get(&key, start)?;
        found
            .map(|stored| self.codec.value(&stored.value))
            .transpose()
    }

    /// Sets the value of a key in the window that starts at `start`, with the event time of the
    /// record or punctuation at work; null removes it. False if the window is beyond retention,
    /// and nothing was stored.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        start: i64,
        value: &V,
    ) -> Result<bool, StreamsError> {
        let (bytes, timestamp) = (self.codec.value_bytes(value)?, cx.write_timestamp());
        let key = self.codec.key_bytes(key)?;
        let store = cx.stores().window(self.index)?;
        match bytes {
            Some(bytes) => store.put(&key, start, &bytes, timestamp),
            None => store.delete(&key, start, timestamp).map(|()| true),
        }
    }

    /// Removes the value of a key in the window that starts at `start`.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn delete(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        start: i64,
    ) -> Result<(), StreamsError> {
        let (key, timestamp) = (self.codec.key_bytes(key)?, cx.write_timestamp());
        cx.stores()
            .window(self.index)?
            .delete(&key, start, timestamp)
    }

    /// The windows of a key that start within `from..=to`, oldest first, read into memory.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn fetch(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        from: i64,
        to: i64,
    ) -> Result<Vec<(i64, V)>, StreamsError> {
        let key = self.codec.key_bytes(key)?;
        let windows = cx.stores().window(self.index)?.fetch(&key, from, to)?;
        let windows = windows.map(|window| {
            let (_, start, stored) = window?;
            Ok((start, self.codec.value(&stored.value)?))
        });
        windows.collect()
    }

    /// All windows that start within `from..=to`, oldest first, read into memory.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn fetch_all(
        &self,
        cx: &mut impl StoreAccess,
        from: i64,
        to: i64,
    ) -> Result<Vec<(K, i64, V)>, StreamsError> {
        let windows = cx.stores().window(self.index)?.fetch_all(from, to)?;
        let windows = windows.map(|window| {
            let (key, start, stored) = window?;
            Ok((
                self.codec.key(&key)?,
                start,
                self.codec.value(&stored.value)?,
            ))
        });
        windows.collect()
    }
}

impl<K, V> Clone for ProcessorWindowStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            codec: self.codec.clone(),
            index: self.index,
        }
    }
}

impl<K, V> fmt::Debug for ProcessorWindowStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ProcessorWindowStore")
            .field(&self.codec.name)
            .finish()
    }
}

/// A typed session store of a processor. What changes goes to its changelog at commit.
pub struct ProcessorSessionStore<K, V> {
    codec: Codec<K, V>,
    index: StoreIndex,
}

impl<K, V> ProcessorSessionStore<K, V> {
    pub(super) const fn new(name: String, index: StoreIndex) -> Self {
        Self {
            codec: Codec::new(name),
            index,
        }
    }
}

impl<K: Serde, V: Serde> ProcessorSessionStore<K, V> {
    /// The value of exactly this session.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn get(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        session: SessionWindow,
    ) -> Result<Option<V>, StreamsError> {
        let key = self.codec.key_bytes(key)?;
        let found = cx.stores().session(self.index)?.get(&key, session)?;
        found
            .map(|stored| self.codec.value(&stored.value))
            .transpose()
    }

    /// Sets the value of a session, with the event time of the record or punctuation at work;
    /// null removes it. False if the session is beyond retention, and nothing was stored.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        session: SessionWindow,
        value: &V,
    ) -> Result<bool, StreamsError> {
        let (bytes, timestamp) = (self.codec.value_bytes(value)?, cx.write_timestamp());
        let key = self.codec.key_bytes(key)?;
        let store = cx.stores().session(self.index)?;
        match bytes {
            Some(bytes) => store.put(&key, session, &bytes, timestamp),
            None => store.remove(&key, session, timestamp).map(|()| true),
        }
    }

    /// Removes a session.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn remove(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        session: SessionWindow,
    ) -> Result<(), StreamsError> {
        let (key, timestamp) = (self.codec.key_bytes(key)?, cx.write_timestamp());
        cx.stores()
            .session(self.index)?
            .remove(&key, session, timestamp)
    }

    /// The sessions of a key that end at `earliest_end` or later and start at `latest_start` or
    /// earlier, by end and then start, read into memory.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn find(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        earliest_end: i64,
        latest_start: i64,
    ) -> Result<Vec<(SessionWindow, V)>, StreamsError> {
        let key = self.codec.key_bytes(key)?;
        let store = cx.stores().session(self.index)?;
        let sessions = store.find(&key, earliest_end, latest_start)?;
        let sessions = sessions.map(|session| {
            let (_, session, stored) = session?;
            Ok((session, self.codec.value(&stored.value)?))
        });
        sessions.collect()
    }
}

impl<K, V> Clone for ProcessorSessionStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            codec: self.codec.clone(),
            index: self.index,
        }
    }
}

impl<K, V> fmt::Debug for ProcessorSessionStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ProcessorSessionStore")
            .field(&self.codec.name)
            .finish()
    }
}

/// A typed versioned store of a processor (KIP-889). Its changelog gets each version.
pub struct ProcessorVersionedStore<K, V> {
    codec: Codec<K, V>,
    index: StoreIndex,
}

impl<K, V> ProcessorVersionedStore<K, V> {
    pub(super) const fn new(name: String, index: StoreIndex) -> Self {
        Self {
            codec: Codec::new(name),
            index,
        }
    }
}

impl<K: Serde, V: Serde> ProcessorVersionedStore<K, V> {
    /// The latest value of a key, and since when it is valid.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn get(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
    ) -> Result<Option<(V, i64)>, StreamsError> {
        let key = self.codec.key_bytes(key)?;
        let found = cx.stores().versioned(self.index)?.get(&key)?;
        self.version(found)
    }

    /// The value of a key that was valid at a point of event time, and since when.
    ///
    /// # Errors
    /// The store cannot be read, or holds other types.
    pub fn get_as_of(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        as_of: i64,
    ) -> Result<Option<(V, i64)>, StreamsError> {
        let key = self.codec.key_bytes(key)?;
        let found = cx.stores().versioned(self.index)?.get_as_of(&key, as_of)?;
        self.version(found)
    }

    /// Puts a value that is valid from `timestamp` until the next later one; null removes the key
    /// for that time.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        value: &V,
        timestamp: i64,
    ) -> Result<VersionPut, StreamsError> {
        let (key, bytes) = (self.codec.key_bytes(key)?, self.codec.value_bytes(value)?);
        let store = cx.stores().versioned(self.index)?;
        store.put(&key, bytes.as_deref(), timestamp)
    }

    /// Removes a key from `timestamp` on, and gives back what was valid then.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn delete(
        &self,
        cx: &mut impl StoreAccess,
        key: &K,
        timestamp: i64,
    ) -> Result<Option<(V, i64)>, StreamsError> {
        let key = self.codec.key_bytes(key)?;
        let found = cx.stores().versioned(self.index)?.delete(&key, timestamp)?;
        self.version(found)
    }

    fn version(&self, found: Option<VersionedValue>) -> Result<Option<(V, i64)>, StreamsError> {
        let version =
            |found: VersionedValue| Ok((self.codec.value(&found.value)?, found.valid_from));
        found.map(version).transpose()
    }
}

impl<K, V> Clone for ProcessorVersionedStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            codec: self.codec.clone(),
            index: self.index,
        }
    }
}

impl<K, V> fmt::Debug for ProcessorVersionedStore<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ProcessorVersionedStore")
            .field(&self.codec.name)
            .finish()
    }
}
