//! The consumer: reads record batches, alone or as a member of a group.

pub mod assignor;
mod batch;
mod config;
mod epoch_task;
mod fetch_session;
mod fetcher;
mod group;
mod group_protocol;
mod member_task;
mod membership;
mod partitions;
mod positions;
mod readable;
mod sticky;
mod subscription;
mod truncation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use moldau_protocol::{ErrorCode, KString};
use tokio::time::Instant;

use crate::admin::OffsetSpec;
use crate::backoff::Retry;
use crate::client::Client;
use crate::consumer::fetcher::Fetcher;
use crate::consumer::group::{Group, Step};
use crate::consumer::partitions::Search;
use crate::consumer::subscription::Subscription;
use crate::error::ClientError;
use crate::offsets::GroupMetadata;
use crate::topic_partition::{OffsetAndMetadata, TopicPartition};

pub use crate::consumer::assignor::{
    Assignor, GroupSubscriptions, MemberAssignment, MemberSubscription, RangeAssignor,
    RoundRobinAssignor,
};
pub use crate::consumer::batch::FetchedBatch;
pub use crate::consumer::config::{
    AssignmentStrategy, ConsumerConfig, GroupProtocol, Isolation, OffsetReset,
};
pub use crate::consumer::sticky::CooperativeStickyAssignor;
pub use crate::consumer::subscription::Pattern;

/// Reads partitions. Batches are fetched ahead in the background; a group's heartbeats run there too.
///
/// A consumer that is dropped stops fetching and leaves its group; [`close`](Self::close) waits for that.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    config: Arc<ConsumerConfig>,
    fetcher: Arc<Fetcher>,
    /// Present after `subscribe`.
    group: Option<Group>,
    next_check: Instant,
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
/// polls again; then, when the group has agreed, `assigned`. By the classic protocol these are all partitions, unless
/// the assignor is cooperative; by [`GroupProtocol::Consumer`] and by cooperative assignors only those that change.
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

impl Consumer {
    pub(crate) fn new(client: Client, config: ConsumerConfig) -> Self {
        let config = Arc::new(config);
        Self {
            fetcher: Fetcher::new(client.clone(), Arc::clone(&config)),
            client,
            config,
            group: None,
            next_check: Instant::now(),
        }
    }

    /// Joins the configured group for these topics, in place of any earlier subscription or assignment.
    /// Must be called inside a tokio runtime; the group is joined by [`poll`](Self::poll).
    ///
    /// # Errors
    ///
    /// There is no `group_id`, or no topic.
    pub fn subscribe(&mut self, topics: &[impl AsRef<str>]) -> Result<(), ClientError> {
        if topics.is_empty() {
            return Err(ClientError::Config {
                setting: "topics",
                reason: "there is none to subscribe to".to_owned(),
            });
        }
        let topics = topics
            .iter()
            .map(|topic| KString::copy_from(topic.as_ref()));
        self.subscribe_to(Subscription::Topics(topics.collect()))
    }

    /// As [`subscribe`](Self::subscribe), for all topics whose whole names match `pattern`, also those that are created
    /// later. The pattern is in RE2's syntax. By [`GroupProtocol::Consumer`] the broker matches it (Kafka 4.1 and
    /// later), else this client, without the brokers' own topics.
    ///
    /// # Errors
    ///
    /// There is no `group_id`, or `pattern` is not a regular expression.
    pub fn subscribe_pattern(&mut self, pattern: &str) -> Result<(), ClientError> {
        self.subscribe_to(Subscription::Pattern(Pattern::parse(pattern)?))
    }

    fn subscribe_to(&mut self, subscription: Subscription) -> Result<(), ClientError> {
        let Some(group_id) = self.config.group_id.as_deref().filter(|id| !id.is_empty()) else {
            return Err(no_group());
        };
        match &mut self.group {
            Some(group) => group.subscribe(subscription),
            None => {
                self.fetcher.lock().assign(&[], Search::Committed);
                let group_id = KString::copy_from(group_id);
                let group = Group::new(
                    &self.client,
                    &self.config,
                    &self.fetcher,
                    group_id,
                    subscription,
                );
                self.group = Some(group);
            }
        }
        Ok(())
    }

