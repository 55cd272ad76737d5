//! Metadata and the APIs beside it.

use moldau_protocol::messages::describe_cluster::DescribeClusterRequest;
use moldau_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse,
};
use moldau_protocol::{ErrorCode, KString, Uuid};

use crate::fixture::*;

fn by_name(name: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic {
        name: Some(KString::copy_from(name)),
        ..Default::default()
    };
    MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: true,
        ..Default::default()
    }
}

fn names(response: &MetadataResponse) -> Vec<&str> {
    response
        .topics
        .iter()
        .filter_map(|topic| topic.name.as_deref())
        .collect()
}

/// Trap 3: the same bytes mean all topics in version 0, and none later.
#[tokio::test]
async fn no_topics_mean_all_in_v0_and_none_later_and_null_means_all() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let none = MetadataRequest {
        topics: Some(Vec::new()),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    assert_eq!(names(&wire.call(0, none.clone()).await), ["t"]);
    assert_eq!(names(&wire.call(1, none).await), Vec::<&str>::new());
    let all = MetadataRequest {
        topics: None,
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    assert_eq!(names(&wire.call(1, all).await), ["t"]);
}

#[tokio::test]
async fn a_missing_topic_is_created_when_the_client_allows_it() {
    let broker = TestBroker::start_with(|config| config.num_partitions = 3).await;
    let mut wire = broker.connect().await;
    let response = wire.call(12, by_name("wanted")).await;
    assert_eq!(
        (
            response.topics[0].error_code,
            response.topics[0].partitions.len()
        ),
        (0, 3)
    );
    let refusing = MetadataRequest {
        allow_auto_topic_creation: false,
        ..by_name("unwanted")
    };
    let response = wire.call(12, refusing).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
    // Before v4 the client cannot say.
    let response = wire.call(3, by_name("old")).await;
    assert_eq!(response.topics[0].error_code, 0);
}

/// Trap 3: both the client and the broker must allow it.
#[tokio::test]
async fn no_topic_is_created_when_the_broker_does_not_allow_it() {
    let broker = TestBroker::start_with(|config| config.auto_create_topics = false).await;
    let mut wire = broker.connect().await;
    let response = wire.call(12, by_name("wanted")).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::UnknownTopicOrPartition.code()
    );
}

/// Trap 15: names of topics.
#[tokio::test]
async fn names_that_are_not_allowed_are_refused() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let too_long = "x".repeat(250);
    for bad in ["", ".", "..", "with space", "ümlaut", "a/b", &too_long] {
        let response = wire.call(12, by_name(bad)).await;
        assert_eq!(
            response.topics[0].error_code,
            ErrorCode::InvalidTopicException.code(),
            "{bad}"
        );
    }
}

/// Trap 3: an id stands for a name.
#[tokio::test]
async fn topics_are_found_by_id_from_v12_on() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let id = wire.call(12, by_name("t")).await.topics[0].topic_id;
    assert!(!id.is_zero());
    let by_id = |topic_id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id,
            name: None,
            ..Default::default()
        }]),
        ..Default::default()
    };
    let response = wire.call(12, by_id(id)).await;
    assert_eq!(
        (names(&response), response.topics[0].topic_id),
        (vec!["t"], id)
    );
    let response = wire.call(12, by_id(Uuid([1; 16]))).await;
    assert_eq!(
        response.topics[0].error_code,
        ErrorCode::UnknownTopicId.code()
    );
    assert_eq!(
        (response.topics[0].name.clone(), response.topics[0].topic_id),
        (None, Uuid([1; 16]))
    );
}

/// So asks Java's consumer for the topics that the broker found for its pattern (KIP-848).
#[tokio::test]
async fn an_empty_name_beside_an_id_counts_as_none() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let topic_id = wire.call(12, by_name("t")).await.topics[0].topic_id;
    let by_id = MetadataRequestTopic {
        topic_id,
        name: Some("".into()),
        ..Default::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![by_id]),
        ..Default::default()
    };
    let response = wire.call(13, request).await;
    assert_eq!(
        (names(&response), response.topics[0].topic_id),
        (vec!["t"], topic_id)
    );
}

/// Trap 16: what is advertised is what the client can reach.
#[tokio::test]
async fn the_address_is_the_one_that_the_client_connected_to() {
    let broker = TestBroker::start().await;
    let address = broker.handle.kafka_addresses()[0];
    let response = broker.connect().await.call(12, all_topics()).await;
    let told = &response.brokers[0];
    assert_eq!(
        (&*told.host, told.port),
        ("127.0.0.1", i32::from(address.port()))
    );
    assert_eq!(response.controller_id, told.node_id);
}

/// Trap 16: `localhost` is either of them.
#[tokio::test]
async fn one_listener_takes_ipv4_and_ipv6() {
    let broker =
        TestBroker::start_with(|config| config.listeners = vec!["[::]:0".parse().unwrap()]).await;
    let port = broker.handle.kafka_addresses()[0].port();
    for (local, host) in [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")] {
        let Ok(address) = format!("{local}:{port}").parse() else {
            panic!("address")
        };
        if tokio::net::TcpStream::connect(address).await.is_err() {
            // A machine without IPv6.
            continue;
        }
        let response = Wire::to(address).await.call(12, all_topics()).await;
        assert_eq!(
            (&*response.brokers[0].host, response.brokers[0].port),
            (host, i32::from(port))
        );
    }
}

#[tokio::test]
async fn a_configured_address_is_advertised_instead() {
    let broker = TestBroker::start_with(|config| {
        config
            .set("advertised.listeners", "PLAINTEXT://kafka.example:1234")
            .unwrap();
    })
    .await;
    let response = broker.connect().await.call(12, all_topics()).await;
    assert_eq!(
        (&*response.brokers[0].host, response.brokers[0].port),
        ("kafka.example", 1234)
    );
}

/// Trap 14: clients stop when the cluster id changes.
#[tokio::test]
async fn the_cluster_id_is_the_same_everywhere_and_after_a_restart() {
    let broker = TestBroker::start().await;
    let id = broker
        .connect()
        .await
        .call(2, all_topics())
        .await
        .cluster_id
        .unwrap();
    assert_eq!((id.len(), broker.handle.cluster_id()), (22, &*id));
    let described = broker
        .connect()
        .await
        .call(0, DescribeClusterRequest::default())
        .await;
    assert_eq!(described.cluster_id, id);
    let broker = broker.restart().await;
    assert_eq!(broker.handle.cluster_id(), &*id);
}

/// Trap 3: operations on the cluster.
#[tokio::test]
async fn allowed_operations_are_told_only_when_asked_for() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 1).await;
    let asking = MetadataRequest {
        topics: None,
        include_cluster_authorized_operations: true,
        include_topic_authorized_operations: true,
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    for version in 8..=10 {
        let response = wire.call(version, asking.clone()).await;
        assert!(response.cluster_authorized_operations > 0);
        assert!(response.topics[0].topic_authorized_operations > 0);
    }
    let silent = wire.call(8, all_topics()).await;
    assert_eq!(silent.cluster_authorized_operations, i32::MIN);
    assert_eq!(silent.topics[0].topic_authorized_operations, i32::MIN);
}

#[tokio::test]
async fn controllers_cannot_be_described_here() {
    let broker = TestBroker::start().await;
    let mut wire = broker.connect().await;
    let request = DescribeClusterRequest {
        endpoint_type: 2,
        ..Default::default()
    };
    let response = wire.call(1, request).await;
    assert_eq!(
        response.error_code,
        ErrorCode::MismatchedEndpointType.code()
    );
}
