//! Members that leave a consumer group, by themselves or because they were silent for too long.

use moldau_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
use moldau_protocol::types::KString;

use super::heartbeat::Beat;
use super::member::{CurrentAssignment, LEFT_STATIC_EPOCH};
use super::partitions::HeldPartitions;
use super::record::GroupRecord;
use super::{Changes, ConsumerGroup, Context};
use crate::rejection::Rejection;

impl ConsumerGroup {
    /// The member that says with its heartbeat that it leaves.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID.
    pub(crate) fn leaving_member(&self, beat: &Beat<'_>) -> Result<KString, Rejection> {
        let member_id = &beat.request.member_id;
        if let Some(instance) = &beat.request.instance_id {
            return self.require_instance(instance, member_id);
        }
        self.require_member(member_id)?;
        Ok(member_id.detached())
    }

    /// A static member goes and will come back: its place is kept until its session ends.
    pub(crate) fn leave_for_a_while(&mut self, member_id: &KString, changes: &mut Changes) {
        let current = CurrentAssignment {
            member_epoch: LEFT_STATIC_EPOCH,
            pending_revocation: HeldPartitions::default(),
            ..self.current(member_id)
        };
        self.write(
            GroupRecord::Current(member_id.clone(), Some(current)),
            changes,
        );
    }

    /// Removes members for good. What they held is free, and a new target is due.
    pub(crate) fn remove_members(
        &mut self,
        member_ids: &[KString],
        context: &Context<'_>,
        changes: &mut Changes,
    ) {
        self.remove_only(member_ids, changes);
        self.refresh_epoch(true, context, changes);
    }

    /// Removes members without any further consequence.
    pub(crate) fn remove_only(&mut self, member_ids: &[KString], changes: &mut Changes) {
        for member_id in member_ids {
            self.write_removal(member_id, changes);
        }
    }

    pub(super) fn write_removal(&mut self, member_id: &KString, changes: &mut Changes) {
        self.write(GroupRecord::Current(member_id.clone(), None), changes);
        self.write(GroupRecord::Target(member_id.clone(), None), changes);
        self.write(GroupRecord::Member(member_id.clone(), None), changes);
    }

    /// Removes everything that the log has of the group.
    pub(crate) fn write_tombstones(&mut self, changes: &mut Changes) {
        let current: Vec<KString> = self.current.keys().cloned().collect();
        let targets: Vec<KString> = self.targets.keys().cloned().collect();
        let members: Vec<KString> = self.members.keys().cloned().collect();
        let regexes: Vec<KString> = self.regexes.keys().cloned().collect();
        for member_id in current {
            self.write(GroupRecord::Current(member_id, None), changes);
        }
        for member_id in targets {
            self.write(GroupRecord::Target(member_id, None), changes);
        }
        self.write(GroupRecord::TargetEpoch(None), changes);
        for member_id in members {
            self.write(GroupRecord::Member(member_id, None), changes);
        }
        for regex in regexes {
            self.write(GroupRecord::Regex(regex, None), changes);
        }
        self.write(GroupRecord::LegacyPartitions(false), changes);
        self.write(GroupRecord::Epoch(None), changes);
    }

    /// Removes once more what an earlier change removes that is on its way to the log: if that
    /// change fails, nothing of the group must stay there all the same.
    pub(crate) fn repeat_tombstones(&mut self, earlier: &Changes, changes: &mut Changes) {
        for record in earlier.records.iter().filter(|record| record.removes()) {
            let inverse = self.apply(record.clone());
            if inverse == *record {
                changes.records.push(inverse.clone());
                changes.undo.push(inverse);
            } else {
                // It has been written again since, and so is removed like everything else.
                self.apply(inverse);
            }
        }
    }

    /// The answer to a member that leaves.
    pub(crate) fn left(beat: &Beat<'_>, member_id: KString) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse {
            member_id: Some(member_id),
            member_epoch: beat.request.member_epoch,
            ..Default::default()
        }
    }
}
