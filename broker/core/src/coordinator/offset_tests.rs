//! The rules of committed offsets as sentences.

use moldau_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use moldau_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use moldau_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use moldau_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponseGroup,
};
use moldau_protocol::{ErrorCode, KString, Message, ResponseKind, Uuid};

use super::fixture::{GROUP, INITIAL_DELAY_MS, JoinAs, SESSION_MS, World, sync_request};
use super::*;
use crate::metadata::controller::fixture::topic_id;

const MINUTE_MS: i64 = 60_000;
const RETENTION_MS: i64 = 10_080 * MINUTE_MS;

/// A commit by nobody's member: (topic, partition, offset).
fn commit(offsets: &[(&'static str, i32, i64)]) -> OffsetCommitRequest {
    let topic = |(name, partition_index, committed_offset): &(&'static str, i32, i64)| {
        OffsetCommitRequestTopic {
            name: (*name).into(),
            topic_id: topic_id(name),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *committed_offset,
                committed_leader_epoch: 3,
                committed_metadata: Some("note".into()),
                ..Default::default()
            }],
            ..Default::default()
        }
    };
    OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: offsets.iter().map(topic).collect(),
        ..Default::default()
    }
}

fn send(world: &mut World, api_version: i16, request: OffsetCommitRequest) -> Token {
    let caller = world.caller(api_version);
    let actions = world
        .coordinator
        .offset_commit(&caller, request, &world.image, world.now_ms);
    world.act(actions);
    caller.token
}

fn codes(world: &World, token: Token) -> Vec<ErrorCode> {
    let Some(ResponseKind::OffsetCommit(response)) = world.answer(token) else {
        panic!("no answer to {token}")
    };
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .map(|partition| ErrorCode::from_code(partition.error_code))
        .collect()
}

fn commit_codes(
    world: &mut World,
    api_version: i16,
    request: OffsetCommitRequest,
) -> Vec<ErrorCode> {
    let token = send(world, api_version, request);
    codes(world, token)
}

fn all(coordinator: &Coordinator, world: &World) -> Vec<(String, i32, i64)> {
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        topics: None,
        ..Default::default()
    };
    let fetched = coordinator.fetch_offsets(&group, 9, &world.image);
    let of = |fetched: OffsetFetchResponseGroup| fetched.topics;
    let mut offsets = Vec::new();
    for topic in of(fetched) {
        for partition in &topic.partitions {
            offsets.push((
                topic.name.to_string(),
                partition.partition_index,
                partition.committed_offset,
            ));
        }
    }
    offsets
}

fn stored(world: &World) -> Vec<(String, i32, i64)> {
    let now = all(&world.coordinator, world);
    assert_eq!(all(&world.replayed(), world), now, "the log says the same");
    now
}

fn offset(topic: &str, partition: i32, offset: i64) -> (String, i32, i64) {
    (topic.to_owned(), partition, offset)
}

#[test]
fn consumers_without_a_group_commit_offsets_too() {
    let mut world = World::new();
    let request = commit(&[("orders", 0, 5), ("visits", 2, 7)]);
    assert_eq!(commit_codes(&mut world, 9, request), [ErrorCode::None; 2]);
    assert_eq!(
        stored(&world),
        [offset("orders", 0, 5), offset("visits", 2, 7)]
    );
    assert_eq!(world.state(), "Empty");
}

#[test]
fn an_offset_counts_once_it_is_committed_to_the_log() {
    let mut world = World::held();
    let first = send(&mut world, 9, commit(&[("orders", 0, 5)]));
    let second = send(&mut world, 9, commit(&[("orders", 0, 6)]));
    assert!(world.is_waiting(first));
    assert_eq!(stored(&world), []);
    world.commit_one();
    assert_eq!(codes(&world, first), [ErrorCode::None]);
    assert_eq!(stored(&world), [offset("orders", 0, 5)]);
    world.fail_one(ErrorCode::NotLeaderOrFollower);
    assert_eq!(codes(&world, second), [ErrorCode::NotCoordinator]);
    assert_eq!(stored(&world), [offset("orders", 0, 5)]);
}

