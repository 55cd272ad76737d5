//! Aggregation of a grouped stream in sliding windows (KIP-450).
//!
//! A key has a window that ends at each of its records (the record's left window) and one that
//! begins right after each of them (its right window), as far as they are not empty. So a new
//! record is added to all windows it lies in, and makes up to three: its own left window, its own
//! right window if younger records are there already, and the right window of the record before
//! it. Windows that would begin before time zero are one: that from zero on.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::final_results::{FinalResults, NEVER};
use super::table::Change;
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::pending_store::{
    PendingStore, WindowChange, decode_value, emit_pending, window_of,
};
use crate::dsl::serde::Serde;
use crate::dsl::sliding::Sliding;
use crate::dsl::windowed::{Window, Windowed, windowed_key};
use crate::runtime::{StoreIndex, StoredValue, StreamsError};

/// Folds the values of each key and window into one. Records without key or value are dropped.
pub(crate) struct SlidingAggregate<K, V, A, F> {
    pub(crate) id: NodeId,
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    pub(crate) windows: Sliding,
    /// Largest timestamp this node has seen, -1 after each (re)assignment.
    pub(crate) observed_stream_time: i64,
    pub(crate) final_results: FinalResults,
    pub(crate) add: Arc<F>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<Windowed<K>, Change<A>>,
}

/// The record at work.
struct Input<'a, K, V> {
    key: &'a K,
    value: &'a V,
    meta: &'a Meta<'a>,
    raw_key: &'a Bytes,
    /// Windows that end before are closed.
    close_time: i64,
}

/// A window that is there already; the timestamp is that of its youngest record.
struct Found {
    start: i64,
    stored: StoredValue,
}

impl<K: Serde, V: Serde, A: Serde, F> Node<K, V> for SlidingAggregate<K, V, A, F>
where
    F: Fn(&K, &V, &mut Option<A>) + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if key.is_null() || value.is_null() {
            cx.task.drop_records(1);
            return Ok(());
        }
        self.final_results.record_came(cx);
        self.observed_stream_time = self.observed_stream_time.max(meta.timestamp);
        let grace_ms = self.windows.grace_ms;
        let close_time = self.observed_stream_time.saturating_sub(grace_ms);
        if self.end_of(meta.timestamp) < close_time {
            cx.task.drop_records(1);
            return Ok(());
        }
        let Some(raw_key) = cx.key_bytes(key, meta, &self.store_name)? else {
            return Ok(());
        };
        let input = Input {
            key,
            value,
            meta,
            raw_key: &raw_key,
            close_time,
        };
        if meta.timestamp < self.windows.difference_ms {
            return self.add_early(cx, &input);
        }
        let size_ms = self.windows.difference_ms;
        if self.final_results.would_forget(cx, meta.timestamp, size_ms) {
            self.emit_closed(cx, close_time, meta)?;
        }
        self.add(cx, &input)?;
        if self.final_results.is_due(cx, close_time) {
            self.emit_closed(cx, close_time, meta)?;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        if cx.state.flushes(self.id) {
            cx.state.operator = self.id;
            self.emit(cx)?;
            if self.final_results.becomes_idle(cx) {
                self.close_all(cx)?;
            }
        }
        self.children.flush(cx)
    }
}

