//! Topics: creating, deleting, listing.

use std::collections::BTreeMap;
use std::time::Duration;

use moldau_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use moldau_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use moldau_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use moldau_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use moldau_protocol::messages::metadata::{MetadataResponse, MetadataResponseTopic};
use moldau_protocol::{ApiKey, ErrorCode, KString};

use crate::admin::{Admin, ListedOffset, NewTopic, OffsetSpec, PartitionListing, TopicListing};
use crate::backoff::Retry;
use crate::client::Target;
use crate::consumer::Isolation;
use crate::error::ClientError;
use crate::metadata::{topic_error, topic_metadata};
use crate::offsets::partitions_by_topic;
use crate::topic_partition::TopicPartition;

/// An outcome by name, in the order of the call.
pub(super) type NamedResults = Vec<(String, Result<(), ClientError>)>;

impl Admin {
    /// Creates topics and waits until they can be used. Each has its own result.
    ///
    /// # Errors
    ///
    /// The cluster cannot be asked.
    pub async fn create_topics(&self, topics: Vec<NewTopic>) -> Result<NamedResults, ClientError> {
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let request = CreateTopicsRequest {
            topics: topics.into_iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            ..CreateTopicsRequest::default()
        };
        let results = self
            .client
            .request_until(Target::Controller, request, |response| {
                let answers = response.topics.iter().map(|answer| {
                    let message = answer.error_message.as_deref();
                    (answer.name.to_string(), answer.error_code, message)
                });
                named_results(&names, answers, "topic")
            })
            .await?;
        self.wait_for_leaders(&results).await;
        Ok(results)
    }

    /// Creates a topic unless one of that name is there already, whatever its partitions and settings are.
    ///
    /// # Errors
    ///
    /// The topic is not there and cannot be created.
    pub async fn ensure_topic(&self, topic: NewTopic) -> Result<(), ClientError> {
        if self.client.partition_count(&topic.name).await?.is_some() {
            return Ok(());
        }
        match single(self.create_topics(vec![topic]).await?) {
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => Ok(()),
            result => result,
        }
    }