#[test]
fn members_commit_with_their_generation_only() {
    let mut world = World::new();
    let ids = world.stable(1);
    let by = |member_id: &KString, generation_id_or_member_epoch| OffsetCommitRequest {
        member_id: member_id.clone(),
        generation_id_or_member_epoch,
        ..commit(&[("orders", 0, 5)])
    };
    for (request, code) in [
        (by(&ids[0], 1), ErrorCode::None),
        (by(&ids[0], 0), ErrorCode::IllegalGeneration),
        (by(&ids[0], -1), ErrorCode::IllegalGeneration),
        (by(&"stranger".into(), 1), ErrorCode::UnknownMemberId),
        (by(&KString::EMPTY, -1), ErrorCode::UnknownMemberId),
        (
            OffsetCommitRequest {
                group_instance_id: Some("z".into()),
                ..by(&ids[0], 1)
            },
            ErrorCode::UnknownMemberId,
        ),
    ] {
        assert_eq!(
            commit_codes(&mut world, 9, request.clone()),
            [code],
            "{request:?}"
        );
    }
}

#[test]
fn a_member_may_commit_until_it_has_joined_the_next_generation() {
    let mut world = World::new();
    let ids = world.stable(1);
    let (new, joining) = world.join_new();
    let by = |member_id: &KString, generation_id_or_member_epoch| OffsetCommitRequest {
        member_id: member_id.clone(),
        generation_id_or_member_epoch,
        ..commit(&[("orders", 0, 5)])
    };
    assert_eq!(
        commit_codes(&mut world, 9, by(&ids[0], 1)),
        [ErrorCode::None]
    );
    world.join(JoinAs::member(&ids[0]));
    assert_eq!(world.joined(joining).generation_id, 2);
    assert_eq!(
        commit_codes(&mut world, 9, by(&new, 2)),
        [ErrorCode::RebalanceInProgress]
    );
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut world = World::new();
    let ids = world.stable(1);
    world.pass(i64::from(SESSION_MS) - 1);
    let request = OffsetCommitRequest {
        member_id: ids[0].clone(),
        generation_id_or_member_epoch: 1,
        ..commit(&[("orders", 0, 5)])
    };
    commit_codes(&mut world, 9, request);
    world.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(world.heartbeat(&ids[0]), ErrorCode::None);
}

#[test]
fn a_group_that_is_not_there_has_no_generation() {
    let mut world = World::new();
    let request = OffsetCommitRequest {
        generation_id_or_member_epoch: 4,
        ..commit(&[("orders", 0, 5)])
    };
    assert_eq!(
        commit_codes(&mut world, 8, request.clone()),
        [ErrorCode::IllegalGeneration]
    );
    assert_eq!(
        commit_codes(&mut world, 9, request),
        [ErrorCode::GroupIdNotFound]
    );
}

#[test]
fn unknown_topics_and_long_metadata_are_refused_one_by_one() {
    let mut world = World::new();
    let mut request = commit(&[("orders", 0, 5), ("nowhere", 0, 5), ("visits", 0, 5)]);
    request.topics[2].partitions[0].committed_metadata = Some("x".repeat(4_097).into());
    let expected = [
        ErrorCode::None,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::OffsetMetadataTooLarge,
    ];
    assert_eq!(commit_codes(&mut world, 9, request), expected);
    assert_eq!(stored(&world), [offset("orders", 0, 5)]);
}

#[test]
fn from_version_10_on_topics_are_named_by_id() {
    let mut world = World::new();
    let mut request = commit(&[("orders", 1, 5), ("nowhere", 0, 5)]);
    request
        .topics
        .iter_mut()
        .for_each(|topic| topic.name = KString::EMPTY);
    let expected = [ErrorCode::None, ErrorCode::UnknownTopicId];
    assert_eq!(commit_codes(&mut world, 10, request), expected);

    let topic = |id| OffsetFetchRequestTopics {
        topic_id: id,
        partition_indexes: vec![1],
        ..Default::default()
    };
    let topics = Some(vec![topic(topic_id("orders")), topic(topic_id("nowhere"))]);
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.into(),
        topics,
        ..Default::default()
    };
    let fetched = world.coordinator.fetch_offsets(&group, 10, &world.image);
    let found: Vec<_> = fetched
        .topics
        .iter()
        .flat_map(|t| &t.partitions)
        .map(|p| (p.committed_offset, p.error_code))
        .collect();
    assert_eq!(found, [(5, 0), (-1, ErrorCode::UnknownTopicId.code())]);
}

