//! The commit cycle of a thread, and its way back when a commit fails.

use std::time::{Duration, Instant};

use moldau_client::{KString, OffsetAndMetadata};

use super::thread::{CLOSE_LIMIT, StreamThread, wall_clock_ms};
use super::writer::Committed;
use crate::runtime::error::StreamsError;

impl StreamThread {
    pub(super) fn commit_if_due(&mut self) -> Result<(), StreamsError> {
        let interval = Duration::from_millis(self.core.config.effective_commit_interval_ms());
        let requested = self.tasks.running().any(|task| task.commit_requested());
        if requested || self.last_commit.elapsed() >= interval {
            self.commit()?;
        }
        Ok(())
    }

    /// Flushes programs; then makes outputs, changelogs and offsets last; then lets the stores
    /// keep what they have, with the changelog offsets that belong to it.
    pub(super) fn commit(&mut self) -> Result<(), StreamsError> {
        let start = Instant::now();
        self.last_commit = start;
        let now = wall_clock_ms();
        let mut offsets = Vec::new();
        let mut is_something = self.writer.is_open();
        for task in self.tasks.running() {
            task.flush(now)?;
            task.take_outputs(&mut self.outputs);
            offsets.extend(task.offsets());
            // At once, so that not all of it waits in memory at the same time.
            is_something |= !self.outputs.is_empty();
            let (writer, outputs) = (&mut self.writer, &mut self.outputs);
            self.core.runtime.block_on(writer.send(outputs))?;
        }
        offsets.retain(|offset| {
            let known = self.tasks.committed.get(&offset.name);
            known.is_none_or(|(at, metadata)| *at != offset.offset || *metadata != offset.metadata)
        });
        is_something |= !offsets.is_empty();
        let changed: Vec<_> = offsets
            .iter()
            .map(|offset| {
                let metadata = OffsetAndMetadata {
                    metadata: KString::copy_from(&offset.metadata),
                    ..OffsetAndMetadata::new(offset.offset)
                };
                (offset.name.clone(), metadata)
            })
            .collect();
        let (writer, consumer) = (&mut self.writer, &mut self.consumer);
        let (committed, positions) = self.core.runtime.block_on(async {
            let committed = writer.commit(consumer, &changed).await?;
            match committed {
                Committed::Yes => Ok((committed, writer.changelog_positions().await)),
                Committed::Later => Ok((committed, std::collections::BTreeMap::new())),
            }
        })?;
        if committed == Committed::Later {
            return Ok(());
        }
        for offset in offsets {
            let place = (offset.offset, offset.metadata);
            self.tasks.committed.insert(offset.name, place);
        }
        for task in self.tasks.running() {
            task.committed(|name| positions.get(name).copied())?;
        }
        if is_something {
            self.attempts = 0;
            self.migrations = 0;
            self.core.shared.counters.committed();
            self.reporter.committed(start);
        }
        self.purge_if_due();
        Ok(())
    }

    /// Goes on after an error that leaves the thread itself whole; gives back any other.
    pub(super) fn recover(&mut self, error: StreamsError) -> Result<(), StreamsError> {
        let counters = &self.core.shared.counters;
        let mut wait = RECOVERY_WAIT;
        match &error {
            StreamsError::TaskMigrated { .. } => {
                tracing::warn!(%error, "joining the group again");
                counters.task_migrated();
                // Each time all others have to agree anew.
                wait *= 1 << self.migrations.min(MAX_DOUBLINGS);
                self.migrations += 1;
                self.rejoin()?;
            }
            StreamsError::TaskCorrupted { .. } if self.attempts < MAX_ATTEMPTS => {
                tracing::warn!(%error, "going back to what is committed");
                counters.task_corrupted();
                self.attempts += 1;
                self.revive()?;
            }
            _ => return Err(error),
        }
        let core = &self.core;
        core.runtime.block_on(core.shared.wait(wait));
        Ok(())
    }

    /// Gives up all tasks without a commit: they belong to somebody else by now.
    pub(super) fn abandon(&mut self) -> Result<(), StreamsError> {
        self.core.runtime.block_on(self.writer.abort());
        self.outputs.clear();
        self.is_assigned = false;
        self.tasks.lose()
    }

    /// Becomes a new member of the group.
    fn rejoin(&mut self) -> Result<(), StreamsError> {
        self.abandon()?;
        let runtime = self.core.runtime.clone();
        let _entered = runtime.enter();
        let consumer = self.core.consumer(self.index, &self.plan)?;
        let old = std::mem::replace(&mut self.consumer, consumer);
        let closed = tokio::time::timeout(CLOSE_LIMIT, old.close());
        if runtime.block_on(closed).is_err() {
            tracing::warn!("leaving the group took too long");
        }
        Ok(())
    }

    /// Starts all tasks anew from what is committed.
    fn revive(&mut self) -> Result<(), StreamsError> {
        let runtime = self.core.runtime.clone();
        self.outputs.clear();
        runtime.block_on(async {
            self.writer.abort().await;
            // Committed offsets are not known before the last transaction is over.
            if let Err(error) = self.writer.prepare().await {
                tracing::warn!(%error, "the next round tries again");
            }
            self.tasks.revive(&mut self.consumer).await
        })
    }

    /// Deletes what is done from repartition topics, in the background; they keep records for
    /// ever otherwise.
    fn purge_if_due(&mut self) {
        let interval = Duration::from_millis(self.core.config.repartition_purge_interval_ms);
        if self.last_purge.elapsed() < interval {
            return;
        }
        self.last_purge = Instant::now();
        let done = self.tasks.purgeable();
        if done.is_empty() {
            return;
        }
        let admin = self.core.client.admin();
        self.core.runtime.spawn(async move {
            if let Err(error) = admin.delete_records(&done).await {
                tracing::warn!(%error, "repartition topics could not be purged, they keep growing");
            }
        });
    }
}

/// How often in a row work is done again before the error counts as one that will not pass.
const MAX_ATTEMPTS: u32 = 10;
/// Of the wait before the next attempt to be a member.
const MAX_DOUBLINGS: u32 = 6;
const RECOVERY_WAIT: Duration = Duration::from_millis(100);
