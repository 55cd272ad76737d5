//! The nodes that run processors, and what a processor sees of its task.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use moldau_client::RecordHeader;

use super::fallible::refused;
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::on_error::OnError;
use crate::dsl::processor::{
    ConnectedStore, Origin, Processor, ProcessorError, ProcessorInit, ProcessorRecord, Punctuation,
    Schedules, ValueProcessor,
};
use crate::dsl::processor_store::{StoreAccess, Stores};
use crate::dsl::windows::millis;
use crate::runtime::{PunctuationId, PunctuationType, StreamsError, TaskContext, TaskId};

/// What a processor sees of its task, for the time of one call.
pub struct ProcessorContext<'c, K, V> {
    backend: &'c mut dyn Backend<K, V>,
}

/// What a value processor sees of its task, for the time of one call.
pub struct ValueContext<'c, 'k, K, V> {
    inner: ProcessorContext<'c, K, V>,
    /// None in a punctuation.
    key: Option<&'k K>,
}

/// The task and the children, whose lifetimes a processor need not know.
trait Backend<K, V> {
    fn forward(&mut self, record: ProcessorRecord<'_, K, V>) -> Result<(), StreamsError>;
    fn headers(&self) -> &[RecordHeader];
    fn timestamp(&self) -> i64;
    fn origin(&self) -> Option<Origin<'_>>;
    fn schedule(&mut self, interval_ms: i64, clock: PunctuationType) -> PunctuationId;
    fn cancel(&mut self, id: PunctuationId);
    fn stores(&mut self) -> &mut dyn Stores;
    fn stream_time(&self) -> i64;
    fn wall_clock_ms(&self) -> i64;
    fn task_id(&self) -> TaskId;
    fn request_commit(&mut self);
}

impl<K, V> ProcessorContext<'_, K, V> {
    /// Gives a key and value to what comes next, with the timestamp and headers of the record at
    /// work; of a punctuation, with its time and without headers.
    ///
    /// # Errors
    /// What comes next fails.
    pub fn forward(&mut self, key: &K, value: &V) -> Result<(), StreamsError> {
        let headers = self.backend.headers().to_vec();
        let timestamp = self.backend.timestamp();
        self.forward_record(ProcessorRecord {
            key,
            value,
            timestamp,
            headers: &headers,
        })
    }

    /// Gives a record with a timestamp and headers of its own to what comes next.
    ///
    /// # Errors
    /// What comes next fails.
    pub fn forward_record(
        &mut self,
        record: ProcessorRecord<'_, K, V>,
    ) -> Result<(), StreamsError> {
        self.backend.forward(record)
    }

    /// Where the record at work comes from; nothing in a punctuation, or behind a table's cache.
    #[must_use]
    pub fn origin(&self) -> Option<Origin<'_>> {
        self.backend.origin()
    }

    /// Largest timestamp that the task has taken from its inputs, -1 before the first.
    #[must_use]
    pub fn stream_time(&self) -> i64 {
        self.backend.stream_time()
    }

    /// Milliseconds since 1970; the test driver's clock is virtual.
    #[must_use]
    pub fn wall_clock_ms(&self) -> i64 {
        self.backend.wall_clock_ms()
    }

    /// The task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.backend.task_id()
    }

    /// Asks for a punctuation at this interval, at least a millisecond.
    pub fn every(&mut self, interval: Duration, clock: PunctuationType) -> PunctuationId {
        self.backend.schedule(millis(interval), clock)
    }

    /// Ends a punctuation.
    pub fn cancel(&mut self, id: PunctuationId) {
        self.backend.cancel(id);
    }

    /// Asks for a commit soon, before the interval has passed.
    pub fn request_commit(&mut self) {
        self.backend.request_commit();
    }
}

impl<K, V> ValueContext<'_, '_, K, V> {
    /// Gives a value to what comes next, under the key of the record at work.
    ///
    /// # Errors
    /// What comes next fails, or there is no record at work but a punctuation.
    pub fn forward(&mut self, value: &V) -> Result<(), StreamsError> {
        let Some(key) = self.key else {
            return Err(StreamsError::topology(
                "a value processor cannot forward in a punctuation, because there is no key to keep\n  hint: use `process`, whose processor chooses keys itself",
            ));
        };
        self.inner.forward(key, value)
    }

    /// Asks for a punctuation at this interval, at least a millisecond.
    pub fn every(&mut self, interval: Duration, clock: PunctuationType) -> PunctuationId {
        self.inner.every(interval, clock)
    }

    /// Ends a punctuation.
    pub fn cancel(&mut self, id: PunctuationId) {
        self.inner.cancel(id);
    }

