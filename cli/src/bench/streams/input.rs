//! The input of a job: made once, the same on every endpoint but for the time of day.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::Bytes;
use moldau_client::admin::{NewTopic, OffsetSpec};
use moldau_client::{Client, KString, ProducerConfig, ProducerRecord, TopicPartition};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::jobs::{self, Event};
use super::{Job, Run};
use crate::bench::progress_bar;
use crate::connection::offsets;

/// The application whose store is restored.
pub(super) const RESTORED: &str = "moldau-bench-restore";

/// The topic that a job reads.
pub(super) const fn topic(job: Job) -> &'static str {
    match job {
        Job::FilterMap | Job::WindowedCount => "moldau-bench-events",
        Job::Restore => "moldau-bench-restore-input",
        Job::Keys => "moldau-bench-keys",
    }
}

/// Fills the topics of a job, unless they have exactly so many records already.
///
/// # Errors
/// A topic holds something else, or cannot be written.
pub(super) async fn load(client: &Client, job: Job, records: u64) -> anyhow::Result<()> {
    let mut loaded = topic(job).to_owned();
    if job == Job::Restore {
        create(client, &loaded, &[]).await?;
        loaded = format!("{RESTORED}-counts-changelog");
    }
    let cleanup = match job {
        Job::Restore => ("cleanup.policy".to_owned(), "compact".to_owned()),
        _ => ("retention.ms".to_owned(), "-1".to_owned()),
    };
    create(client, &loaded, &[cleanup]).await?;
    match found(client, &loaded).await? {
        0 => {}
        found if found == records => return Ok(()),
        found => bail!(
            "topic \"{loaded}\" has {found} records where {records} are wanted\n  hint: delete \
             it, or say `--records {found}`"
        ),
    }
    let producer = client.producer(ProducerConfig {
        batch_size: 256 * 1024,
        ..ProducerConfig::default()
    });
    let progress = progress_bar(records);
    let mut made = Made::new(job, &loaded);
    for index in 0..records {
        let record = made.record(index, records)?;
        let sent = producer.send(record).await;
        drop(sent.with_context(|| format!("write record {index} to \"{loaded}\""))?);
        if index.is_multiple_of(4_096) {
            progress.set_position(index);
        }
    }
    let flushed = producer.flush().await;
    flushed.with_context(|| format!("write topic \"{loaded}\""))?;
    producer.close().await;
    progress.finish_and_clear();
    Ok(())
}

/// Makes the topic that a run writes to.
pub(super) async fn create_output(client: &Client, run: &Run) -> anyhow::Result<()> {
    create(client, &jobs::output(run), &[]).await
}

/// Deletes what a run has written; the changelog that is restored stays.
pub(super) async fn clean_up(client: &Client, run: &Run) -> anyhow::Result<()> {
    let admin = client.admin();
    let mut topics = vec![jobs::output(run)];
    if run.job != Job::Restore {
        let all = admin.list_topics().await.context("list topics")?;
        topics = all
            .into_iter()
            .map(|topic| topic.name)
            .filter(|name| name.starts_with(&run.application_id))
            .collect();
    }
    for (name, result) in admin.delete_topics(&topics).await? {
        result.with_context(|| format!("delete topic \"{name}\""))?;
    }
    Ok(())
}

async fn create(client: &Client, name: &str, configs: &[(String, String)]) -> anyhow::Result<()> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: PARTITIONS,
        replication_factor: -1,
        configs: configs.to_vec(),
    };
    let made = client.admin().ensure_topic(topic).await;
    made.with_context(|| format!("create topic \"{name}\""))
}

async fn found(client: &Client, topic: &str) -> anyhow::Result<u64> {
    let partitions: Vec<_> = (0..PARTITIONS)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    let admin = client.admin();
    let starts = offsets(&admin, &partitions, OffsetSpec::Earliest).await?;
    let ends = offsets(&admin, &partitions, OffsetSpec::Latest).await?;
    let sum = |offsets: &BTreeMap<_, i64>| offsets.values().sum::<i64>();
    Ok((sum(&ends) - sum(&starts)).unsigned_abs())
}

/// Makes records; the same ones each time.
struct Made {
    job: Job,
    topic: KString,
    random: SmallRng,
    /// Time of the first event.
    start_ms: i64,
}

impl Made {
    fn new(job: Job, topic: &str) -> Self {
        Self {
            job,
            topic: KString::copy_from(topic),
            random: SmallRng::seed_from_u64(SEED),
            start_ms: minutes_ago(),
        }
    }

    fn record(&mut self, index: u64, records: u64) -> anyhow::Result<ProducerRecord> {
        let partitions = u64::from(PARTITIONS.unsigned_abs());
        // A stretch of each partition at once, so that batches are as full as they can be.
        let partition = (index / STRETCH % partitions) as i32;
        let (key, value, timestamp) = match self.job {
            Job::FilterMap | Job::WindowedCount => {
                let event = serde_json::to_vec(&self.event(index))?;
                let passed = SPAN_MS as u128 * u128::from(index) / u128::from(records.max(1));
                (None, Bytes::from(event), self.start_ms + passed as i64)
            }
            Job::Restore => (
                Some(key(index)),
                Bytes::from(vec![0, 0, 0, 0, 0, 0, 0, 1]),
                self.start_ms,
            ),
            Job::Keys => (
                Some(key(index)),
                Bytes::from_static(b"value"),
                self.start_ms,
            ),
        };
        Ok(ProducerRecord {
            topic: self.topic.clone(),
            partition: Some(partition),
            timestamp: Some(timestamp),
            key,
            value: Some(value),
            headers: Vec::new(),
        })
    }

    fn event(&mut self, id: u64) -> Event {
        let random = &mut self.random;
        Event {
            id,
            user: format!("user-{:05}", random.random_range(0..USERS)),
            page: format!("/products/{:04}", random.random_range(0..5_000)),
            country: ["de", "fr", "cz", "pl", "at", "it"][random.random_range(0..6)].to_owned(),
            duration_ms: random.random_range(0..30_000),
            amount: f64::from(random.random_range(0..10_000)) / 100.0,
            session: format!("{:016x}", random.random::<u64>()),
        }
    }
}

/// Keys in no order, all different: multiplying by an odd number is one to one.
fn key(index: u64) -> Bytes {
    Bytes::from(format!(
        "{:016x}",
        index.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    ))
}

/// The begin of the minute in which the first of ten minutes of events happened; topics with old
/// records would be cleaned up while they are used.
fn minutes_ago() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_millis() as i64);
    (now - SPAN_MS) / 60_000 * 60_000
}

const PARTITIONS: i32 = 6;
const STRETCH: u64 = 64;
const USERS: u32 = 10_000;
/// Ten minutes of events.
const SPAN_MS: i64 = 600_000;
const SEED: u64 = 0x6d6f_6c64_6175;