    /// Deletes topics with all their records. Each has its own result.
    ///
    /// # Errors
    ///
    /// The cluster cannot be asked.
    pub async fn delete_topics(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<NamedResults, ClientError> {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let version = self
            .client
            .version_for(&Target::Controller, ApiKey::DeleteTopics)
            .await?;
        let mut request = DeleteTopicsRequest {
            timeout_ms: self.timeout_ms(),
            ..DeleteTopicsRequest::default()
        };
        if version >= 6 {
            request.topics = names
                .iter()
                .map(|name| DeleteTopicState {
                    name: Some(KString::copy_from(name)),
                    ..DeleteTopicState::default()
                })
                .collect();
        } else {
            request.topic_names = names.iter().map(|name| KString::copy_from(name)).collect();
        }
        self.client
            .request_until(Target::Controller, request, |response| {
                let answers = response.responses.iter().map(|answer| {
                    let name = answer.name.as_deref().unwrap_or_default().to_owned();
                    (name, answer.error_code, answer.error_message.as_deref())
                });
                named_results(&names, answers, "topic")
            })
            .await
    }

    /// Gives a topic more partitions: `total` is the number that it has afterwards.
    ///
    /// # Errors
    ///
    /// There is no such topic, or it has as many or more already.
    pub async fn create_partitions(&self, topic: &str, total: i32) -> Result<(), ClientError> {
        let names = [topic.to_owned()];
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: KString::copy_from(topic),
                count: total,
                assignments: None,
                ..CreatePartitionsTopic::default()
            }],
            timeout_ms: self.timeout_ms(),
            ..CreatePartitionsRequest::default()
        };
        let results = self
            .client
            .request_until(Target::Controller, request, |response| {
                let answers = response.results.iter().map(|answer| {
                    let message = answer.error_message.as_deref();
                    (answer.name.to_string(), answer.error_code, message)
                });
                named_results(&names, answers, "topic")
            })
            .await?;
        single(results)
    }

    /// All topics, by name, with the broker's own.
    ///
    /// # Errors
    ///
    /// The cluster cannot be asked.
    pub async fn list_topics(&self) -> Result<Vec<TopicListing>, ClientError> {
        let response = self.ask_metadata(None).await?;
        let mut topics: Vec<_> = response
            .topics
            .iter()
            .filter(|topic| topic.error_code == 0)
            .filter_map(listing)
            .collect();
        topics.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(topics)
    }

    /// The named topics, in the order of `names`.
    ///
    /// # Errors
    ///
    /// One of them does not exist or may not be seen.
    pub async fn describe_topics(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<Vec<TopicListing>, ClientError> {
        let names: Vec<_> = names
            .iter()
            .map(|name| KString::copy_from(name.as_ref()))
            .collect();
        let response = self.ask_metadata(Some(&names)).await?;
        let find = |name: &KString| {
            let topic = response
                .topics
                .iter()
                .find(|topic| topic.name.as_ref() == Some(name));
            match topic {
                Some(topic) if topic.error_code != 0 => {
                    Err(topic_error(name, ErrorCode::from_code(topic.error_code)))
                }
                Some(topic) => Ok(topic),
                None => Err(topic_error(name, ErrorCode::UnknownTopicOrPartition)),
            }
        };
        names
            .iter()
            .map(|name| {
                let topic = find(name)?;
                listing(topic).ok_or_else(|| topic_error(name, ErrorCode::UnknownTopicOrPartition))
            })
            .collect()
    }

    /// Looks offsets up, by partition. A partition may be named once.
    ///
    /// # Errors
    ///
    /// A topic or partition does not exist, or has no leader for too long.
    pub async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, OffsetSpec)],
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>, ClientError> {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(partition, spec)| (partition.clone(), spec.code()))
            .collect();
        let limit = Duration::from_millis(self.client.config().default_api_timeout_ms);
        self.client
            .list_offsets(&wanted, Isolation::ReadUncommitted, limit)
            .await
    }

    /// Deletes all records below an offset in each partition; -1 is all that consumers can read.
    /// Gives the first offset that is left.
    ///
    /// # Errors
    ///
    /// A partition does not exist, or the offset is beyond its end.
    pub async fn delete_records(
        &self,
        offsets: &[(TopicPartition, i64)],
    ) -> Result<BTreeMap<TopicPartition, i64>, ClientError> {
        let mut by_leader: BTreeMap<i32, Vec<&(TopicPartition, i64)>> = BTreeMap::new();
        for wanted in offsets {
            let leader = self.client.leader_of(&wanted.0).await?;
            by_leader.entry(leader).or_default().push(wanted);
        }
        let mut low_watermarks = BTreeMap::new();
        for (leader, wanted) in by_leader {
            let request = DeleteRecordsRequest {
                topics: delete_records_topics(&wanted),
                timeout_ms: self.timeout_ms(),
                ..DeleteRecordsRequest::default()
            };
            let response = self.client.request(Target::Broker(leader), request).await?;
            for topic in &response.topics {
                for answer in &topic.partitions {
                    let name = TopicPartition::new(&topic.name, answer.partition_index);
                    ClientError::check(answer.error_code, || format!("records of {name}"))?;
                    low_watermarks.insert(name, answer.low_watermark);
                }
            }
        }
        Ok(low_watermarks)
    }

    async fn ask_metadata(
        &self,
        names: Option<&[KString]>,
    ) -> Result<MetadataResponse, ClientError> {
        let mut retry = Retry::api(self.client.config());
        loop {
            match self.client.metadata().ask(names, false).await {
                Ok(response) => return Ok(response),
                Err(error) => retry.after(error).await?,
            }
        }
    }

    /// Brokers learn of a new topic a moment after it is created; until then it would seem not to exist.
    async fn wait_for_leaders(&self, results: &NamedResults) {
        let names: Vec<_> = results
            .iter()
            .filter(|(_, result)| result.is_ok())
            .map(|(name, _)| KString::copy_from(name))
            .collect();
        if names.is_empty() {
            return;
        }
        let mut retry = Retry::new(self.client.config(), LEADERS_WITHIN);
        loop {
            let not_yet = match self.client.metadata().ask(Some(&names), false).await {
                Ok(response) if response.topics.iter().all(has_leaders) => return,
                Ok(_) => topic_error("", ErrorCode::LeaderNotAvailable),
                Err(error) => error,
            };
            if retry.wait(not_yet).await.is_err() {
                return;
            }
        }
    }

    pub(super) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.client.config().request_timeout_ms).unwrap_or(i32::MAX)
    }
}

