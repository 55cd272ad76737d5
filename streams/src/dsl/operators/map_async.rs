//! Mapping by futures: many at a time, with results in the order of the records.

use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moldau_client::{KString, RecordHeader};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;

use super::fallible::refused;
use crate::dsl::data::Data;
use crate::dsl::node::{Children, Cx, Meta, Node, NodeId};
use crate::dsl::on_error::OnError;
use crate::dsl::processor::Punctuation;
use crate::runtime::{PunctuationId, PunctuationType, Record, StreamsError};

/// What makes a key and value of a record, or says why not.
pub(crate) type Making<K, V> = Pin<Box<dyn Future<Output = Result<(K, V), String>> + Send>>;

/// Starts a future for each record and pushes what they make in the order of the records.
///
/// At most `limit` are under way; then the task waits for the oldest one. A commit waits for all
/// of them, so that what is committed has all its results.
pub(crate) struct MapAsync<K, V, K2, V2, F> {
    pub(crate) id: NodeId,
    pub(crate) start: Arc<F>,
    pub(crate) on_error: OnError,
    pub(crate) limit: usize,
    pub(crate) timeout: Duration,
    /// Whether the key stays, and with it its bytes.
    pub(crate) keeps_key: bool,
    pub(crate) under_way: VecDeque<UnderWay<K2, V2>>,
    pub(crate) executor: Option<Executor>,
    /// Looks after results while there is no input.
    pub(crate) look: Option<PunctuationId>,
    pub(crate) input: PhantomData<fn(K, V)>,
    pub(crate) children: Children<K2, V2>,
}

/// A record whose future was started.
pub(crate) struct UnderWay<K, V> {
    made: JoinHandle<Result<(K, V), String>>,
    timestamp: i64,
    headers: Vec<RecordHeader>,
    raw_key: Option<Bytes>,
    record: Option<Record>,
    topic: KString,
    offset: i64,
}

impl<K, V> Drop for UnderWay<K, V> {
    fn drop(&mut self) {
        // A task that ends takes its futures with it.
        self.made.abort();
    }
}

/// Where futures run.
pub(crate) enum Executor {
    /// Beside the task, in the runtime of the network.
    Beside(Handle),
    /// Only while the task waits for them, so that a test sees the same each time.
    Waiting(Option<Runtime>),
}

