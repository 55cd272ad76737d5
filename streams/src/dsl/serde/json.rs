//! JSON by serde.

use std::ops::{Deref, DerefMut};

use ::serde::Serialize;
use ::serde::de::DeserializeOwned;
use bytes::{BufMut, Bytes, BytesMut};

use super::{Serde, SerdeContext, SerdeError};

/// A value that is JSON on its topic. Dereferences to the value itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(
    /// The value.
    pub T,
);

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Serde for Json<T> {
    fn encode(&self, _: &SerdeContext<'_>, out: &mut BytesMut) -> Result<(), SerdeError> {
        serde_json::to_writer(out.writer(), &self.0)
            .map_err(|error| SerdeError::new(format!("no JSON: {error}")))
    }

    fn decode(_: &SerdeContext<'_>, bytes: &Bytes) -> Result<Self, SerdeError> {
        // One look at all bytes costs less than one at each name and string.
        let read = match std::str::from_utf8(bytes) {
            Ok(text) => serde_json::from_str(text),
            Err(_) => serde_json::from_slice(bytes),
        };
        read.map(Self).map_err(|error| {
            let start = bytes.get(..bytes.len().min(SHOWN)).unwrap_or_default();
            let start = String::from_utf8_lossy(start);
            let cut = if bytes.len() > SHOWN { "…" } else { "" };
            SerdeError::new(format!("no fitting JSON: {error} in `{start}{cut}`"))
        })
    }
}

/// How much of a broken text an error shows.
const SHOWN: usize = 120;
