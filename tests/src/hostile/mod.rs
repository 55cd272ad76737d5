//! Clients that mean harm, beside one that does not.
//!
//! Some send made-up and changed frames, some send a frame byte by byte and never end it, some ask
//! and never read the answers. The broker must live, answer its normal client all the time, and
//! keep its memory bounded.

mod attackers;
mod normal_client;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use moldau_client::{Client, ClientConfig};

use crate::BrokerProcess;

/// What is done to the broker.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// From which all frames follow.
    pub seed: u64,
    /// Frames that are sent at least.
    pub frames: u64,
    /// How long it takes at least.
    pub duration: Duration,
    /// The most memory that the broker may ever have, in KiB.
    pub memory_limit_kib: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Frames that were sent.
    pub frames: u64,
    /// Frames that were answered.
    pub answered: u64,
    /// Records that the normal client wrote and read back.
    pub records: u64,
    /// The longest that the normal client waited for one of them.
    pub longest_wait: Duration,
    /// The most memory that the broker had, in KiB.
    pub peak_memory_kib: u64,
}

/// What all attackers share.
#[derive(Debug, Default)]
struct Progress {
    stopped: AtomicBool,
    frames: AtomicU64,
    answered: AtomicU64,
}

impl Attack {
    /// Starts `program` (the path of `broker-process`) and attacks it.
    ///
    /// # Errors
    /// The broker ends, grows beyond the limit, or does not serve its normal client.
    pub async fn run(self, program: &Path) -> anyhow::Result<Outcome> {
        let data_dir = tempfile::tempdir()?;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let mut broker = BrokerProcess::start(program, data_dir.path(), address)?;
        let address = broker.address();
        let client = Client::connect(ClientConfig::new(&address.to_string())).await?;
        let progress = Arc::new(Progress::default());
        let attackers = attackers::start(address, self.seed, &progress);
        let outcome = self.watch(&mut broker, &client, &progress).await;
        progress.stopped.store(true, Ordering::Relaxed);
        for attacker in attackers {
            tokio::task::spawn_blocking(move || attacker.join())
                .await?
                .map_err(|_| anyhow::anyhow!("an attacker ended early"))?;
        }
        outcome
    }

    /// Lets the normal client work until the attack is over.
    async fn watch(
        self,
        broker: &mut BrokerProcess,
        client: &Client,
        progress: &Progress,
    ) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        let mut normal = normal_client::NormalClient::start(client).await?;
        while started.elapsed() < self.duration
            || progress.frames.load(Ordering::Relaxed) < self.frames
        {
            let served = tokio::time::timeout(PATIENCE, normal.round_trip()).await;
            ensure!(
                broker.is_running(),
                "the broker ended after {:?}",
                started.elapsed()
            );
            served.context("the broker leaves its normal client without an answer")??;
            let memory = broker.peak_memory_kib()?;
            ensure!(
                memory <= self.memory_limit_kib,
                "the broker had {memory} KiB of memory after {:?}",
                started.elapsed()
            );
        }
        Ok(Outcome {
            frames: progress.frames.load(Ordering::Relaxed),
            answered: progress.answered.load(Ordering::Relaxed),
            records: normal.records(),
            longest_wait: normal.longest_wait(),
            peak_memory_kib: broker.peak_memory_kib()?,
        })
    }
}

/// After this time without an answer the broker hangs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);
