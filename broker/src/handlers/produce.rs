//! Produce v0–13 (key 0).
//!
//! Appends one record batch to each partition.
//! - v0–2 are advertised but refused: the connection is closed (see ApiVersions)
//! - v3: `transactional_id`; exactly one batch per partition, in format 2
//! - v7: zstd (KIP-110)
//! - v8: `record_errors` and `error_message` name what is wrong (KIP-467)
//! - v11: TRANSACTION_ABORTABLE is understood (KIP-890)
//! - v12: the broker adds partitions to the transaction (KIP-890)
//! - v13: topics by id (KIP-516)
//!
//! `acks=0` is not answered, and closes the connection when it fails. `acks=1` is answered when the batch is
//! written, `acks=-1` when it is committed.
//!
//! The first transactional batch in a partition waits until the coordinator has confirmed that the partition belongs to
//! the transaction.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moldau_core::Rejection;
use moldau_core::ids::{ProducerEpoch, ProducerId};
use moldau_core::partition::{
    BatchSummary, ProduceRules, RecordRejection, Treatment, validate_batch,
};
use moldau_protocol::batch::{
    BATCH_HEADER_SIZE, BatchError, BatchHeader, BatchIter, Compression, RecordBatch,
    RecordBatchBuilder,
};
use moldau_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceResponse,
};
use moldau_protocol::{ErrorCode, KString, Records, Uuid};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::transaction_check::{ClientKind, Guarded, TransactionCheck};
use super::{Admission, Answer, RequestContext};
use crate::node::Node;
use crate::runtime::{Append, AppendResult, Appended, MAX_COPIED, Partition, now_ms};

/// Puts every batch into the queue of its writer; what is returned waits for the outcome.
pub(super) async fn start(
    node: &Arc<Node>,
    context: RequestContext,
    request: ProduceRequest,
) -> Admission {
    if context.version < MIN_VERSION {
        return Admission::close(format!(
            "Produce v{} is not served, use v{MIN_VERSION} or later",
            context.version
        ));
    }
    let rules = RequestRules {
        version: context.version,
        transactional: request.transactional_id.is_some(),
        guards: guards(node, &context, &request).await,
        acks: request.acks,
        copies: records_size(&request) < context.frame_size / MAX_KEPT_PER_BYTE,
        now_ms: now_ms(),
        limit: Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)),
    };
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        let name = topic_name(node, context.version, topic.name, topic.topic_id);
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let outcome = match &name {
                Ok(name) => rules.queue(node, name, data).await,
                Err(code) => Outcome::Refused(Refusal::from(*code)),
            };
            partitions.push((index, outcome));
        }
        topics.push(Topic {
            name: name.unwrap_or_default(),
            id: topic.topic_id,
            partitions,
        });
    }
    Admission::Running(Box::pin(finish(
        topics,
        request.acks,
        Instant::now() + rules.limit,
    )))
}

/// What is the same for all partitions of a request.
struct RequestRules {
    version: i16,
    transactional: bool,
    /// Of partitions with transactional batches.
    guards: Guards,
    acks: i16,
    /// The batches are copied, because a slice of them would keep a much larger frame in memory.
    copies: bool,
    now_ms: i64,
    /// How long a full queue may hold the request up.
    limit: Duration,
}

struct Topic {
    name: KString,
    id: Uuid,
    partitions: Vec<(i32, Outcome)>,
}

enum Outcome {
    Queued(oneshot::Receiver<AppendResult>),
    Refused(Refusal),
}

/// Why a batch was not queued, with the records that are at fault.
#[derive(Debug)]
struct Refusal {
    code: ErrorCode,
    message: Option<String>,
    record: Option<i32>,
}

