//! The five operators of a foreign-key join, in the order in which a record passes them.
//!
//! The left side subscribes at the partition of its foreign key; the right side keeps the
//! subscriptions and answers at once and whenever its own value changes; the left side joins an
//! answer with its value, if that is still the one which the answer is about.

use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use moldau_client::KString;

use super::table::{Change, Found, ValueGetter};
use crate::dsl::data::Data;
use crate::dsl::murmur3::hash128;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::serde::{Serde, SerdeContext, SerdeError};
use crate::dsl::subscription::{Hash, Instruction, Response, Subscription, store_prefix};
use crate::runtime::{OutputRecord, StoreIndex, StreamsError};

/// Tells the right side which foreign key a left entry has now, and had before.
pub(crate) struct Subscribe<K, V, KO, F> {
    pub(crate) id: NodeId,
    pub(crate) left: bool,
    pub(crate) topic: KString,
    pub(crate) foreign_key: Arc<F>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<Option<KO>, Subscription>,
}

impl<K: Serde, V: Serde, KO: Serde, F> Node<K, Change<V>> for Subscribe<K, V, KO, F>
where
    F: Fn(&K, &V) -> Option<KO> + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let raw_key = cx.key_bytes(key, meta, &self.topic)?;
        let (Some(primary_key), true) = (raw_key, change.is_latest) else {
            cx.task.drop_records(1);
            return Ok(());
        };
        let foreign_key = |value: Option<&V>| {
            let foreign_key = (self.foreign_key)(key, value?);
            foreign_key.filter(|key| !key.is_null())
        };
        let new = foreign_key(change.new_value());
        let old = foreign_key(change.old_value());
        let meta = meta.new_key_and_value();
        let new = self.with_bytes(cx, new, &meta)?;
        let old = self.with_bytes(cx, old, &meta)?;
        let subscription = Subscription {
            hash: hash_of(cx, change.new_value())?,
            instruction: Instruction::DeleteKeyNoPropagate,
            primary_key,
            primary_partition: Some(cx.task.partition()),
        };
        let keys = Keys {
            had: change.old_value().is_some(),
            has: change.new_value().is_some(),
            old,
            new,
        };
        if self.left {
            self.left_join(cx, keys, &subscription, &meta)
        } else {
            self.inner_join(cx, keys, &subscription, &meta)
        }
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// A foreign key and its bytes; `None` where there is none.
type WithBytes<KO> = Option<(KO, Bytes)>;

/// What a left entry pointed to, and points to now.
struct Keys<KO> {
    /// Whether there was an entry, and is one.
    had: bool,
    has: bool,
    old: WithBytes<KO>,
    new: WithBytes<KO>,
}

impl<KO> Keys<KO> {
    fn changed(&self) -> bool {
        let bytes = |key: &WithBytes<KO>| key.as_ref().map(|(_, bytes)| bytes.clone());
        bytes(&self.old) != bytes(&self.new)
    }
}

impl<K: Serde, V: Serde, KO: Serde, F> Subscribe<K, V, KO, F> {
    fn with_bytes(
        &self,
        cx: &mut Cx<'_, '_>,
        key: Option<KO>,
        meta: &Meta<'_>,
    ) -> Result<WithBytes<KO>, StreamsError> {
        let Some(key) = key else { return Ok(None) };
        let bytes = cx.key_bytes(&key, meta, &self.topic)?;
        Ok(bytes.map(|bytes| (key, bytes)))
    }

    /// Subscribes in any case, also without a foreign key: the answer is then null.
    fn left_join(
        &mut self,
        cx: &mut Cx<'_, '_>,
        keys: Keys<KO>,
        subscription: &Subscription,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        if !keys.had && !keys.has {
            return Ok(());
        }
        if keys.old.is_some() && keys.changed() {
            let forget = Instruction::DeleteKeyNoPropagate;
            self.send(cx, keys.old, forget, subscription, meta)?;
        }
        let answer = Instruction::PropagateNullIfNoForeignValue;
        self.send(cx, keys.new, answer, subscription, meta)
    }

