//! ElectLeaders v0–2: gives partitions their preferred leader back, or any leader.

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use moldau_protocol::types::KString;

use super::{Controller, Decision, unknown_partition};
use crate::ids::LeaderEpoch;
use crate::metadata::image::{PartitionImage, TopicImage};
use crate::metadata::record::{MetadataRecord, PartitionRecord};
use crate::rejection::Rejection;

/// Which replica may become leader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Election {
    /// The first one, if it is in sync.
    Preferred,
    /// Where there is no leader, any live one, in sync or not.
    Unclean,
}

impl Controller<'_> {
    /// Elects leaders. Asked for all partitions, only those where something happens are in the answer.
    #[must_use]
    pub fn elect_leaders(&self, request: &ElectLeadersRequest) -> Decision<ElectLeadersResponse> {
        let election = match request.election_type {
            0 => Election::Preferred,
            1 => Election::Unclean,
            _ => {
                return Decision {
                    records: Vec::new(),
                    response: ElectLeadersResponse {
                        error_code: ErrorCode::InvalidRequest.code(),
                        ..Default::default()
                    },
                };
            }
        };
        let mut records = Vec::new();
        let mut results = Vec::new();
        for (topic, partitions) in self.asked(request) {
            let mut outcomes = Vec::new();
            for index in partitions {
                let elected = self.elect(election, &topic, index);
                let needless = elected
                    .as_ref()
                    .is_err_and(|rejection| rejection.code == ErrorCode::ElectionNotNeeded);
                if needless && request.topic_partitions.is_none() {
                    continue;
                }
                outcomes.push(outcome(index, elected, &mut records));
            }
            if !outcomes.is_empty() {
                results.push(ReplicaElectionResult {
                    topic,
                    partition_result: outcomes,
                    ..Default::default()
                });
            }
        }
        Decision {
            records,
            response: ElectLeadersResponse {
                replica_election_results: results,
                ..Default::default()
            },
        }
    }

    fn asked(&self, request: &ElectLeadersRequest) -> Vec<(KString, Vec<i32>)> {
        let Some(asked) = &request.topic_partitions else {
            let all = |topic: &TopicImage| (0..).zip(&topic.partitions).map(|(i, _)| i).collect();
            return self
                .image
                .topics()
                .map(|topic| (topic.name.clone(), all(topic)))
                .collect();
        };
        asked
            .iter()
            .map(|topic| (topic.topic.clone(), topic.partitions.clone()))
            .collect()
    }

    fn elect(
        &self,
        election: Election,
        name: &KString,
        index: i32,
    ) -> Result<MetadataRecord, Rejection> {
        let topic = self
            .image
            .topic(name)
            .ok_or_else(|| unknown_partition(name, index))?;
        let partition = topic
            .partition(index)
            .ok_or_else(|| unknown_partition(name, index))?;
        let leader = match election {
            Election::Preferred => self.preferred(name, index, partition)?,
            Election::Unclean => self.any(name, index, partition)?,
        };
        let clean = partition.isr.contains(&leader);
        Ok(MetadataRecord::Partition(PartitionRecord {
            topic_id: topic.id,
            index,
            leader,
            leader_epoch: LeaderEpoch(partition.leader_epoch.0.saturating_add(1)),
            partition_epoch: partition.partition_epoch.saturating_add(1),
            replicas: partition.replicas.clone(),
            isr: if clean {
                partition.isr.clone()
            } else {
                vec![leader]
            },
        }))
    }

    fn preferred(
        &self,
        name: &KString,
        index: i32,
        partition: &PartitionImage,
    ) -> Result<i32, Rejection> {
        let Some(&preferred) = partition.replicas.first() else {
            return Err(unknown_partition(name, index));
        };
        if partition.leader == preferred {
            return Err(not_needed(name, index));
        }
        if self.is_live(preferred) && partition.isr.contains(&preferred) {
            return Ok(preferred);
        }
        Err(Rejection::new(
            ErrorCode::PreferredLeaderNotAvailable,
            format!(
                "partition {index} of topic \"{name}\": broker {preferred}, which is preferred, is not in sync"
            ),
        ))
    }

    fn any(
        &self,
        name: &KString,
        index: i32,
        partition: &PartitionImage,
    ) -> Result<i32, Rejection> {
        if self.is_live(partition.leader) {
            return Err(not_needed(name, index));
        }
        let live = |broker: &&i32| self.is_live(**broker);
        let in_sync = partition
            .replicas
            .iter()
            .filter(|broker| partition.isr.contains(broker))
            .find(live);
        in_sync
            .or_else(|| partition.replicas.iter().find(live))
            .copied()
            .ok_or_else(|| {
                Rejection::new(
                    ErrorCode::EligibleLeadersNotAvailable,
                    format!(
                        "partition {index} of topic \"{name}\": no broker that holds it is alive"
                    ),
                )
            })
    }

    fn is_live(&self, broker: i32) -> bool {
        self.image.broker(broker).is_some_and(|broker| broker.live)
    }
}

