//! Tables whose values a transformer with stores makes.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moldau_client::RecordHeader;

use super::processor::{handled, made};
use super::table::{Change, Found, ValueGetter};
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::on_error::OnError;
use crate::dsl::processor::{ConnectedStore, Origin, ProcessorError, ProcessorInit, Punctuation};
use crate::dsl::processor_store::{StoreAccess, Stores};
use crate::dsl::transform_values::ValueTransformer;
use crate::dsl::windows::millis;
use crate::runtime::{PunctuationId, PunctuationType, StreamsError, TaskId};

/// What a transformer sees of its task, for the time of one call. It cannot forward.
#[derive(Debug)]
pub struct TransformContext<'c> {
    task: &'c mut dyn TransformTask,
    timestamp: i64,
    headers: &'c [RecordHeader],
    origin: Option<Origin<'c>>,
}

/// The task, whose lifetimes a transformer need not know.
trait TransformTask: std::fmt::Debug {
    fn stores(&mut self) -> &mut dyn Stores;
    fn schedule(&mut self, interval_ms: i64, clock: PunctuationType) -> PunctuationId;
    fn cancel(&mut self, id: PunctuationId);
    fn stream_time(&self) -> i64;
    fn wall_clock_ms(&self) -> i64;
    fn id(&self) -> TaskId;
}

impl TransformContext<'_> {
    /// Event time of the entry at work, or of the punctuation.
    #[must_use]
    pub const fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Headers of the record at work; none in a look-up or a punctuation.
    #[must_use]
    pub const fn headers(&self) -> &[RecordHeader] {
        self.headers
    }

    /// Where the record at work comes from; nothing behind a table's cache, in a look-up or in a
    /// punctuation.
    #[must_use]
    pub const fn origin(&self) -> Option<Origin<'_>> {
        self.origin
    }

    /// Largest timestamp that the task has taken from its inputs, -1 before the first.
    #[must_use]
    pub fn stream_time(&self) -> i64 {
        self.task.stream_time()
    }

    /// Milliseconds since 1970; the test driver's clock is virtual.
    #[must_use]
    pub fn wall_clock_ms(&self) -> i64 {
        self.task.wall_clock_ms()
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.task.id()
    }

    /// Asks for a punctuation at this interval, at least a millisecond.
    pub fn every(&mut self, interval: Duration, clock: PunctuationType) -> PunctuationId {
        self.task.schedule(millis(interval), clock)
    }

    /// Ends a punctuation.
    pub fn cancel(&mut self, id: PunctuationId) {
        self.task.cancel(id);
    }
}

impl StoreAccess for TransformContext<'_> {
    fn stores(&mut self) -> &mut dyn Stores {
        self.task.stores()
    }

    fn write_timestamp(&self) -> i64 {
        self.timestamp
    }
}

/// A transformer of one task, which is made when it is needed first.
pub(crate) struct Transformer<K, V, P, F> {
    pub(crate) id: NodeId,
    pub(crate) on_error: OnError,
    pub(crate) stores: Vec<ConnectedStore>,
    pub(crate) make: Arc<F>,
    pub(crate) made: Option<P>,
    pub(crate) input: PhantomData<fn(K, V)>,
}

/// One call of a transformer.
struct Call<'c, 'a, 't> {
    cx: &'c mut Cx<'a, 't>,
    node: NodeId,
}

impl std::fmt::Debug for Call<'_, '_, '_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Call").field(&self.node).finish()
    }
}

impl TransformTask for Call<'_, '_, '_> {
    fn stores(&mut self) -> &mut dyn Stores {
        self.cx.task
    }

    fn schedule(&mut self, interval_ms: i64, clock: PunctuationType) -> PunctuationId {
        let id = self.cx.task.schedule(interval_ms, clock);
        self.cx.state.punctuated_by(self.node, vec![id]);
        id
    }

    fn cancel(&mut self, id: PunctuationId) {
        self.cx.task.cancel_punctuation(id);
    }

    fn stream_time(&self) -> i64 {
        self.cx.task.stream_time()
    }

    fn wall_clock_ms(&self) -> i64 {
        self.cx.task.wall_clock_ms()
    }

    fn id(&self) -> TaskId {
        self.cx.task.task_id()
    }
}

