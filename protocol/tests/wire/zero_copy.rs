//! Record batches pass through without being copied, on the way in and on the way out.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use moldau_protocol::frame::{self, RequestHeader};
use moldau_protocol::messages::fetch::{FetchableTopicResponse, PartitionData};
use moldau_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use moldau_protocol::messages::{FetchResponse, ProduceRequest, RequestKind, ResponseKind};
use moldau_protocol::{ApiKey, FileRange, Records, RecordsPiece};

use crate::allocation::allocated_by;
use crate::golden::folder;

const RECORDS_SIZE: usize = 1 << 20;

#[test]
fn a_produce_request_is_decoded_without_copying_its_records() {
    let partition = PartitionProduceData {
        records: Some(Bytes::from(vec![7; RECORDS_SIZE]).into()),
        ..Default::default()
    };
    let topic = TopicProduceData {
        name: "orders".into(),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest {
        topic_data: vec![topic],
        ..Default::default()
    };
    let header = RequestHeader {
        api_version: 9,
        ..Default::default()
    };
    let encoded = frame::encode_request(&header, &RequestKind::from(request)).expect("encode");
    let frame_bytes = encoded.to_bytes().expect("no files").slice(4..);

    let range = frame_bytes.as_ptr_range();
    let (parsed, allocated) = allocated_by(|| frame::parse_request(frame_bytes));
    let Ok((_, RequestKind::Produce(request))) = parsed else {
        panic!("a produce request was sent")
    };
    let records = request.topic_data[0].partition_data[0]
        .records
        .as_ref()
        .expect("records");
    assert!(range.contains(&records.as_bytes().expect("one piece").as_ptr()));
    assert!(allocated < 4_096, "{allocated}");
}

#[test]
fn a_fetch_response_is_encoded_without_copying_its_records() {
    let mut records = Records::from(Bytes::from(vec![7; RECORDS_SIZE]));
    let file = Arc::new(File::open(folder("Cargo.toml")).expect("open"));
    records.push(FileRange {
        file,
        position: 0,
        length: 100,
    });
    let partition = PartitionData {
        records: Some(records),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        partitions: vec![partition],
        ..Default::default()
    };
    let response = FetchResponse {
        responses: vec![topic],
        ..Default::default()
    };
    let response = ResponseKind::from(response);

    let (encoded, allocated) =
        allocated_by(|| frame::encode_response(ApiKey::Fetch, 12, 1, &response));
    let encoded = encoded.expect("encode");
    assert!(allocated < 4_096, "{allocated}");
    assert!(
        encoded.to_bytes().is_none(),
        "a range of a file is not read"
    );
    let [
        RecordsPiece::Bytes(head),
        RecordsPiece::Bytes(bytes),
        RecordsPiece::File(range),
        RecordsPiece::Bytes(tail),
    ] = encoded.pieces()
    else {
        panic!(
            "head, records in memory, records in a file, tail: {:?}",
            encoded.pieces().len()
        );
    };
    assert_eq!((bytes.len(), range.length), (RECORDS_SIZE, 100));
    assert_eq!(encoded.len(), head.len() + bytes.len() + 100 + tail.len());
    assert_eq!(head[..4], (encoded.len() as u32 - 4).to_be_bytes());
}
