//! Classic consumer groups and committed offsets over the wire.

use bytes::Bytes;
use moldau_protocol::messages::delete_groups::DeleteGroupsRequest;
use moldau_protocol::messages::delete_topics::DeleteTopicsRequest;
use moldau_protocol::messages::describe_groups::DescribeGroupsRequest;
use moldau_protocol::messages::find_coordinator::FindCoordinatorRequest;
use moldau_protocol::messages::heartbeat::HeartbeatRequest;
use moldau_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use moldau_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use moldau_protocol::messages::list_groups::ListGroupsRequest;
use moldau_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use moldau_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use moldau_protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
    OffsetFetchResponsePartitions,
};
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use moldau_protocol::{ErrorCode, KString, Request};

use crate::fixture::*;

const JOIN: i16 = 9;

pub(crate) async fn find_coordinator(wire: &mut Wire) {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![KString::from("g")],
        ..Default::default()
    };
    let response = wire.call(4, request).await;
    assert_eq!(response.coordinators[0].error_code, 0);
}

fn join(member_id: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol {
        name: KString::from("range"),
        metadata: Bytes::copy_from_slice(member_id.as_bytes()),
        ..Default::default()
    };
    JoinGroupRequest {
        group_id: KString::from("g"),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: KString::copy_from(member_id),
        protocol_type: KString::from("consumer"),
        protocols: vec![protocol],
        ..Default::default()
    }
}

/// The id that the first join is answered with.
async fn member_id(wire: &mut Wire) -> KString {
    let response = wire.call(JOIN, join("")).await;
    assert_eq!(response.error_code, ErrorCode::MemberIdRequired.code());
    assert!(!response.member_id.is_empty());
    response.member_id
}

fn sync(joined: &JoinGroupResponse, assignments: &[(&KString, &'static str)]) -> SyncGroupRequest {
    let assignments =
        assignments
            .iter()
            .map(|(member_id, assignment)| SyncGroupRequestAssignment {
                member_id: (*member_id).clone(),
                assignment: Bytes::from_static(assignment.as_bytes()),
                ..Default::default()
            });
    SyncGroupRequest {
        group_id: KString::from("g"),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        protocol_type: Some(KString::from("consumer")),
        protocol_name: Some(KString::from("range")),
        assignments: assignments.collect(),
        ..Default::default()
    }
}

/// Joins alone and becomes the leader of generation 1.
async fn join_alone(wire: &mut Wire) -> JoinGroupResponse {
    let id = member_id(wire).await;
    let joined = wire.call(JOIN, join(&id)).await;
    assert_eq!((joined.error_code, &joined.leader), (0, &id));
    let synced = wire.call(5, sync(&joined, &[(&id, "all")])).await;
    assert_eq!(
        (synced.error_code, &synced.assignment[..]),
        (0, &b"all"[..])
    );
    joined
}

async fn receive<R: Request>(wire: &mut Wire, version: i16) -> R::Response {
    let (_, response) = wire.receive(R::KEY, version).await;
    R::Response::try_from(response).unwrap_or_else(|_| panic!("another API"))
}

pub(crate) fn commit(
    generation_id: i32,
    member_id: &str,
    offset: i64,
    metadata: &str,
) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: 3,
        committed_metadata: Some(KString::copy_from(metadata)),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: KString::from("t"),
        partitions: vec![partition],
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: KString::from("g"),
        generation_id_or_member_epoch: generation_id,
        member_id: KString::copy_from(member_id),
        topics: vec![topic],
        ..Default::default()
    }
}

pub(crate) async fn commit_code(wire: &mut Wire, request: OffsetCommitRequest) -> ErrorCode {
    let response = wire.call(8, request).await;
    ErrorCode::from_code(response.topics[0].partitions[0].error_code)
}