impl<K: Data, V: Data, P: ValueTransformer<K, V>, F> Transformer<K, V, P, F>
where
    F: Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
{
    fn init(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        if self.made.is_none() {
            cx.state.operator = self.id;
            self.made = Some(made(cx, self.id, &self.stores, self.make.as_ref())?);
        }
        Ok(())
    }

    fn call<T>(
        &mut self,
        cx: &mut Cx<'_, '_>,
        meta: &Meta<'_>,
        call: impl FnOnce(&mut P, &mut TransformContext<'_>) -> Result<T, ProcessorError>,
    ) -> Result<Result<T, ProcessorError>, StreamsError> {
        self.init(cx)?;
        cx.state.operator = self.id;
        let Some(made) = &mut self.made else {
            return Err(StreamsError::topology("a transformer that was not made"));
        };
        let topic = cx.state.origin_topic.clone();
        let mut task = Call { cx, node: self.id };
        let mut context = TransformContext {
            task: &mut task,
            timestamp: meta.timestamp,
            headers: meta.headers,
            origin: meta.origin(&topic),
        };
        Ok(call(made, &mut context))
    }
}

/// Makes a new value of each change of a table, also of removals.
pub(crate) struct TableTransformValues<K, V, P: ValueTransformer<K, V>, F> {
    pub(crate) transformer: Transformer<K, V, P, F>,
    pub(crate) sends_old: bool,
    pub(crate) children: Children<K, Change<P::Value>>,
}

impl<K: Data, V: Data, P: ValueTransformer<K, V>, F> Node<K, Change<V>>
    for TableTransformValues<K, V, P, F>
where
    F: Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        change: &Change<V>,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        let sends_old = self.sends_old;
        let made = self.transformer.call(cx, meta, |transformer, context| {
            let new = transformer.transform(context, key, change.new_value())?;
            let old = match sends_old {
                true => transformer.transform(context, key, change.old_value())?,
                false => None,
            };
            Ok((new, old))
        })?;
        let (new, old) = match made {
            Ok(made) => made,
            Err(error) => return handled(cx, &self.transformer.on_error, meta, Err(error)),
        };
        let change = Change {
            new: Arc::new(new),
            old: sends_old.then(|| Arc::new(old)),
            is_latest: change.is_latest,
        };
        self.children.push(cx, key, &change, &meta.new_value())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }

    fn init(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.transformer.init(cx)
    }

    fn punctuate(
        &mut self,
        cx: &mut Cx<'_, '_>,
        punctuation: Punctuation,
    ) -> Result<(), StreamsError> {
        let meta = Meta {
            timestamp: punctuation.timestamp,
            ..Meta::at_commit()
        };
        let done = self.transformer.call(cx, &meta, |transformer, context| {
            transformer.punctuate(context, punctuation)
        })?;
        handled(cx, &OnError::Fail, &meta, done)
    }
}

/// Looks values up in a transformed table that has no store, with a transformer of its own.
pub(crate) struct TransformGetter<K, V, P, F> {
    pub(crate) parent: Box<dyn ValueGetter<K, V>>,
    pub(crate) transformer: Transformer<K, V, P, F>,
}

impl<K: Data, V: Data, P: ValueTransformer<K, V>, F> TransformGetter<K, V, P, F>
where
    F: Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
{
    fn transform(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        found: &Found<V>,
    ) -> Result<Found<P::Value>, StreamsError> {
        let meta = Meta {
            timestamp: found.timestamp,
            ..Meta::at_commit()
        };
        let operator = cx.state.operator;
        let made = self.transformer.call(cx, &meta, |transformer, context| {
            transformer.transform(context, key, found.get())
        })?;
        let value = match made {
            Ok(value) => value,
            Err(error) => {
                handled(cx, &OnError::Fail, &meta, Err(error))?;
                None
            }
        };
        cx.state.operator = operator;
        Ok(Found {
            value: Arc::new(value),
            timestamp: found.timestamp,
        })
    }
}

impl<K: Data, V: Data, P: ValueTransformer<K, V>, F> ValueGetter<K, P::Value>
    for TransformGetter<K, V, P, F>
where
    F: Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
{
    fn value(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
    ) -> Result<Found<P::Value>, StreamsError> {
        let found = self.parent.value(cx, key, raw_key)?;
        self.transform(cx, key, &found)
    }

    fn value_as_of(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        raw_key: &Bytes,
        timestamp: i64,
    ) -> Result<Found<P::Value>, StreamsError> {
        let found = self.parent.value_as_of(cx, key, raw_key, timestamp)?;
        self.transform(cx, key, &found)
    }

    fn is_versioned(&self) -> bool {
        self.parent.is_versioned()
    }
}
