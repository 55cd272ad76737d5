//! Updates of a table that are held back (KIP-328).

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use super::table::{Change, Found, ValueGetter, key_of};
use crate::dsl::buffer_value::{BufferValue, RecordContext};
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::pending_store::decode_value;
use crate::dsl::serde::Serde;
use crate::dsl::suppressed::BufferConfig;
use crate::runtime::{StoreIndex, StreamsError, TaskContext};

/// Holds updates back until they have waited long enough in event time, one per key.
///
/// What is emitted has timestamp and headers of the update that was held back, not of the record
/// that made it leave.
pub(crate) struct Suppress<K, V> {
    pub(crate) id: NodeId,
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    pub(crate) wait_ms: i64,
    /// Whether only final results are emitted, so that removed windows need not be told.
    pub(crate) is_final: bool,
    pub(crate) time_of: fn(&K, i64) -> i64,
    pub(crate) buffer: BufferConfig,
    pub(crate) window_size_ms: i64,
    /// Largest timestamp this node has seen, -1 after each (re)assignment.
    pub(crate) observed_stream_time: i64,
    pub(crate) children: Children<K, Change<V>>,
}

/// In which order the entries of the buffer leave; the entries themselves are in the store.
#[derive(Debug, Default)]
pub(crate) struct SuppressBuffer {
    /// Size of each entry by time and key.
    by_time: BTreeMap<(i64, Bytes), usize>,
    times: HashMap<Bytes, i64>,
    size: u64,
    is_loaded: bool,
}

impl<K: Serde, V: Serde> Node<K, Change<V>> for Suppress<K, V> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        self.observed_stream_time = self.observed_stream_time.max(meta.timestamp);
        if let Some(raw_key) = cx.key_bytes(key, meta, &self.store_name)? {
            self.hold_back(cx, key, &raw_key, change, meta)?;
        }
        let passed = self.observed_stream_time.saturating_sub(self.wait_ms);
        while let Some((time, raw_key)) = self.oldest(cx)? {
            if time > passed {
                break;
            }
            self.emit(cx, time, raw_key)?;
        }
        while self.is_full(cx)? {
            let Some((time, raw_key)) = self.oldest(cx)? else {
                break;
            };
            if !self.buffer.emits_early {
                return Err(self.full(cx));
            }
            self.emit(cx, time, raw_key)?;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

impl<K: Serde, V: Serde> Suppress<K, V> {
    fn hold_back(
        &self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let new = match change.new_value() {
            Some(value) => cx.value_bytes(value, meta, &self.store_name)?,
            None => None,
        };
        let old = match change.old_value() {
            Some(value) => cx.value_bytes(value, &meta.new_value(), &self.store_name)?,
            None => None,
        };
        let held = self.load(cx)?.times.contains_key(raw_key);
        let held = if held {
            read(cx.task, self.store, &self.store_name, raw_key)?
        } else {
            None
        };
        let (time, prior) = match held {
            Some(held) => (held.time, held.prior),
            None => ((self.time_of)(key, meta.timestamp), old.clone()),
        };
        let value = BufferValue {
            time,
            context: RecordContext::at_work(cx, meta),
            prior,
            old,
            new,
        };
        let now = cx.task.wall_clock_ms();
        cx.task
            .store(self.store)?
            .put(raw_key, &value.encode(), now)?;
        self.load(cx)?
            .insert(raw_key, time, value.size(raw_key.len()));
        Ok(())
    }

    /// Emits an entry and forgets it.
    fn emit(&mut self, cx: &mut Cx<'_, '_>, time: i64, raw_key: Bytes) -> Result<(), StreamsError> {
        let held = read(cx.task, self.store, &self.store_name, &raw_key)?;
        if let Some(held) = held
            && (held.new.is_some() || !self.is_final)
        {
            let key = key_of::<K>(&raw_key).map_err(|error| StreamsError::Store {
                store: self.store_name.clone(),
                reason: format!("cannot read a key: {error}"),
            })?;
            let key = key.with_window_size(self.window_size_ms);
            let value = |raw: &Option<Bytes>| {
                let value = raw
                    .as_ref()
                    .map(|raw| decode_value::<V>(&self.store_name, raw));
                value.transpose()
            };
            let mut change = Change::to(value(&held.new)?);
            change.old = Some(Arc::new(value(&held.old)?));
            let meta = Meta {
                timestamp: held.context.timestamp,
                headers: &held.context.headers,
                raw_key: Some(&raw_key),
                raw_value: held.new.as_ref(),
                ..Meta::at_commit()
            };
            self.children.push(cx, &key, &change, &meta)?;
            cx.state.operator = self.id;
        }
        let now = cx.task.wall_clock_ms();
        cx.task.store(self.store)?.delete(&raw_key, now)?;
        self.load(cx)?.remove(time, raw_key);
        Ok(())
    }

    fn oldest(&self, cx: &mut Cx<'_, '_>) -> Result<Option<(i64, Bytes)>, StreamsError> {
        let buffer = self.load(cx)?;
        Ok(buffer
            .by_time
            .first_key_value()
            .map(|(place, _)| place.clone()))
    }

    fn is_full(&self, cx: &mut Cx<'_, '_>) -> Result<bool, StreamsError> {
        let BufferConfig {
            max_records,
            max_bytes,
            ..
        } = self.buffer;
        let buffer = self.load(cx)?;
        let records = buffer.times.len() as u64;
        Ok(max_records.is_some_and(|most| records > most)
            || max_bytes.is_some_and(|most| buffer.size > most))
    }

    fn full(&self, cx: &mut Cx<'_, '_>) -> StreamsError {
        let operator = cx.state.operator_name();
        let (records, bytes) = match self.load(cx) {
            Ok(buffer) => (buffer.times.len(), buffer.size),
            Err(error) => return error,
        };
        let bound = |most: Option<u64>| most.map_or("any".to_owned(), |most| most.to_string());
        StreamsError::Store {
            store: self.store_name.clone(),
            reason: format!(
                "the buffer of {operator} is full: it holds {records} records of {} and {bytes} bytes of {}\n  hint: raise its bounds, shorten the time it waits, or let it emit early",
                bound(self.buffer.max_records),
                bound(self.buffer.max_bytes)
            ),
        }
    }

    /// The buffer's order; after a restart it is made from what is in the store.
    fn load<'a>(&self, cx: &'a mut Cx<'_, '_>) -> Result<&'a mut SuppressBuffer, StreamsError> {
        let (buffer, task) = cx.store::<SuppressBuffer>(self.store)?;
        if !buffer.is_loaded {
            buffer.is_loaded = true;
            for entry in task.store(self.store)?.all()? {
                let (raw_key, stored) = entry?;
                let value = parse(&self.store_name, &stored.value)?;
                buffer.insert(&raw_key, value.time, value.size(raw_key.len()));
            }
        }
        Ok(buffer)
    }
}

