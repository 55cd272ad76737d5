//! ConsumerGroupHeartbeat v0–1: a member joins, says what has changed, and learns what it is to hold.

use std::collections::BTreeSet;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    RequestTopicPartitions, ResponseTopicPartitions,
};
use moldau_protocol::types::{KString, Uuid};

use super::member::{CurrentAssignment, JOIN_EPOCH, LEAVE_EPOCH, LEFT_STATIC_EPOCH, Member};
use super::partitions::{HeldPartitions, Partitions};
use super::reconcile::Reconciliation;
use super::record::GroupRecord;
use super::{Changes, ConsumerGroup, Context};
use crate::group::Caller;
use crate::rejection::Rejection;

/// A heartbeat with all that decides its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) request: &'a ConsumerGroupHeartbeatRequest,
    /// Random bits, for the id of a member that brings none.
    pub(crate) fresh_id: u128,
}

impl Beat<'_> {
    /// Whether the member joins.
    pub(crate) const fn joins(&self) -> bool {
        self.request.member_epoch == JOIN_EPOCH
    }

    /// Whether the member leaves, for good or for a while.
    pub(crate) const fn leaves(&self) -> bool {
        matches!(self.request.member_epoch, LEAVE_EPOCH | LEFT_STATIC_EPOCH)
    }

    /// Whether a member that leaves will come back.
    pub(crate) const fn comes_back(&self) -> bool {
        self.request.member_epoch == LEFT_STATIC_EPOCH
    }
}

/// How a member is to be brought nearer to its target.
pub(super) struct Step<'a> {
    pub(super) owned: Option<&'a Partitions>,
    pub(super) subscription_changed: bool,
}

impl ConsumerGroup {
    /// Checks a heartbeat's fields.
    ///
    /// # Errors
    /// INVALID_REQUEST, or UNSUPPORTED_ASSIGNOR.
    pub(crate) fn validate_heartbeat(
        beat: &Beat<'_>,
        context: &Context<'_>,
    ) -> Result<(), Rejection> {
        super::request::validate(beat.request, beat.caller.api_version, context.settings)
    }