impl<K: Serde, V: Serde, A: Serde, F> SlidingAggregate<K, V, A, F>
where
    F: Fn(&K, &V, &mut Option<A>) + Data,
{
    /// Adds a record whose left window begins at or after time zero.
    fn add(&mut self, cx: &mut Cx<'_, '_>, input: &Input<'_, K, V>) -> Result<(), StreamsError> {
        let at = input.meta.timestamp;
        let from = at.saturating_sub(self.windows.difference_ms.saturating_mul(2));
        let mut found = self.fetch(cx, input, from.max(0))?;
        let mut starts = Vec::with_capacity(found.len());
        let (mut left, mut right) = (None, None);
        let (mut has_left, mut has_right) = (false, false);
        // Timestamp of the record before this one.
        let mut previous = None;
        while let Some(window) = found.pop() {
            starts.push(window.start);
            let end = self.end_of(window.start);
            let youngest = window.stored.timestamp;
            if window.start == at.saturating_add(1) {
                has_right = true;
            } else if end > at {
                right.get_or_insert_with(|| window.stored.clone());
                self.update(cx, input, window.start, Some(&window.stored))?;
            } else if end == at {
                has_left = true;
                self.update(cx, input, window.start, Some(&window.stored))?;
                if youngest >= at {
                    // Another record with this timestamp has made all windows already.
                    return Ok(());
                }
                previous = Some(youngest);
            } else {
                previous = Some(youngest);
                left = Some(window.stored);
                break;
            }
        }
        if let Some(previous) = previous {
            let start = previous.saturating_add(1);
            if !starts.contains(&start) && self.end_of(start) >= at {
                self.update(cx, input, start, None)?;
            }
        }
        if !has_left {
            let start = at - self.windows.difference_ms;
            let left = left.filter(|_| previous.is_some_and(|previous| previous >= start));
            let left = left.map(|left| StoredValue {
                timestamp: at,
                ..left
            });
            self.update(cx, input, start, left.as_ref())?;
        }
        match right {
            Some(right) if !has_right && right.timestamp > at => self.begin(cx, input, &right),
            _ => Ok(()),
        }
    }

    /// Adds a record whose left window would begin before time zero.
    fn add_early(
        &mut self,
        cx: &mut Cx<'_, '_>,
        input: &Input<'_, K, V>,
    ) -> Result<(), StreamsError> {
        let at = input.meta.timestamp;
        let found = self.fetch(cx, input, 0)?;
        let starts: Vec<_> = found.iter().map(|window| window.start).collect();
        let (mut first, mut right) = (None, None);
        let mut has_right = false;
        let mut previous = None;
        for window in found {
            if window.start == 0 {
                let youngest = window.stored.timestamp;
                previous = (youngest < at).then_some(youngest);
                first = Some(window.stored);
            } else if window.start <= at {
                self.update(cx, input, window.start, Some(&window.stored))?;
                right = Some(window.stored);
            } else {
                has_right = true;
            }
        }
        // Without another window, the records after this one are in the first one.
        let right = right.or_else(|| first.clone().filter(|first| first.timestamp > at));
        if let Some(right) = right
            && !has_right
            && right.timestamp > at
        {
            self.begin(cx, input, &right)?;
        }
        if let Some(previous) = previous
            && !starts.contains(&previous.saturating_add(1))
        {
            self.update(cx, input, previous.saturating_add(1), None)?;
        }
        self.update(cx, input, 0, first.as_ref())
    }

    /// Windows of the key that begin between `from` and right after the record.
    fn fetch(
        &self,
        cx: &mut Cx<'_, '_>,
        input: &Input<'_, K, V>,
        from: i64,
    ) -> Result<Vec<Found>, StreamsError> {
        let to = input.meta.timestamp.saturating_add(1);
        let windows = cx.task.window_store(self.store)?;
        let found = windows.fetch(input.raw_key, from, to)?;
        let window = |entry: Result<(Bytes, i64, StoredValue), StreamsError>| {
            entry.map(|(_, start, stored)| Found { start, stored })
        };
        found.map(window).collect()
    }

    /// Adds the record to a window, which is new without a value. A closed one stays as it is.
    fn update(
        &mut self,
        cx: &mut Cx<'_, '_>,
        input: &Input<'_, K, V>,
        start: i64,
        stored: Option<&StoredValue>,
    ) -> Result<(), StreamsError> {
        if self.end_of(start) < input.close_time {
            cx.task.drop_records(1);
            return Ok(());
        }
        let mut timestamp = input.meta.timestamp;
        let mut aggregate = None;
        if let Some(stored) = stored {
            timestamp = timestamp.max(stored.timestamp);
            aggregate = Some(decode_value(&self.store_name, &stored.value)?);
        }
        cx.state.operator = self.id;
        (self.add)(input.key, input.value, &mut aggregate);
        self.put(cx, input, start, aggregate, timestamp)
    }

    /// Begins the record's right window, with what is in a window around it.
    fn begin(
        &mut self,
        cx: &mut Cx<'_, '_>,
        input: &Input<'_, K, V>,
        around: &StoredValue,
    ) -> Result<(), StreamsError> {
        let start = input.meta.timestamp.saturating_add(1);
        let value = decode_value(&self.store_name, &around.value)?;
        self.put(cx, input, start, Some(value), around.timestamp)
    }

    fn put(
        &mut self,
        cx: &mut Cx<'_, '_>,
        input: &Input<'_, K, V>,
        start: i64,
        value: Option<A>,
        timestamp: i64,
    ) -> Result<(), StreamsError> {
        let raw_value = cx
            .store::<PendingStore<A>>(self.store)?
            .0
            .encode(value.as_ref())?;
        let windows = cx.task.window_store(self.store)?;
        let before = windows
            .get(input.raw_key, start)?
            .map(|stored| stored.value);
        match &raw_value {
            Some(raw) => {
                windows.put(input.raw_key, start, raw, timestamp)?;
            }
            None => windows.delete(input.raw_key, start, timestamp)?,
        }
        if self.final_results.on_close() {
            return Ok(());
        }
        let window = Window { start, end: 0 };
        let raw_key = windowed_key(&mut cx.state.buffer, input.raw_key, window);
        let change = WindowChange {
            before,
            value,
            raw_value,
            timestamp,
            headers: input.meta.headers.to_vec(),
        };
        let (pending, task) = cx.store::<PendingStore<A>>(self.store)?;
        pending.changed(raw_key, change);
        if pending.must_emit(task) {
            self.emit(cx)?;
        }
        Ok(())
    }
}

