//! The bytes that members of a group exchange through their coordinator: Kafka's `consumer` protocol.

use std::collections::BTreeMap;

use bytes::Bytes;
use moldau_protocol::messages::consumer_protocol_assignment::{
    self as assignment, ConsumerProtocolAssignment,
};
use moldau_protocol::messages::consumer_protocol_subscription::{
    self as subscription, ConsumerProtocolSubscription,
};
use moldau_protocol::messages::join_group::JoinGroupResponseMember;
use moldau_protocol::messages::sync_group::SyncGroupRequestAssignment;
use moldau_protocol::{KString, Message};

use crate::consumer::assignor::{MemberAssignment, MemberSubscription};
use crate::error::ClientError;
use crate::offsets::by_topic;
use crate::topic_partition::TopicPartition;

/// What all members that use the `consumer` protocol call it.
pub(crate) const PROTOCOL_TYPE: KString = KString::from_static("consumer");

/// What this member tells the leader.
///
/// `owned` is what it reads and the generation in which it got that, if it keeps it while the group rebalances.
pub(crate) fn subscription(
    topics: &[KString],
    user_data: Option<Bytes>,
    owned: Option<(&[TopicPartition], i32)>,
) -> Result<Bytes, ClientError> {
    let mut subscription = ConsumerProtocolSubscription {
        topics: topics.to_vec(),
        user_data,
        ..ConsumerProtocolSubscription::default()
    };
    let mut version = VERSION;
    if let Some((partitions, generation_id)) = owned {
        version = VERSION_WITH_GENERATION;
        subscription.generation_id = generation_id;
        let names = partitions.iter();
        subscription.owned_partitions = by_topic(names.map(|name| (&name.topic, name.partition)))
            .into_iter()
            .map(|(topic, partitions)| subscription::TopicPartition { topic, partitions })
            .collect();
    }
    subscription
        .encode_versioned(version)
        .map_err(|error| ClientError::protocol("group subscription", error))
}

/// What a member told the leader.
pub(crate) fn read_subscription(
    member: &JoinGroupResponseMember,
) -> Result<MemberSubscription, ClientError> {
    let subscription = ConsumerProtocolSubscription::decode_versioned_or_newer(
        member.metadata.clone(),
    )
    .map_err(|error| {
        ClientError::protocol(
            format!("subscription of group member \"{}\"", member.member_id),
            error,
        )
    })?;
    Ok(MemberSubscription {
        member_id: member.member_id.detached(),
        group_instance_id: member.group_instance_id.as_ref().map(KString::detached),
        topics: subscription.topics.iter().map(KString::detached).collect(),
        owned_partitions: subscription
            .owned_partitions
            .iter()
            .flat_map(|topic| partitions(&topic.topic, &topic.partitions))
            .collect(),
        generation: (subscription.generation_id >= 0).then_some(subscription.generation_id),
        user_data: subscription.user_data,
    })
}

/// What the leader tells the members.
pub(crate) fn assignments(
    assigned: &BTreeMap<KString, MemberAssignment>,
) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
    assigned
        .iter()
        .map(|(member_id, assigned)| {
            let bytes = assignment_bytes(assigned)
                .map_err(|error| ClientError::protocol("group assignment", error))?;
            Ok(SyncGroupRequestAssignment {
                member_id: member_id.clone(),
                assignment: bytes,
                ..SyncGroupRequestAssignment::default()
            })
        })
        .collect()
}

fn assignment_bytes(assigned: &MemberAssignment) -> Result<Bytes, moldau_protocol::EncodeError> {
    let names = assigned.partitions.iter();
    let topics = by_topic(names.map(|name| (&name.topic, name.partition)));
    ConsumerProtocolAssignment {
        assigned_partitions: topics
            .into_iter()
            .map(|(topic, partitions)| assignment::TopicPartition { topic, partitions })
            .collect(),
        user_data: assigned.user_data.clone(),
    }
    .encode_versioned(VERSION)
}

/// What the leader told this member; no bytes are no partitions.
pub(crate) fn read_assignment(bytes: Bytes) -> Result<MemberAssignment, ClientError> {
    if bytes.is_empty() {
        return Ok(MemberAssignment::default());
    }
    let assignment = ConsumerProtocolAssignment::decode_versioned_or_newer(bytes)
        .map_err(|error| ClientError::protocol("group assignment", error))?;
    let mut assigned: Vec<_> = assignment
        .assigned_partitions
        .iter()
        .flat_map(|topic| partitions(&topic.topic, &topic.partitions))
        .collect();
    assigned.sort();
    Ok(MemberAssignment {
        partitions: assigned,
        user_data: assignment.user_data,
    })
}

fn partitions(topic: &KString, partitions: &[i32]) -> impl Iterator<Item = TopicPartition> {
    let topic = topic.detached();
    partitions.iter().map(move |partition| TopicPartition {
        topic: topic.clone(),
        partition: *partition,
    })
}

/// Version 1 is read by all members since Kafka 2.4 and has all that an eager member needs.
const VERSION: i16 = 1;

/// Version 2 says in which generation the partitions were got that the member keeps; members since Kafka 3.4 read it,
/// and older ones what they know of it.
const VERSION_WITH_GENERATION: i16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_survives_the_way_to_the_member() {
        let assigned = MemberAssignment {
            partitions: vec![
                TopicPartition::new("a", 0),
                TopicPartition::new("a", 3),
                TopicPartition::new("b", 1),
            ],
            user_data: Some(Bytes::from_static(b"task 1")),
        };
        let bytes = assignment_bytes(&assigned).unwrap();
        assert_eq!(read_assignment(bytes).unwrap(), assigned);
    }

    #[test]
    fn no_bytes_are_no_partitions() {
        assert_eq!(
            read_assignment(Bytes::new()).unwrap(),
            MemberAssignment::default()
        );
    }

    #[test]
    fn a_subscription_survives_the_way_to_the_leader() {
        let topics = [KString::from_static("orders")];
        let metadata = subscription(&topics, Some(Bytes::from_static(b"host")), None).unwrap();
        let member = JoinGroupResponseMember {
            member_id: KString::from_static("m"),
            metadata,
            ..JoinGroupResponseMember::default()
        };
        let read = read_subscription(&member).unwrap();
        assert_eq!(read.topics, topics);
        assert_eq!(read.user_data.as_deref(), Some(&b"host"[..]));
        assert!(read.owned_partitions.is_empty());
    }

    #[test]
    fn what_a_cooperative_member_keeps_reaches_the_leader_with_its_generation() {
        let topics = [KString::from_static("orders")];
        let owned = [
            TopicPartition::new("orders", 1),
            TopicPartition::new("orders", 2),
        ];
        let member = JoinGroupResponseMember {
            metadata: subscription(&topics, None, Some((&owned, 7))).unwrap(),
            ..JoinGroupResponseMember::default()
        };
        let read = read_subscription(&member).unwrap();
        assert_eq!(
            (read.owned_partitions.as_slice(), read.generation),
            (&owned[..], Some(7))
        );
    }
}