    /// A value without a foreign key joins nothing and counts as dropped.
    fn inner_join(
        &mut self,
        cx: &mut Cx<'_, '_>,
        keys: Keys<KO>,
        subscription: &Subscription,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let changed = keys.changed();
        let Keys { old, new, has, .. } = keys;
        if new.is_none() {
            if has {
                cx.task.drop_records(1);
            }
            if old.is_none() {
                return Ok(());
            }
            let remove = Instruction::DeleteKeyAndPropagate;
            return self.send(cx, old, remove, subscription, meta);
        }
        let mut answer = Instruction::PropagateOnlyIfForeignValue;
        if old.is_some() && changed {
            let forget = Instruction::DeleteKeyNoPropagate;
            self.send(cx, old, forget, subscription, meta)?;
            answer = Instruction::PropagateNullIfNoForeignValue;
        }
        self.send(cx, new, answer, subscription, meta)
    }

    fn send(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: WithBytes<KO>,
        instruction: Instruction,
        subscription: &Subscription,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let subscription = Subscription {
            instruction,
            ..subscription.clone()
        };
        let (key, raw_key) = key.unzip();
        let meta = Meta {
            raw_key: raw_key.as_ref(),
            ..*meta
        };
        self.children.push(cx, &key, &subscription, &meta)
    }
}

/// Hash of a value's own bytes; none for no value.
fn hash_of<V: Serde>(cx: &mut Cx<'_, '_>, value: Option<&V>) -> Result<Hash, StreamsError> {
    let Some(value) = value else { return Ok(None) };
    let bytes = cx.encode(value, &SerdeContext::value("value-hash"))?;
    Ok(bytes.as_deref().map(hash128))
}

/// Keeps subscriptions, on the right side.
pub(crate) struct KeepSubscription<KO> {
    pub(crate) id: NodeId,
    pub(crate) topic: KString,
    pub(crate) store: StoreIndex,
    pub(crate) children: Children<Option<KO>, Subscription>,
}

