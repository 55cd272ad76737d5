//! Offsets of partitions and of groups: looking up, reading, storing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use moldau_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use moldau_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use moldau_protocol::{ApiKey, ErrorCode, KString};

use crate::admin::ListedOffset;
use crate::backoff::Retry;
use crate::client::{Client, Target};
use crate::consumer::Isolation;
use crate::error::ClientError;
use crate::topic_partition::{OffsetAndMetadata, TopicPartition};

/// In whose name positions of a group are stored: a member, or a program that has no part in the group's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    /// The group.
    pub group_id: KString,
    /// Generation of the group (classic protocol) or epoch of the member (KIP-848); -1 outside of the group.
    pub generation_id: i32,
    /// Id of the member; empty outside of the group.
    pub member_id: KString,
    /// Static name, if it has one.
    pub group_instance_id: Option<KString>,
}

impl GroupMetadata {
    /// Somebody outside the group; allowed only while the group has no members.
    #[must_use]
    pub const fn outsider(group_id: KString) -> Self {
        Self {
            group_id,
            generation_id: -1,
            member_id: KString::EMPTY,
            group_instance_id: None,
        }
    }

    /// Whether a code says that the group has gone on without this member.
    pub(crate) const fn is_fenced_by(&self, code: ErrorCode) -> bool {
        matches!(
            code,
            ErrorCode::UnknownMemberId
                | ErrorCode::IllegalGeneration
                | ErrorCode::FencedInstanceId
                | ErrorCode::FencedMemberEpoch
        )
    }
}

impl fmt::Display for GroupMetadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "member \"{}\" of group \"{}\" in generation {}",
            self.member_id, self.group_id, self.generation_id
        )
    }
}

