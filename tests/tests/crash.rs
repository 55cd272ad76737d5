//! `kill -9` under load: nothing acknowledged is lost, nothing comes twice, order is kept.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use moldau_client::admin::{NewTopic, OffsetSpec};
use moldau_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, OffsetReset, ProducerConfig, ProducerRecord,
    SeekTo, TopicPartition,
};
use moldau_tests::{BrokerProcess, Seed};
use rand::RngExt;

const KILLS: usize = 20;
const PARTITIONS: i32 = 3;
const TOPIC: &str = "load";

/// Acknowledged records that each life of the broker must bring before it may be killed.
const MIN_ACKNOWLEDGED: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_keeps_every_acknowledged_record_once_and_in_order() -> anyhow::Result<()> {
    let mut random = Seed::fresh().random();
    let data_dir = tempfile::tempdir()?;
    let program = env!("CARGO_BIN_EXE_broker-process");
    let mut broker = BrokerProcess::start(
        program,
        data_dir.path(),
        SocketAddr::from(([127, 0, 0, 1], 0)),
    )?;
    // Later lives listen where the first did, so that clients find the broker again.
    let address = broker.address();
    let client = Client::connect(ClientConfig::new(&address.to_string())).await?;
    create_topic(&client).await?;

    let load = Load::start(&client);
    for _ in 0..KILLS {
        let target =
            load.acknowledged() + random.random_range(MIN_ACKNOWLEDGED..10 * MIN_ACKNOWLEDGED);
        load.wait_for(target).await?;
        broker.kill()?;
        broker = BrokerProcess::start(program, data_dir.path(), address)?;
    }
    let sent = load.stop().await?;

    let mut found = read_all(&client).await?;
    for (partition, values) in found.iter_mut().enumerate() {
        let wanted: Vec<u64> = (0..sent)
            .filter(|value| value % PARTITIONS as u64 == partition as u64)
            .collect();
        ensure!(
            *values == wanted,
            "partition {partition}: {} records found, {} wanted; first difference at {:?}",
            values.len(),
            wanted.len(),
            values
                .iter()
                .zip(&wanted)
                .position(|(found, wanted)| found != wanted)
        );
    }
    Ok(())
}

async fn create_topic(client: &Client) -> anyhow::Result<()> {
    let topic = NewTopic {
        name: TOPIC.to_owned(),
        partitions: PARTITIONS,
        replication_factor: 1,
        // Small segments, so that kills meet rolls too.
        configs: vec![("segment.bytes".to_owned(), (1 << 20).to_string())],
    };
    Ok(client.admin().ensure_topic(topic).await?)
}

/// One idempotent producer that numbers its records and never gives up.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    failure: Arc<Mutex<Option<String>>>,
    task: tokio::task::JoinHandle<anyhow::Result<u64>>,
}

/// Sent but not yet acknowledged records at most.
const MAX_OUTSTANDING: usize = 2_000;

/// Bytes in each value behind its number, so that batches and segments fill.
const FILLER: usize = 500;

const LIMIT: Duration = Duration::from_secs(120);

impl Load {
    fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let failure = Arc::new(Mutex::new(None));
        let task = tokio::spawn(produce(
            client.clone(),
            stop.clone(),
            acknowledged.clone(),
            failure.clone(),
        ));
        Self {
            stop,
            acknowledged,
            failure,
            task,
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    async fn wait_for(&self, target: usize) -> anyhow::Result<()> {
        let reached = async {
            while self.acknowledged() < target {
                if let Some(failure) = self
                    .failure
                    .lock()
                    .expect("no task panics with it")
                    .as_ref()
                {
                    anyhow::bail!("a record was not acknowledged: {failure}");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        };
        tokio::time::timeout(LIMIT, reached)
            .await
            .with_context(|| format!("{} of {target} records acknowledged", self.acknowledged()))?
    }

    async fn stop(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        tokio::time::timeout(LIMIT, self.task)
            .await
            .context("the producer did not finish")??
    }
}

async fn produce(
    client: Client,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    failure: Arc<Mutex<Option<String>>>,
) -> anyhow::Result<u64> {
    let producer = client.producer(ProducerConfig {
        batch_size: 4096,
        linger_ms: 1,
        ..ProducerConfig::default()
    });
    let outstanding = Arc::new(tokio::sync::Semaphore::new(MAX_OUTSTANDING));
    let mut number: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let permit = outstanding.clone().acquire_owned().await?;
        let mut value = number.to_be_bytes().to_vec();
        value.resize(8 + FILLER, b'.');
        let mut record = ProducerRecord::new(TOPIC, None, Some(Bytes::from(value)));
        record.partition = Some((number % PARTITIONS as u64) as i32);
        let delivery = producer.send(record).await?;
        let (acknowledged, failure) = (acknowledged.clone(), failure.clone());
        tokio::spawn(async move {
            match delivery.await {
                Ok(_) => {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    *failure.lock().expect("no task panics with it") = Some(error.to_string())
                }
            }
            drop(permit);
        });
        number += 1;
    }
    producer.flush().await?;
    producer.close().await;
    Ok(number)
}

/// The numbers in each partition, in the order of their offsets.
async fn read_all(client: &Client) -> anyhow::Result<Vec<Vec<u64>>> {
    let partitions: Vec<TopicPartition> = (0..PARTITIONS)
        .map(|partition| TopicPartition::new(TOPIC, partition))
        .collect();
    let wanted: Vec<_> = partitions
        .iter()
        .map(|partition| (partition.clone(), OffsetSpec::Latest))
        .collect();
    let ends = client.admin().list_offsets(&wanted).await?;
    let mut consumer: Consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    consumer.assign(partitions.clone());
    for partition in &partitions {
        consumer.seek_to(partition, SeekTo::Beginning).await?;
    }
    let mut found = vec![Vec::new(); PARTITIONS as usize];
    let read = async {
        while partitions
            .iter()
            .any(|partition| consumer.position(partition).unwrap_or(0) < ends[partition].offset)
        {
            for batch in consumer.poll(Duration::from_millis(200)).await?.batches {
                for record in batch.records()? {
                    let value = record?.value.context("a record without a value")?;
                    let number = value.first_chunk().context("a short value")?;
                    found[batch.topic_partition.partition as usize]
                        .push(u64::from_be_bytes(*number));
                }
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, read)
        .await
        .context("reading did not reach the end")??;
    consumer.close().await;
    Ok(found)
}
