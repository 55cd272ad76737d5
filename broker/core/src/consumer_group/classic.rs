//! Members of the classic protocol in a consumer group, while it is being migrated.
//!
//! They see a rebalance whenever their next step is due: a heartbeat tells them to join again, the
//! join is answered at once with their member epoch as the generation, and the sync with what they
//! hold. Each goes at its own pace, as the others do; nobody leads.

use std::collections::BTreeSet;

use bytes::Bytes;
use moldau_protocol::Message;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_protocol_assignment::{
    ConsumerProtocolAssignment, TopicPartition as AssignedTopic,
};
use moldau_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use moldau_protocol::messages::heartbeat::HeartbeatRequest;
use moldau_protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use moldau_protocol::messages::leave_group::MemberIdentity;
use moldau_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use moldau_protocol::types::KString;

use super::heartbeat::Step;
use super::member::{ClassicMember, ClassicProtocol, Member, MemberState};
use super::partitions::Partitions;
use super::record::GroupRecord;
use super::timers::after;
use super::{Changes, ConsumerGroup, Context};
use crate::group::Caller;
use crate::metadata::MetadataImage;
use crate::rejection::Rejection;

/// A JoinGroup request with all that decides its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassicJoin<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) request: &'a JoinGroupRequest,
    /// The member's id; a fresh one if the request brings none.
    pub(crate) member_id: &'a KString,
}

/// What a join comes to.
#[derive(Debug)]
pub(crate) struct ClassicJoined {
    pub(crate) response: JoinGroupResponse,
    /// Whether the member subscribes to something else than before.
    pub(crate) subscription_changed: bool,
}

impl ConsumerGroup {
    /// JoinGroup v0–9 of a member that speaks the classic protocol. With `advance` false the member
    /// keeps what it holds: the group is about to become a classic one.
    ///
    /// # Errors
    /// What the member is told; the caller then takes the changes back.
    pub(crate) fn join_classic(
        &mut self,
        join: &ClassicJoin<'_>,
        advance: bool,
        context: &Context<'_>,
        changes: &mut Changes,
    ) -> Result<ClassicJoined, Rejection> {
        let member_id = join.member_id;
        self.validate_room(&join.request.member_id, context.settings.max_size)?;
        self.validate_protocols(join.request)?;
        if join.request.member_id.is_empty()
            && join.request.group_instance_id.is_none()
            && join.caller.api_version >= MEMBER_ID_REQUIRED_FROM
        {
            return Err(Rejection::new(
                ErrorCode::MemberIdRequired,
                "join again with this id",
            ));
        }
        if let Some(instance) = &join.request.group_instance_id {
            self.find_classic_instance(join, instance, changes)?;
        }
        let (member, subscription) = self.described_classic(join)?;
        let subscription_changed = self
            .members
            .get(member_id)
            .is_none_or(|before| before.topics != member.topics || before.regex != member.regex);
        let record = GroupRecord::Member(member_id.clone(), Some(Box::new(member)));
        self.write(record, changes);
        self.refresh_epoch(subscription_changed, context, changes);
        if advance {
            self.refresh_target(context, changes);
            let owned = owned_partitions(&subscription, context.image);
            let step = Step {
                owned: Some(&owned),
                subscription_changed,
            };
            self.reconcile(member_id, &step, context, changes)?;
        }
        self.refresh_session(member_id, context.settings, context.now_ms);
        let sync_ms = after(context.now_ms, join.request.rebalance_timeout_ms.max(0));
        let timers = self.timers_of(member_id);
        timers.join_ms = None;
        timers.revocation = None;
        timers.sync_ms = Some(sync_ms);
        Ok(ClassicJoined {
            response: self.classic_join_response(member_id),
            subscription_changed,
        })
    }

    fn classic_join_response(&self, member_id: &KString) -> JoinGroupResponse {
        let classic = self
            .members
            .get(member_id)
            .and_then(|member| member.classic.as_ref());
        JoinGroupResponse {
            generation_id: self.current(member_id).member_epoch,
            protocol_type: Some(CONSUMER.into()),
            protocol_name: classic.map(ClassicMember::protocol_name),
            member_id: member_id.clone(),
            ..Default::default()
        }
    }

