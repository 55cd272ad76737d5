//! One number that changes when the topics that a group subscribes to change.
//!
//! It is kept in the record of the group's epoch, computed as Kafka does (XXH3, 64 bits), so that a
//! group does not rebalance only because another broker took it over.

use std::collections::BTreeSet;

use moldau_protocol::types::KString;
use twox_hash::XxHash3_64;

use crate::metadata::{MetadataImage, TopicImage};

/// The hash of the topics of these names that exist; 0 if none does.
pub(super) fn metadata_hash(names: &BTreeSet<KString>, image: &MetadataImage) -> i64 {
    let mut hasher = Stream::default();
    let mut any = false;
    for topic in names.iter().filter_map(|name| image.topic(name)) {
        any = true;
        hasher.i64(topic_hash(topic, image));
    }
    if any { hasher.finish() } else { 0 }
}

fn topic_hash(topic: &TopicImage, image: &MetadataImage) -> i64 {
    let mut hasher = Stream::default();
    hasher.bytes(&[MAGIC]);
    let (most, least) = topic.id.0.split_at(8);
    // The halves of an id are numbers there, and numbers go in with their lowest byte first.
    hasher.bytes(&reversed(most));
    hasher.bytes(&reversed(least));
    hasher.string(&topic.name);
    hasher.i32(count(topic.partitions.len()));
    for (index, partition) in topic.partitions.iter().enumerate() {
        hasher.i32(count(index));
        let rack = |node: &i32| image.broker(*node).and_then(|broker| broker.rack.as_ref());
        let mut racks: Vec<&KString> = partition.replicas.iter().filter_map(rack).collect();
        racks.sort();
        for rack in racks {
            hasher.i32(count(rack.encode_utf16().count()));
            hasher.string(rack);
        }
    }
    hasher.finish()
}

/// Values of a hash in the form in which they go in.
#[derive(Default)]
struct Stream(Vec<u8>);

impl Stream {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn i32(&mut self, value: i32) {
        self.bytes(&value.to_le_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.bytes(&value.to_le_bytes());
    }

    /// The text in UTF-16, then its length.
    fn string(&mut self, text: &str) {
        let mut length = 0;
        for unit in text.encode_utf16() {
            self.bytes(&unit.to_le_bytes());
            length += 1;
        }
        self.i32(length);
    }

    fn finish(self) -> i64 {
        XxHash3_64::oneshot(&self.0).cast_signed()
    }
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

const MAGIC: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::controller::fixture::{add_topic, nodes};
    use crate::metadata::{BrokerRecord, MetadataRecord};

    #[test]
    fn the_hash_is_the_one_that_kafka_computes() {
        let mut image = nodes(1);
        let rack = Some("r1".into());
        let broker = image.broker(1).cloned().expect("it is there");
        let broker = MetadataRecord::Broker(BrokerRecord { rack, ..broker });
        image.apply(&broker).expect("a broker");
        add_topic(&mut image, "orders", 2);
        let topic = image.topic("orders").expect("it is there");
        assert_eq!(topic_hash(topic, &image), 2_239_867_543_016_559_190);
        let names = ["orders", "none"].map(KString::from).into();
        assert_eq!(metadata_hash(&names, &image), -7_605_782_840_173_389_337);
        assert_eq!(metadata_hash(&["none".into()].into(), &image), 0);
    }
}
