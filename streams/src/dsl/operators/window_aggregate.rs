//! Aggregation of a grouped stream in tumbling and hopping windows.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::final_results::{FinalResults, NEVER};
use super::table::{Change, emit, key_of};
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::pending_store::{decode_value, window_of};
use crate::dsl::serde::{Serde, SerdeError};
use crate::dsl::typed_store::TypedStore;
use crate::dsl::windowed::{Window, Windowed, windowed_key, write_windowed_key};
use crate::dsl::windows::TimeWindows;
use crate::runtime::{StoreIndex, StreamsError};

/// Folds the values of each key and window into one.
///
/// Records without a key, and records whose window is closed, are dropped; a null value reaches
/// the aggregator, as in Kafka Streams.
pub(crate) struct WindowAggregate<K, V, A, F> {
    pub(crate) id: NodeId,
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    pub(crate) windows: TimeWindows,
    /// Largest timestamp this node has seen, -1 after each (re)assignment. Not the task's stream
    /// time: a filter before this node delays the closing of windows.
    pub(crate) observed_stream_time: i64,
    pub(crate) final_results: FinalResults,
    pub(crate) add: Arc<F>,
    /// What `add` does, if it does not look at keys and values.
    pub(crate) add_any: Option<fn(&mut Option<A>)>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<Windowed<K>, Change<A>>,
}

impl<K: Serde, V: Serde, A: Serde, F> Node<K, V> for WindowAggregate<K, V, A, F>
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
        let add = Arc::clone(&self.add);
        self.take(cx, key, meta, |aggregate| add(key, value, aggregate))
    }

    fn ignores_values(&self) -> bool {
        self.add_any.is_some()
    }

    fn process_key(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        match self.add_any {
            Some(add) => self.take(cx, key, meta, add),
            None => Err(StreamsError::topology(
                "an aggregation was given a key without its value",
            )),
        }
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        if cx.state.flushes(self.id) {
            cx.state.operator = self.id;
            self.write_back(cx)?;
            if self.final_results.becomes_idle(cx) {
                self.close_all(cx)?;
            }
        }
        self.children.flush(cx)
    }
}

impl<K: Serde, V, A: Serde, F> WindowAggregate<K, V, A, F> {
    /// Changes the aggregate of each window that a record falls into.
    fn take(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        meta: &Meta<'_>,
        add: impl Fn(&mut Option<A>),
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if key.is_null() {
            cx.task.drop_records(1);
            return Ok(());
        }
        self.final_results.record_came(cx);
        self.observed_stream_time = self.observed_stream_time.max(meta.timestamp);
        let grace_ms = self.windows.grace_ms;
        let close_time = self.observed_stream_time.saturating_sub(grace_ms);
        let newest = self.windows.starts_of(meta.timestamp).last();
        let size_ms = self.windows.size_ms;
        if newest.is_some_and(|newest| self.final_results.would_forget(cx, newest, size_ms)) {
            self.emit_closed(cx, close_time, meta)?;
        }
        let mut encoded = None;
        for start in self.windows.starts_of(meta.timestamp) {
            if start.saturating_add(self.windows.size_ms) <= close_time {
                cx.task.drop_records(1);
                continue;
            }
            if meta.raw_key.is_none() && encoded.is_none() {
                encoded = cx.key_bytes(key, meta, &self.store_name)?;
            }
            let Some(raw_key) = meta.raw_key.or(encoded.as_ref()) else {
                return Ok(());
            };
            let mut looked_up = std::mem::take(&mut cx.state.looked_up);
            write_windowed_key(&mut looked_up, raw_key, Window { start, end: 0 });
            let (entries, task) = cx.store::<TypedStore<A>>(self.store)?;
            entries.update(task, &looked_up, meta.headers, |aggregate, timestamp| {
                add(aggregate);
                timestamp.max(meta.timestamp)
            })?;
            let must_flush = entries.must_flush(task);
            cx.state.looked_up = looked_up;
            if must_flush {
                self.write_back(cx)?;
            }
        }
        if self.final_results.is_due(cx, close_time) {
            self.emit_closed(cx, close_time, meta)?;
        }
        Ok(())
    }

    /// Writes changed windows to the store, and emits them unless they wait for their end.
    fn write_back(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        if self.final_results.on_close() {
            let (entries, task) = cx.store::<TypedStore<A>>(self.store)?;
            for place in entries.take_dirty() {
                entries.write_back(task, place)?;
            }
            entries.flushed(task);
            return Ok(());
        }
        let size_ms = self.windows.size_ms;
        emit(cx, self.store, &mut self.children, |bytes| {
            let windowed = key_of::<Windowed<K>>(bytes)?;
            Ok::<_, SerdeError>(windowed.with_window_size(size_ms))
        })
    }

    /// Emits the windows that have ended since the last time.
    fn emit_closed(
        &mut self,
        cx: &mut Cx<'_, '_>,
        close_time: i64,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let last_close = self.final_results.last_close(cx);
        let size_ms = self.windows.size_ms;
        let to = close_time.saturating_sub(size_ms);
        if to < 0 {
            return Ok(());
        }
        let mut from = 0;
        if last_close != NEVER {
            from = last_close.saturating_sub(size_ms).max(0) + 1;
            // Nothing has ended if the same windows are the last to have ended.
            if self
                .windows
                .starts_of(to)
                .eq(self.windows.starts_of(from - 1))
            {
                return Ok(());
            }
        }
        self.write_back(cx)?;
        let ended = cx.task.window_store(self.store)?.fetch_all(from, to)?;
        let ended: Vec<_> = ended.collect::<Result<_, _>>()?;
        for (raw_key, start, stored) in ended {
            cx.state.operator = self.id;
            let window = Window { start, end: 0 };
            let raw_key: Bytes = windowed_key(&mut cx.state.buffer, &raw_key, window);
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
        let Some(start) = self.windows.starts_of(seen).last() else {
            return Ok(());
        };
        let close_time = start.saturating_add(self.windows.size_ms);
        if close_time <= self.final_results.last_close(cx) {
            return Ok(());
        }
        self.observed_stream_time = close_time.saturating_add(self.windows.grace_ms);
        self.emit_closed(cx, close_time, &Meta::at_commit())
    }
}
