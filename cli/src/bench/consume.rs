//! `moldau bench consume`.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use moldau_client::{ConsumerConfig, OffsetReset, SeekTo, TopicPartition};

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
    let partitions = client
        .partition_count(&args.load.topic)
        .await?
        .context("the topic was deleted")?;
    let mut consumer = client.consumer(ConsumerConfig {
        auto_offset_reset: OffsetReset::Earliest,
        ..ConsumerConfig::default()
    });
    let assigned: Vec<TopicPartition> = (0..partitions)
        .map(|partition| TopicPartition::new(&args.load.topic, partition))
        .collect();
    consumer.assign(assigned.clone());
    for partition in &assigned {
        consumer.seek_to(partition, SeekTo::Beginning).await?;
    }
    let before = args.load.server_pid.map(Usage::of).transpose()?;
    let progress = progress_bar(args.records);
    let began = Instant::now();
    let (mut records, mut record_bytes) = (0, 0);
    let mut last_record = began;
    while records < args.records {
        for batch in &consumer.poll(Duration::from_millis(500)).await?.batches {
            for record in batch.records()? {
                let record = record?;
                records += 1;
                record_bytes += record.key.map_or(0, |key| key.len()) as u64;
                record_bytes += record.value.map_or(0, |value| value.len()) as u64;
            }
            last_record = Instant::now();
        }
        progress.set_position(records);
        if last_record.elapsed() > STALL_TIMEOUT {
            bail!(
                "topic {:?} gave {records} records and then none for {STALL_TIMEOUT:?}",
                args.load.topic
            );
        }
    }
    let took = began.elapsed();
    let after = args.load.server_pid.map(Usage::of).transpose()?;
    progress.finish_and_clear();
    consumer.close().await;
    Report::new("consume", records, record_bytes, took)
        .with_server(before, after)
        .print(output)
}
