//! Joins of two tables by their key.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::table::{Change, Found, ValueGetter};
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::Serde;
use crate::runtime::StreamsError;

/// What one side of a join does about a missing value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Inner join: without the other side there is nothing to say, not even a tombstone.
    Inner,
    /// Left side of a left join.
    Left,
    /// Right side of a left join.
    Right,
    /// Either side of an outer join.
    Outer,
}

/// One side of a table-table join: its changes meet the other table as it is.
pub(crate) struct TableJoin<K, V, T, R, F> {
    pub(crate) id: NodeId,
    pub(crate) side: Side,
    pub(crate) sends_old: bool,
    pub(crate) other: Box<dyn ValueGetter<K, T>>,
    pub(crate) joiner: Arc<F>,
    pub(crate) input: PhantomData<fn(V)>,
    pub(crate) children: Children<K, Change<R>>,
}

impl<K: Serde, V: Data, T: Data, R: Data, F> Node<K, Change<V>> for TableJoin<K, V, T, R, F>
where
    F: Fn(&K, Option<&V>, Option<&T>) -> R + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if key.is_null() || !change.is_latest {
            cx.task.drop_records(1);
            return Ok(());
        }
        let Some(raw_key) = cx.key_bytes(key, meta, "join")? else {
            return Ok(());
        };
        let other = self.other.value(cx, key, &raw_key)?;
        let (new, old) = (change.new_value(), change.old_value());
        if other.get().is_none() && !self.speaks_alone(new, old) {
            return Ok(());
        }
        let join = |value: Option<&V>| {
            let joins = match self.side {
                Side::Inner | Side::Left => value.is_some(),
                Side::Right => true,
                Side::Outer => value.is_some() || other.get().is_some(),
            };
            joins.then(|| (self.joiner)(key, value, other.get()))
        };
        let joined = Change {
            new: Arc::new(join(new)),
            old: self.sends_old.then(|| Arc::new(join(old))),
            is_latest: true,
        };
        let timestamp = match other.get() {
            Some(_) => meta.timestamp.max(other.timestamp),
            None => meta.timestamp,
        };
        let meta = Meta {
            timestamp,
            raw_key: Some(&raw_key),
            ..meta.new_value()
        };
        self.children.push(cx, key, &joined, &meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

impl<K, V, T, R, F> TableJoin<K, V, T, R, F> {
    /// Whether there is something to say when the other side has no value.
    fn speaks_alone(&self, new: Option<&V>, old: Option<&V>) -> bool {
        match self.side {
            Side::Inner | Side::Right => false,
            Side::Left | Side::Outer => new.is_some() || old.is_some(),
        }
    }
}

/// Passes on the changes of both sides of a join.
pub(crate) struct MergeSides<K, R> {
    pub(crate) sends_old: bool,
    pub(crate) children: Children<K, Change<R>>,
}

impl<K: Data, R: Data> Node<K, Change<R>> for MergeSides<K, R> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<R>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        if self.sends_old || change.old.is_none() {
            return self.children.push(cx, key, change, meta);
        }
        let change = Change {
            old: None,
            ..change.clone()
        };
        self.children.push(cx, key, &change, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Looks values up in a join that has no store of its own.
pub(crate) struct JoinGetter<K, V, T, F> {
    pub(crate) side: Side,
    pub(crate) this: Box<dyn ValueGetter<K, V>>,
    pub(crate) other: Box<dyn ValueGetter<K, T>>,
    pub(crate) joiner: Arc<F>,
}

impl<K: Data, V: Data, T: Data, R: Data, F> ValueGetter<K, R> for JoinGetter<K, V, T, F>
where
    F: Fn(&K, Option<&V>, Option<&T>) -> R + Data,
{
    fn value(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
    ) -> Result<Found<R>, StreamsError> {
        let this = self.this.value(cx, key, raw_key)?;
        if this.get().is_none() && self.side != Side::Outer {
            return Ok(Found::nothing());
        }
        let other = self.other.value(cx, key, raw_key)?;
        let joins = match self.side {
            Side::Inner => other.get().is_some(),
            Side::Left | Side::Right => true,
            Side::Outer => this.get().is_some() || other.get().is_some(),
        };
        if !joins {
            return Ok(Found::nothing());
        }
        let timestamp = |exists: bool, timestamp: i64| if exists { timestamp } else { -1 };
        Ok(Found {
            value: Arc::new(Some((self.joiner)(key, this.get(), other.get()))),
            timestamp: timestamp(this.get().is_some(), this.timestamp)
                .max(timestamp(other.get().is_some(), other.timestamp)),
        })
    }
}
