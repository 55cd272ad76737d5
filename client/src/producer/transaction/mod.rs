//! Transactions: records to many partitions and positions of groups that become visible together, or not at all.

mod reaction;
mod requests;
mod state;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moldau_protocol::KString;

use crate::client::Client;
use crate::error::ClientError;
use crate::offsets::GroupMetadata;
use crate::producer::{Acks, Delivery, Producer, ProducerConfig, ProducerRecord};
use crate::topic_partition::{OffsetAndMetadata, TopicPartition};

pub(crate) use crate::producer::transaction::reaction::Step;
pub(crate) use crate::producer::transaction::requests::{CONCURRENT_WAIT, TransactionRequests};
use crate::producer::transaction::state::Identity;
pub(crate) use crate::producer::transaction::state::TransactionState;

/// Sends records in transactions (KIP-98), one after another.
///
/// Only one producer at a time has a transactional id: starting another fences this one. With the cluster's
/// `transaction.version` 2 (KIP-890) partitions join a transaction by being sent to and every end gives a new epoch;
/// with version 1 the coordinator is told of them first. Which one holds is found out when the producer starts.
///
/// ```no_run
/// use moldau_client::{Client, ClientError, Consumer, ProducerConfig, ProducerRecord};
///
/// # async fn example(client: Client, consumer: Consumer) -> Result<(), ClientError> {
/// let mut producer = client.transactional_producer("billing-0", ProducerConfig::default()).await?;
/// producer.begin()?;
/// producer.send(ProducerRecord::new("invoices", None, Some("42".into()))).await?;
/// let positions = [];
/// producer.send_offsets(&consumer.group_metadata()?, &positions).await?;
/// match producer.commit().await {
///     Err(ClientError::MustAbort { .. }) => producer.abort().await?,
///     result => result?,
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// All calls give one of four kinds, each of which names the transactional id and says what to do:
/// [`MustAbort`](ClientError::MustAbort) (abort, then begin again), [`ProducerFenced`](ClientError::ProducerFenced)
/// and [`ProducerBroken`](ClientError::ProducerBroken) (close), [`TransactionState`](ClientError::TransactionState)
/// (the call does not fit), and those that [`is_retriable`](ClientError::is_retriable) tells of: make the same call
/// again.
///
/// A producer that is dropped with an open transaction leaves it to the coordinator, which aborts it after
/// `transaction_timeout_ms`; [`close`](Self::close) aborts it at once.
pub struct TransactionalProducer {
    producer: Producer,
    state: Arc<TransactionState>,
    requests: TransactionRequests,
    timeout_ms: i32,
}

impl TransactionalProducer {
    /// Takes the transactional id over and waits until its last transaction is over.
    pub(crate) async fn start(
        client: Client,
        transactional_id: &str,
        config: ProducerConfig,
    ) -> Result<Self, ClientError> {
        check_config(transactional_id, &config)?;
        let transactional_id = KString::copy_from(transactional_id);
        let timeout_ms = i32::try_from(config.transaction_timeout_ms).unwrap_or(i32::MAX);
        let limit = Duration::from_millis(config.max_block_ms);
        let requests = TransactionRequests::new(client.clone(), transactional_id.clone(), limit);
        let producer = requests.init(timeout_ms, None).await.map_err(|error| {
            let reaction = reaction::reaction(Step::Init, &error);
            reaction::wrapped(&transactional_id, reaction, error)
        })?;
        let identity = Identity {
            producer,
            is_version_2: requests.is_version_2().await?,
        };
        let state = Arc::new(TransactionState::new(transactional_id, identity));
        let transaction = (Arc::clone(&state), requests.clone());
        Ok(Self {
            producer: Producer::start_with(client, config, Some(transaction)),
            state,
            requests,
            timeout_ms,
        })
    }

    /// The transactional id.
    #[must_use]
    pub fn transactional_id(&self) -> &str {
        &self.state.transactional_id
    }

