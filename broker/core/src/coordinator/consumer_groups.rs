//! Consumer groups (KIP-848): finds or makes the group, writes down what changes, and takes it back
//! if that cannot be made durable.
//!
//! Unlike a classic group, a consumer group changes at once, by the very records that are written.
//! Answers wait until the newest of its records is committed, so nobody is told what a crash undoes.

use std::sync::Arc;

use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_group_describe::DescribedGroup;
use moldau_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use moldau_protocol::types::KString;
use moldau_protocol::{EncodeError, ResponseKind};

use super::pending::Pending;
use super::records::group_tombstone;
use super::{Action, Coordinator, CoordinatorRecord};
use crate::consumer_group::{
    Beat, Changes, ConsumerGroup, ConsumerGroupSettings, Context, GroupRecord, describe_missing,
    describe_other_kind, not_a_consumer_group,
};
use crate::group::{Caller, Group, GroupState, Outbox};
use crate::ids::{AppendId, Token};
use crate::metadata::{MetadataImage, ResourceType};
use crate::rejection::Rejection;

/// What an append changes of a consumer group.
#[derive(Debug)]
pub(super) struct ConsumerGroupChange {
    pub(super) group_id: KString,
    pub(super) changes: Changes,
    /// The group as it was, where it became one of the other kind or was removed.
    pub(super) prior: Option<Prior>,
}

/// A group that was there before.
#[derive(Debug)]
pub(super) enum Prior {
    Classic(Box<Group>),
    Consumer(Box<ConsumerGroup>),
}

/// A change on its way to the log, and who waits for it.
pub(super) struct ConsumerGroupWrite {
    pub(super) change: ConsumerGroupChange,
    /// The record of the other kind of group, before or after those of the change.
    pub(super) before: Option<Result<CoordinatorRecord, EncodeError>>,
    pub(super) after: Option<Result<CoordinatorRecord, EncodeError>>,
    pub(super) response: Option<(Token, ResponseKind)>,
}

impl ConsumerGroupWrite {
    pub(super) const fn new(group_id: KString, changes: Changes) -> Self {
        Self {
            change: ConsumerGroupChange {
                group_id,
                changes,
                prior: None,
            },
            before: None,
            after: None,
            response: None,
        }
    }
}

impl Coordinator {
    /// Takes over a new image; groups follow with their members' next heartbeats.
    pub fn metadata_changed(&mut self, image: &Arc<MetadataImage>) {
        if !self.image.has_same_topics(image) {
            self.topics_version += 1;
        }
        self.image = Arc::clone(image);
    }

    /// ConsumerGroupHeartbeat v0–1. `fresh_id` is random; it becomes the id of a member without one.
    pub fn consumer_group_heartbeat(
        &mut self,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
        fresh_id: u128,
        now_ms: i64,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let beat = Beat {
            caller,
            request,
            fresh_id,
        };
        let (image, settings) = self.context_of(&request.group_id);
        let context = self.context(&image, &settings, now_ms);
        if let Err(rejection) = self.take_heartbeat(&beat, &context, &mut actions) {
            let response = ConsumerGroupHeartbeatResponse {
                error_code: rejection.code.code(),
                error_message: Some(rejection.message.into()),
                ..Default::default()
            };
            actions.push(Action::Respond {
                token: caller.token,
                response: response.into(),
            });
        }
        actions
    }

    /// ConsumerGroupDescribe v0–1, for one of its groups.
    #[must_use]
    pub fn describe_consumer_group(&self, group_id: &KString) -> DescribedGroup {
        let (image, settings) = self.context_of(group_id);
        match self.consumer_groups.get(group_id) {
            Some(group) => group.describe(&self.context(&image, &settings, 0)),
            None if self.groups.contains_key(group_id) => describe_other_kind(group_id),
            None => describe_missing(group_id),
        }
    }

