//! Detects that a log was cut off below what this consumer has read (KIP-320): after a change of leader the new one is
//! asked where the epoch of the last record ends, before it is fetched from.

use std::collections::BTreeMap;

use moldau_protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use moldau_protocol::{ErrorCode, KString};
use tokio::time::Instant;

use crate::client::Target;
use crate::consumer::config::OffsetReset;
use crate::consumer::fetcher::Fetcher;
use crate::consumer::partitions::{Check, Checked};
use crate::error::ClientError;
use crate::offsets::by_topic;
use crate::topic_partition::TopicPartition;

impl Fetcher {
    /// Asks the leaders of partitions whose position is in doubt.
    pub(crate) async fn check_positions(&self) {
        let checks = self.lock().checks();
        if checks.is_empty() {
            return;
        }
        let cluster = self.client().cluster_metadata();
        let mut by_leader: BTreeMap<i32, Vec<(Check, i32)>> = BTreeMap::new();
        for check in checks {
            // Without a leader the partition stays in doubt until there is one.
            let name = &check.name;
            if let Some((leader, epoch)) = cluster.leader(&name.topic, name.partition) {
                by_leader.entry(leader).or_default().push((check, epoch));
            }
        }
        for (leader, checks) in by_leader {
            if let Err(error) = self.ask_ends(leader, &checks).await {
                tracing::debug!(leader, %error, "positions could not be checked");
                self.put_off(checks.iter().map(|(check, _)| check), &error);
            }
        }
    }

    async fn ask_ends(&self, leader: i32, checks: &[(Check, i32)]) -> Result<(), ClientError> {
        let topics = by_topic(checks.iter().map(|(check, leader_epoch)| {
            let partition = OffsetForLeaderPartition {
                partition: check.name.partition,
                current_leader_epoch: *leader_epoch,
                leader_epoch: check.last_epoch,
                ..OffsetForLeaderPartition::default()
            };
            (&check.name.topic, partition)
        }));
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: topics.into_iter().map(topic).collect(),
            ..OffsetForLeaderEpochRequest::default()
        };
        let target = Target::Broker(leader);
        let response = self.client().request(target, request).await?;
        let mut ends = BTreeMap::new();
        for topic in &response.topics {
            for answer in &topic.partitions {
                ends.insert(TopicPartition::new(&topic.topic, answer.partition), answer);
            }
        }
        for (check, leader_epoch) in checks {
            self.take_end(check, *leader_epoch, ends.get(&check.name).copied());
        }
        Ok(())
    }

    fn take_end(&self, check: &Check, leader_epoch: i32, answer: Option<&EpochEndOffset>) {
        let error = match answer {
            None => Some(ErrorCode::UnknownServerError),
            Some(answer) if answer.error_code != 0 => Some(ErrorCode::from_code(answer.error_code)),
            Some(_) => None,
        };
        if let Some(code) = error {
            let object = format!("end of epoch {} of {}", check.last_epoch, check.name);
            let error = ClientError::broker(code.code(), None, object);
            self.put_off([check].into_iter(), &error);
            return;
        }
        let end = answer.map_or(-1, |answer| answer.end_offset);
        let has_policy = self.config().auto_offset_reset != OffsetReset::Error;
        let checked = self.lock().checked(check, leader_epoch, end, has_policy);
        match checked {
            Checked::Good => {}
            Checked::CutOff(at) if has_policy => tracing::warn!(
                partition = %check.name,
                position = check.fetch_offset,
                end = at,
                "the log was cut off below the position, going on where it ends"
            ),
            Checked::CutOff(at) => {
                self.lock().report(ClientError::LogTruncated {
                    topic: check.name.topic.to_string(),
                    partition: check.name.partition,
                    position: check.fetch_offset,
                    end: at,
                });
            }
        }
    }

    /// Another attempt comes after a wait, with newer metadata.
    fn put_off<'a>(&self, checks: impl Iterator<Item = &'a Check>, error: &ClientError) {
        let wait = std::time::Duration::from_millis(self.client().config().retry_backoff_ms);
        let mut partitions = self.lock();
        for check in checks {
            partitions.check_later(check, Instant::now() + wait);
        }
        if !error.is_retriable() {
            partitions.report(error.clone());
        }
    }
}

fn topic((topic, partitions): (KString, Vec<OffsetForLeaderPartition>)) -> OffsetForLeaderTopic {
    OffsetForLeaderTopic {
        topic,
        partitions,
        ..OffsetForLeaderTopic::default()
    }
}
