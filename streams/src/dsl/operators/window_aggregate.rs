//! Aggregation of a grouped stream in tumbling windows.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::table::{Change, emit, key_of};
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::{Serde, SerdeError};
use crate::dsl::typed_store::TypedStore;
use crate::dsl::windows::{Tumbling, Window, Windowed};
use crate::runtime::{StoreIndex, StreamsError};

/// Folds the values of each key and window into one.
///
/// Records without a key, and records whose window is closed, are dropped; a null value reaches
/// the aggregator, as in Kafka Streams.
pub(crate) struct WindowAggregate<K, V, A, F> {
    pub(crate) id: NodeId,
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    pub(crate) windows: Tumbling,
    /// Largest timestamp this node has seen, -1 after each (re)assignment. Not the task's stream
    /// time: a filter before this node delays the closing of windows.
    pub(crate) observed_stream_time: i64,
    pub(crate) add: Arc<F>,
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
        cx.state.operator = self.id;
        if key.is_null() {
            cx.task.drop_records(1);
            return Ok(());
        }
        self.observed_stream_time = self.observed_stream_time.max(meta.timestamp);
        let start = self.windows.start_of(meta.timestamp);
        let end = start.saturating_add(self.windows.size_ms);
        let close_time = self
            .observed_stream_time
            .saturating_sub(self.windows.grace_ms);
        if end <= close_time {
            cx.task.drop_records(1);
            return Ok(());
        }
        let Some(raw_key) = cx.key_bytes(key, meta, &self.store_name)? else {
            return Ok(());
        };
        let raw_key = windowed_key(cx, &raw_key, start);
        let (entries, task) = cx.store::<TypedStore<A>>(self.store)?;
        entries.update(task, &raw_key, meta.headers, |aggregate, timestamp| {
            (self.add)(key, value, aggregate);
            timestamp.max(meta.timestamp)
        })?;
        if entries.must_flush(task) {
            self.emit(cx)?;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        self.emit(cx)?;
        self.children.flush(cx)
    }
}

impl<K: Serde, V, A: Serde, F> WindowAggregate<K, V, A, F> {
    fn emit(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        let size_ms = self.windows.size_ms;
        emit(cx, self.store, &mut self.children, |bytes| {
            let windowed = key_of::<Windowed<K>>(bytes)?;
            Ok::<_, SerdeError>(Windowed {
                window: Window {
                    start: windowed.window.start,
                    end: windowed.window.start.saturating_add(size_ms),
                },
                ..windowed
            })
        })
    }
}

/// `key | start`, in the shared buffer.
fn windowed_key(cx: &mut Cx<'_, '_>, key: &Bytes, start: i64) -> Bytes {
    let buffer = &mut cx.state.buffer;
    if buffer.capacity() < key.len() + size_of::<i64>() {
        buffer.reserve(CHUNK.max(key.len() + size_of::<i64>()));
    }
    buffer.put_slice(key);
    buffer.put_i64(start);
    buffer.split().freeze()
}

/// Size of the chunks that windowed keys are written to.
const CHUNK: usize = 64 * 1024;
