//! The `rdkafka` crate against the endpoint in `BOOTSTRAP`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

const RECORDS: usize = 2_000;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let bootstrap = std::env::var("BOOTSTRAP").context("set BOOTSTRAP to host:port")?;
    let topic = create(&bootstrap, "records", 3).await?;
    for codec in ["none", "gzip", "snappy", "lz4"] {
        produce(&bootstrap, &topic, codec).await.with_context(|| format!("produce with codec {codec}"))?;
    }
    consume(&bootstrap, &topic, 4 * RECORDS).await?;
    for protocol in ["classic", "consumer"] {
        two_members_share(&bootstrap, &topic, protocol).with_context(|| format!("protocol {protocol}"))?;
    }
    transactions(&bootstrap).await.context("transactions")?;
    admin_round_trip(&bootstrap).await.context("admin")?;
    println!("rdkafka: ok");
    Ok(())
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    Ok(config(bootstrap).create()?)
}

/// Creates a topic of its own for this run, and gives its name.
async fn create(bootstrap: &str, name: &str, partitions: i32) -> Result<String> {
    let topic = format!("rdkafka-{name}-{}", std::process::id());
    let new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(1));
    for result in admin(bootstrap)?.create_topics(&[new], &AdminOptions::new()).await? {
        result.map_err(|(name, code)| anyhow::anyhow!("create {name}: {code}"))?;
    }
    Ok(topic)
}

async fn produce(bootstrap: &str, topic: &str, codec: &str) -> Result<()> {
    let producer: FutureProducer =
        config(bootstrap).set("enable.idempotence", "true").set("compression.type", codec).create()?;
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        let (key, value) = (format!("{codec}-{number}"), format!("value {number}"));
        let delivery = producer
            .send_result(FutureRecord::to(topic).key(&key).payload(&value))
            .map_err(|(error, _)| error)?;
        deliveries.push(delivery);
    }
    for delivery in deliveries {
        tokio::time::timeout(LIMIT, delivery).await??.map_err(|(error, _)| error)?;
    }
    Ok(())
}

async fn consume(bootstrap: &str, topic: &str, count: usize) -> Result<()> {
    let consumer: StreamConsumer = config(bootstrap)
        .set("group.id", format!("{topic}-group"))
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .create()?;
    consumer.subscribe(&[topic])?;
    let mut keys = BTreeSet::new();
    while keys.len() < count {
        let message = tokio::time::timeout(LIMIT, consumer.recv())
            .await
            .with_context(|| format!("received {} of {count} records", keys.len()))??;
        let key = String::from_utf8(message.key().context("a record without a key")?.to_vec())?;
        ensure!(keys.insert(key.clone()), "record {key} came twice");
    }
    consumer.commit_consumer_state(CommitMode::Sync)?;
    let committed = consumer.committed(LIMIT)?;
    let total: i64 = committed.elements().iter().filter_map(|element| element.offset().to_raw()).sum();
    ensure!(total == count as i64, "{total} of {count} records are committed");
    Ok(())
}

fn member(bootstrap: &str, topic: &str, protocol: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", format!("{topic}-{protocol}"))
        .set("group.protocol", protocol)
        .set("auto.offset.reset", "earliest")
        .create()?;
    consumer.subscribe(&[topic])?;
    Ok(consumer)
}

/// Polls each of `members` until their numbers of partitions are `want`.
fn poll_until_owned(members: &[BaseConsumer], want: &[usize]) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        for member in members {
            if let Some(message) = member.poll(Duration::from_millis(50)) {
                message?;
            }
        }
        let mut owned = Vec::new();
        for member in members {
            owned.push(member.assignment()?.count());
        }
        owned.sort_unstable();
        if owned == want {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "members own {owned:?} partitions, not {want:?}");
    }
}

fn two_members_share(bootstrap: &str, topic: &str, protocol: &str) -> Result<()> {
    let mut members = vec![member(bootstrap, topic, protocol)?];
    poll_until_owned(&members, &[3])?;
    members.push(member(bootstrap, topic, protocol)?);
    poll_until_owned(&members, &[1, 2])?;
    members.pop();
    poll_until_owned(&members, &[3])
}

/// Commits, aborts and commits; reads with both isolation levels.
async fn transactions(bootstrap: &str) -> Result<()> {
    let topic = create(bootstrap, "transactions", 1).await?;
    let group = member(bootstrap, &topic, "classic")?;
    poll_until_owned(std::slice::from_ref(&group), &[1])?;
    let metadata = group.group_metadata().context("a member without group metadata")?;
    let producer: FutureProducer =
        config(bootstrap).set("transactional.id", format!("{topic}-id")).create()?;
    producer.init_transactions(LIMIT)?;
    for (outcome, offset, committed) in [("commit", 11, 11), ("abort", 22, 11), ("commit", 33, 33)] {
        producer.begin_transaction()?;
        for _ in 0..10 {
            let record = FutureRecord::to(&topic).key("key").payload(outcome);
            producer.send(record, LIMIT).await.map_err(|(error, _)| error)?;
        }
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&topic, 0, Offset::Offset(offset))?;
        producer.send_offsets_to_transaction(&offsets, &metadata, LIMIT)?;
        match outcome {
            "commit" => producer.commit_transaction(LIMIT)?,
            _ => producer.abort_transaction(LIMIT)?,
        }
        let mut partition = TopicPartitionList::new();
        partition.add_partition(&topic, 0);
        let found = group.committed_offsets(partition, LIMIT)?.elements()[0].offset();
        ensure!(found == Offset::Offset(committed), "offset {found:?} is committed, not {committed}");
    }
    let committed = read_all(bootstrap, &topic, "read_committed")?;
    ensure!(committed == ["commit"; 20], "read_committed shows {committed:?}");
    let all = read_all(bootstrap, &topic, "read_uncommitted")?;
    ensure!(all.len() == 30, "read_uncommitted shows {} records of 30", all.len());
    Ok(())
}

fn read_all(bootstrap: &str, topic: &str, isolation: &str) -> Result<Vec<String>> {
    let consumer: BaseConsumer = config(bootstrap)
        .set("group.id", format!("{topic}-reader"))
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        .create()?;
    let mut partition = TopicPartitionList::new();
    partition.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partition)?;
    let mut values = Vec::new();
    loop {
        match consumer.poll(LIMIT).context("the end was not reached")? {
            Ok(message) => values.push(String::from_utf8(message.payload().context("no value")?.to_vec())?),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => return Ok(values),
            Err(error) => return Err(error.into()),
        }
    }
}

async fn admin_round_trip(bootstrap: &str) -> Result<()> {
    let (admin, options) = (admin(bootstrap)?, AdminOptions::new());
    let topic = create(bootstrap, "admin", 2).await?;
    for result in admin.create_partitions(&[NewPartitions::new(&topic, 3)], &options).await? {
        result.map_err(|(name, code)| anyhow::anyhow!("grow {name}: {code}"))?;
    }
    let described = admin.describe_configs(&[ResourceSpecifier::Topic(&topic)], &options).await?;
    for resource in described {
        let retention = resource?.get("retention.ms").and_then(|entry| entry.value.clone());
        ensure!(retention.as_deref() == Some("604800000"), "retention.ms is {retention:?}");
    }
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 0, Offset::End)?;
    admin.delete_records(&before, &options).await?;
    for result in admin.delete_topics(&[&topic], &options).await? {
        result.map_err(|(name, code)| anyhow::anyhow!("delete {name}: {code}"))?;
    }
    Ok(())
}