fn creatable(topic: NewTopic) -> CreatableTopic {
    CreatableTopic {
        name: topic.name.into(),
        num_partitions: topic.partitions,
        replication_factor: topic.replication_factor,
        configs: topic
            .configs
            .into_iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.into(),
                value: Some(value.into()),
                ..CreatableTopicConfig::default()
            })
            .collect(),
        ..CreatableTopic::default()
    }
}

fn delete_records_topics(wanted: &[&(TopicPartition, i64)]) -> Vec<DeleteRecordsTopic> {
    partitions_by_topic(
        wanted.iter().copied(),
        |partition_index, offset| DeleteRecordsPartition {
            partition_index,
            offset: *offset,
            ..DeleteRecordsPartition::default()
        },
        |name, partitions| DeleteRecordsTopic {
            name,
            partitions,
            ..DeleteRecordsTopic::default()
        },
    )
}

fn has_leaders(topic: &MetadataResponseTopic) -> bool {
    topic.error_code == 0
        && topic
            .partitions
            .iter()
            .all(|partition| partition.leader_id >= 0)
}

fn listing(topic: &MetadataResponseTopic) -> Option<TopicListing> {
    let name = topic.name.as_ref()?.detached();
    let topic = topic_metadata(&name, topic, None);
    Some(TopicListing {
        name: name.to_string(),
        topic_id: topic.topic_id,
        is_internal: topic.is_internal,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| PartitionListing {
                partition: partition.partition,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replicas,
                isr: partition.isr,
                offline_replicas: partition.offline_replicas,
            })
            .collect(),
    })
}

/// Puts answers in the order of `names`. An answer that says "ask another broker" is the error of the whole request.
pub(super) fn named_results<'a>(
    names: &[String],
    answers: impl Iterator<Item = (String, i16, Option<&'a str>)>,
    kind: &str,
) -> Result<NamedResults, ClientError> {
    let mut results: BTreeMap<String, Result<(), ClientError>> = BTreeMap::new();
    for (name, code, message) in answers {
        let object = format!("{kind} \"{name}\"");
        let result = match ErrorCode::from_code(code) {
            ErrorCode::None => Ok(()),
            ErrorCode::NotController
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress => {
                return Err(ClientError::broker(code, message, object));
            }
            ErrorCode::UnknownTopicOrPartition => Err(ClientError::UnknownTopic {
                topic: name.clone(),
            }),
            _ => Err(ClientError::broker(code, message, object)),
        };
        results.insert(name, result);
    }
    let in_order = names.iter().map(|name| {
        let result = results.remove(name).unwrap_or_else(|| {
            Err(ClientError::protocol(
                format!("{kind} \"{name}\""),
                "the broker did not answer for it",
            ))
        });
        (name.clone(), result)
    });
    Ok(in_order.collect())
}

/// The result of a call about one object.
pub(super) fn single(results: NamedResults) -> Result<(), ClientError> {
    results.into_iter().try_for_each(|(_, result)| result)
}

/// How long a created topic may take to show up everywhere.
const LEADERS_WITHIN: Duration = Duration::from_secs(10);
