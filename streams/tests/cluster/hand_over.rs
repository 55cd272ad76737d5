//! A job of Kafka Streams and the same job of ours take turns: state and positions are kept.
//!
//! Needs Java: `tests/clients/streams_hand_over.sh` runs it. The JVM's half is `HandOver.java`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moldau_streams::{Builder, Raw, Topic, Topology, Tumbling, Windowed};
use tempfile::NamedTempFile;

use crate::cluster::{Cluster, counts, often};

/// Variable with the command that starts Java with Kafka Streams' classes.
const JVM: &str = "MOLDAU_STREAMS_JVM";

#[tokio::test(flavor = "multi_thread")]
async fn hand_over_between_the_jvm_and_moldau_keeps_state_and_positions() {
    let Ok(jvm) = std::env::var(JVM) else {
        return;
    };
    let cluster = Cluster::start("hand-over").await;
    let minute = this_minute();
    for topic in ["lines", "customers", "orders"] {
        cluster.create(&cluster.name(topic), 2).await;
    }
    for topic in ["counts", "per-minute", "joined"] {
        cluster.create(&cluster.name(topic), 1).await;
    }
    let customers = [(Some("c"), "Ann", minute), (Some("d"), "Bob", minute)];
    cluster.write(&cluster.name("customers"), &customers).await;

    for turn in 1..=4 {
        // Written while nobody runs, and while somebody does.
        write(&cluster, turn, minute).await;
        if turn % 2 == 1 {
            let job = JvmJob::start(&jvm, &cluster);
            write(&cluster, turn, minute).await;
            check(&cluster, turn, minute).await;
            job.end();
        } else {
            let handle = cluster.run(&job(&cluster), often()).await;
            write(&cluster, turn, minute).await;
            check(&cluster, turn, minute).await;
            handle.close().await.expect("a clean end");
        }
    }
    cluster.stop().await;
}

fn job(cluster: &Cluster) -> Topology {
    let builder = Builder::new(cluster.name("app"));
    let words = builder
        .stream(&Topic::<Option<Raw>, String>::named(cluster.name("lines")))
        .flat_map_values(|line, words| {
            words.extend(line.split_whitespace().map(str::to_lowercase));
        })
        .named("by-word")
        .group_by(|_, word: &String| word.clone());
    words
        .count_as("counts")
        .to_stream()
        .to(&Topic::<String, i64>::named(cluster.name("counts")));
    let minutes = Tumbling::of(Duration::from_secs(60)).no_grace();
    let per_minute = words.windowed_by(minutes).count_as("per-minute");
    let topic = Topic::<Windowed<String>, i64>::named(cluster.name("per-minute"));
    per_minute.to_stream().to(&topic);
    let customers = Topic::<String, String>::named(cluster.name("customers"));
    let customers = builder.table_as(&customers, "customers");
    builder
        .stream(&Topic::<String, String>::named(cluster.name("orders")))
        .join(&customers)
        .left()
        .by(|order, customer| {
            let customer = customer.map_or("null", String::as_str);
            format!("{order} of {customer}")
        })
        .to(&Topic::<String, String>::named(cluster.name("joined")));
    builder.build().expect("a topology")
}

/// The begin of this minute. The topics behind window stores delete what is older than their windows, so that the
/// records of this test must not be.
fn this_minute() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let minutes = since_1970.expect("a clock").as_secs() / 60;
    i64::try_from(minutes * 60_000).expect("a time")
}

async fn write(cluster: &Cluster, turn: i64, minute: i64) {
    let lines = [
        (None, "to be", minute + turn),
        (Some("k"), "To do", minute + 61_000),
    ];
    cluster.write(&cluster.name("lines"), &lines[..1]).await;
    // A later minute would close the first one.
    if turn == 4 {
        cluster.write(&cluster.name("lines"), &lines[1..]).await;
    }
    let order = format!("order {turn}");
    let time = minute + turn;
    let orders = [(Some("c"), order.as_str(), time), (Some("x"), &order, time)];
    cluster.write(&cluster.name("orders"), &orders).await;
}

/// What the topics hold when everything that was written up to a turn is counted exactly once.
async fn check(cluster: &Cluster, turn: i64, minute: i64) {
    let mut expected = counts(&[("to", 2 * turn), ("be", 2 * turn)]);
    if turn == 4 {
        expected.extend(counts(&[("to", 2 * turn + 2), ("do", 2)]));
    }
    let topic = cluster.name("counts");
    cluster.wait_for_table(&topic, &expected).await;

    // The last record of the last turn may come before or after the second minute has closed the
    // first, so that only the turns before say what is in it.
    if turn < 4 {
        let windows = counts(&[("to", 2 * turn), ("be", 2 * turn)]).into_iter();
        let windows = windows
            .map(|(word, count)| ([&word[..], &minute.to_be_bytes()].concat().into(), count));
        let topic = cluster.name("per-minute");
        cluster.wait_for_table(&topic, &windows.collect()).await;
    }

    let text = |text: String| Raw::from(text.into_bytes());
    let joined = BTreeMap::from([
        (
            text("c".to_owned()),
            Some(text(format!("order {turn} of Ann"))),
        ),
        (
            text("x".to_owned()),
            Some(text(format!("order {turn} of null"))),
        ),
    ]);
    let topic = cluster.name("joined");
    let entries = cluster.wait_for_table(&topic, &joined).await;
    assert!(
        entries.len() <= 4 * usize::try_from(turn).expect("a turn"),
        "joined twice: {entries:?}"
    );
}

/// The job in a JVM of its own.
struct JvmJob {
    process: Child,
    /// What it logs; shown if the test fails.
    log: NamedTempFile,
}

impl JvmJob {
    /// Starts it and waits until it runs.
    fn start(jvm: &str, cluster: &Cluster) -> Self {
        let log = NamedTempFile::new().expect("a file");
        let mut words = jvm.split_whitespace();
        let mut process = Command::new(words.next().expect("a command"))
            .args(words)
            .arg("HandOver")
            .args([cluster.bootstrap(), cluster.name("app"), cluster.prefix()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.reopen().expect("a file"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{jvm}`: {error}"));
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let job = Self { process, log };
        let says_so = |line: Result<String, _>| line.is_ok_and(|line| line == "RUNNING");
        assert!(output.lines().any(says_so), "the JVM's job does not run");
        job
    }

    /// Lets it commit and leave the group.
    fn end(mut self) {
        drop(self.process.stdin.take());
        let status = self.process.wait().expect("its end");
        assert!(status.success(), "the JVM's job ended with {status}");
    }
}

impl Drop for JvmJob {
    fn drop(&mut self) {
        // Fails only if the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log.path()).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let newest = &lines[lines.len().saturating_sub(100)..];
            println!("the end of the JVM's log:\n{}", newest.join("\n"));
        }
    }
}
