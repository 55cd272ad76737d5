//! Settings of a consumer.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::consumer::assignor::{Assignor, RangeAssignor, RoundRobinAssignor};
use crate::consumer::sticky::CooperativeStickyAssignor;
use crate::error::ClientError;

/// Settings of a [`Consumer`](crate::Consumer). Names and defaults are Kafka's, except that offsets are not
/// committed behind the program's back: `enable_auto_commit` is false.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// The group to join and to commit offsets for; `None` only for [`assign`](crate::Consumer::assign) without commits.
    pub group_id: Option<String>,
    /// A name that survives restarts (static membership, KIP-345): a member that comes back within the session
    /// time-out gets its partitions back without a rebalance.
    pub group_instance_id: Option<String>,
    /// Where to start without a valid committed offset (latest).
    pub auto_offset_reset: OffsetReset,
    /// Whether positions are committed in the background (false).
    pub enable_auto_commit: bool,
    /// How often, if `enable_auto_commit` (5,000 ms).
    pub auto_commit_interval_ms: u64,
    /// Which records are seen while transactions are open or aborted (all).
    pub isolation: Isolation,
    /// Bytes that a broker should gather before it answers a fetch (1).
    pub min_bytes: i32,
    /// Most bytes in one fetch response, and the bound on what is fetched ahead, in bytes (50 MiB).
    pub max_bytes: i32,
    /// Most bytes of one partition in one fetch response (1 MiB); one whole batch comes always.
    pub max_partition_bytes: i32,
    /// Longest wait of a broker for `min_bytes` (500 ms).
    pub max_wait_ms: i32,
    /// Most bytes that one [`poll`](crate::Consumer::poll) returns (4 MiB); one whole batch comes always.
    pub max_poll_bytes: usize,
    /// Whether the checksum of every batch is verified; `None` does so over TCP and not in process.
    pub check_crcs: Option<bool>,
    /// Without a heartbeat for this long, the group goes on without this member (45,000 ms).
    pub session_timeout_ms: i32,
    /// Time between heartbeats (3,000 ms). With [`GroupProtocol::Consumer`] the broker chooses this and the one above.
    pub heartbeat_interval_ms: u64,
    /// Longest time between two polls; a member that is slower leaves the group, as it is also the time that
    /// a rebalance waits for it (300,000 ms).
    pub max_poll_interval_ms: u64,
    /// How partitions are shared out in the group (classic protocol).
    pub assignor: AssignmentStrategy,
    /// The protocol by which the group is joined (classic).
    pub group_protocol: GroupProtocol,
    /// Name of the broker's assignor, `uniform` or `range` (KIP-848); `None` leaves the choice to the broker.
    pub group_remote_assignor: Option<String>,
    /// Whether topics that are subscribed to are created if the broker allows it (true).
    pub allow_auto_create_topics: bool,
}

impl ConsumerConfig {
    /// Settings of a member of `group_id`.
    pub fn group(group_id: impl Into<String>) -> Self {
        Self {
            group_id: Some(group_id.into()),
            ..Self::default()
        }
    }
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group_id: None,
            group_instance_id: None,
            auto_offset_reset: OffsetReset::Latest,
            enable_auto_commit: false,
            auto_commit_interval_ms: 5_000,
            isolation: Isolation::ReadUncommitted,
            min_bytes: 1,
            max_bytes: 50 * 1024 * 1024,
            max_partition_bytes: 1024 * 1024,
            max_wait_ms: 500,
            max_poll_bytes: 4 * 1024 * 1024,
            check_crcs: None,
            session_timeout_ms: 45_000,
            heartbeat_interval_ms: 3_000,
            max_poll_interval_ms: 300_000,
            assignor: AssignmentStrategy::Range,
            group_protocol: GroupProtocol::Classic,
            group_remote_assignor: None,
            allow_auto_create_topics: true,
        }
    }
}

/// Where to start without a valid committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the oldest record that is still there.
    Earliest,
    /// After the newest record.
    Latest,
    /// Nowhere: [`poll`](crate::Consumer::poll) gives [`ClientError::OffsetOutOfRange`].
    Error,
}

impl FromStr for OffsetReset {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "none" | "error" => Ok(Self::Error),
            _ => Err(ClientError::Config {
                setting: "auto_offset_reset",
                reason: format!("\"{text}\" is not one of `earliest`, `latest`, `none`"),
            }),
        }
    }
}

/// Which records of transactions are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All of them, also of open and aborted transactions.
    ReadUncommitted,
    /// Only those of committed transactions; reading stops at the first open one.
    ReadCommitted,
}

impl Isolation {
    pub(crate) const fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// The protocol by which a member takes part in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// The members share the partitions out among themselves, with [`ConsumerConfig::assignor`]. Every broker has it.
    #[default]
    Classic,
    /// The coordinator shares the partitions out, and only what changes stops being read (KIP-848). Brokers have it
    /// from Kafka 4.0 on, where the feature `group.version` is at least 1.
    Consumer,
    /// [`Consumer`](Self::Consumer) where the broker has it, and [`Classic`](Self::Classic) where it has not or where
    /// the program brings its own assignor.
    Automatic,
}

impl FromStr for GroupProtocol {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        match text {
            "classic" => Ok(Self::Classic),
            "consumer" => Ok(Self::Consumer),
            "automatic" => Ok(Self::Automatic),
            _ => Err(ClientError::Config {
                setting: "group_protocol",
                reason: format!("\"{text}\" is not one of `classic`, `consumer`, `automatic`"),
            }),
        }
    }
}

/// How partitions are shared out in a group. All members must have a strategy in common.
#[derive(Clone, Default)]
pub enum AssignmentStrategy {
    /// Per topic, neighbouring partitions to each member: partitions of equal number in several topics stay together.
    #[default]
    Range,
    /// All partitions of all topics in turn.
    RoundRobin,
    /// Evenly, and members keep what they have and go on reading it while the group rebalances.
    CooperativeSticky,
    /// The program's own.
    Custom(Arc<dyn Assignor>),
}

impl AssignmentStrategy {
    pub(crate) fn assignor(&self) -> Arc<dyn Assignor> {
        match self {
            Self::Range => Arc::new(RangeAssignor),
            Self::RoundRobin => Arc::new(RoundRobinAssignor),
            Self::CooperativeSticky => Arc::new(CooperativeStickyAssignor),
            Self::Custom(assignor) => Arc::clone(assignor),
        }
    }
}

impl fmt::Debug for AssignmentStrategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.assignor().name())
    }
}
