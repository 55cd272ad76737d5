//! A fetch session with one broker (KIP-227): after the first request only what has changed is asked for,
//! and only partitions with news are answered. No IO.

use std::collections::HashMap;

use moldau_protocol::messages::fetch::{
    FetchPartition, FetchResponse, FetchTopic, FetchableTopicResponse, ForgottenTopic,
    PartitionData,
};
use moldau_protocol::{ErrorCode, KString, Uuid};

use crate::consumer::partitions::Wanted;
use crate::metadata::ClusterMetadata;
use crate::topic_partition::TopicPartition;

/// What the broker remembers of this consumer.
#[derive(Debug, Default)]
pub(crate) struct FetchSession {
    /// 0 while there is none.
    id: i32,
    /// Number of the next request in the session; 0 asks for a new session.
    epoch: i32,
    /// What the broker reads for this consumer, as it was asked for last.
    known: HashMap<TopicPartition, Known>,
    names: HashMap<Uuid, KString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    topic_id: Uuid,
    fetch_offset: i64,
    leader_epoch: i32,
    /// Which seek or assignment it was asked for after.
    epoch: u64,
}

impl Known {
    /// Whether the consumer came back to the same offset by a seek or a new assignment. It has dropped
    /// the answers from before, and the broker, which sees no change, would not repeat what they said:
    /// a partition without new records would never have a high watermark.
    fn is_stale(self, now: Self) -> bool {
        self.epoch != now.epoch && self.fetch_offset == now.fetch_offset
    }
}

/// The part of a fetch request that names partitions.
#[derive(Debug, Default)]
pub(crate) struct SessionRequest {
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    pub(crate) topics: Vec<FetchTopic>,
    pub(crate) forgotten: Vec<ForgottenTopic>,
}

/// What a broker answered, by partition.
#[derive(Debug)]
pub(crate) struct SessionAnswer {
    pub(crate) partitions: HashMap<TopicPartition, PartitionData>,
    /// Whether a partition that is not answered has no news; else it should have been.
    pub(crate) is_incremental: bool,
}

impl FetchSession {
    /// The request for `wanted`. Versions below 7 know no sessions, those below 13 no topic ids.
    ///
    /// The order of `wanted` is the order in which brokers fill the answer.
    pub(crate) fn request(
        &mut self,
        wanted: &[Wanted],
        cluster: &ClusterMetadata,
        version: i16,
        max_bytes: i32,
    ) -> SessionRequest {
        let now = wanted.iter().map(|wanted| {
            let topic = &wanted.name.topic;
            let known = Known {
                topic_id: match version {
                    13.. => cluster.topic_id(topic).unwrap_or(Uuid::ZERO),
                    _ => Uuid::ZERO,
                },
                fetch_offset: wanted.fetch_offset,
                leader_epoch: wanted.leader_epoch,
                epoch: wanted.epoch,
            };
            (&wanted.name, known)
        });
        let now: Vec<_> = now.collect();
        // A topic with another id, or ids in place of names, are too much of a change for a session;
        // so is a partition of which everything is to be told once more.
        let is_other = now.iter().any(|(name, now)| {
            let before = self.known.get(*name);
            before.is_some_and(|before| before.topic_id != now.topic_id || before.is_stale(*now))
        });
        if is_other {
            self.reset();
        }
        let is_new = self.epoch == 0;
        let mut request = SessionRequest {
            session_id: self.id,
            session_epoch: if version < 7 { -1 } else { self.epoch },
            ..SessionRequest::default()
        };
        let mut before = std::mem::take(&mut self.known);
        for (name, now) in now {
            let same = before.remove(name) == Some(now);
            if is_new || !same {
                add(&mut request.topics, name, now, max_bytes);
            }
            if !now.topic_id.is_zero() && !self.names.contains_key(&now.topic_id) {
                self.names.insert(now.topic_id, name.topic.clone());
            }
            self.known.insert(name.clone(), now);
        }
        if !is_new {
            for (name, before) in before {
                forget(&mut request.forgotten, &name, before.topic_id);
            }
        }
        request
    }

    /// Takes the answer to the last request. An error ends the session; the next request starts another.
    pub(crate) fn answered(&mut self, response: FetchResponse) -> Result<SessionAnswer, ErrorCode> {
        if response.error_code != 0 {
            self.reset();
            return Err(ErrorCode::from_code(response.error_code));
        }
        let is_incremental = self.epoch > 0;
        let mut partitions = HashMap::new();
        for topic in response.responses {
            let name = self.name(&topic);
            for answer in topic.partitions {
                let name = TopicPartition {
                    topic: name.clone(),
                    partition: answer.partition_index,
                };
                partitions.insert(name, answer);
            }
        }
        if response.session_id == 0 {
            self.reset();
        } else {
            self.id = response.session_id;
            self.epoch = if self.epoch == i32::MAX {
                1
            } else {
                self.epoch + 1
            };
        }
        Ok(SessionAnswer {
            partitions,
            is_incremental,
        })
    }

    /// The topic of an answer, by its name or its id.
    pub(crate) fn name(&self, topic: &FetchableTopicResponse) -> KString {
        match self.names.get(&topic.topic_id) {
            Some(name) if topic.topic.is_empty() => name.clone(),
            _ => topic.topic.detached(),
        }
    }

