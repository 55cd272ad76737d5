//! Groups and their members in a run.

use moldau_core::coordinator::Caller;
use moldau_core::ids::Token;
use moldau_protocol::messages::delete_groups::DeleteGroupsRequest;
use moldau_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use moldau_protocol::{KString, RequestKind};
use rand::RngExt;

use super::{GROUPS, World};
use crate::simulate::groups::{check_replay, offsets_of};
use crate::simulate::members::{group_id, metadata};
use crate::simulate::network::{FromMember, Request, Response};
use crate::simulate::node::{GROUP_PARTITIONS, Origin, TOPIC};
use crate::simulate::shard::{self, Answer};

impl World {
    pub(super) fn group_request(&mut self, from: FromMember, body: RequestKind) {
        let group = from.group;
        let tag = match &body {
            RequestKind::OffsetCommit(request) => {
                let partition = &request.topics[0].partitions[0];
                let offset = Some(partition.committed_offset);
                self.promises
                    .arrived(group, [partition.partition_index], offset)
            }
            RequestKind::OffsetDelete(request) => {
                let partition = request.topics[0].partitions[0].partition_index;
                self.promises.arrived(group, [partition], None)
            }
            RequestKind::DeleteGroups(_) => self.promises.arrived(group, 0..GROUP_PARTITIONS, None),
            RequestKind::SyncGroup(request) => self.promises.asks(group, request),
            RequestKind::ConsumerGroupHeartbeat(request) => self.promises.beats(group, request),
            _ => 0,
        };
        let shard = self.settings.partition_of_group(&group_id(group)) - self.settings.data.len();
        let (now_ms, fresh_id) = (self.now_ms, self.random.random());
        let Some(node) = &mut self.node else { return };
        let image = node.image.clone();
        let token = node.await_answer(Origin::Group { from, tag });
        let (shard, partition) = node.shard(shard);
        let coordinator = &mut shard.coordinator;
        let caller = |api_version| Caller {
            token: Token(token),
            api_version,
            client_id: KString::from("client"),
            client_host: KString::from("/127.0.0.1"),
        };
        let actions = match body {
            RequestKind::JoinGroup(request) => {
                coordinator.join_group(&caller(9), request, fresh_id, now_ms)
            }
            RequestKind::SyncGroup(request) => coordinator.sync_group(&caller(5), request, now_ms),
            RequestKind::Heartbeat(request) => coordinator.heartbeat(&caller(4), request, now_ms),
            RequestKind::LeaveGroup(request) => {
                coordinator.leave_group(&caller(5), request, now_ms)
            }
            RequestKind::OffsetCommit(request) => {
                coordinator.offset_commit(&caller(9), request, &image, now_ms)
            }
            RequestKind::OffsetDelete(request) => coordinator.offset_delete(&caller(0), request),
            RequestKind::DeleteGroups(request) => {
                coordinator.delete_group(&caller(2), &request.groups_names[0])
            }
            RequestKind::ConsumerGroupHeartbeat(request) => {
                coordinator.consumer_group_heartbeat(&caller(1), &request, fresh_id, now_ms)
            }
            other => unreachable!("members do not send {other:?}"),
        };
        let answers = shard.act(actions, partition, now_ms);
        self.answer_all(answers);
        self.forget_gone_groups();
    }

    /// Sends what coordinators answer.
    pub(super) fn answer_all(&mut self, answers: Vec<Answer>) {
        let Some(node) = &mut self.node else { return };
        for (token, body) in answers {
            let Some(Origin::Group { from, tag }) = node.waiting.remove(&token.0) else {
                panic!("a second answer to request {token}: {body:?}");
            };
            self.promises.answered(tag, &body);
            if from.attempt > 0 {
                self.network.answer(Response::Group { to: from, body });
            }
        }
    }

    pub(super) fn tell_coordinator(&mut self) {
        let shard = self.random.random_range(0..self.settings.offsets.len() + 1);
        if shard == self.settings.offsets.len() {
            return self.tell_transactions();
        }
        let now_ms = self.now_ms;
        let Some(node) = &mut self.node else { return };
        let (shard, partition) = node.shard(shard);
        let answers = shard.tell(partition, now_ms);
        self.answer_all(answers);
        self.forget_gone_groups();
    }

