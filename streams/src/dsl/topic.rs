//! Typed topics.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A topic with the types of its keys and values, which know their bytes.
///
/// ```
/// use moldau_streams::{Raw, Str, Topic};
///
/// const LINES: Topic<Option<Raw>, Str> = Topic::new("lines");
/// const COUNTS: Topic<Str, i64> = Topic::new("counts");
/// ```
pub struct Topic<K, V> {
    name: Cow<'static, str>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Topic<K, V> {
    /// A topic whose name is known when the program is written.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            types: PhantomData,
        }
    }

    /// A topic whose name is known when the program runs.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Cow::Owned(name.into()),
            types: PhantomData,
        }
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// All topics whose names match, with the types of their keys and values.
///
/// ```
/// use moldau_streams::{Json, Str, TopicPattern};
///
/// const ORDERS: TopicPattern<Str, Json<u64>> = TopicPattern::new("orders-.*");
/// ```
pub struct TopicPattern<K, V> {
    text: Cow<'static, str>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V> TopicPattern<K, V> {
    /// A pattern that is known when the program is written: a regular expression in RE2's syntax,
    /// which must match a topic's whole name.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(text),
            types: PhantomData,
        }
    }

    /// A pattern that is known when the program runs.
    #[must_use]
    pub fn named(text: impl Into<String>) -> Self {
        Self {
            text: Cow::Owned(text.into()),
            types: PhantomData,
        }
    }

    /// The regular expression.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl<K, V> Clone for TopicPattern<K, V> {
    fn clone(&self) -> Self {
        Self {
            text: self.text.clone(),
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for TopicPattern<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("TopicPattern")
            .field(&self.text)
            .finish()
    }
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for Topic<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Topic").field(&self.name).finish()
    }
}
