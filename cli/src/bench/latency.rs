//! `moldau bench latency`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{BufMut, BytesMut};
use clap::Args;
use indicatif::ProgressBar;
use moldau_client::{
    Acks, Client, Consumer, ConsumerConfig, OffsetReset, Producer, ProducerConfig, ProducerRecord,
    SeekTo, TopicPartition,
};
use tokio::runtime::Handle;

use super::process::Usage;
use super::report::Report;
use super::{LoadArgs, payloads, progress_bar};
use crate::output::Output;

/// A record that is not received in this time ends the run with an error.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes at the start of each value that hold the time it was due.
const STAMP_BYTES: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct LatencyArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Records to send.
    #[arg(short = 'n', long, default_value_t = 20_000)]
    records: u64,
    /// Records a second.
    #[arg(short, long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Size of each value in bytes.
    #[arg(short, long, default_value_t = 100)]
    size: usize,
    /// Replicas that must have a record: 0, 1 or all.
    #[arg(long, default_value = "all")]
    acks: Acks,
}

/// What is sent, and how often.
#[derive(Debug, Clone)]
pub(crate) struct LatencyLoad {
    pub(crate) topic: String,
    pub(crate) records: u64,
    /// Records a second.
    pub(crate) rate: u64,
    pub(crate) size: usize,
    pub(crate) acks: Acks,
}

pub(crate) async fn run(args: LatencyArgs, output: Output) -> anyhow::Result<()> {
    let client = args.load.open().await?;
    let load = LatencyLoad {
        topic: args.load.topic.clone(),
        records: args.records,
        rate: args.rate,
        size: args.size,
        acks: args.acks,
    };
    let before = args.load.server_pid.map(Usage::of).transpose()?;
    let progress = progress_bar(args.records);
    let report = measure(&client, &load, &progress).await?;
    progress.finish_and_clear();
    let after = args.load.server_pid.map(Usage::of).transpose()?;
    report.with_server(before, after).print(output)
}

/// Sends at the fixed rate and receives everything.
///
/// # Errors
/// A record is not accepted or not received.
pub(crate) async fn measure(
    client: &Client,
    load: &LatencyLoad,
    progress: &ProgressBar,
) -> anyhow::Result<Report> {
    let consumer = open_at_end(client, &load.topic).await?;
    let began = Instant::now();
    let receiver = tokio::spawn(receive(consumer, load.records, began));
    send(client, load, began, progress).await?;
    let latencies = receiver.await.context("the receiving task failed")??;
    let took = began.elapsed();
    let size = load.size.max(STAMP_BYTES) as u64;
    Ok(Report::new("latency", load.records, load.records * size, took).with_latencies(latencies))
}

async fn open_at_end(client: &Client, topic: &str) -> anyhow::Result<Consumer> {
    let partitions = client
        .partition_count(topic)
        .await?
        .context("the topic was deleted")?;
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Latest,
        ..ConsumerConfig::default()
    });
    let assigned: Vec<TopicPartition> = (0..partitions)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    consumer.assign(assigned.clone());
    for partition in &assigned {
        consumer.seek_to(partition, SeekTo::End).await?;
    }
    Ok(consumer)
}

/// Sends at the fixed rate.
async fn send(
    client: &Client,
    load: &LatencyLoad,
    began: Instant,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let producer = client.producer(ProducerConfig {
        acks: load.acks,
        enable_idempotence: load.acks == Acks::All,
        linger_ms: 0,
        ..ProducerConfig::default()
    });
    let sender = Sender {
        producer,
        load: load.clone(),
        began,
        progress: progress.clone(),
    };
    let runtime = Handle::current();
    let producer = tokio::task::spawn_blocking(move || sender.run(&runtime))
        .await
        .context("the sending task failed")??;
    producer.flush().await?;
    producer.close().await;
    Ok(())
}

/// Sends records when they are due, from a thread of its own: the runtime's timer is exact to a
/// millisecond only, and that much would be charged to the endpoint.
struct Sender {
    producer: Producer,
    load: LatencyLoad,
    began: Instant,
    progress: ProgressBar,
}

impl Sender {
    /// Each value carries the time at which it was *due*, so that a stalled endpoint is charged for
    /// the records that had to wait behind the stall.
    fn run(self, runtime: &Handle) -> anyhow::Result<Producer> {
        let filler = payloads(self.load.size.saturating_sub(STAMP_BYTES));
        for (index, filler) in (0..self.load.records).zip(filler.iter().cycle()) {
            let due = Duration::from_secs_f64(index as f64 / self.load.rate as f64);
            std::thread::sleep(due.saturating_sub(self.began.elapsed()));
            let mut value = BytesMut::with_capacity(self.load.size.max(STAMP_BYTES));
            value.put_u64(due.as_nanos() as u64);
            value.put_slice(filler);
            let record = ProducerRecord::new(self.load.topic.clone(), None, Some(value.freeze()));
            // Waits for room in the producer's buffer, not for the acknowledgement.
            runtime.block_on(self.producer.send(record))?;
            self.progress.inc(1);
        }
        Ok(self.producer)
    }
}

async fn receive(
    mut consumer: Consumer,
    records: u64,
    began: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    let mut last_record = Instant::now();
    while (latencies.len() as u64) < records {
        for batch in &consumer.poll(Duration::from_millis(100)).await?.batches {
            for record in batch.records()? {
                let record = record?;
                let now = began.elapsed();
                let stamp = record
                    .value
                    .as_deref()
                    .and_then(|value| value.first_chunk::<STAMP_BYTES>());
                let due = stamp.map(|bytes| Duration::from_nanos(u64::from_be_bytes(*bytes)));
                latencies
                    .push(now.saturating_sub(due.context("a record that this run did not send")?));
            }
            last_record = Instant::now();
        }
        if last_record.elapsed() > RECEIVE_TIMEOUT {
            bail!(
                "received {} of {records} records and then none for {RECEIVE_TIMEOUT:?}",
                latencies.len()
            );
        }
    }
    consumer.close().await;
    Ok(latencies)
}
