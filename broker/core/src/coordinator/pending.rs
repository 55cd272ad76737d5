//! Appends on their way: what they change, and who waits for them.

use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
use moldau_protocol::types::KString;

use super::consumer_groups::ConsumerGroupChange;
use super::txn_offsets::TransactionChange;
use super::{Action, Coordinator, CoordinatorRecord, TransactionalProducer};
use crate::group::{Group, Outbox, Then, join_error};
use crate::ids::{AppendId, Token};
use crate::offsets::OffsetChange;

/// What happens when an append is committed, or fails.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Offsets that change.
    pub(super) changes: Vec<OffsetChange>,
    /// What a group does then.
    pub(super) group: Option<(KString, Then)>,
    /// Groups that are removed; they come back if the append fails.
    pub(super) removed: Vec<Group>,
    /// What has changed of a consumer group.
    pub(super) consumer_group: Option<ConsumerGroupChange>,
    /// What happens to offsets of transactions.
    pub(super) transaction: Option<TransactionChange>,
    /// A group of whose log this removes what failed changes have left.
    pub(super) clean_up: Option<KString>,
    /// The answer that waits.
    pub(super) response: Option<(Token, ResponseKind)>,
    /// Answers to later requests that changed nothing but tell of what this append makes durable.
    pub(super) later_responses: Vec<(Token, ResponseKind)>,
}

impl Pending {
    pub(super) fn changes(changes: Vec<OffsetChange>) -> Self {
        Self {
            changes,
            ..Self::default()
        }
    }

    /// Whether it changes the group itself, and not only its offsets.
    pub(super) fn is_about(&self, group_id: &KString) -> bool {
        let changes = self.consumer_group.as_ref();
        changes.is_some_and(|change| change.group_id == *group_id)
            || self.group.as_ref().is_some_and(|(id, _)| id == group_id)
            || self.clean_up.as_ref() == Some(group_id)
            || self
                .removed
                .iter()
                .any(|group| group.group_id() == group_id)
    }

    pub(super) fn give_up(self, error: ErrorCode, out: &mut Outbox, actions: &mut Vec<Action>) {
        if let Some((_, then)) = self.group {
            then.fail(error, out);
        }
        respond_with_error(self.response, self.later_responses, error, actions);
    }
}

impl Coordinator {
    /// Hands records to the shell. Without any, the answer leaves at once.
    pub(super) fn append(
        &mut self,
        records: Vec<CoordinatorRecord>,
        pending: Pending,
        actions: &mut Vec<Action>,
    ) {
        self.append_as(records, None, pending, actions);
    }

    /// The same in the name of a transactional producer.
    pub(super) fn append_as(
        &mut self,
        records: Vec<CoordinatorRecord>,
        producer: Option<TransactionalProducer>,
        pending: Pending,
        actions: &mut Vec<Action>,
    ) {
        if records.is_empty() {
            if let Some((token, response)) = pending.response {
                actions.push(Action::Respond { token, response });
            }
            return;
        }
        let id = self.begin_append(pending);
        actions.push(Action::Append {
            id,
            producer,
            records,
        });
    }

    pub(super) fn begin_append(&mut self, pending: Pending) -> AppendId {
        let id = AppendId(self.next_append);
        self.next_append += 1;
        self.pending.insert(id, pending);
        id
    }

    /// The records of an append are committed: they take effect, and whoever waits is answered.
    pub fn committed(&mut self, id: AppendId, now_ms: i64) -> Vec<Action> {
        let Some(pending) = self.pending.remove(&id) else {
            return Vec::new();
        };
        for change in pending.changes {
            self.apply_change(change);
        }
        if let Some(change) = pending.transaction {
            self.apply_transaction(change);
        }
        if let Some(group_id) = pending.clean_up {
            self.cleaned_up(&group_id);
        }
        let mut actions = Vec::new();
        let responses = pending.response.into_iter().chain(pending.later_responses);
        actions.extend(responses.map(|(token, response)| Action::Respond { token, response }));
        if let Some((group_id, then)) = pending.group {
            self.persisted(&group_id, then, Ok(()), now_ms, &mut actions);
        }
        actions
    }

