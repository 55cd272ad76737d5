//! What tools ask about the cluster: directories, features, quorum, elections, reassignments.

use moldau_broker::handlers::DISPATCH_TABLE;
use moldau_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use moldau_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use moldau_protocol::messages::api_versions::ApiVersionsRequest;
use moldau_protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsRequest,
};
use moldau_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, RequestPartitionData, RequestTopicData,
};
use moldau_protocol::messages::elect_leaders::ElectLeadersRequest;
use moldau_protocol::messages::list_partition_reassignments::ListPartitionReassignmentsRequest;
use moldau_protocol::messages::unregister_broker::UnregisterBrokerRequest;
use moldau_protocol::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};
use moldau_protocol::{ApiKey, ErrorCode, KString};

use crate::fixture::*;

fn hello() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: KString::from("test"),
        client_software_version: KString::from("1"),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_directory_tells_what_each_partition_takes() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("a", 2).await;
    wire.create_topic("b", 1).await;
    wire.produce_values("a", 1, &["x"]).await;
    let all = DescribeLogDirsRequest {
        topics: None,
        ..Default::default()
    };
    let response = wire.call(5, all).await;
    let [dir] = response.results.as_slice() else {
        panic!("one directory: {response:?}")
    };
    assert_eq!(*dir.log_dir, *broker.dir.path().display().to_string());
    assert!(dir.total_bytes >= dir.usable_bytes && dir.usable_bytes > 0);
    let sizes: Vec<_> = dir
        .topics
        .iter()
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|one| (&*topic.name, one.partition_index, one.partition_size > 0))
        })
        .collect();
    assert_eq!(sizes, [("a", 0, false), ("a", 1, true), ("b", 0, false)]);
    let some = DescribeLogDirsRequest {
        topics: Some(vec![DescribableLogDirTopic {
            topic: KString::from("a"),
            partitions: vec![1, 7],
            ..Default::default()
        }]),
        ..Default::default()
    };
    let response = wire.call(1, some).await;
    let topics = &response.results[0].topics;
    assert_eq!((topics.len(), topics[0].partitions.len()), (1, 1));
}

#[tokio::test]
async fn a_partition_can_be_moved_only_to_the_directory_where_it_is() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("a", 1).await;
    let here = broker.dir.path().display().to_string();
    for (path, index, code) in [
        (&*here, 0, ErrorCode::None),
        (&*here, 7, ErrorCode::UnknownTopicOrPartition),
        ("/elsewhere", 0, ErrorCode::LogDirNotFound),
    ] {
        let topic = AlterReplicaLogDirTopic {
            name: KString::from("a"),
            partitions: vec![index],
            ..Default::default()
        };
        let dir = AlterReplicaLogDir {
            path: KString::copy_from(path),
            topics: vec![topic],
            ..Default::default()
        };
        let request = AlterReplicaLogDirsRequest {
            dirs: vec![dir],
            ..Default::default()
        };
        let response = wire.call(2, request).await;
        let result = &response.results[0].partitions[0];
        assert_eq!(result.error_code, code.code(), "{path} {index}");
    }
}

#[tokio::test]
async fn the_node_is_its_own_quorum() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("a", 1).await;
    let ask = |topic: &'static str| {
        let partition = RequestPartitionData::default();
        let topic = RequestTopicData {
            topic_name: KString::from(topic),
            partitions: vec![partition],
            ..Default::default()
        };
        DescribeQuorumRequest {
            topics: vec![topic],
            ..Default::default()
        }
    };
    let response = wire.call(2, ask("__cluster_metadata")).await;
    let quorum = &response.topics[0].partitions[0];
    assert_eq!((quorum.error_code, quorum.leader_id), (0, 1));
    let [voter] = quorum.current_voters.as_slice() else {
        panic!("one voter")
    };
    assert_eq!(voter.log_end_offset, quorum.high_watermark);
    assert!(quorum.high_watermark > 0 && !voter.replica_directory_id.is_zero());
    let port = wire.stream.peer_addr().unwrap().port();
    assert_eq!(response.nodes[0].listeners[0].port, port);
    let response = wire.call(0, ask("a")).await;
    let quorum = &response.topics[0].partitions[0];
    assert_eq!(quorum.error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn elections_and_moves_of_one_node_change_nothing() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("a", 2).await;
    for version in [0, 1, 2] {
        let request = ElectLeadersRequest {
            topic_partitions: None,
            ..Default::default()
        };
        let response = wire.call(version, request).await;
        assert_eq!(response.error_code, 0);
        assert_eq!(response.replica_election_results, []);
    }
    for (replicas, code) in [
        (Some(vec![1]), ErrorCode::None),
        (Some(vec![2]), ErrorCode::InvalidReplicaAssignment),
        (None, ErrorCode::NoReassignmentInProgress),
    ] {
        let partition = ReassignablePartition {
            replicas,
            ..Default::default()
        };
        let topic = ReassignableTopic {
            name: KString::from("a"),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let response = wire.call(1, request).await;
        assert_eq!(response.responses[0].partitions[0].error_code, code.code());
    }
    let moves = wire
        .call(0, ListPartitionReassignmentsRequest::default())
        .await;
    assert_eq!((moves.error_code, moves.topics), (0, vec![]));
}

#[tokio::test]
async fn the_only_broker_cannot_leave() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    for (broker_id, code) in [
        (1, ErrorCode::InvalidRequest),
        (5, ErrorCode::BrokerIdNotRegistered),
    ] {
        let request = UnregisterBrokerRequest {
            broker_id,
            ..Default::default()
        };
        let response = wire.call(0, request).await;
        assert_eq!(response.error_code, code.code());
        assert!(response.error_message.is_some());
    }
}

/// Trap 13: clients change what they do by the finalized features, so that only what works is among them.
#[tokio::test]
async fn trap_13_finalized_features_are_those_of_the_table_and_have_an_epoch() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let response = wire.call(4, hello()).await;
    assert!(response.finalized_features_epoch >= 0);
    let finalized: Vec<_> = response
        .finalized_features
        .iter()
        .map(|feature| (&*feature.name, feature.max_version_level))
        .collect();
    let table: Vec<_> = moldau_core::metadata::FEATURES
        .iter()
        .map(|feature| (feature.name, feature.max_level))
        .collect();
    assert_eq!(finalized, table);
    assert_eq!(response.supported_features.len(), table.len());
}

#[tokio::test]
async fn features_can_only_be_set_to_what_this_version_knows() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    for (feature, level, code) in [
        ("metadata.version", 30, ErrorCode::None),
        ("metadata.version", 99, ErrorCode::InvalidUpdateVersion),
        ("share.version", 1, ErrorCode::InvalidUpdateVersion),
    ] {
        let update = FeatureUpdateKey {
            feature: KString::from(feature),
            max_version_level: level,
            ..Default::default()
        };
        let request = UpdateFeaturesRequest {
            feature_updates: vec![update],
            ..Default::default()
        };
        assert_eq!(wire.call(2, request.clone()).await.error_code, code.code());
        let response = wire.call(1, request).await;
        assert_eq!(response.results[0].error_code, code.code());
    }
}

/// Trap 18: a client pushes telemetry only if it is told of the APIs for it.
#[test]
fn trap_18_telemetry_is_not_advertised() {
    let telemetry = [ApiKey::GetTelemetrySubscriptions, ApiKey::PushTelemetry];
    assert!(
        DISPATCH_TABLE
            .iter()
            .all(|entry| !telemetry.contains(&entry.key))
    );
}
