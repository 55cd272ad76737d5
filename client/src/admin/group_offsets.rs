//! Stored positions of groups: reading, setting, looking up anew, deleting.

use std::collections::BTreeMap;

use moldau_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use moldau_protocol::{ErrorCode, KString};

use crate::admin::{Admin, OffsetSpec};
use crate::client::Target;
use crate::error::ClientError;
use crate::offsets::{GroupMetadata, by_topic};
use crate::topic_partition::{OffsetAndMetadata, TopicPartition};

impl Admin {
    /// All stored positions of a group.
    ///
    /// # Errors
    ///
    /// The coordinator cannot be asked.
    pub async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
        self.client.committed_offsets(group, None, false).await
    }

    /// Stores positions of a group that has no members.
    ///
    /// # Errors
    ///
    /// The group has members, or a partition does not exist.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, OffsetAndMetadata)>,
    ) -> Result<(), ClientError> {
        let committer = GroupMetadata::outsider(KString::copy_from(group));
        match self.client.commit_offsets(&committer, &offsets).await {
            Err(ClientError::Fenced { code, .. }) => Err(ClientError::broker(
                code.code(),
                Some("it has members; stop them before its offsets are changed"),
                format!("group \"{group}\""),
            )),
            result => result,
        }
    }

    /// Looks offsets up and stores them as positions of a group that has no members. Gives the positions. Where no
    /// record has such a timestamp, the position is the end.
    ///
    /// # Errors
    ///
    /// The group has members, or a partition does not exist.
    pub async fn reset_group_offsets(
        &self,
        group: &str,
        wanted: &[(TopicPartition, OffsetSpec)],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
        let mut listed = self.list_offsets(wanted).await?;
        let beyond: Vec<_> = listed
            .iter()
            .filter(|(_, found)| found.offset < 0)
            .map(|(name, _)| (name.clone(), OffsetSpec::Latest))
            .collect();
        if !beyond.is_empty() {
            listed.extend(self.list_offsets(&beyond).await?);
        }
        let offsets: BTreeMap<_, _> = listed
            .into_iter()
            .map(|(name, found)| (name, OffsetAndMetadata::new(found.offset)))
            .collect();
        let wanted = offsets.clone().into_iter().collect();
        self.alter_group_offsets(group, wanted).await?;
        Ok(offsets)
    }

    /// Deletes stored positions of a group, of topics that none of its members subscribes to. Each partition has its
    /// own result.
    ///
    /// # Errors
    ///
    /// The coordinator cannot be asked, or there is no such group.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Result<(), ClientError>>, ClientError> {
        let topics = by_topic(partitions.iter().map(|name| {
            let partition = OffsetDeleteRequestPartition {
                partition_index: name.partition,
            };
            (&name.topic, partition)
        }));
        let request = OffsetDeleteRequest {
            group_id: KString::copy_from(group),
            topics: topics
                .into_iter()
                .map(|(name, partitions)| OffsetDeleteRequestTopic { name, partitions })
                .collect(),
        };
        let target = Target::GroupCoordinator(group.to_owned());
        self.client
            .request_until(target, request, |response| {
                ClientError::check(response.error_code, || format!("group \"{group}\""))?;
                let mut results = BTreeMap::new();
                for topic in &response.topics {
                    for answer in &topic.partitions {
                        let name = TopicPartition::new(&topic.name, answer.partition_index);
                        let result = deleted(group, &name, answer.error_code);
                        results.insert(name, result);
                    }
                }
                Ok(results)
            })
            .await
    }
}

fn deleted(group: &str, name: &TopicPartition, code: i16) -> Result<(), ClientError> {
    if code == 0 {
        return Ok(());
    }
    let hint = match ErrorCode::from_code(code) {
        ErrorCode::GroupSubscribedToTopic => {
            Some("its members subscribe to the topic; stop them before its offsets are deleted")
        }
        _ => None,
    };
    let object = format!("offset of {name} in group \"{group}\"");
    Err(ClientError::broker(code, hint, object))
}