    pub(super) fn member_acts(&mut self, calm: bool) {
        let member = self.random.random_range(0..self.members.len());
        if let Some((from, body)) = self.members[member].act(calm, &mut self.random) {
            self.network.send(Request::Group { from, body });
        }
    }

    pub(super) fn consumer_acts(&mut self, calm: bool) {
        let consumer = self.random.random_range(0..self.consumers.len());
        if let Some((from, body)) = self.consumers[consumer].act(calm, &mut self.random) {
            self.network.send(Request::Group { from, body });
        }
    }

    pub(super) fn commit(&mut self) {
        let count = self.members.len();
        let member = self.random.random_range(0..count + self.consumers.len());
        let partition = self.random.random_range(0..GROUP_PARTITIONS);
        self.next_offset += 1;
        let (from, body) = match self.members.get(member) {
            Some(member) => member.commit(self.next_offset, partition),
            None => self.consumers[member - count].commit(self.next_offset, partition),
        };
        self.network.send(Request::Group { from, body });
    }

    pub(super) fn delete_offsets(&mut self) {
        let group = self.random.random_range(0..=GROUPS);
        let from = FromMember {
            group,
            member: 0,
            attempt: 0,
        };
        let body = if self.chance(3) {
            let request = DeleteGroupsRequest {
                groups_names: vec![group_id(group)],
                ..Default::default()
            };
            request.into()
        } else {
            let partition = OffsetDeleteRequestPartition {
                partition_index: self.random.random_range(0..GROUP_PARTITIONS),
            };
            let topic = OffsetDeleteRequestTopic {
                name: KString::from(TOPIC),
                partitions: vec![partition],
            };
            let request = OffsetDeleteRequest {
                group_id: group_id(group),
                topics: vec![topic],
            };
            request.into()
        };
        self.network.send(Request::Group { from, body });
    }

    /// Every group finds the offsets that were acknowledged, with their metadata.
    pub(super) fn check_offsets(&self) {
        let node = self.node.as_ref().expect("it runs");
        for group in 0..=GROUPS {
            let group_id = group_id(group);
            let shard = self.settings.partition_of_group(&group_id) - self.settings.data.len();
            let offsets = offsets_of(&node.shards[shard].coordinator);
            for partition in 0..GROUP_PARTITIONS {
                let found = offsets.get(&(group_id.clone(), partition));
                self.promises
                    .check_offset(group, partition, found.map(|found| found.offset));
                assert!(
                    found.is_none_or(|found| found.metadata == metadata(found.offset)),
                    "the metadata of an offset is lost: {found:?}"
                );
            }
        }
    }

    /// What groups promised that are gone counts no more. Called after everything that may end one:
    /// the next request may begin another of the same name.
    pub(super) fn forget_gone_groups(&mut self) {
        let Some(node) = &self.node else { return };
        for group in 0..=GROUPS {
            let group_id = group_id(group);
            let shard = self.settings.partition_of_group(&group_id) - self.settings.data.len();
            let coordinator = &node.shards[shard].coordinator;
            let is_there = match group {
                // Under its name there may be one that only stores offsets.
                GROUPS => coordinator.describe_consumer_group(&group_id).error_code == 0,
                _ => coordinator
                    .groups()
                    .any(|known| *known.group_id() == group_id),
            };
            if !is_there {
                self.promises.forget_owners(group);
            }
        }
    }

    pub(super) fn check_replay(&self) {
        let node = self.node.as_ref().expect("it runs");
        for (index, shard) in node.shards.iter().enumerate() {
            let partition = &node.partitions[self.settings.data.len() + index];
            // After a failed sync nobody knows which of the last records will be there.
            if shard.is_settled() && !partition.has_queue() && !partition.has_failed() {
                let replayed =
                    shard::replay(partition, self.settings.coordinator, &node.image, None);
                check_replay(&shard.coordinator, &replayed);
            }
        }
    }
}
