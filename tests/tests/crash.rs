//! `kill -9` under load: nothing acknowledged is lost; with idempotence nothing comes twice and order
//! is kept; with transactions a reader of committed data sees each committed transaction whole, and
//! nothing of the others.
//!
//! `MOLDAU_CRASH_ROUNDS=100 cargo test -p moldau-tests --test crash` kills 100 times in each test.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use moldau_client::admin::{NewTopic, OffsetSpec};
use moldau_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Isolation, OffsetReset, ProducerConfig,
    ProducerRecord, SeekTo, TopicPartition, TransactionalProducer,
};
use moldau_tests::{BrokerProcess, Seed};
use rand::RngExt;
use rand::rngs::SmallRng;

/// Kills in each test, unless `MOLDAU_CRASH_ROUNDS` says otherwise.
const KILLS: usize = 8;
const PARTITIONS: i32 = 3;
const PROGRAM: &str = env!("CARGO_BIN_EXE_broker-process");
const TOPIC: &str = "load";

/// Acknowledged records that each life of the broker must bring before it may be killed.
const MIN_ACKNOWLEDGED: usize = 50;

fn kills() -> usize {
    let rounds = std::env::var("MOLDAU_CRASH_ROUNDS").ok();
    rounds.and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// A broker that is killed and started again on the same data and address.
struct Victim {
    broker: BrokerProcess,
    data_dir: tempfile::TempDir,
    random: SmallRng,
    client: Client,
}

impl Victim {
    async fn start() -> anyhow::Result<Self> {
        let data_dir = tempfile::tempdir()?;
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = BrokerProcess::start(PROGRAM, data_dir.path(), any_port)?;
        let client = Client::connect(ClientConfig::new(&broker.address().to_string())).await?;
        create_topic(&client).await?;
        Ok(Self {
            broker,
            data_dir,
            random: Seed::fresh().random(),
            client,
        })
    }

    /// Lets the load get on for a while, then kills the broker; the next life listens where the last
    /// one did, so that clients find it again.
    async fn survive(mut self, load: &Load, per_life: usize) -> anyhow::Result<Self> {
        for _ in 0..kills() {
            let more = self.random.random_range(per_life..10 * per_life);
            load.wait_for(load.acknowledged() + more).await?;
            let address = self.broker.address();
            self.broker.kill()?;
            self.broker = BrokerProcess::start(PROGRAM, self.data_dir.path(), address)?;
        }
        Ok(self)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_keeps_every_acknowledged_record_once_and_in_order() -> anyhow::Result<()> {
    let victim = Victim::start().await?;
    let load = Load::start({
        let client = victim.client.clone();
        |stop, acknowledged| produce(client, true, stop, acknowledged)
    });
    let victim = victim.survive(&load, MIN_ACKNOWLEDGED).await?;
    let sent = load.stop().await?;
    let found = read_all(&victim.client, Isolation::ReadUncommitted).await?;
    for (partition, values) in found.iter().enumerate() {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_keeps_every_acknowledged_record_of_a_plain_producer() -> anyhow::Result<()>
{
    let victim = Victim::start().await?;
    let load = Load::start({
        let client = victim.client.clone();
        |stop, acknowledged| produce(client, false, stop, acknowledged)
    });
    let victim = victim.survive(&load, MIN_ACKNOWLEDGED).await?;
    let sent = load.stop().await?;
    let found = read_all(&victim.client, Isolation::ReadUncommitted).await?;
    let found: BTreeSet<u64> = found.into_iter().flatten().collect();
    for number in 0..sent {
        // Without idempotence a record may come twice, but it must come.
        ensure!(
            found.contains(&number),
            "record {number} was acknowledged and is lost"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_shows_each_committed_transaction_whole_and_no_other() -> anyhow::Result<()>
{
    let victim = Victim::start().await?;
    let fates = Arc::new(Mutex::new(Vec::new()));
    let load = Load::start({
        let (client, fates) = (victim.client.clone(), Arc::clone(&fates));
        |stop, acknowledged| transact(client, fates, stop, acknowledged)
    });
    let victim = victim.survive(&load, MIN_COMMITTED).await?;
    load.stop().await?;
    let found = read_all(&victim.client, Isolation::ReadCommitted).await?;
    let fates = fates.lock().expect("no task panics with it").clone();
    for (number, fate) in (0_u64..).zip(&fates) {
        let times: Vec<usize> = found
            .iter()
            .map(|values| values.iter().filter(|value| **value == number).count())
            .collect();
        let wanted = match fate {
            Fate::Committed => RECORDS_OF_TRANSACTION,
            Fate::Aborted => 0,
        };
        ensure!(
            times.iter().all(|times| *times == wanted),
            "transaction {number} is {fate:?}, and its partitions show {times:?} records"
        );
    }
    for values in &found {
        ensure!(values.is_sorted(), "transactions are out of order");
    }
    Ok(())
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    Aborted,
}

/// Transactions that each life of the broker must see committed.
const MIN_COMMITTED: usize = 3;

/// Records in each partition.
const RECORDS_OF_TRANSACTION: usize = 2;

/// Transactions one after another over all partitions, every fifth aborted, until stopped.
async fn transact(
    client: Client,
    fates: Arc<Mutex<Vec<Fate>>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> anyhow::Result<u64> {
    let config = ProducerConfig::default();
    let mut producer = client.transactional_producer("crash", config).await?;
    let mut number: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        producer.begin()?;
        let fate = match send_transaction(&producer, number).await {
            Ok(()) if number % 5 != 4 => end(&mut producer, true).await?,
            // What could not be sent must be aborted.
            Ok(()) | Err(_) => end(&mut producer, false).await?,
        };
        fates.lock().expect("no task panics with it").push(fate);
        if fate == Fate::Committed {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        number += 1;
    }
    producer.close(LIMIT).await;
    Ok(number)
}

async fn send_transaction(
    producer: &TransactionalProducer,
    number: u64,
) -> Result<(), moldau_client::ClientError> {
    for partition in 0..PARTITIONS {
        for _ in 0..RECORDS_OF_TRANSACTION {
            let value = Bytes::from(number.to_be_bytes().to_vec());
            let mut record = ProducerRecord::new(TOPIC, None, Some(value));
            record.partition = Some(partition);
            producer.send(record).await?;
        }
    }
    Ok(())
}

/// Ends a transaction, whatever it takes; one that must be aborted is.
async fn end(producer: &mut TransactionalProducer, commit: bool) -> anyhow::Result<Fate> {
    let mut commit = commit;
    loop {
        let ended = match commit {
            true => producer.commit().await,
            false => producer.abort().await,
        };
        match ended {
            Ok(()) if commit => return Ok(Fate::Committed),
            Ok(()) => return Ok(Fate::Aborted),
            Err(moldau_client::ClientError::MustAbort { .. }) => commit = false,
            Err(error) if error.is_retriable() => {}
            Err(error) => return Err(error).context("end a transaction"),
        }
    }
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

/// A task that writes and counts what is acknowledged, until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<anyhow::Result<u64>>,
}

/// Sent but not yet acknowledged records at most.
const MAX_OUTSTANDING: usize = 2_000;

/// Bytes in each value behind its number, so that batches and segments fill.
const FILLER: usize = 500;

const LIMIT: Duration = Duration::from_secs(120);

impl Load {
    fn start<W>(work: impl FnOnce(Arc<AtomicBool>, Arc<AtomicUsize>) -> W) -> Self
    where
        W: Future<Output = anyhow::Result<u64>> + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(work(Arc::clone(&stop), Arc::clone(&acknowledged)));
        Self {
            stop,
            acknowledged,
            task,
        }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    async fn wait_for(&self, target: usize) -> anyhow::Result<()> {
        let reached = async {
            while self.acknowledged() < target && !self.task.is_finished() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            ensure!(self.acknowledged() >= target, "the load ended early");
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

/// Numbers its records and never gives up.
async fn produce(
    client: Client,
    enable_idempotence: bool,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> anyhow::Result<u64> {
    let producer = client.producer(ProducerConfig {
        batch_size: 4096,
        linger_ms: 1,
        enable_idempotence,
        ..ProducerConfig::default()
    });
    let outstanding = Arc::new(tokio::sync::Semaphore::new(MAX_OUTSTANDING));
    let failure = Arc::new(Mutex::new(None));
    let mut number: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let permit = outstanding.clone().acquire_owned().await?;
        if let Some(failure) = failure.lock().expect("no task panics with it").take() {
            anyhow::bail!("a record was not acknowledged: {failure}");
        }
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
                    *failure.lock().expect("no task panics with it") = Some(error.to_string());
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
async fn read_all(client: &Client, isolation: Isolation) -> anyhow::Result<Vec<Vec<u64>>> {
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
        isolation,
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
