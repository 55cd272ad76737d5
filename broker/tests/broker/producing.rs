//! Produce: what is accepted, what is refused and how, and in which order answers come.

use bytes::{Bytes, BytesMut};
use moldau_protocol::batch::{Compression, RecordBatch, RecordBatchBuilder, TimestampType};
use moldau_protocol::messages::fetch::FetchRequest;
use moldau_protocol::messages::produce::ProduceResponse;
use moldau_protocol::{ApiKey, ErrorCode};

use crate::fixture::*;

async fn refused(topic_settings: &[(&str, &str)], batch: Bytes) -> ErrorCode {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("t", 1, topic_settings).await;
    let response = wire.produce("t", 0, batch).await;
    assert_eq!(response.base_offset, -1);
    assert_eq!(wire.values("t", 0, 0).await, Vec::<String>::new());
    ErrorCode::from_code(response.error_code)
}

#[tokio::test]
async fn records_get_consecutive_offsets() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    assert_eq!(wire.produce_values("t", 0, &["a", "b"]).await, 0);
    assert_eq!(wire.produce_values("t", 0, &["c"]).await, 2);
    assert_eq!(wire.values("t", 0, 0).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn every_codec_is_kept_as_it_came() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for codec in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let mut builder = RecordBatchBuilder::new(codec);
        builder.append(now_ms(), Some(b"k"), Some(&[7; 3000]), &[]);
        let sent = builder.build();
        let offset = wire.produce("t", 0, sent.clone()).await.base_offset;
        let got = wire
            .fetch("t", 0, offset)
            .await
            .records
            .unwrap()
            .as_bytes()
            .unwrap();
        assert_eq!(
            got[16..],
            sent[16..],
            "{codec}: all but base offset and leader epoch is the producer's"
        );
    }
}

/// Trap 4: a connection's responses come in the order of its requests.
#[tokio::test]
async fn pipelined_requests_are_answered_and_appended_in_order() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let mut sent = Vec::new();
    for number in 0..200 {
        let value = number.to_string();
        sent.push(
            wire.send(PRODUCE, produce_request("t", 0, -1, batch(&[&value])))
                .await,
        );
    }
    for (number, id) in (0..200).zip(sent) {
        let (answered, response) = wire.receive(ApiKey::Produce, PRODUCE).await;
        let response = ProduceResponse::try_from(response).unwrap();
        assert_eq!(answered, id);
        assert_eq!(
            response.responses[0].partition_responses[0].base_offset,
            number
        );
    }
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(wire.values("t", 0, 0).await, expected);
}

/// Trap 4: neither is a place in the order of responses kept for it.
#[tokio::test]
async fn acks_0_is_not_answered() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.send(PRODUCE, produce_request("t", 0, 0, batch(&["quiet"])))
        .await;
    let waiting = FetchRequest {
        max_wait_ms: 60_000,
        ..fetch_request("t", 0, 0)
    };
    let data = only(wire.call(FETCH, waiting).await);
    assert_eq!(text(records(&data)[0].value.as_ref()), "quiet");
}

#[tokio::test]
async fn acks_0_that_fails_closes_the_connection() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.send(PRODUCE, produce_request("missing", 0, 0, batch(&["lost"])))
        .await;
    assert_eq!(wire.receive_frame().await, None);
}

#[tokio::test]
async fn acks_1_and_all_are_answered_and_others_refused() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for (acks, code) in [
        (1, ErrorCode::None),
        (-1, ErrorCode::None),
        (2, ErrorCode::InvalidRequiredAcks),
    ] {
        let response = wire
            .call(PRODUCE, produce_request("t", 0, acks, batch(&["x"])))
            .await;
        assert_eq!(
            response.responses[0].partition_responses[0].error_code,
            code.code()
        );
    }
}

#[tokio::test]
async fn a_missing_topic_or_partition_is_unknown() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for (topic, partition) in [("missing", 0), ("t", 1), ("t", -1)] {
        let response = wire.produce(topic, partition, batch(&["x"])).await;
        assert_eq!(
            response.error_code,
            ErrorCode::UnknownTopicOrPartition.code()
        );
    }
}

