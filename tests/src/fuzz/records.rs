//! Record batches, compressed bytes, and the records of internal topics.
//!
//! ```text
//! batches              first byte odd: the checksum of the first batch is repaired; then batches
//! compression          codec, then what is compressed
//! coordinator_records  length of the key, key, value
//! metadata_records     one record
//! ```

use bytes::Bytes;
use moldau_core::coordinator::{Coordinator, CoordinatorSettings};
use moldau_core::ids::{LeaderEpoch, ProducerId};
use moldau_core::metadata::{MetadataImage, MetadataRecord, PartitionRecord};
use moldau_core::partition::BatchSummary;
use moldau_protocol::batch::{
    BATCH_HEADER_SIZE, BatchHeader, BatchIter, Compression, EndTransactionMarker,
    RecordBatchBuilder, RecordHeader,
};
use moldau_protocol::records::{
    ConsumerGroupCurrentMemberAssignmentKey, GroupMetadataKey, GroupMetadataValue, OffsetCommitKey,
    OffsetCommitValue, TransactionLogKey, TransactionLogValue,
};
use moldau_protocol::{KString, Message, RecordKey, Uuid};

/// Reads batches and all their records.
pub(super) fn batches(bytes: &[u8]) {
    let Some((repair, bytes)) = bytes.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if repair % 2 == 1 {
        repair_checksum(&mut bytes);
    }
    for batch in BatchIter::new(Bytes::from(bytes)) {
        let Ok(batch) = batch else { return };
        let _valid = batch.verify_crc();
        let summary = BatchSummary::from(batch.header());
        let _facts = (summary.last_sequence(), summary.end_offset());
        if batch.compression() == Ok(Compression::None) {
            let _control = EndTransactionMarker::from_batch(&batch);
        }
        let Ok(records) = batch.records_within(MAX_RECORDS_SIZE) else {
            continue;
        };
        for record in records {
            let Ok(record) = record else { break };
            let _headers = record.headers.len();
        }
    }
}

/// Makes the first batch's checksum right, so that what lies behind it is reached.
pub(super) fn repair_checksum(bytes: &mut [u8]) {
    let Ok(header) = BatchHeader::read(bytes) else {
        return;
    };
    let end = header.size_in_bytes().min(bytes.len());
    if end < BATCH_HEADER_SIZE {
        return;
    }
    let crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..end]);
    bytes[CRC_AT..CRC_COVERS_FROM].copy_from_slice(&crc.to_be_bytes());
}

/// Decompresses.
pub(super) fn compression(bytes: &[u8]) {
    let Some((codec, bytes)) = bytes.split_first() else {
        return;
    };
    let codecs = codecs();
    let codec = codecs[usize::from(*codec) % codecs.len()];
    let plain = codec.decompress(Bytes::copy_from_slice(bytes), MAX_RECORDS_SIZE);
    if let Ok(plain) = plain {
        assert!(plain.len() <= MAX_RECORDS_SIZE.max(bytes.len()));
    }
}

/// Replays one record into a coordinator.
pub(super) fn coordinator_records(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else {
        return;
    };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let key = Bytes::copy_from_slice(key);
    let value = (!value.is_empty()).then(|| Bytes::copy_from_slice(value));
    let mut coordinator = Coordinator::new(CoordinatorSettings::default());
    let _replayed = coordinator.replay(&key, value.as_ref());
    let _actions = coordinator.loaded(1_000);
    for group in coordinator.groups() {
        let _described = coordinator.describe_group(group.group_id(), 6);
    }
    let _actions = coordinator.handle_timeout(i64::MAX / 2);
    if let Some(value) = value {
        let _transaction = TransactionLogValue::decode_versioned(value);
    }
    let _transaction = TransactionLogKey::decode_key(key);
}

/// Decodes a record of the metadata log and applies it.
pub(super) fn metadata_records(bytes: &[u8]) {
    let Ok(record) = MetadataRecord::decode(&Bytes::copy_from_slice(bytes)) else {
        return;
    };
    let again = record.encode().expect("what was decoded can be encoded");
    assert_eq!(MetadataRecord::decode(&again).as_ref(), Ok(&record));
    let mut image = MetadataImage::default();
    let _applied = image.apply(&record);
}

