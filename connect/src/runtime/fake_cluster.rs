//! A cluster in memory that dies at a chosen step, for tests of what a kill leaves behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use moldau_client::{ClientError, KString, TopicPartition};
use tokio::sync::watch;

use super::cluster::{Cluster, Committed, OutRecord, Placed, Polled, Reader, TopicKind, Writer};
use super::error::ConnectError;
use crate::config::connector::ReadFrom;
use crate::formats::StoredRecord;

/// What stays when a process dies.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) topics: BTreeMap<String, Vec<Vec<StoredRecord>>>,
    pub(crate) committed: BTreeMap<TopicPartition, Committed>,
}

/// Dies at a step: before it, or after it without saying so.
#[derive(Debug)]
pub(crate) struct Fuse {
    left: Option<u32>,
    after: bool,
}

/// A process that works with a [`Disk`].
#[derive(Debug, Clone)]
pub(crate) struct FakeCluster {
    disk: Arc<Mutex<Disk>>,
    fuse: Arc<Mutex<Fuse>>,
    /// Set when a reader finds nothing more, so that a test ends.
    close: Arc<watch::Sender<bool>>,
    partitions: usize,
    records_per_poll: usize,
}

impl FakeCluster {
    /// A process that dies at step `dies_at`; `after` decides whether that step still happens.
    pub(crate) fn start(disk: &Arc<Mutex<Disk>>, dies_at: Option<u32>, after: bool) -> Self {
        Self {
            disk: disk.clone(),
            fuse: Arc::new(Mutex::new(Fuse {
                left: dies_at,
                after,
            })),
            close: Arc::new(watch::channel(false).0),
            partitions: 2,
            records_per_poll: 3,
        }
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.close.subscribe()
    }

    /// Runs one step of the outside world; `None` when the process died with it.
    pub(crate) fn step<T>(&self, work: impl FnOnce(&mut Disk) -> T) -> Option<T> {
        let mut fuse = self.fuse.lock().expect("no panic");
        let dies = fuse.left == Some(0);
        if let Some(left) = &mut fuse.left {
            *left = left.saturating_sub(1);
        }
        let happens = !dies || fuse.after;
        if dies {
            // Once dead, nothing happens any more.
            fuse.after = false;
        }
        let result = happens.then(|| work(&mut self.disk()));
        if dies { None } else { result }
    }

    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().expect("no panic")
    }
}

pub(crate) fn killed() -> ClientError {
    ClientError::Closed {
        object: "killed process",
    }
}

impl Disk {
    pub(crate) fn append(&mut self, topic: &str, partitions: usize, record: OutRecord) -> Placed {
        let logs = self
            .topics
            .entry(topic.to_owned())
            .or_insert_with(|| vec![Vec::new(); partitions]);
        // Records without a key are spread, and so are the lines of one file.
        let total: usize = logs.iter().map(Vec::len).sum();
        let partition = total % logs.len();
        let log = &mut logs[partition];
        let offset = i64::try_from(log.len()).expect("few records");
        let partition = i32::try_from(partition).expect("few partitions");
        log.push(StoredRecord {
            topic: KString::copy_from(topic),
            partition,
            offset,
            timestamp: record.timestamp.unwrap_or(0),
            key: record.key,
            value: record.value,
            headers: record.headers,
        });
        Placed {
            partition,
            offset: Some(offset),
        }
    }

    pub(crate) fn values(&self, topic: &str) -> Vec<String> {
        let records = self.topics.get(topic).into_iter().flatten().flatten();
        let value = |record: &StoredRecord| {
            String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
        };
        let mut values: Vec<_> = records.map(value).collect();
        values.sort();
        values
    }
}

impl Cluster for FakeCluster {
    type Writer = Self;
    type Reader = FakeReader;

    async fn ensure_topic(&self, name: &str, kind: TopicKind) -> Result<(), ConnectError> {
        let partitions = if kind == TopicKind::Compacted {
            1
        } else {
            self.partitions
        };
        let logs = || vec![Vec::new(); partitions];
        self.disk()
            .topics
            .entry(name.to_owned())
            .or_insert_with(logs);
        Ok(())
    }

