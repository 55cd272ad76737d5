//! Record batches that Kafka's own classes wrote: every codec, with and without producer.

use bytes::Bytes;
use moldau_protocol::KString;
use moldau_protocol::batch::{
    BATCH_HEADER_SIZE, BatchError, BatchHeader, BatchIter, Compression, EndTransactionMarker,
    Record, RecordBatch, RecordBatchBuilder, RecordHeader, RecordRef, TimestampType,
};
use serde_json::Value;

use crate::golden::{from_hex, lines};

/// The golden batches of ordinary records.
fn goldens() -> Vec<(Value, RecordBatch)> {
    let ordinary = lines("record-batches.jsonl")
        .into_iter()
        .filter(|line| line["records"].is_array());
    let batches: Vec<_> = ordinary.map(|line| (line.clone(), parse(&line))).collect();
    assert_eq!(batches.len(), 50);
    batches
}

fn parse(line: &Value) -> RecordBatch {
    let batch = RecordBatch::parse(from_hex(&line["hex"])).expect("golden batch");
    batch.verify_crc().expect("golden checksum");
    batch
}

fn record(json: &Value) -> Record {
    let bytes = |value: &Value| (!value.is_null()).then(|| from_hex(value));
    let header = |pair: &Value| RecordHeader {
        key: KString::copy_from(pair[0].as_str().expect("key")),
        value: bytes(&pair[1]),
    };
    Record {
        offset: json["offset"].as_i64().expect("offset"),
        timestamp: json["timestamp"].as_i64().expect("timestamp"),
        key: bytes(&json["key"]),
        value: bytes(&json["value"]),
        headers: json["headers"]
            .as_array()
            .expect("headers")
            .iter()
            .map(header)
            .collect(),
    }
}

fn expected(line: &Value) -> Vec<Record> {
    line["records"]
        .as_array()
        .expect("records")
        .iter()
        .map(record)
        .collect()
}

fn decoded(batch: &RecordBatch) -> Vec<Record> {
    batch
        .records()
        .expect("records")
        .collect::<Result<_, _>>()
        .expect("record")
}

/// Builds the batch anew from its records and the values of its header.
fn rebuilt(batch: &RecordBatch) -> Bytes {
    let mut builder = RecordBatchBuilder::new(batch.compression().expect("codec"))
        .base_offset(batch.base_offset())
        .leader_epoch(batch.partition_leader_epoch())
        .producer(
            batch.producer_id(),
            batch.producer_epoch(),
            batch.base_sequence(),
        )
        .transactional(batch.is_transactional())
        .control(batch.is_control());
    if batch.timestamp_type() == TimestampType::LogAppendTime {
        builder = builder.log_append_time(batch.max_timestamp());
    }
    for record in batch.records().expect("records").with_create_time() {
        let Record {
            offset,
            timestamp,
            key,
            value,
            headers,
        } = record.expect("record");
        builder
            .append_at(
                offset,
                timestamp,
                key.as_deref(),
                value.as_deref(),
                &headers,
            )
            .expect("ascending offsets");
    }
    builder.build()
}

#[test]
fn headers_are_the_golden_ones() {
    for (line, batch) in goldens() {
        assert_eq!(batch.magic(), 2);
        assert_eq!(
            batch.compression().expect("codec").name(),
            line["compression"]
        );
        assert_eq!(
            format!("{:?}", batch.timestamp_type()),
            line["timestamp_type"].as_str().expect("type")
        );
        assert_eq!(batch.base_offset(), line["base_offset"]);
        assert_eq!(batch.last_offset(), line["last_offset"]);
        assert_eq!(batch.max_timestamp(), line["max_timestamp"]);
        assert_eq!(batch.producer_id(), line["producer_id"]);
        assert_eq!(batch.producer_epoch(), line["producer_epoch"]);
        assert_eq!(batch.base_sequence(), line["base_sequence"]);
        assert_eq!(batch.last_sequence(), line["last_sequence"]);
        assert_eq!(batch.is_transactional(), line["transactional"]);
        assert_eq!(batch.is_control(), line["control"]);
        assert_eq!(batch.partition_leader_epoch(), line["leader_epoch"]);
        assert_eq!(batch.crc(), line["crc"]);
        assert_eq!(batch.header_bytes(), batch.bytes()[..BATCH_HEADER_SIZE]);
    }
}

#[test]
fn records_are_the_golden_ones() {
    for (line, batch) in goldens() {
        assert_eq!(
            decoded(&batch),
            expected(&line),
            "{} at {}",
            line["compression"],
            line["base_offset"]
        );
    }
}

