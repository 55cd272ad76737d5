//! Our records, byte for byte as Kafka 4.3's classes write them, and read back from those bytes.

use bytes::Bytes;
use moldau_protocol::records::group_metadata_value::{GroupMetadataValue, MemberMetadata};
use moldau_protocol::{KString, Uuid};

use super::records::{group_record, offset_record};
use super::*;
use crate::metadata::controller::fixture::topic_id;
use crate::offsets::{OffsetChange, TopicPartition};

const GROUP_KEY: &str = "0002000772656164657273";
const GROUP_VALUE: &str = "00030008636f6e73756d657200000001000572616e67650008636c69656e742d310000000000000bb8\
    000000010008636c69656e742d310001610006636c69656e74000a2f3132372e302e302e310000ea6000002710\
    000000016d00000004776f726b";
const OFFSET_KEY: &str = "000100077265616465727300066f726465727300000002";
const OFFSET_VALUE: &str =
    "0004000000000000000500000003056e6f746500000000000003e80100106f726465727300000000000000000000";
const OFFSET_VALUE_WITHOUT_ID: &str = "0004000000000000000500000003056e6f746500000000000003e800";
const OFFSET_VALUE_WITH_EXPIRY: &str =
    "0001000000000000000500046e6f746500000000000003e8000000000000ee48";

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| digit as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn group() -> GroupMetadataValue {
    GroupMetadataValue {
        protocol_type: "consumer".into(),
        generation: 1,
        protocol: Some("range".into()),
        leader: Some("client-1".into()),
        current_state_timestamp: 3_000,
        members: vec![MemberMetadata {
            member_id: "client-1".into(),
            group_instance_id: Some("a".into()),
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout: 60_000,
            session_timeout: 10_000,
            subscription: Bytes::from_static(b"m"),
            assignment: Bytes::from_static(b"work"),
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn offset(topic_id: Uuid, expire_timestamp_ms: Option<i64>) -> OffsetChange {
    OffsetChange {
        group_id: "readers".into(),
        topic_partition: TopicPartition {
            topic: "orders".into(),
            partition: 2,
        },
        committed: Some(CommittedOffset {
            offset: 5,
            leader_epoch: if expire_timestamp_ms.is_some() { -1 } else { 3 },
            metadata: "note".into(),
            commit_timestamp_ms: 1_000,
            expire_timestamp_ms,
            topic_id,
        }),
    }
}

#[test]
fn a_group_is_written_and_read_as_kafka_does() {
    let group_id = KString::from("readers");
    let record = CoordinatorRecord {
        key: bytes(GROUP_KEY),
        value: Some(bytes(GROUP_VALUE)),
    };
    assert_eq!(group_record(&group_id, &group()), Ok(record.clone()));

    let mut coordinator = Coordinator::new(CoordinatorSettings::default());
    coordinator
        .replay(&record.key, record.value.as_ref())
        .unwrap();
    let described = coordinator.describe_group(&group_id, 6);
    assert_eq!(
        (described.group_state.as_str(), described.members.len()),
        ("Stable", 1)
    );
    coordinator.replay(&record.key, None).unwrap();
    assert_eq!(coordinator.groups().count(), 0);
}

#[test]
fn an_offset_is_written_and_read_as_kafka_does() {
    for (change, value) in [
        (offset(topic_id("orders"), None), OFFSET_VALUE),
        (offset(Uuid::ZERO, None), OFFSET_VALUE_WITHOUT_ID),
        (offset(Uuid::ZERO, Some(61_000)), OFFSET_VALUE_WITH_EXPIRY),
    ] {
        let record = CoordinatorRecord {
            key: bytes(OFFSET_KEY),
            value: Some(bytes(value)),
        };
        assert_eq!(offset_record(&change), Ok(record.clone()));

        let mut coordinator = Coordinator::new(CoordinatorSettings::default());
        coordinator
            .replay(&record.key, record.value.as_ref())
            .unwrap();
        let mut expected = OffsetStore::default();
        expected.apply(change);
        assert_eq!(coordinator.offsets, expected);
        coordinator.replay(&record.key, None).unwrap();
        assert_eq!(coordinator.offsets, OffsetStore::default());
    }
}
