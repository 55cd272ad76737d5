//! The rules of offsets that are committed in transactions as sentences. Each is checked against a
//! replay of the log too.

use std::collections::VecDeque;
use std::sync::Arc;

use moldau_protocol::ErrorCode;
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use moldau_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use moldau_protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use moldau_protocol::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use super::fixture::GROUP;
use super::*;
use crate::ids::{ProducerEpoch, ProducerId};
use crate::metadata::controller::fixture::{add_topic, nodes};
use crate::producer_state::Marker;

/// What lies in the partition, in order.
enum Logged {
    Records(Option<ProducerId>, Vec<CoordinatorRecord>),
    Marker(ProducerId, bool),
}

struct World {
    coordinator: Coordinator,
    image: Arc<MetadataImage>,
    log: Vec<Logged>,
    last_token: u64,
}

impl World {
    fn new() -> Self {
        let mut image = nodes(1);
        add_topic(&mut image, "orders", 1);
        let image = Arc::new(image);
        let mut coordinator = Coordinator::new(CoordinatorSettings::default());
        coordinator.metadata_changed(&image);
        coordinator.loaded(0);
        Self {
            coordinator,
            image,
            log: Vec::new(),
            last_token: 0,
        }
    }

    fn caller(&mut self, api_version: i16) -> Caller {
        self.last_token += 1;
        Caller {
            token: Token(self.last_token),
            api_version,
            client_id: "client".into(),
            client_host: "/127.0.0.1".into(),
        }
    }

