//! Tables: updates of keys, how they are kept and looked up.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use crate::dsl::data::Data;
use crate::dsl::dead_letter;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId, SourceNode};
use crate::dsl::on_error::OnError;
use crate::dsl::serde::{RecordPart, Serde, SerdeContext, SerdeError, decode};
use crate::dsl::typed_store::TypedStore;
use crate::runtime::{Record, StoreIndex, StreamsError};

/// An update of a key in a table.
///
/// The value is shared, not copied: with the store's cache while it is emitted.
#[derive(Debug)]
pub(crate) struct Change<V> {
    /// The value from now on, `None` for a removed key.
    pub(crate) new: Arc<Option<V>>,
    /// The value until now, where a later operator asked for it.
    pub(crate) old: Option<Arc<Option<V>>>,
    /// False for an update of a versioned table that is older than what it holds.
    pub(crate) is_latest: bool,
}

impl<V> Clone for Change<V> {
    fn clone(&self) -> Self {
        Self {
            new: Arc::clone(&self.new),
            old: self.old.clone(),
            is_latest: self.is_latest,
        }
    }
}

impl<V> Change<V> {
    /// The latest change, without an old value.
    pub(crate) fn to(new: Option<V>) -> Self {
        Self {
            new: Arc::new(new),
            old: None,
            is_latest: true,
        }
    }

    pub(crate) fn new_value(&self) -> Option<&V> {
        self.new.as_ref().as_ref()
    }

    pub(crate) fn old_value(&self) -> Option<&V> {
        self.old.as_ref().and_then(|old| old.as_ref().as_ref())
    }
}

/// What a look-up found.
#[derive(Clone, Debug)]
pub(crate) struct Found<V> {
    /// The value, `None` for a key that is not there.
    pub(crate) value: Arc<Option<V>>,
    /// Its event time; means nothing without a value.
    pub(crate) timestamp: i64,
}

impl<V> Found<V> {
    /// No entry.
    pub(crate) fn nothing() -> Self {
        Self {
            value: Arc::new(None),
            timestamp: -1,
        }
    }

    pub(crate) fn get(&self) -> Option<&V> {
        self.value.as_ref().as_ref()
    }
}

/// Looks up values of a table, as of now.
pub(crate) trait ValueGetter<K, V>: Send {
    /// The value of `key`, whose bytes are `raw_key`.
    fn value(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
    ) -> Result<Found<V>, StreamsError>;

    /// The value of `key` as it was at a point of event time; only versioned tables know it, the
    /// others tell what is now.
    fn value_as_of(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
        timestamp: i64,
    ) -> Result<Found<V>, StreamsError> {
        let _ = timestamp;
        self.value(cx, key, raw_key)
    }

    /// Whether values as of a point of event time are known.
    fn is_versioned(&self) -> bool {
        false
    }
}

/// Turns the records of a topic into updates of a table, and keeps them if anyone looks them up.
///
/// In the graph these are two nodes, as in Kafka Streams: the source and the table's own.
pub(crate) struct TableSource<K, V> {
    pub(crate) source: NodeId,
    pub(crate) id: NodeId,
    pub(crate) topic: String,
    pub(crate) on_error: OnError,
    pub(crate) store: Option<StoreIndex>,
    pub(crate) children: Children<K, Change<V>>,
}

