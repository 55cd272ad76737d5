//! `moldau bench streams`: what a stream processing job costs, on any Kafka endpoint.
//!
//! The job runs in this process, so its CPU time and memory are the process's own. Input is loaded
//! first, and is not counted; a topic that holds it already is used as it is, so that other
//! programs can be measured on the same input (`tests/bench/streams_compare.sh` does so with
//! Kafka Streams).

mod input;
mod jobs;
mod measure;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use moldau_streams::{ProcessingGuarantee, StreamsConfig};

use self::measure::Figures;
use crate::connection::ConnectionArgs;
use crate::output::{Output, bytes, count};

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Job {
    /// Read JSON, drop half of it, make something smaller of the rest, write JSON.
    FilterMap,
    /// Count events per user and minute, behind a repartition topic.
    WindowedCount,
    /// Bring a store back from its changelog.
    Restore,
    /// Count records with keys that all differ.
    Keys,
}

#[derive(Debug, Args)]
pub(crate) struct StreamsArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The job.
    #[arg(value_enum)]
    job: Job,
    /// Records of the input; 5 million events, 10 million changelog entries, 20 million keys.
    #[arg(short = 'n', long)]
    records: Option<u64>,
    /// Keep stores in this directory; without it they are in memory.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Memory of the stores in `--state-dir`, in MiB.
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    store_memory: usize,
    /// Commit input, state and results in transactions.
    #[arg(long)]
    exactly_once: bool,
    /// Longest time between two commits; 30,000 ms, or 100 ms with `--exactly-once`.
    #[arg(long, value_name = "MS")]
    commit_interval_ms: Option<u64>,
    /// Only load the input.
    #[arg(long)]
    load_only: bool,
}

/// A run, for all that work on it.
#[derive(Debug)]
pub(super) struct Run {
    job: Job,
    records: u64,
    application_id: String,
    config: StreamsConfig,
}

pub(crate) async fn run(args: StreamsArgs, output: Output) -> anyhow::Result<()> {
    let client = args.connection.connect().await?;
    let run = args.run();
    input::load(&client, run.job, run.records).await?;
    if args.load_only {
        return Ok(());
    }
    let figures = measure::measure(&client, &run).await;
    input::clean_up(&client, &run).await?;
    print(&figures?, output)
}

impl StreamsArgs {
    fn run(&self) -> Run {
        let guarantee = match self.exactly_once {
            true => ProcessingGuarantee::ExactlyOnceV2,
            false => ProcessingGuarantee::AtLeastOnce,
        };
        // A group of its own for each run, but a changelog is found by its name.
        let application_id = match self.job {
            Job::Restore => input::RESTORED.to_owned(),
            _ => format!("moldau-bench-{:08x}", rand::random::<u32>()),
        };
        Run {
            job: self.job,
            records: self.records.unwrap_or(self.job.default_records()),
            application_id,
            config: StreamsConfig {
                processing_guarantee: guarantee,
                commit_interval_ms: self.commit_interval_ms,
                state_dir: self.state_dir.clone(),
                store_memory_bytes: self.store_memory << 20,
                ..StreamsConfig::default()
            },
        }
    }
}

impl Job {
    const fn default_records(self) -> u64 {
        match self {
            Self::FilterMap | Self::WindowedCount => 5_000_000,
            Self::Restore => 10_000_000,
            Self::Keys => 20_000_000,
        }
    }
}

fn print(figures: &Figures, output: Output) -> anyhow::Result<()> {
    if output.is_json() {
        return output.object(figures);
    }
    output.line(format_args!(
        "{} records in {:.2} s: {} records/s",
        count(figures.records),
        figures.seconds,
        count(figures.records_per_second as u64),
    ))?;
    output.line(format_args!(
        "{:.2} CPU-seconds: {:.3} per million records, {:.3} in the second half, peak memory {}",
        figures.cpu_seconds,
        figures.cpu_seconds_per_million,
        figures.warm_cpu_seconds_per_million,
        bytes(figures.peak_memory_bytes),
    ))
}