    /// Takes a heartbeat that does not say that the member leaves.
    ///
    /// # Errors
    /// What the member is told; the caller then takes the changes back.
    pub(crate) fn heartbeat(
        &mut self,
        beat: &Beat<'_>,
        context: &Context<'_>,
        changes: &mut Changes,
    ) -> Result<ConsumerGroupHeartbeatResponse, Rejection> {
        let request = beat.request;
        let joins = beat.joins();
        let owned = request.topic_partitions.as_deref().map(owned_partitions);
        self.validate_room(&request.member_id, context.settings.max_size)?;
        let member_id = match request.member_id.is_empty() {
            true => KString::from(Uuid(beat.fresh_id.to_be_bytes()).to_string()),
            false => request.member_id.detached(),
        };
        if let Some(instance) = &request.instance_id {
            self.find_static(&member_id, instance, beat, owned.as_ref(), changes)?;
        } else if self.members.contains_key(&member_id) || !joins {
            self.validate_epoch(&member_id, request.member_epoch, owned.as_ref())?;
        }
        let before = self.current(&member_id);
        let subscription_changed = self.describe_member(&member_id, beat, changes)?;
        let bump = self.epoch.epoch == 0 || subscription_changed;
        self.refresh_epoch(bump, context, changes);
        self.refresh_target(context, changes);
        let step = Step {
            owned: owned.as_ref(),
            subscription_changed,
        };
        self.reconcile(&member_id, &step, context, changes)?;
        self.refresh_session(&member_id, context.settings, context.now_ms);
        let now = self.current(&member_id);
        let changed = !now.assigned.same_partitions(&before.assigned);
        let told = joins || is_full(request) || changed;
        Ok(ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id),
            member_epoch: now.member_epoch,
            heartbeat_interval_ms: context.settings.heartbeat_interval_ms,
            assignment: told.then(|| assignment(&now.assigned)),
            ..Default::default()
        })
    }

    pub(super) fn validate_room(
        &self,
        member_id: &KString,
        max_size: usize,
    ) -> Result<(), Rejection> {
        if self.members.len() < max_size || self.members.contains_key(member_id) {
            return Ok(());
        }
        Err(Rejection::new(
            ErrorCode::GroupMaxSizeReached,
            format!(
                "group \"{}\" has as many members as it may: {max_size}",
                self.group_id
            ),
        ))
    }

    fn validate_epoch(
        &self,
        member_id: &KString,
        received: i32,
        owned: Option<&Partitions>,
    ) -> Result<(), Rejection> {
        self.require_member(member_id)?;
        let current = self.current(member_id);
        let known = current.member_epoch;
        // The answer that told of the newer epoch may have been lost: harmless if the member holds
        // nothing but what it has there.
        let answer_lost = received < known
            && received == current.previous_member_epoch
            && owned.is_some_and(|owned| {
                owned
                    .iter()
                    .all(|(topic_id, partition)| current.assigned.contains(topic_id, partition))
            });
        if received == JOIN_EPOCH || received == known || answer_lost {
            return Ok(());
        }
        Err(Rejection::new(
            ErrorCode::FencedMemberEpoch,
            format!(
                "member \"{member_id}\" is at epoch {known}, not {received}; it must give up all \
                 partitions and join again"
            ),
        ))
    }

    pub(super) fn require_member(&self, member_id: &KString) -> Result<&Member, Rejection> {
        self.members.get(member_id).ok_or_else(|| {
            Rejection::new(
                ErrorCode::UnknownMemberId,
                format!(
                    "member \"{member_id}\" is not in group \"{}\"",
                    self.group_id
                ),
            )
        })
    }

    /// Finds the static member of a heartbeat, or gives a new one the place of its predecessor.
    fn find_static(
        &mut self,
        member_id: &KString,
        instance: &KString,
        beat: &Beat<'_>,
        owned: Option<&Partitions>,
        changes: &mut Changes,
    ) -> Result<(), Rejection> {
        let epoch = beat.request.member_epoch;
        if epoch != JOIN_EPOCH {
            let member_id = self.require_instance(instance, member_id)?;
            return self.validate_epoch(&member_id, epoch, owned);
        }
        let Some(holder) = self.static_members.get(instance).cloned() else {
            return Ok(());
        };
        let speaks_classic = self
            .members
            .get(&holder)
            .is_some_and(|member| member.classic.is_some());
        if !speaks_classic && self.current(&holder).member_epoch != LEFT_STATIC_EPOCH {
            return Err(Rejection::new(
                ErrorCode::UnreleasedInstanceId,
                format!("instance id \"{instance}\" still belongs to member \"{holder}\""),
            ));
        }
        self.replace_member(&holder, member_id, changes);
        Ok(())
    }

    /// The member that has an instance id, if it is this one.
    pub(super) fn require_instance(
        &self,
        instance: &KString,
        member_id: &KString,
    ) -> Result<KString, Rejection> {
        match self.static_members.get(instance) {
            None => Err(Rejection::new(
                ErrorCode::UnknownMemberId,
                format!(
                    "instance id \"{instance}\" is not in group \"{}\"",
                    self.group_id
                ),
            )),
            Some(holder) if holder != member_id => Err(Rejection::new(
                ErrorCode::FencedInstanceId,
                format!("instance id \"{instance}\" now belongs to member \"{holder}\""),
            )),
            Some(holder) => Ok(holder.clone()),
        }
    }

    /// Gives the place of a static member, with its target and what it holds, to its successor.
    pub(super) fn replace_member(
        &mut self,
        old_id: &KString,
        new_id: &KString,
        changes: &mut Changes,
    ) {
        let member = self.members.get(old_id).cloned();
        let target = self.targets.get(old_id).cloned().unwrap_or_default();
        let current = CurrentAssignment {
            member_epoch: JOIN_EPOCH,
            previous_member_epoch: JOIN_EPOCH,
            ..self.current(old_id)
        };
        self.write_removal(old_id, changes);
        self.write(
            GroupRecord::Member(new_id.clone(), member.map(Box::new)),
            changes,
        );
        self.write(GroupRecord::Target(new_id.clone(), Some(target)), changes);
        self.write(GroupRecord::Current(new_id.clone(), Some(current)), changes);
    }

    /// Takes over what the heartbeat says of the member; says whether it subscribes to something else.
    fn describe_member(
        &mut self,
        member_id: &KString,
        beat: &Beat<'_>,
        changes: &mut Changes,
    ) -> Result<bool, Rejection> {
        let before = self.members.get(member_id);
        let member = described(before.cloned().unwrap_or_default(), beat);
        let same_topics = before.is_some_and(|before| before.topics == member.topics);
        let same_regex = before.is_some_and(|before| before.regex == member.regex);
        if let Some(regex) = &member.regex
            && !same_regex
            && !self.regexes.contains_key(regex)
        {
            super::regex::compile(regex)?;
        }
        let record = GroupRecord::Member(member_id.clone(), Some(Box::new(member)));
        self.write(record, changes);
        Ok(!same_topics || !same_regex)
    }

    /// Brings a member nearer to its target.
    pub(super) fn reconcile(
        &mut self,
        member_id: &KString,
        step: &Step<'_>,
        context: &Context<'_>,
        changes: &mut Changes,
    ) -> Result<(), Rejection> {
        let current = self.current(member_id);
        let target_epoch = self.target_epoch.epoch;
        if !step.subscription_changed && current.is_reconciled_to(target_epoch) {
            return Ok(());
        }
        let Some(member) = self.members.get(member_id) else {
            return Ok(());
        };
        let subscribed: BTreeSet<Uuid> = self.subscribed_topics(member, context);
        let nothing = Partitions::default();
        let held_by_other =
            |topic_id: Uuid, partition: i32| self.owners.has_other(topic_id, partition, member_id);
        let next = Reconciliation {
            current: &current,
            target_epoch,
            target: self.targets.get(member_id).unwrap_or(&nothing),
            subscribed: &subscribed,
            subscription_changed: step.subscription_changed,
            owned: step.owned,
            held_by_other: &held_by_other,
        }
        .next()?;
        if next != current {
            self.write(GroupRecord::Current(member_id.clone(), Some(next)), changes);
            self.watch_revocation(member_id, context.now_ms);
        }
        Ok(())
    }
}

