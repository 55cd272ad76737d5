//! What the admin client takes and gives.

use moldau_protocol::{KString, Uuid};

use crate::topic_partition::TopicPartition;

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Name: letters, digits, `.`, `_` and `-`, at most 249.
    pub name: String,
    /// Number of partitions; -1 is the broker's default.
    pub partitions: i32,
    /// Number of replicas; -1 is the broker's default.
    pub replication_factor: i16,
    /// Topic settings by Kafka's names, such as `cleanup.policy`.
    pub configs: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic with the broker's default replication and settings.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self {
            name: name.into(),
            partitions,
            replication_factor: -1,
            configs: Vec::new(),
        }
    }

    /// The same topic with one more setting.
    #[must_use]
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }
}

/// A topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicListing {
    /// Name.
    pub name: String,
    /// Id, which a topic of the same name created later does not share; zero where the cluster has none.
    pub topic_id: Uuid,
    /// Whether it is one of the broker's own.
    pub is_internal: bool,
    /// Partitions, in order.
    pub partitions: Vec<PartitionListing>,
}

/// A partition as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionListing {
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

/// Which offset to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// Of the oldest record that is still there.
    Earliest,
    /// After the newest record that consumers can read.
    Latest,
    /// Of the record with the largest timestamp.
    MaxTimestamp,
    /// Of the first record with this timestamp, in milliseconds, or a later one.
    Timestamp(i64),
}

impl OffsetSpec {
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Earliest => -2,
            Self::Latest => -1,
            Self::MaxTimestamp => -3,
            Self::Timestamp(timestamp) => timestamp,
        }
    }
}

/// An offset that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; -1 where no record has such a timestamp.
    pub offset: i64,
    /// The record's timestamp; -1 for [`OffsetSpec::Earliest`] and [`OffsetSpec::Latest`].
    pub timestamp: i64,
    /// Leader epoch of the record, where known.
    pub leader_epoch: Option<i32>,
}

/// What settings belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConfigResource {
    /// A topic.
    Topic(String),
    /// A broker.
    Broker(i32),
    /// The defaults of all brokers.
    BrokerDefaults,
    /// A consumer group.
    Group(String),
}

impl ConfigResource {
    pub(crate) const fn code(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) | Self::BrokerDefaults => 4,
            Self::Group(_) => 32,
        }
    }

    pub(crate) fn name(&self) -> KString {
        match self {
            Self::Topic(name) | Self::Group(name) => KString::copy_from(name),
            Self::Broker(id) => KString::from(id.to_string()),
            Self::BrokerDefaults => KString::EMPTY,
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic \"{name}\""),
            Self::Group(name) => format!("group \"{name}\""),
            Self::Broker(id) => format!("broker {id}"),
            Self::BrokerDefaults => "broker defaults".to_owned(),
        }
    }
}

/// One setting and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Kafka's name of the setting.
    pub name: String,
    /// Its value; `None` where it is sensitive or not set.
    pub value: Option<String>,
    /// Whether nobody has set it.
    pub is_default: bool,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether its value is kept from readers.
    pub is_sensitive: bool,
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Kafka's name of the setting.
    pub name: String,
    /// What to do with it.
    pub operation: ConfigOperation,
}

/// What to do with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOperation {
    /// Give it this value.
    Set(String),
    /// Take the value away, so that the default holds.
    Delete,
    /// Add to a list.
    Append(String),
    /// Remove from a list.
    Subtract(String),
}

/// A group as the list of groups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Name.
    pub group_id: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, …; empty where the broker does not tell.
    pub state: String,
    /// `consumer` for consumers; empty for groups that only commit offsets.
    pub protocol_type: String,
    /// `classic`, `consumer`, `share` or `streams`; empty where the broker does not tell.
    pub group_type: String,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Name.
    pub group_id: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance` (classic), `Assigning`, `Reconciling` (new protocol)
    /// or `Dead` (no such group).
    pub state: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// The assignment strategy that the members agreed on, or that the coordinator uses (new protocol).
    pub protocol: String,
    /// The members.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// Id, given by the broker.
    pub member_id: String,
    /// Static name, if it has one.
    pub group_instance_id: Option<String>,
    /// What the program calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Its partitions.
    pub assignment: Vec<TopicPartition>,
}

/// The cluster and its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// Id, chosen when the cluster was made.
    pub cluster_id: String,
    /// The broker to which changes of the cluster go.
    pub controller_id: Option<i32>,
    /// The brokers that are there.
    pub brokers: Vec<crate::metadata::BrokerEndpoint>,
}