    /// The records of an append are not in the log, and never will be.
    pub fn append_failed(&mut self, id: AppendId, error: ErrorCode, now_ms: i64) -> Vec<Action> {
        let Some(pending) = self.pending.remove(&id) else {
            return Vec::new();
        };
        let error = as_coordinator_error(error);
        for group in pending.removed {
            let group_id = group.group_id().clone();
            // Unless someone has begun a new group under the same id.
            if !self.groups.contains_key(&group_id) {
                self.groups.insert(group_id.clone(), group);
                self.set_timer(&group_id);
            }
        }
        if let Some(group_id) = pending.clean_up {
            self.clean_up_failed(&group_id, now_ms);
        }
        let mut actions = Vec::new();
        if let Some(change) = pending.consumer_group {
            let group_id = change.group_id.clone();
            self.take_back(id, change, error, &mut actions);
            self.watch_returned(&group_id, now_ms);
        }
        respond_with_error(
            pending.response,
            pending.later_responses,
            error,
            &mut actions,
        );
        if let Some((group_id, mut then)) = pending.group {
            let later = self.pending.values_mut();
            let later = later.filter_map(|pending| pending.group.as_mut());
            let mut later = later.filter(|(later_id, _)| *later_id == group_id);
            later.any(|(_, later)| later.inherit(&mut then));
            self.persisted(&group_id, then, Err(error), now_ms, &mut actions);
        }
        actions
    }

    fn persisted(
        &mut self,
        group_id: &KString,
        then: Then,
        result: Result<(), ErrorCode>,
        now_ms: i64,
        actions: &mut Vec<Action>,
    ) {
        let mut out = Outbox::default();
        match self.groups.get_mut(group_id) {
            Some(group) => group.persisted(then, result, now_ms, &mut out),
            None => then.fail(ErrorCode::UnknownMemberId, &mut out),
        }
        self.after_group_event(group_id, out, None, actions);
    }
}

/// What a client is told when the log of its group cannot be written: errors that make it look for
/// the coordinator again, or try later.
const fn as_coordinator_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}

pub(super) fn respond_with_error(
    response: Option<(Token, ResponseKind)>,
    later: Vec<(Token, ResponseKind)>,
    error: ErrorCode,
    actions: &mut Vec<Action>,
) {
    for (token, response) in response.into_iter().chain(later) {
        let response = with_error(response, error);
        actions.push(Action::Respond { token, response });
    }
}

/// Turns a good answer into one that tells of an error, wherever the answer has room for it.
fn with_error(mut response: ResponseKind, error: ErrorCode) -> ResponseKind {
    let code = error.code();
    match &mut response {
        ResponseKind::OffsetCommit(response) => {
            let partitions = response
                .topics
                .iter_mut()
                .flat_map(|topic| &mut topic.partitions);
            partitions
                .filter(|partition| partition.error_code == NONE)
                .for_each(|partition| partition.error_code = code);
        }
        ResponseKind::TxnOffsetCommit(response) => {
            let partitions = response
                .topics
                .iter_mut()
                .flat_map(|topic| &mut topic.partitions);
            partitions
                .filter(|partition| partition.error_code == NONE)
                .for_each(|partition| partition.error_code = code);
        }
        ResponseKind::WriteTxnMarkers(response) => {
            let topics = response
                .markers
                .iter_mut()
                .flat_map(|marker| &mut marker.topics);
            topics
                .flat_map(|topic| &mut topic.partitions)
                .for_each(|partition| partition.error_code = code);
        }
        ResponseKind::OffsetDelete(response) => {
            response.error_code = code;
            response.topics.clear();
        }
        ResponseKind::LeaveGroup(response) => {
            response.error_code = code;
            response.members.clear();
        }
        ResponseKind::DeleteGroups(response) => {
            response
                .results
                .iter_mut()
                .for_each(|group| group.error_code = code);
        }
        ResponseKind::ConsumerGroupHeartbeat(response) => {
            *response = ConsumerGroupHeartbeatResponse {
                error_code: code,
                ..Default::default()
            };
        }
        ResponseKind::JoinGroup(response) => *response = join_error(&response.member_id, error),
        ResponseKind::SyncGroup(response) => {
            response.error_code = code;
            response.assignment.clear();
        }
        ResponseKind::Heartbeat(response) => response.error_code = code,
        _ => debug_assert!(false, "no other answer waits for an append"),
    }
    response
}

const NONE: i16 = ErrorCode::None.code();
