//! The cluster under test, and what tests do with it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use moldau_broker::{Broker, BrokerConfig, BrokerHandle};
use moldau_client::admin::{NewTopic, OffsetSpec};
use moldau_client::consumer::OffsetReset;
use moldau_client::{
    Client, ClientConfig, ConsumerConfig, Isolation, ProducerConfig, ProducerRecord, TopicPartition,
};
use moldau_streams::{KString, Raw, StreamsConfig, StreamsHandle, Topology};
use tempfile::TempDir;

/// A cluster, and a name that no other test uses on it.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    name: String,
    broker: Option<(BrokerHandle, TempDir)>,
}

/// A record as it lies in a topic.
pub(crate) type Entry = (Option<Raw>, Option<Raw>);

impl Cluster {
    pub(crate) async fn start(test: &str) -> Self {
        Self::start_with(test, |_| {}).await
    }

    /// With other settings, if the broker is ours.
    pub(crate) async fn start_with(test: &str, change: impl FnOnce(&mut BrokerConfig)) -> Self {
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock")
            .as_millis();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{test}-{started}-{}-{count}", std::process::id());
        if let Ok(address) = std::env::var("MOLDAU_TEST_KAFKA") {
            let client = Client::connect(ClientConfig::new(&address))
                .await
                .expect("a cluster");
            return Self {
                client,
                name,
                broker: None,
            };
        }
        let directory = tempfile::tempdir().expect("a directory");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let broker = start_broker(&directory, address, change).await;
        let client = Client::in_process(broker.dispatcher(), ClientConfig::new(""));
        Self {
            client,
            name,
            broker: Some((broker, directory)),
        }
    }

    pub(crate) async fn stop(self) {
        if let Some((broker, _directory)) = self.broker {
            broker.shutdown().await.expect("a clean end");
        }
    }

    /// Ends the broker, if it is ours, and starts it again on the same address and data. What was
    /// connected in this process, and not over the network, is cut off.
    pub(crate) async fn restart(&mut self) {
        let Some((broker, directory)) = self.broker.take() else {
            return;
        };
        let address = broker.kafka_addresses()[0];
        broker.shutdown().await.expect("a clean end");
        let broker = start_broker(&directory, address, |_| {}).await;
        self.broker = Some((broker, directory));
    }

    /// From now on reaches the broker over the network.
    pub(crate) async fn connect(&mut self) {
        let client = Client::connect(ClientConfig::new(&self.bootstrap())).await;
        self.client = client.expect("a cluster");
    }

    /// Whether the broker is ours.
    pub(crate) const fn is_ours(&self) -> bool {
        self.broker.is_some()
    }

    /// Where other processes reach the cluster.
    pub(crate) fn bootstrap(&self) -> String {
        match &self.broker {
            Some((broker, _)) => broker.kafka_addresses()[0].to_string(),
            None => std::env::var("MOLDAU_TEST_KAFKA").expect("it was there at the start"),
        }
    }

    /// What all names of this test begin with.
    pub(crate) fn prefix(&self) -> String {
        self.name.clone()
    }

