//! Fetch sessions (KIP-227): what a client fetches is remembered, so that later requests and responses name only
//! what changed.
//!
//! A fetch goes through three steps:
//! 1. [`FetchSessions::begin`] says which partitions it reads, or why its session cannot be used;
//! 2. the caller reads them;
//! 3. [`FetchSessions::finish`] remembers what was read and says which partitions the response names.
//!
//! Epochs order the requests of a session: a full request (epoch 0) is answered with a new session id, the next one
//! carries epoch 1, and so on. Epoch -1 asks for no session, and ends the one that is named.

mod cache;
mod session;

#[cfg(test)]
mod tests;

pub use cache::{FetchSessions, SessionLimits};

use moldau_protocol::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};
use moldau_protocol::{ErrorCode, KString, Uuid};

/// What a fetch says about sessions and partitions.
#[derive(Debug, Default)]
pub struct SessionRequest {
    /// The session; 0 for none.
    pub session_id: i32,
    /// -1: without session; 0: a new session; else the session's epoch.
    pub session_epoch: i32,
    /// Topics are named by id (Fetch v13 and later).
    pub uses_topic_ids: bool,
    /// The request comes from another broker; its sessions are kept in preference to those of consumers.
    pub from_follower: bool,
    /// Partitions that are new, or asked for in another way.
    pub topics: Vec<FetchTopic>,
    /// Partitions that are no longer wanted.
    pub forgotten: Vec<ForgottenTopic>,
}

/// One partition that a fetch reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTarget {
    /// The topic's name; empty when it is asked for by id.
    pub topic: KString,
    /// The topic's id; zero when it is asked for by name.
    pub topic_id: Uuid,
    /// The partition's index.
    pub partition: i32,
    /// The leader epoch that the client knows; -1 for none.
    pub current_leader_epoch: i32,
    /// The first offset to read.
    pub fetch_offset: i64,
    /// The epoch of the last record that the client has; -1 for none.
    pub last_fetched_epoch: i32,
    /// The most bytes to read from this partition.
    pub max_bytes: i32,
}

/// What a fetch reads, and for which session.
#[derive(Debug)]
pub enum FetchContext {
    /// No session: the response names every partition.
    Sessionless(Vec<FetchTarget>),
    /// A session is to be created; the response names every partition.
    Full(FullContext),
    /// A session goes on; the response names what changed.
    Incremental(IncrementalContext),
}

/// See [`FetchContext::Full`].
#[derive(Debug)]
pub struct FullContext {
    targets: Vec<FetchTarget>,
    uses_topic_ids: bool,
    from_follower: bool,
}

/// See [`FetchContext::Incremental`].
#[derive(Debug)]
pub struct IncrementalContext {
    targets: Vec<FetchTarget>,
    session_id: i32,
    /// The epoch that the session moved to with this request.
    epoch: i32,
}

/// What reading one partition gave, as far as a session cares.
#[derive(Debug, Clone, Copy)]
pub struct FetchOutcome {
    /// Why nothing could be read.
    pub error: ErrorCode,
    /// There are records to give.
    pub has_records: bool,
    /// The client's log went another way than ours.
    pub diverged: bool,
    /// Consumers read below this; -1 when unknown.
    pub high_watermark: i64,
    /// Where the log begins; -1 when unknown.
    pub log_start_offset: i64,
}

/// How a fetch is answered.
#[derive(Debug, PartialEq, Eq)]
pub struct FetchAnswer {
    /// The session that the client goes on with; 0 for none.
    pub session_id: i32,
    /// The partitions that the response names.
    pub included: Included,
}

/// Which of a fetch's targets the response names.
#[derive(Debug, PartialEq, Eq)]
pub enum Included {
    /// Every one.
    All,
    /// Those with `true`, by target.
    Only(Vec<bool>),
}

impl FetchContext {
    /// The partitions to read, in the order in which they may use up the limits.
    #[must_use]
    pub fn targets(&self) -> &[FetchTarget] {
        match self {
            Self::Sessionless(targets) => targets,
            Self::Full(context) => &context.targets,
            Self::Incremental(context) => &context.targets,
        }
    }

    /// Whether the session takes care that another partition comes first the next time.
    #[must_use]
    pub fn keeps_order(&self) -> bool {
        matches!(self, Self::Incremental(_))
    }
}

impl Included {
    /// Whether the target at this place is named.
    #[must_use]
    pub fn contains(&self, place: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(chosen) => chosen.get(place).copied().unwrap_or(false),
        }
    }
}

/// The targets of a request's topics, in its order.
fn targets(topics: &[FetchTopic]) -> Vec<FetchTarget> {
    let count = topics.iter().map(|topic| topic.partitions.len()).sum();
    let mut targets = Vec::with_capacity(count);
    for topic in topics {
        targets.extend(
            topic
                .partitions
                .iter()
                .map(|partition| target(topic, partition)),
        );
    }
    targets
}

fn target(topic: &FetchTopic, partition: &FetchPartition) -> FetchTarget {
    FetchTarget {
        topic: topic.topic.clone(),
        topic_id: topic.topic_id,
        partition: partition.partition,
        current_leader_epoch: partition.current_leader_epoch,
        fetch_offset: partition.fetch_offset,
        last_fetched_epoch: partition.last_fetched_epoch,
        max_bytes: partition.partition_max_bytes,
    }
}

/// No session.
const NO_SESSION: i32 = 0;

/// The epoch of a request that asks for a new session.
const INITIAL_EPOCH: i32 = 0;

/// The epoch of a request that wants no session, and ends the one that it names.
const FINAL_EPOCH: i32 = -1;
