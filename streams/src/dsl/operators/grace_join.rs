//! Joins of a stream with a versioned table that wait for late updates of the table.

use std::ops::Bound;

use bytes::Bytes;

use super::join::StreamTableJoin;
use crate::dsl::buffer_value::{BufferValue, RecordContext};
use crate::dsl::data::Data;
use crate::dsl::node::{Cx, Meta, Node};
use crate::dsl::serde::{Serde, SerdeContext, SerdeError, decode};
use crate::runtime::{Record, StoreIndex, StreamsError};

/// As [`StreamTableJoin`] with a versioned table, but records wait until stream time has passed
/// theirs by the grace period, so that updates of the table that come late are found (KIP-923).
///
/// Waiting records are in a store, as Kafka Streams keeps them: the key is `0 (1 byte) | time (8)
/// | key | sequence number (4)`, the value that of a suppression buffer.
pub(crate) struct GraceJoin<K, V, T, R, F> {
    pub(crate) inner: StreamTableJoin<K, V, T, R, F>,
    pub(crate) buffer: StoreIndex,
    pub(crate) name: String,
    pub(crate) grace_ms: i64,
    /// What is known of the buffer; `None` until it was looked into after a start.
    pub(crate) state: Option<BufferState>,
}

/// What a buffer's records say about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BufferState {
    /// Largest time of a record that was put into it, -1 before the first.
    observed_stream_time: i64,
    /// Number of the last record.
    sequence: i32,
}

impl<K: Serde, V: Serde, T: Data, R: Data, F> Node<K, V> for GraceJoin<K, V, T, R, F>
where
    F: Fn(&K, &V, Option<&T>) -> R + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.inner.id;
        if self.inner.refuses(key, value) {
            cx.task.drop_records(1);
            return Ok(());
        }
        let state = match self.state {
            Some(state) => state,
            None => *self.state.insert(Self::look(self.buffer, cx)?),
        };
        let is_late = state.observed_stream_time - self.grace_ms > meta.timestamp;
        let raw_key = cx.key_bytes(key, meta, &self.name)?;
        let (Some(raw_key), false) = (raw_key, is_late) else {
            return self.inner.join(cx, key, value, meta);
        };
        let state = BufferState {
            observed_stream_time: state.observed_stream_time.max(meta.timestamp),
            sequence: state.sequence.wrapping_add(1) & i32::MAX,
        };
        self.state = Some(state);
        let entry = BufferValue {
            time: 0,
            context: RecordContext::at_work(cx, meta),
            prior: None,
            old: None,
            new: cx.value_bytes(value, meta, &self.name)?,
        };
        let place = buffer_key(meta.timestamp, &raw_key, state.sequence);
        let store = cx.task.store(self.buffer)?;
        store.put(&place, &entry.encode(), meta.timestamp)?;
        self.join_due(cx, state.observed_stream_time - self.grace_ms)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.inner.flush(cx)
    }
}

impl<K: Serde, V: Serde, T: Data, R: Data, F> GraceJoin<K, V, T, R, F>
where
    F: Fn(&K, &V, Option<&T>) -> R + Data,
{
    /// What the buffer's records say, after a restart.
    fn look(buffer: StoreIndex, cx: &mut Cx<'_, '_>) -> Result<BufferState, StreamsError> {
        let mut state = BufferState {
            observed_stream_time: -1,
            sequence: 0,
        };
        for entry in cx.task.store(buffer)?.all()? {
            let (place, _) = entry?;
            if let Some((time, _, sequence)) = split_buffer_key(&place) {
                state.observed_stream_time = state.observed_stream_time.max(time);
                state.sequence = state.sequence.max(sequence);
            }
        }
        Ok(state)
    }

    /// Joins the records up to this time, oldest first.
    fn join_due(&mut self, cx: &mut Cx<'_, '_>, up_to: i64) -> Result<(), StreamsError> {
        let Some(end) = up_to.checked_add(1).filter(|end| *end > 0) else {
            return Ok(());
        };
        let end = buffer_key_prefix(end);
        let store = cx.task.store(self.buffer)?;
        let due = store.range(Bound::Unbounded, Bound::Excluded(&end))?;
        let due: Vec<_> = due.collect::<Result<_, _>>()?;
        let (topic, offset) = (cx.state.origin_topic.clone(), cx.state.origin_offset);
        for (place, stored) in due {
            let joined = self.join_one(cx, &place, &stored.value);
            cx.state.operator = self.inner.id;
            cx.state.origin_topic.clone_from(&topic);
            cx.state.origin_offset = offset;
            joined?;
            cx.task
                .store(self.buffer)?
                .delete(&place, stored.timestamp)?;
        }
        Ok(())
    }

    fn join_one(
        &mut self,
        cx: &mut Cx<'_, '_>,
        place: &Bytes,
        entry: &Bytes,
    ) -> Result<(), StreamsError> {
        let parts = split_buffer_key(place).zip(BufferValue::decode(entry));
        let Some(((_, raw_key, _), entry)) = parts else {
            return Err(self.unreadable(&SerdeError::new("it is no buffered record")));
        };
        let key = K::decode(&SerdeContext::key(&self.name), &raw_key);
        let key = key.map_err(|error| self.unreadable(&error))?;
        let value = decode::<V>(&SerdeContext::value(&self.name), entry.new.as_ref());
        let value = value.map_err(|error| self.unreadable(&error))?;
        let context = entry.context;
        cx.state.origin_topic = context.topic;
        cx.state.origin_offset = context.offset;
        let record = Record {
            partition: context.partition,
            offset: context.offset,
            timestamp: context.timestamp,
            key: Some(raw_key),
            value: entry.new,
            headers: context.headers,
        };
        let meta = Meta {
            timestamp: record.timestamp,
            headers: &record.headers,
            raw_key: record.key.as_ref(),
            raw_value: record.value.as_ref(),
            record: Some(&record),
        };
        self.inner.join(cx, &key, &value, &meta)
    }

    fn unreadable(&self, error: &SerdeError) -> StreamsError {
        StreamsError::Store {
            store: format!("{}-Buffer", self.name),
            reason: format!("cannot read a record that waits: {error}"),
        }
    }
}

fn buffer_key(time: i64, key: &[u8], sequence: i32) -> Bytes {
    let mut bytes = buffer_key_prefix(time);
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    Bytes::from(bytes)
}

/// A marker byte and the time, so that entries are in the order of time.
fn buffer_key_prefix(time: i64) -> Vec<u8> {
    let mut bytes = vec![TIME_FIRST];
    bytes.extend_from_slice(&time.to_be_bytes());
    bytes
}

/// Time, key and sequence number.
fn split_buffer_key(bytes: &Bytes) -> Option<(i64, Bytes, i32)> {
    let rest = bytes.strip_prefix(&[TIME_FIRST])?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (key, sequence) = rest.split_last_chunk::<4>()?;
    let key = bytes.slice_ref(key);
    Some((
        i64::from_be_bytes(*time),
        key,
        i32::from_be_bytes(*sequence),
    ))
}

/// Kafka Streams' mark of keys that begin with the time.
const TIME_FIRST: u8 = 0;
