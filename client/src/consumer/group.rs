//! Poll's side of a group: giving partitions up, taking new ones, committing positions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use moldau_protocol::{ErrorCode, KString};
use tokio::time::Instant;

use crate::client::Client;
use crate::consumer::Rebalance;
use crate::consumer::config::ConsumerConfig;
use crate::consumer::fetcher::Fetcher;
use crate::consumer::membership::{Joined, Membership, Phase, Polling};
use crate::consumer::partitions::Search;
use crate::consumer::subscription::Subscription;
use crate::error::ClientError;
use crate::offsets::GroupMetadata;
use crate::topic_partition::{OffsetAndMetadata, TopicPartition};

/// A consumer's part in its group.
#[derive(Debug)]
pub(crate) struct Group {
    client: Client,
    config: Arc<ConsumerConfig>,
    fetcher: Arc<Fetcher>,
    group_id: KString,
    subscription: Subscription,
    /// Whether it was changed since the group was joined last.
    is_subscription_new: bool,
    membership: Membership,
    /// The assignment that was taken over last, while this is a member.
    adopted: Option<Arc<Joined>>,
    /// What is read now.
    reading: Vec<TopicPartition>,
    /// Whether partitions were given up since the last join, which others wait for.
    has_given_up: bool,
    /// In whose name is committed; outlives `adopted` until the next join, so that what was read can be committed.
    committer: Option<GroupMetadata>,
    /// Whether the current failure was given to the program.
    has_reported: bool,
    auto_commit: AutoCommit,
}

/// What is committed in the background.
#[derive(Debug)]
struct AutoCommit {
    next: Instant,
    committed: BTreeMap<TopicPartition, i64>,
}

/// What poll has to do.
#[derive(Debug)]
pub(crate) enum Step {
    /// Give out batches, if there are any.
    Go,
    /// Tell the program.
    Changed(Rebalance),
}

impl Group {
    pub(crate) fn new(
        client: &Client,
        config: &Arc<ConsumerConfig>,
        fetcher: &Arc<Fetcher>,
        group_id: KString,
        subscription: Subscription,
    ) -> Self {
        Self {
            membership: Membership::start(client.clone(), Arc::clone(config), group_id.clone()),
            client: client.clone(),
            config: Arc::clone(config),
            fetcher: Arc::clone(fetcher),
            group_id,
            subscription,
            is_subscription_new: false,
            adopted: None,
            reading: Vec::new(),
            has_given_up: false,
            committer: None,
            has_reported: false,
            auto_commit: AutoCommit {
                next: Instant::now() + Duration::from_millis(config.auto_commit_interval_ms),
                committed: BTreeMap::new(),
            },
        }
    }

    /// Changes the topics; the next poll gives the partitions up and joins again. A join that is under way is
    /// for the old ones and waited for first.
    pub(crate) fn subscribe(&mut self, subscription: Subscription) {
        self.subscription = subscription;
        self.is_subscription_new = true;
    }

    pub(crate) fn polling(&self) -> Polling {
        self.membership.polling()
    }

    /// In whose name offsets are committed.
    pub(crate) fn committer(&self) -> Result<GroupMetadata, ClientError> {
        // With KIP-848 the epoch may have risen without any change that poll would have to act on.
        if let (Some(committer), Phase::Stable(joined)) =
            (&self.committer, &*self.membership.phase.borrow())
            && joined.member.member_id == committer.member_id
            && !joined.rejoins
            && self.membership.keeps_partitions()
        {
            return Ok(joined.member.clone());
        }
        self.committer.clone().ok_or_else(|| ClientError::Fenced {
            object: format!("this member of group \"{}\"", self.group_id),
            code: ErrorCode::UnknownMemberId,
        })
    }

    /// Acts on the membership's phase.
    pub(crate) async fn step(&mut self) -> Result<Step, ClientError> {
        if self.is_subscription_new {
            self.membership.rejoin();
        }
        let phase = self.membership.phase.borrow_and_update().clone();
        match phase {
            Phase::Stable(joined) => {
                if let Some(rebalance) = self.follow(&joined).await {
                    return Ok(Step::Changed(rebalance));
                }
                self.auto_commit();
            }
            Phase::Joining => self.auto_commit(),
            Phase::Rebalancing if self.membership.keeps_partitions() => self.join(),
            Phase::Idle | Phase::Rebalancing | Phase::Lost => {
                let is_lost = matches!(phase, Phase::Lost);
                if let Some(rebalance) = self.give_up(is_lost).await {
                    return Ok(Step::Changed(rebalance));
                }
                self.join();
            }
            Phase::Failed(error) => {
                if let Some(rebalance) = self.give_up(true).await {
                    return Ok(Step::Changed(rebalance));
                }
                if !std::mem::replace(&mut self.has_reported, true) {
                    return Err(error);
                }
                self.join();
            }
        }
        Ok(Step::Go)
    }

    fn join(&mut self) {
        self.has_reported = false;
        self.has_given_up = false;
        self.is_subscription_new = false;
        self.membership
            .join(&self.subscription, self.reading.clone());
    }