    /// Where the record at work comes from; nothing behind a table's cache.
    #[must_use]
    pub fn origin(&self) -> Option<Origin<'_>> {
        self.inner.origin()
    }

    /// Largest timestamp that the task has taken from its inputs, -1 before the first.
    #[must_use]
    pub fn stream_time(&self) -> i64 {
        self.inner.stream_time()
    }

    /// Milliseconds since 1970; the test driver's clock is virtual.
    #[must_use]
    pub fn wall_clock_ms(&self) -> i64 {
        self.inner.wall_clock_ms()
    }
}

impl<K, V> StoreAccess for ProcessorContext<'_, K, V> {
    fn stores(&mut self) -> &mut dyn Stores {
        self.backend.stores()
    }

    fn write_timestamp(&self) -> i64 {
        self.backend.timestamp()
    }
}

impl<K, V> StoreAccess for ValueContext<'_, '_, K, V> {
    fn stores(&mut self) -> &mut dyn Stores {
        self.inner.stores()
    }

    fn write_timestamp(&self) -> i64 {
        self.inner.write_timestamp()
    }
}

/// One call of a processor.
struct Call<'c, 'a, 't, K, V> {
    id: NodeId,
    cx: &'c mut Cx<'a, 't>,
    children: &'c mut Children<K, V>,
    meta: Meta<'c>,
}

impl<K: Data, V: Data> Backend<K, V> for Call<'_, '_, '_, K, V> {
    fn forward(&mut self, record: ProcessorRecord<'_, K, V>) -> Result<(), StreamsError> {
        let meta = Meta {
            timestamp: record.timestamp,
            headers: record.headers,
            raw_key: None,
            raw_value: None,
            record: self.meta.record,
        };
        let pushed = self.children.push(self.cx, record.key, record.value, &meta);
        self.cx.state.operator = self.id;
        pushed
    }

    fn headers(&self) -> &[RecordHeader] {
        self.meta.headers
    }

    fn timestamp(&self) -> i64 {
        self.meta.timestamp
    }

    fn origin(&self) -> Option<Origin<'_>> {
        self.meta.origin(&self.cx.state.origin_topic)
    }

    fn schedule(&mut self, interval_ms: i64, clock: PunctuationType) -> PunctuationId {
        let id = self.cx.task.schedule(interval_ms, clock);
        self.cx.state.punctuated_by(self.id, vec![id]);
        id
    }

    fn cancel(&mut self, id: PunctuationId) {
        self.cx.task.cancel_punctuation(id);
    }

    fn stores(&mut self) -> &mut dyn Stores {
        self.cx.task
    }

    fn stream_time(&self) -> i64 {
        self.cx.task.stream_time()
    }

    fn wall_clock_ms(&self) -> i64 {
        self.cx.task.wall_clock_ms()
    }

    fn task_id(&self) -> TaskId {
        self.cx.task.task_id()
    }

    fn request_commit(&mut self) {
        self.cx.task.request_commit();
    }
}

/// Schedules for a processor that is being made.
struct Scheduling<'c, 't> {
    task: &'c mut TaskContext<'t>,
    scheduled: Vec<PunctuationId>,
}

impl Schedules for Scheduling<'_, '_> {
    fn every(&mut self, interval_ms: i64, clock: PunctuationType) -> PunctuationId {
        let id = self.task.schedule(interval_ms, clock);
        self.scheduled.push(id);
        id
    }

    fn id(&self) -> TaskId {
        self.task.task_id()
    }
}

/// Runs a processor.
pub(crate) struct Process<K, V, P: Processor<K, V>, F> {
    pub(crate) id: NodeId,
    pub(crate) on_error: OnError,
    pub(crate) stores: Vec<ConnectedStore>,
    pub(crate) make: Arc<F>,
    /// Made when the task starts.
    pub(crate) processor: Option<P>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<P::Key, P::Value>,
}

impl<K: Data, V: Data, P: Processor<K, V>, F> Node<K, V> for Process<K, V, P, F>
where
    F: Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let Some(processor) = &mut self.processor else {
            return Err(not_made(cx));
        };
        let mut call = Call {
            id: self.id,
            cx,
            children: &mut self.children,
            meta: *meta,
        };
        let mut context = ProcessorContext { backend: &mut call };
        let result = processor.process(&mut context, record(key, value, meta));
        handled(cx, &self.on_error, meta, result)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }

    fn init(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        self.processor = Some(made(cx, self.id, &self.stores, self.make.as_ref())?);
        Ok(())
    }

    fn punctuate(
        &mut self,
        cx: &mut Cx<'_, '_>,
        punctuation: Punctuation,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let Some(processor) = &mut self.processor else {
            return Err(not_made(cx));
        };
        let meta = Meta {
            timestamp: punctuation.timestamp,
            ..Meta::at_commit()
        };
        let mut call = Call {
            id: self.id,
            cx,
            children: &mut self.children,
            meta,
        };
        let mut context = ProcessorContext { backend: &mut call };
        let result = processor.punctuate(&mut context, punctuation);
        handled(cx, &OnError::Fail, &meta, result)
    }
}

