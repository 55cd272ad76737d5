//! CreatePartitions v0–3: more partitions for topics that exist.

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use moldau_protocol::messages::create_partitions::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::{Controller, Decision, invalid_request, new_partition, repeated};
use crate::metadata::record::MetadataRecord;
use crate::rejection::Rejection;

impl Controller<'_> {
    /// Adds partitions to topics.
    #[must_use]
    pub fn create_partitions(
        &self,
        request: &CreatePartitionsRequest,
    ) -> Decision<CreatePartitionsResponse> {
        let repeated = repeated(request.topics.iter().map(|topic| &topic.name));
        let mut records = Vec::new();
        let mut results = Vec::new();
        for topic in &request.topics {
            let planned = if repeated.contains(&topic.name) {
                Err(invalid_request(format!(
                    "topic \"{}\" is in the request more than once",
                    topic.name
                )))
            } else {
                self.more_partitions(topic)
            };
            let mut result = CreatePartitionsTopicResult {
                name: topic.name.clone(),
                ..Default::default()
            };
            match planned {
                Ok(planned) if !request.validate_only => records.extend(planned),
                Ok(_) => {}
                Err(rejection) => {
                    result.error_code = rejection.code.code();
                    result.error_message = Some(rejection.message.into());
                }
            }
            results.push(result);
        }
        Decision {
            records,
            response: CreatePartitionsResponse {
                results,
                ..Default::default()
            },
        }
    }

    fn more_partitions(
        &self,
        topic: &CreatePartitionsTopic,
    ) -> Result<Vec<MetadataRecord>, Rejection> {
        let name = &topic.name;
        let image = self.image.topic(name).ok_or_else(|| {
            Rejection::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("there is no topic \"{name}\""),
            )
        })?;
        let existing = image.partitions.len() as i32;
        let added = topic.count.saturating_sub(existing);
        if added <= 0 {
            let message = format!(
                "topic \"{name}\" has {existing} partitions; {} would not be more",
                topic.count
            );
            return Err(Rejection::new(ErrorCode::InvalidPartitions, message));
        }
        if added > MAX_NEW_PARTITIONS {
            let message = format!(
                "{added} more partitions; at most {MAX_NEW_PARTITIONS} can be created at once"
            );
            return Err(Rejection::new(ErrorCode::PolicyViolation, message));
        }
        let replication_factor = image
            .partitions
            .first()
            .map_or(1, |partition| partition.replicas.len());
        let replicas = match &topic.assignments {
            None => self.place(
                existing,
                added,
                i16::try_from(replication_factor).unwrap_or(i16::MAX),
            )?,
            Some(assignments) if assignments.len() != added as usize => {
                let count = assignments.len();
                let message = format!(
                    "{count} partitions are assigned by hand, but {added} are to be created"
                );
                return Err(Rejection::new(ErrorCode::InvalidReplicaAssignment, message));
            }
            Some(assignments) => {
                for (index, assignment) in (existing..).zip(assignments) {
                    self.check_assignment(index, &assignment.broker_ids, replication_factor)?;
                }
                assignments
                    .iter()
                    .map(|assignment| assignment.broker_ids.clone())
                    .collect()
            }
        };
        let records = (existing..)
            .zip(replicas)
            .map(|(index, replicas)| new_partition(image.id, index, replicas));
        Ok(records.collect())
    }
}

/// Partitions that one topic may get at once, so that the batch of records stays bounded.
const MAX_NEW_PARTITIONS: i32 = 10_000;

#[cfg(test)]
mod tests {
    use moldau_protocol::messages::create_partitions::CreatePartitionsAssignment;

    use super::*;
    use crate::metadata::controller::ControllerSettings;
    use crate::metadata::controller::fixture::{add_topic, controller, nodes};

    fn decide(
        topics: Vec<CreatePartitionsTopic>,
        validate_only: bool,
    ) -> Decision<CreatePartitionsResponse> {
        let mut image = nodes(2);
        add_topic(&mut image, "a", 2);
        let request = CreatePartitionsRequest {
            topics,
            validate_only,
            ..Default::default()
        };
        let decision =
            controller(&image, &ControllerSettings::default()).create_partitions(&request);
        for record in &decision.records {
            image.apply(record).unwrap();
        }
        decision
    }

    fn topic(name: &'static str, count: i32, assigned: Option<&[&[i32]]>) -> CreatePartitionsTopic {
        let assignment = |brokers: &&[i32]| CreatePartitionsAssignment {
            broker_ids: brokers.to_vec(),
            ..Default::default()
        };
        let assignments = assigned.map(|partitions| partitions.iter().map(assignment).collect());
        CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments,
            ..Default::default()
        }
    }

    fn codes(decision: &Decision<CreatePartitionsResponse>) -> Vec<ErrorCode> {
        decision
            .response
            .results
            .iter()
            .map(|topic| ErrorCode::from_code(topic.error_code))
            .collect()
    }

    #[test]
    fn the_new_partitions_follow_the_old_ones() {
        let decision = decide(vec![topic("a", 4, None)], false);
        assert_eq!(
            (codes(&decision), decision.records.len()),
            (vec![ErrorCode::None], 2)
        );
        let decision = decide(vec![topic("a", 3, Some(&[&[2]]))], false);
        let [MetadataRecord::Partition(added)] = decision.records.as_slice() else {
            panic!("one partition")
        };
        assert_eq!(
            (added.index, &added.replicas, added.leader),
            (2, &vec![2], 2)
        );
    }

    #[test]
    fn requests_that_are_refused() {
        for (topics, code) in [
            (
                vec![topic("z", 4, None)],
                ErrorCode::UnknownTopicOrPartition,
            ),
            (vec![topic("a", 2, None)], ErrorCode::InvalidPartitions),
            (vec![topic("a", 1, None)], ErrorCode::InvalidPartitions),
            (vec![topic("a", -1, None)], ErrorCode::InvalidPartitions),
            (vec![topic("a", i32::MAX, None)], ErrorCode::PolicyViolation),
            (
                vec![topic("a", 3, Some(&[]))],
                ErrorCode::InvalidReplicaAssignment,
            ),
            (
                vec![topic("a", 3, Some(&[&[9]]))],
                ErrorCode::InvalidReplicaAssignment,
            ),
            (
                vec![topic("a", 3, Some(&[&[1, 2]]))],
                ErrorCode::InvalidReplicaAssignment,
            ),
            (
                vec![topic("a", 3, None), topic("a", 4, None)],
                ErrorCode::InvalidRequest,
            ),
        ] {
            let decision = decide(topics.clone(), false);
            assert!(
                codes(&decision).iter().all(|found| *found == code),
                "{topics:?}"
            );
            assert_eq!(decision.records, []);
        }
    }

    #[test]
    fn nothing_is_created_when_only_asked_to_validate() {
        let decision = decide(vec![topic("a", 4, None)], true);
        assert_eq!(
            (codes(&decision), decision.records),
            (vec![ErrorCode::None], vec![])
        );
    }
}
