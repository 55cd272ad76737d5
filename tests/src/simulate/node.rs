//! The simulated broker: its data directory, partitions and coordinators, from start to crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use moldau_core::config::FlushMode;
use moldau_core::coordinator::{CoordinatorSettings, partition_for};
use moldau_core::ids::LeaderEpoch;
use moldau_core::metadata::{MetadataImage, MetadataRecord, PartitionRecord};
use moldau_core::producer_state::VerificationGuard;
use moldau_log::{LogConfig, LogDirectory, LogError, LogStart, SimStorage, TopicPartition};
use moldau_protocol::batch::RecordBatch;
use moldau_protocol::{KString, Uuid};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::mistake::Mistake;
use super::network::{FromMember, Produce};
use super::partition::Partition;
use super::recovery::Opening;
use super::shard::Shard;
use super::transaction_shard::TransactionShard;
use super::transactors::{FromTransactor, Identity};

/// What the broker is like in a run.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The flush mode of each partition of the topic that producers write to.
    pub(super) data: Vec<FlushMode>,
    /// The flush mode of `__consumer_offsets`, by partition.
    pub(super) offsets: Vec<FlushMode>,
    /// The flush mode of `__transaction_state`: a lost decision would tear a transaction.
    pub(super) transactions: FlushMode,
    pub(super) log: LogConfig,
    pub(super) coordinator: CoordinatorSettings,
    pub(super) mistake: Option<Mistake>,
}

impl Settings {
    pub(super) fn random(mistake: Option<Mistake>, random: &mut SmallRng) -> Self {
        let mut flush = || match random.random_range(0..6) {
            0 => FlushMode::Os,
            1 => FlushMode::Interval {
                ms: random.random_range(1..5_000),
            },
            _ => FlushMode::Commit,
        };
        let data = [flush(), flush()].to_vec();
        let offsets = [flush()].to_vec();
        let mut coordinator = CoordinatorSettings::default();
        coordinator.group.initial_rebalance_delay_ms = random.random_range(0..2) * 3_000;
        coordinator.offsets_retention_ms = i64::MAX / 4;
        let log = LogConfig {
            segment_bytes: random.random_range(500..8_000),
            segment_ms: random.random_range(1_000..10_000_000),
            segment_index_bytes: random.random_range(60..600),
            index_interval_bytes: random.random_range(0..1_500),
            retention_ms: random.random_range(60_000..100_000_000),
            retention_bytes: [-1, 20_000][random.random_range(0..2)],
            file_delete_delay_ms: random.random_range(0..100_000),
        };
        Self {
            data,
            offsets,
            transactions: FlushMode::Commit,
            log,
            coordinator,
            mistake,
        }
    }

    pub(super) fn partitions(&self) -> usize {
        self.transaction_partition() + 1
    }

    /// The partition with the coordinator of transactions: the last one.
    pub(super) const fn transaction_partition(&self) -> usize {
        self.data.len() + self.offsets.len()
    }

    pub(super) fn flush(&self, partition: usize) -> FlushMode {
        let modes = self.data.iter().chain(&self.offsets);
        let mut modes = modes.chain([&self.transactions]);
        modes.nth(partition).copied().expect("a partition's number")
    }

    /// The partition with the coordinator of a group.
    pub(super) fn partition_of_group(&self, group_id: &str) -> usize {
        let count = i32::try_from(self.offsets.len()).expect("a few partitions");
        let index = usize::try_from(partition_for(group_id, count)).expect("not negative");
        self.data.len() + index
    }

    fn name(&self, partition: usize) -> TopicPartition {
        let (topic, index) = match partition.checked_sub(self.data.len()) {
            None => (TOPIC, partition),
            Some(index) if index < self.offsets.len() => ("__consumer_offsets", index),
            Some(index) => ("__transaction_state", index - self.offsets.len()),
        };
        TopicPartition {
            topic: topic.to_owned(),
            partition: i32::try_from(index).expect("a few partitions"),
        }
    }

    /// Groups and transactions are never deleted by time or size: their topics are compacted.
    fn log_config(&self, partition: usize) -> LogConfig {
        if partition < self.data.len() {
            return self.log.clone();
        }
        LogConfig {
            retention_ms: -1,
            retention_bytes: -1,
            ..self.log.clone()
        }
    }
}

/// A request that waits for its answer.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Produce(Produce),
    Group {
        from: FromMember,
        tag: u64,
    },
    /// A transactional producer asks for its epoch.
    Begin(FromTransactor),
    /// It writes, and the coordinator is asked whether the partition takes part.
    Verify(TransactionalWrite, VerificationGuard),
    /// Its batch is in the writer's queue.
    Write(TransactionalWrite),
    /// It ends its transaction.
    End {
        from: FromTransactor,
        identity: Identity,
        committed: bool,
    },
}

/// A batch of a transaction.
#[derive(Clone, Debug)]
pub(super) struct TransactionalWrite {
    pub(super) from: FromTransactor,
    pub(super) partition: usize,
    pub(super) batch: RecordBatch,
}

