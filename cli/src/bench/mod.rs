//! `moldau bench`: the same loads on any Kafka endpoint, with the server's CPU and memory beside them.
//!
//! Figures depend on the machine; compare endpoints in one run, alternating, and quote ratios.

mod compare;
mod consume;
mod latency;
mod process;
mod produce;
mod report;
mod streams;

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use moldau_client::Client;
use moldau_client::admin::NewTopic;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::connection::ConnectionArgs;
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    load: Load,
}

#[derive(Debug, Subcommand)]
enum Load {
    /// Write records as fast as the endpoint takes them.
    Produce(produce::ProduceArgs),
    /// Read a topic from its start as fast as the endpoint gives it.
    Consume(consume::ConsumeArgs),
    /// Send records at a fixed rate and time each from send to receipt.
    Latency(latency::LatencyArgs),
    /// Run many loads on two endpoints in turn, and print ratios.
    Compare(compare::CompareArgs),
    /// Run a stream processing job, and tell what it costs.
    Streams(streams::StreamsArgs),
}

/// What all loads share.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Topic to use; created if missing.
    #[arg(short, long, default_value = "moldau-bench")]
    topic: String,
    /// Partitions of the topic if it is created.
    #[arg(short, long, default_value_t = 6)]
    partitions: i32,
    /// Process id of the server on this machine, for its CPU-seconds and peak memory.
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
}

/// Runs `moldau bench …`.
///
/// # Errors
/// The endpoint cannot be reached or refuses the load.
pub(crate) async fn run(args: BenchArgs, output: Output) -> anyhow::Result<()> {
    match args.load {
        Load::Produce(args) => produce::run(args, output).await,
        Load::Consume(args) => consume::run(args, output).await,
        Load::Latency(args) => latency::run(args, output).await,
        Load::Compare(args) => compare::run(args, output).await,
        Load::Streams(args) => streams::run(args, output).await,
    }
}

impl LoadArgs {
    /// Connects and makes sure that the topic exists.
    async fn open(&self) -> anyhow::Result<Client> {
        let client = self.connection.connect().await?;
        let topic = NewTopic {
            name: self.topic.clone(),
            partitions: self.partitions,
            replication_factor: -1,
            configs: Vec::new(),
        };
        client
            .admin()
            .ensure_topic(topic)
            .await
            .with_context(|| format!("create topic {:?}", self.topic))?;
        Ok(client)
    }
}

/// Values of one size that hardly compress, to be sent in turn.
fn payloads(size: usize) -> Vec<Bytes> {
    const DIFFERENT: usize = 64;
    /// Fixed, so that each run sends the same bytes.
    const SEED: u64 = 0x6d6f_6c64_6175;
    let mut random = SmallRng::seed_from_u64(SEED);
    (0..DIFFERENT)
        .map(|_| {
            (0..size)
                .map(|_| random.random_range(b'a'..=b'z'))
                .collect::<Vec<u8>>()
                .into()
        })
        .collect()
}

/// A bar on standard error with rate and time left; hidden where nobody watches.
fn progress_bar(records: u64) -> ProgressBar {
    let progress = ProgressBar::new(records);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} {per_sec} {eta} left")
    {
        progress.set_style(style);
    }
    progress.enable_steady_tick(Duration::from_millis(250));
    progress
}
