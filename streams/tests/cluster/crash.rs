//! Exactly once under fire: three processes of one job, killed at random moments under load.
//!
//! `MOLDAU_CRASH_ROUNDS` sets how many processes each test kills (2), `MOLDAU_CRASH_SEED` repeats
//! the choice of victims and moments, `MOLDAU_CRASH_STANDBYS` keeps standby replicas (0), and
//! `MOLDAU_TEST_KAFKA` names another cluster.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::instance::{Instance, Report, Setup};
use crate::orders::{Enriched, Load, expected_totals, prepare, stored_totals, totals};

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

#[tokio::test(flavor = "multi_thread")]
async fn input_and_output_agree_exactly_although_the_broker_is_started_again_under_load() {
    let mut cluster = Cluster::start("broker").await;
    if !cluster.is_ours() {
        return;
    }
    cluster.connect().await;
    let rounds = number("MOLDAU_CRASH_ROUNDS").unwrap_or(1);
    let kind = Kind {
        name: "broker",
        on_disk: false,
        is_static: true,
    };
    let directory = tempfile::tempdir().expect("a directory");
    prepare(&cluster).await;
    let load = Load::start(cluster.client.clone(), cluster.name("job-orders"));
    let mut reader = Enriched::new(&cluster);
    let instances: Vec<_> = (0..3)
        .map(|index| start(&cluster, kind, directory.path(), index))
        .collect();
    reader.wait_for(1).await;
    reader.wait_for_tasks(&instances).await;
    let mut fire = Fire::new(rounds);
    for round in 1..=rounds {
        reader
            .read_for(Duration::from_millis(fire.random.below(1_500)))
            .await;
        let written = load.written.load(Ordering::Acquire);
        let ended = Instant::now();
        cluster.restart().await;
        reader.wait_for(written).await;
        fire.resumed(round, 0, written, ended.elapsed());
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
    fn add(&mut self, life: Report) {
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
