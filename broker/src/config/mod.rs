//! What a broker is started with.
//!
//! Every field has a Kafka setting behind it (see [`BrokerConfig::set`]); defaults are Kafka's,
//! except where a single node out of the box is better served:
//! - `group.initial.rebalance.delay.ms` is 0, as in the file that Kafka ships,
//! - `node.id` is 1 and the data directory is `./moldau-data`, so nothing must be configured,
//! - internal topics get at most as many replicas as there are brokers.

mod bindings;
mod file;
mod live;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use file::{ConfigFileError, FileFormat};
pub use moldau_core::config::ConfigError;
use moldau_core::config::Scope;
use moldau_core::consumer_group::ConsumerGroupSettings;

pub(crate) use live::{Effective, LiveConfig};

/// The settings of one broker.
///
/// Build it with [`BrokerConfig::default`], assign fields, or use Kafka's names through
/// [`BrokerConfig::set`].
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// `node.id`: the broker's id in the cluster; 0 or greater.
    pub node_id: i32,
    /// `log.dirs`: the one directory that holds everything the broker keeps.
    pub data_dir: PathBuf,
    /// `listeners`: the addresses to listen on; port 0 takes any free port.
    pub listeners: Vec<SocketAddr>,
    /// `advertised.listeners`: the address clients are told; the one they connected to when `None`.
    pub advertised: Option<AdvertisedAddress>,
    /// The address that clients are told who came in on this port, where it differs from `advertised`.
    pub advertised_by_port: BTreeMap<u16, AdvertisedAddress>,
    /// `broker.rack`: the rack that the node stands in.
    pub rack: Option<String>,
    /// `auto.create.topics.enable`: metadata requests create the topics they name.
    pub auto_create_topics: bool,
    /// `delete.topic.enable`: topics may be deleted.
    pub delete_topics: bool,
    /// `num.partitions`: partitions of a topic that is created without a count.
    pub num_partitions: i32,
    /// `default.replication.factor`: replicas of a topic that is created without a factor.
    pub default_replication_factor: i16,
    /// Broker settings that are defaults of topic settings, such as `log.retention.ms`, where they are set.
    pub topic_defaults: BTreeMap<String, String>,
    /// `socket.request.max.bytes`: the largest request that is read.
    pub socket_request_max_bytes: usize,
    /// `connections.max.idle.ms`: a connection without a request for this long is closed.
    pub connections_max_idle_ms: u64,
    /// `max.connections`: connections beyond this number are closed at once.
    pub max_connections: usize,
    /// `max.request.partition.size.limit`: partitions in one answer to DescribeTopicPartitions.
    pub max_request_partition_size_limit: usize,
    /// `queued.max.requests`: appends that wait for one writer thread before producers have to wait.
    pub queued_max_requests: usize,
    /// `num.writer.threads` (Moldau's own): threads that append to partitions.
    pub num_writer_threads: usize,
    /// `tail.cache.bytes` (Moldau's own): memory for the newest batches of all partitions.
    pub tail_cache_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`: fetch sessions at once (KIP-227).
    pub fetch_session_slots: usize,
    /// `fetch.max.bytes`: the most that one fetch is answered with, whatever the client asks.
    pub fetch_max_bytes: usize,
    /// `request.timeout.ms` (Moldau's own on the broker side): how long an internal append may take.
    pub request_timeout_ms: u64,
    /// `offsets.topic.num.partitions`: partitions of `__consumer_offsets` when it is created.
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`: wished replicas of `__consumer_offsets`; clamped to the live brokers.
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`: segment size of `__consumer_offsets`.
    pub offsets_topic_segment_bytes: i32,
    /// `offsets.retention.minutes`: how long offsets of an empty group are kept.
    pub offsets_retention_minutes: i32,
    /// `offsets.retention.check.interval.ms`: how often expired offsets are looked for.
    pub offsets_retention_check_interval_ms: u64,
    /// `offset.metadata.max.bytes`: the longest metadata text of a committed offset.
    pub offset_metadata_max_bytes: i32,
    /// `group.initial.rebalance.delay.ms`: how long a new group waits for more members.
    pub group_initial_rebalance_delay_ms: i32,
    /// `group.min.session.timeout.ms`: shortest session time-out a member may ask for.
    pub group_min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`: longest session time-out a member may ask for.
    pub group_max_session_timeout_ms: i32,
    /// `group.max.size`: members of one group.
    pub group_max_size: i32,
    /// `group.consumer.*`: groups of the new protocol.
    pub consumer_groups: ConsumerGroupSettings,
    /// `transaction.max.timeout.ms`: the longest transaction that a producer may ask for.
    pub transaction_max_timeout_ms: i32,
    /// `transaction.partition.verification.enable`: take transactional records only for partitions that the
    /// coordinator knows to be part of the transaction (KIP-890).
    pub transaction_partition_verification: bool,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`: how often expired transactional ids are looked for.
    pub transaction_remove_expired_interval_ms: i32,
    /// `transaction.state.log.num.partitions`: partitions of `__transaction_state` when it is created.
    pub transaction_state_log_num_partitions: i32,
    /// `transaction.state.log.replication.factor`: wished replicas of `__transaction_state`; clamped to the live brokers.
    pub transaction_state_log_replication_factor: i16,
    /// `transaction.state.log.segment.bytes`: segment size of `__transaction_state`.
    pub transaction_state_log_segment_bytes: i32,
    /// `transactional.id.expiration.ms`: transactional ids without a transaction are forgotten after this time.
    pub transactional_id_expiration_ms: i32,
    /// `producer.id.expiration.ms`: idle producers are forgotten after this time.
    pub producer_id_expiration_ms: i64,
    /// `log.cleaner.threads`: how many logs are compacted at a time; zero compacts none.
    pub cleaner_threads: usize,
    /// `log.cleaner.backoff.ms`: how long a cleaner rests when no log is due.
    pub cleaner_backoff_ms: u64,
    /// `log.cleaner.dedupe.buffer.size`: the most memory that all cleaners use for keys.
    pub cleaner_dedupe_buffer_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`: how much of that memory is used, 0 to 1.
    pub cleaner_buffer_load_factor: f64,
    /// `log.cleaner.io.max.bytes.per.second`: what all cleaners read and write together.
    pub cleaner_io_max_bytes_per_second: f64,
    /// `log.retention.check.interval.ms`: how often old segments are looked for.
    pub log_retention_check_interval_ms: u64,
    /// `log.flush.offset.checkpoint.interval.ms`: how often recovery points are written.
    pub log_flush_offset_checkpoint_interval_ms: u64,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            node_id: 1,
            data_dir: PathBuf::from("./moldau-data"),
            listeners: vec![SocketAddr::new(
                IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                KAFKA_PORT,
            )],
            advertised: None,
            advertised_by_port: BTreeMap::new(),
            rack: None,
            auto_create_topics: true,
            delete_topics: true,
            num_partitions: 1,
            default_replication_factor: 1,
            topic_defaults: BTreeMap::new(),
            socket_request_max_bytes: 100 * 1024 * 1024,
            connections_max_idle_ms: 600_000,
            max_connections: i32::MAX as usize,
            max_request_partition_size_limit: 2_000,
            queued_max_requests: 500,
            num_writer_threads: default_writer_threads(),
            tail_cache_bytes: 64 * 1024 * 1024,
            fetch_session_slots: 1000,
            fetch_max_bytes: 55 * 1024 * 1024,
            request_timeout_ms: 30_000,
            offsets_topic_num_partitions: 50,
            offsets_topic_replication_factor: 3,
            offsets_topic_segment_bytes: 100 * 1024 * 1024,
            offsets_retention_minutes: 7 * 24 * 60,
            offsets_retention_check_interval_ms: 600_000,
            offset_metadata_max_bytes: 4096,
            group_initial_rebalance_delay_ms: 0,
            group_min_session_timeout_ms: 6_000,
            group_max_session_timeout_ms: 1_800_000,
            group_max_size: i32::MAX,
            consumer_groups: ConsumerGroupSettings::default(),
            transaction_max_timeout_ms: 900_000,
            transaction_partition_verification: true,
            transaction_remove_expired_interval_ms: 3_600_000,
            transaction_state_log_num_partitions: 50,
            transaction_state_log_replication_factor: 3,
            transaction_state_log_segment_bytes: 100 * 1024 * 1024,
            transactional_id_expiration_ms: 604_800_000,
            producer_id_expiration_ms: 86_400_000,
            cleaner_threads: 1,
            cleaner_backoff_ms: 15_000,
            cleaner_dedupe_buffer_bytes: 128 * 1024 * 1024,
            cleaner_buffer_load_factor: 0.9,
            cleaner_io_max_bytes_per_second: f64::MAX,
            log_retention_check_interval_ms: 300_000,
            log_flush_offset_checkpoint_interval_ms: 60_000,
        }
    }
}

