//! `moldau produce`: lines of standard input become records.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use moldau_client::{Acks, Compression, Producer, ProducerConfig, ProducerRecord};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::connection::ConnectionArgs;
use crate::output::{Output, count};

#[derive(Debug, Args)]
pub(crate) struct ProduceArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Topic to write to.
    topic: String,
    /// Partition to write to; chosen by the key if not given.
    #[arg(short, long)]
    partition: Option<i32>,
    /// Separator between key and value in each line; without it a line is a value.
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// Compression of the batches: none, gzip, snappy, lz4 or zstd.
    #[arg(short = 'z', long, default_value = "none")]
    compression: Compression,
    /// How many replicas must have a record: 0, 1 or all.
    #[arg(long, default_value = "all")]
    acks: Acks,
}

/// Runs `moldau produce …` until standard input ends.
///
/// # Errors
/// The topic cannot be written to; the number of records that were acknowledged is in the text.
pub(crate) async fn run(args: ProduceArgs, output: Output) -> anyhow::Result<()> {
    let client = args.connection.connect().await?;
    let producer = client.producer(ProducerConfig {
        acks: args.acks,
        enable_idempotence: args.acks == Acks::All,
        compression: args.compression,
        linger_ms: 5,
        ..ProducerConfig::default()
    });
    let sent = send_lines(&args, &producer).await?;
    producer
        .flush()
        .await
        .with_context(|| format!("write to topic {:?}", args.topic))?;
    producer.close().await;
    if output.is_json() {
        return output.object(&json!({ "topic": args.topic, "records": sent }));
    }
    if std::io::stderr().is_terminal() {
        eprintln!("{} records written to {}", count(sent), args.topic);
    }
    Ok(())
}

async fn send_lines(args: &ProduceArgs, producer: &Producer) -> anyhow::Result<u64> {
    let progress = progress_bar();
    let mut lines = BufReader::with_capacity(1 << 16, tokio::io::stdin()).split(b'\n');
    let mut sent = 0;
    while let Some(mut line) = lines.next_segment().await.context("read standard input")? {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let (key, value) = split(&Bytes::from(line), args.key_separator.as_deref());
        let mut record = ProducerRecord::new(args.topic.clone(), key, Some(value));
        record.partition = args.partition;
        producer
            .send(record)
            .await
            .with_context(|| format!("write to topic {:?}", args.topic))?;
        sent += 1;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(sent)
}

/// Shown only where a person watches, and not when the lines are being typed.
fn progress_bar() -> ProgressBar {
    if std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}") {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(200));
    progress
}

fn split(line: &Bytes, separator: Option<&str>) -> (Option<Bytes>, Bytes) {
    let Some(separator) = separator.filter(|separator| !separator.is_empty()) else {
        return (None, line.clone());
    };
    match line
        .windows(separator.len())
        .position(|window| window == separator.as_bytes())
    {
        Some(at) => (Some(line.slice(..at)), line.slice(at + separator.len()..)),
        None => (None, line.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        let line = Bytes::from_static(b"user::click::1");
        assert_eq!(
            split(&line, Some("::")),
            (
                Some(Bytes::from_static(b"user")),
                Bytes::from_static(b"click::1")
            )
        );
    }

    #[test]
    fn a_line_without_the_separator_is_a_value_without_a_key() {
        let line = Bytes::from_static(b"plain");
        assert_eq!(split(&line, Some(":")), (None, line.clone()));
        assert_eq!(split(&line, None), (None, line.clone()));
    }
}
