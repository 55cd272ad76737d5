//! What runs beside requests: time-outs of groups, retention, compaction, checkpoints.

mod cleaner;
mod revival;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use moldau_core::ids::Offset;
use moldau_log::{LogDirectory, LogError};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use self::cleaner::Cleaner;
use crate::alarm::Alarm;
use crate::memory;
use crate::node::Node;
use crate::runtime::{Partition, TailCache, now_ms};

/// Starts the background tasks; each ends when the node stops.
pub(crate) fn spawn(
    tasks: &mut JoinSet<()>,
    node: &Arc<Node>,
    directory: &Arc<LogDirectory>,
    alarm: &Alarm,
) {
    let groups = Arc::clone(node);
    tasks.spawn(until_stopped(Arc::clone(node), async move {
        groups.coordinators.load_all().await;
        groups.coordinators.run_timers().await;
    }));
    let transactions = Arc::clone(node);
    tasks.spawn(until_stopped(Arc::clone(node), async move {
        transactions.transactions.load_all().await;
        transactions.transactions.run_timers().await;
    }));
    spawn_cleaners(tasks, node, directory);
    let revived = Arc::clone(node);
    tasks.spawn(until_stopped(Arc::clone(node), revival::run(revived)));
    let maintained = Arc::clone(node);
    tasks.spawn(until_stopped(Arc::clone(node), async move {
        let every = || maintained.config().log_retention_check_interval_ms;
        repeat(every, || {
            let node = Arc::clone(&maintained);
            tokio::task::spawn_blocking(move || maintain(&node))
        })
        .await;
    }));
    let (checkpointed, directory) = (Arc::clone(node), Arc::clone(directory));
    tasks.spawn(until_stopped(Arc::clone(node), async move {
        let every = || {
            checkpointed
                .config()
                .log_flush_offset_checkpoint_interval_ms
        };
        repeat(every, || {
            let (node, directory) = (Arc::clone(&checkpointed), Arc::clone(&directory));
            tokio::task::spawn_blocking(move || checkpoint_or_report(&node, &directory))
        })
        .await;
    }));
    let (watched, alarm) = (Arc::clone(node), alarm.clone());
    tasks.spawn(until_stopped(Arc::clone(node), async move {
        watched.metadata.failed().await;
        alarm.raise("the metadata log cannot be written".to_owned());
    }));
}

/// Lets the tail cache shrink when nothing is appended, and gives the memory back to the system.
pub(crate) fn shrink_tail(tasks: &mut JoinSet<()>, node: &Arc<Node>, tail: Arc<TailCache>) {
    tasks.spawn(until_stopped(Arc::clone(node), async move {
        loop {
            tokio::time::sleep(SHRINK_EVERY).await;
            let before_ms = now_ms() - TAIL_AGE_MS;
            if tail.drop_older(before_ms) > TRIM_FROM_BYTES {
                let _ = tokio::task::spawn_blocking(memory::give_back).await;
            }
        }
    }));
}

/// How often old batches are looked for in the tail cache.
const SHRINK_EVERY: Duration = Duration::from_secs(20);

/// Batches older than this are read from the files.
const TAIL_AGE_MS: i64 = 60_000;

/// Less memory than this is not worth the work of giving it back.
const TRIM_FROM_BYTES: usize = 4 * 1024 * 1024;

/// How soon a changed interval is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Compacts until the node stops. What runs then is waited for: it ends soon, and holds files.
fn spawn_cleaners(tasks: &mut JoinSet<()>, node: &Arc<Node>, directory: &Arc<LogDirectory>) {
    let cleaner = Arc::new(Cleaner::open(Arc::clone(node), Arc::clone(directory)));
    for _ in 0..node.config().cleaner_threads {
        let (node, cleaner) = (Arc::clone(node), Arc::clone(&cleaner));
        tasks.spawn(async move {
            let mut stopping = node.stopping();
            loop {
                let backoff = Duration::from_millis(node.config().cleaner_backoff_ms.max(1));
                if tokio::time::timeout(backoff, stopping.wait()).await.is_ok() {
                    return;
                }
                let cleaner = Arc::clone(&cleaner);
                let round = tokio::task::spawn_blocking(move || cleaner.run_once());
                if let Err(error) = round.await {
                    error!(%error, "compaction ended early");
                }
            }
        });
    }
}

