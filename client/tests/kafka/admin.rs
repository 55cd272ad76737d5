//! Administration.

use std::time::Duration;

use moldau_client::admin::{
    ConfigChange, ConfigOperation, ConfigResource, ElectionType, HangingTransaction, NewTopic,
    OffsetSpec, TransactionFilter,
};
use moldau_client::consumer::GroupProtocol;
use moldau_client::{
    Admin, ClientError, ConsumerConfig, ErrorCode, OffsetAndMetadata, ProducerConfig,
    TopicPartition,
};

use crate::cluster::{client, produce, record, topic, unique};

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_listed_and_deleted() {
    let Some(client) = client().await else { return };
    let admin = client.admin();
    let name = unique("client-test");
    let new = NewTopic::new(&name, 3).config("cleanup.policy", "compact");
    let results = admin
        .create_topics(vec![new.clone(), NewTopic::new("not/valid", 1)])
        .await
        .unwrap();
    assert_eq!(results[0], (name.clone(), Ok(())));
    let refused = results[1].1.as_ref().unwrap_err();
    assert_eq!(
        refused.code(),
        Some(ErrorCode::InvalidTopicException),
        "{refused}"
    );

    let again = admin.create_topics(vec![new.clone()]).await.unwrap();
    let exists = again[0].1.as_ref().unwrap_err();
    assert_eq!(exists.code(), Some(ErrorCode::TopicAlreadyExists));
    admin.ensure_topic(new).await.unwrap();

    let listed = admin.list_topics().await.unwrap();
    let topic = listed.iter().find(|topic| topic.name == name).unwrap();
    assert_eq!(topic.partitions.len(), 3);
    assert!(!topic.topic_id.is_zero() && !topic.is_internal);
    assert!(
        topic
            .partitions
            .iter()
            .all(|partition| partition.leader.is_some())
    );
    assert_eq!(admin.describe_topics(&[&name]).await.unwrap()[0], *topic);
    assert_eq!(client.partition_count(&name).await.unwrap(), Some(3));

    admin.create_partitions(&name, 5).await.unwrap();
    let fewer = admin.create_partitions(&name, 2).await.unwrap_err();
    assert_eq!(fewer.code(), Some(ErrorCode::InvalidPartitions), "{fewer}");

    let results = admin
        .delete_topics(&[name.as_str(), "never-was"])
        .await
        .unwrap();
    assert_eq!(results[0], (name.clone(), Ok(())));
    assert!(matches!(
        results[1].1,
        Err(ClientError::UnknownTopic { .. })
    ));
    assert_eq!(client.partition_count("never-was").await.unwrap(), None);
    let missing = admin.describe_topics(&["never-was"]).await.unwrap_err();
    assert!(matches!(missing, ClientError::UnknownTopic { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_and_changed() {
    let Some(client) = client().await else { return };
    let admin = client.admin();
    let resource = ConfigResource::Topic(topic(&client, 1).await);
    let set = ConfigChange {
        name: "retention.ms".to_owned(),
        operation: ConfigOperation::Set("12345".to_owned()),
    };
    admin
        .incremental_alter_configs(&resource, &[set])
        .await
        .unwrap();
    shows(&admin, &resource, ("12345", false)).await;
    let delete = ConfigChange {
        name: "retention.ms".to_owned(),
        operation: ConfigOperation::Delete,
    };
    admin
        .incremental_alter_configs(&resource, &[delete])
        .await
        .unwrap();
    shows(&admin, &resource, ("604800000", true)).await;
    let nonsense = ConfigChange {
        name: "retention.ms".to_owned(),
        operation: ConfigOperation::Set("soon".to_owned()),
    };
    let refused = admin
        .incremental_alter_configs(&resource, &[nonsense])
        .await;
    assert_eq!(refused.unwrap_err().code(), Some(ErrorCode::InvalidConfig));
    let missing = admin.describe_topic_configs("never-was").await.unwrap_err();
    assert!(
        matches!(missing, ClientError::UnknownTopic { .. }),
        "{missing}"
    );
}

/// Brokers learn of a change a moment after it is answered.
async fn shows(admin: &Admin, resource: &ConfigResource, (value, is_default): (&str, bool)) {
    let shown = async {
        loop {
            let entries = admin.describe_configs(resource).await.unwrap();
            let entry = entries.iter().find(|entry| entry.name == "retention.ms");
            let entry = entry.unwrap();
            if (entry.value.as_deref(), entry.is_default) == (Some(value), is_default) {
                return;
            }
        }
    };
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, shown).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_are_looked_up_and_records_deleted() {
    let Some(client) = client().await else { return };
    let admin = client.admin();
    let topic = topic(&client, 2).await;
    produce(&client, &topic, 0, 10).await;
    let (filled, empty) = (
        TopicPartition::new(&topic, 0),
        TopicPartition::new(&topic, 1),
    );
    let both = |spec| [(filled.clone(), spec), (empty.clone(), spec)];
    let latest = admin.list_offsets(&both(OffsetSpec::Latest)).await.unwrap();
    assert_eq!((latest[&filled].offset, latest[&empty].offset), (10, 0));
    let past = admin
        .list_offsets(&both(OffsetSpec::Timestamp(0)))
        .await
        .unwrap();
    assert_eq!((past[&filled].offset, past[&empty].offset), (0, -1));
    let newest = admin
        .list_offsets(&[(filled.clone(), OffsetSpec::MaxTimestamp)])
        .await
        .unwrap();
    assert!((0..10).contains(&newest[&filled].offset));

    let left = admin.delete_records(&[(filled.clone(), 4)]).await.unwrap();
    assert_eq!(left[&filled], 4);
    let earliest = admin
        .list_offsets(&[(filled.clone(), OffsetSpec::Earliest)])
        .await
        .unwrap();
    assert_eq!(earliest[&filled].offset, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_an_empty_group_are_set_and_the_group_deleted() {
    let Some(client) = client().await else { return };
    let admin = client.admin();
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    let offset = (TopicPartition::new(&topic, 0), OffsetAndMetadata::new(42));
    admin
        .alter_group_offsets(&group, vec![offset.clone()])
        .await
        .unwrap();
    let offsets = admin.group_offsets(&group).await.unwrap();
    assert_eq!(offsets.into_iter().collect::<Vec<_>>(), [offset]);

    let listed = admin.list_groups().await.unwrap();
    let listing = listed.iter().find(|listing| listing.group_id == group);
    assert_eq!(listing.unwrap().state, "Empty");
    let described = admin.describe_groups(&[&group]).await.unwrap();
    assert_eq!(described[0].state, "Empty");

    let deleted = admin.delete_groups(&[&group]).await.unwrap();
    assert_eq!(deleted, [(group.clone(), Ok(()))]);
    let described = admin.describe_groups(&[&group]).await.unwrap();
    assert_eq!(described[0].state, "Dead");
    assert!(admin.group_offsets(&group).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_described() {
    let Some(client) = client().await else { return };
    let cluster = client.admin().describe_cluster().await.unwrap();
    assert_eq!(cluster.cluster_id.len(), 22);
    assert!(!cluster.brokers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn features_and_leaders_are_shown() {
    let Some(client) = client().await else { return };
    let admin = client.admin();
    let features = admin.describe_features().await.unwrap();
    assert!(features.supported.contains_key("group.version"));
    for (name, level) in &features.finalized {
        let (min, max) = features.supported[name];
        assert!((min..=max).contains(level), "{name} {level}");
    }
    let partition = TopicPartition::new(&topic(&client, 1).await, 0);
    let results = admin
        .elect_leaders(
            ElectionType::Preferred,
            Some(std::slice::from_ref(&partition)),
        )
        .await
        .unwrap();
    let refused = results[&partition].as_ref().unwrap_err();
    assert_eq!(
        refused.code(),
        Some(ErrorCode::ElectionNotNeeded),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_of_a_group_are_looked_up_by_time_and_deleted() {
    let Some(client) = client().await else { return };
    let admin = client.admin();
    let (topic, group) = (topic(&client, 1).await, unique("group"));
    let partition = TopicPartition::new(&topic, 0);
    produce(&client, &topic, 0, 10).await;
    for (spec, expected) in [
        (OffsetSpec::Earliest, 0),
        (OffsetSpec::Latest, 10),
        (OffsetSpec::Timestamp(0), 0),
        (OffsetSpec::Timestamp(i64::MAX), 10),
    ] {
        let wanted = [(partition.clone(), spec)];
        let reset = admin.reset_group_offsets(&group, &wanted).await.unwrap();
        assert_eq!(reset[&partition].offset, expected, "{spec:?}");
        assert_eq!(admin.group_offsets(&group).await.unwrap(), reset);
    }
    let partitions = [partition.clone()];
    let deleted = admin.delete_group_offsets(&group, &partitions).await;
    assert_eq!(deleted.unwrap()[&partition], Ok(()));
    assert!(admin.group_offsets(&group).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_the_new_protocol_is_described_with_its_members() {
    let Some(client) = client().await else { return };
    let admin = client.admin();
    let (topic, group) = (topic(&client, 2).await, unique("group"));
    let mut consumer = client.consumer(ConsumerConfig {
        group_protocol: GroupProtocol::Consumer,
        ..ConsumerConfig::group(&group)
    });
    consumer.subscribe(&[&topic]).unwrap();
    let described = async {
        loop {
            consumer.poll(Duration::from_millis(50)).await.unwrap();
            let described = admin.describe_groups(&[&group]).await.unwrap().remove(0);
            if described.state == "Stable" && consumer.assignment().len() == 2 {
                return described;
            }
        }
    };
    let limit = Duration::from_secs(60);
    let described = tokio::time::timeout(limit, described).await.unwrap();
    assert_eq!(described.members[0].assignment, consumer.assignment());
    let listed = admin.list_groups().await.unwrap();
    let listing = listed.iter().find(|listing| listing.group_id == group);
    assert_eq!(listing.unwrap().group_type.to_lowercase(), "consumer");
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_listed_described_aborted_and_fenced() {
    let Some(client) = client().await else { return };
    let admin = client.admin();
    let (topic, id) = (topic(&client, 1).await, unique("tx"));
    let partition = TopicPartition::new(&topic, 0);
    let mut producer = client
        .transactional_producer(&id, ProducerConfig::default())
        .await
        .unwrap();
    producer.begin().unwrap();
    producer.send(record(&topic, 0, "open")).await.unwrap();
    producer.flush().await.unwrap();

    let ongoing = TransactionFilter {
        states: vec!["Ongoing".to_owned()],
        ..TransactionFilter::default()
    };
    let listed = admin.list_transactions(&ongoing).await.unwrap();
    let listing = listed.iter().find(|listing| listing.transactional_id == id);
    let described = admin.describe_transaction(&id).await.unwrap();
    assert_eq!(described.state, "Ongoing");
    assert_eq!(described.producer_id, listing.unwrap().producer_id);
    assert_eq!(described.partitions, std::slice::from_ref(&partition));
    assert_eq!(described.timeout_ms, 60_000);
    let unknown = admin.describe_transaction("never-was").await.unwrap_err();
    assert_eq!(unknown.code(), Some(ErrorCode::TransactionalIdNotFound));

    let producers = admin
        .describe_producers(std::slice::from_ref(&partition))
        .await;
    let producers = producers.unwrap().remove(&partition).unwrap();
    assert_eq!(producers.len(), 1);
    assert_eq!(producers[0].transaction_start_offset, Some(0));
    let hanging = HangingTransaction {
        partition: partition.clone(),
        producer_id: producers[0].producer_id,
        producer_epoch: i16::try_from(producers[0].producer_epoch).unwrap(),
        coordinator_epoch: producers[0].coordinator_epoch.unwrap_or(-1),
    };
    admin.abort_transaction(&hanging).await.unwrap();
    let producers = admin
        .describe_producers(std::slice::from_ref(&partition))
        .await;
    let producers = producers.unwrap().remove(&partition).unwrap();
    assert_eq!(producers[0].transaction_start_offset, None);

    admin.fence_producer(&id).await.unwrap();
    let mut error = producer.commit().await.unwrap_err();
    if matches!(error, ClientError::MustAbort { .. }) {
        error = producer.abort().await.unwrap_err();
    }
    assert!(
        matches!(error, ClientError::ProducerFenced { .. }),
        "{error}"
    );
}
