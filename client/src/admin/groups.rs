//! Groups and their members.

use std::collections::BTreeMap;

use moldau_protocol::messages::consumer_group_describe::{self, ConsumerGroupDescribeRequest};
use moldau_protocol::messages::consumer_protocol_assignment::ConsumerProtocolAssignment;
use moldau_protocol::messages::delete_groups::DeleteGroupsRequest;
use moldau_protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribedGroup, DescribedGroupMember,
};
use moldau_protocol::messages::list_groups::ListGroupsRequest;
use moldau_protocol::{ErrorCode, KString, Message};

use crate::admin::topics::{NamedResults, named_results};
use crate::admin::{Admin, GroupDescription, GroupListing, MemberDescription};
use crate::client::Target;
use crate::error::ClientError;
use crate::topic_partition::TopicPartition;

impl Admin {
    /// All groups of all brokers, by name.
    ///
    /// # Errors
    ///
    /// A broker cannot be asked.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ClientError> {
        let mut groups = BTreeMap::new();
        for broker in self.brokers().await? {
            let target = Target::Broker(broker);
            let listed = self
                .client
                .request_until(target, ListGroupsRequest::default(), |response| {
                    ClientError::check(response.error_code, || {
                        format!("groups of broker {broker}")
                    })?;
                    Ok(response.groups)
                })
                .await?;
            for group in listed {
                let listing = GroupListing {
                    group_id: group.group_id.to_string(),
                    state: group.group_state.to_string(),
                    protocol_type: group.protocol_type.to_string(),
                    group_type: group.group_type.to_string(),
                };
                groups.insert(listing.group_id.clone(), listing);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// The named groups with their members, of the classic and of the new protocol. A group that does not exist is in
    /// state `Dead`.
    ///
    /// # Errors
    ///
    /// A coordinator cannot be asked.
    pub async fn describe_groups(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<Vec<GroupDescription>, ClientError> {
        let mut groups = Vec::with_capacity(names.len());
        for name in names {
            groups.push(self.describe_group(name.as_ref()).await?);
        }
        Ok(groups)
    }

    async fn describe_group(&self, name: &str) -> Result<GroupDescription, ClientError> {
        match self.describe_consumer_group(name).await? {
            Some(described) => Ok(described),
            None => self.describe_classic_group(name).await,
        }
    }

    /// A group of the new protocol; `None` if it is none, or the broker has none.
    async fn describe_consumer_group(
        &self,
        name: &str,
    ) -> Result<Option<GroupDescription>, ClientError> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![KString::copy_from(name)],
            ..ConsumerGroupDescribeRequest::default()
        };
        let target = Target::GroupCoordinator(name.to_owned());
        let described = self
            .client
            .request_until(target, request, |response| {
                let Some(group) = response.groups.first() else {
                    return Ok(None);
                };
                match ErrorCode::from_code(group.error_code) {
                    ErrorCode::None => Ok(Some(consumer_description(group))),
                    ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion => Ok(None),
                    code => {
                        let message = group.error_message.as_deref();
                        let object = format!("group \"{name}\"");
                        Err(ClientError::broker(code.code(), message, object))
                    }
                }
            })
            .await;
        match described {
            Err(ClientError::Unsupported { .. }) => Ok(None),
            described => described,
        }
    }

    async fn describe_classic_group(&self, name: &str) -> Result<GroupDescription, ClientError> {
        let request = DescribeGroupsRequest {
            groups: vec![KString::copy_from(name)],
            ..DescribeGroupsRequest::default()
        };
        self.client
            .request_until(
                Target::GroupCoordinator(name.to_owned()),
                request,
                |response| match response.groups.first() {
                    // From version 6 on a group that does not exist is an error; before, it was dead.
                    Some(group) if group.error_code == ErrorCode::GroupIdNotFound.code() => {
                        Ok(dead(name))
                    }
                    Some(group) => {
                        ClientError::check(group.error_code, || format!("group \"{name}\""))?;
                        Ok(description(group))
                    }
                    None => Ok(dead(name)),
                },
            )
            .await
    }

    /// Deletes groups with their offsets. A group must have no members. Each has its own result.
    ///
    /// # Errors
    ///
    /// A coordinator cannot be asked.
    pub async fn delete_groups(
        &self,
        names: &[impl AsRef<str>],
    ) -> Result<NamedResults, ClientError> {
        let mut results = Vec::with_capacity(names.len());
        for name in names {
            let name = name.as_ref().to_owned();
            let request = DeleteGroupsRequest {
                groups_names: vec![KString::copy_from(&name)],
                ..DeleteGroupsRequest::default()
            };
            let asked = [name.clone()];
            let result = self
                .client
                .request_until(Target::GroupCoordinator(name), request, |response| {
                    let answers = response
                        .results
                        .iter()
                        .map(|answer| (answer.group_id.to_string(), answer.error_code, None));
                    named_results(&asked, answers, "group")
                })
                .await?;
            results.extend(result);
        }
        Ok(results)
    }
}

fn dead(name: &str) -> GroupDescription {
    GroupDescription {
        group_id: name.to_owned(),
        state: "Dead".to_owned(),
        protocol_type: String::new(),
        protocol: String::new(),
        members: Vec::new(),
    }
}

fn description(group: &DescribedGroup) -> GroupDescription {
    let is_consumer = group.protocol_type == "consumer";
    GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol: group.protocol_data.to_string(),
        members: group
            .members
            .iter()
            .map(|member| member_description(member, is_consumer))
            .collect(),
    }
}

fn consumer_description(group: &consumer_group_describe::DescribedGroup) -> GroupDescription {
    let members = group.members.iter().map(|member| MemberDescription {
        member_id: member.member_id.to_string(),
        group_instance_id: member.instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        assignment: {
            let topics = member.assignment.topic_partitions.iter();
            let partitions = topics.flat_map(|topic| {
                let partitions = topic.partitions.iter();
                partitions.map(|partition| TopicPartition::new(&topic.topic_name, *partition))
            });
            let mut partitions: Vec<_> = partitions.collect();
            partitions.sort();
            partitions
        },
    });
    GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: "consumer".to_owned(),
        protocol: group.assignor_name.to_string(),
        members: members.collect(),
    }
}

fn member_description(member: &DescribedGroupMember, is_consumer: bool) -> MemberDescription {
    MemberDescription {
        member_id: member.member_id.to_string(),
        group_instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        assignment: if is_consumer {
            assigned_partitions(member)
        } else {
            Vec::new()
        },
    }
}

/// The partitions of a member; what cannot be read (a member of another kind) counts as none.
fn assigned_partitions(member: &DescribedGroupMember) -> Vec<TopicPartition> {
    let assignment =
        ConsumerProtocolAssignment::decode_versioned_or_newer(member.member_assignment.clone())
            .unwrap_or_default();
    let mut partitions: Vec<_> = assignment
        .assigned_partitions
        .iter()
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|partition| TopicPartition::new(&topic.topic, *partition))
        })
        .collect();
    partitions.sort();
    partitions
}