    /// A topic or application name of this test.
    pub(crate) fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.name)
    }

    /// A topic that keeps its records whatever their timestamps, which in most tests are of 1970.
    pub(crate) async fn create(&self, topic: &str, partitions: i32) {
        let topic = NewTopic::new(topic, partitions).config("retention.ms", "-1");
        self.client
            .admin()
            .ensure_topic(topic)
            .await
            .expect("a topic");
    }

    /// Writes records with these keys, values and timestamps.
    pub(crate) async fn write(&self, topic: &str, records: &[(Option<&str>, &str, i64)]) {
        let producer = self.client.producer(ProducerConfig::default());
        for (key, value, timestamp) in records {
            let bytes = |text: &str| Raw::copy_from_slice(text.as_bytes());
            let record = ProducerRecord {
                timestamp: Some(*timestamp),
                ..ProducerRecord::new(
                    KString::copy_from(topic),
                    key.map(bytes),
                    Some(bytes(value)),
                )
            };
            producer.send(record).await.expect("sent");
        }
        producer.flush().await.expect("stored");
        producer.close().await;
    }

    pub(crate) async fn run(&self, topology: &Topology, config: StreamsConfig) -> StreamsHandle {
        let handle = topology
            .start(self.client.clone(), config)
            .await
            .expect("started");
        assert!(
            handle.wait_until_running(LIMIT).await,
            "not running: {:?} {:?}",
            handle.state(),
            handle.error()
        );
        handle
    }

    /// Reads a topic until the last value of each key is as expected; tells what was read if that
    /// takes too long.
    pub(crate) async fn wait_for_table(
        &self,
        topic: &str,
        expected: &BTreeMap<Raw, Option<Raw>>,
    ) -> Vec<Entry> {
        let count = self.client.partition_count(topic).await.expect("a cluster");
        let partitions = 0..count.expect("a topic");
        let mut consumer = self.client.consumer(ConsumerConfig {
            auto_offset_reset: OffsetReset::Earliest,
            isolation: Isolation::ReadCommitted,
            ..ConsumerConfig::default()
        });
        consumer.assign(
            partitions
                .map(|number| TopicPartition::new(topic, number))
                .collect(),
        );
        let deadline = Instant::now() + LIMIT;
        let (mut table, mut entries) = (BTreeMap::new(), Vec::new());
        while table != *expected {
            if Instant::now() >= deadline {
                let positions = self.positions().await;
                panic!("{topic}: {table:?} instead of {expected:?}; {positions}");
            }
            let poll = consumer
                .poll(Duration::from_millis(200))
                .await
                .expect("a poll");
            for record in poll
                .batches
                .iter()
                .flat_map(|batch| batch.records().expect("records"))
            {
                let record = record.expect("a record");
                table.insert(record.key.clone().unwrap_or_default(), record.value.clone());
                entries.push((record.key, record.value));
            }
        }
        consumer.close().await;
        entries
    }

    /// How many records each of the test's partitions has got, and how far its application has read: says where a
    /// record is that does not come.
    async fn positions(&self) -> String {
        let admin = self.client.admin();
        let topics = admin.list_topics().await.expect("a cluster");
        let ours = topics
            .iter()
            .filter(|topic| topic.name.starts_with(&self.name));
        let partitions: Vec<_> = ours
            .flat_map(|topic| {
                let count = i32::try_from(topic.partitions.len()).expect("a number");
                (0..count).map(|number| TopicPartition::new(topic.name.as_str(), number))
            })
            .map(|partition| (partition, OffsetSpec::Latest))
            .collect();
        let ends = admin.list_offsets(&partitions).await.expect("ends");
        let committed = admin
            .group_offsets(&self.name("app"))
            .await
            .expect("positions");
        let texts = ends.iter().map(|(partition, end)| {
            let committed = committed.get(partition).map(|position| position.offset);
            format!("{partition}: end {}, committed {committed:?}", end.offset)
        });
        texts.collect::<Vec<_>>().join("; ")
    }
}

async fn start_broker(
    directory: &TempDir,
    address: SocketAddr,
    change: impl FnOnce(&mut BrokerConfig),
) -> BrokerHandle {
    let mut config = BrokerConfig::new(directory.path());
    config.listeners = vec![address];
    config.group_initial_rebalance_delay_ms = 0;
    change(&mut config);
    Broker::start(config).await.expect("a broker")
}

/// Commits often, so that tests see results soon.
pub(crate) fn often() -> StreamsConfig {
    StreamsConfig {
        commit_interval_ms: Some(50),
        missing_topic_timeout_ms: 0,
        ..StreamsConfig::default()
    }
}

/// Counts by word, as the output topic has them.
pub(crate) fn counts(counts: &[(&str, i64)]) -> BTreeMap<Raw, Option<Raw>> {
    let entry = |(word, count): &(&str, i64)| {
        let value = Raw::copy_from_slice(&count.to_be_bytes());
        (Raw::copy_from_slice(word.as_bytes()), Some(value))
    };
    counts.iter().map(entry).collect()
}

/// Longest wait for anything. Long enough for a machine that is busy with other tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

static COUNT: AtomicU32 = AtomicU32::new(0);
