//! Groups of the new protocol over the wire (KIP-848).

use moldau_protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, DescribedGroup,
};
use moldau_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestTopicPartitions,
};
use moldau_protocol::{ErrorCode, KString};

use crate::fixture::*;
use crate::groups::find_coordinator;

fn join(member_id: &'static str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member_id.into(),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_regex: Some("t.*".into()),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    }
}

/// What a member says that does what it is told.
fn alive(
    member_id: &'static str,
    told: &ConsumerGroupHeartbeatResponse,
) -> ConsumerGroupHeartbeatRequest {
    let assigned = told
        .assignment
        .iter()
        .flat_map(|told| &told.topic_partitions);
    let owned = assigned.map(|topic| RequestTopicPartitions {
        topic_id: topic.topic_id,
        partitions: topic.partitions.clone(),
        ..Default::default()
    });
    ConsumerGroupHeartbeatRequest {
        member_epoch: told.member_epoch,
        topic_partitions: Some(owned.collect()),
        ..join(member_id)
    }
}

fn partitions(told: &ConsumerGroupHeartbeatResponse) -> usize {
    let assigned = told
        .assignment
        .iter()
        .flat_map(|told| &told.topic_partitions);
    assigned.map(|topic| topic.partitions.len()).sum()
}

async fn describe(wire: &mut Wire) -> DescribedGroup {
    let request = ConsumerGroupDescribeRequest {
        group_ids: vec![KString::from("g")],
        ..Default::default()
    };
    wire.call(1, request).await.groups.remove(0)
}

#[tokio::test]
async fn two_consumers_share_a_topic_and_a_restart_changes_nothing() {
    let no_interval = |config: &mut moldau_broker::BrokerConfig| {
        config
            .set("group.consumer.assignment.interval.ms", "0")
            .unwrap();
    };
    let broker = TestBroker::start_with(no_interval).await;
    let mut wire = broker.connect().await;
    wire.create_topic("t", 4).await;
    find_coordinator(&mut wire).await;
    let first = wire.call(1, join("a")).await;
    assert_eq!((first.member_epoch, partitions(&first)), (1, 4));
    let second = wire.call(1, join("b")).await;
    assert_eq!((second.member_epoch, partitions(&second)), (2, 0));
    let first = wire.call(1, alive("a", &first)).await;
    assert_eq!(partitions(&first), 2, "the others are to be given up");
    let first = wire.call(1, alive("a", &first)).await;
    let second = wire.call(1, alive("b", &second)).await;
    assert_eq!((partitions(&first), partitions(&second)), (2, 2));
    let before = describe(&mut wire).await;
    assert_eq!(
        (&*before.group_state, &*before.assignor_name),
        ("Stable", "uniform")
    );
    let broker = broker.restart().await;
    let mut wire = broker.connect().await;
    assert_eq!(describe(&mut wire).await, before);
    let still = wire.call(1, alive("a", &first)).await;
    assert_eq!(
        (still.error_code, still.member_epoch),
        (0, first.member_epoch)
    );
    assert_eq!(describe(&mut wire).await, before);
    wire.create_topic("t2", 2).await;
    wire.call(1, alive("a", &still)).await;
    let after = describe(&mut wire).await;
    assert_eq!(
        after.group_epoch,
        before.group_epoch + 1,
        "the expression means one more topic"
    );
}

#[tokio::test]
async fn a_broker_that_does_not_offer_an_assignor_refuses_it() {
    let only_range = |config: &mut moldau_broker::BrokerConfig| {
        config.set("group.consumer.assignors", "range").unwrap();
    };
    let broker = TestBroker::start_with(only_range).await;
    let mut wire = broker.connect().await;
    find_coordinator(&mut wire).await;
    let request = ConsumerGroupHeartbeatRequest {
        server_assignor: Some("uniform".into()),
        ..join("a")
    };
    let refused = wire.call(1, request).await;
    assert_eq!(refused.error_code, ErrorCode::UnsupportedAssignor.code());
    assert_eq!(wire.call(1, join("a")).await.error_code, 0);
    assert_eq!(describe(&mut wire).await.assignor_name, "range");
}
