//! One fetch session: its partitions, and what its client was told of each.

use std::collections::BTreeMap;

use moldau_protocol::messages::fetch::{FetchTopic, ForgottenTopic};
use moldau_protocol::{ErrorCode, KString, Uuid};

use super::{FetchOutcome, FetchTarget, INITIAL_EPOCH, target};

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// The epoch that the next request must carry; greater than 0.
    pub(super) epoch: i32,
    pub(super) uses_topic_ids: bool,
    pub(super) from_follower: bool,
    /// By turn: the first is read first. A partition that gave records goes to the end, so that one with many
    /// records does not use up the limits each time.
    entries: BTreeMap<u64, Entry>,
    /// The turn of each partition.
    turns: BTreeMap<Key, u64>,
    next_turn: u64,
}

/// A partition as requests name it: by name or by id.
type Key = (KString, Uuid, i32);

#[derive(Debug)]
struct Entry {
    target: FetchTarget,
    /// What the client was told last.
    told: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    high_watermark: i64,
    log_start_offset: i64,
}

impl Session {
    pub(super) fn new(uses_topic_ids: bool, from_follower: bool) -> Self {
        Self {
            epoch: next_epoch(INITIAL_EPOCH),
            uses_topic_ids,
            from_follower,
            entries: BTreeMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
        }
    }

    /// Number of partitions.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Moves on to the epoch of the next request.
    pub(super) fn advance(&mut self) {
        self.epoch = next_epoch(self.epoch);
    }

    /// Takes over what a request changes: added and changed partitions, then forgotten ones.
    pub(super) fn update(&mut self, topics: &[FetchTopic], forgotten: &[ForgottenTopic]) {
        for topic in topics {
            // The session outlives the frame that the name is a slice of.
            let topic = &FetchTopic {
                topic: topic.topic.detached(),
                ..topic.clone()
            };
            for partition in &topic.partitions {
                self.put(target(topic, partition));
            }
        }
        for topic in forgotten {
            for partition in &topic.partitions {
                let key = (topic.topic.clone(), topic.topic_id, *partition);
                if let Some(turn) = self.turns.remove(&key) {
                    self.entries.remove(&turn);
                }
            }
        }
    }

    /// Adds a partition, or asks for it in another way.
    fn put(&mut self, target: FetchTarget) {
        let key = key(&target);
        if let Some(entry) = self
            .turns
            .get(&key)
            .and_then(|turn| self.entries.get_mut(turn))
        {
            entry.target = target;
            return;
        }
        let turn = self.fresh_turn();
        self.turns.insert(key, turn);
        let told = Told::NOTHING;
        self.entries.insert(turn, Entry { target, told });
    }

    /// What a full request asked for and was told.
    pub(super) fn fill(&mut self, targets: &[FetchTarget], outcomes: &[FetchOutcome]) {
        let mut name = KString::EMPTY;
        for (target, outcome) in targets.iter().zip(outcomes) {
            if name != target.topic {
                name = target.topic.detached();
            }
            let target = FetchTarget {
                topic: name.clone(),
                ..target.clone()
            };
            let key = key(&target);
            self.put(target);
            let turn = self.turns.get(&key);
            if let Some(entry) = turn.and_then(|turn| self.entries.get_mut(turn)) {
                entry.told = Told::of(outcome);
            }
        }
    }

    /// The partitions in the order of their turns.
    pub(super) fn targets(&self) -> Vec<FetchTarget> {
        self.entries
            .values()
            .map(|entry| entry.target.clone())
            .collect()
    }

    /// Remembers what is told of each partition, in the order of [`Session::targets`]; returns which of them must
    /// be named because something changed.
    pub(super) fn tell(&mut self, outcomes: &[FetchOutcome]) -> Vec<bool> {
        let mut served = Vec::new();
        let mut named = Vec::with_capacity(outcomes.len());
        for ((turn, entry), outcome) in self.entries.iter_mut().zip(outcomes) {
            let told = Told::of(outcome);
            let failed = outcome.error != ErrorCode::None;
            named.push(outcome.has_records || outcome.diverged || failed || told != entry.told);
            // After an error the partition is named once more as soon as it is well.
            entry.told = if failed { Told::NOTHING } else { told };
            if outcome.has_records {
                served.push(*turn);
            }
        }
        for turn in served {
            self.read_last(turn);
        }
        named
    }

    fn read_last(&mut self, turn: u64) {
        let Some(entry) = self.entries.remove(&turn) else {
            return;
        };
        let turn = self.fresh_turn();
        self.turns.insert(key(&entry.target), turn);
        self.entries.insert(turn, entry);
    }

    fn fresh_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }
}

impl Told {
    /// Differs from everything that a partition which can be read gives.
    const NOTHING: Self = Self {
        high_watermark: -1,
        log_start_offset: -1,
    };

    const fn of(outcome: &FetchOutcome) -> Self {
        Self {
            high_watermark: outcome.high_watermark,
            log_start_offset: outcome.log_start_offset,
        }
    }
}

fn key(target: &FetchTarget) -> Key {
    (target.topic.clone(), target.topic_id, target.partition)
}

/// The epoch after this one; after the greatest number comes 1 again.
const fn next_epoch(epoch: i32) -> i32 {
    match epoch.checked_add(1) {
        Some(next) => next,
        None => 1,
    }
}