#[derive(Debug)]
pub(super) struct Node {
    settings: Settings,
    directory: LogDirectory<SimStorage>,
    /// First those that producers write to, then those of `__consumer_offsets`.
    pub(super) partitions: Vec<Partition>,
    pub(super) shards: Vec<Shard>,
    pub(super) transactions: TransactionShard,
    pub(super) image: Arc<MetadataImage>,
    pub(super) waiting: BTreeMap<u64, Origin>,
    next_request: u64,
}

impl Node {
    /// Starts on the data directory, in the given life.
    pub(super) fn start(
        settings: &Settings,
        storage: &SimStorage,
        life: i32,
        now_ms: i64,
    ) -> Result<Self, LogError> {
        let directory = LogDirectory::open(storage.clone(), "/data")?;
        let present = directory.partitions()?;
        let mut partitions = Vec::new();
        for index in 0..settings.partitions() {
            let name = settings.name(index);
            let has_files = present.contains(&name);
            let start = match has_files {
                true => directory.log_start(&name),
                false => LogStart {
                    clean_shutdown: true,
                    ..LogStart::default()
                },
            };
            let opening = Opening {
                storage: storage.clone(),
                directory: directory.partition_path(&name),
                config: settings.log_config(index),
                start: LogStart {
                    topic_id: Some(topic_id(&name.topic)),
                    ..start
                },
                flush: settings.flush(index),
                leader_epoch: LeaderEpoch(life),
                mistake: settings.mistake,
                has_files,
            };
            partitions.push(Partition::open(opening, now_ms)?);
        }
        let image = Arc::new(image());
        let transactions = &mut partitions[settings.transaction_partition()];
        let transactions = TransactionShard::load(transactions, life, now_ms);
        let groups = settings.data.len()..settings.transaction_partition();
        let shards = partitions[groups].iter();
        let shards = shards
            .map(|partition| {
                let around = (settings.mistake, now_ms);
                Shard::load(partition, settings.coordinator, &image, around)
            })
            .collect();
        Ok(Self {
            settings: settings.clone(),
            directory,
            partitions,
            shards,
            transactions,
            image,
            waiting: BTreeMap::new(),
            next_request: 0,
        })
    }

    /// Keeps who asked until the answer is there.
    pub(super) fn await_answer(&mut self, origin: Origin) -> u64 {
        self.next_request += 1;
        self.waiting.insert(self.next_request, origin);
        self.next_request
    }

    /// The coordinator with its partition.
    pub(super) fn shard(&mut self, shard: usize) -> (&mut Shard, &mut Partition) {
        let partition = self.settings.data.len() + shard;
        (&mut self.shards[shard], &mut self.partitions[partition])
    }

    /// The coordinator of transactions with its partition.
    pub(super) fn transactions(&mut self) -> (&mut TransactionShard, &mut Partition) {
        let partition = self.settings.transaction_partition();
        (&mut self.transactions, &mut self.partitions[partition])
    }

    /// Writes down how far the logs are on the disk, as the broker's background work does it.
    pub(super) fn checkpoint(&self) -> Result<(), LogError> {
        let mut recovery_points = BTreeMap::new();
        let mut starts = BTreeMap::new();
        for (index, partition) in self.partitions.iter().enumerate() {
            let Some(log) = &partition.log else { continue };
            let durable = match self.settings.mistake {
                Some(Mistake::CheckpointTooFar) => log.log_end_offset(),
                _ => log.sync_handle().sync()?,
            };
            recovery_points.insert(self.settings.name(index), durable);
            let start = partition.leader.log_start_offset().0;
            starts.insert(self.settings.name(index), start);
        }
        self.directory.write_recovery_points(&recovery_points)?;
        self.directory.write_log_start_offsets(&starts)
    }

    /// Closes all logs and marks the directory clean.
    pub(super) fn close(mut self) -> Result<(), LogError> {
        let mut ends = BTreeMap::new();
        let mut starts = BTreeMap::new();
        for (index, partition) in self.partitions.drain(..).enumerate() {
            let Some(log) = &partition.log else { continue };
            ends.insert(self.settings.name(index), log.log_end_offset());
            starts.insert(self.settings.name(index), log.log_start_offset());
            partition.close()?;
        }
        self.directory.write_recovery_points(&ends)?;
        self.directory.write_log_start_offsets(&starts)?;
        self.directory.write_high_watermarks(&ends)?;
        self.directory.mark_clean_shutdown()
    }
}

/// What the cluster knows: the topic that groups read.
fn image() -> MetadataImage {
    let mut image = MetadataImage::default();
    let id = topic_id(TOPIC);
    let topic = MetadataRecord::Topic {
        name: KString::from(TOPIC),
        id,
    };
    image.apply(&topic).expect("the first topic");
    for index in 0..GROUP_PARTITIONS {
        let partition = PartitionRecord {
            topic_id: id,
            index,
            leader: 1,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            replicas: vec![1],
            isr: vec![1],
        };
        let applied = image.apply(&MetadataRecord::Partition(partition));
        applied.expect("partitions in order");
    }
    image
}

pub(super) fn topic_id(name: &str) -> Uuid {
    let mut id = [7; 16];
    id.iter_mut()
        .zip(name.bytes())
        .for_each(|(slot, byte)| *slot = byte);
    Uuid(id)
}

/// The topic that producers write to and groups read.
pub(super) const TOPIC: &str = "orders";

/// Partitions that groups divide among their members.
pub(super) const GROUP_PARTITIONS: i32 = 4;
