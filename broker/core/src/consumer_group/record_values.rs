//! The larger values of a consumer group's records.

use bytes::Bytes;
use moldau_protocol::records::consumer_group_current_member_assignment_value::{
    ConsumerGroupCurrentMemberAssignmentValue, TopicPartitions,
};
use moldau_protocol::records::consumer_group_member_metadata_value::{
    ClassicMemberMetadata, ClassicProtocol as ClassicProtocolValue,
    ConsumerGroupMemberMetadataValue,
};
use moldau_protocol::records::consumer_group_regular_expression_value::ConsumerGroupRegularExpressionValue;
use moldau_protocol::records::consumer_group_target_assignment_member_value::{
    ConsumerGroupTargetAssignmentMemberValue, TopicPartition,
};
use moldau_protocol::types::KString;
use moldau_protocol::{DecodeError, Message};

use super::member::{ClassicMember, ClassicProtocol, CurrentAssignment, Member, MemberState};
use super::partitions::{HeldPartitions, Partitions};
use super::regex::ResolvedRegex;

pub(super) fn member_value(member: &Member) -> ConsumerGroupMemberMetadataValue {
    ConsumerGroupMemberMetadataValue {
        instance_id: member.instance_id.clone(),
        rack_id: member.rack_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        subscribed_topic_names: member.topics.iter().cloned().collect(),
        subscribed_topic_regex: member.regex.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: member.server_assignor.clone(),
        classic_member_metadata: member.classic.as_ref().map(classic_value),
        unknown_tagged_fields: Vec::new(),
    }
}

fn classic_value(classic: &ClassicMember) -> ClassicMemberMetadata {
    let protocol = |protocol: &ClassicProtocol| ClassicProtocolValue {
        name: protocol.name.clone(),
        metadata: protocol.metadata.clone(),
        ..Default::default()
    };
    ClassicMemberMetadata {
        session_timeout_ms: classic.session_timeout_ms,
        supported_protocols: classic.protocols.iter().map(protocol).collect(),
        ..Default::default()
    }
}

pub(super) fn read_member(bytes: Bytes) -> Result<Member, DecodeError> {
    let value = ConsumerGroupMemberMetadataValue::decode_versioned(bytes)?;
    let detached = |text: &Option<KString>| text.as_ref().map(KString::detached);
    let names = value.subscribed_topic_names.iter().map(KString::detached);
    Ok(Member {
        instance_id: detached(&value.instance_id),
        rack_id: detached(&value.rack_id),
        client_id: value.client_id.detached(),
        client_host: value.client_host.detached(),
        topics: names.collect(),
        regex: detached(&value.subscribed_topic_regex).filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: value.rebalance_timeout_ms,
        server_assignor: detached(&value.server_assignor),
        classic: value.classic_member_metadata.as_ref().map(read_classic),
    })
}

fn read_classic(value: &ClassicMemberMetadata) -> ClassicMember {
    let protocol = |protocol: &ClassicProtocolValue| ClassicProtocol {
        name: protocol.name.detached(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    ClassicMember {
        session_timeout_ms: value.session_timeout_ms,
        protocols: value.supported_protocols.iter().map(protocol).collect(),
    }
}

pub(super) fn target_value(target: &Partitions) -> ConsumerGroupTargetAssignmentMemberValue {
    let topic_partitions = target
        .topics()
        .map(|(topic_id, partitions)| TopicPartition {
            topic_id,
            partitions: partitions.iter().copied().collect(),
            ..Default::default()
        });
    ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: topic_partitions.collect(),
        ..Default::default()
    }
}

pub(super) fn read_target(bytes: Bytes) -> Result<Partitions, DecodeError> {
    let value = ConsumerGroupTargetAssignmentMemberValue::decode_versioned(bytes)?;
    let of_topic = |topic: &TopicPartition| {
        let topic_id = topic.topic_id;
        let partitions = topic.partitions.clone();
        partitions.into_iter().map(move |index| (topic_id, index))
    };
    Ok(value.topic_partitions.iter().flat_map(of_topic).collect())
}

pub(super) fn current_value(
    current: &CurrentAssignment,
) -> ConsumerGroupCurrentMemberAssignmentValue {
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: current.member_epoch,
        previous_member_epoch: current.previous_member_epoch,
        state: current.state.code(),
        assigned_partitions: held_value(&current.assigned),
        partitions_pending_revocation: held_value(&current.pending_revocation),
        ..Default::default()
    }
}

fn held_value(held: &HeldPartitions) -> Vec<TopicPartitions> {
    let topic = held.topics().map(|(topic_id, partitions)| TopicPartitions {
        topic_id,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: Some(partitions.values().copied().collect()),
        ..Default::default()
    });
    topic.collect()
}

pub(super) fn read_current(bytes: Bytes) -> Result<CurrentAssignment, DecodeError> {
    let value = ConsumerGroupCurrentMemberAssignmentValue::decode_versioned(bytes)?;
    let held = |topics: &[TopicPartitions]| read_held(topics, value.member_epoch);
    Ok(CurrentAssignment {
        member_epoch: value.member_epoch,
        previous_member_epoch: value.previous_member_epoch,
        state: MemberState::from_code(value.state),
        assigned: held(&value.assigned_partitions),
        pending_revocation: held(&value.partitions_pending_revocation),
    })
}

/// Without epochs, as older versions wrote it, a partition counts as held since the member's epoch.
fn read_held(topics: &[TopicPartitions], member_epoch: i32) -> HeldPartitions {
    let mut held = HeldPartitions::default();
    for topic in topics {
        let epochs = topic.assignment_epochs.as_deref().unwrap_or_default();
        for (position, partition) in topic.partitions.iter().enumerate() {
            let since = epochs.get(position).copied().unwrap_or(member_epoch);
            held.insert(topic.topic_id, *partition, since);
        }
    }
    held
}

pub(super) fn regex_value(resolved: &ResolvedRegex) -> ConsumerGroupRegularExpressionValue {
    ConsumerGroupRegularExpressionValue {
        topics: resolved.topics.iter().cloned().collect(),
        version: resolved.version,
        timestamp: resolved.timestamp_ms,
        ..Default::default()
    }
}

pub(super) fn read_regex(value: ConsumerGroupRegularExpressionValue) -> ResolvedRegex {
    ResolvedRegex {
        topics: value.topics.iter().map(KString::detached).collect(),
        version: value.version,
        timestamp_ms: value.timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Kafka 4.3 writes for a member of the new protocol. It spells out that the member does not
    /// speak the classic one.
    #[test]
    fn a_member_that_kafka_wrote_is_read() {
        let mut bytes = vec![0, 0, 0, 0, 8];
        bytes.extend(b"console\x0b/127.0.0.1\x02\x07orders");
        bytes.extend([1, 0, 4, 0x93, 0xe0, 0, 1, 0, 1, 0]);
        let member = read_member(bytes.into()).expect("a good record");
        let expected = Member {
            client_id: "console".into(),
            client_host: "/127.0.0.1".into(),
            topics: ["orders".into()].into(),
            rebalance_timeout_ms: 300_000,
            ..Member::default()
        };
        assert_eq!(member, expected);
    }
}
