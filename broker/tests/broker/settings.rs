//! Settings that change while the broker runs.

use moldau_protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource as ReplacedResource,
    AlterableConfig as ReplacedConfig,
};
use moldau_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use moldau_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResult,
};
use moldau_protocol::messages::find_coordinator::FindCoordinatorRequest;
use moldau_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest,
};
use moldau_protocol::messages::list_config_resources::ListConfigResourcesRequest;
use moldau_protocol::{ErrorCode, KString};

use crate::fixture::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;

async fn alter(
    wire: &mut Wire,
    resource: (i8, &str),
    operation: i8,
    setting: (&str, &str),
) -> AlterConfigsResourceResponse {
    let config = AlterableConfig {
        name: KString::copy_from(setting.0),
        config_operation: operation,
        value: (operation != DELETE).then(|| KString::copy_from(setting.1)),
        ..Default::default()
    };
    let resource = AlterConfigsResource {
        resource_type: resource.0,
        resource_name: KString::copy_from(resource.1),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource],
        ..Default::default()
    };
    wire.call(1, request).await.responses.remove(0)
}

async fn set(wire: &mut Wire, resource: (i8, &str), setting: (&str, &str)) {
    let response = alter(wire, resource, SET, setting).await;
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
}

async fn described(wire: &mut Wire, resource: (i8, &str), names: &[&str]) -> DescribeConfigsResult {
    let names = names.iter().map(|name| KString::copy_from(name)).collect();
    let resource = DescribeConfigsResource {
        resource_type: resource.0,
        resource_name: KString::copy_from(resource.1),
        configuration_keys: Some(names),
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        ..Default::default()
    };
    wire.call(4, request).await.results.remove(0)
}

/// The value of one setting and where it comes from.
async fn value(wire: &mut Wire, resource: (i8, &str), name: &str) -> (String, i8) {
    let result = described(wire, resource, &[name]).await;
    let config = &result.configs[0];
    (
        config.value.as_deref().unwrap_or("null").to_owned(),
        config.config_source,
    )
}

/// The topic of the groups is there after this.
async fn find_group_coordinator(wire: &mut Wire) {
    let find = FindCoordinatorRequest {
        coordinator_keys: vec![KString::from("g")],
        ..Default::default()
    };
    wire.call(4, find).await;
}

async fn too_large(wire: &mut Wire, topic: &str) -> bool {
    let large = "x".repeat(200);
    let response = wire.produce(topic, 0, batch(&[&large])).await;
    response.error_code == ErrorCode::MessageTooLarge.code()
}

#[tokio::test]
async fn a_changed_default_of_the_broker_works_at_once_in_topics_that_exist() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    wire.create_topic_with("own", 1, &[("max.message.bytes", "1000")])
        .await;
    assert!(!too_large(&mut wire, "t").await);
    set(&mut wire, (BROKER, ""), ("message.max.bytes", "100")).await;
    assert!(too_large(&mut wire, "t").await);
    assert!(
        !too_large(&mut wire, "own").await,
        "its own value is stronger"
    );
    set(&mut wire, (BROKER, "1"), ("message.max.bytes", "5000")).await;
    assert!(
        !too_large(&mut wire, "t").await,
        "the node's value is stronger"
    );
    alter(&mut wire, (BROKER, "1"), DELETE, ("message.max.bytes", "")).await;
    alter(&mut wire, (BROKER, ""), DELETE, ("message.max.bytes", "")).await;
    assert_eq!(
        value(&mut wire, (TOPIC, "t"), "max.message.bytes").await,
        ("1048588".to_owned(), 5)
    );
}

#[tokio::test]
async fn changed_settings_survive_a_restart() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    set(&mut wire, (TOPIC, "t"), ("retention.ms", "5")).await;
    set(&mut wire, (BROKER, ""), ("num.partitions", "4")).await;
    set(&mut wire, (BROKER, ""), ("log.segment.bytes", "2097152")).await;
    set(&mut wire, (BROKER, "1"), ("max.connections", "77")).await;
    set(
        &mut wire,
        (GROUP, "g"),
        ("consumer.session.timeout.ms", "50000"),
    )
    .await;
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    for (resource, name, expected, source) in [
        ((TOPIC, "t"), "retention.ms", "5", 1),
        ((TOPIC, "t"), "segment.bytes", "2097152", 3),
        ((BROKER, "1"), "num.partitions", "4", 3),
        ((BROKER, ""), "num.partitions", "4", 3),
        ((BROKER, "1"), "max.connections", "77", 2),
        ((GROUP, "g"), "consumer.session.timeout.ms", "50000", 8),
    ] {
        let found = value(&mut wire, resource, name).await;
        assert_eq!(found, (expected.to_owned(), source), "{resource:?} {name}");
    }
    let all = wire.call(1, ListConfigResourcesRequest::default()).await;
    let listed: Vec<_> = all
        .config_resources
        .iter()
        .map(|resource| (resource.resource_type, &*resource.resource_name))
        .collect();
    assert_eq!(listed, [(TOPIC, "t"), (BROKER, "1"), (GROUP, "g")]);
}

