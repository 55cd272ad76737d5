//! What can be asked without changing anything: DescribeGroups, ListGroups, OffsetFetch, figures.

use moldau_protocol::messages::describe_groups::DescribedGroup;
use moldau_protocol::messages::list_groups::{ListGroupsRequest, ListedGroup};
use moldau_protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchResponseGroup};
use moldau_protocol::types::KString;

use super::{CommittedOffset, Coordinator};
use crate::group::{Group, describe_missing, is_listed};
use crate::metadata::MetadataImage;
use crate::offsets::fetch;

/// A group in figures.
#[derive(Clone, Copy, Debug)]
pub struct GroupSummary<'a> {
    group: &'a Group,
    coordinator: &'a Coordinator,
}

impl GroupSummary<'_> {
    /// The group's id.
    #[must_use]
    pub const fn group_id(&self) -> &KString {
        self.group.group_id()
    }

    /// Kafka's name of its state.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        self.group.state().name()
    }

    /// How many members it has.
    #[must_use]
    pub fn members(&self) -> usize {
        self.group.member_count()
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
    /// All groups, ordered by id.
    pub fn groups(&self) -> impl Iterator<Item = GroupSummary<'_>> {
        self.groups.values().map(|group| GroupSummary {
            group,
            coordinator: self,
        })
    }

    /// DescribeGroups v0–6, for one of its groups.
    #[must_use]
    pub fn describe_group(&self, group_id: &KString, api_version: i16) -> DescribedGroup {
        match self.groups.get(group_id) {
            Some(group) => group.describe(),
            None => describe_missing(group_id, api_version),
        }
    }

    /// ListGroups v0–5: this partition's part of the list.
    #[must_use]
    pub fn list_groups(&self, request: &ListGroupsRequest) -> Vec<ListedGroup> {
        self.groups
            .values()
            .map(Group::listed)
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
        fetch(
            group,
            self.offsets.group(&group.group_id),
            api_version,
            image,
        )
    }
}
