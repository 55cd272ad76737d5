//! What the sending task asks for besides producing: partitions of a transaction, metadata, a producer id.

use std::time::Duration;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::init_producer_id::InitProducerIdRequest;
use tokio::time::Instant;

use super::{Event, LONGEST_SLEEP, Ready, Sender};
use crate::client::{Client, Target};
use crate::error::ClientError;
use crate::producer::batch::ProducerId;
use crate::producer::transaction::CONCURRENT_WAIT;

impl Sender {
    /// Asks the coordinator to add partitions to the transaction, one request at a time. Gives when to look again.
    pub(super) fn add_to_transaction(&mut self, queues: Vec<usize>, now: Instant) -> Instant {
        let later = now + LONGEST_SLEEP;
        let Some(transaction) = &mut self.transaction else {
            return later;
        };
        if transaction.is_adding {
            return later;
        }
        if let Some(time) = transaction.add_not_before.filter(|time| *time > now) {
            return time;
        }
        let names: Vec<_> = queues
            .iter()
            .filter_map(|id| self.partitions.get(id))
            .map(|partition| partition.queue.topic_partition.clone())
            .collect();
        transaction.is_adding = true;
        transaction.state.start_adding();
        let producer = transaction.state.identity().producer;
        let requests = transaction.requests.clone();
        self.events.push(Box::pin(async move {
            let result = requests.add_partitions(producer, &names).await;
            Event::Added(queues, result)
        }));
        later
    }

    pub(super) fn added(&mut self, queues: &[usize], result: Result<(), ClientError>) {
        let Some(transaction) = &mut self.transaction else {
            return;
        };
        transaction.is_adding = false;
        transaction.add_not_before = result.as_ref().err().map(|error| {
            let wait = match error.code() {
                Some(ErrorCode::ConcurrentTransactions) => CONCURRENT_WAIT,
                _ => Duration::from_millis(self.config.retry_backoff_ms),
            };
            Instant::now() + wait
        });
        if let Err(error) = &result {
            for id in queues {
                if let Some(partition) = self.partitions.get_mut(id) {
                    partition.last_error = Some(error.clone());
                }
            }
        }
        transaction.state.added(queues, result);
    }

    pub(super) fn refresh(&mut self, now: Instant) {
        if self.is_refreshing || self.refresh_not_before.is_some_and(|time| now < time) {
            return;
        }
        self.is_refreshing = true;
        self.refresh_not_before = Some(now + Duration::from_millis(self.config.retry_backoff_ms));
        let client = self.client.clone();
        self.events.push(Box::pin(async move {
            let seen = client.metadata().snapshot().version;
            client.refresh_metadata(seen).await;
            Event::Refreshed
        }));
    }

    pub(super) fn ask_producer_id(&mut self, now: Instant) -> Ready {
        if self.is_asking_producer_id {
            return Ready::AfterAnswer;
        }
        if let Some(not_before) = self.producer_id_not_before.filter(|time| *time > now) {
            return Ready::At(not_before);
        }
        self.is_asking_producer_id = true;
        let client = self.client.clone();
        self.events.push(Box::pin(async move {
            Event::ProducerId(new_producer_id(&client).await)
        }));
        Ready::AfterAnswer
    }

    pub(super) fn take_producer_id(&mut self, result: Result<ProducerId, ClientError>) {
        self.is_asking_producer_id = false;
        match result {
            Ok(producer) => self.producer_id = Some(producer),
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "no producer id yet, asking again");
                let wait = Duration::from_millis(self.config.retry_backoff_ms);
                self.producer_id_not_before = Some(Instant::now() + wait);
            }
            Err(error) => {
                for partition in self.partitions.values_mut() {
                    for batch in partition.take_all() {
                        self.accumulator.complete(batch, Err(error.clone()));
                    }
                }
            }
        }
    }
}

async fn new_producer_id(client: &Client) -> Result<ProducerId, ClientError> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let response = client.request(Target::Any, request).await?;
    ClientError::check(response.error_code, || "producer id".to_owned())?;
    Ok(ProducerId {
        id: response.producer_id,
        epoch: response.producer_epoch,
    })
}