impl RequestRules {
    async fn queue(&self, node: &Node, topic: &KString, data: PartitionProduceData) -> Outcome {
        match self.check(node, topic, data) {
            Ok((partition, batch, treatment)) => {
                let batch = if self.copies { batch.detached() } else { batch };
                let (reply, receiver) = oneshot::channel();
                let slot = match node.writers.slot(&partition, self.limit).await {
                    Ok(slot) => slot,
                    Err(code) => return Outcome::Refused(Refusal::from(code)),
                };
                let guard = self.guard(&partition, &batch);
                let guard = match guard {
                    Ok(guard) => guard,
                    Err(code) => return Outcome::Refused(Refusal::from(code)),
                };
                slot.fill(Append {
                    log_append_time: treatment.log_append_time,
                    guard,
                    marker: None,
                    committed: self.acks == ACKS_ALL,
                    partition,
                    batch,
                    reply,
                });
                Outcome::Queued(receiver)
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// What a transactional batch must carry.
    fn guard(&self, partition: &Partition, batch: &RecordBatch) -> Guarded {
        if !batch.header().is_transactional() {
            return Ok(None);
        }
        let at = (partition.topic.clone(), partition.index);
        let guarded = self.guards.get(&at).copied();
        // Without one, the partition came into being after the coordinator was asked: the client
        // may come again, and its transaction is as good as before.
        guarded.unwrap_or(Err(ErrorCode::UnknownTopicOrPartition))
    }

    fn check(
        &self,
        node: &Node,
        topic: &KString,
        data: PartitionProduceData,
    ) -> Result<(Arc<Partition>, RecordBatch, Treatment), Refusal> {
        if !(ACKS_ALL..=1).contains(&self.acks) {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        let partition = node
            .partitions
            .find(topic, data.index)
            .ok_or(Refusal::from(ErrorCode::UnknownTopicOrPartition))?;
        let batch = only_batch(data.records, self.version)?;
        batch.verify_crc().map_err(|error| refuse_batch(&error))?;
        let summary = BatchSummary::from(batch.header());
        if summary.transactional && !self.transactional {
            return Err(Refusal::new(
                ErrorCode::InvalidTxnState,
                "a transactional batch needs a transactional id in its request",
            ));
        }
        let rules = partition.rules.load();
        let treatment = validate_batch(&summary, &rules.produce, self.now_ms)?;
        if let Some(check) = &treatment.check {
            check_records(&batch, |index, timestamp, has_key| {
                check.check(index, timestamp, has_key)
            })?;
        }
        let batch = match treatment.recompress {
            Some(codec) => recompress(&batch, codec, &rules.produce)?,
            None => batch,
        };
        Ok((partition, batch, treatment))
    }
}

/// Bytes of all batches that are kept as slices of the frame.
fn records_size(request: &ProduceRequest) -> usize {
    let partitions = request
        .topic_data
        .iter()
        .flat_map(|topic| &topic.partition_data);
    partitions
        .filter_map(|data| data.records.as_ref())
        .map(Records::len)
        .filter(|size| *size > MAX_COPIED)
        .sum()
}

/// Guards of partitions by topic and index.
type Guards = HashMap<(KString, i32), Guarded>;

/// Makes sure that the partitions with transactional batches belong to the transaction.
async fn guards(node: &Node, context: &RequestContext, request: &ProduceRequest) -> Guards {
    let Some(transactional_id) = &request.transactional_id else {
        return Guards::new();
    };
    let mut partitions = Vec::new();
    let mut producer = None;
    for topic in &request.topic_data {
        let name = topic_name(node, context.version, topic.name.clone(), topic.topic_id);
        let Ok(name) = name else { continue };
        for data in &topic.partition_data {
            let header = data.records.as_ref().and_then(transactional_header);
            let partition = node.partitions.find(&name, data.index);
            if let (Some(header), Some(partition)) = (header, partition) {
                producer = Some((header.producer_id, header.producer_epoch));
                partitions.push(partition);
            }
        }
    }
    let Some((producer_id, producer_epoch)) = producer else {
        return Guards::new();
    };
    let check = TransactionCheck {
        transactional_id,
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(producer_epoch),
        client: match context.version {
            ..FIRST_WITH_ABORTABLE => ClientKind::Old,
            FIRST_WITH_ABORTABLE => ClientKind::KnowsAbortable,
            _ => ClientKind::LeavesAdding,
        },
    };
    let guarded = check.guard_all(node, context, &partitions).await;
    let names = partitions
        .iter()
        .map(|partition| (partition.topic.clone(), partition.index));
    names.zip(guarded).collect()
}

/// The header of the first batch, if it is transactional. What else is wrong with it is found later.
fn transactional_header(records: &Records) -> Option<BatchHeader> {
    let bytes = records.to_bytes()?;
    let header = BatchHeader::read(bytes.get(..BATCH_HEADER_SIZE)?).ok()?;
    header.is_transactional().then_some(header)
}

/// The name of a topic that is given by name, or from v13 on by id.
fn topic_name(node: &Node, version: i16, name: KString, id: Uuid) -> Result<KString, ErrorCode> {
    if version < 13 {
        return Ok(name);
    }
    node.metadata
        .image()
        .topic_by_id(id)
        .map(|topic| topic.name.clone())
        .ok_or(ErrorCode::UnknownTopicId)
}

/// The one batch that a partition's records must be.
fn only_batch(records: Option<Records>, version: i16) -> Result<RecordBatch, Refusal> {
    const NOT_ONE: &str = "a produce request must hold exactly one record batch per partition";
    let bytes = records
        .and_then(|records| records.to_bytes())
        .unwrap_or_default();
    let length = bytes.len();
    let mut batches = BatchIter::new(bytes);
    let batch = match batches.next() {
        None if length == 0 => return Err(Refusal::new(ErrorCode::InvalidRecord, NOT_ONE)),
        None => {
            return Err(Refusal::new(
                ErrorCode::CorruptMessage,
                "the record batch is cut off",
            ));
        }
        Some(batch) => batch.map_err(|error| refuse_batch(&error))?,
    };
    if batch.size_in_bytes() != length {
        return Err(Refusal::new(ErrorCode::InvalidRecord, NOT_ONE));
    }
    if version < 7 && matches!(batch.compression(), Ok(Compression::Zstd)) {
        let message = "zstd needs produce requests of version 7 or later";
        return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, message));
    }
    Ok(batch)
}

fn check_records(
    batch: &RecordBatch,
    mut check: impl FnMut(i32, i64, bool) -> Result<(), RecordRejection>,
) -> Result<(), Refusal> {
    let records = batch.records().map_err(|error| refuse_batch(&error))?;
    for (index, record) in (0_i32..).zip(records) {
        let record = record.map_err(|error| refuse_batch(&error))?;
        check(index, record.timestamp, record.key.is_some())?;
    }
    Ok(())
}

/// The same records in a batch with another codec.
fn recompress(
    batch: &RecordBatch,
    codec: Compression,
    rules: &ProduceRules,
) -> Result<RecordBatch, Refusal> {
    let mut builder = RecordBatchBuilder::new(codec)
        .producer(
            batch.producer_id(),
            batch.producer_epoch(),
            batch.base_sequence(),
        )
        .transactional(batch.is_transactional());
    if let Some(level) = rules.compression_level {
        builder = builder.compression_level(level);
    }
    for record in batch.records().map_err(|error| refuse_batch(&error))? {
        let record = record.map_err(|error| refuse_batch(&error))?;
        builder.append(
            record.timestamp,
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        );
    }
    let bytes = builder.build();
    if usize::try_from(rules.max_message_bytes).is_ok_and(|largest| bytes.len() > largest) {
        let (size, largest) = (bytes.len(), rules.max_message_bytes);
        let message = format!(
            "the batch has {size} bytes with the topic's compression.type; the topic setting max.message.bytes is {largest}"
        );
        return Err(Refusal::new(ErrorCode::MessageTooLarge, &message));
    }
    RecordBatch::parse(bytes).map_err(|error| refuse_batch(&error))
}

fn refuse_batch(error: &BatchError) -> Refusal {
    let code = match error {
        BatchError::UnsupportedMagic { .. } | BatchError::InvalidRecord { .. } => {
            ErrorCode::InvalidRecord
        }
        _ => ErrorCode::CorruptMessage,
    };
    Refusal::new(code, &error.to_string())
}

/// Waits for all partitions, until the request's time is over.
async fn finish(topics: Vec<Topic>, acks: i16, deadline: Instant) -> Answer {
    let mut failed = None;
    let mut responses = Vec::with_capacity(topics.len());
    for topic in topics {
        let mut partition_responses = Vec::with_capacity(topic.partitions.len());
        for (index, outcome) in topic.partitions {
            let response = outcome.response(index, acks, deadline).await;
            if response.error_code != ErrorCode::None.code() {
                failed = Some(ErrorCode::from_code(response.error_code));
            }
            partition_responses.push(response);
        }
        responses.push(TopicProduceResponse {
            name: topic.name,
            topic_id: topic.id,
            partition_responses,
            ..Default::default()
        });
    }
    match (acks, failed) {
        (0, None) => Answer::Nothing,
        (0, Some(code)) => Answer::Close(format!("Produce with acks=0 failed: {}", code.name())),
        _ => Answer::of(ProduceResponse {
            responses,
            ..Default::default()
        }),
    }
}

impl Outcome {
    async fn response(self, index: i32, acks: i16, deadline: Instant) -> PartitionProduceResponse {
        let receiver = match self {
            Self::Refused(refusal) => return refusal.response(index),
            Self::Queued(receiver) => receiver,
        };
        // Only the wait for replicas and disk has a limit: a written batch is soon reported as such.
        let result = if acks == ACKS_ALL {
            match tokio::time::timeout_at(deadline, receiver).await {
                Ok(result) => result,
                Err(_) => Ok(Err(ErrorCode::RequestTimedOut)),
            }
        } else {
            receiver.await
        };
        match result {
            Ok(Ok(appended)) => appended_response(index, appended),
            Ok(Err(code)) => Refusal::from(code).response(index),
            Err(_) => Refusal::from(ErrorCode::NotLeaderOrFollower).response(index),
        }
    }
}

fn appended_response(index: i32, appended: Appended) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        base_offset: appended.base_offset,
        log_append_time_ms: appended.log_append_time,
        log_start_offset: appended.log_start_offset,
        ..Default::default()
    }
}

