//! What is known about the cluster: brokers, topics, leaders.

use std::collections::{BTreeMap, HashMap};

use moldau_protocol::messages::metadata::{
    MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use moldau_protocol::{ErrorCode, KString, Uuid};

use crate::topic_partition::TopicPartition;

/// A picture of the cluster at one moment.
#[derive(Clone, Debug, Default)]
pub struct ClusterMetadata {
    /// Id of the cluster.
    pub cluster_id: Option<KString>,
    /// The broker to which changes of the cluster go.
    pub controller_id: Option<i32>,
    /// Brokers by id.
    pub brokers: BTreeMap<i32, BrokerEndpoint>,
    /// The topics that were asked for, by name.
    pub topics: HashMap<KString, TopicMetadata>,
    /// Topics that were asked for and cannot be given, with the reason.
    pub topic_errors: HashMap<KString, ErrorCode>,
    /// Names by id, of the topics above.
    pub(crate) names: HashMap<Uuid, KString>,
}

/// A leader that a broker named when it refused a request for not being it (KIP-951).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewLeader {
    pub(crate) name: TopicPartition,
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
}

/// Where a broker is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerEndpoint {
    /// Id.
    pub id: i32,
    /// Advertised host name or address.
    pub host: String,
    /// Advertised port.
    pub port: i32,
    /// Rack or zone, where the broker has one.
    pub rack: Option<String>,
}

impl BrokerEndpoint {
    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Name.
    pub name: KString,
    /// Id; zero where the cluster does not tell.
    pub topic_id: Uuid,
    /// Whether it is one of the broker's own.
    pub is_internal: bool,
    /// Partitions; the index is the partition's number.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Number, from 0.
    pub partition: i32,
    /// Broker that leads it; `None` while there is none.
    pub leader: Option<i32>,
    /// Counts the changes of leader; -1 where the cluster does not tell.
    pub leader_epoch: i32,
    /// Brokers that hold it.
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    pub isr: Vec<i32>,
    /// Those of them that are not there.
    pub offline_replicas: Vec<i32>,
}

impl ClusterMetadata {
    /// The broker that leads a partition, and the leader's epoch.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        let topic = self.topics.get(topic)?;
        let partition = topic.partitions.get(usize::try_from(partition).ok()?)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// Id of a topic that is known and has one.
    #[must_use]
    pub fn topic_id(&self, topic: &str) -> Option<Uuid> {
        let id = self.topics.get(topic)?.topic_id;
        (!id.is_zero()).then_some(id)
    }

    /// Name of a topic that is known.
    #[must_use]
    pub fn topic_name(&self, id: &Uuid) -> Option<&KString> {
        self.names.get(id)
    }

    /// Takes a newer leader into the picture. Gives whether it is news.
    pub(crate) fn learn(&mut self, news: &NewLeader) -> bool {
        let index = usize::try_from(news.name.partition).unwrap_or(usize::MAX);
        let partition = self
            .topics
            .get_mut(&news.name.topic)
            .and_then(|topic| topic.partitions.get_mut(index));
        let Some(partition) = partition.filter(|known| known.leader_epoch < news.leader_epoch)
        else {
            return false;
        };
        partition.leader = Some(news.leader);
        partition.leader_epoch = news.leader_epoch;
        true
    }

    /// Number of partitions of a topic that is known.
    #[must_use]
    pub fn partition_count(&self, topic: &str) -> Option<i32> {
        self.topics
            .get(topic)
            .map(|topic| topic.partitions.len() as i32)
    }

    /// Takes what a response says; topics that it does not name stay as they are.
    pub(crate) fn merge(&mut self, response: &MetadataResponse) {
        if response.cluster_id.is_some() {
            self.cluster_id = response.cluster_id.as_ref().map(KString::detached);
        }
        self.controller_id = (response.controller_id >= 0).then_some(response.controller_id);
        self.brokers = brokers(response);
        for answer in &response.topics {
            let Some(name) = answer.name.as_ref().map(KString::detached) else {
                continue;
            };
            if let Some(before) = self.topics.get(&name) {
                self.names.remove(&before.topic_id);
            }
            if answer.error_code != 0 {
                self.topics.remove(&name);
                self.topic_errors
                    .insert(name, ErrorCode::from_code(answer.error_code));
                continue;
            }
            self.topic_errors.remove(&name);
            let topic = topic(&name, answer, self.topics.get(&name));
            if !topic.topic_id.is_zero() {
                self.names.insert(topic.topic_id, name.clone());
            }
            self.topics.insert(name, topic);
        }
    }

    /// Forgets topics that nobody asks for any more.
    pub(crate) fn retain(&mut self, keep: impl Fn(&KString) -> bool) {
        self.topics.retain(|name, _| keep(name));
        self.names.retain(|_, name| keep(name));
        self.topic_errors.retain(|name, _| keep(name));
    }
}

