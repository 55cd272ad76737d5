//! Exactly once under fire: three processes of one job, killed at random moments under load.
//!
//! `MOLDAU_CRASH_ROUNDS` sets how many processes are killed (2), `MOLDAU_CRASH_SEED` repeats the
//! choice of victims and moments, and `MOLDAU_TEST_KAFKA` another cluster.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moldau_client::consumer::OffsetReset;
use moldau_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, Isolation, ProducerConfig, ProducerRecord,
    TopicPartition,
};
use moldau_streams::{
    Builder, KString, ProcessingGuarantee, Raw, StreamsConfig, Topic, Topology, Tumbling, Windowed,
};

use crate::cluster::{Cluster, LIMIT};

/// Orders are `customer,amount,id`; each is joined with its customer's region, written out, and
/// its amount added up by region and minute.
fn job(prefix: &str) -> Topology {
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

/// One instance, in a process of its own; of the tests of this process it is a passing one.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_the_job_runs_where_the_environment_asks_for_it() {
    let Ok(task) = std::env::var(INSTANCE) else {
        return;
    };
    let (bootstrap, prefix) = task.split_once('|').expect("address and prefix");
    let client = Client::connect(ClientConfig::new(bootstrap)).await;
    let config = StreamsConfig {
        processing_guarantee: ProcessingGuarantee::ExactlyOnceV2,
        session_timeout_ms: 6_000,
        transaction_timeout_ms: 6_000,
        num_threads: 1,
        ..StreamsConfig::default()
    };
    let handle = job(prefix).start(client.expect("a cluster"), config).await;
    let handle = handle.expect("started");
    // The parent holds the other end for as long as it lives.
    let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    tokio::select! {
        () = handle.ended() => {}
        _ = parent => {}
    }
    let metrics = handle.metrics();
    let wiped = metrics.stores_wiped;
    handle.close().await.expect("a clean end");
    assert_eq!(wiped, 0, "state was thrown away: {metrics:?}");
}

fn instance(cluster: &Cluster) -> Child {
    let name = "crash::an_instance_of_the_job_runs_where_the_environment_asks_for_it";
    Command::new(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture"])
        .env(
            INSTANCE,
            format!("{}|{}", cluster.bootstrap(), cluster.name("job")),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("a process")
}

#[tokio::test(flavor = "multi_thread")]
async fn input_and_output_agree_exactly_although_instances_are_killed_under_load() {
    let rounds = number("MOLDAU_CRASH_ROUNDS").unwrap_or(2);
    let seed = number("MOLDAU_CRASH_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}: MOLDAU_CRASH_SEED={seed} MOLDAU_CRASH_ROUNDS={rounds}");
    let mut random = Random(seed);
    let cluster = Cluster::start("crash").await;
    let name = |part: &str| cluster.name(&format!("job-{part}"));
    for topic in ["orders", "customers", "enriched", "totals"] {
        cluster.create(&name(topic), PARTITIONS).await;
    }
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|customer| (format!("c{customer}"), region_of(customer)))
        .collect();
    let records = customers
        .iter()
        .map(|(customer, region)| (Some(&**customer), &**region, 0));
    cluster
        .write(&name("customers"), &records.collect::<Vec<_>>())
        .await;

    let load = Load::start(cluster.client.clone(), name("orders"));
    let mut reader = Enriched::new(&cluster, &name("enriched"));
    let mut instances: Vec<_> = (0..3).map(|_| instance(&cluster)).collect();
    reader.wait_for(1).await;
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        tokio::time::sleep(Duration::from_millis(random.below(1_500))).await;
        let victim = usize::try_from(random.below(3)).expect("0 to 2");
        instances[victim].kill().expect("killed");
        instances[victim].wait().expect("dead");
        let killed = Instant::now();
        let written = load.written.load(Ordering::Acquire);
        instances[victim] = instance(&cluster);
        reader.wait_for(written).await;
        let resumed = killed.elapsed();
        slowest = slowest.max(resumed);
        println!(
            "round {round}: instance {victim} killed after {written} orders, all of them done {} ms later",
            resumed.as_millis()
        );
    }
    let written = load.stop().await;
    reader.wait_for(written).await;
    let totals = totals(&cluster, &name("totals"), &expected_totals(written)).await;
    for mut child in instances {
        drop(child.stdin.take());
        assert!(
            child.wait().expect("an end").success(),
            "an instance failed at its end"
        );
    }
    reader.wait_for(written).await;
    println!(
        "{written} orders, each enriched once; {} totals agree; slowest resumption {} ms",
        totals,
        slowest.as_millis()
    );
    cluster.stop().await;
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
                for _ in 0..20 {
                    let (text, timestamp) = order(id);
                    let record = ProducerRecord {
                        timestamp: Some(timestamp),
                        partition: i32::try_from(id % 4).ok(),
                        ..ProducerRecord::new(topic.clone(), None, Some(Raw::from(text)))
                    };
                    producer.send(record).await.expect("sent");
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

/// What order `id` says, and when it was given.
fn order(id: u64) -> (String, i64) {
    let timestamp = 1 + i64::try_from(id).expect("a small number") * 20;
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

fn expected_totals(written: u64) -> BTreeMap<Raw, i64> {
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
struct Enriched {
    consumer: Consumer,
    seen: BTreeMap<Raw, u32>,
}

impl Enriched {
    fn new(cluster: &Cluster, topic: &str) -> Self {
        Self {
            consumer: reader(cluster, topic),
            seen: BTreeMap::new(),
        }
    }

    /// Waits until the first `count` orders are there.
    async fn wait_for(&mut self, count: u64) {
        let deadline = Instant::now() + LIMIT;
        let missing = |seen: &BTreeMap<Raw, u32>| {
            (0..count).find(|id| !seen.contains_key(format!("o{id}").as_bytes()))
        };
        while let Some(id) = missing(&self.seen) {
            assert!(Instant::now() < deadline, "order o{id} of {count} is lost");
            let poll = self.consumer.poll(Duration::from_millis(100)).await;
            for batch in &poll.expect("a poll").batches {
                for record in batch.records().expect("records") {
                    let key = record.expect("a record").key.unwrap_or_default();
                    let times = self.seen.entry(key.clone()).or_default();
                    *times += 1;
                    assert_eq!(*times, 1, "order {key:?} was enriched twice");
                }
            }
        }
    }
}

/// Waits until the last total of each region and minute is as expected; gives their number.
async fn totals(cluster: &Cluster, topic: &str, expected: &BTreeMap<Raw, i64>) -> usize {
    let mut consumer = reader(cluster, topic);
    let mut totals: BTreeMap<Raw, i64> = BTreeMap::new();
    let deadline = Instant::now() + LIMIT;
    while totals != *expected {
        assert!(
            Instant::now() < deadline,
            "{totals:?} instead of {expected:?}"
        );
        let poll = consumer.poll(Duration::from_millis(100)).await;
        for batch in &poll.expect("a poll").batches {
            for record in batch.records().expect("records") {
                let record = record.expect("a record");
                let value = record.value.unwrap_or_default();
                let total = i64::from_be_bytes(value[..].try_into().expect("8 bytes"));
                totals.insert(record.key.unwrap_or_default(), total);
            }
        }
    }
    totals.len()
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

const INSTANCE: &str = "MOLDAU_TEST_INSTANCE";
const PARTITIONS: i32 = 4;
const CUSTOMERS: u64 = 50;
const WINDOW: Duration = Duration::from_secs(60);
