//! Aggregation of a grouped stream in sessions (KIP-94).

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::final_results::FinalResults;
use super::table::Change;
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::pending_store::{
    PendingStore, WindowChange, decode_value, emit_pending, window_of,
};
use crate::dsl::serde::Serde;
use crate::dsl::sessions::Sessions;
use crate::dsl::windowed::{Windowed, windowed_key};
use crate::runtime::{SessionWindow, StoreIndex, StreamsError};

/// Folds the values of each key and session into one.
///
/// Records without a key are dropped; a null value reaches the aggregator, as in Kafka Streams.
/// Sessions that a record joins are removed, each with a tombstone, before the merged one comes.
pub(crate) struct SessionAggregate<K, V, A, F, M> {
    pub(crate) id: NodeId,
    pub(crate) store: StoreIndex,
    pub(crate) store_name: String,
    pub(crate) sessions: Sessions,
    /// Largest timestamp this node has seen, -1 after each (re)assignment.
    pub(crate) observed_stream_time: i64,
    pub(crate) final_results: FinalResults,
    pub(crate) add: Arc<F>,
    /// Takes another session's aggregate into one.
    pub(crate) merge: Arc<M>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<Windowed<K, SessionWindow>, Change<A>>,
}

impl<K: Serde, V: Serde, A: Serde, F, M> Node<K, V> for SessionAggregate<K, V, A, F, M>
where
    F: Fn(&K, &V, &mut Option<A>) + Data,
    M: Fn(&K, &mut Option<A>, A) + Data,
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
        let Some(raw_key) = cx.key_bytes(key, meta, &self.store_name)? else {
            return Ok(());
        };
        self.final_results.record_came(cx);
        self.observed_stream_time = self.observed_stream_time.max(meta.timestamp);
        let open_ms = self.sessions.grace_ms.saturating_add(self.sessions.gap_ms);
        let close_time = self.observed_stream_time.saturating_sub(open_ms);

        if self.final_results.would_forget(cx, meta.timestamp, 0) {
            self.emit_closed(cx, close_time, meta)?;
        }
        let found = self.find(cx, &raw_key, meta.timestamp)?;
        let alone = SessionWindow {
            start: meta.timestamp,
            end: meta.timestamp,
        };
        let mut session = alone;
        let mut aggregate = None;
        for (other, raw_value) in &found {
            session.start = session.start.min(other.start);
            session.end = session.end.max(other.end);
            let value = decode_value(&self.store_name, raw_value)?;
            (self.merge)(key, &mut aggregate, value);
        }
        if session.end < close_time {
            cx.task.drop_records(1);
        } else {
            if session != alone {
                for (other, _) in &found {
                    self.put(cx, &raw_key, *other, None, meta)?;
                }
            }
            cx.state.operator = self.id;
            (self.add)(key, value, &mut aggregate);
            self.put(cx, &raw_key, session, aggregate, meta)?;
        }
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

impl<K: Serde, V, A: Serde, F, M> SessionAggregate<K, V, A, F, M> {
    /// Sessions of the key that lie within the gap of a record.
    fn find(
        &self,
        cx: &mut Cx<'_, '_>,
        raw_key: &Bytes,
        timestamp: i64,
    ) -> Result<Vec<(SessionWindow, Bytes)>, StreamsError> {
        let gap_ms = self.sessions.gap_ms;
        let earliest_end = timestamp.saturating_sub(gap_ms);
        let latest_start = timestamp.saturating_add(gap_ms);
        let sessions = cx.task.session_store(self.store)?;
        let found = sessions.find(raw_key, earliest_end, latest_start)?;
        let session = |entry: Result<(Bytes, SessionWindow, _), StreamsError>| {
            entry.map(
                |(_, session, stored): (_, _, crate::runtime::StoredValue)| (session, stored.value),
            )
        };
        found.map(session).collect()
    }

    /// Sets or removes a session, and emits that unless sessions wait for their end.
    fn put(
        &mut self,
        cx: &mut Cx<'_, '_>,
        raw_key: &Bytes,
        session: SessionWindow,
        value: Option<A>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let (pending, task) = cx.store::<PendingStore<A>>(self.store)?;
        let raw_value = pending.encode(value.as_ref())?;
        let is_caching = pending.is_caching(task);
        let sessions = task.session_store(self.store)?;
        let before = sessions.get(raw_key, session)?.map(|stored| stored.value);
        match &raw_value {
            Some(raw) => {
                sessions.put(raw_key, session, raw, meta.timestamp)?;
            }
            None => sessions.remove(raw_key, session, meta.timestamp)?,
        }
        if self.final_results.on_close() {
            return Ok(());
        }
        let change = WindowChange {
            before,
            value,
            raw_value,
            timestamp: session.end,
            // Without a cache Kafka Streams makes a new record, which has no headers.
            headers: match is_caching {
                true => meta.headers.to_vec(),
                false => Vec::new(),
            },
        };
        let raw_key = windowed_key(&mut cx.state.buffer, raw_key, session);
        let (pending, task) = cx.store::<PendingStore<A>>(self.store)?;
        pending.changed(raw_key, change);
        if pending.must_emit(task) {
            self.emit(cx)?;
        }
        Ok(())
    }

    fn emit(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        emit_pending::<K, SessionWindow, A>(cx, self.store, 0, &mut self.children)
    }

    /// Emits the sessions that have closed since the last time.
    fn emit_closed(
        &mut self,
        cx: &mut Cx<'_, '_>,
        close_time: i64,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let from = self.final_results.last_close(cx).max(0);
        let to = close_time.saturating_sub(1);
        if to < from {
            return Ok(());
        }
        let ended = cx.task.session_store(self.store)?.find_ended(from, to)?;
        let ended: Vec<_> = ended.collect::<Result<_, _>>()?;
        for (raw_key, session, stored) in ended {
            cx.state.operator = self.id;
            let raw_key = windowed_key(&mut cx.state.buffer, &raw_key, session);
            let key = window_of::<K, SessionWindow>(cx, &raw_key, 0)?;
            let change = Change::to(Some(decode_value(&self.store_name, &stored.value)?));
            let meta = Meta {
                timestamp: session.end,
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

    /// Closes all sessions that there are, because nothing has come for a long time.
    fn close_all(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        let seen = self.observed_stream_time.max(cx.task.stream_time());
        let close_time = seen.saturating_add(1);
        if seen < 0 || close_time <= self.final_results.last_close(cx) {
            return Ok(());
        }
        let open_ms = self.sessions.grace_ms.saturating_add(self.sessions.gap_ms);
        self.observed_stream_time = close_time.saturating_add(open_ms);
        self.emit_closed(cx, close_time, &Meta::at_commit())
    }
}
