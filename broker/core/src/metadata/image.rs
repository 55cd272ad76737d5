//! The cluster's state at one offset of the metadata log.
//!
//! An image is cheap to clone: its maps are shared until one of them changes. The shell applies a
//! batch of records to a clone and publishes that; who holds an older image keeps it unchanged.

use std::collections::BTreeMap;
use std::sync::Arc;

use moldau_protocol::types::{KString, Uuid};

use super::record::{BrokerRecord, ConfigRecord, MetadataRecord, PartitionRecord, ResourceType};
use super::topic_name::is_internal;
use crate::ids::{LeaderEpoch, ProducerId};

/// Brokers, topics and settings of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataImage {
    features: Arc<BTreeMap<KString, i16>>,
    brokers: Arc<BTreeMap<i32, BrokerImage>>,
    /// Invariant: the same topics as in `topic_names`.
    topics: Arc<BTreeMap<KString, Arc<TopicImage>>>,
    topic_names: Arc<BTreeMap<Uuid, KString>>,
    configs: Arc<Configs>,
    next_producer_id: i64,
}

/// Settings by resource; a resource without any has no entry.
type Configs = BTreeMap<(ResourceType, KString), Arc<BTreeMap<KString, KString>>>;

/// A registered broker.
pub type BrokerImage = BrokerRecord;

/// A topic and its partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: KString,
    /// Its id.
    pub id: Uuid,
    /// Its partitions; the position is the partition's index.
    pub partitions: Vec<PartitionImage>,
}

/// The state of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// The node that leads it; -1 is none.
    pub leader: i32,
    /// How many times the leader has changed.
    pub leader_epoch: LeaderEpoch,
    /// How many times the partition has changed in any way.
    pub partition_epoch: i32,
    /// The nodes that hold it, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub isr: Vec<i32>,
}

/// A record that contradicts the image: the metadata log is damaged, or was written by mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A topic of this name or id is there already.
    #[error("metadata: topic \"{name}\" with id {id} exists already")]
    TopicExists {
        /// The name.
        name: KString,
        /// The id.
        id: Uuid,
    },
    /// There is no topic of this id.
    #[error("metadata: there is no topic with id {id}")]
    UnknownTopic {
        /// The id.
        id: Uuid,
    },
    /// The partitions before it are missing.
    #[error(
        "metadata: partition {index} of topic \"{topic}\" comes after a gap; the topic has {partitions}"
    )]
    PartitionGap {
        /// The topic.
        topic: KString,
        /// The partition.
        index: i32,
        /// How many the topic has.
        partitions: usize,
    },
}

impl MetadataImage {
    /// Applies one committed record.
    ///
    /// # Errors
    /// The record contradicts the image, which stays as it was.
    pub fn apply(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        match record {
            MetadataRecord::Feature { name, level } => self.set_feature(name, *level),
            MetadataRecord::Broker(broker) => {
                Arc::make_mut(&mut self.brokers).insert(broker.id, broker.clone());
            }
            MetadataRecord::Topic { name, id } => return self.add_topic(name, *id),
            MetadataRecord::RemoveTopic { id } => return self.remove_topic(*id),
            MetadataRecord::Partition(partition) => return self.set_partition(partition),
            MetadataRecord::Config(config) => self.set_config(config),
            MetadataRecord::ProducerIds { next } => {
                self.next_producer_id = self.next_producer_id.max(next.0)
            }
        }
        Ok(())
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// The topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: Uuid) -> Option<&Arc<TopicImage>> {
        self.topic_names
            .get(&id)
            .and_then(|name| self.topics.get(name))
    }

