//! Topics and settings as admin tools see them.

use moldau_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use moldau_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use moldau_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use moldau_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use moldau_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use moldau_protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, RequestCursor, TopicRequest,
};
use moldau_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use moldau_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use moldau_protocol::{ErrorCode, KString};

use crate::fixture::*;

fn create(name: &str, partitions: i32, replicas: i16) -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: KString::copy_from(name),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    };
    CreateTopicsRequest {
        topics: vec![topic],
        ..Default::default()
    }
}

#[tokio::test]
async fn minus_one_takes_the_brokers_defaults() {
    let broker = TestBroker::start_with(|config| config.num_partitions = 4).await;
    let response = broker.connect().await.call(7, create("t", -1, -1)).await;
    let topic = &response.topics[0];
    assert_eq!(
        (
            topic.error_code,
            topic.num_partitions,
            topic.replication_factor
        ),
        (0, 4, 1)
    );
    assert!(!topic.topic_id.is_zero());
}

#[tokio::test]
async fn topics_that_cannot_be_created_say_why() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for (request, code) in [
        (create("t", 1, 1), ErrorCode::TopicAlreadyExists),
        (create("bad name", 1, 1), ErrorCode::InvalidTopicException),
        (create("u", 0, 1), ErrorCode::InvalidPartitions),
        (create("u", 1, 3), ErrorCode::InvalidReplicationFactor),
    ] {
        let response = wire.call(7, request).await;
        assert_eq!(response.topics[0].error_code, code.code());
        assert!(response.topics[0].error_message.is_some());
    }
    let only_checked = CreateTopicsRequest {
        validate_only: true,
        ..create("u", 1, 1)
    };
    assert_eq!(wire.call(7, only_checked).await.topics[0].error_code, 0);
    assert_eq!(wire.call(12, all_topics()).await.topics.len(), 1);
}

#[tokio::test]
async fn partitions_are_added_and_records_stay() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["old"]).await;
    let topic = CreatePartitionsTopic {
        name: KString::from("t"),
        count: 3,
        assignments: None,
        ..Default::default()
    };
    let request = CreatePartitionsRequest {
        topics: vec![topic],
        ..Default::default()
    };
    assert_eq!(wire.call(3, request).await.results[0].error_code, 0);
    wire.produce_values("t", 2, &["new"]).await;
    assert_eq!(wire.values("t", 0, 0).await, ["old"]);
    let broker = broker.restart().await;
    assert_eq!(broker.connect().await.values("t", 2, 0).await, ["new"]);
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("a", 1).await;
    wire.create_topic("b", 1).await;
    let id = wire.call(12, all_topics()).await.topics[0].topic_id;
    let by_id = DeleteTopicState {
        name: None,
        topic_id: id,
        ..Default::default()
    };
    let by_name = DeleteTopicState {
        name: Some(KString::from("b")),
        ..Default::default()
    };
    let missing = DeleteTopicState {
        name: Some(KString::from("c")),
        ..Default::default()
    };
    let request = DeleteTopicsRequest {
        topics: vec![by_id, by_name, missing],
        ..Default::default()
    };
    let codes: Vec<i16> = wire
        .call(6, request)
        .await
        .responses
        .iter()
        .map(|result| result.error_code)
        .collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 2);
    assert!(codes.contains(&ErrorCode::UnknownTopicOrPartition.code()));
    assert_eq!(wire.call(12, all_topics()).await.topics.len(), 0);
}

fn describe(resource_type: i8, name: &str, key: &str) -> DescribeConfigsRequest {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: KString::copy_from(name),
        configuration_keys: Some(vec![KString::copy_from(key)]),
        ..Default::default()
    };
    DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn settings_are_shown_with_where_they_come_from_and_can_be_changed() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("t", 1, &[("retention.ms", "1000")])
        .await;
    let value = |name: &str, value: Option<&str>, operation| AlterableConfig {
        name: KString::copy_from(name),
        config_operation: operation,
        value: value.map(KString::copy_from),
        ..Default::default()
    };
    let shown = wire.call(4, describe(2, "t", "retention.ms")).await;
    let config = &shown.results[0].configs[0];
    assert_eq!(
        (config.value.as_deref(), config.config_source),
        (Some("1000"), 1)
    );
    let resource = AlterConfigsResource {
        resource_type: 2,
        resource_name: KString::from("t"),
        configs: vec![
            value("retention.ms", None, 1),
            value("max.message.bytes", Some("100"), 0),
        ],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    };
    assert_eq!(wire.call(1, request).await.responses[0].error_code, 0);
    let shown = wire.call(4, describe(2, "t", "retention.ms")).await;
    assert_eq!(
        shown.results[0].configs[0].value.as_deref(),
        Some("604800000")
    );
    // A changed setting works at once.
    let response = wire
        .produce("t", 0, batch(&["x".repeat(200).as_str()]))
        .await;
    assert_eq!(response.error_code, ErrorCode::MessageTooLarge.code());
}