async fn until_stopped(node: Arc<Node>, work: impl Future<Output = ()>) {
    let mut stopping = node.stopping();
    tokio::select! {
        () = work => {}
        () = stopping.wait() => {}
    }
}

/// Runs `work` again and again, `every_ms` apart; a change of that setting counts from the next look.
async fn repeat(every_ms: impl Fn() -> u64, work: impl Fn() -> tokio::task::JoinHandle<()>) {
    loop {
        let began = tokio::time::Instant::now();
        loop {
            let due = began + Duration::from_millis(every_ms().max(1));
            let now = tokio::time::Instant::now();
            if now >= due {
                break;
            }
            tokio::time::sleep((due - now).min(LOOK_EVERY)).await;
        }
        if let Err(error) = work().await {
            error!(%error, "background work ended early");
        }
    }
}

/// Retention, removal of deleted files, and expiry of idle producers. Blocks on files.
fn maintain(node: &Node) {
    let now_ms = now_ms();
    for partition in node.partitions.all() {
        if let Err(error) =
            maintain_partition(&partition, now_ms, node.config().producer_id_expiration_ms)
        {
            warn!(topic = %partition.topic, partition = partition.index, %error, "retention failed");
        }
    }
}

fn maintain_partition(
    partition: &Partition,
    now_ms: i64,
    expiration_ms: i64,
) -> Result<(), LogError> {
    let mut guard = partition.lock();
    guard.leader.producers_mut().expire(now_ms, expiration_ms);
    let high_watermark = guard.leader.high_watermark().0;
    let deletes = match &guard.log {
        None => return Ok(()),
        Some(log) => log.has_deletable(now_ms, high_watermark)?,
    };
    if deletes {
        // Not while the writer waits for the lock.
        drop(guard);
        go_on_if_full(partition, partition.sync_now().map(|_| ()))?;
        guard = partition.lock();
    }
    let state = &mut *guard;
    let Some(log) = &mut state.log else {
        return Ok(());
    };
    if deletes {
        // The batches of idempotent producers go; a restart must still know their repetitions.
        let snapshot = state.leader.producers().to_snapshot();
        let written = log.write_producer_snapshot(log.log_end_offset(), &snapshot);
        go_on_if_full(partition, written)?;
    }
    let retention = log.apply_retention(now_ms, high_watermark)?;
    if retention.deleted_segments > 0 {
        if let Err(rejection) = state
            .leader
            .advance_log_start(Offset(retention.log_start_offset))
        {
            error!(topic = %partition.topic, partition = partition.index, reason = %rejection.message, "log start is wrong");
        }
        partition.publish(state);
    }
    if let Some(log) = &mut state.log {
        log.remove_deleted(now_ms)?;
    }
    Ok(())
}

/// Retention is what makes room on a full disk, so that must not hold it up.
fn go_on_if_full(partition: &Partition, done: Result<(), LogError>) -> Result<(), LogError> {
    match done {
        Err(error @ LogError::DiskFull { .. }) => {
            warn!(topic = %partition.topic, partition = partition.index, %error, "retention goes on without a producer snapshot");
            Ok(())
        }
        done => done,
    }
}

fn checkpoint_or_report(node: &Node, directory: &LogDirectory) {
    match checkpoint(node, directory) {
        Ok(()) => debug!("checkpoint written"),
        Err(error) => error!(%error, "checkpoint failed"),
    }
}

/// Writes down how far each log is on the disk, so that recovery after a crash begins there. Blocks on files.
fn checkpoint(node: &Node, directory: &LogDirectory) -> Result<(), LogError> {
    let mut recovery_points = BTreeMap::new();
    let mut starts = BTreeMap::new();
    for partition in node.partitions.all() {
        if let Some(durable) = partition.sync_now()? {
            recovery_points.insert(partition.name(), durable);
            starts.insert(partition.name(), partition.log_start_offset());
        }
    }
    directory.write_recovery_points(&recovery_points)?;
    directory.write_log_start_offsets(&starts)
}