impl Refusal {
    fn new(code: ErrorCode, message: &str) -> Self {
        Self {
            code,
            message: Some(message.to_owned()),
            record: None,
        }
    }

    fn response(self, index: i32) -> PartitionProduceResponse {
        let message = self.message.map(KString::from);
        let record_errors = self.record.map(|batch_index| BatchIndexAndErrorMessage {
            batch_index,
            batch_index_error_message: message.clone(),
            ..Default::default()
        });
        PartitionProduceResponse {
            index,
            error_code: self.code.code(),
            base_offset: NO_OFFSET,
            log_append_time_ms: NO_OFFSET,
            log_start_offset: NO_OFFSET,
            record_errors: record_errors.into_iter().collect(),
            error_message: message,
            ..Default::default()
        }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
            record: None,
        }
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self {
            code: rejection.code,
            message: Some(rejection.message),
            record: None,
        }
    }
}

impl From<RecordRejection> for Refusal {
    fn from(rejected: RecordRejection) -> Self {
        Self {
            record: Some(rejected.index),
            ..rejected.rejection.into()
        }
    }
}

/// A frame may keep so many times the bytes in memory that the tail cache counts.
const MAX_KEPT_PER_BYTE: usize = 4;

/// First version that can carry record batches of format 2.
const MIN_VERSION: i16 = 3;
/// First version whose clients understand TRANSACTION_ABORTABLE; the next leaves adding partitions to the broker.
const FIRST_WITH_ABORTABLE: i16 = 11;
const ACKS_ALL: i16 = -1;
const NO_OFFSET: i64 = -1;

