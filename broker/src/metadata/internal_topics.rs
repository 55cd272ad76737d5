//! Topics that the broker creates for itself.

use moldau_protocol::KString;
use moldau_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};

use crate::config::BrokerConfig;

/// Holds the groups and their offsets.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";

/// Holds the transactional ids and their transactions.
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";

/// The request that creates [`TRANSACTION_STATE`] on a cluster of `brokers` brokers, as above.
pub(crate) fn transactions_topic(config: &BrokerConfig, brokers: usize) -> CreateTopicsRequest {
    internal_topic(
        TRANSACTION_STATE,
        config.transaction_state_log_num_partitions,
        config.transaction_state_log_replication_factor,
        config.transaction_state_log_segment_bytes.to_string(),
        brokers,
    )
}

/// The request that creates [`CONSUMER_OFFSETS`] on a cluster of `brokers` brokers.
///
/// The wished number of replicas is lowered to the brokers that live: a single node must work as it is.
pub(crate) fn offsets_topic(config: &BrokerConfig, brokers: usize) -> CreateTopicsRequest {
    internal_topic(
        CONSUMER_OFFSETS,
        config.offsets_topic_num_partitions,
        config.offsets_topic_replication_factor,
        config.offsets_topic_segment_bytes.to_string(),
        brokers,
    )
}

fn internal_topic(
    name: &'static str,
    num_partitions: i32,
    replication_factor: i16,
    segment_bytes: String,
    brokers: usize,
) -> CreateTopicsRequest {
    let brokers = i16::try_from(brokers.max(1)).unwrap_or(i16::MAX);
    let setting = |name: &'static str, value: String| CreatableTopicConfig {
        name: KString::from(name),
        value: Some(KString::from(value)),
        ..Default::default()
    };
    let topic = CreatableTopic {
        name: KString::from(name),
        num_partitions,
        replication_factor: replication_factor.clamp(1, brokers),
        configs: vec![
            setting("cleanup.policy", "compact".to_owned()),
            setting("compression.type", "producer".to_owned()),
            setting("segment.bytes", segment_bytes),
        ],
        ..Default::default()
    };
    CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 0,
        ..Default::default()
    }
}