    /// All topics, ordered by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    /// The topics whose names are `name` or come after it, ordered by name.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics
            .range::<str, _>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded))
            .map(|(_, topic)| topic)
    }

    /// One partition of a topic.
    #[must_use]
    pub fn partition(&self, topic: &str, index: i32) -> Option<&PartitionImage> {
        self.topic(topic).and_then(|topic| topic.partition(index))
    }

    /// Whether an image has the very topics of this one, unchanged since. Topics that changed and
    /// changed back count as others.
    #[must_use]
    pub fn has_same_topics(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.topics, &other.topics)
    }

    /// How many partitions all topics have.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.topics
            .values()
            .map(|topic| topic.partitions.len())
            .sum()
    }

    /// All registered brokers, ordered by id.
    pub fn brokers(&self) -> impl ExactSizeIterator<Item = &BrokerImage> {
        self.brokers.values()
    }

    /// The broker of this id.
    #[must_use]
    pub fn broker(&self, id: i32) -> Option<&BrokerImage> {
        self.brokers.get(&id)
    }

    /// The settings of a resource that are not the default; `None` if there is not one.
    #[must_use]
    pub fn config(
        &self,
        resource_type: ResourceType,
        name: &KString,
    ) -> Option<&Arc<BTreeMap<KString, KString>>> {
        self.configs.get(&(resource_type, name.clone()))
    }

    /// The names of the resources of one type that have settings of their own, ordered.
    pub fn configured(&self, resource_type: ResourceType) -> impl Iterator<Item = &KString> {
        self.configs
            .keys()
            .filter(move |(found, _)| *found == resource_type)
            .map(|(_, name)| name)
    }

    /// The settings of a topic that are not the default.
    #[must_use]
    pub fn topic_config(&self, name: &KString) -> Option<&BTreeMap<KString, KString>> {
        self.config(ResourceType::Topic, name).map(Arc::as_ref)
    }

    /// The level that a feature was set to, 0 if it was switched off; `None` if nobody has set it.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<i16> {
        self.features.get(name).copied()
    }

    /// The first producer id that is not given out.
    #[must_use]
    pub const fn next_producer_id(&self) -> ProducerId {
        ProducerId(self.next_producer_id)
    }

    fn set_feature(&mut self, name: &KString, level: i16) {
        Arc::make_mut(&mut self.features).insert(name.clone(), level);
    }

    fn add_topic(&mut self, name: &KString, id: Uuid) -> Result<(), ApplyError> {
        if self.topics.contains_key(name) || self.topic_names.contains_key(&id) {
            return Err(ApplyError::TopicExists {
                name: name.clone(),
                id,
            });
        }
        let topic = TopicImage {
            name: name.clone(),
            id,
            partitions: Vec::new(),
        };
        Arc::make_mut(&mut self.topics).insert(name.clone(), Arc::new(topic));
        Arc::make_mut(&mut self.topic_names).insert(id, name.clone());
        Ok(())
    }

    fn remove_topic(&mut self, id: Uuid) -> Result<(), ApplyError> {
        let name = self
            .topic_names
            .get(&id)
            .cloned()
            .ok_or(ApplyError::UnknownTopic { id })?;
        Arc::make_mut(&mut self.topic_names).remove(&id);
        Arc::make_mut(&mut self.topics).remove(&name);
        Arc::make_mut(&mut self.configs).remove(&(ResourceType::Topic, name));
        Ok(())
    }

    fn set_partition(&mut self, record: &PartitionRecord) -> Result<(), ApplyError> {
        let unknown = ApplyError::UnknownTopic {
            id: record.topic_id,
        };
        let name = self
            .topic_names
            .get(&record.topic_id)
            .ok_or(unknown.clone())?;
        let topics = Arc::make_mut(&mut self.topics);
        let topic = Arc::make_mut(topics.get_mut(name).ok_or(unknown)?);
        let partition = PartitionImage {
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
        };
        let partitions = topic.partitions.len();
        match usize::try_from(record.index) {
            Ok(index) if index == partitions => topic.partitions.push(partition),
            Ok(index) if index < partitions => topic.partitions[index] = partition,
            _ => {
                return Err(ApplyError::PartitionGap {
                    topic: name.clone(),
                    index: record.index,
                    partitions,
                });
            }
        }
        Ok(())
    }

    fn set_config(&mut self, record: &ConfigRecord) {
        let key = (record.resource_type, record.resource_name.clone());
        let configs = Arc::make_mut(&mut self.configs);
        let Some(value) = &record.value else {
            if let Some(settings) = configs.get_mut(&key) {
                let settings = Arc::make_mut(settings);
                settings.remove(&record.name);
                if settings.is_empty() {
                    configs.remove(&key);
                }
            }
            return;
        };
        Arc::make_mut(configs.entry(key).or_default()).insert(record.name.clone(), value.clone());
    }
}