fn not_needed(name: &KString, index: i32) -> Rejection {
    Rejection::new(
        ErrorCode::ElectionNotNeeded,
        format!("partition {index} of topic \"{name}\" has the leader that it should have"),
    )
}

fn outcome(
    index: i32,
    elected: Result<MetadataRecord, Rejection>,
    records: &mut Vec<MetadataRecord>,
) -> PartitionResult {
    let mut result = PartitionResult {
        partition_id: index,
        error_message: None,
        ..Default::default()
    };
    match elected {
        Ok(record) => records.push(record),
        Err(rejection) => {
            result.error_code = rejection.code.code();
            result.error_message = Some(rejection.message.into());
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use moldau_protocol::messages::elect_leaders::TopicPartitions;

    use super::*;
    use crate::metadata::MetadataImage;
    use crate::metadata::controller::ControllerSettings;
    use crate::metadata::controller::fixture::{add_topic, controller, nodes, topic_id};

    /// Topic `a` with one partition that broker 2 leads, held by brokers 1, 2 and 3.
    fn image(leader: i32, isr: &[i32]) -> MetadataImage {
        let mut image = nodes(3);
        add_topic(&mut image, "a", 1);
        let partition = PartitionRecord {
            topic_id: topic_id("a"),
            index: 0,
            leader,
            leader_epoch: LeaderEpoch(4),
            partition_epoch: 9,
            replicas: vec![1, 2, 3],
            isr: isr.to_vec(),
        };
        image.apply(&MetadataRecord::Partition(partition)).unwrap();
        image
    }

    /// The error, and the leader, epoch and in-sync replicas after it.
    fn elect(mut image: MetadataImage, election_type: i8) -> (ErrorCode, i32, i32, Vec<i32>) {
        let asked = TopicPartitions {
            topic: "a".into(),
            partitions: vec![0],
            ..Default::default()
        };
        let request = ElectLeadersRequest {
            election_type,
            topic_partitions: Some(vec![asked]),
            ..Default::default()
        };
        let settings = ControllerSettings::default();
        let decision = controller(&image, &settings).elect_leaders(&request);
        for record in &decision.records {
            image.apply(record).unwrap();
        }
        let result = &decision.response.replica_election_results[0].partition_result[0];
        let partition = image.partition("a", 0).unwrap();
        (
            ErrorCode::from_code(result.error_code),
            partition.leader,
            partition.leader_epoch.0,
            partition.isr.clone(),
        )
    }

    #[test]
    fn the_preferred_replica_leads_if_it_is_in_sync() {
        assert_eq!(
            elect(image(2, &[1, 2]), 0),
            (ErrorCode::None, 1, 5, vec![1, 2])
        );
        assert_eq!(
            elect(image(2, &[2, 3]), 0),
            (ErrorCode::PreferredLeaderNotAvailable, 2, 4, vec![2, 3])
        );
        assert_eq!(
            elect(image(1, &[1]), 0),
            (ErrorCode::ElectionNotNeeded, 1, 4, vec![1])
        );
    }

    #[test]
    fn a_partition_without_a_leader_can_take_one_that_is_not_in_sync() {
        assert_eq!(elect(image(-1, &[9]), 1), (ErrorCode::None, 1, 5, vec![1]));
        assert_eq!(elect(image(-1, &[3]), 1), (ErrorCode::None, 3, 5, vec![3]));
        assert_eq!(
            elect(image(2, &[2]), 1),
            (ErrorCode::ElectionNotNeeded, 2, 4, vec![2])
        );
    }

    #[test]
    fn asked_for_all_partitions_only_those_that_change_are_told() {
        let mut image = image(2, &[1, 2]);
        add_topic(&mut image, "b", 2);
        let settings = ControllerSettings::default();
        let decision = controller(&image, &settings).elect_leaders(&ElectLeadersRequest::default());
        let all = ElectLeadersRequest {
            topic_partitions: None,
            ..Default::default()
        };
        assert_eq!(decision.response.replica_election_results, []);
        let decision = controller(&image, &settings).elect_leaders(&all);
        let topics: Vec<_> = decision
            .response
            .replica_election_results
            .iter()
            .map(|result| result.topic.to_string())
            .collect();
        assert_eq!((topics, decision.records.len()), (vec!["a".to_owned()], 1));
    }

    #[test]
    fn unknown_partitions_and_kinds_of_election_are_refused() {
        let image = image(2, &[1, 2]);
        let asked = |topic: &'static str, partition| TopicPartitions {
            topic: topic.into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let mut request = ElectLeadersRequest {
            topic_partitions: Some(vec![asked("z", 0), asked("a", 7)]),
            ..Default::default()
        };
        let settings = ControllerSettings::default();
        let decision = controller(&image, &settings).elect_leaders(&request);
        for result in &decision.response.replica_election_results {
            assert_eq!(
                result.partition_result[0].error_code,
                ErrorCode::UnknownTopicOrPartition.code()
            );
        }
        request.election_type = 7;
        let decision = controller(&image, &settings).elect_leaders(&request);
        assert_eq!(
            decision.response.error_code,
            ErrorCode::InvalidRequest.code()
        );
    }
}
