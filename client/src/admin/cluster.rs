//! The cluster: brokers, features, elections of leaders.

use std::collections::BTreeMap;

use moldau_protocol::KString;
use moldau_protocol::messages::api_versions::ApiVersionsRequest;
use moldau_protocol::messages::describe_cluster::DescribeClusterRequest;
use moldau_protocol::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};

use crate::admin::{Admin, ClusterDescription};
use crate::client::Target;
use crate::error::ClientError;
use crate::metadata::BrokerEndpoint;
use crate::offsets::by_topic;
use crate::topic_partition::TopicPartition;

/// The features of a cluster (KIP-584).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FeatureDescription {
    /// Levels that hold in the whole cluster, by feature: `transaction.version`, `group.version`, `metadata.version`.
    pub finalized: BTreeMap<String, i16>,
    /// Lowest and highest level that the broker asked could have, by feature.
    pub supported: BTreeMap<String, (i16, i16)>,
}

/// How a leader is elected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first of the replicas, if it is in sync.
    Preferred,
    /// Any replica that is there, also one that lacks records, if none is in sync.
    Unclean,
}

impl Admin {
    /// The cluster's id, controller and brokers.
    ///
    /// # Errors
    ///
    /// The cluster cannot be asked.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        self.client
            .request_until(Target::Any, DescribeClusterRequest::default(), |response| {
                ClientError::check(response.error_code, || "cluster".to_owned())?;
                Ok(ClusterDescription {
                    cluster_id: response.cluster_id.to_string(),
                    controller_id: (response.controller_id >= 0).then_some(response.controller_id),
                    brokers: response
                        .brokers
                        .iter()
                        .map(|broker| BrokerEndpoint {
                            id: broker.broker_id,
                            host: broker.host.to_string(),
                            port: broker.port,
                            rack: broker.rack.as_ref().map(ToString::to_string),
                        })
                        .collect(),
                })
            })
            .await
    }

    /// The levels of the cluster's features.
    ///
    /// # Errors
    ///
    /// The cluster cannot be asked.
    pub async fn describe_features(&self) -> Result<FeatureDescription, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: KString::from_static("moldau"),
            client_software_version: KString::from_static(env!("CARGO_PKG_VERSION")),
            ..ApiVersionsRequest::default()
        };
        self.client
            .request_until(Target::Any, request, |response| {
                ClientError::check(response.error_code, || "features".to_owned())?;
                let finalized = response.finalized_features.iter();
                let supported = response.supported_features.iter();
                Ok(FeatureDescription {
                    finalized: finalized
                        .map(|feature| (feature.name.to_string(), feature.max_version_level))
                        .collect(),
                    supported: supported
                        .map(|feature| {
                            let levels = (feature.min_version, feature.max_version);
                            (feature.name.to_string(), levels)
                        })
                        .collect(),
                })
            })
            .await
    }

    /// Has leaders elected; `None` is for all partitions. Each partition that is named has its own result,
    /// with `None` only those that got another leader. A partition that has the right leader already fails with
    /// `ELECTION_NOT_NEEDED`.
    ///
    /// # Errors
    ///
    /// The controller cannot be asked.
    pub async fn elect_leaders(
        &self,
        kind: ElectionType,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<BTreeMap<TopicPartition, Result<(), ClientError>>, ClientError> {
        let topics = partitions.map(|partitions| {
            by_topic(partitions.iter().map(|name| (&name.topic, name.partition)))
                .into_iter()
                .map(|(topic, partitions)| TopicPartitions {
                    topic,
                    partitions,
                    ..TopicPartitions::default()
                })
                .collect()
        });
        let request = ElectLeadersRequest {
            election_type: match kind {
                ElectionType::Preferred => 0,
                ElectionType::Unclean => 1,
            },
            topic_partitions: topics,
            timeout_ms: self.timeout_ms(),
            ..ElectLeadersRequest::default()
        };
        self.client
            .request_until(Target::Controller, request, |response| {
                ClientError::check(response.error_code, || "election of leaders".to_owned())?;
                let mut results = BTreeMap::new();
                for topic in &response.replica_election_results {
                    for answer in &topic.partition_result {
                        let name = TopicPartition::new(&topic.topic, answer.partition_id);
                        let message = answer.error_message.as_deref();
                        let object = format!("election of a leader for {name}");
                        let result = match answer.error_code {
                            0 => Ok(()),
                            code => Err(ClientError::broker(code, message, object)),
                        };
                        results.insert(name, result);
                    }
                }
                Ok(results)
            })
            .await
    }

    /// The brokers that are there now.
    pub(super) async fn brokers(&self) -> Result<Vec<i32>, ClientError> {
        let seen = self.client.metadata().snapshot().version;
        self.client.metadata().refresh(seen).await?;
        let cluster = self.client.cluster_metadata();
        Ok(cluster.brokers.keys().copied().collect())
    }
}
