//! AlterPartitionReassignments v0–1: moves partitions to other brokers, or gives a move up.
//!
//! Not done: moves. Nothing copies replicas between nodes yet, so a partition can only stay where it is, and no move is
//! ever under way.

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use moldau_protocol::types::KString;

use super::{Controller, Decision, unknown_partition};
use crate::metadata::record::{MetadataRecord, PartitionRecord};
use crate::rejection::Rejection;

impl Controller<'_> {
    /// Changes which brokers hold partitions.
    #[must_use]
    pub fn alter_partition_reassignments(
        &self,
        request: &AlterPartitionReassignmentsRequest,
    ) -> Decision<AlterPartitionReassignmentsResponse> {
        let mut records = Vec::new();
        let mut responses = Vec::new();
        for topic in &request.topics {
            let partitions = topic.partitions.iter().map(|partition| {
                let changed = self.reassign(
                    &topic.name,
                    partition,
                    request.allow_replication_factor_change,
                );
                let mut response = ReassignablePartitionResponse {
                    partition_index: partition.partition_index,
                    error_message: None,
                    ..Default::default()
                };
                match changed {
                    Ok(record) => records.extend(record),
                    Err(rejection) => {
                        response.error_code = rejection.code.code();
                        response.error_message = Some(rejection.message.into());
                    }
                }
                response
            });
            responses.push(ReassignableTopicResponse {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..Default::default()
            });
        }
        Decision {
            records,
            response: AlterPartitionReassignmentsResponse {
                allow_replication_factor_change: request.allow_replication_factor_change,
                error_message: None,
                responses,
                ..Default::default()
            },
        }
    }

    /// The record of a partition whose replicas only change their order; `None` if nothing changes.
    fn reassign(
        &self,
        name: &KString,
        asked: &ReassignablePartition,
        allow_other_count: bool,
    ) -> Result<Option<MetadataRecord>, Rejection> {
        let index = asked.partition_index;
        let topic = self.image.topic(name);
        let found = topic.and_then(|topic| Some((topic, topic.partition(index)?)));
        let (topic, partition) = found.ok_or_else(|| unknown_partition(name, index))?;
        let Some(replicas) = &asked.replicas else {
            return Err(Rejection::new(
                ErrorCode::NoReassignmentInProgress,
                format!("partition {index} of topic \"{name}\" is not being moved"),
            ));
        };
        if !allow_other_count && replicas.len() != partition.replicas.len() {
            let message = format!(
                "partition {index} of topic \"{name}\" has {} replicas, not {}",
                partition.replicas.len(),
                replicas.len()
            );
            return Err(Rejection::new(ErrorCode::InvalidReplicationFactor, message));
        }
        self.check_assignment(index, replicas, replicas.len())?;
        let set = |brokers: &[i32]| brokers.iter().copied().collect::<BTreeSet<i32>>();
        if set(replicas) != set(&partition.replicas) {
            let message = format!(
                "partition {index} of topic \"{name}\": moving replicas from brokers {:?} to {replicas:?} is not supported",
                partition.replicas
            );
            return Err(Rejection::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        if *replicas == partition.replicas {
            return Ok(None);
        }
        Ok(Some(MetadataRecord::Partition(PartitionRecord {
            topic_id: topic.id,
            index,
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch.saturating_add(1),
            replicas: replicas.clone(),
            isr: partition.isr.clone(),
        })))
    }
}

#[cfg(test)]
mod tests {
    use moldau_protocol::messages::alter_partition_reassignments::ReassignableTopic;

    use super::*;
    use crate::metadata::controller::ControllerSettings;
    use crate::metadata::controller::fixture::{add_topic, controller, nodes};

    /// The error of moving partition `index` of topic `a`, which broker 1 of 2 holds, and how many records it makes.
    fn reassign(index: i32, replicas: Option<&[i32]>, allow: bool) -> (ErrorCode, usize) {
        let mut image = nodes(2);
        add_topic(&mut image, "a", 1);
        let partition = ReassignablePartition {
            partition_index: index,
            replicas: replicas.map(<[i32]>::to_vec),
            ..Default::default()
        };
        let topic = ReassignableTopic {
            name: "a".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = AlterPartitionReassignmentsRequest {
            allow_replication_factor_change: allow,
            topics: vec![topic],
            ..Default::default()
        };
        let settings = ControllerSettings::default();
        let decision = controller(&image, &settings).alter_partition_reassignments(&request);
        let result = &decision.response.responses[0].partitions[0];
        assert_eq!(result.error_message.is_some(), result.error_code != 0);
        (
            ErrorCode::from_code(result.error_code),
            decision.records.len(),
        )
    }

    #[test]
    fn a_partition_can_stay_where_it_is() {
        assert_eq!(reassign(0, Some(&[1]), true), (ErrorCode::None, 0));
    }

    #[test]
    fn what_is_refused() {
        for (index, replicas, allow, code) in [
            (0, None, true, ErrorCode::NoReassignmentInProgress),
            (
                7,
                Some([1].as_slice()),
                true,
                ErrorCode::UnknownTopicOrPartition,
            ),
            (0, Some(&[]), true, ErrorCode::InvalidReplicaAssignment),
            (0, Some(&[9]), true, ErrorCode::InvalidReplicaAssignment),
            (0, Some(&[1, 1]), true, ErrorCode::InvalidReplicaAssignment),
            (0, Some(&[2]), true, ErrorCode::InvalidReplicaAssignment),
            (0, Some(&[1, 2]), false, ErrorCode::InvalidReplicationFactor),
        ] {
            assert_eq!(reassign(index, replicas, allow), (code, 0), "{replicas:?}");
        }
    }
}