#[test]
fn everything_about_an_offset_comes_back_in_every_version() {
    let mut world = World::new();
    commit_codes(&mut world, 9, commit(&[("orders", 0, 5)]));
    for version in 1..=9 {
        let one = OffsetFetchRequestTopic {
            name: "orders".into(),
            partition_indexes: vec![0, 1],
            ..Default::default()
        };
        let many = OffsetFetchRequestTopics {
            name: "orders".into(),
            partition_indexes: vec![0, 1],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: GROUP.into(),
            topics: Some(vec![many]),
            ..Default::default()
        };
        let request = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: Some(vec![one]),
            groups: vec![group],
            ..Default::default()
        };
        let groups = offset_fetch_groups(&request, version);
        let fetched = groups
            .iter()
            .map(|group| {
                world
                    .coordinator
                    .fetch_offsets(group, version, &world.image)
            })
            .collect();
        let response = offset_fetch_response(fetched, version);
        let bytes = response.to_bytes(version).expect("fits its version");
        let response = moldau_protocol::messages::offset_fetch::OffsetFetchResponse::from_bytes(
            bytes, version,
        )
        .unwrap();
        let partitions: Vec<_> = if version < 8 {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            partitions
                .map(|p| (p.partition_index, p.committed_offset, p.metadata.clone()))
                .collect()
        } else {
            let partitions = response
                .groups
                .iter()
                .flat_map(|g| &g.topics)
                .flat_map(|topic| &topic.partitions);
            partitions
                .map(|p| (p.partition_index, p.committed_offset, p.metadata.clone()))
                .collect()
        };
        assert_eq!(
            partitions,
            [(0, 5, Some("note".into())), (1, -1, Some(KString::EMPTY))],
            "version {version}"
        );
    }
}

#[test]
fn an_unknown_group_has_no_offsets_and_that_is_no_error() {
    let world = World::new();
    let topic = OffsetFetchRequestTopics {
        name: "orders".into(),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: "x".into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let fetched = world.coordinator.fetch_offsets(&group, 9, &world.image);
    assert_eq!(
        (
            fetched.error_code,
            fetched.topics[0].partitions[0].committed_offset
        ),
        (0, -1)
    );
    let refused = offset_fetch_error(&group, ErrorCode::NotCoordinator, 1);
    assert_eq!(
        refused.topics[0].partitions[0].error_code,
        ErrorCode::NotCoordinator.code()
    );
    assert!(
        offset_fetch_error(&group, ErrorCode::NotCoordinator, 8)
            .topics
            .is_empty()
    );
}

#[test]
fn offsets_of_a_deleted_topic_are_forgotten_also_those_on_their_way() {
    let mut world = World::held();
    send(&mut world, 9, commit(&[("orders", 0, 5), ("visits", 0, 7)]));
    let actions = world.coordinator.topics_deleted(&["orders".into()]);
    world.act(actions);
    world.commit_one();
    world.commit_one();
    assert_eq!(stored(&world), [offset("visits", 0, 7)]);
}

#[test]
fn an_offset_of_a_deleted_topic_is_not_one_of_its_namesake() {
    let mut world = World::new();
    commit_codes(&mut world, 9, commit(&[("orders", 0, 5)]));
    let records = [
        crate::metadata::MetadataRecord::RemoveTopic {
            id: topic_id("orders"),
        },
        crate::metadata::MetadataRecord::Topic {
            name: "orders".into(),
            id: Uuid([9; 16]),
        },
    ];
    records
        .iter()
        .for_each(|record| world.image.apply(record).unwrap());
    assert_eq!(stored(&world), []);
}

#[test]
fn offsets_expire_after_the_retention_time_counted_from_the_last_member() {
    let mut world = World::new();
    let ids = world.stable(1);
    let request = OffsetCommitRequest {
        member_id: ids[0].clone(),
        generation_id_or_member_epoch: 1,
        ..commit(&[("orders", 0, 5)])
    };
    commit_codes(&mut world, 9, request);
    for _ in 0..10 {
        world.heartbeat(&ids[0]);
        world.pass(i64::from(SESSION_MS) - 1);
    }
    world.leave(&[(&ids[0], None)]);
    world.pass(RETENTION_MS - 1);
    assert_eq!(stored(&world), [offset("orders", 0, 5)]);
    world.pass(10 * MINUTE_MS);
    assert_eq!(stored(&world), []);
    assert_eq!(
        world.coordinator.groups().count(),
        0,
        "the group is gone with its last offset"
    );
    assert_eq!(world.replayed().groups().count(), 0);
}

#[test]
fn offsets_without_a_group_expire_by_their_own_age() {
    let mut world = World::new();
    commit_codes(&mut world, 9, commit(&[("orders", 0, 5)]));
    world.pass(RETENTION_MS / 2);
    commit_codes(&mut world, 9, commit(&[("orders", 1, 6)]));
    world.pass(RETENTION_MS / 2 + 10 * MINUTE_MS);
    assert_eq!(stored(&world), [offset("orders", 1, 6)]);
}

#[test]
fn old_clients_say_themselves_how_long_their_offsets_are_kept() {
    let mut world = World::new();
    let request = OffsetCommitRequest {
        retention_time_ms: MINUTE_MS,
        ..commit(&[("orders", 0, 5)])
    };
    commit_codes(&mut world, 4, request.clone());
    assert_eq!(stored(&world), [offset("orders", 0, 5)]);
    world.pass(10 * MINUTE_MS);
    assert_eq!(stored(&world), []);
    commit_codes(&mut world, 5, request);
    world.pass(10 * MINUTE_MS);
    assert_eq!(stored(&world), [offset("orders", 0, 5)]);
}

/// A stable group whose only member subscribes to a topic.
fn subscribed_to(topic: &'static str) -> (World, KString) {
    let mut world = World::new();
    let subscription = ConsumerProtocolSubscription {
        topics: vec![topic.into()],
        ..Default::default()
    };
    let metadata = subscription.encode_versioned(0).unwrap();
    let caller = world.caller(3);
    let request = JoinGroupRequest {
        group_id: GROUP.into(),
        session_timeout_ms: 1_800_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata,
            ..Default::default()
        }],
        ..Default::default()
    };
    let actions = world.coordinator.join_group(&caller, request, 1, 0);
    world.act(actions);
    world.pass(INITIAL_DELAY_MS);
    let member_id = world.joined(caller.token).member_id.clone();
    let request = sync_request(&member_id, &[]);
    world.sync_with(moldau_protocol::messages::sync_group::SyncGroupRequest {
        generation_id: 1,
        ..request
    });
    (world, member_id)
}