impl SuppressBuffer {
    fn insert(&mut self, raw_key: &Bytes, time: i64, size: usize) {
        self.times.insert(raw_key.clone(), time);
        let before = self.by_time.insert((time, raw_key.clone()), size);
        self.size += size as u64;
        self.size -= before.unwrap_or(0) as u64;
    }

    fn remove(&mut self, time: i64, raw_key: Bytes) {
        self.times.remove(&raw_key);
        let size = self.by_time.remove(&(time, raw_key));
        self.size -= size.unwrap_or(0) as u64;
    }
}

fn read(
    task: &mut TaskContext<'_>,
    store: StoreIndex,
    name: &str,
    raw_key: &Bytes,
) -> Result<Option<BufferValue>, StreamsError> {
    let stored = task.store(store)?.get(raw_key)?;
    stored.map(|stored| parse(name, &stored.value)).transpose()
}

fn parse(store: &str, bytes: &Bytes) -> Result<BufferValue, StreamsError> {
    BufferValue::decode(bytes).ok_or_else(|| StreamsError::Store {
        store: store.to_owned(),
        reason: format!("{} bytes are no entry of a suppression buffer", bytes.len()),
    })
}

/// Looks values up in a table whose updates are held back: as they were before.
pub(crate) struct SuppressGetter<K, V> {
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    pub(crate) parent: Box<dyn ValueGetter<K, V>>,
    pub(crate) types: PhantomData<fn() -> V>,
}

impl<K: Serde, V: Serde> ValueGetter<K, V> for SuppressGetter<K, V> {
    fn value(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
    ) -> Result<Found<V>, StreamsError> {
        let Some(held) = read(cx.task, self.store, &self.store_name, raw_key)? else {
            return self.parent.value(cx, key, raw_key);
        };
        let prior = held.prior.map(|raw| decode_value(&self.store_name, &raw));
        Ok(Found {
            value: Arc::new(prior.transpose()?),
            timestamp: -1,
        })
    }
}