pub(crate) fn brokers(response: &MetadataResponse) -> BTreeMap<i32, BrokerEndpoint> {
    response
        .brokers
        .iter()
        .map(|broker| {
            let endpoint = BrokerEndpoint {
                id: broker.node_id,
                host: broker.host.to_string(),
                port: broker.port,
                rack: broker.rack.as_ref().map(ToString::to_string),
            };
            (broker.node_id, endpoint)
        })
        .collect()
}

/// A topic from an answer. What is known of a partition stays if the answer is older: brokers learn of a
/// new leader one after another.
pub(crate) fn topic(
    name: &KString,
    answer: &MetadataResponseTopic,
    known: Option<&TopicMetadata>,
) -> TopicMetadata {
    let known = known.filter(|known| known.topic_id == answer.topic_id);
    let mut partitions: Vec<_> = answer
        .partitions
        .iter()
        .map(|answer| {
            let answer = partition(answer);
            let known = known.and_then(|known| known.partitions.get(answer.partition as usize));
            match known {
                Some(known) if known.leader_epoch > answer.leader_epoch => known.clone(),
                _ => answer,
            }
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    TopicMetadata {
        name: name.clone(),
        topic_id: answer.topic_id,
        is_internal: answer.is_internal,
        partitions,
    }
}

fn partition(answer: &MetadataResponsePartition) -> PartitionMetadata {
    PartitionMetadata {
        partition: answer.partition_index,
        leader: (answer.leader_id >= 0).then_some(answer.leader_id),
        leader_epoch: answer.leader_epoch,
        replicas: answer.replica_nodes.clone(),
        isr: answer.isr_nodes.clone(),
        offline_replicas: answer.offline_replicas.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(leader_id: i32, leader_epoch: i32, error_code: i16) -> MetadataResponse {
        MetadataResponse {
            topics: vec![MetadataResponseTopic {
                name: Some(KString::from_static("orders")),
                error_code,
                partitions: vec![MetadataResponsePartition {
                    leader_id,
                    leader_epoch,
                    ..MetadataResponsePartition::default()
                }],
                ..MetadataResponseTopic::default()
            }],
            ..MetadataResponse::default()
        }
    }

    #[test]
    fn an_older_answer_does_not_bring_back_an_old_leader() {
        let mut cluster = ClusterMetadata::default();
        cluster.merge(&response(1, 5, 0));
        cluster.merge(&response(2, 4, 0));
        assert_eq!(cluster.leader("orders", 0), Some((1, 5)));
        cluster.merge(&response(2, 6, 0));
        assert_eq!(cluster.leader("orders", 0), Some((2, 6)));
    }

    #[test]
    fn a_leader_that_a_broker_names_is_taken_if_it_is_newer() {
        let mut cluster = ClusterMetadata::default();
        cluster.merge(&response(1, 5, 0));
        let mut news = NewLeader {
            name: TopicPartition::new("orders", 0),
            leader: 2,
            leader_epoch: 5,
        };
        assert!(!cluster.learn(&news));
        news.leader_epoch = 6;
        assert!(cluster.learn(&news));
        assert_eq!(cluster.leader("orders", 0), Some((2, 6)));
        cluster.merge(&response(1, 5, 0));
        assert_eq!(cluster.leader("orders", 0), Some((2, 6)), "not taken back");
    }

    #[test]
    fn a_topic_that_was_made_anew_has_only_its_new_id() {
        let with_id = |byte| {
            let mut response = response(1, 0, 0);
            response.topics[0].topic_id = Uuid([byte; 16]);
            response
        };
        let mut cluster = ClusterMetadata::default();
        cluster.merge(&with_id(1));
        cluster.merge(&with_id(2));
        assert_eq!(cluster.topic_name(&Uuid([1; 16])), None);
        let name = cluster.topic_name(&Uuid([2; 16])).unwrap();
        assert_eq!(name, "orders");
        assert_eq!(cluster.topic_id("orders"), Some(Uuid([2; 16])));
        cluster.merge(&response(-1, -1, ErrorCode::UnknownTopicOrPartition.code()));
        assert!(cluster.names.is_empty());
    }

    #[test]
    fn a_deleted_topic_is_forgotten() {
        let mut cluster = ClusterMetadata::default();
        cluster.merge(&response(1, 0, 0));
        assert_eq!(cluster.partition_count("orders"), Some(1));
        cluster.merge(&response(-1, -1, ErrorCode::UnknownTopicOrPartition.code()));
        assert_eq!(cluster.partition_count("orders"), None);
        assert!(cluster.topic_errors.contains_key("orders"));
    }

    #[test]
    fn a_partition_without_leader_has_none() {
        let mut cluster = ClusterMetadata::default();
        cluster.merge(&response(-1, 3, 0));
        assert_eq!(cluster.leader("orders", 0), None);
        assert_eq!(cluster.partition_count("orders"), Some(1));
    }
}