    /// Members may differ in what they speak only as long as there is something that all speak.
    fn validate_protocols(&self, request: &JoinGroupRequest) -> Result<(), Rejection> {
        let refused = || {
            let group_id = &self.group_id;
            let message = format!("no protocol asked for is spoken by all in group \"{group_id}\"");
            Rejection::new(ErrorCode::InconsistentGroupProtocol, message)
        };
        if *request.protocol_type != *CONSUMER || request.protocols.is_empty() {
            return Err(refused());
        }
        let by_all = |name: &KString| {
            let mut classic = self
                .members
                .values()
                .filter_map(|member| member.classic.as_ref());
            classic.all(|classic| classic.protocols.iter().any(|own| own.name == *name))
        };
        match request
            .protocols
            .iter()
            .any(|protocol| by_all(&protocol.name))
        {
            true => Ok(()),
            false => Err(refused()),
        }
    }

    fn find_classic_instance(
        &mut self,
        join: &ClassicJoin<'_>,
        instance: &KString,
        changes: &mut Changes,
    ) -> Result<(), Rejection> {
        if !join.request.member_id.is_empty() {
            return self.require_instance(instance, join.member_id).map(drop);
        }
        if let Some(holder) = self.static_members.get(instance).cloned() {
            self.replace_member(&holder, join.member_id, changes);
        }
        Ok(())
    }

    fn described_classic(
        &self,
        join: &ClassicJoin<'_>,
    ) -> Result<(Member, ConsumerProtocolSubscription), Rejection> {
        let request = join.request;
        let before = self
            .members
            .get(join.member_id)
            .cloned()
            .unwrap_or_default();
        let protocols = request.protocols.iter().map(|protocol| ClassicProtocol {
            name: protocol.name.detached(),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        });
        let classic = ClassicMember {
            session_timeout_ms: request.session_timeout_ms,
            protocols: protocols.collect(),
        };
        let subscription = classic.subscription().ok_or_else(|| {
            let message = "the subscription is not of the form that consumers use";
            Rejection::new(ErrorCode::InconsistentGroupProtocol, message)
        })?;
        let instance = request.group_instance_id.as_ref().map(KString::detached);
        let rack = subscription.rack_id.as_ref().map(KString::detached);
        let member = Member {
            instance_id: instance.or(before.instance_id),
            rack_id: rack.filter(|rack| !rack.is_empty()).or(before.rack_id),
            client_id: join.caller.client_id.detached(),
            client_host: join.caller.client_host.detached(),
            topics: subscription.topics.iter().map(KString::detached).collect(),
            // Consumers of the classic protocol resolve expressions themselves.
            regex: None,
            rebalance_timeout_ms: match request.rebalance_timeout_ms {
                ..0 => request.session_timeout_ms,
                timeout_ms => timeout_ms,
            },
            server_assignor: before.server_assignor,
            classic: Some(classic),
        };
        Ok((member, subscription))
    }

