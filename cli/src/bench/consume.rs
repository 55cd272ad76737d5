//! `moldau bench consume`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use indicatif::ProgressBar;
use moldau_client::{Client, Consumer, ConsumerConfig, OffsetReset, SeekTo, TopicPartition};

use super::process::Usage;
use super::report::Report;
use super::{LoadArgs, progress_bar};
use crate::output::Output;

/// A topic that gives nothing for this long ends the run with an error.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct ConsumeArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Records to read, over all partitions.
    #[arg(short = 'n', long, default_value_t = 5_000_000)]
    records: u64,
}

pub(crate) async fn run(args: ConsumeArgs, output: Output) -> anyhow::Result<()> {
    let client = args.load.open().await?;
    let before = args.load.server_pid.map(Usage::of).transpose()?;
    let progress = progress_bar(args.records);
    let report = measure(&client, &args.load.topic, args.records, &progress).await?;
    progress.finish_and_clear();
    let after = args.load.server_pid.map(Usage::of).transpose()?;
    report.with_server(before, after).print(output)
}

/// Reads `records` records of a topic from its start.
///
/// # Errors
/// The topic cannot be read, or holds fewer records.
pub(crate) async fn measure(
    client: &Client,
    topic: &str,
    records: u64,
    progress: &ProgressBar,
) -> anyhow::Result<Report> {
    let mut consumer = at_start(client, topic).await?;
    let began = Instant::now();
    let (mut read, mut read_bytes) = (0, 0);
    let mut last_record = began;
    while read < records {
        for batch in &consumer.poll(Duration::from_millis(500)).await?.batches {
            for record in batch.records()? {
                let record = record?;
                read += 1;
                read_bytes += record.key.map_or(0, |key| key.len()) as u64;
                read_bytes += record.value.map_or(0, |value| value.len()) as u64;
            }
            last_record = Instant::now();
        }
        progress.set_position(read);
        if last_record.elapsed() > STALL_TIMEOUT {
            bail!("topic {topic:?} gave {read} records and then none for {STALL_TIMEOUT:?}");
        }
    }
    let took = began.elapsed();
    consumer.close().await;
    Ok(Report::new("consume", read, read_bytes, took))
}

async fn at_start(client: &Client, topic: &str) -> anyhow::Result<Consumer> {
    let partitions = client
        .partition_count(topic)
        .await?
        .context("the topic was deleted")?;
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    let assigned: Vec<TopicPartition> = (0..partitions)
        .map(|partition| TopicPartition::new(topic, partition))
        .collect();
    consumer.assign(assigned.clone());
    for partition in &assigned {
        consumer.seek_to(partition, SeekTo::Beginning).await?;
    }
    Ok(consumer)
}
