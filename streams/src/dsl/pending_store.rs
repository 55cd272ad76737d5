//! Values of windows and sessions that are found by range.
//!
//! They are written through to the store, because what is looked for by range must be there, and
//! only what they emit waits for the commit: the last value of each window that has changed.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use moldau_client::RecordHeader;

use super::graph::{Store, StoreId};
use super::ktable::GetterFactory;
use super::node::{Children, Cx, Meta};
use super::operators::table::{Change, Found, ValueGetter, key_of};
use super::serde::{Serde, SerdeContext, encode};
use super::windowed::{WindowBounds, Windowed, split};
use crate::runtime::{StoreIndex, StreamsError, TaskContext};

/// A store of windows or sessions with what it has yet to emit.
pub(crate) struct PendingStore<A> {
    name: String,
    caching: bool,
    sends_old: bool,
    buffer: BytesMut,
    /// By windowed key.
    pending: HashMap<Bytes, Pending<A>>,
    /// How many changes there were; numbers them.
    changes: u64,
}

/// A window that has changed since the last commit.
struct Pending<A> {
    number: u64,
    change: WindowChange<A>,
}

/// What has become of a window.
pub(crate) struct WindowChange<A> {
    /// The window's value before, as bytes.
    pub(crate) before: Option<Bytes>,
    /// The value from now on, `None` for a removed window.
    pub(crate) value: Option<A>,
    pub(crate) raw_value: Option<Bytes>,
    pub(crate) timestamp: i64,
    pub(crate) headers: Vec<RecordHeader>,
}

impl<A: Serde> PendingStore<A> {
    pub(crate) fn new(_: StoreIndex, store: &Store) -> Self {
        Self {
            name: store.name.clone(),
            caching: store.caching,
            sends_old: store.sends_old,
            buffer: BytesMut::new(),
            pending: HashMap::new(),
            changes: 0,
        }
    }

    /// A value's bytes; `None` for null.
    pub(crate) fn encode(&mut self, value: Option<&A>) -> Result<Option<Bytes>, StreamsError> {
        let Some(value) = value else { return Ok(None) };
        let encoded = encode(value, &SerdeContext::value(&self.name), &mut self.buffer);
        encoded.map_err(|error| StreamsError::Store {
            store: self.name.clone(),
            reason: format!("cannot write a value: {error}"),
        })
    }

    /// Notes what to emit for a window.
    pub(crate) fn changed(&mut self, key: Bytes, mut change: WindowChange<A>) {
        self.changes += 1;
        // A null is no value.
        change.value = change.value.filter(|value| !value.is_null());
        if let Some(pending) = self.pending.get_mut(&key) {
            change.before = pending.change.before.take();
        }
        let number = self.changes;
        self.pending.insert(key, Pending { number, change });
    }

    /// Whether changes must be emitted now, because there is no cache or no room.
    pub(crate) fn must_emit(&self, task: &TaskContext<'_>) -> bool {
        !self.is_caching(task) || self.pending.len() >= MAX_PENDING
    }

    pub(crate) fn is_caching(&self, task: &TaskContext<'_>) -> bool {
        self.caching && task.cache_budget().is_enabled()
    }

    /// What a changed window's children get.
    fn change(&self, change: WindowChange<A>) -> Result<Change<A>, StreamsError> {
        let mut sent = Change::to(change.value);
        if self.sends_old {
            let old = change.before.map(|raw| decode_value(&self.name, &raw));
            sent.old = Some(Arc::new(old.transpose()?));
        }
        Ok(sent)
    }

    /// The changed windows, in the order of their last change.
    fn take(&mut self) -> Vec<(Bytes, WindowChange<A>)> {
        let mut changes: Vec<_> = self.pending.drain().collect();
        changes.sort_unstable_by_key(|(_, pending)| pending.number);
        let change = |(key, pending): (Bytes, Pending<A>)| (key, pending.change);
        changes.into_iter().map(change).collect()
    }
}

/// Pushes all changed windows of a store to the table's children.
pub(crate) fn emit_pending<K: Serde, W: WindowBounds, A: Serde>(
    cx: &mut Cx<'_, '_>,
    store: StoreIndex,
    window_size_ms: i64,
    children: &mut Children<Windowed<K, W>, Change<A>>,
) -> Result<(), StreamsError> {
    let operator = cx.state.operator;
    let (pending, task) = cx.store::<PendingStore<A>>(store)?;
    let is_caching = pending.is_caching(task);
    for (raw_key, mut change) in pending.take() {
        // A window that came and went between two commits was never seen.
        if change.value.is_none() && change.before.is_none() && is_caching {
            continue;
        }
        cx.state.operator = operator;
        let key = window_of::<K, W>(cx, &raw_key, window_size_ms)?;
        let (timestamp, raw_value) = (change.timestamp, change.raw_value.clone());
        let headers = std::mem::take(&mut change.headers);
        let change = cx.store::<PendingStore<A>>(store)?.0.change(change)?;
        let meta = Meta {
            timestamp,
            headers: &headers,
            raw_key: Some(&raw_key),
            raw_value: raw_value.as_ref(),
            record: None,
        };
        children.push(cx, &key, &change, &meta)?;
    }
    cx.state.operator = operator;
    Ok(())
}

/// Reads a windowed key back from its bytes.
pub(crate) fn window_of<K: Serde, W: WindowBounds>(
    cx: &Cx<'_, '_>,
    raw_key: &Bytes,
    window_size_ms: i64,
) -> Result<Windowed<K, W>, StreamsError> {
    let key = key_of::<Windowed<K, W>>(raw_key).map_err(|error| StreamsError::Store {
        store: cx.state.operator_name(),
        reason: format!("cannot read a key: {error}"),
    })?;
    Ok(key.with_window_size(window_size_ms))
}

pub(crate) fn decode_value<A: Serde>(store: &str, raw: &Bytes) -> Result<A, StreamsError> {
    A::decode(&SerdeContext::value(store), raw).map_err(|error| StreamsError::Store {
        store: store.to_owned(),
        reason: format!("cannot read a value: {error}"),
    })
}

/// Looks values up in a store of windows or sessions.
struct WindowGetter<W, A> {
    store: StoreIndex,
    store_name: String,
    types: PhantomData<fn() -> (W, A)>,
}

impl<K: Serde, W: WindowBounds, A: Serde> ValueGetter<Windowed<K, W>, A> for WindowGetter<W, A> {
    fn value(
        &mut self,
        cx: &mut Cx<'_, '_>,
        _: &Windowed<K, W>,
        raw_key: &Bytes,
    ) -> Result<Found<A>, StreamsError> {
        let Some((key, window)) = split::<W>(raw_key) else {
            return Ok(Found::nothing());
        };
        let Some(stored) = window.load(cx.task, self.store, &key)? else {
            return Ok(Found::nothing());
        };
        Ok(Found {
            value: Arc::new(Some(decode_value(&self.store_name, &stored.value)?)),
            timestamp: window.timestamp(stored.timestamp),
        })
    }
}

pub(super) fn windowed_getter<K: Serde, W: WindowBounds, A: Serde>(
    store: StoreId,
) -> GetterFactory<Windowed<K, W>, A> {
    Arc::new(move |compiler| {
        Ok(Box::new(WindowGetter::<W, A> {
            store: compiler.needed_store(store)?,
            store_name: compiler.graph().stores[store.0].name.clone(),
            types: PhantomData,
        }))
    })
}

/// Changed windows that wait for the commit at most, per store and task.
const MAX_PENDING: usize = 10_000;
