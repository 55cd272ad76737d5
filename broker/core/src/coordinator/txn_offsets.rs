//! Offsets that are committed in transactions: TxnOffsetCommit v0–5, and the markers that make them
//! the group's offsets or drop them.
//!
//! Their records lie in `__consumer_offsets` as batches of the transactional producer. Until its
//! marker comes they are pending: OffsetFetch that asks for stable offsets says so (KIP-447).
//! - v3: the consumer's generation and member id are checked (KIP-447)
//! - v5: the broker adds the partition to the transaction (KIP-890), before this

use bytes::Bytes;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::offset_fetch::OffsetFetchResponseGroup;
use moldau_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use moldau_protocol::messages::write_txn_markers::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    WriteTxnMarkersResponse,
};
use moldau_protocol::types::{KString, Uuid};

use super::pending::Pending;
use super::records::{ReplayError, offset_record};
use super::{Action, Coordinator, CoordinatorRecord};
use crate::consumer_group::Committer;
use crate::group::Caller;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::metadata::{MetadataImage, TopicImage};
use crate::offsets::{CommittedOffset, OffsetChange, TopicPartition};
use crate::producer_state::{Marker, VerificationGuard};

/// The producer in whose name a batch is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionalProducer {
    /// Its id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// What the batch must carry where the partition is verified.
    pub guard: Option<VerificationGuard>,
}

/// The marker that ends a producer's transaction in this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetsMarker {
    /// Whose transaction it is.
    pub producer_id: ProducerId,
    /// The epoch of the marker.
    pub producer_epoch: ProducerEpoch,
    /// How it ended, and who says so.
    pub marker: Marker,
}

/// What becomes of pending offsets when an append is committed.
#[derive(Debug)]
pub(super) enum TransactionChange {
    /// They are in the log.
    Written(ProducerId, Vec<OffsetChange>),
    /// The transaction has ended.
    Ended(ProducerId, bool),
}

