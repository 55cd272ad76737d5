//! Takes over a data directory that Kafka has written.
//!
//! Kafka's metadata log is put aside under the name `kafka-metadata`, and a log of our own begins
//! whose first batch holds every topic that has a directory. The order makes it safe to be
//! interrupted: as long as our log is empty and `kafka-metadata` is there, it is done again.
//!
//! A topic's id comes from `partition.metadata`, its settings from Kafka's metadata log. Settings
//! that are not supported are left out, with a warning that names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use moldau_core::config::Scope;
use moldau_core::ids::{LeaderEpoch, ProducerId};
use moldau_core::metadata::{ConfigRecord, MetadataRecord, PartitionRecord, ResourceType};
use moldau_log::{LogDirectory, LogError, TopicPartition};
use moldau_protocol::{KString, Uuid};
use tracing::{info, warn};

use super::kraft::{KraftImage, TOPIC_RESOURCE, is_kraft};
use super::log::{MetadataLog, metadata_partition};

/// Puts Kafka's metadata log aside, if that is what the data directory has. Blocks on files.
///
/// # Errors
/// The directory cannot be renamed.
pub(crate) fn put_aside(directory: &LogDirectory) -> Result<(), LogError> {
    let kafkas = directory.partition_path(&metadata_partition());
    if !is_kraft(&kafkas) {
        return Ok(());
    }
    info!(directory = %directory.path().display(), "taking over a data directory of Kafka");
    let aside = directory.path().join(ASIDE);
    directory.rename(&kafkas, &aside)
}

/// Fills an empty metadata log with the topics that Kafka left. Blocks on files.
///
/// # Errors
/// A file cannot be read, or the metadata log cannot be written.
pub(crate) fn adopt(
    directory: &LogDirectory,
    log: &mut MetadataLog,
    node_id: i32,
) -> Result<(), LogError> {
    let aside = directory.path().join(ASIDE);
    if log.end_offset() > 0 || !aside.exists() {
        return Ok(());
    }
    let kraft = KraftImage::read(&aside).map_err(|source| LogError::Io {
        action: "read",
        path: aside,
        source: Arc::new(source),
    })?;
    let topics = topics(directory, &kraft)?;
    let mut records = Vec::new();
    for (name, topic) in &topics {
        records.extend(topic_records(name, topic, &kraft, node_id));
    }
    records.extend(config_records(&kraft, &topics));
    records.push(MetadataRecord::ProducerIds {
        next: ProducerId(kraft.next_producer_id),
    });
    log.append(&records)?;
    info!(topics = topics.len(), "took over the topics of Kafka");
    Ok(())
}

/// A topic as its directories show it.
struct Found {
    id: Uuid,
    /// The newest leader epoch of each partition.
    leader_epochs: BTreeMap<i32, i32>,
}

fn topics(
    directory: &LogDirectory,
    kraft: &KraftImage,
) -> Result<BTreeMap<String, Found>, LogError> {
    let mut topics: BTreeMap<String, Found> = BTreeMap::new();
    for place in directory.partitions()? {
        if place == metadata_partition() {
            continue;
        }
        let Some(id) = directory.topic_id(&place)?.or_else(|| id_of(&place, kraft)) else {
            warn!(partition = %place, "left alone: it has no topic id");
            continue;
        };
        let found = topics.entry(place.topic.clone()).or_insert_with(|| Found {
            id,
            leader_epochs: BTreeMap::new(),
        });
        if found.id != id {
            warn!(partition = %place, topic_id = %id, "left alone: it belongs to an older topic of this name");
            continue;
        }
        let in_file = directory.latest_leader_epoch(&place)?.unwrap_or(0);
        found.leader_epochs.insert(place.partition, in_file);
    }
    Ok(topics)
}

fn id_of(place: &TopicPartition, kraft: &KraftImage) -> Option<Uuid> {
    let mut topics = kraft.topics.iter();
    topics
        .find(|(_, name)| ***name == *place.topic)
        .map(|(id, _)| *id)
}

/// The topic with all partitions up to the last one that has a directory. This node is their new
/// leader, so the epoch is one that Kafka has not given out.
fn topic_records(
    name: &str,
    topic: &Found,
    kraft: &KraftImage,
    node_id: i32,
) -> Vec<MetadataRecord> {
    let last = topic
        .leader_epochs
        .last_key_value()
        .map_or(0, |(last, _)| *last);
    let mut records = vec![MetadataRecord::Topic {
        name: KString::copy_from(name),
        id: topic.id,
    }];
    records.extend((0..=last).map(|index| {
        let in_file = topic.leader_epochs.get(&index).copied().unwrap_or(0);
        let known = kraft.leader_epochs.get(&(topic.id, index)).copied();
        MetadataRecord::Partition(PartitionRecord {
            topic_id: topic.id,
            index,
            leader: node_id,
            leader_epoch: LeaderEpoch(known.unwrap_or(0).max(in_file).saturating_add(1)),
            partition_epoch: 0,
            replicas: vec![node_id],
            isr: vec![node_id],
        })
    }));
    records
}

fn config_records(kraft: &KraftImage, topics: &BTreeMap<String, Found>) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for ((resource_type, resource, name), value) in &kraft.configs {
        let (resource_type, scope) = match ResourceType::from_code(*resource_type) {
            Some(kind @ ResourceType::Topic) => (kind, Scope::Topic),
            Some(kind @ ResourceType::Broker) => (kind, Scope::Broker),
            Some(kind @ ResourceType::Group) => (kind, Scope::Group),
            None => continue,
        };
        if resource_type as i8 == TOPIC_RESOURCE && !topics.contains_key(&**resource) {
            continue;
        }
        if let Err(error) = scope.validate(name, value) {
            warn!(%resource, %error, "a setting that Kafka had is left out");
            continue;
        }
        records.push(MetadataRecord::Config(ConfigRecord {
            resource_type,
            resource_name: resource.clone(),
            name: name.clone(),
            value: Some(value.clone()),
        }));
    }
    records
}

/// Kafka's metadata log, once it is put aside.
const ASIDE: &str = "kafka-metadata";
