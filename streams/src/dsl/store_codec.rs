//! Typed keys and values of a processor's store, and their bytes.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};

use super::serde::{Serde, SerdeContext, SerdeError, encode};
use crate::runtime::StreamsError;

/// Typed keys and values of a store; errors name it.
pub(super) struct Codec<K, V> {
    pub(super) name: String,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Codec<K, V> {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            types: PhantomData,
        }
    }

    fn error(&self, action: &str, error: &SerdeError) -> StreamsError {
        StreamsError::Store {
            store: self.name.clone(),
            reason: format!("cannot {action}: {error}"),
        }
    }
}

impl<K: Serde, V: Serde> Codec<K, V> {
    pub(super) fn key_bytes(&self, key: &K) -> Result<Bytes, StreamsError> {
        let bytes = encode(key, &SerdeContext::key(&self.name), &mut BytesMut::new());
        let bytes = bytes.map_err(|error| self.error("write a key", &error))?;
        bytes.ok_or_else(|| self.error("write a key", &SerdeError::new("it is null")))
    }

    /// The bytes of a value; none of a null.
    pub(super) fn value_bytes(&self, value: &V) -> Result<Option<Bytes>, StreamsError> {
        let context = SerdeContext::value(&self.name);
        let bytes = encode(value, &context, &mut BytesMut::new());
        bytes.map_err(|error| self.error("write a value", &error))
    }

    pub(super) fn key(&self, bytes: &Bytes) -> Result<K, StreamsError> {
        let key = K::decode(&SerdeContext::key(&self.name), bytes);
        key.map_err(|error| self.error("read a key", &error))
    }

    pub(super) fn value(&self, bytes: &Bytes) -> Result<V, StreamsError> {
        let value = V::decode(&SerdeContext::value(&self.name), bytes);
        value.map_err(|error| self.error("read a value", &error))
    }
}

impl<K, V> Clone for Codec<K, V> {
    fn clone(&self) -> Self {
        Self::new(self.name.clone())
    }
}
