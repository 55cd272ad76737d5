//! When committed offsets are forgotten (`offsets.retention.minutes`, KIP-211).

use std::collections::BTreeSet;

use moldau_protocol::types::KString;

use super::{CommittedOffset, TopicPartition};
use crate::consumer_group::ConsumerGroup;
use crate::group::{Group, GroupState};

/// From when on the offsets of a group count as old.
#[derive(Debug)]
pub(crate) enum Expiry<'a> {
    /// Its members use them.
    Never,
    /// Since the group lost its last member.
    SinceEmpty(i64),
    /// Since each was committed: a group without membership.
    SinceCommit,
    /// Since each was committed, for topics that no member subscribes to.
    Unsubscribed(BTreeSet<KString>),
    /// Since each was committed, for topics that no member of a consumer group subscribes to.
    UnsubscribedBy(&'a ConsumerGroup),
}

impl<'a> Expiry<'a> {
    pub(crate) const fn of_consumers(group: &'a ConsumerGroup) -> Self {
        Self::UnsubscribedBy(group)
    }

    pub(crate) fn of(group: &Group) -> Self {
        match (group.state(), group.state_since_ms()) {
            _ if group.is_simple() => Self::SinceCommit,
            (GroupState::Empty, Some(since)) => Self::SinceEmpty(since),
            (GroupState::Empty, None) => Self::SinceCommit,
            (GroupState::Stable, _) => group
                .subscribed_topics()
                .map_or(Self::Never, Self::Unsubscribed),
            (GroupState::PreparingRebalance | GroupState::CompletingRebalance, _) => Self::Never,
        }
    }

    pub(crate) fn has_expired(
        &self,
        at: &TopicPartition,
        committed: &CommittedOffset,
        retention_ms: i64,
        now_ms: i64,
    ) -> bool {
        let since = match self {
            Self::Never => return false,
            Self::Unsubscribed(topics) if topics.contains(&at.topic) => return false,
            Self::UnsubscribedBy(group) if group.is_subscribed_to(&at.topic) => return false,
            Self::SinceEmpty(since) => *since,
            Self::SinceCommit | Self::Unsubscribed(_) | Self::UnsubscribedBy(_) => {
                committed.commit_timestamp_ms
            }
        };
        match committed.expire_timestamp_ms {
            Some(at_ms) => now_ms >= at_ms,
            None => now_ms.saturating_sub(since) >= retention_ms,
        }
    }
}