pub(crate) async fn committed(wire: &mut Wire) -> OffsetFetchResponsePartitions {
    let topic = OffsetFetchRequestTopics {
        name: KString::from("t"),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = OffsetFetchRequestGroup {
        group_id: KString::from("g"),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest {
        groups: vec![group],
        ..Default::default()
    };
    wire.call(9, request)
        .await
        .groups
        .remove(0)
        .topics
        .remove(0)
        .partitions
        .remove(0)
}

/// Trap 8: batched keys from v4 on, and the internal topic with as many replicas as there can be.
#[tokio::test]
async fn the_coordinator_is_found_in_every_version_and_brings_its_topic() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let port = i32::from(broker.handle.kafka_addresses()[0].port());
    for version in 0..=3 {
        let request = FindCoordinatorRequest {
            key: KString::from("g"),
            ..Default::default()
        };
        let response = wire.call(version, request).await;
        assert_eq!(
            (response.error_code, response.node_id, response.port),
            (0, 1, port)
        );
    }
    let keys = vec![KString::from("g"), KString::from("h")];
    let request = FindCoordinatorRequest {
        coordinator_keys: keys,
        ..Default::default()
    };
    let response = wire.call(6, request).await;
    assert_eq!(
        response
            .coordinators
            .iter()
            .filter(|one| one.error_code == 0 && one.port == port)
            .count(),
        2
    );
    let offsets = &wire.call(12, all_topics()).await.topics[0];
    assert_eq!(
        (offsets.name.as_deref(), offsets.is_internal),
        (Some("__consumer_offsets"), true)
    );
    // Three replicas are the default, and there is one broker.
    assert_eq!(
        (
            offsets.partitions.len(),
            offsets.partitions[0].replica_nodes.len()
        ),
        (50, 1)
    );
}

#[tokio::test]
async fn transactions_have_coordinators_and_share_groups_have_none() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    for (key_type, code) in [(1, ErrorCode::None), (2, ErrorCode::InvalidRequest)] {
        let keys = vec![KString::from("k")];
        let request = FindCoordinatorRequest {
            coordinator_keys: keys,
            key_type,
            ..Default::default()
        };
        assert_eq!(
            wire.call(6, request).await.coordinators[0].error_code,
            code.code()
        );
    }
}

#[tokio::test]
async fn groups_without_their_topic_ask_to_come_again() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let response = wire.call(JOIN, join("")).await;
    assert_eq!(
        response.error_code,
        ErrorCode::CoordinatorNotAvailable.code()
    );
}

#[tokio::test]
async fn two_members_share_a_group() {
    let broker = TestBroker::start().await;
    let mut first = broker.connect().await;
    let mut second = broker.connect().await;
    find_coordinator(&mut first).await;
    let one = join_alone(&mut first).await;

    let second_id = member_id(&mut second).await;
    second.send(JOIN, join(&second_id)).await;
    // The first member learns by its heartbeat that it must join again.
    let heartbeat = HeartbeatRequest {
        group_id: KString::from("g"),
        generation_id: one.generation_id,
        member_id: one.member_id.clone(),
        ..Default::default()
    };
    while first.call(4, heartbeat.clone()).await.error_code != ErrorCode::RebalanceInProgress.code()
    {
    }
    let one = first.call(JOIN, join(&one.member_id)).await;
    let two = receive::<JoinGroupRequest>(&mut second, JOIN).await;
    assert_eq!((one.generation_id, two.generation_id), (2, 2));
    assert_eq!(
        (one.members.len(), two.members.len()),
        (2, 0),
        "only the leader sees the members"
    );

    second.send(5, sync(&two, &[])).await;
    let synced = first
        .call(
            5,
            sync(&one, &[(&one.member_id, "left"), (&two.member_id, "right")]),
        )
        .await;
    assert_eq!(&synced.assignment[..], b"left");
    assert_eq!(
        &receive::<SyncGroupRequest>(&mut second, 5).await.assignment[..],
        b"right"
    );

    let member = MemberIdentity {
        member_id: two.member_id.clone(),
        ..Default::default()
    };
    let leave = LeaveGroupRequest {
        group_id: KString::from("g"),
        members: vec![member],
        ..Default::default()
    };
    assert_eq!(second.call(5, leave).await.members[0].error_code, 0);
    let heartbeat = HeartbeatRequest {
        generation_id: 2,
        ..heartbeat
    };
    assert_eq!(
        first.call(4, heartbeat).await.error_code,
        ErrorCode::RebalanceInProgress.code()
    );
}