    /// Reads exactly these partitions, without group membership. Positions of partitions that stay are kept.
    ///
    /// Positions start at the group's stored offsets, if there is a `group_id`, else as `auto_offset_reset` says.
    pub fn assign(&mut self, partitions: Vec<TopicPartition>) {
        self.group = None;
        self.fetcher.lock().assign(&partitions, Search::Committed);
        self.fetcher.has_chores.store(true, Ordering::Release);
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
        if !self.fetcher.lock().seek(topic_partition, offset) {
            return Err(not_assigned(topic_partition));
        }
        self.fetcher.has_chores.store(true, Ordering::Release);
        Ok(())
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
        if !self.fetcher.lock().contains(topic_partition) {
            return Err(not_assigned(topic_partition));
        }
        let spec = match place {
            SeekTo::Beginning => OffsetSpec::Earliest,
            SeekTo::End => OffsetSpec::Latest,
            SeekTo::Timestamp(timestamp) => OffsetSpec::Timestamp(timestamp.max(0)),
            SeekTo::Offset(offset) => {
                self.seek(topic_partition, offset)?;
                return Ok(offset);
            }
        };
        let offset = self.fetcher.list_offset(topic_partition, spec).await?;
        self.seek(topic_partition, offset)?;
        Ok(offset)
    }

