//! The controller's decisions: a request and an image give records and an answer.
//!
//! Nothing is changed here. The caller proposes the records to the metadata quorum and sends the
//! answer once they are committed; decisions are made one after another on the latest image.

mod alter_configs;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod elect_leaders;
#[cfg(test)]
pub(crate) mod fixture;
mod placement;
mod reassignments;
mod update_features;

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::{KString, Uuid};

use super::image::MetadataImage;
use super::record::{MetadataRecord, PartitionRecord};
use crate::config::{BrokerValues, ConfigError, TopicDefaults};
use crate::ids::{LeaderEpoch, ProducerId};
use crate::rejection::Rejection;

/// Decides on one image.
#[derive(Clone, Copy, Debug)]
pub struct Controller<'a> {
    /// The latest committed state.
    pub image: &'a MetadataImage,
    /// What is not said by requests.
    pub settings: &'a ControllerSettings,
}

/// The broker settings that decisions depend on.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    /// `num.partitions`
    pub default_partitions: i32,
    /// `default.replication.factor`; at most one replica goes on each live broker.
    pub default_replication_factor: i16,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// The broker settings of this node that are set.
    pub broker: BrokerValues,
    /// What topics have when they do not say otherwise: what follows from `broker`.
    pub topic_defaults: TopicDefaults,
}

impl Default for ControllerSettings {
    fn default() -> Self {
        Self {
            default_partitions: 1,
            default_replication_factor: 1,
            delete_topic_enable: true,
            broker: BrokerValues::default(),
            topic_defaults: TopicDefaults::default(),
        }
    }
}

/// What to write to the metadata log, and what to answer when that is committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<R> {
    /// All of them or none; empty if nothing changes.
    pub records: Vec<MetadataRecord>,
    /// The answer.
    pub response: R,
}

/// Producer ids for one broker to give out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first of them.
    pub first: ProducerId,
    /// How many.
    pub count: i64,
}

impl Controller<'_> {
    /// Sets `count` producer ids aside for one broker.
    #[must_use]
    pub fn allocate_producer_ids(&self, count: i64) -> Decision<ProducerIdBlock> {
        let first = self.image.next_producer_id();
        let next = ProducerId(first.0.saturating_add(count));
        Decision {
            records: vec![MetadataRecord::ProducerIds { next }],
            response: ProducerIdBlock {
                first,
                count: next.0 - first.0,
            },
        }
    }
}

/// The record of a partition that is new; its first replica leads.
fn new_partition(topic_id: Uuid, index: i32, replicas: Vec<i32>) -> MetadataRecord {
    MetadataRecord::Partition(PartitionRecord {
        topic_id,
        index,
        leader: replicas.first().copied().unwrap_or(NO_LEADER),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        isr: replicas.clone(),
        replicas,
    })
}

/// Names that a request has more than once: none of them is acted upon.
fn repeated<'a>(names: impl Iterator<Item = &'a KString>) -> BTreeSet<KString> {
    let mut counts: BTreeMap<&KString, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(name, _)| name.clone())
        .collect()
}

impl From<ConfigError> for Rejection {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}

fn invalid_request(message: impl Into<String>) -> Rejection {
    Rejection::new(ErrorCode::InvalidRequest, message)
}

fn unknown_partition(topic: &KString, index: i32) -> Rejection {
    Rejection::new(
        ErrorCode::UnknownTopicOrPartition,
        format!("there is no partition {index} of topic \"{topic}\""),
    )
}

const NO_LEADER: i32 = -1;

#[cfg(test)]
mod tests {
    use super::fixture::{controller, nodes};
    use super::*;

    #[test]
    fn blocks_of_producer_ids_follow_each_other() {
        let mut image = nodes(1);
        let settings = ControllerSettings::default();
        for first in [0, 1_000, 2_000] {
            let decision = controller(&image, &settings).allocate_producer_ids(1_000);
            assert_eq!(
                decision.response,
                ProducerIdBlock {
                    first: ProducerId(first),
                    count: 1_000
                }
            );
            for record in &decision.records {
                image.apply(record).unwrap();
            }
        }
    }
}
