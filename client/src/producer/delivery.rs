//! The outcome of a batch, shared by all its records.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::ClientError;
use crate::producer::record::RecordMetadata;
use crate::topic_partition::TopicPartition;

/// The outcome of one record, once its batch is answered. May be dropped; the record is sent all the same.
///
/// All records of a batch share one state; a delivery itself allocates nothing.
pub struct Delivery {
    batch: Arc<BatchOutcome>,
    index: u32,
    timestamp: i64,
    slot: Option<usize>,
}

impl Delivery {
    pub(crate) const fn new(batch: Arc<BatchOutcome>, index: u32, timestamp: i64) -> Self {
        Self {
            batch,
            index,
            timestamp,
            slot: None,
        }
    }

    /// The outcome if it is known already.
    #[must_use]
    pub fn try_result(&self) -> Option<Result<RecordMetadata, ClientError>> {
        let state = self.batch.lock();
        state.result.as_ref().map(|result| self.metadata(result))
    }

    fn metadata(
        &self,
        result: &Result<Stored, ClientError>,
    ) -> Result<RecordMetadata, ClientError> {
        let stored = result.as_ref().map_err(Clone::clone)?;
        let offset = match stored.base_offset {
            Some(base) => base + i64::from(self.index),
            None => -1,
        };
        Ok(RecordMetadata {
            topic: self.batch.topic_partition.topic.clone(),
            partition: self.batch.topic_partition.partition,
            offset,
            timestamp: stored.log_append_time.unwrap_or(self.timestamp),
        })
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ClientError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut state = this.batch.lock();
        if let Some(result) = &state.result {
            return Poll::Ready(this.metadata(result));
        }
        let waker = context.waker();
        match this.slot.and_then(|slot| state.wakers.get_mut(slot)) {
            Some(known) => known.clone_from(waker),
            None => {
                this.slot = Some(state.wakers.len());
                state.wakers.push(waker.clone());
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Delivery")
            .field("topic_partition", &self.batch.topic_partition)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Where a batch was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Offset of the first record, where the broker told it.
    pub(crate) base_offset: Option<i64>,
    /// The broker's time, for topics with `LogAppendTime`.
    pub(crate) log_append_time: Option<i64>,
}

/// The outcome of one batch. Set once; whoever waits is woken then.
#[derive(Debug)]
pub(crate) struct BatchOutcome {
    topic_partition: TopicPartition,
    state: Mutex<OutcomeState>,
}

#[derive(Debug, Default)]
struct OutcomeState {
    result: Option<Result<Stored, ClientError>>,
    wakers: Vec<Waker>,
}

impl BatchOutcome {
    pub(crate) fn new(topic_partition: TopicPartition) -> Arc<Self> {
        Arc::new(Self {
            topic_partition,
            state: Mutex::default(),
        })
    }

    /// Sets the outcome and wakes all waiters; later calls change nothing.
    pub(crate) fn complete(&self, result: Result<Stored, ClientError>) {
        let wakers = {
            let mut state = self.lock();
            if state.result.is_some() {
                return;
            }
            state.result = Some(result);
            std::mem::take(&mut state.wakers)
        };
        for waker in wakers {
            waker.wake();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OutcomeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Arc<BatchOutcome> {
        BatchOutcome::new(TopicPartition::new("orders", 2))
    }

    #[tokio::test]
    async fn every_record_of_a_batch_gets_its_own_offset() {
        let batch = outcome();
        let deliveries: Vec<_> = (0..3)
            .map(|index| Delivery::new(Arc::clone(&batch), index, 7))
            .collect();
        assert_eq!(deliveries[0].try_result(), None);
        batch.complete(Ok(Stored {
            base_offset: Some(40),
            log_append_time: None,
        }));
        for (index, delivery) in deliveries.into_iter().enumerate() {
            let metadata = delivery.await.unwrap();
            assert_eq!(metadata.offset, 40 + index as i64);
            assert_eq!((metadata.partition, metadata.timestamp), (2, 7));
        }
    }

    #[tokio::test]
    async fn waiters_are_woken_and_the_first_outcome_stays() {
        let batch = outcome();
        let waiting = tokio::spawn(Delivery::new(Arc::clone(&batch), 0, 7));
        batch.complete(Err(ClientError::Closed { object: "producer" }));
        batch.complete(Ok(Stored {
            base_offset: Some(0),
            log_append_time: None,
        }));
        assert_eq!(
            waiting.await.unwrap(),
            Err(ClientError::Closed { object: "producer" })
        );
    }

    #[test]
    fn an_offset_the_broker_did_not_tell_is_minus_one() {
        let batch = outcome();
        let delivery = Delivery::new(Arc::clone(&batch), 3, 7);
        batch.complete(Ok(Stored {
            base_offset: None,
            log_append_time: Some(99),
        }));
        let metadata = delivery.try_result().unwrap().unwrap();
        assert_eq!((metadata.offset, metadata.timestamp), (-1, 99));
    }
}