impl<K: Serde, V: Serde> SourceNode for TableSource<K, V> {
    fn process(&mut self, cx: &mut Cx<'_, '_>, record: &Record) -> Result<(), StreamsError> {
        cx.state.operator = self.source;
        let Some(raw_key) = &record.key else {
            cx.task.drop_records(1);
            return Ok(());
        };
        let key = match K::decode(&SerdeContext::key(&self.topic), raw_key) {
            Ok(key) => key,
            Err(error) => return self.refused(cx, record, RecordPart::Key, &error),
        };
        let context = SerdeContext::value(&self.topic);
        let value = match decode::<Option<V>>(&context, record.value.as_ref()) {
            Ok(value) => value,
            Err(error) => return self.refused(cx, record, RecordPart::Value, &error),
        };
        cx.state.operator = self.id;
        let Some(store) = self.store else {
            let change = Change::to(value);
            let meta = Meta {
                timestamp: record.timestamp,
                headers: &record.headers,
                raw_key: Some(raw_key),
                raw_value: record.value.as_ref(),
                record: Some(record),
            };
            return self.children.push(cx, &key, &change, &meta);
        };
        // An older record than the one stored is applied too: a table follows offset order.
        let (entries, task) = cx.store::<TypedStore<V>>(store)?;
        entries.update(task, raw_key, &record.headers, |stored, _| {
            *stored = value;
            record.timestamp
        })?;
        if entries.must_flush(task) {
            emit(cx, store, &mut self.children, key_of::<K>)?;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        if let Some(store) = self.store.filter(|_| cx.state.flushes(self.id)) {
            cx.state.operator = self.id;
            emit(cx, store, &mut self.children, key_of::<K>)?;
        }
        self.children.flush(cx)
    }
}

impl<K, V> TableSource<K, V> {
    fn refused(
        &self,
        cx: &mut Cx<'_, '_>,
        record: &Record,
        part: RecordPart,
        error: &SerdeError,
    ) -> Result<(), StreamsError> {
        let error = StreamsError::Deserialize {
            topic: self.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            part: part.name(),
            reason: error.to_string(),
        };
        dead_letter::handle(cx, &self.on_error, Some(record), error)
    }
}

/// Reads a key back from a store's key bytes.
pub(crate) fn key_of<K: Serde>(bytes: &Bytes) -> Result<K, SerdeError> {
    K::decode(&SerdeContext::key("store"), bytes)
}

/// Writes all changed entries of a store back and pushes them to the table's children.
pub(crate) fn emit<K: Data, V: Serde>(
    cx: &mut Cx<'_, '_>,
    store: StoreIndex,
    children: &mut Children<K, Change<V>>,
    key_of: impl Fn(&Bytes) -> Result<K, SerdeError>,
) -> Result<(), StreamsError> {
    let operator = cx.state.operator;
    let places = cx.store::<TypedStore<V>>(store)?.0.take_dirty();
    for place in places {
        cx.state.operator = operator;
        let (entries, task) = cx.store::<TypedStore<V>>(store)?;
        let Some(emission) = entries.write_back(task, place)? else {
            continue;
        };
        let meta = Meta {
            timestamp: emission.timestamp,
            headers: &emission.headers,
            raw_key: Some(&emission.raw_key),
            raw_value: emission.raw_value.as_ref(),
            record: None,
        };
        if emission.raw_value.is_some() && children.take_bytes() {
            children.push_bytes(cx, &meta)?;
            continue;
        }
        let key = key_of(&emission.raw_key).map_err(|error| StreamsError::Store {
            store: cx.state.operator_name(),
            reason: format!("cannot read a key: {error}"),
        })?;
        let new = match emission.value {
            Some(value) => value,
            None => cx.store::<TypedStore<V>>(store)?.0.share(place),
        };
        let change = Change {
            new,
            old: emission.old,
            is_latest: emission.is_latest,
        };
        children.push(cx, &key, &change, &meta)?;
        drop(change);
        cx.store::<TypedStore<V>>(store)?.0.take_back(place);
    }
    cx.state.operator = operator;
    let (entries, task) = cx.store::<TypedStore<V>>(store)?;
    entries.flushed(task);
    Ok(())
}

/// Makes a stream of a table's updates; a removed key is `None`.
pub(crate) struct ToStream<K, V> {
    pub(crate) children: Children<K, Option<V>>,
}

impl<K: Data, V: Data> Node<K, Change<V>> for ToStream<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        self.children.push(cx, key, &change.new, meta)
    }

    fn takes_bytes(&self) -> bool {
        self.children.take_bytes()
    }

    fn process_bytes(&mut self, cx: &mut Cx<'_, '_>, meta: &Meta<'_>) -> Result<(), StreamsError> {
        self.children.push_bytes(cx, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Keeps the entries of a table that a predicate wants; the others are removed from the result.
///
/// A refused update is a tombstone every time, also when the key was not in the result, unless
/// old values are known and say that it was not.
pub(crate) struct TableFilter<K, V, F> {
    pub(crate) id: NodeId,
    pub(crate) predicate: Arc<F>,
    pub(crate) passes: bool,
    pub(crate) sends_old: bool,
    /// Whether the table is versioned. What was there before a late update is not known then, so
    /// removals always go on (KIP-914).
    pub(crate) is_versioned: bool,
    pub(crate) children: Children<K, Change<V>>,
}

impl<K: Data, V: Data, F: Fn(&K, &V) -> bool + Data> Node<K, Change<V>> for TableFilter<K, V, F> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let wanted = |value: &V| (self.predicate)(key, value) == self.passes;
        let keeps_new = change.new_value().is_some_and(wanted);
        let keeps_old = self.sends_old && change.old_value().is_some_and(wanted);
        if self.sends_old && !self.is_versioned && !keeps_new && !keeps_old {
            return Ok(());
        }
        let old = change.old.as_ref().filter(|_| keeps_old);
        let new = match keeps_new {
            true => Arc::clone(&change.new),
            false => Arc::new(None),
        };
        let filtered = Change {
            new,
            old: old.cloned(),
            is_latest: change.is_latest,
        };
        let meta = if keeps_new { *meta } else { meta.new_value() };
        self.children.push(cx, key, &filtered, &meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Makes a new value of each entry of a table; removed keys stay removed.
pub(crate) struct TableMapValues<K, V, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) map: Arc<F>,
    pub(crate) sends_old: bool,
    pub(crate) input: PhantomData<fn(V)>,
    pub(crate) children: Children<K, Change<V2>>,
}

impl<K: Data, V: Data, V2: Data, F> Node<K, Change<V>> for TableMapValues<K, V, V2, F>
where
    F: Fn(&K, &V) -> V2 + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let map = |value: &V| (self.map)(key, value);
        let new = change.new_value().map(map);
        let old = change.old_value().filter(|_| self.sends_old).map(map);
        let change = Change {
            new: Arc::new(new),
            old: self.sends_old.then(|| Arc::new(old)),
            is_latest: change.is_latest,
        };
        self.children.push(cx, key, &change, &meta.new_value())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Looks values up in a store.
pub(crate) struct StoreGetter<V> {
    pub(crate) store: StoreIndex,
    pub(crate) is_versioned: bool,
    pub(crate) value: PhantomData<fn() -> V>,
}

impl<K: Data, V: Serde> ValueGetter<K, V> for StoreGetter<V> {
    fn value(
        &mut self,
        cx: &mut Cx<'_, '_>,
        _: &K,
        raw_key: &Bytes,
    ) -> Result<Found<V>, StreamsError> {
        let (entries, task) = cx.store::<TypedStore<V>>(self.store)?;
        let (value, timestamp) = entries.get(task, raw_key)?;
        Ok(Found { value, timestamp })
    }

    fn value_as_of(
        &mut self,
        cx: &mut Cx<'_, '_>,
        _: &K,
        raw_key: &Bytes,
        timestamp: i64,
    ) -> Result<Found<V>, StreamsError> {
        let (entries, task) = cx.store::<TypedStore<V>>(self.store)?;
        let (value, timestamp) = if self.is_versioned {
            entries.get_as_of(task, raw_key, timestamp)?
        } else {
            entries.get(task, raw_key)?
        };
        Ok(Found { value, timestamp })
    }

    fn is_versioned(&self) -> bool {
        self.is_versioned
    }
}

/// Looks values up in a filtered table.
pub(crate) struct FilterGetter<K, V, F> {
    pub(crate) parent: Box<dyn ValueGetter<K, V>>,
    pub(crate) predicate: Arc<F>,
    pub(crate) passes: bool,
}

impl<K: Data, V: Data, F: Fn(&K, &V) -> bool + Data> FilterGetter<K, V, F> {
    fn filter(&self, key: &K, found: Found<V>) -> Found<V> {
        let wanted = |value: &V| (self.predicate)(key, value) == self.passes;
        if found.get().is_some_and(wanted) {
            found
        } else {
            Found::nothing()
        }
    }
}

impl<K: Data, V: Data, F: Fn(&K, &V) -> bool + Data> ValueGetter<K, V> for FilterGetter<K, V, F> {
    fn value(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
    ) -> Result<Found<V>, StreamsError> {
        let found = self.parent.value(cx, key, raw_key)?;
        Ok(self.filter(key, found))
    }

    fn value_as_of(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
        timestamp: i64,
    ) -> Result<Found<V>, StreamsError> {
        let found = self.parent.value_as_of(cx, key, raw_key, timestamp)?;
        Ok(self.filter(key, found))
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }
}

/// Looks values up in a table with mapped values.
pub(crate) struct MapGetter<K, V, F> {
    pub(crate) parent: Box<dyn ValueGetter<K, V>>,
    pub(crate) map: Arc<F>,
}

impl<K: Data, V: Data, F> MapGetter<K, V, F> {
    fn map<V2>(&self, key: &K, found: &Found<V>) -> Found<V2>
    where
        F: Fn(&K, &V) -> V2 + Data,
    {
        Found {
            value: Arc::new(found.get().map(|value| (self.map)(key, value))),
            timestamp: found.timestamp,
        }
    }
}

impl<K: Data, V: Data, V2: Data, F: Fn(&K, &V) -> V2 + Data> ValueGetter<K, V2>
    for MapGetter<K, V, F>
{
    fn value(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
    ) -> Result<Found<V2>, StreamsError> {
        let found = self.parent.value(cx, key, raw_key)?;
        Ok(self.map(key, &found))
    }

    fn value_as_of(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
        timestamp: i64,
    ) -> Result<Found<V2>, StreamsError> {
        let found = self.parent.value_as_of(cx, key, raw_key, timestamp)?;
        Ok(self.map(key, &found))
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }
}
