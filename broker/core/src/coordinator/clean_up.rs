//! What changes that failed leave in the log of a group, and how it is removed from there.
//!
//! When a group does not change its protocol after all, later changes may be on their way that stand
//! on it. They are refused, but some may get into the log. Behind them, the records that they touch
//! are written as they are to be. Until that is committed,
//!
//! - the group is not upgraded
//! - what a classic group writes begins with it
//! - it is tried again, [`RETRY_MS`] after it failed

use moldau_protocol::EncodeError;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;

use super::consumer_groups::respond;
use super::pending::Pending;
use super::records::{group_record, group_tombstone};
use super::{Action, Coordinator, CoordinatorRecord};
use crate::consumer_group::{ConsumerGroup, GroupRecord};
use crate::group::Outbox;

/// Records of a consumer group that changes which failed have touched.
#[derive(Debug, Default)]
pub(super) struct Leftover {
    /// One a key.
    touched: Vec<GroupRecord>,
    /// When it is tried again, if it failed.
    retry_ms: Option<i64>,
}

impl Coordinator {
    /// Writes what changes have touched, which may be in the log although they do not count.
    pub(super) fn clean_up(
        &mut self,
        group_id: &KString,
        touched: Vec<GroupRecord>,
        actions: &mut Vec<Action>,
    ) {
        let leftover = self.unclean.entry(group_id.clone()).or_default();
        for record in touched {
            let is_new = leftover
                .touched
                .iter()
                .all(|known| !known.is_about_same(&record));
            leftover.touched.extend(is_new.then_some(record));
        }
        self.write_clean_up(group_id, actions);
    }

    /// Whether something is still to be removed from the log of the group.
    pub(super) fn is_unclean(&self, group_id: &KString) -> bool {
        self.unclean.contains_key(group_id)
    }

    /// When that is tried again.
    pub(super) fn clean_up_due(&self, group_id: &KString) -> Option<i64> {
        self.unclean.get(group_id)?.retry_ms
    }

    /// Tries again what is due, once nothing of the group is on its way.
    pub(super) fn retry_clean_up(
        &mut self,
        group_id: &KString,
        now_ms: i64,
        actions: &mut Vec<Action>,
    ) {
        if self.clean_up_due(group_id).is_none_or(|due| due > now_ms) {
            return;
        }
        match self
            .pending
            .values()
            .any(|pending| pending.is_about(group_id))
        {
            true => self.clean_up_failed(group_id, now_ms),
            false => self.write_clean_up(group_id, actions),
        }
    }

    /// What was left is still there.
    pub(super) fn clean_up_failed(&mut self, group_id: &KString, now_ms: i64) {
        if let Some(leftover) = self.unclean.get_mut(group_id) {
            leftover.retry_ms = Some(now_ms.saturating_add(RETRY_MS));
            self.set_timer(group_id);
        }
    }

    /// What was left is gone.
    pub(super) fn cleaned_up(&mut self, group_id: &KString) {
        self.unclean.remove(group_id);
    }

    fn write_clean_up(&mut self, group_id: &KString, actions: &mut Vec<Action>) {
        if let Some(leftover) = self.unclean.get_mut(group_id) {
            leftover.retry_ms = None;
        }
        let group = self.groups.get(group_id);
        let classic = match group.map(|group| group_record(group_id, &group.migrated_value())) {
            Some(Err(_)) => {
                // It has never been written, so nothing of it is in the log; its members are told.
                let mut out = Outbox::default();
                if let Some(group) = self.groups.get_mut(group_id) {
                    group.fail_waiting(ErrorCode::UnknownServerError, &mut out);
                }
                respond(out, actions);
                group_tombstone(group_id)
            }
            Some(record) => record,
            None => group_tombstone(group_id),
        };
        let mut records = Vec::new();
        let written = self.clean_first(group_id, &mut records);
        let Ok(classic) = classic.and_then(|classic| written.map(|()| classic)) else {
            // Whatever was in the log had shorter strings, so this one's records are not there.
            return self.cleaned_up(group_id);
        };
        records.push(classic);
        let pending = Pending {
            clean_up: Some(group_id.clone()),
            ..Pending::default()
        };
        self.append(records, pending, actions);
    }

    /// The records of a consumer group that are to be written again; none if nothing is left over.
    ///
    /// # Errors
    /// A string is longer than the format allows.
    pub(super) fn clean_first(
        &self,
        group_id: &KString,
        records: &mut Vec<CoordinatorRecord>,
    ) -> Result<(), EncodeError> {
        let Some(leftover) = self.unclean.get(group_id) else {
            return Ok(());
        };
        let group = self.consumer_groups.get(group_id).cloned();
        let mut group = group.unwrap_or_else(|| ConsumerGroup::new(group_id.clone()));
        let mut now = Vec::new();
        for touched in &leftover.touched {
            let record = group.apply(touched.clone());
            group.apply(record.clone());
            now.push(record);
        }
        // A group without any record is gone for whoever reads them, so what it has comes first.
        now.sort_by_key(GroupRecord::removes);
        for record in &now {
            records.push(record.encode(group_id)?);
        }
        Ok(())
    }
}

/// Between two tries. A log that failed does not recover at once.
const RETRY_MS: i64 = 1_000;