/// Runs a processor that keeps the keys.
pub(crate) struct ProcessValues<K, V, P: ValueProcessor<K, V>, F> {
    pub(crate) id: NodeId,
    pub(crate) on_error: OnError,
    pub(crate) stores: Vec<ConnectedStore>,
    pub(crate) make: Arc<F>,
    /// Made when the task starts.
    pub(crate) processor: Option<P>,
    pub(crate) input: PhantomData<fn(V)>,
    pub(crate) children: Children<K, P::Value>,
}

impl<K: Data, V: Data, P: ValueProcessor<K, V>, F> Node<K, V> for ProcessValues<K, V, P, F>
where
    F: Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError> + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let Some(processor) = &mut self.processor else {
            return Err(not_made(cx));
        };
        let mut call = Call {
            id: self.id,
            cx,
            children: &mut self.children,
            meta: *meta,
        };
        let inner = ProcessorContext { backend: &mut call };
        let mut context = ValueContext {
            inner,
            key: Some(key),
        };
        let result = processor.process(&mut context, record(key, value, meta));
        handled(cx, &self.on_error, meta, result)
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        self.children.flush(cx)
    }

    fn init(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        self.processor = Some(made(cx, self.id, &self.stores, self.make.as_ref())?);
        Ok(())
    }

    fn punctuate(
        &mut self,
        cx: &mut Cx<'_, '_>,
        punctuation: Punctuation,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        let Some(processor) = &mut self.processor else {
            return Err(not_made(cx));
        };
        let meta = Meta {
            timestamp: punctuation.timestamp,
            ..Meta::at_commit()
        };
        let mut call = Call {
            id: self.id,
            cx,
            children: &mut self.children,
            meta,
        };
        let inner = ProcessorContext { backend: &mut call };
        let mut context = ValueContext { inner, key: None };
        let result = processor.punctuate(&mut context, punctuation);
        handled(cx, &OnError::Fail, &meta, result)
    }
}

fn record<'a, K, V>(key: &'a K, value: &'a V, meta: &Meta<'a>) -> ProcessorRecord<'a, K, V> {
    ProcessorRecord {
        key,
        value,
        timestamp: meta.timestamp,
        headers: meta.headers,
    }
}

pub(super) fn made<P>(
    cx: &mut Cx<'_, '_>,
    id: NodeId,
    stores: &[ConnectedStore],
    make: &dyn Fn(&mut ProcessorInit<'_>) -> Result<P, ProcessorError>,
) -> Result<P, StreamsError> {
    let mut scheduling = Scheduling {
        task: cx.task,
        scheduled: Vec::new(),
    };
    let made = make(&mut ProcessorInit {
        stores,
        task: &mut scheduling,
    });
    let scheduled = scheduling.scheduled;
    cx.state.punctuated_by(id, scheduled);
    made.map_err(|error| match error.downcast::<StreamsError>() {
        Ok(error) => *error,
        Err(error) => StreamsError::topology(format!(
            "operator {} cannot start: {error}",
            cx.state.operator_name()
        )),
    })
}

fn not_made(cx: &Cx<'_, '_>) -> StreamsError {
    StreamsError::topology(format!(
        "operator {} was given a record before its task started",
        cx.state.operator_name()
    ))
}

/// An error of what comes next stays what it is; one of the processor's own is up to the policy.
pub(super) fn handled(
    cx: &mut Cx<'_, '_>,
    on_error: &OnError,
    meta: &Meta<'_>,
    result: Result<(), ProcessorError>,
) -> Result<(), StreamsError> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => match error.downcast::<StreamsError>() {
            Ok(error) => Err(*error),
            Err(error) => refused(cx, on_error, meta, error.to_string()),
        },
    }
}

impl<K, V> fmt::Debug for ProcessorContext<'_, K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProcessorContext")
            .field("task_id", &self.task_id())
            .finish_non_exhaustive()
    }
}

impl<K, V> fmt::Debug for ValueContext<'_, '_, K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ValueContext")
            .field("task_id", &self.inner.task_id())
            .finish_non_exhaustive()
    }
}
