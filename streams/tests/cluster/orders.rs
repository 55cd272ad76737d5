//! The job of the crash tests, its orders, and what has to come out of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use moldau_client::consumer::OffsetReset;
use moldau_client::{
    Client, Consumer, ConsumerConfig, Isolation, ProducerConfig, ProducerRecord, TopicPartition,
};
use moldau_streams::{Builder, KString, Raw, Topic, Topology, Tumbling, Windowed};

use crate::cluster::{Cluster, LIMIT};
use crate::instance::Instance;

/// Orders are `customer,amount,id`; each is joined with its customer's region, written out, and
/// its amount added up by region and minute.
pub(crate) fn job(prefix: &str) -> Topology {
    let name = |part: &str| format!("{prefix}-{part}");
    let field = |text: &str, index: usize| text.split(',').nth(index).unwrap_or("").to_owned();
    let builder = Builder::new(name("app"));
    let regions = builder.table(&Topic::<String, String>::named(name("customers")));
    let enriched = builder
        .stream(&Topic::<Option<Raw>, String>::named(name("orders")))
        .select_key(move |_, order| field(order, 0))
        .join(&regions)
        .by(|order, region| format!("{region},{order}"));
    enriched
        .map(move |_, text| (field(text, 3), text.clone()))
        .to(&Topic::<String, String>::named(name("enriched")));
    enriched
        .map(move |_, text| (field(text, 0), field(text, 2).parse().unwrap_or(0_i64)))
        .group_by_key()
        .windowed_by(Tumbling::of(WINDOW).grace(Duration::from_secs(86_400)))
        .reduce_as("totals", |sum, amount| sum + amount)
        .to_stream()
        .to(&Topic::<Windowed<String>, i64>::named(name("totals")));
    builder.build().expect("a topology")
}

pub(crate) async fn prepare(cluster: &Cluster) {
    let name = |part: &str| cluster.name(&format!("job-{part}"));
    for topic in ["orders", "customers", "enriched", "totals"] {
        cluster.create(&name(topic), PARTITIONS).await;
    }
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|customer| (format!("c{customer}"), region_of(customer)))
        .collect();
    let records = customers
        .iter()
        .map(|(customer, region)| (Some(&**customer), &**region, *FIRST_TIME));
    cluster
        .write(&name("customers"), &records.collect::<Vec<_>>())
        .await;
}

/// Writes orders until it is stopped.
pub(crate) struct Load {
    pub(crate) written: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(client: Client, topic: String) -> Self {
        let (written, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (counter, stopped) = (Arc::clone(&written), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let producer = client.producer(ProducerConfig::default());
            let topic = KString::copy_from(&topic);
            let mut id = 0;
            while !stopped.load(Ordering::Acquire) {
                for _ in 0..10 {
                    producer.send(order_record(&topic, id)).await.expect("sent");
                    id += 1;
                }
                producer.flush().await.expect("stored");
                counter.store(id, Ordering::Release);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            producer.close().await;
        });
        Self {
            written,
            stop,
            task,
        }
    }

    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.task.await.expect("written");
        self.written.load(Ordering::Acquire)
    }
}

/// Writes the first `count` orders.
pub(crate) async fn write_orders(cluster: &Cluster, count: u64) {
    let producer = cluster.client.producer(ProducerConfig::default());
    let topic = KString::copy_from(&cluster.name("job-orders"));
    for id in 0..count {
        producer.send(order_record(&topic, id)).await.expect("sent");
    }
    producer.flush().await.expect("stored");
    producer.close().await;
}

fn order_record(topic: &KString, id: u64) -> ProducerRecord {
    let (text, timestamp) = order(id);
    ProducerRecord {
        timestamp: Some(timestamp),
        partition: i32::try_from(id % 4).ok(),
        ..ProducerRecord::new(topic.clone(), None, Some(Raw::from(text)))
    }
}

/// What order `id` says, and when it was given.
fn order(id: u64) -> (String, i64) {
    let timestamp = *FIRST_TIME + i64::try_from(id).expect("a small number") * 20;
    (
        format!("c{},{},o{id}", id * 7 % CUSTOMERS, amount(id)),
        timestamp,
    )
}

const fn amount(id: u64) -> u64 {
    id * 31 % 97
}

fn region_of(customer: u64) -> String {
    format!("r{}", customer % 5)
}

pub(crate) fn expected_totals(written: u64) -> BTreeMap<Raw, i64> {
    let mut totals = BTreeMap::new();
    let window = i64::try_from(WINDOW.as_millis()).expect("a small number");
    for id in 0..written {
        let (_, timestamp) = order(id);
        let start = timestamp / window * window;
        let region = region_of(id * 7 % CUSTOMERS);
        let key = Raw::from([region.as_bytes(), &start.to_be_bytes()].concat());
        *totals.entry(key).or_default() += i64::try_from(amount(id)).expect("a small number");
    }
    totals
}

/// Reads committed enriched orders and checks that each comes once.
pub(crate) struct Enriched {
    consumer: Consumer,
    seen: Vec<bool>,
    count: u64,
    /// All orders before this one were seen.
    complete: usize,
}

