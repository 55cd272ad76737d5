//! How keys and values become bytes: each type knows its own.

#[cfg(feature = "avro")]
mod avro;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod http_registry;
mod json;
mod primitives;
#[cfg(feature = "protobuf")]
mod protobuf;
#[cfg(any(feature = "avro", feature = "protobuf"))]
mod registry;
mod text;

#[cfg(feature = "avro")]
pub use avro::Avro;
#[cfg(any(feature = "avro", feature = "protobuf"))]
pub use http_registry::HttpSchemaRegistry;
pub use json::Json;
#[cfg(feature = "protobuf")]
pub use protobuf::{Proto, ProtoMessage};
#[cfg(any(feature = "avro", feature = "protobuf"))]
pub use registry::{FixedSchemas, SchemaRegistry, SchemaText, use_schema_registry};

use bytes::{Bytes, BytesMut};

/// A type that knows its bytes on a topic and in a changelog.
///
/// Implemented for strings ([`Str`](crate::Str), `String`), bytes ([`Raw`](crate::Raw),
/// `Vec<u8>`), integers and floats (big-endian, as Java's serdes), `bool`, [`Json`], `Option` and
/// [`Windowed`](crate::Windowed). `Option<V>` is a value that may be null: a tombstone.
///
/// A type of your own can implement it as well; it must read back what it wrote.
pub trait Serde: Sized + Send + Sync + 'static {
    /// Appends the bytes. Not called for a value that [is null](Serde::is_null).
    ///
    /// # Errors
    /// The value has no bytes.
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError>;

    /// Reads bytes that are not null. Types may keep slices of them.
    ///
    /// # Errors
    /// The bytes are not what this type writes.
    fn decode(context: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError>;

    /// The value for null, of types that have one.
    ///
    /// # Errors
    /// The type has no null.
    fn decode_null() -> Result<Self, SerdeError> {
        Err(SerdeError::new(
            "it is null, but the topic's type has no null; declare it as Option<..>",
        ))
    }

    /// Whether this is null: a tombstone as a value, a missing key as a key.
    fn is_null(&self) -> bool {
        false
    }

    /// The part of a written key that decides its partition; `None` for all of it. A windowed
    /// key leaves its window out, so that all windows of a key meet in one partition.
    #[must_use]
    fn partition_key(encoded: &Bytes) -> Option<Bytes> {
        let _ = encoded;
        None
    }

    /// The same key, if it is a windowed one with the end of its window, which its bytes lack.
    #[doc(hidden)]
    #[must_use]
    fn with_window_size(self, size_ms: i64) -> Self {
        let _ = size_ms;
        self
    }
}

/// Where the bytes come from or go to.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SerdeContext<'a> {
    /// Topic or changelog.
    pub topic: &'a str,
    /// Key or value.
    pub part: RecordPart,
}

/// Key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordPart {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// Bytes and type do not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SerdeError(String);

impl SerdeError {
    /// An error with this text.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl<'a> SerdeContext<'a> {
    /// The key of a topic.
    #[must_use]
    pub const fn key(topic: &'a str) -> Self {
        Self {
            topic,
            part: RecordPart::Key,
        }
    }

    /// The value of a topic.
    #[must_use]
    pub const fn value(topic: &'a str) -> Self {
        Self {
            topic,
            part: RecordPart::Value,
        }
    }
}

impl RecordPart {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

impl<T: Serde> Serde for Option<T> {
    fn encode(&self, context: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        match self {
            Some(value) => value.encode(context, out),
            None => Ok(()),
        }
    }

    fn decode(context: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        T::decode(context, bytes).map(Some)
    }

    fn decode_null() -> Result<Self, SerdeError> {
        Ok(None)
    }

    fn is_null(&self) -> bool {
        self.as_ref().is_none_or(T::is_null)
    }

    fn partition_key(encoded: &Bytes) -> Option<Bytes> {
        T::partition_key(encoded)
    }

    fn with_window_size(self, size_ms: i64) -> Self {
        self.map(|key| key.with_window_size(size_ms))
    }
}

/// Reads bytes or null.
pub(crate) fn decode<T: Serde>(
    context: &SerdeContext<'_>,
    bytes: Option<&Bytes>,
) -> Result<T, SerdeError> {
    match bytes {
        Some(bytes) => T::decode(context, bytes),
        None => T::decode_null(),
    }
}

/// Writes a value into a shared buffer and cuts it off there: no allocation per value.
pub(crate) fn encode<T: Serde>(
    value: &T,
    context: &SerdeContext<'_>,
    buffer: &mut BytesMut,
) -> Result<Option<Bytes>, SerdeError> {
    if value.is_null() {
        return Ok(None);
    }
    if buffer.capacity() < SPARE {
        buffer.reserve(CHUNK);
    }
    match value.encode(context, buffer) {
        Ok(()) => Ok(Some(buffer.split().freeze())),
        Err(error) => {
            buffer.clear();
            Err(error)
        }
    }
}

/// Space that a value should find in the buffer; larger ones make it grow.
const SPARE: usize = 512;
/// Size of the chunks that values are written to.
const CHUNK: usize = 64 * 1024;
