//! Exactly once under fire: three processes of one job, killed at random moments under load.
//!
//! `MOLDAU_CRASH_ROUNDS` sets how many processes each test kills (2), `MOLDAU_CRASH_SEED` repeats
//! the choice of victims and moments, `MOLDAU_CRASH_STANDBYS` keeps standby replicas (0), and
//! `MOLDAU_TEST_KAFKA` names another cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use moldau_client::consumer::OffsetReset;
use moldau_client::{
    Client, Consumer, ConsumerConfig, Isolation, ProducerConfig, ProducerRecord, TopicPartition,
};
use moldau_streams::{Builder, KString, Raw, Topic, Topology, Tumbling, Windowed};

use crate::cluster::{Cluster, LIMIT};
use crate::instance::{Instance, Setup};

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

/// What kind of instances are killed.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    on_disk: bool,
    /// Whether an instance that comes back has its tasks at once.
    is_static: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn input_and_output_agree_exactly_although_instances_with_stores_in_memory_are_killed() {
    under_fire(Kind {
        name: "crash-memory",
        on_disk: false,
        is_static: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_and_output_agree_exactly_although_instances_with_stores_on_disk_are_killed() {
    under_fire(Kind {
        name: "crash-disk",
        on_disk: true,
        is_static: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_and_output_agree_exactly_although_static_members_with_stores_on_disk_are_killed() {
    under_fire(Kind {
        name: "crash-static",
        on_disk: true,
        is_static: true,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn input_and_output_agree_exactly_although_an_instance_freezes_and_wakes_up_as_a_stranger() {
    let kind = Kind {
        name: "freeze",
        on_disk: true,
        is_static: false,
    };
    let rounds = number("MOLDAU_CRASH_ROUNDS").unwrap_or(1);
    let seed = number("MOLDAU_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!(
        "{}: MOLDAU_CRASH_SEED={seed} MOLDAU_CRASH_ROUNDS={rounds}",
        kind.name
    );
    let cluster = Cluster::start(kind.name).await;
    let directory = tempfile::tempdir().expect("a directory");
    prepare(&cluster).await;
    let load = Load::start(cluster.client.clone(), cluster.name("job-orders"));
    let mut reader = Enriched::new(&cluster);
    let start = |index: usize| start(&cluster, kind, directory.path(), index);
    let instances: Vec<_> = (0..3).map(start).collect();
    reader.wait_for(1).await;
    reader.wait_for_tasks(&instances).await;
    let mut fire = Fire::new(seed);
    for round in 1..=rounds {
        reader
            .read_for(Duration::from_millis(fire.random.below(1_500)))
            .await;
        let victim = usize::try_from(fire.random.below(3)).expect("0 to 2");
        instances[victim].freeze();
        let frozen = Instant::now();
        let written = load.written.load(Ordering::Acquire);
        // The others take over; what it had open is ended for it.
        reader.wait_for(written).await;
        fire.resumed(round, victim, written, frozen.elapsed());
        instances[victim].thaw();
        let written = load.written.load(Ordering::Acquire);
        reader.wait_for(written).await;
        reader.wait_for_tasks(&instances).await;
    }
    let written = load.stop().await;
    reader.wait_for(written).await;
    let expected = expected_totals(written);
    totals(&cluster, &expected).await;
    for instance in instances {
        fire.tally.add(instance.end());
    }
    reader.read_to_the_end(written).await;
    stored_totals(&cluster, &expected).await;
    println!("{}: {written} orders agree; {}", kind.name, fire.summary());
    cluster.stop().await;
}

async fn under_fire(kind: Kind) {
    let rounds = number("MOLDAU_CRASH_ROUNDS").unwrap_or(2);
    let seed = number("MOLDAU_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!(
        "{}: MOLDAU_CRASH_SEED={seed} MOLDAU_CRASH_ROUNDS={rounds}",
        kind.name
    );
    let cluster = Cluster::start(kind.name).await;
    let directory = tempfile::tempdir().expect("a directory");
    prepare(&cluster).await;
    let load = Load::start(cluster.client.clone(), cluster.name("job-orders"));
    let mut reader = Enriched::new(&cluster);
    let start = |index: usize| start(&cluster, kind, directory.path(), index);
    let mut instances: Vec<_> = (0..3).map(start).collect();
    reader.wait_for(1).await;
    reader.wait_for_tasks(&instances).await;
    let mut fire = Fire::new(seed);
    for round in 1..=rounds {
        let pause = Duration::from_millis(fire.random.below(1_500));
        reader.read_for(pause).await;
        let victim = usize::try_from(fire.random.below(3)).expect("0 to 2");
        fire.tally.add(instances[victim].kill());
        let killed = Instant::now();
        let written = load.written.load(Ordering::Acquire);
        instances[victim] = start(victim);
        // Now and then the next one falls before this one has anything to do again.
        let is_early = fire.random.below(4) == 0;
        if is_early && round < rounds {
            continue;
        }
        reader.wait_for(written).await;
        fire.resumed(round, victim, written, killed.elapsed());
        reader.wait_for_tasks(&instances).await;
    }
    let written = load.stop().await;
    reader.wait_for(written).await;
    let expected = expected_totals(written);
    totals(&cluster, &expected).await;
    for instance in instances {
        fire.tally.add(instance.end());
    }
    reader.read_to_the_end(written).await;
    stored_totals(&cluster, &expected).await;
    println!(
        "{}: {rounds} kills, {written} orders, each enriched once; {} totals agree in the output \
         and in the store; {}",
        kind.name,
        expected.len(),
        fire.summary()
    );
    cluster.stop().await;
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

fn start(cluster: &Cluster, kind: Kind, directory: &Path, index: usize) -> Instance {
    Instance::start(&Setup {
        bootstrap: cluster.bootstrap(),
        prefix: cluster.name("job"),
        state_dir: kind.on_disk.then(|| directory.join(index.to_string())),
        group_instance_id: kind.is_static.then(|| format!("i{index}")),
        runs_by_itself: false,
        num_standby_replicas: number("MOLDAU_CRASH_STANDBYS").unwrap_or(0),
        file_size_limit: None,
    })
}

/// What the kills have shown.
struct Fire {
    random: Random,
    resumptions: Vec<Duration>,
    tally: Tally,
}

/// What all instances have said of themselves.
#[derive(Default)]
struct Tally {
    lives: u64,
    wiped: u64,
    restored: u64,
}

impl Tally {
    fn add(&mut self, life: crate::instance::Report) {
        self.lives += 1;
        self.wiped += life.stores_wiped;
        self.restored += life.restored;
    }
}

impl Fire {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            resumptions: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn resumed(&mut self, round: u64, victim: usize, written: u64, after: Duration) {
        println!(
            "round {round}: instance {victim} killed after {written} orders, all of them done {} ms later",
            after.as_millis()
        );
        self.resumptions.push(after);
    }

    fn summary(mut self) -> String {
        assert_eq!(self.tally.wiped, 0, "stores were thrown away");
        self.resumptions.sort();
        let count = self.resumptions.len();
        let at = |index: usize| self.resumptions.get(index).map_or(0, Duration::as_millis);
        format!(
            "{count} resumptions, median {} ms, slowest {} ms; {} lives, {} stores wiped, \
             {} changelog records read back",
            at(count / 2),
            at(count.saturating_sub(1)),
            self.tally.lives,
            self.tally.wiped,
            self.tally.restored
        )
    }
}

/// Writes orders until it is stopped.
struct Load {
    written: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(client: Client, topic: String) -> Self {
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

    async fn stop(self) -> u64 {
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

    async fn read_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.read(end - Instant::now()).await;
        }
    }

    /// Waits until each instance has something to do.
    async fn wait_for_tasks(&mut self, instances: &[Instance]) {
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

/// Numbers that follow from a seed (an LCG by Knuth).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
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