impl TopicImage {
    /// Whether the cluster itself writes this topic.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        is_internal(&self.name)
    }

    /// The partition of this index.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&PartitionImage> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.partitions.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: Uuid = Uuid([1; 16]);

    fn partition(index: i32, leader_epoch: i32) -> MetadataRecord {
        MetadataRecord::Partition(PartitionRecord {
            topic_id: ORDERS,
            index,
            leader: 1,
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: 0,
            replicas: vec![1],
            isr: vec![1],
        })
    }

    fn config(name: &'static str, value: Option<&'static str>) -> MetadataRecord {
        MetadataRecord::Config(ConfigRecord {
            resource_type: ResourceType::Topic,
            resource_name: "orders".into(),
            name: name.into(),
            value: value.map(KString::from),
        })
    }

    fn orders() -> MetadataImage {
        let mut image = MetadataImage::default();
        let topic = MetadataRecord::Topic {
            name: "orders".into(),
            id: ORDERS,
        };
        for record in [
            topic,
            partition(0, 0),
            partition(1, 0),
            config("retention.ms", Some("1")),
        ] {
            image.apply(&record).unwrap();
        }
        image
    }

    #[test]
    fn a_topic_is_found_by_name_and_by_id() {
        let image = orders();
        assert_eq!(image.topic("orders"), image.topic_by_id(ORDERS));
        assert_eq!(
            image.topic("orders").map(|topic| topic.partitions.len()),
            Some(2)
        );
        assert_eq!(image.topic_by_id(Uuid([2; 16])), None);
        assert_eq!(image.partition_count(), 2);
    }

    #[test]
    fn an_older_image_does_not_change() {
        let before = orders();
        let mut after = before.clone();
        after.apply(&partition(0, 1)).unwrap();
        after.apply(&partition(2, 0)).unwrap();
        after.apply(&config("retention.ms", None)).unwrap();
        assert_eq!(before, orders());
        assert_eq!(
            after.partition("orders", 0).map(|p| p.leader_epoch),
            Some(LeaderEpoch(1))
        );
        assert_eq!(after.partition_count(), 3);
        assert_eq!(after.topic_config(&"orders".into()), None);
    }

    #[test]
    fn a_removed_topic_takes_its_settings_with_it() {
        let mut image = orders();
        image
            .apply(&MetadataRecord::RemoveTopic { id: ORDERS })
            .unwrap();
        assert_eq!(image, MetadataImage::default());
    }

    #[test]
    fn records_that_contradict_the_image_are_refused() {
        let mut image = orders();
        let again = MetadataRecord::Topic {
            name: "orders".into(),
            id: Uuid([3; 16]),
        };
        assert!(matches!(
            image.apply(&again),
            Err(ApplyError::TopicExists { .. })
        ));
        assert!(matches!(
            image.apply(&partition(3, 0)),
            Err(ApplyError::PartitionGap { index: 3, .. })
        ));
        assert!(matches!(
            image.apply(&partition(-1, 0)),
            Err(ApplyError::PartitionGap { index: -1, .. })
        ));
        let unknown = MetadataRecord::RemoveTopic { id: Uuid([9; 16]) };
        assert!(matches!(
            image.apply(&unknown),
            Err(ApplyError::UnknownTopic { .. })
        ));
        assert_eq!(image, orders());
    }

    #[test]
    fn producer_ids_are_never_given_out_twice() {
        let mut image = MetadataImage::default();
        image
            .apply(&MetadataRecord::ProducerIds {
                next: ProducerId(2_000),
            })
            .unwrap();
        image
            .apply(&MetadataRecord::ProducerIds {
                next: ProducerId(1_000),
            })
            .unwrap();
        assert_eq!(image.next_producer_id(), ProducerId(2_000));
    }
}