#[cfg(test)]
mod tests {
    use moldau_core::config::TopicConfig;

    use super::*;

    fn rules() -> ProduceRules {
        TopicConfig::default().produce_rules()
    }

    fn transactional() -> RecordBatch {
        let mut builder = RecordBatchBuilder::new(Compression::Lz4)
            .producer(7, 2, 40)
            .transactional(true);
        for timestamp in [5, 3] {
            builder.append(timestamp, Some(b"key"), Some(&[b'v'; 1_000]), &[]);
        }
        RecordBatch::parse(builder.build()).expect("valid")
    }

    #[test]
    fn a_batch_that_is_compressed_anew_keeps_all_but_its_codec() {
        for codec in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let (before, rules) = (transactional(), rules());
            let after = recompress(&before, codec, &rules).expect("recompressed");
            after.verify_crc().expect("sound");
            assert_eq!(after.compression().expect("known"), codec);
            assert!(after.is_transactional());
            assert_eq!((after.producer_id(), after.producer_epoch()), (7, 2));
            assert_eq!((after.base_sequence(), after.last_sequence()), (40, 41));
            assert_eq!(after.max_timestamp(), 5);
            let records =
                |batch: &RecordBatch| batch.records().expect("records").collect::<Vec<_>>();
            assert_eq!(records(&after), records(&before));
        }
    }

    #[test]
    fn the_size_limit_holds_for_the_batch_that_is_compressed_anew_as_well() {
        let rules = ProduceRules {
            max_message_bytes: 500,
            ..rules()
        };
        let refused = recompress(&transactional(), Compression::None, &rules).expect_err("large");
        assert_eq!(refused.code, ErrorCode::MessageTooLarge);
        assert!(recompress(&transactional(), Compression::Zstd, &rules).is_ok());
    }

    #[test]
    fn the_level_decides_how_much_is_compressed() {
        let mut builder = RecordBatchBuilder::new(Compression::None);
        let value: Vec<u8> = (0..20_000_u32)
            .flat_map(|n| (n % 977).to_le_bytes())
            .collect();
        builder.append(1, None, Some(&value), &[]);
        let batch = RecordBatch::parse(builder.build()).expect("valid");
        let size = |codec, level| {
            let rules = ProduceRules {
                compression_level: Some(level),
                ..rules()
            };
            let batch = recompress(&batch, codec, &rules).expect("recompressed");
            batch.size_in_bytes()
        };
        assert!(size(Compression::Gzip, 9) < size(Compression::Gzip, 1));
        assert!(size(Compression::Zstd, 19) < size(Compression::Zstd, -100));
    }
}
