//! Consumers of the new protocol, as clients behave, for tests.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, RequestTopicPartitions,
};
use moldau_protocol::types::{KString, Uuid};

use super::fixture::{GROUP, World};
use crate::consumer_group::ConsumerGroup;
use crate::ids::Token;

/// A consumer that knows what it was told, and says what it holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumer {
    pub(crate) member_id: KString,
    pub(crate) instance: Option<KString>,
    pub(crate) topics: Vec<KString>,
    pub(crate) regex: Option<KString>,
    pub(crate) assignor: Option<KString>,
    /// 0 if it has to join.
    pub(crate) epoch: i32,
    /// What it reads.
    pub(crate) owned: BTreeSet<(Uuid, i32)>,
}

impl Consumer {
    pub(crate) fn of(member_id: &'static str, topics: &[&'static str]) -> Self {
        Self {
            member_id: member_id.into(),
            topics: topics.iter().map(|name| KString::from(*name)).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn instance(member_id: &'static str, instance: &'static str) -> Self {
        Self {
            instance: Some(instance.into()),
            ..Self::of(member_id, &["orders"])
        }
    }

    /// A full request, as it is sent when joining and after errors.
    pub(crate) fn full(&self) -> ConsumerGroupHeartbeatRequest {
        let mut owned: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (topic_id, partition) in &self.owned {
            owned.entry(*topic_id).or_default().push(*partition);
        }
        let topic = |(topic_id, partitions)| RequestTopicPartitions {
            topic_id,
            partitions,
            ..Default::default()
        };
        ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.member_id.clone(),
            member_epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            subscribed_topic_names: Some(self.topics.clone()),
            subscribed_topic_regex: self.regex.clone(),
            server_assignor: self.assignor.clone(),
            topic_partitions: Some(owned.into_iter().map(topic).collect()),
            ..Default::default()
        }
    }

    /// Takes over what it is told: gives up and begins to read at once.
    pub(crate) fn told(&mut self, response: &ConsumerGroupHeartbeatResponse) {
        match ErrorCode::from_code(response.error_code) {
            ErrorCode::None => {
                self.epoch = response.member_epoch;
                if let Some(assignment) = &response.assignment {
                    let of_topic = |topic: &_| {
                        let moldau_protocol::messages::consumer_group_heartbeat::ResponseTopicPartitions {
                            topic_id,
                            partitions,
                            ..
                        } = topic;
                        let topic_id = *topic_id;
                        partitions
                            .clone()
                            .into_iter()
                            .map(move |index| (topic_id, index))
                    };
                    self.owned = assignment
                        .topic_partitions
                        .iter()
                        .flat_map(of_topic)
                        .collect();
                }
            }
            ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId => self.abandon(),
            _ => {}
        }
    }

    /// Gives everything up and is to join again.
    pub(crate) fn abandon(&mut self) {
        self.epoch = 0;
        self.owned.clear();
    }
}

impl World {
    pub(crate) fn send_beat(&mut self, request: &ConsumerGroupHeartbeatRequest) -> Token {
        let caller = self.caller(1);
        let fresh_id = u128::from(caller.token.0);
        let now_ms = self.now_ms;
        let actions = self
            .coordinator
            .consumer_group_heartbeat(&caller, request, fresh_id, now_ms);
        self.act(actions);
        caller.token
    }

    pub(crate) fn beaten(&self, token: Token) -> &ConsumerGroupHeartbeatResponse {
        match self.answer(token) {
            Some(ResponseKind::ConsumerGroupHeartbeat(response)) => response,
            other => panic!("heartbeat {token}: {other:?}"),
        }
    }

    /// Sends a full heartbeat and lets the consumer act on the answer.
    pub(crate) fn beat(&mut self, consumer: &mut Consumer) -> ErrorCode {
        let token = self.send_beat(&consumer.full());
        let response = self.beaten(token).clone();
        consumer.told(&response);
        ErrorCode::from_code(response.error_code)
    }

    /// Everyone sends heartbeats until nothing changes any more.
    pub(crate) fn settle(&mut self, consumers: &mut [Consumer]) {
        for _ in 0..8 {
            self.pass(5_000);
            for consumer in &mut *consumers {
                self.beat(consumer);
            }
        }
    }

    pub(crate) fn leave_with(&mut self, consumer: &Consumer, epoch: i32) -> ErrorCode {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: consumer.member_id.clone(),
            instance_id: consumer.instance.clone(),
            member_epoch: epoch,
            ..Default::default()
        };
        let token = self.send_beat(&request);
        ErrorCode::from_code(self.beaten(token).error_code)
    }

    pub(crate) fn consumers(&self) -> &ConsumerGroup {
        self.coordinator
            .consumer_groups
            .get(GROUP)
            .expect("a consumer group")
    }

    pub(crate) fn consumer_state(&self) -> String {
        let described = self.coordinator.describe_consumer_group(&GROUP.into());
        described.group_state.to_string()
    }
}

pub(crate) const REBALANCE_TIMEOUT_MS: i32 = 30_000;