#[tokio::test]
async fn fewer_connections_are_accepted_as_soon_as_the_limit_is_lowered() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    set(&mut wire, (BROKER, ""), ("max.connections", "1")).await;
    let mut refused = broker.connect().await;
    assert!(refused.receive_frame().await.is_none(), "closed at once");
    set(&mut wire, (BROKER, ""), ("max.connections", "2")).await;
    let mut accepted = broker.connect().await;
    accepted.create_topic("t", 1).await;
}

#[tokio::test]
async fn topics_are_not_created_on_request_once_that_is_switched_off() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    set(
        &mut wire,
        (BROKER, ""),
        ("auto.create.topics.enable", "false"),
    )
    .await;
    let mut request = all_topics();
    request.topics = Some(vec![Default::default()]);
    if let Some(topic) = request.topics.iter_mut().flatten().next() {
        topic.name = Some(KString::from("missing"));
    }
    let response = wire.call(12, request).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
}

#[tokio::test]
async fn the_older_request_replaces_everything_and_can_only_check() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic_with("t", 1, &[("retention.ms", "5")])
        .await;
    let config = ReplacedConfig {
        name: KString::from("segment.ms"),
        value: Some(KString::from("6")),
        ..Default::default()
    };
    let resource = ReplacedResource {
        resource_type: TOPIC,
        resource_name: KString::from("t"),
        configs: vec![config],
        ..Default::default()
    };
    let mut request = AlterConfigsRequest {
        resources: vec![resource],
        validate_only: true,
        ..Default::default()
    };
    for (validate_only, retention, segment) in [(true, "5", "604800000"), (false, "604800000", "6")]
    {
        request.validate_only = validate_only;
        let response = wire.call(2, request.clone()).await;
        assert_eq!(response.responses[0].error_code, 0);
        let topic = (TOPIC, "t");
        assert_eq!(value(&mut wire, topic, "retention.ms").await.0, retention);
        assert_eq!(value(&mut wire, topic, "segment.ms").await.0, segment);
    }
}

/// What the member "m" of a consumer group is told.
async fn heartbeat(wire: &mut Wire, group: &str, epoch: i32) -> ConsumerGroupHeartbeatResponse {
    let joins = epoch == 0;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: KString::copy_from(group),
        member_id: KString::from("m"),
        member_epoch: epoch,
        rebalance_timeout_ms: if joins { 1000 } else { -1 },
        subscribed_topic_names: joins.then(|| vec![KString::from("t")]),
        topic_partitions: joins.then(Vec::new),
        ..Default::default()
    };
    wire.call(1, request).await
}

#[tokio::test]
async fn a_running_coordinator_follows_the_settings_of_consumer_groups() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_group_coordinator(&mut wire).await;
    let before = heartbeat(&mut wire, "g", 0).await;
    assert_eq!(before.heartbeat_interval_ms, 5000);
    let name = "group.consumer.heartbeat.interval.ms";
    set(&mut wire, (BROKER, ""), (name, "6000")).await;
    let after = heartbeat(&mut wire, "g", before.member_epoch).await;
    assert_eq!((after.error_code, after.heartbeat_interval_ms), (0, 6000));
    set(&mut wire, (BROKER, ""), ("group.consumer.max.size", "1")).await;
    let request = ConsumerGroupHeartbeatRequest {
        group_id: KString::from("g"),
        member_id: KString::from("n"),
        rebalance_timeout_ms: 1000,
        subscribed_topic_names: Some(vec![KString::from("t")]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let refused = wire.call(1, request).await;
    assert_eq!(refused.error_code, ErrorCode::GroupMaxSizeReached.code());
    alter(&mut wire, (BROKER, ""), DELETE, (name, "")).await;
    let back = heartbeat(&mut wire, "g", before.member_epoch).await;
    assert_eq!(back.heartbeat_interval_ms, 5000);
}

#[tokio::test]
async fn a_groups_own_setting_is_told_to_its_members() {
    let broker = TestBroker::start_with(|config| {
        config
            .set("group.consumer.heartbeat.interval.ms", "6000")
            .unwrap();
    })
    .await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    find_group_coordinator(&mut wire).await;
    let setting = ("consumer.heartbeat.interval.ms", "7000");
    set(&mut wire, (GROUP, "g"), setting).await;
    for (group, interval) in [("g", 7_000), ("other", 6_000)] {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: KString::from(group),
            member_id: KString::from("m"),
            rebalance_timeout_ms: 1000,
            subscribed_topic_names: Some(vec![KString::from("t")]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        let response = wire.call(1, request).await;
        assert_eq!(
            (response.error_code, response.heartbeat_interval_ms),
            (0, interval),
            "{:?}",
            response.error_message
        );
    }
}

#[tokio::test]
async fn log_levels_and_client_metrics_are_refused_as_not_supported() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    for resource in [(8, "1"), (16, "m")] {
        let result = described(&mut wire, resource, &[]).await;
        assert_eq!(result.error_code, ErrorCode::InvalidRequest.code());
        let response = alter(&mut wire, resource, SET, ("a", "b")).await;
        assert_eq!(response.error_code, ErrorCode::InvalidRequest.code());
        for message in [result.error_message, response.error_message] {
            assert!(message.unwrap_or_default().contains("not supported"));
        }
    }
}
