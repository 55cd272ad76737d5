//! Groups as DescribeGroups v0–6 and ListGroups v0–5 show them.

use std::collections::BTreeSet;

use moldau_protocol::Message;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use moldau_protocol::messages::describe_groups::{DescribedGroup, DescribedGroupMember};
use moldau_protocol::messages::list_groups::{ListGroupsRequest, ListedGroup};
use moldau_protocol::types::KString;

use super::member::Member;
use super::{Group, GroupState};

impl Group {
    pub(crate) fn describe(&self) -> DescribedGroup {
        // Metadata is told once a protocol is agreed upon; before, each member may speak several.
        let protocol = self
            .protocol_name
            .clone()
            .filter(|_| self.state == GroupState::Stable);
        let member = |member: &Member| DescribedGroupMember {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            member_metadata: protocol
                .as_ref()
                .map(|name| member.metadata(name))
                .unwrap_or_default(),
            member_assignment: protocol
                .as_ref()
                .map(|_| member.assignment.clone())
                .unwrap_or_default(),
            ..Default::default()
        };
        DescribedGroup {
            group_id: self.group_id.clone(),
            group_state: self.state.name().into(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: self.members.values().map(member).collect(),
            protocol_data: protocol.clone().unwrap_or_default(),
            ..Default::default()
        }
    }

    pub(crate) fn listed(&self) -> ListedGroup {
        ListedGroup {
            group_id: self.group_id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            group_state: self.state.name().into(),
            group_type: CLASSIC.into(),
            ..Default::default()
        }
    }

    /// The topics that members of a `consumer` group subscribe to; `None` if that cannot be told.
    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<KString>> {
        let protocol = self.protocol_name.as_ref()?;
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            let metadata = member.metadata(protocol);
            let subscription =
                ConsumerProtocolSubscription::decode_versioned_or_newer(metadata).ok()?;
            topics.extend(subscription.topics);
        }
        Some(topics)
    }

    pub(crate) fn is_consumer_group(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }
}

/// What is said of a group that is not there; from v6 on that is an error.
pub(crate) fn describe_missing(group_id: &KString, api_version: i16) -> DescribedGroup {
    describe_none(
        group_id,
        api_version,
        format!("there is no group \"{group_id}\""),
    )
}

/// What is said of a group that is not a classic one, as if it were not there.
pub(crate) fn describe_not_classic(group_id: &KString, api_version: i16) -> DescribedGroup {
    let message = format!("group \"{group_id}\" is not a classic group");
    describe_none(group_id, api_version, message)
}

fn describe_none(group_id: &KString, api_version: i16, message: String) -> DescribedGroup {
    let group = DescribedGroup {
        group_id: group_id.clone(),
        group_state: GroupState::DEAD.into(),
        ..Default::default()
    };
    if api_version < NOT_FOUND_FROM {
        return group;
    }
    DescribedGroup {
        error_code: ErrorCode::GroupIdNotFound.code(),
        error_message: Some(message.into()),
        ..group
    }
}

/// Whether a listing asks for a group; filters know no case, and an empty one lets all through.
pub(crate) fn is_listed(group: &ListedGroup, request: &ListGroupsRequest) -> bool {
    let passes = |filter: &[KString], value: &KString| {
        filter.is_empty()
            || filter
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    passes(&request.states_filter, &group.group_state)
        && passes(&request.types_filter, &group.group_type)
}

const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";
const NOT_FOUND_FROM: i16 = 6;
