//! What can be asked without changing anything: DescribeTransactions and ListTransactions (KIP-664).

use std::collections::BTreeMap;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::describe_transactions::{
    TopicData, TransactionState as DescribedTransaction,
};
use moldau_protocol::messages::list_transactions::TransactionState as ListedTransaction;
use moldau_protocol::types::KString;

use super::metadata::NO_TIMESTAMP;
use super::{TransactionCoordinator, TransactionMetadata, TransactionState};

/// Which transactions ListTransactions is to give.
#[derive(Clone, Debug, Default)]
pub struct TransactionFilter {
    /// Empty for all.
    pub states: Vec<TransactionState>,
    /// Empty for all.
    pub producer_ids: Vec<i64>,
    /// Only transactions that run for longer than this; negative for all.
    pub duration_ms: i64,
}

impl TransactionCoordinator {
    /// How many transactional ids are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no transactional id is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// What is known of an id.
    #[must_use]
    pub fn metadata(&self, transactional_id: &str) -> Option<&TransactionMetadata> {
        self.ids.get(transactional_id).map(|entry| &entry.metadata)
    }

    /// DescribeTransactions v0, for one id.
    #[must_use]
    pub fn describe_transaction(&self, transactional_id: &KString) -> DescribedTransaction {
        let Some(metadata) = self.metadata(transactional_id) else {
            return DescribedTransaction {
                error_code: ErrorCode::TransactionalIdNotFound.code(),
                transactional_id: transactional_id.clone(),
                ..Default::default()
            };
        };
        let mut topics: BTreeMap<&KString, Vec<i32>> = BTreeMap::new();
        for (topic, index) in &metadata.partitions {
            topics.entry(topic).or_default().push(*index);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| TopicData {
            topic: topic.clone(),
            partitions,
            ..Default::default()
        });
        DescribedTransaction {
            transactional_id: transactional_id.clone(),
            transaction_state: metadata.state.name().into(),
            transaction_timeout_ms: metadata.timeout_ms,
            transaction_start_time_ms: metadata.start_timestamp_ms,
            producer_id: metadata.producer_id.0,
            producer_epoch: metadata.producer_epoch.0,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    /// ListTransactions v0–2: this partition's part of the list.
    #[must_use]
    pub fn list_transactions(
        &self,
        filter: &TransactionFilter,
        now_ms: i64,
    ) -> Vec<ListedTransaction> {
        let wanted = self.ids.iter().filter(|(_, entry)| {
            let metadata = &entry.metadata;
            let ran_ms = if metadata.start_timestamp_ms == NO_TIMESTAMP {
                0
            } else {
                now_ms.saturating_sub(metadata.start_timestamp_ms)
            };
            (filter.states.is_empty() || filter.states.contains(&metadata.state))
                && (filter.producer_ids.is_empty()
                    || filter.producer_ids.contains(&metadata.producer_id.0))
                && (filter.duration_ms < 0 || ran_ms > filter.duration_ms)
        });
        let listed = wanted.map(|(transactional_id, entry)| ListedTransaction {
            transactional_id: transactional_id.clone(),
            producer_id: entry.metadata.producer_id.0,
            transaction_state: entry.metadata.state.name().into(),
            ..Default::default()
        });
        listed.collect()
    }
}
