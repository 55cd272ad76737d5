//! The consumer: reads record batches, alone or as a member of a group.

pub mod assignor;
mod batch;
mod config;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::Client;
use crate::error::ClientError;
use crate::topic_partition::{OffsetAndMetadata, TopicPartition};

pub use crate::consumer::assignor::{
    Assignor, GroupSubscriptions, MemberAssignment, MemberSubscription,
};
pub use crate::consumer::batch::FetchedBatch;
pub use crate::consumer::config::{AssignmentStrategy, ConsumerConfig, Isolation, OffsetReset};

/// Reads partitions. Batches are fetched ahead in the background; a group's heartbeats run there too.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
}

/// What one [`Consumer::poll`] gives.
#[derive(Clone, Debug, Default)]
pub struct Poll {
    /// Batches in the order of their partitions' logs.
    pub batches: Vec<FetchedBatch>,
    /// A change of the assignment. Then there are no batches.
    pub rebalanced: Option<Rebalance>,
}

/// A change of the partitions that a group member reads.
///
/// A rebalance comes in two steps: first `revoked`, where the caller finishes and commits what it has read before it
/// polls again; then, when the group has agreed, `assigned`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebalance {
    /// Partitions that are taken away.
    pub revoked: Vec<TopicPartition>,
    /// Partitions that are read from now on.
    pub assigned: Vec<TopicPartition>,
    /// Whether `revoked` belong to somebody else already, so that commits for them will fail.
    pub lost: bool,
}

/// Where to go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// At the oldest record that is still there.
    Beginning,
    /// After the newest record.
    End,
    /// At the first record with this timestamp, in milliseconds, or a later one; at the end if there is none.
    Timestamp(i64),
    /// At this offset.
    Offset(i64),
}
const CLOSED: ClientError = ClientError::Closed { object: "consumer" };
impl Consumer {
    pub(crate) fn new(client: Client, config: ConsumerConfig) -> Self {
        Self { client, config }
    }

    /// Joins the configured group for these topics, in place of any earlier subscription or assignment.
    ///
    /// # Errors
    ///
    /// There is no `group_id`, or no topic.
    pub fn subscribe(&mut self, topics: &[impl AsRef<str>]) -> Result<(), ClientError> {
        let _ = topics.iter().map(|topic| topic.as_ref()).count();
        Err(CLOSED)
    }

    /// Reads exactly these partitions, without group membership. Positions of partitions that stay are kept.
    pub fn assign(&mut self, partitions: Vec<TopicPartition>) {
        let _ = partitions;
    }

    /// Goes on reading a partition at `offset`.
    ///
    /// # Errors
    ///
    /// The partition is not assigned.
    pub fn seek(
        &mut self,
        topic_partition: &TopicPartition,
        offset: i64,
    ) -> Result<(), ClientError> {
        let _ = (topic_partition, offset);
        Err(CLOSED)
    }

    /// Goes on reading a partition somewhere else. Gives the offset.
    ///
    /// # Errors
    ///
    /// The partition is not assigned, or its offsets cannot be asked for.
    pub async fn seek_to(
        &mut self,
        topic_partition: &TopicPartition,
        place: SeekTo,
    ) -> Result<i64, ClientError> {
        let _ = (topic_partition, place);
        std::future::ready(Err(CLOSED)).await
    }

    /// Waits for batches or a change of the assignment, at most `timeout`. Cancel-safe: a poll that is dropped loses nothing.
    ///
    /// # Errors
    ///
    /// A partition cannot be read, or the group refuses this member. Polling again goes on where that is possible.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Poll, ClientError> {
        let _ = timeout;
        std::future::ready(Err(CLOSED)).await
    }

    /// Stores positions of the group.
    ///
    /// # Errors
    ///
    /// [`ClientError::Fenced`] if the partitions belong to somebody else by now.
    pub async fn commit(
        &mut self,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        let _ = offsets;
        std::future::ready(Err(CLOSED)).await
    }

    /// The group's stored positions; partitions without one are left out.
    ///
    /// # Errors
    ///
    /// There is no `group_id`, or the coordinator cannot be asked.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, OffsetAndMetadata>, ClientError> {
        let _ = (partitions, &self.client, &self.config);
        std::future::ready(Err(CLOSED)).await
    }

    /// Offset of the next record that [`poll`](Self::poll) gives, once it is known.
    #[must_use]
    pub fn position(&self, topic_partition: &TopicPartition) -> Option<i64> {
        let _ = topic_partition;
        None
    }

    /// First offset that consumers could not read yet at the last fetch.
    #[must_use]
    pub fn high_watermark(&self, topic_partition: &TopicPartition) -> Option<i64> {
        let _ = topic_partition;
        None
    }

    /// Records between position and high watermark, as of the last fetch.
    #[must_use]
    pub fn lag(&self, topic_partition: &TopicPartition) -> Option<i64> {
        let _ = topic_partition;
        None
    }

    /// The partitions that are read.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        Vec::new()
    }

    /// Generation of the group that this member is in, if it is in one.
    #[must_use]
    pub fn group_generation(&self) -> Option<i32> {
        None
    }

    /// Stops giving batches of these partitions until [`resume`](Self::resume); they stay assigned.
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }

    /// Leaves the group and stops fetching. Commits nothing, except with `enable_auto_commit`.
    pub async fn close(self) {
        std::future::ready(()).await;
    }
}
