//! `moldau bench produce`.

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use moldau_client::{Acks, Compression, Delivery, Producer, ProducerConfig, ProducerRecord};
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

pub(crate) async fn run(args: ProduceArgs, output: Output) -> anyhow::Result<()> {
    let client = args.load.open().await?;
    let producer = client.producer(ProducerConfig {
        acks: args.acks,
        enable_idempotence: args.acks == Acks::All,
        compression: args.compression,
        batch_size: args.batch_size,
        linger_ms: args.linger_ms,
        ..ProducerConfig::default()
    });
    let before = args.load.server_pid.map(Usage::of).transpose()?;
    let began = Instant::now();
    let latencies = send_all(&args, &producer).await?;
    let took = began.elapsed();
    let after = args.load.server_pid.map(Usage::of).transpose()?;
    producer.close().await;
    Report::new(
        "produce",
        args.records,
        args.records * args.size as u64,
        took,
    )
    .with_latencies(latencies)
    .with_server(before, after)
    .print(output)
}

async fn send_all(args: &ProduceArgs, producer: &Producer) -> anyhow::Result<Vec<Duration>> {
    let values = payloads(args.size);
    let topic = moldau_protocol::KString::from(args.load.topic.clone());
    let (measured, deliveries) = mpsc::channel(MAX_AWAITED);
    let latencies = tokio::spawn(await_deliveries(deliveries));
    let progress = progress_bar(args.records);
    for (index, value) in (0..args.records).zip(values.iter().cycle()) {
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
    progress.finish_and_clear();
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