impl BrokerConfig {
    /// The defaults, with the data in `data_dir`.
    pub fn new(data_dir: impl AsRef<Path>) -> Self {
        Self {
            data_dir: data_dir.as_ref().to_owned(),
            ..Self::default()
        }
    }

    /// Assigns settings by their Kafka names; see [`BrokerConfig::set`].
    ///
    /// # Errors
    ///
    /// The first name or value that is not accepted.
    pub fn apply_settings(
        &mut self,
        settings: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        settings
            .iter()
            .try_for_each(|(name, value)| self.set(name, value))
    }

    /// Assigns one setting by its Kafka name, for example `num.partitions` or `log.retention.ms`.
    ///
    /// # Errors
    ///
    /// When the name is unknown, the value does not fit it, or it is not supported; the text says what is.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        bindings::set(self, name, value.trim())
    }

    /// Checks the values that fields cannot check by their type.
    ///
    /// # Errors
    ///
    /// Names the first setting that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("num.partitions", i64::from(self.num_partitions)),
            (
                "offsets.topic.num.partitions",
                i64::from(self.offsets_topic_num_partitions),
            ),
            (
                "queued.max.requests",
                usize_to_i64(self.queued_max_requests),
            ),
            ("num.writer.threads", usize_to_i64(self.num_writer_threads)),
            ("fetch.max.bytes", usize_to_i64(self.fetch_max_bytes)),
        ];
        for (name, value) in positive {
            if value < 1 {
                return Err(refused(
                    name,
                    format!("{value} is too small; the least is 1"),
                ));
            }
        }
        let groups = &self.consumer_groups;
        let bounded = [
            (
                "group.consumer.session.timeout.ms",
                groups.min_session_timeout_ms..=groups.max_session_timeout_ms,
                groups.session_timeout_ms,
            ),
            (
                "group.consumer.heartbeat.interval.ms",
                groups.min_heartbeat_interval_ms..=groups.max_heartbeat_interval_ms,
                groups.heartbeat_interval_ms,
            ),
            (
                "group.consumer.assignment.interval.ms",
                groups.min_assignment_interval_ms..=groups.max_assignment_interval_ms,
                groups.assignment_interval_ms,
            ),
        ];
        for (name, bounds, value) in bounded {
            if !bounds.contains(&value) {
                let (least, most) = bounds.into_inner();
                let reason = format!("{value} is not from {least} to {most}, its own bounds");
                return Err(refused(name, reason));
            }
        }
        if self.node_id < 0 {
            let reason = format!("{} is too small; the least is 0", self.node_id);
            return Err(refused("node.id", reason));
        }
        if self.listeners.is_empty() {
            let reason =
                "there is no address to listen on; give one, for example `PLAINTEXT://:9092`";
            return Err(refused("listeners", reason.to_owned()));
        }
        Ok(())
    }
}

fn refused(name: &'static str, reason: String) -> ConfigError {
    ConfigError::Value {
        scope: Scope::Broker,
        name,
        reason,
    }
}

impl fmt::Display for AdvertisedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "PLAINTEXT://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "PLAINTEXT://{}:{}", self.host, self.port)
        }
    }
}

/// The host and port that clients are told to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AdvertisedAddress {
    /// Host name or address.
    pub host: String,
    /// Port; 0 means the port that the listener got.
    pub port: u16,
}

/// The port that every Kafka client tries first.
const KAFKA_PORT: u16 = 9092;

/// More writers than this do not pay: each one coalesces what waits for it.
const MAX_DEFAULT_WRITER_THREADS: usize = 4;

fn default_writer_threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, |n| n.get().div_ceil(2))
        .min(MAX_DEFAULT_WRITER_THREADS)
}

fn usize_to_i64(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
