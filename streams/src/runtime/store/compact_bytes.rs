//! Keys and values of stores in memory, and keys of the caches in front of stores.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use super::StoredValue;

/// Bytes of a key or value. Short ones lie in place: they need no memory of their own, and
/// comparing them does not wait for other memory. Long ones are shared by their copies.
#[derive(Clone, Debug)]
pub(crate) enum CompactBytes {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

impl CompactBytes {
    /// What bytes take outside the place that they lie in.
    pub(crate) const fn outside(bytes: &[u8]) -> usize {
        if bytes.len() > SHORT { bytes.len() } else { 0 }
    }

    /// The bytes by themselves.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Short { .. } => Bytes::copy_from_slice(self.as_ref()),
            Self::Long(bytes) => Bytes::from_owner(Arc::clone(bytes)),
        }
    }
}

impl From<&[u8]> for CompactBytes {
    fn from(from: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(from);
                Self::Short { length, bytes }
            }
            _ => Self::Long(from.into()),
        }
    }
}

impl AsRef<[u8]> for CompactBytes {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for CompactBytes {
    fn borrow(&self) -> &[u8] {
        self.as_ref()
    }
}

impl Hash for CompactBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl PartialEq for CompactBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for CompactBytes {}

impl PartialOrd for CompactBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CompactBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(other.as_ref())
    }
}

/// A value of a store in memory, with the event time it is valid from.
#[derive(Clone, Debug)]
pub(super) struct Held {
    value: CompactBytes,
    timestamp: i64,
}

impl Held {
    pub(super) fn new(value: &[u8], timestamp: i64) -> Self {
        Self {
            value: CompactBytes::from(value),
            timestamp,
        }
    }

    pub(super) fn stored(&self) -> StoredValue {
        StoredValue {
            value: self.value.to_bytes(),
            timestamp: self.timestamp,
        }
    }
}

/// The most bytes that lie in place: what makes four words with its length and kind.
const SHORT: usize = 30;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_key_of_any_length_is_what_it_was_made_of() {
        assert_eq!(size_of::<CompactBytes>(), 32);
        let text: Vec<u8> = (0..100).collect();
        let mut map = HashMap::new();
        for length in 0..text.len() {
            let key = CompactBytes::from(&text[..length]);
            assert_eq!(key.as_ref(), &text[..length]);
            assert_eq!(key.to_bytes(), &text[..length]);
            assert_eq!(CompactBytes::outside(&text[..length]) > 0, length > SHORT);
            map.insert(key, length);
        }
        for length in 0..text.len() {
            assert_eq!(map.get(&text[..length]), Some(&length));
        }
    }
}