impl Client {
    /// Looks offsets up, each by its timestamp or one of Kafka's special values.
    pub(crate) async fn list_offsets(
        &self,
        wanted: &[(TopicPartition, i64)],
        isolation: Isolation,
        limit: Duration,
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>, ClientError> {
        let mut retry = Retry::new(self.config(), limit);
        let mut listed = BTreeMap::new();
        loop {
            let missing: Vec<_> = wanted
                .iter()
                .filter(|(partition, _)| !listed.contains_key(partition))
                .collect();
            if missing.is_empty() {
                return Ok(listed);
            }
            let seen = self.metadata().snapshot().version;
            let Err(error) = self
                .list_missing_offsets(&missing, isolation, &mut listed)
                .await
            else {
                continue;
            };
            retry.after(error).await?;
            self.refresh_metadata(seen).await;
        }
    }

    async fn list_missing_offsets(
        &self,
        missing: &[&(TopicPartition, i64)],
        isolation: Isolation,
        listed: &mut BTreeMap<TopicPartition, ListedOffset>,
    ) -> Result<(), ClientError> {
        let mut by_leader: BTreeMap<i32, Vec<&(TopicPartition, i64)>> = BTreeMap::new();
        for wanted in missing {
            let leader = self.leader_of(&wanted.0).await?;
            by_leader.entry(leader).or_default().push(wanted);
        }
        for (leader, wanted) in by_leader {
            let request = ListOffsetsRequest {
                replica_id: -1,
                isolation_level: isolation.code(),
                topics: list_offsets_topics(&wanted),
                timeout_ms: self.request_timeout().as_millis() as i32,
                ..ListOffsetsRequest::default()
            };
            let target = Target::Broker(leader);
            let response = self.request(target, request).await?;
            read_listed(&response, listed)?;
        }
        Ok(())
    }

    /// The stored positions of a group; `None` asks for all partitions.
    pub(crate) async fn committed_offsets(
        &self,
        group_id: &str,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
        let target = Target::GroupCoordinator(group_id.to_owned());
        let mut retry = Retry::api(self.config());
        let version = loop {
            match self.version_for(&target, ApiKey::OffsetFetch).await {
                Ok(version) => break version,
                Err(error) => retry.after(error).await?,
            }
        };
        let request = offset_fetch_request(version, group_id, partitions, require_stable);
        self.request_until(target, request, |response| {
            read_committed_offsets(&response, group_id)
        })
        .await
    }

    /// Stores positions of a group.
    pub(crate) async fn commit_offsets(
        &self,
        committer: &GroupMetadata,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let group_id = committer.group_id.clone();
        let request = OffsetCommitRequest {
            group_id: group_id.clone(),
            generation_id_or_member_epoch: committer.generation_id,
            member_id: committer.member_id.clone(),
            group_instance_id: committer.group_instance_id.clone(),
            topics: offset_commit_topics(offsets),
            ..OffsetCommitRequest::default()
        };
        let target = Target::GroupCoordinator(group_id.to_string());
        self.request_until(target, request, |response| {
            read_commit(&response, committer)
        })
        .await
    }
}

fn list_offsets_topics(wanted: &[&(TopicPartition, i64)]) -> Vec<ListOffsetsTopic> {
    partitions_by_topic(
        wanted.iter().copied(),
        |partition_index, timestamp| ListOffsetsPartition {
            partition_index,
            timestamp: *timestamp,
            ..ListOffsetsPartition::default()
        },
        |name, partitions| ListOffsetsTopic {
            name,
            partitions,
            ..ListOffsetsTopic::default()
        },
    )
}

/// Takes all good answers; gives the first error afterwards.
fn read_listed(
    response: &ListOffsetsResponse,
    listed: &mut BTreeMap<TopicPartition, ListedOffset>,
) -> Result<(), ClientError> {
    let mut result = Ok(());
    for topic in &response.topics {
        for answer in &topic.partitions {
            let name = TopicPartition::new(&topic.name, answer.partition_index);
            if answer.error_code != 0 {
                let object = format!(
                    "offsets of topic \"{}\" partition {}",
                    name.topic, name.partition
                );
                result = result.and(Err(ClientError::broker(answer.error_code, None, object)));
                continue;
            }
            listed.insert(
                name,
                ListedOffset {
                    offset: answer.offset,
                    timestamp: answer.timestamp,
                    leader_epoch: (answer.leader_epoch >= 0).then_some(answer.leader_epoch),
                },
            );
        }
    }
    result
}

fn offset_fetch_request(
    version: i16,
    group_id: &str,
    partitions: Option<&[TopicPartition]>,
    require_stable: bool,
) -> OffsetFetchRequest {
    let group_id = KString::copy_from(group_id);
    let topics = partitions.map(|partitions| {
        by_topic(
            partitions
                .iter()
                .map(|partition| (&partition.topic, partition.partition)),
        )
    });
    let require_stable = require_stable && version >= 7;
    if version < 8 {
        return OffsetFetchRequest {
            group_id,
            topics: topics.map(|topics| {
                topics
                    .into_iter()
                    .map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                        name,
                        partition_indexes,
                        ..OffsetFetchRequestTopic::default()
                    })
                    .collect()
            }),
            require_stable,
            ..OffsetFetchRequest::default()
        };
    }
    let group = OffsetFetchRequestGroup {
        group_id,
        topics: topics.map(|topics| {
            topics
                .into_iter()
                .map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                    name,
                    partition_indexes,
                    ..OffsetFetchRequestTopics::default()
                })
                .collect()
        }),
        ..OffsetFetchRequestGroup::default()
    };
    OffsetFetchRequest {
        groups: vec![group],
        require_stable,
        ..OffsetFetchRequest::default()
    }
}

/// One partition of an OffsetFetch response, in either of its two forms.
struct Committed<'a> {
    topic: &'a KString,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<&'a KString>,
    error_code: i16,
}