#[tokio::test]
async fn brokers_and_missing_topics_in_describe_configs() {
    let broker = TestBroker::start_with(|config| config.num_partitions = 9).await;
    let mut wire = broker.connect().await;
    let shown = wire.call(4, describe(4, "1", "num.partitions")).await;
    assert_eq!(shown.results[0].configs[0].value.as_deref(), Some("9"));
    let shown = wire.call(4, describe(2, "missing", "retention.ms")).await;
    assert_eq!(
        shown.results[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    let shown = wire.call(4, describe(4, "5", "num.partitions")).await;
    assert_eq!(
        shown.results[0].error_code,
        ErrorCode::InvalidRequest.code()
    );
}

#[tokio::test]
async fn partitions_are_described_page_by_page() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("a", 3).await;
    wire.create_topic("b", 2).await;
    let mut request = DescribeTopicPartitionsRequest {
        topics: ["b", "a", "missing"]
            .map(|name| TopicRequest {
                name: KString::from(name),
                ..Default::default()
            })
            .to_vec(),
        response_partition_limit: 2,
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let response = wire.call(0, request.clone()).await;
        for topic in &response.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            seen.extend(
                topic
                    .partitions
                    .iter()
                    .map(|partition| format!("{name}-{}", partition.partition_index)),
            );
            if topic.error_code != 0 {
                seen.push(format!(
                    "{name}: {}",
                    ErrorCode::from_code(topic.error_code).name()
                ));
            }
        }
        let Some(cursor) = response.next_cursor else {
            break;
        };
        request.cursor = Some(RequestCursor {
            topic_name: cursor.topic_name.clone(),
            partition_index: cursor.partition_index,
            ..Default::default()
        });
    }
    assert_eq!(
        seen,
        [
            "a-0",
            "a-1",
            "a-2",
            "b-0",
            "b-1",
            "missing: UNKNOWN_TOPIC_OR_PARTITION"
        ]
    );
}

fn delete_records(offset: i64) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition {
        partition_index: 0,
        offset,
        ..Default::default()
    };
    let topic = DeleteRecordsTopic {
        name: KString::from("t"),
        partitions: vec![partition],
        ..Default::default()
    };
    DeleteRecordsRequest {
        topics: vec![topic],
        ..Default::default()
    }
}

#[tokio::test]
async fn records_below_an_offset_can_be_deleted() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    for value in ["a", "b", "c"] {
        wire.produce_values("t", 0, &[value]).await;
    }
    for (offset, low_watermark) in [(2, 2), (1, 2), (-1, 3)] {
        let response = wire.call(2, delete_records(offset)).await;
        let result = &response.topics[0].partitions[0];
        assert_eq!(
            (result.error_code, result.low_watermark),
            (0, low_watermark)
        );
    }
    let response = wire.call(2, delete_records(9)).await;
    assert_eq!(
        response.topics[0].partitions[0].error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
    assert_eq!(
        wire.fetch("t", 0, 1).await.error_code,
        ErrorCode::OffsetOutOfRange.code()
    );
    assert_eq!(wire.fetch("t", 0, 3).await.log_start_offset, 3);
}

/// Trap 12: consumers find out by the epoch whether their log was truncated.
#[tokio::test]
async fn an_epoch_ends_where_the_log_ends() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.produce_values("t", 0, &["a", "b"]).await;
    let partition = OffsetForLeaderPartition {
        partition: 0,
        leader_epoch: 0,
        ..Default::default()
    };
    let topic = OffsetForLeaderTopic {
        topic: KString::from("t"),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetForLeaderEpochRequest {
        topics: vec![topic],
        ..Default::default()
    };
    let response = wire.call(4, request).await;
    let end = &response.topics[0].partitions[0];
    assert_eq!(
        (end.error_code, end.leader_epoch, end.end_offset),
        (0, 0, 2)
    );
}
