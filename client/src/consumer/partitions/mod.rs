//! The partitions that a consumer reads: positions, and what is fetched ahead. No IO.

mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use crate::consumer::batch::FetchedBatch;
use crate::consumer::config::ConsumerConfig;
use crate::consumer::readable::Readable;
use crate::error::ClientError;
use crate::topic_partition::TopicPartition;

use state::{Buffered, PartitionState, Place};
pub(crate) use state::{Check, Checked, Ends, Plan, Search, Wanted};

/// All partitions of a consumer.
#[derive(Debug)]
pub(crate) struct Partitions {
    by_name: BTreeMap<TopicPartition, PartitionState>,
    /// Answers to fetches that poll has not given out yet, oldest first. Bounded by `max_bytes`.
    buffered: VecDeque<Buffered>,
    buffered_bytes: usize,
    /// What poll has to report.
    error: Option<ClientError>,
    next_epoch: u64,
    max_bytes: usize,
    max_partition_bytes: usize,
}

impl Partitions {
    pub(crate) fn new(config: &ConsumerConfig) -> Self {
        Self {
            by_name: BTreeMap::new(),
            buffered: VecDeque::new(),
            buffered_bytes: 0,
            error: None,
            next_epoch: 0,
            max_bytes: usize::try_from(config.max_bytes).unwrap_or(1).max(1),
            max_partition_bytes: usize::try_from(config.max_partition_bytes)
                .unwrap_or(1)
                .max(1),
        }
    }

    /// Reads exactly `names` from now on. Those that were read before keep their state.
    pub(crate) fn assign(&mut self, names: &[TopicPartition], search: Search) {
        let mut before = std::mem::take(&mut self.by_name);
        for name in names {
            let state = before.remove(name).unwrap_or_else(|| self.fresh(search));
            self.by_name.insert(name.clone(), state);
        }
        for name in before.keys() {
            self.drop_buffered(name);
        }
    }

    fn fresh(&mut self, search: Search) -> PartitionState {
        self.next_epoch += 1;
        PartitionState {
            epoch: self.next_epoch,
            place: Place::Unknown(search),
            is_paused: false,
            is_in_flight: false,
            buffered_bytes: 0,
            ends: None,
            not_before: None,
            last_epoch: None,
            good_under: -1,
            is_in_doubt: false,
        }
    }

    pub(crate) fn names(&self) -> Vec<TopicPartition> {
        self.by_name.keys().cloned().collect()
    }

    pub(crate) fn contains(&self, name: &TopicPartition) -> bool {
        self.by_name.contains_key(name)
    }

    pub(crate) fn position(&self, name: &TopicPartition) -> Option<i64> {
        match self.by_name.get(name)?.place {
            Place::Known { position, .. } => Some(position),
            Place::Unknown(_) => None,
        }
    }

    pub(crate) fn positions(&self) -> BTreeMap<TopicPartition, i64> {
        let known = self.by_name.keys().filter_map(|name| {
            let position = self.position(name)?;
            Some((name.clone(), position))
        });
        known.collect()
    }

    pub(crate) fn ends(&self, name: &TopicPartition) -> Option<Ends> {
        self.by_name.get(name)?.ends
    }

    pub(crate) fn set_paused(&mut self, name: &TopicPartition, is_paused: bool) {
        if let Some(state) = self.by_name.get_mut(name) {
            state.is_paused = is_paused;
        }
    }

    /// Goes on at `offset`. Gives false if the partition is not read here.
    pub(crate) fn seek(&mut self, name: &TopicPartition, offset: i64) -> bool {
        self.replace(
            name,
            Place::Known {
                position: offset,
                fetch_offset: offset,
            },
        )
    }

    /// The partitions whose position has to be found out.
    pub(crate) fn searches(&self) -> Vec<(TopicPartition, u64, Search)> {
        let unknown = self
            .by_name
            .iter()
            .filter_map(|(name, state)| match state.place {
                Place::Unknown(search) => Some((name.clone(), state.epoch, search)),
                Place::Known { .. } => None,
            });
        unknown.collect()
    }

    pub(crate) fn has_searches(&self) -> bool {
        self.by_name
            .values()
            .any(|state| matches!(state.place, Place::Unknown(_)))
    }

    /// Takes a position that was searched for, unless there was a seek meanwhile.
    ///
    /// `last_epoch` is the leader epoch of the record before it, where known; then a newer leader is asked whether it
    /// has that record.
    pub(crate) fn found(
        &mut self,
        name: &TopicPartition,
        epoch: u64,
        offset: i64,
        last_epoch: Option<i32>,
    ) {
        if self.is_current(name, epoch) {
            self.seek(name, offset);
            if let Some(state) = self.by_name.get_mut(name) {
                state.last_epoch = last_epoch;
            }
        }
    }