#[test]
fn offsets_of_topics_that_a_group_no_longer_reads_expire() {
    let (mut world, member_id) = subscribed_to("orders");
    let request = OffsetCommitRequest {
        member_id: member_id.clone(),
        generation_id_or_member_epoch: 1,
        ..commit(&[("orders", 0, 5), ("visits", 0, 7)])
    };
    assert_eq!(commit_codes(&mut world, 9, request), [ErrorCode::None; 2]);
    for _ in 0..(RETENTION_MS / 1_000_000 + 2) {
        assert_eq!(world.heartbeat(&member_id), ErrorCode::None);
        world.pass(1_000_000);
    }
    assert_eq!(stored(&world), [offset("orders", 0, 5)]);
}

#[test]
fn offsets_in_use_are_not_deleted() {
    let (mut world, member_id) = subscribed_to("orders");
    let request = OffsetCommitRequest {
        member_id,
        generation_id_or_member_epoch: 1,
        ..commit(&[("orders", 0, 5), ("visits", 0, 7)])
    };
    commit_codes(&mut world, 9, request);
    let topic = |name: &'static str| OffsetDeleteRequestTopic {
        name: name.into(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: 0 }],
    };
    let request = OffsetDeleteRequest {
        group_id: GROUP.into(),
        topics: vec![topic("orders"), topic("visits")],
    };
    let caller = world.caller(0);
    let actions = world.coordinator.offset_delete(&caller, request);
    world.act(actions);
    let Some(ResponseKind::OffsetDelete(response)) = world.answer(caller.token) else {
        panic!("an answer")
    };
    let codes: Vec<i16> = response
        .topics
        .iter()
        .flat_map(|t| &t.partitions)
        .map(|p| p.error_code)
        .collect();
    assert_eq!(codes, [ErrorCode::GroupSubscribedToTopic.code(), 0]);
    assert_eq!(stored(&world), [offset("orders", 0, 5)]);
}