    async fn offsets(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>, ConnectError> {
        let disk = self.disk();
        let logs = disk
            .topics
            .get(topic)
            .map(Vec::as_slice)
            .unwrap_or_default();
        Ok((0..)
            .zip(
                logs.iter()
                    .map(|log| (0, i64::try_from(log.len()).expect("few"))),
            )
            .collect())
    }

    async fn read(
        &self,
        topic: &str,
        ranges: BTreeMap<i32, (i64, i64)>,
        visit: impl FnMut(StoredRecord) + Send,
    ) -> Result<(), ConnectError> {
        let records: Vec<_> = self.disk().topics[topic]
            .iter()
            .flatten()
            .cloned()
            .collect();
        let inside = |record: &StoredRecord| {
            ranges
                .get(&record.partition)
                .is_some_and(|(start, end)| (*start..*end).contains(&record.offset))
        };
        records.into_iter().filter(inside).for_each(visit);
        Ok(())
    }

    fn writer(&self) -> Self {
        self.clone()
    }

    fn reader(&self, _: &str, topics: &[String], _: ReadFrom) -> Result<FakeReader, ConnectError> {
        let mut positions = BTreeMap::new();
        for topic in topics {
            for partition in (0..).take(self.partitions) {
                positions.insert(TopicPartition::new(topic, partition), 0);
            }
        }
        Ok(FakeReader {
            cluster: self.clone(),
            positions,
            assigned: false,
            idle_polls: 0,
        })
    }
}

impl Writer for FakeCluster {
    /// Each record is a step, so a kill leaves the first ones behind.
    async fn write(&self, records: Vec<OutRecord>) -> Vec<Result<Placed, ClientError>> {
        let partitions = self.partitions;
        let write = |record: OutRecord| {
            let topic = record.topic.clone();
            self.step(|disk| disk.append(&topic, partitions, record))
                .ok_or_else(killed)
        };
        records.into_iter().map(write).collect()
    }

    async fn close(self) {}
}

#[derive(Debug)]
pub(crate) struct FakeReader {
    cluster: FakeCluster,
    positions: BTreeMap<TopicPartition, i64>,
    assigned: bool,
    idle_polls: u32,
}

impl Reader for FakeReader {
    async fn poll(&mut self, _: Duration) -> Result<Polled, ConnectError> {
        let mut polled = Polled::default();
        if !self.assigned {
            self.assigned = true;
            polled.assigned = self.positions.keys().cloned().collect();
            return Ok(polled);
        }
        for (partition, position) in &mut self.positions {
            let disk = self.cluster.disk();
            let log = &disk.topics[&*partition.topic]
                [usize::try_from(partition.partition).expect("positive")];
            let start = usize::try_from(*position).expect("positive");
            let end = log.len().min(start + self.cluster.records_per_poll);
            if start < end {
                *position = i64::try_from(end).expect("few");
                polled
                    .records
                    .push((partition.clone(), log[start..end].to_vec()));
            }
        }
        if polled.records.is_empty() {
            self.idle_polls += 1;
            if self.idle_polls > 2 {
                self.cluster.close.send_replace(true);
            }
        }
        tokio::task::yield_now().await;
        Ok(polled)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), ConnectError> {
        self.positions.insert(partition.clone(), offset);
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Option<i64> {
        self.positions.get(partition).copied()
    }

    async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, ConnectError> {
        let disk = self.cluster.disk();
        let wanted = disk
            .committed
            .iter()
            .filter(|(partition, _)| partitions.contains(partition));
        Ok(wanted
            .map(|(partition, committed)| (partition.clone(), committed.clone()))
            .collect())
    }

    async fn commit(
        &mut self,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> Result<(), ConnectError> {
        self.cluster
            .step(|disk| disk.committed.extend(offsets))
            .ok_or_else(|| killed().into())
    }

    async fn close(self) {}
}