impl<K: Serde, V, A: Serde, F> SlidingAggregate<K, V, A, F> {
    const fn end_of(&self, start: i64) -> i64 {
        start.saturating_add(self.windows.difference_ms)
    }

    fn emit(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        let size_ms = self.windows.difference_ms;
        emit_pending::<K, Window, A>(cx, self.store, size_ms, &mut self.children)
    }

    /// Emits the windows that have ended since the last time.
    fn emit_closed(
        &mut self,
        cx: &mut Cx<'_, '_>,
        close_time: i64,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let size_ms = self.windows.difference_ms;
        let to = close_time.saturating_sub(size_ms).saturating_sub(1);
        if to < 0 {
            return Ok(());
        }
        let from = match self.final_results.last_close(cx) {
            NEVER => 0,
            last_close => last_close.saturating_sub(size_ms).max(0),
        };
        let ended = cx.task.window_store(self.store)?.fetch_all(from, to)?;
        let ended: Vec<_> = ended.collect::<Result<_, _>>()?;
        for (raw_key, start, stored) in ended {
            cx.state.operator = self.id;
            let window = Window { start, end: 0 };
            let raw_key = windowed_key(&mut cx.state.buffer, &raw_key, window);
            let key = window_of::<K, Window>(cx, &raw_key, size_ms)?;
            let change = Change::to(Some(decode_value(&self.store_name, &stored.value)?));
            let meta = Meta {
                timestamp: stored.timestamp,
                raw_key: Some(&raw_key),
                raw_value: Some(&stored.value),
                ..*meta
            };
            self.children.push(cx, &key, &change, &meta)?;
        }
        cx.state.operator = self.id;
        self.final_results.emitted(cx, close_time);
        Ok(())
    }

    /// Closes all windows that there are, because nothing has come for a long time.
    fn close_all(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        let seen = self.observed_stream_time.max(cx.task.stream_time());
        let close_time = self.end_of(seen).saturating_add(1);
        if seen < 0 || close_time <= self.final_results.last_close(cx) {
            return Ok(());
        }
        self.observed_stream_time = close_time.saturating_add(self.windows.grace_ms);
        self.emit_closed(cx, close_time, &Meta::at_commit())
    }
}
