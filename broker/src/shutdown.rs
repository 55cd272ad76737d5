//! Closing every file of a broker so that the next start need not recover anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use moldau_log::{LogDirectory, LogError, TopicPartition};
use moldau_protocol::ErrorCode;
use tracing::warn;

use crate::metadata::metadata_partition;
use crate::node::Node;
use crate::runtime::{Partition, Syncs};

/// Finishes what is queued and closes all logs. Blocks on files.
///
/// # Errors
///
/// The first log or checkpoint that cannot be written; the directory is then not marked clean.
pub(crate) fn close(node: &Node, syncs: &Syncs, directory: &LogDirectory) -> Result<(), LogError> {
    node.writers.stop();
    syncs.stop();
    let mut ends = close_partitions(&node.partitions.all())?;
    node.metadata.close()?;
    ends.insert(
        metadata_partition(),
        Ends {
            start: 0,
            end: node.metadata.version(),
        },
    );
    let column = |pick: fn(&Ends) -> i64| {
        ends.iter()
            .map(|(name, ends)| (name.clone(), pick(ends)))
            .collect()
    };
    directory.write_recovery_points(&column(|ends| ends.end))?;
    directory.write_log_start_offsets(&column(|ends| ends.start))?;
    directory.write_high_watermarks(&column(|ends| ends.end))?;
    directory.mark_clean_shutdown()
}

#[derive(Clone, Copy)]
struct Ends {
    start: i64,
    end: i64,
}

/// Closes the logs in parallel, because each waits for the disk.
fn close_partitions(
    partitions: &[Arc<Partition>],
) -> Result<BTreeMap<TopicPartition, Ends>, LogError> {
    let queue = Mutex::new(partitions.iter());
    let worker = || {
        let mut closed = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(partition) = next else {
                return Ok(closed);
            };
            closed.extend(close_one(partition)?);
        }
    };
    let results: Vec<Result<Vec<_>, LogError>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..CLOSE_THREADS.min(partitions.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Ok(Vec::new())))
            .collect()
    });
    let mut ends = BTreeMap::new();
    for result in results {
        ends.extend(result?);
    }
    Ok(ends)
}

/// Closes one partition; `None` when it has no files.
fn close_one(partition: &Partition) -> Result<Option<(TopicPartition, Ends)>, LogError> {
    let mut state = partition.lock();
    partition.close(&mut state, ErrorCode::NotLeaderOrFollower);
    let Some(log) = state.log.take() else {
        return Ok(None);
    };
    let ends = Ends {
        start: log.log_start_offset(),
        end: log.log_end_offset(),
    };
    if !log.is_as_closed()
        && let Err(error) =
            log.write_producer_snapshot(ends.end, &state.leader.producers().to_snapshot())
    {
        warn!(topic = %partition.topic, partition = partition.index, %error, "cannot write producer snapshot");
    }
    log.close()?;
    Ok(Some((partition.name(), ends)))
}

/// Logs that are closed at the same time.
const CLOSE_THREADS: usize = 8;