    /// SyncGroup v0–5: what the member holds.
    ///
    /// # Errors
    /// What the member is told.
    pub(crate) fn sync_classic(
        &mut self,
        request: &SyncGroupRequest,
        context: &Context<'_>,
    ) -> Result<SyncGroupResponse, Rejection> {
        let instance = request.group_instance_id.as_ref();
        let member_id = self.classic_member(&request.member_id, instance)?;
        self.require_generation(&member_id, request.generation_id)?;
        let member = self.require_member(&member_id)?;
        let protocol = member.classic.as_ref().map(ClassicMember::protocol_name);
        let version = member
            .classic
            .as_ref()
            .map_or(0, ClassicMember::embedded_version);
        let other = |asked: &Option<KString>, ours: &str| {
            asked.as_ref().is_some_and(|asked| **asked != *ours)
        };
        if other(&request.protocol_type, CONSUMER)
            || other(&request.protocol_name, &protocol.unwrap_or_default())
        {
            let message = "the protocol is not the one that the join was answered with";
            return Err(Rejection::new(
                ErrorCode::InconsistentGroupProtocol,
                message,
            ));
        }
        let current = self.current(&member_id);
        // A member that must give up partitions has joined already, and first has to hear so.
        if self.epoch.epoch > current.member_epoch
            && current.state != MemberState::UnrevokedPartitions
        {
            self.expect_join(&member_id, context.now_ms);
            let message = "the group has changed since; join again";
            return Err(Rejection::new(ErrorCode::RebalanceInProgress, message));
        }
        self.timers_of(&member_id).sync_ms = None;
        self.refresh_session(&member_id, context.settings, context.now_ms);
        let assignment =
            embedded_assignment(&current.assigned.partitions(), version, context.image);
        Ok(SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        })
    }

    /// Heartbeat v0–4: tells the member to join again when its next step is due.
    ///
    /// # Errors
    /// What the member is told.
    pub(crate) fn heartbeat_classic(
        &mut self,
        request: &HeartbeatRequest,
        context: &Context<'_>,
    ) -> Result<(), Rejection> {
        let instance = request.group_instance_id.as_ref();
        let member_id = self.classic_member(&request.member_id, instance)?;
        self.require_generation(&member_id, request.generation_id)?;
        self.refresh_session(&member_id, context.settings, context.now_ms);
        let current = self.current(&member_id);
        let due = current.member_epoch < self.epoch.epoch
            || match current.state {
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => !self.waits_for_others(&member_id),
                MemberState::Stable | MemberState::Unknown => false,
            };
        if due {
            self.expect_join(&member_id, context.now_ms);
            let message = "the group has changed since; join again";
            return Err(Rejection::new(ErrorCode::RebalanceInProgress, message));
        }
        Ok(())
    }

    /// LeaveGroup v0–5: finds the member that leaves.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID.
    pub(crate) fn leaving_classic(&self, leaving: &MemberIdentity) -> Result<KString, Rejection> {
        match &leaving.group_instance_id {
            // An admin removes a static member, whatever it speaks.
            Some(instance) if leaving.member_id.is_empty() => {
                let holder = self.static_members.get(instance);
                holder
                    .cloned()
                    .ok_or_else(|| self.unknown(&leaving.member_id))
            }
            instance => self.classic_member(&leaving.member_id, instance.as_ref()),
        }
    }

    /// Whether a member that a request names is there and speaks the classic protocol.
    fn classic_member(
        &self,
        member_id: &KString,
        instance: Option<&KString>,
    ) -> Result<KString, Rejection> {
        let member_id = match instance {
            Some(instance) => self.require_instance(instance, member_id)?,
            None => member_id.detached(),
        };
        match self.require_member(&member_id)?.classic {
            Some(_) => Ok(member_id),
            None => Err(self.unknown(&member_id)),
        }
    }

    fn unknown(&self, member_id: &KString) -> Rejection {
        let group_id = &self.group_id;
        Rejection::new(
            ErrorCode::UnknownMemberId,
            format!(
                "member \"{member_id}\" of the classic protocol is not in group \"{group_id}\""
            ),
        )
    }

    fn require_generation(&self, member_id: &KString, generation_id: i32) -> Result<(), Rejection> {
        let epoch = self.current(member_id).member_epoch;
        if epoch == generation_id {
            return Ok(());
        }
        Err(Rejection::new(
            ErrorCode::IllegalGeneration,
            format!("member \"{member_id}\" is at epoch {epoch}, not {generation_id}"),
        ))
    }

    fn expect_join(&mut self, member_id: &KString, now_ms: i64) {
        let timeout_ms = self
            .members
            .get(member_id)
            .map_or(0, |member| member.rebalance_timeout_ms);
        let timers = self.timers_of(member_id);
        timers.join_ms.get_or_insert(after(now_ms, timeout_ms));
    }

    /// Whether others still hold something of a member's target.
    fn waits_for_others(&self, member_id: &KString) -> bool {
        let target = self.targets.get(member_id);
        target
            .into_iter()
            .flat_map(Partitions::iter)
            .any(|(topic_id, partition)| self.owners.has_other(topic_id, partition, member_id))
    }
}

/// What a consumer of the classic protocol says that it holds.
fn owned_partitions(
    subscription: &ConsumerProtocolSubscription,
    image: &MetadataImage,
) -> Partitions {
    let mut owned = Partitions::default();
    for topic in &subscription.owned_partitions {
        if let Some(id) = image.topic(&topic.topic).map(|topic| topic.id) {
            topic
                .partitions
                .iter()
                .for_each(|index| owned.insert(id, *index));
        }
    }
    owned
}

/// Partitions in the form in which consumers of the classic protocol get them.
pub(super) fn embedded_assignment(
    partitions: &Partitions,
    version: i16,
    image: &MetadataImage,
) -> Bytes {
    let topic = |(topic_id, partitions): (_, &BTreeSet<i32>)| {
        let name = image.topic_by_id(topic_id)?.name.clone();
        Some(AssignedTopic {
            topic: name,
            partitions: partitions.iter().copied().collect(),
        })
    };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: partitions.topics().filter_map(topic).collect(),
        ..Default::default()
    };
    let newest = ConsumerProtocolAssignment::VERSIONS.max;
    // Names of topics are short enough to be encoded.
    assignment
        .encode_versioned(version.clamp(0, newest))
        .unwrap_or_default()
}

const CONSUMER: &str = "consumer";
const MEMBER_ID_REQUIRED_FROM: i16 = 4;
