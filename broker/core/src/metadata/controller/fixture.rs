//! Clusters for tests.

use moldau_protocol::types::{KString, Uuid};

use super::{Controller, ControllerSettings};
use crate::ids::LeaderEpoch;
use crate::metadata::{BrokerRecord, MetadataImage, MetadataRecord, PartitionRecord};

/// A cluster of live brokers 1, 2, …
pub(crate) fn nodes(count: i32) -> MetadataImage {
    let mut image = MetadataImage::default();
    for id in 1..=count {
        let incarnation_id = Uuid([id as u8; 16]);
        let broker = BrokerRecord {
            id,
            epoch: 0,
            incarnation_id,
            live: true,
            host: "localhost".into(),
            port: 9092,
            rack: None,
        };
        image.apply(&MetadataRecord::Broker(broker)).unwrap();
    }
    image
}

/// Adds a topic; its id is its name.
pub(crate) fn add_topic(image: &mut MetadataImage, name: &'static str, partitions: i32) -> Uuid {
    let id = topic_id(name);
    image
        .apply(&MetadataRecord::Topic {
            name: KString::from(name),
            id,
        })
        .unwrap();
    for index in 0..partitions {
        let record = PartitionRecord {
            topic_id: id,
            index,
            leader: 1,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: vec![1],
            isr: vec![1],
        };
        image.apply(&MetadataRecord::Partition(record)).unwrap();
    }
    id
}

pub(crate) fn topic_id(name: &str) -> Uuid {
    let mut id = [0; 16];
    id.iter_mut()
        .zip(name.bytes())
        .for_each(|(slot, byte)| *slot = byte);
    Uuid(id)
}

pub(super) fn controller<'a>(
    image: &'a MetadataImage,
    settings: &'a ControllerSettings,
) -> Controller<'a> {
    Controller { image, settings }
}