    /// The group has nothing stored for the partition.
    pub(crate) fn not_committed(&mut self, name: &TopicPartition, epoch: u64) {
        if self.is_current(name, epoch) {
            self.replace(name, Place::Unknown(Search::Reset { from: None }));
        }
    }

    fn is_current(&self, name: &TopicPartition, epoch: u64) -> bool {
        self.by_name
            .get(name)
            .is_some_and(|state| state.epoch == epoch)
    }

    fn replace(&mut self, name: &TopicPartition, place: Place) -> bool {
        self.drop_buffered(name);
        self.next_epoch += 1;
        let Some(state) = self.by_name.get_mut(name) else {
            return false;
        };
        state.epoch = self.next_epoch;
        state.place = place;
        state.is_in_flight = false;
        state.buffered_bytes = 0;
        state.not_before = None;
        state.last_epoch = None;
        state.good_under = -1;
        state.is_in_doubt = false;
        true
    }

    fn drop_buffered(&mut self, name: &TopicPartition) {
        let before = self.buffered.len();
        self.buffered.retain(|buffered| buffered.name != *name);
        if self.buffered.len() != before {
            self.buffered_bytes = self.buffered.iter().map(Buffered::size).sum();
        }
    }

    /// What can be asked for from a broker. `leads` tells the leader epoch of those partitions that the broker has.
    pub(crate) fn plan(
        &mut self,
        leads: impl Fn(&TopicPartition) -> Option<i32>,
        now: Instant,
    ) -> Plan {
        let mut plan = Plan {
            max_bytes: self.max_bytes.saturating_sub(self.buffered_bytes),
            ..Plan::default()
        };
        for (name, state) in &mut self.by_name {
            let Place::Known { fetch_offset, .. } = state.place else {
                continue;
            };
            if state.is_paused || state.is_in_flight {
                continue;
            }
            let Some(leader_epoch) = leads(name) else {
                continue;
            };
            if let Some(not_before) = state.not_before.filter(|not_before| now < *not_before) {
                plan.wake_at = Some(plan.wake_at.map_or(not_before, |time| time.min(not_before)));
                continue;
            }
            if !state.is_good_under(leader_epoch) {
                plan.has_doubts = true;
                continue;
            }
            if plan.max_bytes == 0 || state.buffered_bytes >= self.max_partition_bytes {
                plan.others_are_full = true;
                continue;
            }
            state.is_in_flight = true;
            plan.wanted.push(Wanted {
                name: name.clone(),
                epoch: state.epoch,
                fetch_offset,
                leader_epoch,
            });
        }
        // Brokers fill the answer in the order of the request, so each partition comes first in turn.
        if !plan.wanted.is_empty() {
            let turn = self.next_turn(plan.wanted.len());
            plan.wanted.rotate_left(turn);
        }
        plan
    }

    fn next_turn(&mut self, partitions: usize) -> usize {
        self.next_epoch += 1;
        (self.next_epoch % partitions as u64) as usize
    }

    /// The state of a partition if the answer to `wanted` still matters.
    fn answered(&mut self, wanted: &Wanted) -> Option<&mut PartitionState> {
        let state = self.by_name.get_mut(&wanted.name)?;
        if state.epoch != wanted.epoch {
            return None;
        }
        state.is_in_flight = false;
        Some(state)
    }

    /// Takes what a fetch brought. Gives whether poll has something to do now.
    pub(crate) fn fetched(&mut self, wanted: &Wanted, readable: Readable, ends: Ends) -> bool {
        let Some(state) = self.answered(wanted) else {
            return false;
        };
        state.ends = Some(ends);
        state.not_before = None;
        let Place::Known { position, .. } = state.place else {
            return false;
        };
        if readable.next_offset == wanted.fetch_offset {
            return false;
        }
        state.place = Place::Known {
            position,
            fetch_offset: readable.next_offset,
        };
        state.last_epoch = readable.last_epoch.or(state.last_epoch);
        let buffered = Buffered {
            name: wanted.name.clone(),
            epoch: wanted.epoch,
            batches: readable.batches.into(),
            next_offset: readable.next_offset,
            high_watermark: ends.high_watermark,
        };
        let size = buffered.size();
        state.buffered_bytes += size;
        self.buffered_bytes += size;
        self.buffered.push_back(buffered);
        true
    }

    /// A fetch brought no news.
    pub(crate) fn unchanged(&mut self, wanted: &Wanted) {
        if let Some(state) = self.answered(wanted) {
            state.not_before = None;
        }
    }

