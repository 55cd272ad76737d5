//! Group commit: the threads that bring appended batches to the disk.
//!
//! A writer puts a partition into the queue when core says that a sync is due. A sync thread takes it, calls
//! `fdatasync` without holding the partition's lock, and then tells core up to where the log is durable; core
//! names the appends that are committed by this. What is appended meanwhile is covered by the next sync.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use moldau_core::ids::Offset;
use moldau_core::partition::NextSync;
use moldau_protocol::ErrorCode;
use tracing::{error, warn};

use super::partition::{Partition, WriterState};
use super::{lock, now_ms};
use crate::alarm::Alarm;

/// The sync threads and what waits for them.
///
/// Bound: each partition stands in `due` and in `later` at most once.
#[derive(Debug, Default)]
pub(crate) struct Syncs {
    queue: Mutex<Queue>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Queue {
    due: VecDeque<Arc<Partition>>,
    /// Partitions that are flushed by interval, and when, in milliseconds.
    later: Vec<(i64, Weak<Partition>)>,
    stopped: bool,
}

impl Syncs {
    /// Starts `threads` sync threads.
    ///
    /// # Errors
    ///
    /// When the system gives no more threads.
    pub(crate) fn start(threads: usize, alarm: &Alarm) -> io::Result<Arc<Self>> {
        let syncs = Arc::new(Self::default());
        for index in 0..threads {
            let shared = Arc::clone(&syncs);
            let alarm = alarm.clone();
            let thread = thread::Builder::new()
                .name(format!("moldau-sync-{index}"))
                .spawn(move || {
                    let _guard = alarm.guard();
                    shared.run();
                })?;
            lock(&syncs.threads).push(thread);
        }
        Ok(syncs)
    }

    /// Queues the partition if core asks for a sync. Called by the writer, which holds the lock.
    ///
    /// Not one that is closed: nothing of it gets durable any more, so core would ask for ever.
    pub(super) fn after_write(&self, partition: &Arc<Partition>, state: &mut WriterState) {
        if state.sync_queued || partition.is_closed() {
            return;
        }
        match state.leader.next_sync() {
            NextSync::None => return,
            NextSync::Now => lock(&self.queue).due.push_back(Arc::clone(partition)),
            NextSync::At(when) => lock(&self.queue)
                .later
                .push((when, Arc::downgrade(partition))),
        }
        state.sync_queued = true;
        self.changed.notify_one();
    }

    /// Lets the threads finish what is queued, and waits for them.
    pub(crate) fn stop(&self) {
        self.stop_soon();
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }

    /// Lets the threads finish what is queued and end by themselves.
    pub(crate) fn stop_soon(&self) {
        lock(&self.queue).stopped = true;
        self.changed.notify_all();
    }

    fn run(&self) {
        while let Some(partition) = self.next() {
            sync_partition(self, &partition);
        }
    }

    /// The next partition to sync; `None` when stopped and nothing is left.
    fn next(&self) -> Option<Arc<Partition>> {
        let mut queue = lock(&self.queue);
        loop {
            let wait = queue.take_due(now_ms());
            if let Some(partition) = queue.due.pop_front() {
                return Some(partition);
            }
            if queue.stopped {
                return None;
            }
            queue = match wait {
                Some(wait) => {
                    self.changed
                        .wait_timeout(queue, wait)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Queue {
    /// Moves what is due from `later`; tells how long the next one has.
    fn take_due(&mut self, now_ms: i64) -> Option<Duration> {
        let mut next = None;
        let due = &mut self.due;
        let stopped = self.stopped;
        self.later.retain(|(when, partition)| {
            if *when <= now_ms || stopped {
                due.extend(partition.upgrade());
                return false;
            }
            next = Some(next.map_or(*when, |next: i64| next.min(*when)));
            true
        });
        next.map(|when| Duration::from_millis(u64::try_from(when - now_ms).unwrap_or(0)))
    }
}

fn sync_partition(syncs: &Syncs, partition: &Arc<Partition>) {
    // Cleared first: an append from here on queues the partition again.
    partition.lock().sync_queued = false;
    let Some(handle) = partition.sync_handle() else {
        return;
    };
    match handle.sync() {
        Ok(durable) => {
            let mut state = partition.lock();
            let progress = state.leader.synced(Offset(durable), now_ms());
            partition.progress(&mut state, &progress);
            syncs.after_write(partition, &mut state);
        }
        Err(error) if !log_has_failed(partition) && !lock(&syncs.queue).stopped => {
            // What was appended stays and will be committed: to refuse it now would be a lie.
            warn!(topic = %partition.topic, partition = partition.index, %error, "sync failed, trying again");
            let mut state = partition.lock();
            if !std::mem::replace(&mut state.sync_queued, true) {
                let again = now_ms() + RETRY_MS;
                lock(&syncs.queue)
                    .later
                    .push((again, Arc::downgrade(partition)));
                syncs.changed.notify_one();
            }
        }
        Err(error) => {
            // After a failed fdatasync the kernel may have dropped the pages: the log refuses appends from now on,
            // but what is committed can still be read.
            error!(topic = %partition.topic, partition = partition.index, %error, "sync failed, partition takes no more appends");
            partition.fail_waiting(&mut partition.lock(), ErrorCode::KafkaStorageError);
        }
    }
}

/// Whether the log takes no more appends; any other trouble passes.
fn log_has_failed(partition: &Partition) -> bool {
    let state = partition.lock();
    state.log.as_ref().is_none_or(|log| log.failure().is_some())
}

/// How long a sync waits after one that found, for example, no room for a checkpoint.
const RETRY_MS: i64 = 250;