    /// Every append is committed at once.
    fn act(&mut self, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            let (id, logged) = match action {
                Action::Respond { .. } => continue,
                Action::Append {
                    id,
                    producer,
                    records,
                } => {
                    let producer_id = producer.map(|producer| producer.producer_id);
                    (id, Logged::Records(producer_id, records))
                }
                Action::AppendMarker { id, marker } => {
                    let marker = Logged::Marker(marker.producer_id, marker.marker.committed);
                    (id, marker)
                }
            };
            self.log.push(logged);
            actions.extend(self.coordinator.committed(id, 0));
        }
    }

    fn commit(&mut self, offset: i64) {
        let caller = self.caller(9);
        let partition = OffsetCommitRequestPartition {
            committed_offset: offset,
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: "orders".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: GROUP.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let image = Arc::clone(&self.image);
        let actions = self.coordinator.offset_commit(&caller, request, &image, 0);
        self.act(actions);
    }

    fn commit_in_transaction(&mut self, producer_id: i64, offset: i64) {
        let caller = self.caller(5);
        let partition = TxnOffsetCommitRequestPartition {
            committed_offset: offset,
            ..Default::default()
        };
        let topic = TxnOffsetCommitRequestTopic {
            name: "orders".into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = TxnOffsetCommitRequest {
            group_id: GROUP.into(),
            producer_id,
            producer_epoch: 0,
            generation_id: -1,
            topics: vec![topic],
            ..Default::default()
        };
        let image = Arc::clone(&self.image);
        let actions = self
            .coordinator
            .txn_offset_commit(&caller, &request, None, &image, 0);
        self.act(actions);
    }

    fn end(&mut self, producer_id: i64, committed: bool) {
        let caller = self.caller(1);
        let marker = OffsetsMarker {
            producer_id: ProducerId(producer_id),
            producer_epoch: ProducerEpoch(0),
            marker: Marker {
                committed,
                coordinator_epoch: 0,
                transaction_version: 0,
            },
        };
        let at = ("__consumer_offsets".into(), 0);
        let actions = self.coordinator.write_marker(&caller, marker, at);
        self.act(actions);
    }

    fn delete_offset(&mut self) {
        let caller = self.caller(0);
        let topic = OffsetDeleteRequestTopic {
            name: "orders".into(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
        };
        let request = OffsetDeleteRequest {
            group_id: GROUP.into(),
            topics: vec![topic],
        };
        let actions = self.coordinator.offset_delete(&caller, request);
        self.act(actions);
    }

    fn delete_group(&mut self) {
        let caller = self.caller(2);
        let actions = self.coordinator.delete_group(&caller, &GROUP.into());
        self.act(actions);
    }

    /// The group's offset; the replay of the log finds the same one.
    fn offset(&self) -> Option<i64> {
        let of = |coordinator: &Coordinator| {
            let offsets = coordinator.offsets.group(GROUP);
            offsets.and_then(|offsets| offsets.values().next().map(|at| at.offset))
        };
        let offset = of(&self.coordinator);
        assert_eq!(of(&self.replayed()), offset, "the log says the same");
        offset
    }

    fn replayed(&self) -> Coordinator {
        let mut coordinator = Coordinator::new(CoordinatorSettings::default());
        for logged in &self.log {
            match logged {
                Logged::Records(producer_id, records) => {
                    for CoordinatorRecord { key, value } in records {
                        let done = match producer_id {
                            Some(id) => coordinator.replay_in_transaction(*id, key, value.as_ref()),
                            None => coordinator.replay(key, value.as_ref()),
                        };
                        done.expect("our own records");
                    }
                }
                Logged::Marker(id, committed) => coordinator.replay_marker(*id, *committed),
            }
        }
        coordinator
    }

    /// What a fetch of stable offsets says.
    fn stable_offset(&self) -> Result<i64, ErrorCode> {
        let topic = OffsetFetchRequestTopics {
            name: "orders".into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let fetched = self.coordinator.fetch_offsets(&group, 9, &self.image);
        let fetched = self.coordinator.only_stable(fetched, &self.image);
        let partition = &fetched.topics[0].partitions[0];
        match ErrorCode::from_code(partition.error_code) {
            ErrorCode::None => Ok(partition.committed_offset),
            code => Err(code),
        }
    }
}

#[test]
fn an_offset_of_a_transaction_counts_when_it_is_committed_and_never_when_it_is_aborted() {
    let mut world = World::new();
    world.commit_in_transaction(1, 5);
    assert_eq!(world.offset(), None);
    world.end(1, true);
    assert_eq!(world.offset(), Some(5));
    world.commit_in_transaction(1, 9);
    world.end(1, false);
    assert_eq!(world.offset(), Some(5));
}

#[test]
fn a_transaction_does_not_replace_what_was_committed_after_its_offset() {
    let mut world = World::new();
    world.commit_in_transaction(1, 5);
    world.commit(7);
    world.end(1, true);
    assert_eq!(world.offset(), Some(7));
}

#[test]
fn a_transaction_replaces_what_was_committed_before_its_offset() {
    let mut world = World::new();
    world.commit(7);
    world.commit_in_transaction(1, 5);
    assert_eq!(world.offset(), Some(7));
    world.end(1, true);
    assert_eq!(world.offset(), Some(5));
}

#[test]
fn an_offset_that_is_written_again_in_the_transaction_counts_again() {
    let mut world = World::new();
    world.commit_in_transaction(1, 5);
    world.commit(7);
    world.commit_in_transaction(1, 8);
    world.end(1, true);
    assert_eq!(world.offset(), Some(8));
}

#[test]
fn of_two_transactions_the_later_offset_counts_whichever_ends_first() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut world = World::new();
        world.commit_in_transaction(1, 5);
        world.commit_in_transaction(2, 6);
        world.end(first, true);
        world.end(second, true);
        assert_eq!(world.offset(), Some(6), "{first} ends first");
    }
    let mut world = World::new();
    world.commit_in_transaction(1, 5);
    world.commit_in_transaction(2, 6);
    world.end(2, false);
    world.end(1, true);
    assert_eq!(world.offset(), Some(5), "an aborted one overtakes nobody");
}

#[test]
fn what_is_deleted_does_not_come_back_with_the_end_of_a_transaction() {
    let deletions: [fn(&mut World); 2] = [World::delete_offset, World::delete_group];
    for delete in deletions {
        let mut world = World::new();
        world.commit(4);
        world.commit_in_transaction(1, 5);
        delete(&mut world);
        world.end(1, true);
        assert_eq!(world.offset(), None);
    }
}

/// Trap 10: UNSTABLE_OFFSET_COMMIT while offsets of a transaction pend.
#[test]
fn an_offset_is_unstable_until_the_transaction_ends_also_if_it_was_overtaken() {
    let mut world = World::new();
    world.commit_in_transaction(1, 5);
    assert_eq!(world.stable_offset(), Err(ErrorCode::UnstableOffsetCommit));
    world.commit(7);
    assert_eq!(world.stable_offset(), Err(ErrorCode::UnstableOffsetCommit));
    world.end(1, true);
    assert_eq!(world.stable_offset(), Ok(7));
}