#[tokio::test]
async fn a_member_that_is_silent_is_removed() {
    let broker = TestBroker::start_with(|config| config.group_min_session_timeout_ms = 1).await;
    let mut silent = broker.connect().await;
    let mut wire = broker.connect().await;
    find_coordinator(&mut wire).await;
    let id = member_id(&mut silent).await;
    let short = JoinGroupRequest {
        session_timeout_ms: 100,
        rebalance_timeout_ms: 100,
        ..join(&id)
    };
    let joined = silent.call(JOIN, short).await;
    silent.call(5, sync(&joined, &[(&id, "all")])).await;
    let second_id = member_id(&mut wire).await;
    let joined = wire.call(JOIN, join(&second_id)).await;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
}

#[tokio::test]
async fn old_clients_join_without_the_id_handshake() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    find_coordinator(&mut wire).await;
    for version in 0..=3 {
        let joined = wire.call(version, join("")).await;
        assert_eq!(joined.error_code, 0, "v{version}");
        let leave = LeaveGroupRequest {
            group_id: KString::from("g"),
            member_id: joined.member_id,
            ..Default::default()
        };
        assert_eq!(wire.call(1, leave).await.error_code, 0);
    }
}

/// Trap 10: metadata is kept.
#[tokio::test]
async fn offsets_are_kept_with_their_metadata_and_survive_a_restart() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_coordinator(&mut wire).await;
    let joined = join_alone(&mut wire).await;
    let code = commit_code(
        &mut wire,
        commit(joined.generation_id, &joined.member_id, 42, "where I was"),
    )
    .await;
    assert_eq!(code, ErrorCode::None);
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    let offset = committed(&mut wire).await;
    assert_eq!(
        (offset.committed_offset, offset.committed_leader_epoch),
        (42, 3)
    );
    assert_eq!(offset.metadata.as_deref(), Some("where I was"));
    // The member is still there too.
    let heartbeat = HeartbeatRequest {
        group_id: KString::from("g"),
        generation_id: joined.generation_id,
        member_id: joined.member_id,
        ..Default::default()
    };
    assert_eq!(wire.call(4, heartbeat).await.error_code, 0);
}

#[tokio::test]
async fn only_members_of_this_generation_commit() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_coordinator(&mut wire).await;
    let joined = join_alone(&mut wire).await;
    for (generation, member, code) in [
        (
            joined.generation_id + 1,
            &*joined.member_id,
            ErrorCode::IllegalGeneration,
        ),
        (joined.generation_id, "somebody", ErrorCode::UnknownMemberId),
        (-1, "", ErrorCode::UnknownMemberId),
    ] {
        assert_eq!(
            commit_code(&mut wire, commit(generation, member, 1, "")).await,
            code
        );
    }
    assert_eq!(committed(&mut wire).await.committed_offset, -1);
}

/// Trap 10: simple consumers.
#[tokio::test]
async fn a_group_without_members_takes_plain_commits() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_coordinator(&mut wire).await;
    assert_eq!(
        commit_code(&mut wire, commit(-1, "", 5, "")).await,
        ErrorCode::None
    );
    assert_eq!(committed(&mut wire).await.committed_offset, 5);
    let too_long = "m".repeat(4097);
    let code = commit_code(&mut wire, commit(-1, "", 6, &too_long)).await;
    assert_eq!(code, ErrorCode::OffsetMetadataTooLarge);
    assert_eq!(committed(&mut wire).await.committed_offset, 5);
}

