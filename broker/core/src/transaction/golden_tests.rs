//! The records of `__transaction_state`, byte for byte as Kafka's schemas say.

use super::fixture::World;
use super::records::record;
use super::*;

/// Bytes from hexadecimal digits; blanks do not count.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .bytes()
        .filter(|digit| !digit.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn metadata() -> TransactionMetadata {
    TransactionMetadata {
        producer_epoch: ProducerEpoch(3),
        last_update_timestamp_ms: 0x0102,
        ..TransactionMetadata::new(ProducerId(0x65), 60_000, 0)
    }
}

fn check(metadata: &TransactionMetadata, expected: &str) {
    let record = record(&"tx".into(), Some(metadata)).unwrap();
    assert_eq!(record.key, hex("0000 0002 7478"), "type 0, then the id");
    let value = record.value.unwrap();
    assert_eq!(value, hex(expected));
    let mut world = World::new();
    world.coordinator.replay(&record.key, Some(&value)).unwrap();
    assert_eq!(world.coordinator.metadata("tx"), Some(metadata));
}

#[test]
fn an_id_without_a_transaction_has_no_list_of_partitions() {
    check(
        &metadata(),
        "0001 0000000000000065 0003 0000ea60 00 00 0000000000000102 ffffffffffffffff 00",
    );
}

#[test]
fn an_open_transaction_of_version_2_has_partitions_by_topic_and_says_its_version() {
    let partitions = [("a".into(), 1), ("a".into(), 0), ("b".into(), 7)];
    let metadata = metadata().with_partitions(partitions, 2, 0x0304);
    check(
        &metadata,
        "0001 0000000000000065 0003 0000ea60 01
         03  02 61  03 00000000 00000001  00
             02 62  02 00000007           00
         0000000000000304 0000000000000304
         01  02 02 0002",
    );
}

#[test]
fn the_producer_ids_before_and_behind_are_tagged_fields() {
    let prepared = TransactionMetadata {
        state: TransactionState::PrepareCommit,
        previous_producer_id: ProducerId(0x64),
        next_producer_id: ProducerId(0x66),
        client_version: 2,
        ..metadata()
    };
    check(
        &prepared,
        "0001 0000000000000065 0003 0000ea60 02 01 0000000000000102 ffffffffffffffff
         03  00 08 0000000000000064  01 08 0000000000000066  02 02 0002",
    );
}

#[test]
fn an_expired_id_is_a_tombstone() {
    let record = record(&"tx".into(), None).unwrap();
    assert_eq!(record.value, None);
    let mut world = World::new();
    world.init("tx");
    world.coordinator.replay(&record.key, None).unwrap();
    assert!(world.coordinator.is_empty());
}