    /// Waits for batches or a change of the assignment, at most `timeout`.
    /// Cancel-safe: a poll that is dropped loses nothing.
    ///
    /// # Errors
    ///
    /// A partition cannot be read, or the group refuses this member. Polling again tries again.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Poll, ClientError> {
        let deadline = Instant::now() + timeout;
        let _polling = self.group.as_ref().map(Group::polling);
        loop {
            if let Some(group) = &mut self.group {
                match group.step().await? {
                    Step::Go => {}
                    Step::Changed(rebalance) => {
                        return Ok(Poll {
                            batches: Vec::new(),
                            rebalanced: Some(rebalance),
                        });
                    }
                }
            }
            if let Some(batches) = self.take()? {
                return Ok(Poll {
                    batches,
                    rebalanced: None,
                });
            }
            self.check();
            tokio::select! {
                () = self.fetcher.ready.notified() => {}
                () = group::changed(&mut self.group) => {}
                () = tokio::time::sleep_until(deadline.min(self.next_check)) => {
                    if Instant::now() >= deadline {
                        return Ok(Poll::default());
                    }
                }
            }
        }
    }

    /// What is there to give out.
    fn take(&self) -> Result<Option<Vec<FetchedBatch>>, ClientError> {
        let (batches, error) = {
            let mut partitions = self.fetcher.lock();
            let batches = partitions.take(self.config.max_poll_bytes);
            let error = if batches.is_empty() {
                partitions.take_error()
            } else {
                None
            };
            (batches, error)
        };
        if let Some(error) = error {
            return Err(error);
        }
        if batches.is_empty() {
            return Ok(None);
        }
        self.fetcher.more();
        Ok(Some(batches))
    }

    /// Starts to look for what is missing, now and every second.
    fn check(&mut self) {
        let now = Instant::now();
        let is_due = now >= self.next_check;
        if is_due {
            self.next_check = now + CHECK_INTERVAL;
        }
        if is_due
            || self.fetcher.has_chores.load(Ordering::Acquire)
            || self.fetcher.lock().has_searches()
        {
            self.fetcher.start_chores();
        }
    }

    /// Stores positions of the group: for each partition the offset after the last record that is done.
    ///
    /// # Errors
    ///
    /// [`ClientError::Fenced`] if the partitions belong to somebody else by now.
    pub async fn commit(
        &mut self,
        offsets: &[(TopicPartition, OffsetAndMetadata)],
    ) -> Result<(), ClientError> {
        let mut retry = Retry::api(self.client.config());
        loop {
            let committer = self.group_metadata()?;
            let error = match self.client.commit_offsets(&committer, offsets).await {
                Err(error) if error.code() == Some(ErrorCode::StaleMemberEpoch) => error,
                result => return result,
            };
            // The coordinator has given this member a newer epoch, of which a heartbeat tells (KIP-848).
            retry.wait(error).await?;
        }
    }

    /// In whose name this consumer stores positions, for
    /// [`TransactionalProducer::send_offsets`](crate::TransactionalProducer::send_offsets). Changes with every
    /// rebalance, so ask for it each time.
    ///
    /// # Errors
    ///
    /// There is no `group_id`; or [`ClientError::Fenced`], as the group has gone on without this member.
    pub fn group_metadata(&self) -> Result<GroupMetadata, ClientError> {
        match &self.group {
            Some(group) => group.committer(),
            None => Ok(GroupMetadata::outsider(KString::copy_from(
                self.group_id()?,
            ))),
        }
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
        let require_stable = self.config.isolation == Isolation::ReadCommitted;
        self.client
            .committed_offsets(self.group_id()?, Some(partitions), require_stable)
            .await
    }

    /// Offset of the next record that [`poll`](Self::poll) gives, once it is known.
    #[must_use]
    pub fn position(&self, topic_partition: &TopicPartition) -> Option<i64> {
        self.fetcher.lock().position(topic_partition)
    }

    /// First offset that consumers could not read yet at the last fetch.
    #[must_use]
    pub fn high_watermark(&self, topic_partition: &TopicPartition) -> Option<i64> {
        let ends = self.fetcher.lock().ends(topic_partition)?;
        Some(ends.high_watermark)
    }

    /// Records that can be read and were not yet, as of the last fetch: up to the high watermark, or, of committed
    /// records only, up to the last stable offset.
    #[must_use]
    pub fn lag(&self, topic_partition: &TopicPartition) -> Option<i64> {
        let partitions = self.fetcher.lock();
        let position = partitions.position(topic_partition)?;
        let ends = partitions.ends(topic_partition)?;
        Some((ends.readable - position).max(0))
    }

    /// The partitions that are read.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.fetcher.lock().names()
    }

    /// Generation of the group that this member is in, if it is in one.
    #[must_use]
    pub fn group_generation(&self) -> Option<i32> {
        let group = self.group.as_ref()?;
        group.committer().ok().map(|member| member.generation_id)
    }

    /// Stops giving batches of these partitions until [`resume`](Self::resume); they stay assigned.
    pub fn pause(&mut self, partitions: &[TopicPartition]) {
        let mut state = self.fetcher.lock();
        for name in partitions {
            state.set_paused(name, true);
        }
    }

    /// Ends a [`pause`](Self::pause).
    pub fn resume(&mut self, partitions: &[TopicPartition]) {
        let mut state = self.fetcher.lock();
        for name in partitions {
            state.set_paused(name, false);
        }
        drop(state);
        self.fetcher.more();
        self.fetcher.ready.notify_one();
    }

    /// Leaves the group and stops fetching. Commits nothing, except with `enable_auto_commit`.
    pub async fn close(mut self) {
        if let Some(group) = self.group.take() {
            group.close().await;
        }
    }

    fn group_id(&self) -> Result<&str, ClientError> {
        self.config.group_id.as_deref().ok_or_else(no_group)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.fetcher.stop();
    }
}

fn no_group() -> ClientError {
    ClientError::Config {
        setting: "group_id",
        reason: "it is not set; give the consumer a group to subscribe and to commit offsets"
            .to_owned(),
    }
}

fn not_assigned(topic_partition: &TopicPartition) -> ClientError {
    ClientError::Config {
        setting: "topic_partition",
        reason: format!("{topic_partition} is not assigned to this consumer"),
    }
}

/// How often poll looks for missing leaders and old metadata.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