#[tokio::test]
async fn old_and_new_shapes_of_offset_fetch_agree() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_coordinator(&mut wire).await;
    commit_code(&mut wire, commit(-1, "", 5, "")).await;
    for version in 2..=7 {
        let request = OffsetFetchRequest {
            group_id: KString::from("g"),
            topics: None,
            ..Default::default()
        };
        let response = wire.call(version, request).await;
        assert_eq!(
            response.topics[0].partitions[0].committed_offset, 5,
            "v{version}: null means all"
        );
    }
    for version in 8..=9 {
        let group = OffsetFetchRequestGroup {
            group_id: KString::from("g"),
            topics: None,
            ..Default::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            require_stable: true,
            ..Default::default()
        };
        let response = wire.call(version, request).await;
        assert_eq!(
            response.groups[0].topics[0].partitions[0].committed_offset,
            5
        );
    }
}

#[tokio::test]
async fn groups_are_listed_and_described() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    find_coordinator(&mut wire).await;
    let joined = join_alone(&mut wire).await;
    let listed = wire.call(5, ListGroupsRequest::default()).await;
    assert_eq!(
        (&*listed.groups[0].group_id, &*listed.groups[0].group_state),
        ("g", "Stable")
    );
    assert_eq!(&*listed.groups[0].group_type, "classic");
    let request = DescribeGroupsRequest {
        groups: vec![KString::from("g")],
        ..Default::default()
    };
    let described = &wire.call(5, request).await.groups[0];
    assert_eq!(
        (&*described.group_state, &*described.protocol_data),
        ("Stable", "range")
    );
    let member = &described.members[0];
    assert_eq!(
        (&member.member_id, &*member.client_id, &*member.client_host),
        (&joined.member_id, "test", "/127.0.0.1")
    );
    let group = &broker.handle.metrics().snapshot().groups[0];
    assert_eq!((group.group_id.as_str(), group.members), ("g", 1));
}

#[tokio::test]
async fn a_member_that_waits_does_not_keep_the_broker_from_stopping() {
    let broker = TestBroker::start().await;
    let mut first = broker.connect().await;
    let mut second = broker.connect().await;
    find_coordinator(&mut first).await;
    join_alone(&mut first).await;
    let id = member_id(&mut second).await;
    second.send(JOIN, join(&id)).await;
    second.send(JOIN, join(&id)).await;
    broker.handle.shutdown().await.unwrap();
    // Answered or closed, but not hanging.
    second.receive_frame().await;
}

#[tokio::test]
async fn offsets_and_empty_groups_can_be_deleted() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_coordinator(&mut wire).await;
    commit_code(&mut wire, commit(-1, "", 5, "")).await;
    let partition = OffsetDeleteRequestPartition { partition_index: 0 };
    let topic = OffsetDeleteRequestTopic {
        name: KString::from("t"),
        partitions: vec![partition],
    };
    let request = OffsetDeleteRequest {
        group_id: KString::from("g"),
        topics: vec![topic],
    };
    assert_eq!(wire.call(0, request).await.error_code, 0);
    assert_eq!(committed(&mut wire).await.committed_offset, -1);

    commit_code(&mut wire, commit(-1, "", 6, "")).await;
    let names = vec![KString::from("g"), KString::from("missing")];
    let deleted = wire
        .call(
            2,
            DeleteGroupsRequest {
                groups_names: names,
                ..Default::default()
            },
        )
        .await;
    let codes: Vec<i16> = deleted
        .results
        .iter()
        .map(|result| result.error_code)
        .collect();
    assert_eq!(codes, [0, ErrorCode::GroupIdNotFound.code()]);
    assert_eq!(committed(&mut wire).await.committed_offset, -1);
}

#[tokio::test]
async fn a_deleted_topic_takes_its_offsets_along() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_coordinator(&mut wire).await;
    commit_code(&mut wire, commit(-1, "", 5, "")).await;
    let request = DeleteTopicsRequest {
        topic_names: vec![KString::from("t")],
        ..Default::default()
    };
    assert_eq!(wire.call(5, request).await.responses[0].error_code, 0);
    wire.create_topic("t", 1).await;
    assert_eq!(committed(&mut wire).await.committed_offset, -1);
}