impl<KO: Serde> Node<Option<KO>, Subscription> for KeepSubscription<KO> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &Option<KO>,
        subscription: &Subscription,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let Some(raw_key) = cx.key_bytes(key, meta, &self.topic)? else {
            if subscription.instruction == Instruction::PropagateNullIfNoForeignValue {
                return self.children.push(cx, key, subscription, meta);
            }
            cx.task.drop_records(1);
            return Ok(());
        };
        let mut entry = store_prefix(&raw_key);
        entry.extend_from_slice(&subscription.primary_key);
        match subscription.instruction {
            Instruction::DeleteKeyNoPropagate | Instruction::DeleteKeyAndPropagate => {
                let store = cx.task.store(self.store)?;
                store.delete(&entry, meta.timestamp)?;
            }
            Instruction::PropagateNullIfNoForeignValue
            | Instruction::PropagateOnlyIfForeignValue => {
                let bytes = cx.value_bytes(subscription, meta, &self.topic)?;
                let store = cx.task.store(self.store)?;
                store.put(&entry, &bytes.unwrap_or_default(), meta.timestamp)?;
            }
        }
        self.children.push(cx, key, subscription, meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Answers a subscription with the value of the right table.
pub(crate) struct Answer<K, KO, T> {
    pub(crate) id: NodeId,
    pub(crate) topic: KString,
    pub(crate) table: Box<dyn ValueGetter<KO, T>>,
    pub(crate) children: Children<K, Response<T>>,
}

impl<K: Serde, KO: Serde, T: Serde> Node<Option<KO>, Subscription> for Answer<K, KO, T> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &Option<KO>,
        subscription: &Subscription,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let raw_key = cx.key_bytes(key, meta, &self.topic)?;
        let found = match (key, &raw_key) {
            (Some(key), Some(raw_key)) => self.table.value(cx, key, raw_key)?,
            _ => Found::nothing(),
        };
        let foreign_value = match subscription.instruction {
            Instruction::DeleteKeyNoPropagate => return Ok(()),
            Instruction::PropagateOnlyIfForeignValue if found.get().is_none() => return Ok(()),
            Instruction::DeleteKeyAndPropagate => Arc::new(None),
            Instruction::PropagateNullIfNoForeignValue
            | Instruction::PropagateOnlyIfForeignValue => Arc::clone(&found.value),
        };
        let timestamp = match found.get() {
            Some(_) => meta.timestamp.max(found.timestamp),
            None => meta.timestamp,
        };
        let response = Response {
            hash: subscription.hash,
            foreign_value,
            primary_partition: subscription.primary_partition,
        };
        let primary_key = primary_key(cx, &self.topic, &subscription.primary_key)?;
        let meta = Meta {
            timestamp,
            raw_key: Some(&subscription.primary_key),
            ..meta.new_value()
        };
        self.children.push(cx, &primary_key, &response, &meta)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

/// Answers all subscriptions to a foreign key whose value has changed.
pub(crate) struct AnswerAll<K, KO, T> {
    pub(crate) id: NodeId,
    pub(crate) topic: KString,
    pub(crate) store: StoreIndex,
    pub(crate) input: PhantomData<fn(KO)>,
    pub(crate) children: Children<K, Response<T>>,
}

impl<K: Serde, KO: Serde, T: Serde> Node<KO, Change<T>> for AnswerAll<K, KO, T> {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &KO,
        change: &Change<T>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let raw_key = cx.key_bytes(key, meta, &self.topic)?;
        let (Some(raw_key), true) = (raw_key, change.is_latest) else {
            cx.task.drop_records(1);
            return Ok(());
        };
        let prefix = store_prefix(&raw_key);
        let mut subscriptions = Vec::new();
        let store = cx.task.store(self.store)?;
        for entry in store.range(Bound::Included(&prefix), Bound::Unbounded)? {
            let (key, stored) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            subscriptions.push(stored.value);
        }
        for bytes in subscriptions {
            let read = Subscription::decode(&SerdeContext::value(&self.topic), &bytes);
            let subscription = read.map_err(|error| unreadable(cx, "subscription", &error))?;
            let response = Response {
                hash: subscription.hash,
                foreign_value: Arc::clone(&change.new),
                primary_partition: subscription.primary_partition,
            };
            let primary_key = primary_key(cx, &self.topic, &subscription.primary_key)?;
            let meta = Meta {
                raw_key: Some(&subscription.primary_key),
                ..meta.new_value()
            };
            self.children.push(cx, &primary_key, &response, &meta)?;
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}

fn primary_key<K: Serde>(cx: &Cx<'_, '_>, topic: &str, bytes: &Bytes) -> Result<K, StreamsError> {
    K::decode(&SerdeContext::key(topic), bytes).map_err(|error| unreadable(cx, "key", &error))
}

fn unreadable(cx: &Cx<'_, '_>, what: &str, error: &SerdeError) -> StreamsError {
    StreamsError::Store {
        store: cx.state.operator_name(),
        reason: format!("cannot read a {what}: {error}"),
    }
}

/// Writes answers to the partition of the left entry that asked.
pub(crate) struct ResponseSink {
    pub(crate) id: NodeId,
    pub(crate) topic: KString,
}

impl<K: Serde, T: Serde> Node<K, Response<T>> for ResponseSink {
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        response: &Response<T>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let record = OutputRecord {
            topic: self.topic.clone(),
            partition: response.primary_partition,
            timestamp: meta.timestamp,
            key: cx.key_bytes(key, meta, &self.topic)?,
            value: cx.value_bytes(response, meta, &self.topic)?,
            headers: meta.headers.to_vec(),
        };
        cx.task.send(record);
        Ok(())
    }

    fn flush(&mut self, _: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        Ok(())
    }
}

/// Joins an answer with the left value, if that is still the one it is about.
pub(crate) struct Resolve<K, V, T, R, F> {
    pub(crate) id: NodeId,
    pub(crate) left: bool,
    pub(crate) topic: KString,
    pub(crate) table: Box<dyn ValueGetter<K, V>>,
    pub(crate) joiner: Arc<F>,
    pub(crate) input: PhantomData<fn(T)>,
    pub(crate) children: Children<K, Arc<Option<R>>>,
}

impl<K: Serde, V: Serde, T: Serde, R: Data, F> Node<K, Response<T>> for Resolve<K, V, T, R, F>
where
    F: Fn(&K, &V, Option<&T>) -> R + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        response: &Response<T>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let Some(raw_key) = cx.key_bytes(key, meta, &self.topic)? else {
            cx.task.drop_records(1);
            return Ok(());
        };
        let found = self.table.value(cx, key, &raw_key)?;
        if hash_of(cx, found.get())? != response.hash {
            cx.task.drop_records(1);
            return Ok(());
        }
        let foreign = response.foreign_value.as_ref().as_ref();
        let joined = found
            .get()
            .filter(|_| self.left || foreign.is_some())
            .map(|value| (self.joiner)(key, value, foreign));
        self.children
            .push(cx, key, &Arc::new(joined), &meta.new_value())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }
}
