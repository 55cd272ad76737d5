//! Internal records and the messages that carry their version in front.

use bytes::Bytes;
use moldau_protocol::messages::metadata::MetadataRequestTopic;
use moldau_protocol::messages::{ConsumerProtocolSubscription, FetchRequest, MetadataRequest};
use moldau_protocol::records::{
    ConsumerGroupMemberMetadataValue, GroupMetadataKey, OffsetCommitKey, OffsetCommitValue,
    TransactionLogValue,
};
use moldau_protocol::{
    DecodeError, EncodeError, KString, Message, RawTaggedField, RecordKey, record_type,
};

#[test]
fn keys_of_committed_offsets_are_kafkas_bytes() {
    let key = OffsetCommitKey {
        group: "g".into(),
        topic: "orders".into(),
        partition: 3,
    };
    let bytes = key.encode_key().expect("short strings");
    assert_eq!(
        bytes,
        &b"\x00\x01\x00\x01g\x00\x06orders\x00\x00\x00\x03"[..]
    );
    assert_eq!(record_type(&bytes), Some(OffsetCommitKey::RECORD_TYPE));
    assert_eq!(OffsetCommitKey::decode_key(bytes.clone()), Ok(key));
    let error = DecodeError::UnexpectedRecordType {
        expected: 2,
        actual: 1,
    };
    assert_eq!(GroupMetadataKey::decode_key(bytes), Err(error));
}

#[test]
fn values_carry_their_version_in_front() {
    let value = OffsetCommitValue {
        offset: 7,
        leader_epoch: 2,
        metadata: "m".into(),
        commit_timestamp: 9,
        ..Default::default()
    };
    let bytes = value.encode_versioned(3).expect("short strings");
    assert_eq!(bytes, &b"\x00\x03\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x02\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x09"[..]);
    assert_eq!(OffsetCommitValue::decode_versioned(bytes), Ok(value));
    let newer = OffsetCommitValue::decode_versioned(Bytes::from_static(b"\x00\x63"));
    assert!(
        matches!(
            newer,
            Err(DecodeError::UnsupportedVersion { version: 99, .. })
        ),
        "{newer:?}"
    );
}

#[test]
fn a_newer_consumer_protocol_is_read_as_ours() {
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["a".into()],
        ..Default::default()
    };
    let mut bytes = subscription
        .encode_versioned(3)
        .expect("short strings")
        .to_vec();
    bytes[1] = 9;
    bytes.extend(b"fields of the future");
    assert_eq!(
        ConsumerProtocolSubscription::decode_versioned_or_newer(bytes.into()),
        Ok(subscription)
    );
}

#[test]
fn tagged_fields_are_written_by_ascending_tag_whatever_the_schemas_order() {
    let value = TransactionLogValue {
        producer_id: 1,
        next_producer_id: 2,
        next_producer_epoch: 4,
        client_transaction_version: 3,
        ..Default::default()
    };
    let bytes = value.to_bytes(1).expect("version 1");
    assert!(
        bytes.ends_with(b"\x03\x01\x08\0\0\0\0\0\0\0\x02\x02\x02\x00\x03\x03\x02\x00\x04"),
        "{bytes:?}"
    );
    assert_eq!(TransactionLogValue::from_bytes(bytes, 1), Ok(value.clone()));
    // Version 0 has no tags, and none of these fields may be dropped.
    assert!(matches!(
        value.to_bytes(0),
        Err(EncodeError::UnsupportedField { version: 0, .. })
    ));
}

#[test]
fn a_tagged_structure_that_may_be_null_has_a_byte_in_front() {
    let value = ConsumerGroupMemberMetadataValue {
        classic_member_metadata: Some(Default::default()),
        ..Default::default()
    };
    let bytes = value.to_bytes(0).expect("version 0");
    // One field: tag 0, seven bytes, present, the timeout, no protocols, no tags.
    assert!(
        bytes.ends_with(b"\x01\x00\x07\x01\x00\x00\x00\x00\x01\x00"),
        "{bytes:?}"
    );
    assert_eq!(
        ConsumerGroupMemberMetadataValue::from_bytes(bytes, 0),
        Ok(value)
    );
}

#[test]
fn unknown_tagged_fields_are_kept_and_refused_where_there_is_no_room() {
    let field = RawTaggedField {
        tag: 9,
        data: Bytes::from_static(b"new"),
    };
    let request = FetchRequest {
        unknown_tagged_fields: vec![field],
        cluster_id: Some("c".into()),
        ..Default::default()
    };
    let bytes = request.to_bytes(12).expect("flexible");
    assert_eq!(FetchRequest::from_bytes(bytes, 12), Ok(request.clone()));
    let plain = FetchRequest {
        cluster_id: None,
        ..request
    };
    assert_eq!(
        plain.to_bytes(11),
        Err(EncodeError::UnsupportedTaggedFields)
    );
}

#[test]
fn a_field_that_a_version_lacks_is_dropped_only_if_the_schema_allows_it() {
    let ignorable = FetchRequest {
        rack_id: "r".into(),
        ..Default::default()
    };
    assert!(ignorable.to_bytes(10).is_ok());
    let topic = MetadataRequestTopic {
        name: Some(KString::from_static("t")),
        ..Default::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let error = EncodeError::UnsupportedField {
        field: "AllowAutoTopicCreation",
        version: 3,
    };
    assert_eq!(request.to_bytes(3), Err(error));
}

#[test]
fn null_is_refused_in_versions_that_do_not_know_it() {
    let request = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    assert!(request.to_bytes(1).is_ok());
    assert_eq!(
        request.to_bytes(0),
        Err(EncodeError::UnexpectedNull {
            field: "Topics",
            version: 0
        })
    );
}
