//! The `rdkafka` crate against the endpoint in `BOOTSTRAP`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Message};

const RECORDS: usize = 2_000;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let bootstrap = std::env::var("BOOTSTRAP").context("set BOOTSTRAP to host:port")?;
    let topic = format!("rdkafka-{}", std::process::id());
    create(&bootstrap, &topic).await?;
    for codec in ["none", "gzip", "snappy", "lz4"] {
        produce(&bootstrap, &topic, codec).await.with_context(|| format!("produce with codec {codec}"))?;
    }
    consume(&bootstrap, &topic, 4 * RECORDS).await?;
    println!("rdkafka: ok");
    Ok(())
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

async fn create(bootstrap: &str, topic: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create()?;
    let results = admin
        .create_topics(&[NewTopic::new(topic, 3, TopicReplication::Fixed(1))], &AdminOptions::new())
        .await?;
    for result in results {
        result.map_err(|(name, code)| anyhow::anyhow!("create {name}: {code}"))?;
    }
    Ok(())
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