#[test]
fn borrowed_records_are_the_golden_ones() {
    for (line, batch) in goldens() {
        let records = batch.records().expect("records");
        let owned = |record: RecordRef<'_>| Record {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers: record.headers().map(header).collect(),
        };
        let borrowed: Vec<_> = records
            .borrowed()
            .map(|record| owned(record.expect("record")))
            .collect();
        assert_eq!(
            borrowed,
            expected(&line),
            "{} at {}",
            line["compression"],
            line["base_offset"]
        );
    }
}

fn header((key, value): (&str, Option<&[u8]>)) -> RecordHeader {
    RecordHeader {
        key: KString::copy_from(key),
        value: value.map(Bytes::copy_from_slice),
    }
}

#[test]
fn batches_are_built_as_kafka_builds_them() {
    for (line, batch) in goldens() {
        let bytes = rebuilt(&batch);
        if batch.compression() == Ok(Compression::None) {
            assert_eq!(bytes, batch.bytes(), "at {}", line["base_offset"]);
        }
        let again = RecordBatch::parse(bytes).expect("built batch");
        again.verify_crc().expect("checksum of a built batch");
        assert_eq!(
            decoded(&again),
            expected(&line),
            "{} at {}",
            line["compression"],
            line["base_offset"]
        );
    }
}

#[test]
fn transaction_markers_are_read_and_written() {
    let markers = lines("record-batches.jsonl")
        .into_iter()
        .filter(|line| line["records"].is_null());
    let mut count = 0;
    for line in markers {
        let batch = parse(&line);
        let marker = EndTransactionMarker {
            committed: line["control"] == "COMMIT",
            coordinator_epoch: line["coordinator_epoch"].as_i64().expect("epoch") as i32,
        };
        assert_eq!(EndTransactionMarker::from_batch(&batch), Ok(Some(marker)));
        let written = marker.to_batch(
            batch.base_offset(),
            batch.base_timestamp(),
            batch.partition_leader_epoch(),
            batch.producer_id(),
            batch.producer_epoch(),
        );
        assert_eq!(written, batch.bytes());
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn several_batches_are_iterated_and_a_cut_one_ends_the_iteration() {
    let batches: Vec<_> = goldens().into_iter().map(|(_, batch)| batch).collect();
    let joined: Vec<u8> = batches
        .iter()
        .flat_map(|batch| batch.bytes().iter().copied())
        .collect();
    let whole: Vec<_> = BatchIter::new(Bytes::copy_from_slice(&joined))
        .collect::<Result<_, _>>()
        .expect("batches");
    assert_eq!(whole, batches);
    for cut in [1, 10, 60, 61, 62] {
        let mut iter = BatchIter::new(Bytes::copy_from_slice(&joined[..joined.len() - cut]));
        assert_eq!(
            iter.by_ref().filter_map(Result::ok).count(),
            batches.len() - 1
        );
        assert!(iter.remaining() > 0);
    }
}

#[test]
fn offset_and_leader_epoch_are_patched_outside_the_checksum() {
    for (_, batch) in goldens() {
        let mut header = batch.header_bytes();
        BatchHeader::patch_base_offset(&mut header, 77);
        BatchHeader::patch_leader_epoch(&mut header, 5);
        let patched = RecordBatch::parse([&header, &batch.payload()[..]].concat().into())
            .expect("patched batch");
        patched.verify_crc().expect("checksum is untouched");
        assert_eq!(
            (patched.base_offset(), patched.partition_leader_epoch()),
            (77, 5)
        );
        assert_eq!(patched, batch.relocated(77, 5));
    }
}

#[test]
fn the_time_of_append_and_the_producer_are_patched_with_a_new_checksum() {
    for (_, batch) in goldens() {
        let mut bytes = batch.bytes().to_vec();
        let header = bytes.first_chunk_mut().expect("header");
        BatchHeader::patch_log_append_time(header, 1_234_567);
        BatchHeader::patch_producer(header, 9, 8, 7);
        let patched = RecordBatch::parse(bytes.into()).expect("patched batch");
        patched.verify_crc().expect("new checksum");
        assert_eq!(patched.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(
            (
                patched.producer_id(),
                patched.producer_epoch(),
                patched.base_sequence()
            ),
            (9, 8, 7)
        );
        assert!(
            decoded(&patched)
                .iter()
                .all(|record| record.timestamp == 1_234_567)
        );
    }
}

#[test]
fn a_changed_byte_is_noticed_by_the_checksum() {
    let (_, batch) = goldens().swap_remove(2);
    let mut bytes = batch.bytes().to_vec();
    bytes[70] ^= 1;
    let changed = RecordBatch::parse(bytes.into()).expect("header is intact");
    assert!(matches!(
        changed.verify_crc(),
        Err(BatchError::Corrupt {
            base_offset: 968,
            ..
        })
    ));
}
