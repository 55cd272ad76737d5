//! Keys of stores in memory, and of the caches in front of stores.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Bytes of a key. Short ones lie in place, so that comparing them does not wait for other memory.
#[derive(Clone, Debug)]
pub(crate) enum CompactKey {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl CompactKey {
    /// What a key takes outside the map that it lies in, in bytes.
    pub(crate) const fn outside(key: &[u8]) -> usize {
        if key.len() > SHORT { key.len() } else { 0 }
    }
}

impl From<&[u8]> for CompactKey {
    fn from(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(key);
                Self::Short { length, bytes }
            }
            _ => Self::Long(key.into()),
        }
    }
}

impl AsRef<[u8]> for CompactKey {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for CompactKey {
    fn borrow(&self) -> &[u8] {
        self.as_ref()
    }
}

impl Hash for CompactKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl PartialEq for CompactKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for CompactKey {}

impl PartialOrd for CompactKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CompactKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(other.as_ref())
    }
}

/// Longest key that lies in place: what makes four words with its length and kind.
const SHORT: usize = 30;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_key_of_any_length_is_what_it_was_made_of() {
        assert_eq!(size_of::<CompactKey>(), 32);
        let text: Vec<u8> = (0..100).collect();
        let mut map = HashMap::new();
        for length in 0..text.len() {
            let key = CompactKey::from(&text[..length]);
            assert_eq!(key.as_ref(), &text[..length]);
            assert_eq!(CompactKey::outside(&text[..length]) > 0, length > SHORT);
            map.insert(key, length);
        }
        for length in 0..text.len() {
            assert_eq!(map.get(&text[..length]), Some(&length));
        }
    }
}