    /// Whether a transaction is open: begun, and not ended yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state.is_open()
    }

    /// Opens a transaction. Asks nobody.
    ///
    /// # Errors
    ///
    /// One is open already, or this producer cannot go on.
    pub fn begin(&mut self) -> Result<(), ClientError> {
        self.state.begin()
    }

    /// Copies a record into its partition's batch, as [`Producer::send`] does. Its delivery tells where it was stored,
    /// which says nothing yet of the transaction.
    ///
    /// # Errors
    ///
    /// No transaction is open or it must be aborted, the topic or partition does not exist, the record is too large,
    /// or `max_block_ms` passed. Only the first two touch the transaction.
    pub async fn send(&self, record: impl Borrow<ProducerRecord>) -> Result<Delivery, ClientError> {
        self.state.check_open()?;
        self.producer.send(record).await
    }

    /// Stores positions of a group with the transaction, in place of
    /// [`Consumer::commit`](crate::Consumer::commit). The group's metadata (see
    /// [`Consumer::group_metadata`](crate::Consumer::group_metadata)) lets the coordinator refuse a consumer that has
    /// lost the partitions (KIP-447).
    ///
    /// # Errors
    ///
    /// See [`TransactionalProducer`].
    pub async fn send_offsets(
        &self,
        group: &GroupMetadata,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        self.state.check_open()?;
        if offsets.is_empty() {
            return Ok(());
        }
        let result = self.store_offsets(group, offsets).await;
        result.map_err(|error| match self.state.failed(Step::SendOffsets, error) {
            // Whether a broker took the positions is unknown, and it may still do so.
            error if error.is_retriable() => self.state.must_abort(error),
            error => error,
        })
    }

    async fn store_offsets(
        &self,
        group: &GroupMetadata,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        let identity = self.state.identity();
        if identity.is_version_2 {
            self.state.begun();
        } else if !self.state.has_group(&group.group_id) {
            self.requests
                .add_group(identity.producer, &group.group_id)
                .await?;
            self.state.group_added(group.group_id.clone());
        }
        self.requests.commit_offsets(identity, group, offsets).await
    }

    /// Sends everything now and waits until it is answered. [`commit`](Self::commit) does so by itself.
    ///
    /// # Errors
    ///
    /// The first failure of any record since the last flush.
    pub async fn flush(&self) -> Result<(), ClientError> {
        self.producer.flush().await
    }

    /// Sends everything and makes the transaction visible.
    ///
    /// # Errors
    ///
    /// See [`TransactionalProducer`]. After an error that is retriable the outcome is not known;
    /// then only `commit` again finds it out.
    pub async fn commit(&mut self) -> Result<(), ClientError> {
        self.state.check_commit()?;
        // What fails here is in the state already.
        let _ = self.producer.flush().await;
        self.state.nothing_is_added().await;
        self.state.start_ending(true)?;
        self.end(true).await
    }

    /// Drops what was not sent yet, and has the rest of the transaction never become visible.
    ///
    /// # Errors
    ///
    /// See [`TransactionalProducer`]. After an error that is retriable, abort again.
    pub async fn abort(&mut self) -> Result<(), ClientError> {
        self.state.start_ending(false)?;
        self.producer.drop_waiting().await;
        self.state.nothing_is_added().await;
        self.end(false).await
    }

    async fn end(&self, committed: bool) -> Result<(), ClientError> {
        let ending = self.state.ending();
        let mut producer = ending.identity.producer;
        let result = async {
            if ending.is_begun {
                producer = self.requests.end(ending.identity, committed).await?;
                // If the rest fails, another attempt must not end the transaction a second time.
                self.state.end_told(producer);
            }
            let has_new_epoch = producer != ending.identity.producer;
            if ending.needs_new_epoch && !has_new_epoch {
                let current = Some(producer);
                producer = self.requests.init(self.timeout_ms, current).await?;
            }
            Ok(producer)
        };
        match result.await {
            Ok(producer) => {
                self.state.ended(producer);
                Ok(())
            }
            Err(error) => Err(self.state.failed(Step::End, error)),
        }
    }

    /// Aborts an open transaction and ends the producer, within `limit`; what is not done then is left to the
    /// coordinator and to `transaction_timeout_ms`.
    pub async fn close(mut self, limit: Duration) {
        let closing = async {
            if self.is_open()
                && let Err(error) = self.abort().await
            {
                tracing::warn!(%error, "the transaction of a closing producer is left to its time-out");
            }
        };
        if tokio::time::timeout(limit, closing).await.is_err() {
            tracing::warn!(
                transactional_id = %self.state.transactional_id,
                "closing took too long; the open transaction is left to its time-out"
            );
        }
        self.producer.close_within(limit).await;
    }
}

impl fmt::Debug for TransactionalProducer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TransactionalProducer")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

fn check_config(transactional_id: &str, config: &ProducerConfig) -> Result<(), ClientError> {
    if transactional_id.is_empty() {
        return Err(ClientError::Config {
            setting: "transactional_id",
            reason: "it is empty; give each producer that runs at the same time its own".to_owned(),
        });
    }
    if config.acks != Acks::All || !config.enable_idempotence {
        return Err(ClientError::Config {
            setting: "acks",
            reason: format!(
                "the transactional producer \"{transactional_id}\" needs `acks` all and `enable_idempotence`"
            ),
        });
    }
    Ok(())
}