    /// Takes an assignment over: first gives up what is not in it, then, with the next call, reads what is new.
    async fn follow(&mut self, joined: &Arc<Joined>) -> Option<Rebalance> {
        if self
            .adopted
            .as_ref()
            .is_some_and(|adopted| Arc::ptr_eq(adopted, joined))
        {
            return None;
        }
        self.committer = Some(joined.member.clone());
        let wanted = |name: &TopicPartition| joined.partitions.contains(name);
        let (kept, revoked): (Vec<_>, Vec<_>) = self.reading.iter().cloned().partition(wanted);
        if !revoked.is_empty() {
            self.commit_all().await;
            self.fetcher.lock().assign(&kept, Search::Committed);
            self.reading = kept;
            self.has_given_up = true;
            return Some(Rebalance {
                revoked,
                ..Rebalance::default()
            });
        }
        let is_new = |name: &&TopicPartition| !self.reading.contains(name);
        let assigned: Vec<_> = joined.partitions.iter().filter(is_new).cloned().collect();
        self.fetcher
            .lock()
            .assign(&joined.partitions, Search::Committed);
        let is_first = self.adopted.is_none();
        self.reading.clone_from(&joined.partitions);
        self.adopted = Some(Arc::clone(joined));
        self.membership.adopted(Arc::clone(joined));
        if self.has_given_up && joined.rejoins {
            // The others wait for what this member has given up.
            self.join();
        }
        if assigned.is_empty() && !is_first {
            return None;
        }
        self.auto_commit.committed.clear();
        Some(Rebalance {
            assigned,
            ..Rebalance::default()
        })
    }

    /// Stops reading. Gives the change if there were partitions.
    async fn give_up(&mut self, is_lost: bool) -> Option<Rebalance> {
        if self.adopted.is_some() && !is_lost {
            self.commit_all().await;
        }
        self.adopted.take()?;
        self.fetcher.lock().assign(&[], Search::Committed);
        if is_lost {
            self.committer = None;
        }
        let revoked = std::mem::take(&mut self.reading);
        if revoked.is_empty() {
            return None;
        }
        Some(Rebalance {
            revoked,
            assigned: Vec::new(),
            lost: is_lost,
        })
    }

    /// With `enable_auto_commit`: commits positions in the background when it is time.
    ///
    /// What the last poll gave counts as done, as this poll asks for more.
    fn auto_commit(&mut self) {
        if !self.config.enable_auto_commit || Instant::now() < self.auto_commit.next {
            return;
        }
        let interval = Duration::from_millis(self.config.auto_commit_interval_ms);
        self.auto_commit.next = Instant::now() + interval;
        let offsets = self.uncommitted();
        let Some(committer) = self.committer.clone().filter(|_| !offsets.is_empty()) else {
            return;
        };
        let client = self.client.clone();
        tokio::spawn(async move {
            if let Err(error) = client.commit_offsets(&committer, &offsets).await {
                tracing::warn!(group = %committer.group_id, %error, "automatic commit failed");
            }
        });
    }

    /// With `enable_auto_commit`: commits positions before partitions go.
    async fn commit_all(&mut self) {
        if !self.config.enable_auto_commit {
            return;
        }
        let positions = self.fetcher.lock().positions();
        let offsets: Vec<_> = positions
            .into_iter()
            .map(|(name, position)| (name, OffsetAndMetadata::new(position)))
            .collect();
        let Some(committer) = self.committer.clone() else {
            return;
        };
        let commit = self.client.commit_offsets(&committer, &offsets);
        let result = tokio::time::timeout(LAST_COMMIT_WITHIN, commit).await;
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(group = %self.group_id, %error, "automatic commit failed");
            }
            Err(_) => tracing::warn!(group = %self.group_id, "automatic commit took too long"),
        }
    }

    /// Positions that have moved since the last automatic commit.
    fn uncommitted(&mut self) -> Vec<(TopicPartition, OffsetAndMetadata)> {
        let positions = self.fetcher.lock().positions();
        let moved = positions
            .iter()
            .filter(|(name, position)| self.auto_commit.committed.get(*name) != Some(*position))
            .map(|(name, position)| (name.clone(), OffsetAndMetadata::new(*position)))
            .collect();
        self.auto_commit.committed = positions;
        moved
    }

    /// Commits, if so configured, and leaves the group.
    pub(crate) async fn close(mut self) {
        let is_member = matches!(
            *self.membership.phase.borrow(),
            Phase::Stable(_) | Phase::Rebalancing
        );
        if is_member && self.adopted.is_some() {
            self.commit_all().await;
        }
        // A coordinator that cannot be reached finds out by itself.
        let _ = tokio::time::timeout(LEAVE_WITHIN, self.membership.leave()).await;
    }
}

/// Waits for a new phase of the group; for ever without a group.
pub(crate) async fn changed(group: &mut Option<Group>) {
    if let Some(group) = group {
        // The membership holds the sender too, so there always is a next phase to wait for.
        let _ = group.membership.phase.changed().await;
    } else {
        std::future::pending::<()>().await;
    }
}

/// How long a rebalance may wait for the automatic commit.
const LAST_COMMIT_WITHIN: Duration = Duration::from_secs(5);

/// How long closing may wait for the coordinator.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