    /// The image and the settings that hold for a group.
    pub(super) fn context_of(
        &self,
        group_id: &KString,
    ) -> (Arc<MetadataImage>, ConsumerGroupSettings) {
        let own = self.image.config(ResourceType::Group, group_id);
        let settings = self.settings.consumer_group.of_group(own.map(Arc::as_ref));
        (Arc::clone(&self.image), settings)
    }

    pub(super) const fn context<'a>(
        &self,
        image: &'a MetadataImage,
        settings: &'a ConsumerGroupSettings,
        now_ms: i64,
    ) -> Context<'a> {
        Context {
            image,
            topics_version: self.topics_version,
            settings,
            now_ms,
        }
    }

    fn take_heartbeat(
        &mut self,
        beat: &Beat<'_>,
        context: &Context<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Rejection> {
        ConsumerGroup::validate_heartbeat(beat, context)?;
        let group_id = beat.request.group_id.detached();
        if beat.leaves() {
            return self.leave_by_heartbeat(&group_id, beat, context, actions);
        }
        let Some(group) = self.consumer_groups.get_mut(&group_id) else {
            return self.begin_consumer_group(group_id, beat, context, actions);
        };
        let mut changes = Changes::default();
        let response = match group.heartbeat(beat, context, &mut changes) {
            Ok(response) => response,
            Err(rejection) => {
                group.take_back(&changes);
                return Err(rejection);
            }
        };
        // If nothing changes, deadlines only move back, and a timer that comes too early may stay.
        let session_ms = i64::from(context.settings.session_timeout_ms);
        let unchanged = changes.records.is_empty();
        let write = ConsumerGroupWrite {
            response: Some((beat.caller.token, response.into())),
            ..ConsumerGroupWrite::new(group_id.clone(), changes)
        };
        self.write_consumer_group(write, actions);
        match unchanged {
            true => self
                .timers
                .not_later(&group_id, context.now_ms.saturating_add(session_ms)),
            false => self.set_timer(&group_id),
        }
        Ok(())
    }

    /// The first member joins, which may make a classic group a consumer group.
    fn begin_consumer_group(
        &mut self,
        group_id: KString,
        beat: &Beat<'_>,
        context: &Context<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<(), Rejection> {
        if !beat.joins() {
            return Err(not_a_consumer_group(&group_id));
        }
        if self.is_unclean(&group_id) {
            let message = format!("group {group_id} is being restored; try again later");
            return Err(Rejection::new(ErrorCode::CoordinatorNotAvailable, message));
        }
        let mut changes = Changes::default();
        let mut group = match self.groups.get(&group_id) {
            Some(classic) if classic.state() != GroupState::Empty => {
                upgrade(classic, context, &mut changes)?
            }
            _ => ConsumerGroup::new(group_id.clone()),
        };
        let response = group.heartbeat(beat, context, &mut changes)?;
        let mut write = ConsumerGroupWrite {
            response: Some((beat.caller.token, response.into())),
            ..ConsumerGroupWrite::new(group_id.clone(), changes)
        };
        if let Some(mut classic) = self.groups.remove(&group_id) {
            // Whoever waits is to join again, and then joins the consumer group.
            let mut out = Outbox::default();
            classic.fail_waiting(ErrorCode::RebalanceInProgress, &mut out);
            respond(out, actions);
            write.before = Some(group_tombstone(&group_id));
            write.change.prior = Some(Prior::Classic(Box::new(classic)));
        }
        self.consumer_groups.insert(group_id.clone(), group);
        self.write_consumer_group(write, actions);
        self.set_timer(&group_id);
        Ok(())
    }

    /// Hands the records of a change to the shell. Without any, the answer leaves with those that are
    /// on their way already.
    pub(super) fn write_consumer_group(
        &mut self,
        write: ConsumerGroupWrite,
        actions: &mut Vec<Action>,
    ) {
        let ConsumerGroupWrite {
            change,
            before,
            after,
            response,
        } = write;
        let changed = change.changes.records.iter();
        let encoded = changed.map(|record| record.encode(&change.group_id));
        let encoded = before.into_iter().chain(encoded).chain(after);
        let Ok(records) = encoded.collect::<Result<Vec<_>, _>>() else {
            // A string longer than Kafka's format allows.
            let id = AppendId(self.next_append);
            let error = ErrorCode::UnknownServerError;
            self.take_back(id, change, error, actions);
            let pending = Pending {
                response,
                ..Pending::default()
            };
            return pending.give_up(error, &mut Outbox::default(), actions);
        };
        if records.is_empty() {
            return self.respond_after_pending(&change.group_id, response, actions);
        }
        let pending = Pending {
            consumer_group: Some(change),
            response,
            ..Pending::default()
        };
        self.append(records, pending, actions);
    }

    /// Answers once the newest change of the group is durable.
    pub(super) fn respond_after_pending(
        &mut self,
        group_id: &KString,
        response: Option<(Token, ResponseKind)>,
        actions: &mut Vec<Action>,
    ) {
        let newest = self.pending.values_mut().rev().find(|pending| {
            let change = pending.consumer_group.as_ref();
            change.is_some_and(|change| change.group_id == *group_id)
        });
        match newest {
            Some(pending) => pending.later_responses.extend(response),
            None => {
                actions
                    .extend(response.map(|(token, response)| Action::Respond { token, response }));
            }
        }
    }

    pub(super) fn set_timer(&mut self, group_id: &KString) {
        let classic = self.groups.get(group_id).and_then(Group::poll_timeout);
        let consumer = self
            .consumer_groups
            .get(group_id)
            .and_then(ConsumerGroup::poll_timeout);
        let deadlines = [classic.or(consumer), self.clean_up_due(group_id)];
        self.timers
            .set(group_id, deadlines.into_iter().flatten().min());
    }

    /// Takes over a record of the log.
    pub(super) fn apply_to_consumer_group(
        &mut self,
        group_id: &KString,
        record: GroupRecord,
        creates: bool,
    ) {
        if creates {
            // Its own record is gone by then; this is one that only stored offsets.
            self.groups.remove(group_id);
            self.consumer_groups
                .entry(group_id.clone())
                .or_insert_with(|| ConsumerGroup::new(group_id.clone()));
        }
        if let Some(group) = self.consumer_groups.get_mut(group_id) {
            group.apply(record);
            if group.is_gone() {
                self.consumer_groups.remove(group_id);
            }
        }
    }

    /// Members that came back because their removal could not be written get a whole session.
    pub(super) fn watch_returned(&mut self, group_id: &KString, now_ms: i64) {
        let (_, settings) = self.context_of(group_id);
        if let Some(group) = self.consumer_groups.get_mut(group_id) {
            group.watch_returned(&settings, now_ms);
        }
        self.set_timer(group_id);
    }

    pub(super) fn load_consumer_groups(&mut self, now_ms: i64) {
        let group_ids: Vec<KString> = self.consumer_groups.keys().cloned().collect();
        for group_id in group_ids {
            let (_, settings) = self.context_of(&group_id);
            if let Some(group) = self.consumer_groups.get_mut(&group_id) {
                group.loaded(&settings, now_ms);
            }
            self.set_timer(&group_id);
        }
    }
}

/// A classic group with members as a consumer group, if it may become one.
fn upgrade(
    classic: &Group,
    context: &Context<'_>,
    changes: &mut Changes,
) -> Result<ConsumerGroup, Rejection> {
    let group_id = classic.group_id();
    let allowed = context.settings.migration_policy.allows_upgrade()
        && classic.is_consumer_group()
        && classic.member_count() <= context.settings.max_size;
    if !allowed {
        return Err(not_a_consumer_group(group_id));
    }
    ConsumerGroup::from_classic(classic, context, changes)
        .ok_or_else(|| not_a_consumer_group(group_id))
}

pub(super) fn respond(out: Outbox, actions: &mut Vec<Action>) {
    let responses = out.responses.into_iter();
    actions.extend(responses.map(|(token, response)| Action::Respond { token, response }));
}