impl Enriched {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self {
            consumer: reader(cluster, &cluster.name("job-enriched")),
            seen: Vec::new(),
            count: 0,
            complete: 0,
        }
    }

    async fn read(&mut self, wait: Duration) {
        let poll = self.consumer.poll(wait).await.expect("a poll");
        for batch in &poll.batches {
            for record in batch.records().expect("records") {
                let key = record.expect("a record").key.unwrap_or_default();
                let id = std::str::from_utf8(&key).ok();
                let id = id.and_then(|text| text.strip_prefix('o')?.parse::<usize>().ok());
                let id = id.expect("an order");
                if self.seen.len() <= id {
                    self.seen.resize(id + 1, false);
                }
                let was_seen = std::mem::replace(&mut self.seen[id], true);
                assert!(!was_seen, "order {id} was enriched twice");
                self.count += 1;
            }
        }
        while self.seen.get(self.complete) == Some(&true) {
            self.complete += 1;
        }
    }

    pub(crate) async fn read_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.read(end - Instant::now()).await;
        }
    }

    /// Waits until each instance has something to do.
    pub(crate) async fn wait_for_tasks(&mut self, instances: &[Instance]) {
        let deadline = Instant::now() + LIMIT;
        let is_idle = |instance: &Instance| instance.last_report().tasks == 0;
        while instances.iter().any(is_idle) {
            assert!(Instant::now() < deadline, "an instance has no tasks");
            self.read(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the first `count` orders are there.
    pub(crate) async fn wait_for(&mut self, count: u64) {
        let count = usize::try_from(count).expect("a small number");
        let deadline = Instant::now() + LIMIT;
        while self.complete < count {
            let next = self.complete;
            assert!(Instant::now() < deadline, "order {next} of {count} is lost");
            self.read(Duration::from_millis(50)).await;
        }
    }

    /// Reads all there is: that must be these orders and no more.
    pub(crate) async fn read_to_the_end(&mut self, count: u64) {
        let deadline = Instant::now() + LIMIT;
        let names = self.consumer.assignment();
        while names.iter().any(|name| self.consumer.lag(name) != Some(0)) {
            assert!(Instant::now() < deadline, "the end is not reached");
            self.read(Duration::from_millis(50)).await;
        }
        assert_eq!(self.count, count, "orders that were written, and enriched");
    }
}

/// Waits until the last total of each region and minute is as expected. None may ever go back.
pub(crate) async fn totals(cluster: &Cluster, expected: &BTreeMap<Raw, i64>) {
    let mut consumer = reader(cluster, &cluster.name("job-totals"));
    let mut totals: BTreeMap<Raw, i64> = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    while totals != *expected {
        assert!(
            Instant::now() < deadline,
            "{totals:?} instead of {expected:?}"
        );
        for (key, total) in numbers(&mut consumer).await {
            let before = totals.insert(key, total).unwrap_or(0);
            assert!(
                before <= total,
                "a total went back from {before} to {total}"
            );
        }
    }
}

/// Checks that the changelog of the store says the same as the output.
pub(crate) async fn stored_totals(cluster: &Cluster, expected: &BTreeMap<Raw, i64>) {
    let mut consumer = reader(cluster, &cluster.name("job-app-totals-changelog"));
    let mut stored: BTreeMap<Raw, i64> = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    while stored != *expected {
        assert!(
            Instant::now() < deadline,
            "stored: {stored:?} instead of {expected:?}"
        );
        for (key, total) in numbers(&mut consumer).await {
            // Behind the window's start is a sequence number.
            stored.insert(key.slice(..key.len() - 4), total);
        }
    }
}

/// What comes next, with its values as numbers.
async fn numbers(consumer: &mut Consumer) -> Vec<(Raw, i64)> {
    let poll = consumer.poll(Duration::from_millis(100)).await;
    let mut numbers = Vec::new();
    for batch in &poll.expect("a poll").batches {
        for record in batch.records().expect("records") {
            let record = record.expect("a record");
            let value = record.value.unwrap_or_default();
            let number = i64::from_be_bytes(value[..].try_into().expect("8 bytes"));
            numbers.push((record.key.unwrap_or_default(), number));
        }
    }
    numbers
}

fn reader(cluster: &Cluster, topic: &str) -> Consumer {
    let mut consumer = cluster.client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        isolation: Isolation::ReadCommitted,
        ..ConsumerConfig::default()
    });
    let partitions = (0..PARTITIONS).map(|number| TopicPartition::new(topic, number));
    consumer.assign(partitions.collect());
    consumer
}

/// When the first order was given, in milliseconds: an hour ago. What is much older is deleted from
/// topics by its age, what lies ahead is refused.
static FIRST_TIME: LazyLock<i64> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(now.expect("a clock").as_millis()).expect("a time");
    now - 3_600_000
});
const PARTITIONS: i32 = 4;
const CUSTOMERS: u64 = 50;
const WINDOW: Duration = Duration::from_secs(60);