impl Coordinator {
    /// TxnOffsetCommit v0–5, once the partition is known to take part in the transaction.
    pub fn txn_offset_commit(
        &mut self,
        caller: &Caller,
        request: &TxnOffsetCommitRequest,
        guard: Option<VerificationGuard>,
        image: &MetadataImage,
        now_ms: i64,
    ) -> Vec<Action> {
        let mut commit = Commit {
            group_id: request.group_id.detached(),
            allowed: self.may_commit_in_transaction(request, now_ms),
            metadata_max_bytes: self.settings.offset_metadata_max_bytes,
            now_ms,
            changes: Vec::new(),
            records: Vec::new(),
        };
        let mut topics = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let found = image.topic(&topic.name);
            let partitions = topic.partitions.iter().map(|partition| {
                let accepted = commit.partition(found.map(|topic| &**topic), partition);
                TxnOffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: accepted.err().unwrap_or(ErrorCode::None).code(),
                    ..Default::default()
                }
            });
            topics.push(TxnOffsetCommitResponseTopic {
                partitions: partitions.collect(),
                name: topic.name.clone(),
                ..Default::default()
            });
        }
        let response = TxnOffsetCommitResponse {
            topics,
            ..Default::default()
        };
        let producer = TransactionalProducer {
            producer_id: ProducerId(request.producer_id),
            producer_epoch: ProducerEpoch(request.producer_epoch),
            guard,
        };
        let change = TransactionChange::Written(producer.producer_id, commit.changes);
        let pending = Pending {
            response: Some((caller.token, response.into())),
            transaction: Some(change),
            ..Pending::default()
        };
        let mut actions = Vec::new();
        self.append_as(commit.records, Some(producer), pending, &mut actions);
        actions
    }

    /// WriteTxnMarkers for this partition of `__consumer_offsets`, which is called `topic`: the
    /// producer's pending offsets become the group's, or are dropped, once the marker is committed.
    pub fn write_marker(
        &mut self,
        caller: &Caller,
        marker: OffsetsMarker,
        (topic, partition_index): (KString, i32),
    ) -> Vec<Action> {
        let partition = WritableTxnMarkerPartitionResult {
            partition_index,
            ..Default::default()
        };
        let topic = WritableTxnMarkerTopicResult {
            name: topic,
            partitions: vec![partition],
            ..Default::default()
        };
        let result = WritableTxnMarkerResult {
            producer_id: marker.producer_id.0,
            topics: vec![topic],
            ..Default::default()
        };
        let response = WriteTxnMarkersResponse {
            markers: vec![result],
            ..Default::default()
        };
        let pending = Pending {
            response: Some((caller.token, response.into())),
            transaction: Some(TransactionChange::Ended(
                marker.producer_id,
                marker.marker.committed,
            )),
            ..Pending::default()
        };
        let id = self.begin_append(pending);
        vec![Action::AppendMarker { id, marker }]
    }

    /// Takes over one record of a transactional batch.
    ///
    /// # Errors
    /// The record is damaged. It changes nothing, so the caller may go on with the next.
    pub fn replay_in_transaction(
        &mut self,
        producer_id: ProducerId,
        key: &Bytes,
        value: Option<&Bytes>,
    ) -> Result<(), ReplayError> {
        if let Some(change) = super::records::read_offset(key, value)? {
            self.transactions.written(producer_id, vec![change]);
        }
        Ok(())
    }

    /// Takes over the marker that ends a producer's transaction.
    pub fn replay_marker(&mut self, producer_id: ProducerId, committed: bool) {
        self.apply_transaction(TransactionChange::Ended(producer_id, committed));
    }

    pub(super) fn apply_transaction(&mut self, change: TransactionChange) {
        match change {
            TransactionChange::Written(producer_id, changes) => {
                self.transactions.written(producer_id, changes);
            }
            TransactionChange::Ended(producer_id, committed) => {
                for change in self.transactions.ended(producer_id, committed) {
                    self.set_offset(change);
                }
            }
        }
    }

    /// Whether the group has an offset for the partition whose transaction is open.
    pub(super) fn is_unstable(&self, group_id: &KString, at: &TopicPartition) -> bool {
        let on_their_way = self.pending.values().any(|pending| {
            let Some(TransactionChange::Written(_, changes)) = &pending.transaction else {
                return false;
            };
            changes
                .iter()
                .any(|change| change.group_id == *group_id && change.topic_partition == *at)
        });
        on_their_way || self.transactions.has(group_id, at)
    }

    /// Whether the group has any offset whose transaction is open.
    pub(super) fn has_pending_transactions(&self, group_id: &KString) -> bool {
        let on_their_way = self.pending.values().any(|pending| {
            let Some(TransactionChange::Written(_, changes)) = &pending.transaction else {
                return false;
            };
            changes.iter().any(|change| change.group_id == *group_id)
        });
        on_their_way || self.transactions.of_group(group_id).next().is_some()
    }

    /// Answers with UNSTABLE_OFFSET_COMMIT wherever a transaction is open (OffsetFetch v7).
    #[must_use]
    pub fn only_stable(
        &self,
        mut fetched: OffsetFetchResponseGroup,
        image: &MetadataImage,
    ) -> OffsetFetchResponseGroup {
        if self.transactions.is_empty() && self.pending.is_empty() {
            return fetched;
        }
        for topic in &mut fetched.topics {
            let name = if topic.topic_id == Uuid::ZERO {
                Some(topic.name.clone())
            } else {
                let topic = image.topic_by_id(topic.topic_id);
                topic.map(|topic| topic.name.clone())
            };
            let Some(name) = name else { continue };
            for partition in &mut topic.partitions {
                let at = TopicPartition {
                    topic: name.clone(),
                    partition: partition.partition_index,
                };
                if partition.error_code == ErrorCode::None.code()
                    && self.is_unstable(&fetched.group_id, &at)
                {
                    partition.error_code = ErrorCode::UnstableOffsetCommit.code();
                    partition.committed_offset = -1;
                    partition.committed_leader_epoch = -1;
                    partition.metadata = Some(KString::EMPTY);
                }
            }
        }
        fetched
    }

    fn may_commit_in_transaction(
        &mut self,
        request: &TxnOffsetCommitRequest,
        now_ms: i64,
    ) -> Result<Option<Committer>, ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if let Some(group) = self.consumer_groups.get(&request.group_id) {
            let committer = group.transactional_committer(
                &request.member_id,
                request.group_instance_id.as_ref(),
                request.generation_id,
            );
            return committer.map(Some).map_err(in_words_of_generations);
        }
        match self.groups.get_mut(&request.group_id) {
            Some(group) => group
                .commit_offsets_in_transaction(
                    &request.member_id,
                    request.group_instance_id.as_ref(),
                    request.generation_id,
                    now_ms,
                )
                .map(|()| None),
            None if request.generation_id < 0 => Ok(None),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }
}

/// A commit while its partitions are gone through.
struct Commit {
    group_id: KString,
    /// Who commits; `None` if that may commit whatever it likes.
    allowed: Result<Option<Committer>, ErrorCode>,
    metadata_max_bytes: usize,
    now_ms: i64,
    changes: Vec<OffsetChange>,
    records: Vec<CoordinatorRecord>,
}

impl Commit {
    fn partition(
        &mut self,
        topic: Option<&TopicImage>,
        partition: &TxnOffsetCommitRequestPartition,
    ) -> Result<(), ErrorCode> {
        let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let index = usize::try_from(partition.partition_index).ok();
        if index.is_none_or(|index| index >= topic.partitions.len()) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let committer = self.allowed.as_ref().map_err(|code| *code)?;
        if let Some(committer) = committer {
            let allowed = committer.may_commit(topic.id, partition.partition_index);
            allowed.map_err(in_words_of_generations)?;
        }
        let metadata = partition.committed_metadata.as_ref();
        if metadata.is_some_and(|metadata| metadata.len() > self.metadata_max_bytes) {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        let change = OffsetChange {
            group_id: self.group_id.clone(),
            topic_partition: TopicPartition {
                topic: topic.name.clone(),
                partition: partition.partition_index,
            },
            committed: Some(CommittedOffset {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: metadata.map(KString::detached).unwrap_or_default(),
                commit_timestamp_ms: self.now_ms,
                expire_timestamp_ms: None,
                topic_id: topic.id,
            }),
        };
        self.records
            .push(offset_record(&change).map_err(|_| ErrorCode::UnknownServerError)?);
        self.changes.push(change);
        Ok(())
    }
}

/// TxnOffsetCommit knows generations only, also for members of the new protocol.
const fn in_words_of_generations(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::StaleMemberEpoch => ErrorCode::IllegalGeneration,
        code => code,
    }
}