    /// Forgets the session: a request may not have arrived.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

fn add(topics: &mut Vec<FetchTopic>, name: &TopicPartition, now: Known, max_bytes: i32) {
    let partition = FetchPartition {
        partition: name.partition,
        current_leader_epoch: now.leader_epoch,
        fetch_offset: now.fetch_offset,
        partition_max_bytes: max_bytes,
        ..FetchPartition::default()
    };
    match topics.iter_mut().find(|known| known.topic == name.topic) {
        Some(known) => known.partitions.push(partition),
        None => topics.push(FetchTopic {
            topic: name.topic.clone(),
            topic_id: now.topic_id,
            partitions: vec![partition],
            ..FetchTopic::default()
        }),
    }
}

fn forget(topics: &mut Vec<ForgottenTopic>, name: &TopicPartition, topic_id: Uuid) {
    match topics.iter_mut().find(|known| known.topic == name.topic) {
        Some(known) => known.partitions.push(name.partition),
        None => topics.push(ForgottenTopic {
            topic: name.topic.clone(),
            topic_id,
            partitions: vec![name.partition],
            ..ForgottenTopic::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partitions: &[(i32, i64)]) -> Vec<Wanted> {
        let partitions = partitions.iter();
        partitions
            .map(|(partition, fetch_offset)| Wanted {
                name: TopicPartition::new("orders", *partition),
                epoch: 0,
                fetch_offset: *fetch_offset,
                leader_epoch: -1,
            })
            .collect()
    }

    fn ask(session: &mut FetchSession, partitions: &[(i32, i64)]) -> SessionRequest {
        let cluster = ClusterMetadata::default();
        session.request(&wanted(partitions), &cluster, 12, 1_000)
    }

    fn answer(session_id: i32, partitions: &[i32]) -> FetchResponse {
        let partitions = partitions.iter().map(|partition| PartitionData {
            partition_index: *partition,
            ..PartitionData::default()
        });
        FetchResponse {
            session_id,
            responses: vec![FetchableTopicResponse {
                topic: KString::from_static("orders"),
                partitions: partitions.collect(),
                ..FetchableTopicResponse::default()
            }],
            ..FetchResponse::default()
        }
    }

    fn asked(request: &SessionRequest) -> Vec<i32> {
        let topics = request.topics.iter();
        topics
            .flat_map(|topic| topic.partitions.iter().map(|partition| partition.partition))
            .collect()
    }

    fn forgotten(request: &SessionRequest) -> Vec<i32> {
        let topics = request.forgotten.iter();
        topics.flat_map(|topic| topic.partitions.clone()).collect()
    }

    #[test]
    fn the_first_request_names_all_and_the_next_ones_only_what_has_changed() {
        let mut session = FetchSession::default();
        let first = ask(&mut session, &[(0, 5), (1, 5)]);
        assert_eq!((first.session_id, first.session_epoch), (0, 0));
        assert_eq!(asked(&first), [0, 1]);
        let taken = session.answered(answer(7, &[0, 1])).unwrap();
        assert!(!taken.is_incremental && taken.partitions.len() == 2);

        let second = ask(&mut session, &[(0, 5), (1, 9), (2, 0)]);
        assert_eq!((second.session_id, second.session_epoch), (7, 1));
        assert_eq!(asked(&second), [1, 2]);
        let taken = session.answered(answer(7, &[1])).unwrap();
        assert!(taken.is_incremental && taken.partitions.len() == 1);

        let third = ask(&mut session, &[(1, 9)]);
        assert_eq!(third.session_epoch, 2);
        assert!(asked(&third).is_empty());
        let mut gone = forgotten(&third);
        gone.sort_unstable();
        assert_eq!(gone, [0, 2]);
    }

    #[test]
    fn a_seek_to_the_same_offset_asks_for_everything_once_more() {
        let mut session = FetchSession::default();
        ask(&mut session, &[(0, 5)]);
        session.answered(answer(7, &[0])).unwrap();
        let mut sought = wanted(&[(0, 5)]);
        sought[0].epoch = 1;
        let cluster = ClusterMetadata::default();
        let request = session.request(&sought, &cluster, 12, 1_000);
        assert_eq!((request.session_id, request.session_epoch), (0, 0));
        assert_eq!(asked(&request), [0]);
    }

    #[test]
    fn a_broker_that_lost_the_session_gets_a_new_one() {
        let mut session = FetchSession::default();
        ask(&mut session, &[(0, 5)]);
        session.answered(answer(7, &[0])).unwrap();
        ask(&mut session, &[(0, 6)]);
        let lost = FetchResponse {
            error_code: ErrorCode::FetchSessionIdNotFound.code(),
            ..FetchResponse::default()
        };
        let error = session.answered(lost).unwrap_err();
        assert_eq!(error, ErrorCode::FetchSessionIdNotFound);
        let again = ask(&mut session, &[(0, 6)]);
        assert_eq!((again.session_id, again.session_epoch), (0, 0));
        assert_eq!(asked(&again), [0]);
    }

    #[test]
    fn a_broker_without_room_for_sessions_is_asked_for_everything_each_time() {
        let mut session = FetchSession::default();
        for _ in 0..3 {
            let request = ask(&mut session, &[(0, 5)]);
            assert_eq!((request.session_epoch, asked(&request)), (0, vec![0]));
            session.answered(answer(0, &[0])).unwrap();
        }
    }

    #[test]
    fn an_older_broker_is_not_told_of_sessions() {
        let mut session = FetchSession::default();
        let cluster = ClusterMetadata::default();
        let request = session.request(&wanted(&[(0, 5)]), &cluster, 6, 1_000);
        assert_eq!((request.session_id, request.session_epoch), (0, -1));
    }
}
