//! Runs a job to the end of its input, with an eye on the process.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use moldau_client::Client;
use moldau_streams::{StreamsHandle, StreamsState};
use serde::Serialize;

use super::{Job, Run, input, jobs};
use crate::bench::process::{Usage, reset_peak_memory};

/// What a run cost. `Bench.java` prints the same figures.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// Records of the input, or of the changelog.
    pub(super) records: u64,
    /// From the start of the job to the end of its last commit; of a restore, until it is done.
    pub(super) seconds: f64,
    pub(super) records_per_second: f64,
    /// User and system time of this process in that time.
    pub(super) cpu_seconds: f64,
    pub(super) cpu_seconds_per_million: f64,
    /// The same for the second half of what is read; of a restore, for all of it.
    pub(super) warm_cpu_seconds_per_million: f64,
    pub(super) peak_memory_bytes: u64,
}

/// Time and CPU time at one moment.
#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    usage: Usage,
}

impl Moment {
    fn now() -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            usage: Usage::of(std::process::id())?,
        })
    }
}

/// Runs the job until it has read everything, and closes it.
///
/// # Errors
/// The job fails, or stops reading.
pub(super) async fn measure(client: &Client, run: &Run) -> anyhow::Result<Figures> {
    input::create_output(client, run).await?;
    reset_peak_memory(std::process::id());
    let topology = jobs::topology(run)?;
    let start = Moment::now()?;
    let handle = topology.start(client.clone(), run.config.clone()).await?;
    if run.job == Job::Restore {
        if !handle.wait_until_running(STALLED).await {
            bail!("the store was not restored after {} s", STALLED.as_secs());
        }
        let end = Moment::now()?;
        handle.close().await?;
        return Ok(figures(run, start, start, end, run.records));
    }
    let reads = jobs::reads(run);
    read(&handle, reads / 2).await?;
    let middle = Moment::now()?;
    let read_by_then = handle.metrics().records_in;
    read(&handle, reads).await?;
    handle.close().await.context("close the job")?;
    let end = Moment::now()?;
    let left = (reads - read_by_then.min(reads)) as f64 / reads.max(1) as f64;
    let warm_records = run.records as f64 * left;
    Ok(figures(run, start, middle, end, warm_records as u64))
}

/// Waits until the job has read so many records.
async fn read(handle: &StreamsHandle, reads: u64) -> anyhow::Result<()> {
    let mut progress = (0, Instant::now());
    loop {
        if handle.state() == StreamsState::Failed {
            let error = handle.error().context("the job failed without a reason")?;
            return Err(error).context("the job failed");
        }
        let read = handle.metrics().records_in;
        if read >= reads {
            return Ok(());
        }
        if read > progress.0 {
            progress = (read, Instant::now());
        } else if progress.1.elapsed() > STALLED {
            bail!("the job stays at {read} of {reads} records");
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn figures(run: &Run, start: Moment, warm: Moment, end: Moment, warm_records: u64) -> Figures {
    let seconds = (end.at - start.at).as_secs_f64();
    let cpu_seconds = end.usage.cpu_seconds - start.usage.cpu_seconds;
    let warm_cpu_seconds = end.usage.cpu_seconds - warm.usage.cpu_seconds;
    Figures {
        records: run.records,
        seconds,
        records_per_second: run.records as f64 / seconds,
        cpu_seconds,
        cpu_seconds_per_million: cpu_seconds / run.records as f64 * 1e6,
        warm_cpu_seconds_per_million: warm_cpu_seconds / warm_records as f64 * 1e6,
        peak_memory_bytes: end.usage.peak_memory_bytes,
    }
}

/// Time between two looks at how far the job is.
const LOOK: Duration = Duration::from_millis(20);
/// Without any progress for so long, something is wrong.
const STALLED: Duration = Duration::from_secs(120);