fn read_committed_offsets(
    response: &OffsetFetchResponse,
    group_id: &str,
) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
    ClientError::check(response.error_code, || format!("group \"{group_id}\""))?;
    for group in &response.groups {
        ClientError::check(group.error_code, || format!("group \"{group_id}\""))?;
    }
    let older = response.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|answer| Committed {
            topic: &topic.name,
            partition: answer.partition_index,
            offset: answer.committed_offset,
            leader_epoch: answer.committed_leader_epoch,
            metadata: answer.metadata.as_ref(),
            error_code: answer.error_code,
        })
    });
    let newer = response
        .groups
        .iter()
        .flat_map(|group| &group.topics)
        .flat_map(|topic| {
            topic.partitions.iter().map(|answer| Committed {
                topic: &topic.name,
                partition: answer.partition_index,
                offset: answer.committed_offset,
                leader_epoch: answer.committed_leader_epoch,
                metadata: answer.metadata.as_ref(),
                error_code: answer.error_code,
            })
        });
    let mut offsets = BTreeMap::new();
    for answer in older.chain(newer) {
        let name = TopicPartition::new(answer.topic, answer.partition);
        ClientError::check(answer.error_code, || {
            format!("committed offset of {name} in group \"{group_id}\"")
        })?;
        if answer.offset < 0 {
            continue;
        }
        let committed = OffsetAndMetadata {
            offset: answer.offset,
            leader_epoch: (answer.leader_epoch >= 0).then_some(answer.leader_epoch),
            metadata: answer.metadata.map(KString::detached).unwrap_or_default(),
        };
        offsets.insert(name, committed);
    }
    Ok(offsets)
}

fn offset_commit_topics(
    offsets: &[(TopicPartition, OffsetAndMetadata)],
) -> Vec<OffsetCommitRequestTopic> {
    partitions_by_topic(
        offsets,
        |partition_index, offset| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch.unwrap_or(-1),
            committed_metadata: Some(offset.metadata.clone()),
            ..OffsetCommitRequestPartition::default()
        },
        |name, partitions| OffsetCommitRequestTopic {
            name,
            partitions,
            ..OffsetCommitRequestTopic::default()
        },
    )
}

fn read_commit(
    response: &OffsetCommitResponse,
    committer: &GroupMetadata,
) -> Result<(), ClientError> {
    for topic in &response.topics {
        for answer in &topic.partitions {
            let code = ErrorCode::from_code(answer.error_code);
            match code {
                ErrorCode::None => {}
                code if committer.is_fenced_by(code) => {
                    return Err(ClientError::Fenced {
                        object: committer.to_string(),
                        code,
                    });
                }
                code => {
                    return Err(ClientError::broker(
                        code.code(),
                        None,
                        format!(
                            "commit of {}-{} for group \"{}\"",
                            topic.name, answer.partition_index, committer.group_id
                        ),
                    ));
                }
            }
        }
    }
    Ok(())
}

/// The topics of a request that has something to say of each partition.
pub(crate) fn partitions_by_topic<'a, V: 'a, P, T>(
    values: impl IntoIterator<Item = &'a (TopicPartition, V)>,
    partition: impl Fn(i32, &'a V) -> P,
    topic: impl Fn(KString, Vec<P>) -> T,
) -> Vec<T> {
    let values = values.into_iter();
    by_topic(values.map(|(name, value)| (&name.topic, partition(name.partition, value))))
        .into_iter()
        .map(|(name, partitions)| topic(name, partitions))
        .collect()
}

/// Gathers values by topic.
pub(crate) fn by_topic<'a, T>(
    values: impl Iterator<Item = (&'a KString, T)>,
) -> BTreeMap<KString, Vec<T>> {
    let mut topics: BTreeMap<KString, Vec<T>> = BTreeMap::new();
    for (topic, value) in values {
        match topics.get_mut(topic) {
            Some(known) => known.push(value),
            None => {
                topics.insert(topic.clone(), vec![value]);
            }
        }
    }
    topics
}
