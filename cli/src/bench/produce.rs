//! `moldau bench produce`.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use moldau_client::{
    Acks, Client, Compression, Delivery, Producer, ProducerConfig, ProducerRecord,
};
use tokio::sync::mpsc;

use super::process::Usage;
use super::report::Report;
use super::{LoadArgs, payloads, progress_bar};
use crate::output::Output;

/// Records between two that have their latency measured.
const LATENCY_EVERY: u64 = 64;

/// Measured deliveries that may be awaited at once.
const MAX_AWAITED: usize = 4096;

#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Records to write.
    #[arg(short = 'n', long, default_value_t = 5_000_000)]
    records: u64,
    /// Size of each value in bytes.
    #[arg(short, long, default_value_t = 100)]
    size: usize,
    /// Replicas that must have a record: 0, 1 or all.
    #[arg(long, default_value = "all")]
    acks: Acks,
    /// Compression of the batches: none, gzip, snappy, lz4 or zstd.
    #[arg(short = 'z', long, default_value = "none")]
    compression: Compression,
    /// Largest batch in bytes.
    #[arg(long, default_value_t = 256 * 1024)]
    batch_size: usize,
    /// Time that a batch waits for more records.
    #[arg(long, default_value_t = 5)]
    linger_ms: u64,
}

/// What is sent, and how.
#[derive(Debug, Clone)]
pub(crate) struct ProduceLoad {
    pub(crate) topic: String,
    pub(crate) records: u64,
    pub(crate) size: usize,
    pub(crate) acks: Acks,
    pub(crate) compression: Compression,
    pub(crate) batch_size: usize,
    pub(crate) linger_ms: u64,
}

pub(crate) async fn run(args: ProduceArgs, output: Output) -> anyhow::Result<()> {
    let client = args.load.open().await?;
    let load = ProduceLoad {
        topic: args.load.topic.clone(),
        records: args.records,
        size: args.size,
        acks: args.acks,
        compression: args.compression,
        batch_size: args.batch_size,
        linger_ms: args.linger_ms,
    };
    let before = args.load.server_pid.map(Usage::of).transpose()?;
    let progress = progress_bar(args.records);
    let report = measure(&client, &load, &progress).await?;
    progress.finish_and_clear();
    let after = args.load.server_pid.map(Usage::of).transpose()?;
    report.with_server(before, after).print(output)
}

/// Sends everything and waits until it is acknowledged.
///
/// # Errors
/// A record is not accepted.
pub(crate) async fn measure(
    client: &Client,
    load: &ProduceLoad,
    progress: &ProgressBar,
) -> anyhow::Result<Report> {
    let producer = client.producer(ProducerConfig {
        acks: load.acks,
        enable_idempotence: load.acks == Acks::All,
        compression: load.compression,
        batch_size: load.batch_size,
        linger_ms: load.linger_ms,
        ..ProducerConfig::default()
    });
    let began = Instant::now();
    let latencies = send_all(load, &producer, progress).await?;
    let took = began.elapsed();
    producer.close().await;
    let bytes = load.records * load.size as u64;
    Ok(Report::new("produce", load.records, bytes, took).with_latencies(latencies))
}

async fn send_all(
    load: &ProduceLoad,
    producer: &Producer,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Duration>> {
    let values = payloads(load.size);
    let topic = moldau_protocol::KString::from(load.topic.clone());
    let (measured, deliveries) = mpsc::channel(MAX_AWAITED);
    let latencies = tokio::spawn(await_deliveries(deliveries));
    for (index, value) in (0..load.records).zip(values.iter().cycle()) {
        let record = ProducerRecord::new(topic.clone(), None, Some(value.clone()));
        let sent = Instant::now();
        let delivery = producer
            .send(record)
            .await
            .with_context(|| format!("send record {index}"))?;
        if index % LATENCY_EVERY == 0 {
            measured
                .send((sent, delivery))
                .await
                .context("the task that measures latencies is gone")?;
            progress.set_position(index);
        }
    }
    drop(measured);
    producer
        .flush()
        .await
        .context("a record was not acknowledged")?;
    latencies
        .await
        .context("the task that measures latencies failed")?
}

async fn await_deliveries(
    mut deliveries: mpsc::Receiver<(Instant, Delivery)>,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while let Some((sent, delivery)) = deliveries.recv().await {
        delivery.await?;
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}
