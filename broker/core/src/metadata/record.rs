//! The records of the metadata log, through which alone the cluster's state changes.

use moldau_protocol::types::{KString, Uuid};

use crate::ids::{LeaderEpoch, ProducerId};

/// One change of the cluster's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRecord {
    /// A feature is finalized at a level; 0 takes it back.
    Feature {
        /// For example `metadata.version`.
        name: KString,
        /// Its level.
        level: i16,
    },
    /// A broker has registered, or changed its registration.
    Broker(BrokerRecord),
    /// A topic without partitions; they follow.
    Topic {
        /// Its name.
        name: KString,
        /// Its id, never used before.
        id: Uuid,
    },
    /// A topic, its partitions and its settings are gone.
    RemoveTopic {
        /// The topic.
        id: Uuid,
    },
    /// A partition is new or has changed.
    Partition(PartitionRecord),
    /// A setting is set or taken back.
    Config(ConfigRecord),
    /// Producer ids below this one are given out.
    ProducerIds {
        /// The first id that is free.
        next: ProducerId,
    },
}

/// The registration of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRecord {
    /// Its node id.
    pub id: i32,
    /// Grows with every registration.
    pub epoch: i64,
    /// Differs with every start.
    pub incarnation_id: Uuid,
    /// Whether it may lead partitions: false while it is fenced.
    pub live: bool,
    /// The host it is reached at by default.
    pub host: KString,
    /// The port it is reached at by default.
    pub port: u16,
    /// The rack it stands in.
    pub rack: Option<KString>,
}

/// The state of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRecord {
    /// Its topic.
    pub topic_id: Uuid,
    /// Its number in the topic, from 0.
    pub index: i32,
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

/// The value of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRecord {
    /// What kind of thing is set.
    pub resource_type: ResourceType,
    /// The topic's name or the broker's id.
    pub resource_name: KString,
    /// The setting.
    pub name: KString,
    /// Its value, or `None` for the default.
    pub value: Option<KString>,
}

/// Things that have settings; the numbers are those of DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// A topic.
    Topic = 2,
    /// A broker, or all of them if the name is empty.
    Broker = 4,
    /// A group.
    Group = 32,
}

impl ResourceType {
    /// The type of this number, if it has settings here.
    #[must_use]
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            32 => Some(Self::Group),
            _ => None,
        }
    }

    /// Kafka's number.
    #[must_use]
    pub const fn code(self) -> i8 {
        self as i8
    }
}