#[tokio::test]
async fn a_topic_is_found_by_its_id_and_only_by_that_from_v13_on() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let id = wire.call(12, all_topics()).await.topics[0].topic_id;
    let mut request = produce_request("", 0, -1, batch(&["by id"]));
    request.topic_data[0].topic_id = id;
    let response = wire.call(13, request).await;
    assert_eq!(
        (
            response.responses[0].topic_id,
            response.responses[0].partition_responses[0].error_code
        ),
        (id, 0)
    );
    let mut request = produce_request("", 0, -1, batch(&["unknown id"]));
    request.topic_data[0].topic_id = moldau_protocol::Uuid([9; 16]);
    let response = wire.call(13, request).await;
    assert_eq!(
        response.responses[0].partition_responses[0].error_code,
        ErrorCode::UnknownTopicId.code()
    );
    assert_eq!(wire.values("t", 0, 0).await, ["by id"]);
}

#[tokio::test]
async fn a_batch_that_was_damaged_on_its_way_is_refused() {
    let mut damaged = BytesMut::from(&batch(&["damaged"])[..]);
    let last = damaged.len() - 2;
    damaged[last] ^= 1;
    assert_eq!(
        refused(&[], damaged.freeze()).await,
        ErrorCode::CorruptMessage
    );
}

#[tokio::test]
async fn a_batch_that_is_cut_off_is_refused() {
    let whole = batch(&["cut"]);
    assert_eq!(
        refused(&[], whole.slice(..whole.len() - 1)).await,
        ErrorCode::CorruptMessage
    );
    assert_eq!(
        refused(&[], whole.slice(..20)).await,
        ErrorCode::CorruptMessage
    );
}

#[tokio::test]
async fn exactly_one_batch_for_each_partition() {
    let mut two = BytesMut::from(&batch(&["one"])[..]);
    two.extend_from_slice(&batch(&["two"]));
    assert_eq!(refused(&[], two.freeze()).await, ErrorCode::InvalidRecord);
    assert_eq!(refused(&[], Bytes::new()).await, ErrorCode::InvalidRecord);
}

#[tokio::test]
async fn only_format_2_is_accepted() {
    let mut old = BytesMut::from(&batch(&["old"])[..]);
    old[16] = 1;
    assert_eq!(refused(&[], old.freeze()).await, ErrorCode::InvalidRecord);
}

/// Trap 5: `max.message.bytes`.
#[tokio::test]
async fn the_size_limit_is_that_of_the_compressed_batch() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("t", 1, &[("max.message.bytes", "1000")])
        .await;
    let value = vec![0; 5000];
    for (codec, code) in [
        (Compression::None, ErrorCode::MessageTooLarge),
        (Compression::Gzip, ErrorCode::None),
    ] {
        let mut builder = RecordBatchBuilder::new(codec);
        builder.append(now_ms(), None, Some(&value), &[]);
        assert_eq!(
            wire.produce("t", 0, builder.build()).await.error_code,
            code.code(),
            "{codec}"
        );
    }
}

/// Trap 5: INVALID_RECORD.
#[tokio::test]
async fn a_compacted_topic_needs_keys_and_the_record_without_one_is_named() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("t", 1, &[("cleanup.policy", "compact")])
        .await;
    let mut builder = RecordBatchBuilder::new(Compression::Lz4);
    builder.append(now_ms(), Some(b"key"), Some(b"fine"), &[]);
    builder.append(now_ms(), None, Some(b"no key"), &[]);
    let response = wire.produce("t", 0, builder.build()).await;
    assert_eq!(response.error_code, ErrorCode::InvalidRecord.code());
    assert_eq!(response.record_errors.len(), 1);
    assert_eq!(response.record_errors[0].batch_index, 1);
    assert!(response.error_message.is_some());
}

#[tokio::test]
async fn a_timestamp_too_far_in_the_future_is_refused() {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    builder.append(now_ms() + 7_200_000, None, Some(b"tomorrow"), &[]);
    assert_eq!(
        refused(&[], builder.build()).await,
        ErrorCode::InvalidTimestamp
    );
}

