//! What can be asked without changing anything: DescribeGroups, ListGroups, OffsetFetch, figures.

use moldau_protocol::messages::describe_groups::DescribedGroup;
use moldau_protocol::messages::list_groups::{ListGroupsRequest, ListedGroup};
use moldau_protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchResponseGroup};
use moldau_protocol::types::KString;

use super::{CommittedOffset, Coordinator};
use crate::consumer_group::ConsumerGroup;
use crate::group::{Group, describe_missing, describe_not_classic, is_listed};
use crate::metadata::MetadataImage;
use crate::offsets::{fetch, offset_fetch_error};

/// A group in figures.
#[derive(Clone, Copy, Debug)]
pub struct GroupSummary<'a> {
    group: AnyGroup<'a>,
    coordinator: &'a Coordinator,
}

/// A group of either kind.
#[derive(Clone, Copy, Debug)]
enum AnyGroup<'a> {
    Classic(&'a Group),
    Consumer(&'a ConsumerGroup),
}

impl GroupSummary<'_> {
    /// The group's id.
    #[must_use]
    pub const fn group_id(&self) -> &KString {
        match self.group {
            AnyGroup::Classic(group) => group.group_id(),
            AnyGroup::Consumer(group) => group.group_id(),
        }
    }

    /// Kafka's name of its state.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self.group {
            AnyGroup::Classic(group) => group.state().name(),
            AnyGroup::Consumer(group) => group.state(),
        }
    }

    /// How many members it has.
    #[must_use]
    pub fn members(&self) -> usize {
        match self.group {
            AnyGroup::Classic(group) => group.member_count(),
            AnyGroup::Consumer(group) => group.member_count(),
        }
    }

    /// Its committed offsets by topic and partition.
    pub fn offsets(&self) -> impl Iterator<Item = (&KString, i32, &CommittedOffset)> {
        let offsets = self
            .coordinator
            .offsets
            .group(self.group_id())
            .into_iter()
            .flatten();
        offsets.map(|(at, committed)| (&at.topic, at.partition, committed))
    }
}

impl Coordinator {
    /// All groups: classic ones ordered by id, then consumer groups ordered by id.
    pub fn groups(&self) -> impl Iterator<Item = GroupSummary<'_>> {
        let classic = self.groups.values().map(AnyGroup::Classic);
        let consumer = self.consumer_groups.values().map(AnyGroup::Consumer);
        classic.chain(consumer).map(|group| GroupSummary {
            group,
            coordinator: self,
        })
    }

    /// DescribeGroups v0–6, for one of its groups.
    #[must_use]
    pub fn describe_group(&self, group_id: &KString, api_version: i16) -> DescribedGroup {
        match self.groups.get(group_id) {
            Some(group) => group.describe(),
            None if self.consumer_groups.contains_key(group_id) => {
                describe_not_classic(group_id, api_version)
            }
            None => describe_missing(group_id, api_version),
        }
    }

    /// ListGroups v0–5: this partition's part of the list.
    #[must_use]
    pub fn list_groups(&self, request: &ListGroupsRequest) -> Vec<ListedGroup> {
        let classic = self.groups.values().map(Group::listed);
        let consumer = self.consumer_groups.values().map(ConsumerGroup::listed);
        classic
            .chain(consumer)
            .filter(|group| is_listed(group, request))
            .collect()
    }

    /// OffsetFetch v1–10, for one of its groups.
    #[must_use]
    pub fn fetch_offsets(
        &self,
        group: &OffsetFetchRequestGroup,
        api_version: i16,
        image: &MetadataImage,
    ) -> OffsetFetchResponseGroup {
        if let Some(consumers) = self.consumer_groups.get(&group.group_id)
            && let Err(error) =
                consumers.validate_fetch(group.member_id.as_ref(), group.member_epoch)
        {
            return offset_fetch_error(group, error, api_version);
        }
        fetch(
            group,
            self.offsets.group(&group.group_id),
            api_version,
            image,
        )
    }
}