    /// Positions that are to be checked with their leaders.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let in_doubt = self.by_name.iter().filter(|(_, state)| state.is_in_doubt);
        in_doubt
            .filter_map(|(name, state)| match state.place {
                Place::Known { fetch_offset, .. } => Some(Check {
                    name: name.clone(),
                    epoch: state.epoch,
                    fetch_offset,
                    last_epoch: state.last_epoch?,
                }),
                Place::Unknown(_) => None,
            })
            .collect()
    }

    /// Takes a leader's answer: `end` is where the epoch of the last record ends in its log, -1 if it has nothing of
    /// it. With `moves` a position beyond the end goes back there; a reset is asked for where there is no end.
    pub(crate) fn checked(
        &mut self,
        check: &Check,
        leader_epoch: i32,
        end: i64,
        moves: bool,
    ) -> Checked {
        let Some(state) = self.by_name.get_mut(&check.name) else {
            return Checked::Good;
        };
        let Place::Known { position, .. } = state.place else {
            return Checked::Good;
        };
        if state.epoch != check.epoch || !state.is_in_doubt {
            return Checked::Good;
        }
        state.is_in_doubt = false;
        state.good_under = leader_epoch;
        if end >= check.fetch_offset {
            return Checked::Good;
        }
        // What was fetched ahead and not given out yet is read again, as the log has it now.
        if end >= position {
            self.seek(&check.name, position);
            return Checked::Good;
        }
        if moves && end >= 0 {
            self.seek(&check.name, end);
        } else {
            let from = Some(check.fetch_offset);
            self.replace(&check.name, Place::Unknown(Search::Reset { from }));
        }
        Checked::CutOff(end)
    }

    /// A position could not be checked now.
    pub(crate) fn check_later(&mut self, check: &Check, not_before: Instant) {
        if self.is_current(&check.name, check.epoch)
            && let Some(state) = self.by_name.get_mut(&check.name)
        {
            state.is_in_doubt = false;
            state.not_before = Some(not_before);
        }
    }

    /// A fetch failed in a way that may pass.
    pub(crate) fn failed(&mut self, wanted: &Wanted, not_before: Instant) {
        if let Some(state) = self.answered(wanted) {
            state.not_before = Some(not_before);
        }
    }

    /// A fetch failed in a way that the program must know.
    pub(crate) fn refused(&mut self, wanted: &Wanted, error: ClientError, not_before: Instant) {
        if let Some(state) = self.answered(wanted) {
            state.not_before = Some(not_before);
            self.error.get_or_insert(error);
        }
    }

    /// The offset asked for is not in the log.
    pub(crate) fn out_of_range(&mut self, wanted: &Wanted, not_before: Instant) {
        let Some(state) = self.answered(wanted) else {
            return;
        };
        // What is buffered was read from the log before; it is given out first, then this comes up again.
        if state.buffered_bytes > 0 {
            state.not_before = Some(not_before);
            return;
        }
        tracing::info!(
            partition = %wanted.name,
            offset = wanted.fetch_offset,
            "offset is out of range, resetting the position"
        );
        let from = Some(wanted.fetch_offset);
        self.replace(&wanted.name, Place::Unknown(Search::Reset { from }));
    }

    /// Has poll give `error`.
    pub(crate) fn report(&mut self, error: ClientError) {
        self.error.get_or_insert(error);
    }

    pub(crate) fn take_error(&mut self) -> Option<ClientError> {
        self.error.take()
    }

    /// Gives batches out, up to `max_bytes` but at least one, and moves the positions behind them.
    pub(crate) fn take(&mut self, max_bytes: usize) -> Vec<FetchedBatch> {
        let mut taken = Vec::new();
        let mut taken_bytes = 0;
        let mut kept = VecDeque::new();
        while let Some(mut buffered) = self.buffered.pop_front() {
            let Some(state) = self.by_name.get_mut(&buffered.name) else {
                continue;
            };
            if state.epoch != buffered.epoch {
                continue;
            }
            if state.is_paused {
                kept.push_back(buffered);
                continue;
            }
            while taken.is_empty() || taken_bytes < max_bytes {
                let Some(batch) = buffered.batches.pop_front() else {
                    break;
                };
                taken_bytes += batch.size_in_bytes();
                taken.push(state.give(&buffered, batch));
            }
            if buffered.batches.is_empty() {
                state.move_to(buffered.next_offset);
            } else {
                kept.push_back(buffered);
                break;
            }
        }
        self.buffered_bytes = self.buffered_bytes.saturating_sub(taken_bytes);
        kept.append(&mut self.buffered);
        self.buffered = kept;
        taken
    }
}