impl Executor {
    fn new(cx: &Cx<'_, '_>) -> Result<Self, StreamsError> {
        if let Some(handle) = cx.task.async_runtime() {
            return Ok(Self::Beside(handle.clone()));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            StreamsError::topology(format!(
                "operator {} cannot start a runtime for its futures: {error}",
                cx.state.operator_name()
            ))
        })?;
        Ok(Self::Waiting(Some(runtime)))
    }

    fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        match self {
            Self::Beside(handle) => Some(handle.spawn(future)),
            Self::Waiting(runtime) => Some(runtime.as_ref()?.spawn(future)),
        }
    }

    fn wait<T: Send>(&self, future: impl Future<Output = T> + Send) -> Option<T> {
        match self {
            Self::Beside(handle) => Some(handle.block_on(future)),
            Self::Waiting(runtime) => {
                let runtime = runtime.as_ref()?;
                if Handle::try_current().is_err() {
                    return Some(runtime.block_on(future));
                }
                // The test itself runs in a runtime, in which one cannot wait.
                let waited =
                    std::thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join());
                Some(waited.unwrap_or_else(|panic| resume_unwind(panic)))
            }
        }
    }

    const fn is_beside(&self) -> bool {
        matches!(self, Self::Beside(_))
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if let Self::Waiting(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            // Also where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

impl<K: Data, V: Data, K2: Data, V2: Data, F> Node<K, V> for MapAsync<K, V, K2, V2, F>
where
    F: Fn(&K, &V) -> Making<K2, V2> + Data,
{
    fn process(
        &mut self,
        cx: &mut Cx<'_, '_>,
        key: &K,
        value: &V,
        meta: &Meta<'_>,
    ) -> Result<(), StreamsError> {
        cx.state.operator = self.id;
        if self.executor.as_ref().is_some_and(Executor::is_beside) {
            self.push_finished(cx)?;
        }
        while self.under_way.len() >= self.limit.max(1) {
            self.push_first(cx)?;
        }
        let (making, timeout) = ((self.start)(key, value), self.timeout);
        let limited = async move {
            let made = tokio::time::timeout(timeout, making).await;
            made.unwrap_or_else(|_| Err(format!("it did not end within {timeout:?}")))
        };
        let executor = match &mut self.executor {
            Some(executor) => executor,
            none => none.insert(Executor::new(cx)?),
        };
        let Some(made) = executor.spawn(limited) else {
            return Ok(());
        };
        self.under_way.push_back(UnderWay {
            made,
            timestamp: meta.timestamp,
            headers: meta.headers.to_vec(),
            raw_key: meta.raw_key.filter(|_| self.keeps_key).cloned(),
            record: meta.record.cloned(),
            topic: cx.state.origin_topic.clone(),
            offset: cx.state.origin_offset,
        });
        if self.look.is_none() {
            let clock = PunctuationType::WallClockTime;
            let look = cx.task.schedule(LOOK_INTERVAL_MS, clock);
            cx.state.punctuated_by(self.id, vec![look]);
            self.look = Some(look);
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        if cx.state.flushes(self.id) {
            self.push_all(cx)?;
        }
        self.children.flush(cx)
    }

    fn punctuate(&mut self, cx: &mut Cx<'_, '_>, _: Punctuation) -> Result<(), StreamsError> {
        if self.executor.as_ref().is_some_and(Executor::is_beside) {
            self.push_finished(cx)
        } else {
            self.push_all(cx)
        }
    }
}

impl<K, V, K2: Data, V2: Data, F> MapAsync<K, V, K2, V2, F> {
    fn push_all(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        while !self.under_way.is_empty() {
            self.push_first(cx)?;
        }
        Ok(())
    }

    /// Pushes the oldest results, as far as they are there.
    fn push_finished(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        let is_finished = |first: &UnderWay<K2, V2>| first.made.is_finished();
        while self.under_way.front().is_some_and(is_finished) {
            self.push_first(cx)?;
        }
        Ok(())
    }

    /// Waits for the oldest result and pushes it.
    fn push_first(&mut self, cx: &mut Cx<'_, '_>) -> Result<(), StreamsError> {
        let (Some(mut first), Some(executor)) = (self.under_way.pop_front(), &self.executor) else {
            return Ok(());
        };
        if let Some(look) = self.look.take_if(|_| self.under_way.is_empty()) {
            cx.task.cancel_punctuation(look);
            cx.state.punctuations.remove(&look);
        }
        cx.state.operator = self.id;
        let made = match executor.wait(&mut first.made) {
            Some(Ok(made)) => made,
            Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
            _ => Err("its future was given up".to_owned()),
        };
        // What comes next sees the record that this was made of, not the one at work.
        let topic = std::mem::replace(&mut cx.state.origin_topic, first.topic.clone());
        let offset = std::mem::replace(&mut cx.state.origin_offset, first.offset);
        let meta = Meta {
            timestamp: first.timestamp,
            headers: &first.headers,
            raw_key: first.raw_key.as_ref(),
            raw_value: None,
            record: first.record.as_ref(),
        };
        let pushed = match made {
            Ok((key, value)) => self.children.push(cx, &key, &value, &meta),
            Err(reason) => refused(cx, &self.on_error, &meta, reason),
        };
        cx.state.origin_topic = topic;
        cx.state.origin_offset = offset;
        cx.state.operator = self.id;
        pushed
    }
}

/// How often results are looked for while no record comes.
const LOOK_INTERVAL_MS: i64 = 10;