pub(super) fn batch_examples() -> Vec<Vec<u8>> {
    let mut examples = Vec::new();
    for codec in codecs() {
        for is_transactional in [false, true] {
            let batch = example_batch(codec, is_transactional, 0);
            examples.push([&[0], &batch[..]].concat());
            examples.push([&[1], &batch[..]].concat());
        }
    }
    examples
}

pub(super) fn example_batch(codec: Compression, transactional: bool, base_offset: i64) -> Bytes {
    let mut builder = RecordBatchBuilder::new(codec)
        .base_offset(base_offset)
        .leader_epoch(0)
        .producer(5, 0, i32::try_from(base_offset).unwrap_or(0))
        .transactional(transactional);
    for record in 0..4_i64 {
        let value = vec![b'x'; usize::try_from(record * 40).unwrap_or(0)];
        let header = RecordHeader {
            key: KString::from("header"),
            value: Some(Bytes::from_static(b"value")),
        };
        let key = (record % 2 == 0).then_some(b"key".as_slice());
        builder.append(1_000 + record, key, Some(&value), &[header]);
    }
    builder.build()
}

pub(super) fn compression_examples() -> Vec<Vec<u8>> {
    let plain: Vec<u8> = (0..400_u32).flat_map(|n| (n % 60).to_be_bytes()).collect();
    let numbered = codecs().into_iter().enumerate();
    numbered
        .map(|(index, codec)| {
            let index = u8::try_from(index).unwrap_or(0);
            [&[index], &codec.compress(&plain, None)[..]].concat()
        })
        .collect()
}

pub(super) fn coordinator_examples() -> Vec<Vec<u8>> {
    let example = |key: Bytes, value: Bytes| {
        let length = u8::try_from(key.len()).unwrap_or(u8::MAX);
        [&[length], &key[..], &value[..]].concat()
    };
    let group = GroupMetadataKey {
        group: KString::from("group"),
    };
    let offset = OffsetCommitKey {
        group: KString::from("group"),
        topic: KString::from("orders"),
        partition: 3,
    };
    let mut examples = Vec::new();
    for version in GroupMetadataValue::VERSIONS.iter() {
        let value = GroupMetadataValue {
            protocol_type: KString::from("consumer"),
            members: vec![Default::default(); 2],
            ..Default::default()
        };
        examples.extend(
            value
                .encode_versioned(version)
                .ok()
                .zip(group.encode_key().ok())
                .map(|(value, key)| example(key, value)),
        );
    }
    for version in OffsetCommitValue::VERSIONS.iter() {
        let value = OffsetCommitValue::default().encode_versioned(version);
        examples.extend(
            value
                .ok()
                .zip(offset.encode_key().ok())
                .map(|(value, key)| example(key, value)),
        );
    }
    for version in TransactionLogValue::VERSIONS.iter() {
        let value = TransactionLogValue::default().encode_versioned(version);
        examples.extend(value.map(|value| example(Bytes::from_static(&[0, 0]), value)));
    }
    // Keys of all types, so that records of other protocols are met too.
    let _newest = ConsumerGroupCurrentMemberAssignmentKey::RECORD_TYPE;
    examples.extend((0..20_u8).map(|record_type| vec![6, 0, record_type, 0, 1, b'g', 0, 0, 0]));
    examples
}

pub(super) fn metadata_examples() -> Vec<Vec<u8>> {
    let id = Uuid([3; 16]);
    let records = [
        MetadataRecord::Feature {
            name: KString::from("metadata.version"),
            level: 3,
        },
        MetadataRecord::Topic {
            name: KString::from("orders"),
            id,
        },
        MetadataRecord::RemoveTopic { id },
        MetadataRecord::Partition(PartitionRecord {
            topic_id: id,
            index: 0,
            leader: 1,
            leader_epoch: LeaderEpoch(2),
            partition_epoch: 4,
            replicas: vec![1, 2, 3],
            isr: vec![1, 2],
        }),
        MetadataRecord::ProducerIds {
            next: ProducerId(1_000),
        },
    ];
    let encoded = records
        .iter()
        .map(|record| record.encode().expect("short strings"));
    encoded.map(|bytes| bytes.to_vec()).collect()
}

fn codecs() -> [Compression; 5] {
    [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ]
}

/// Most that a batch may have unpacked here.
const MAX_RECORDS_SIZE: usize = 1 << 20;

/// Where a batch has its checksum, and what it covers.
const CRC_AT: usize = 17;
const CRC_COVERS_FROM: usize = 21;
