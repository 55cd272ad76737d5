//! A string that is a slice of the frame it was decoded from.
//!
//! This module holds the crate's only `unsafe` block: a [`KString`] is checked to be UTF-8 once,
//! when it is made, and checking again at every look would cost more than the copy it saves.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::Utf8Error;

use bytes::Bytes;

/// An immutable UTF-8 string whose clone is cheap and which may share the bytes of a frame.
///
/// Keep in mind that a string decoded from a frame keeps that whole frame in memory: state that
/// lives longer than the request takes [`KString::detached`].
#[derive(Clone, Default)]
pub struct KString(Bytes);

impl KString {
    /// The empty string.
    pub const EMPTY: Self = Self(Bytes::new());

    /// Wraps a string that lives for the whole program, without copy.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Copies a borrowed string.
    #[must_use]
    pub fn copy_from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Takes bytes as a string, without copy.
    ///
    /// # Errors
    /// The bytes are not UTF-8.
    pub fn from_utf8(bytes: Bytes) -> Result<Self, Utf8Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Self(bytes))
    }

    /// The string as `&str`.
    #[must_use]
    #[expect(
        unsafe_code,
        reason = "the bytes were checked when the string was made"
    )]
    pub fn as_str(&self) -> &str {
        // SAFETY: every constructor checks that the bytes are UTF-8, and `Bytes` never change.
        unsafe { std::str::from_utf8_unchecked(&self.0) }
    }

    /// The string's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The string's bytes, without copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// A copy with bytes of its own, so that the frame it came from can be freed.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self::copy_from(self)
    }
}

impl Deref for KString {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for KString {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for KString {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl From<&'static str> for KString {
    fn from(text: &'static str) -> Self {
        Self::from_static(text)
    }
}

impl From<String> for KString {
    fn from(text: String) -> Self {
        Self(Bytes::from(text.into_bytes()))
    }
}

impl From<KString> for String {
    fn from(text: KString) -> Self {
        text.as_str().to_owned()
    }
}

impl PartialEq for KString {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for KString {}

impl PartialEq<str> for KString {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for KString {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for KString {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<KString> for str {
    fn eq(&self, other: &KString) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<KString> for &str {
    fn eq(&self, other: &KString) -> bool {
        *self == other.as_str()
    }
}

impl PartialOrd for KString {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KString {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

// As `str` hashes, because `Borrow<str>` promises so.
impl Hash for KString {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for KString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), formatter)
    }
}

impl fmt::Display for KString {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), formatter)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn compares_with_plain_strings_and_is_found_by_them() {
        let topic = KString::copy_from("orders");
        assert_eq!(topic, "orders");
        assert_eq!(topic, KString::from("orders".to_owned()));
        let map = BTreeMap::from([(topic, 1)]);
        assert_eq!(map.get("orders"), Some(&1));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused() {
        assert!(KString::from_utf8(Bytes::from_static(&[0xc3, 0x28])).is_err());
    }
}