/// The member as it is after a heartbeat; fields that are left out stay as they are.
fn described(before: Member, beat: &Beat<'_>) -> Member {
    let request = beat.request;
    let or_before = |new: &Option<KString>, before: Option<KString>| {
        new.as_ref().map(KString::detached).or(before)
    };
    Member {
        instance_id: or_before(&request.instance_id, before.instance_id),
        rack_id: or_before(&request.rack_id, before.rack_id),
        client_id: beat.caller.client_id.detached(),
        client_host: beat.caller.client_host.detached(),
        topics: match &request.subscribed_topic_names {
            Some(names) => names.iter().map(KString::detached).collect(),
            None => before.topics,
        },
        regex: or_before(&request.subscribed_topic_regex, before.regex)
            .filter(|regex| !regex.is_empty()),
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => before.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        server_assignor: or_before(&request.server_assignor, before.server_assignor),
        classic: None,
    }
}

/// Whether the member said everything, as it does after an error, and wants to hear everything.
fn is_full(request: &ConsumerGroupHeartbeatRequest) -> bool {
    let subscribes =
        request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    request.rebalance_timeout_ms != -1 && subscribes && request.topic_partitions.is_some()
}

fn owned_partitions(topics: &[RequestTopicPartitions]) -> Partitions {
    let of_topic = |topic: &RequestTopicPartitions| {
        let topic_id = topic.topic_id;
        let partitions = topic.partitions.clone();
        partitions.into_iter().map(move |index| (topic_id, index))
    };
    topics.iter().flat_map(of_topic).collect()
}

fn assignment(assigned: &HeldPartitions) -> Assignment {
    let topics = assigned
        .topics()
        .map(|(topic_id, partitions)| ResponseTopicPartitions {
            topic_id,
            partitions: partitions.keys().copied().collect(),
            ..Default::default()
        });
    Assignment {
        topic_partitions: topics.collect(),
        ..Default::default()
    }
}