/// Trap 5: LogAppendTime changes the header, and so the checksum.
#[tokio::test]
async fn log_append_time_replaces_timestamps_and_keeps_the_checksum_right() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("t", 1, &[("message.timestamp.type", "LogAppendTime")])
        .await;
    let before = now_ms();
    let mut builder = RecordBatchBuilder::new(Compression::None);
    builder.append(1, None, Some(b"a"), &[]);
    builder.append(2, None, Some(b"b"), &[]);
    let response = wire.produce("t", 0, builder.build()).await;
    assert!(response.log_append_time_ms >= before);
    let data = wire.fetch("t", 0, 0).await;
    let stored = RecordBatch::parse(data.records.clone().unwrap().as_bytes().unwrap()).unwrap();
    stored.verify_crc().unwrap();
    assert_eq!(stored.timestamp_type(), TimestampType::LogAppendTime);
    let stamps: Vec<i64> = records(&data)
        .iter()
        .map(|record| record.timestamp)
        .collect();
    assert_eq!(stamps, [response.log_append_time_ms; 2]);
}

#[tokio::test]
async fn a_topic_with_its_own_codec_compresses_anew() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("t", 1, &[("compression.type", "zstd")])
        .await;
    wire.produce_values("t", 0, &["a", "b"]).await;
    let data = wire.fetch("t", 0, 0).await;
    let stored = RecordBatch::parse(data.records.unwrap().as_bytes().unwrap()).unwrap();
    assert_eq!(stored.compression().unwrap(), Compression::Zstd);
    assert_eq!(wire.values("t", 0, 0).await, ["a", "b"]);
}

#[tokio::test]
async fn zstd_needs_v7() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for (version, code) in [
        (6, ErrorCode::UnsupportedCompressionType),
        (7, ErrorCode::None),
    ] {
        let mut builder = RecordBatchBuilder::new(Compression::Zstd);
        builder.append(now_ms(), None, Some(b"x"), &[]);
        let response = wire
            .call(version, produce_request("t", 0, -1, builder.build()))
            .await;
        assert_eq!(
            response.responses[0].partition_responses[0].error_code,
            code.code()
        );
    }
}

#[tokio::test]
async fn produce_v0_to_v2_are_advertised_but_close_the_connection() {
    let broker = TestBroker::start().await;
    for version in 0..=2_i16 {
        let mut wire = broker.connect().await;
        let mut frame = Vec::new();
        frame.extend_from_slice(&0_i16.to_be_bytes());
        frame.extend_from_slice(&version.to_be_bytes());
        frame.extend_from_slice(&[0, 0, 0, 1, 255, 255, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        wire.send_bytes(&u32::try_from(frame.len()).unwrap().to_be_bytes())
            .await;
        wire.send_bytes(&frame).await;
        assert_eq!(wire.receive_frame().await, None);
    }
}

#[tokio::test]
async fn a_full_writer_queue_makes_producers_wait_and_loses_nothing() {
    let broker = TestBroker::start_with(|config| {
        config.queued_max_requests = 1;
        config.num_writer_threads = 1;
    })
    .await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let producers: Vec<_> = (0..4)
        .map(|producer| {
            let address = broker.handle.kafka_addresses()[0];
            tokio::spawn(async move {
                let mut wire = Wire::to(address).await;
                for number in 0..50 {
                    wire.send(
                        PRODUCE,
                        produce_request("t", 0, -1, batch(&[&format!("{producer}-{number}")])),
                    )
                    .await;
                }
                for _ in 0..50 {
                    let (_, response) = wire.receive(ApiKey::Produce, PRODUCE).await;
                    let response = ProduceResponse::try_from(response).unwrap();
                    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.unwrap();
    }
    let values = wire.values("t", 0, 0).await;
    for producer in 0..4 {
        let prefix = format!("{producer}-");
        let own: Vec<_> = values
            .iter()
            .filter(|value| value.starts_with(&prefix))
            .cloned()
            .collect();
        let expected: Vec<_> = (0..50)
            .map(|number| format!("{producer}-{number}"))
            .collect();
        assert_eq!(own, expected);
    }
}
