//! The partitions that a consumer reads: positions, and what is fetched ahead. No IO.

use std::collections::{BTreeMap, VecDeque};

use moldau_protocol::batch::RecordBatch;
use tokio::time::Instant;

use crate::consumer::batch::FetchedBatch;
use crate::consumer::config::ConsumerConfig;
use crate::consumer::readable::Readable;
use crate::error::ClientError;
use crate::topic_partition::TopicPartition;

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

/// One partition.
#[derive(Clone, Debug)]
struct PartitionState {
    /// Changes with every seek, so that answers to earlier fetches are recognised and dropped.
    epoch: u64,
    place: Place,
    is_paused: bool,
    is_in_flight: bool,
    buffered_bytes: usize,
    high_watermark: Option<i64>,
    /// Not fetched before this time: the last fetch failed.
    not_before: Option<Instant>,
    /// Leader epoch of the last record before the fetch offset, where known.
    last_epoch: Option<i32>,
    /// The leader's epoch under which the fetch offset is known to be in the log; -1 before the first.
    good_under: i32,
    /// Whether the leader has to be asked first whether its log still has what was read.
    is_in_doubt: bool,
}

/// A position that is to be checked with a new leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: TopicPartition,
    epoch: u64,
    pub(crate) fetch_offset: i64,
    pub(crate) last_epoch: i32,
}

/// What became of a position that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The log has what was given out, or the check is not needed any more.
    Good,
    /// The log was cut off at this offset, below what was given out.
    CutOff(i64),
}

/// Where a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// To be found out.
    Unknown(Search),
    /// Known. Invariant: position <= fetch_offset; between them lies what is buffered.
    Known {
        /// Offset of the next record that poll gives.
        position: i64,
        /// Offset of the next record to fetch.
        fetch_offset: i64,
    },
}

/// How a position is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// From the group's stored offsets.
    Committed,
    /// As `auto_offset_reset` says; the offset is the one that was out of range, if there was one.
    Reset { from: Option<i64> },
}

#[derive(Debug)]
struct Buffered {
    name: TopicPartition,
    epoch: u64,
    batches: VecDeque<RecordBatch>,
    next_offset: i64,
    high_watermark: i64,
}

/// A partition of a fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: TopicPartition,
    pub(crate) epoch: u64,
    pub(crate) fetch_offset: i64,
    /// Epoch of the leader that is asked; -1 where it is not known.
    pub(crate) leader_epoch: i32,
}

/// What a broker can be asked for now.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) wanted: Vec<Wanted>,
    /// Bytes that may be fetched before the buffer is full.
    pub(crate) max_bytes: usize,
    /// Whether other partitions of the broker have enough buffered for now. Then the broker should not hold the
    /// answer back for long, as they may be wanted again soon.
    pub(crate) others_are_full: bool,
    /// When the next partition may be asked for again after a failure.
    pub(crate) wake_at: Option<Instant>,
    /// Whether positions are to be checked with the leader first.
    pub(crate) has_doubts: bool,
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
            high_watermark: None,
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

    pub(crate) fn high_watermark(&self, name: &TopicPartition) -> Option<i64> {
        self.by_name.get(name)?.high_watermark
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
    pub(crate) fn fetched(
        &mut self,
        wanted: &Wanted,
        readable: Readable,
        high_watermark: i64,
    ) -> bool {
        let Some(state) = self.answered(wanted) else {
            return false;
        };
        state.high_watermark = Some(high_watermark);
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
            high_watermark,
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

impl PartitionState {
    /// Whether a leader of this epoch can be fetched from. If not, it has to be asked about the last record first.
    const fn is_good_under(&mut self, leader_epoch: i32) -> bool {
        if self.is_in_doubt {
            return false;
        }
        if leader_epoch > self.good_under {
            if let Some(last_epoch) = self.last_epoch
                && last_epoch < leader_epoch
            {
                self.is_in_doubt = true;
                return false;
            }
            self.good_under = leader_epoch;
        }
        true
    }

    fn give(&mut self, from: &Buffered, batch: RecordBatch) -> FetchedBatch {
        let start_offset = match self.place {
            Place::Known { position, .. } => position,
            Place::Unknown(_) => batch.base_offset(),
        };
        self.buffered_bytes = self.buffered_bytes.saturating_sub(batch.size_in_bytes());
        self.move_to(batch.next_offset());
        FetchedBatch {
            topic_partition: from.name.clone(),
            batch,
            start_offset,
            high_watermark: from.high_watermark,
        }
    }

    const fn move_to(&mut self, offset: i64) {
        if let Place::Known { position, .. } = &mut self.place {
            *position = offset;
        }
    }
}

impl Buffered {
    fn size(&self) -> usize {
        self.batches.iter().map(RecordBatch::size_in_bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use moldau_protocol::batch::{Compression, RecordBatchBuilder};

    use super::*;

    fn name(partition: i32) -> TopicPartition {
        TopicPartition::new("orders", partition)
    }

    fn batch(offset: i64) -> RecordBatch {
        let mut builder = RecordBatchBuilder::new(Compression::None).base_offset(offset);
        builder.append(0, None, Some(b"a"), &[]);
        builder.append(0, None, Some(b"b"), &[]);
        RecordBatch::parse(builder.build()).unwrap()
    }

    fn readable(offset: i64) -> Readable {
        Readable {
            batches: vec![batch(offset)],
            next_offset: offset + 2,
            last_epoch: Some(0),
        }
    }

    fn partitions(count: i32) -> Partitions {
        let mut partitions = Partitions::new(&ConsumerConfig {
            max_partition_bytes: 1,
            ..ConsumerConfig::default()
        });
        let names: Vec<_> = (0..count).map(name).collect();
        partitions.assign(&names, Search::Committed);
        for name in &names {
            partitions.seek(name, 0);
        }
        partitions
    }

    fn plan(partitions: &mut Partitions) -> Vec<Wanted> {
        let mut wanted = partitions.plan(|_| Some(0), Instant::now()).wanted;
        wanted.sort_by(|left, right| left.name.cmp(&right.name));
        wanted
    }

    #[test]
    fn positions_follow_what_poll_has_given_not_what_was_fetched() {
        let mut partitions = partitions(1);
        let wanted = plan(&mut partitions);
        assert!(partitions.fetched(&wanted[0], readable(0), 9));
        assert_eq!(partitions.position(&name(0)), Some(0));
        let taken = partitions.take(1);
        assert_eq!(taken.len(), 1);
        assert_eq!(partitions.position(&name(0)), Some(2));
        assert_eq!(partitions.high_watermark(&name(0)), Some(9));
    }

    #[test]
    fn a_full_partition_is_not_fetched_until_poll_has_made_room() {
        let mut partitions = partitions(1);
        let wanted = plan(&mut partitions);
        assert!(plan(&mut partitions).is_empty(), "a fetch is under way");
        partitions.fetched(&wanted[0], readable(0), 9);
        let full = partitions.plan(|_| Some(0), Instant::now());
        assert!(full.wanted.is_empty() && full.others_are_full);
        partitions.take(1);
        assert_eq!(plan(&mut partitions)[0].fetch_offset, 2);
    }

    #[test]
    fn an_answer_from_before_a_seek_is_dropped() {
        let mut partitions = partitions(1);
        let wanted = plan(&mut partitions);
        partitions.seek(&name(0), 40);
        assert!(!partitions.fetched(&wanted[0], readable(0), 9));
        assert!(partitions.take(usize::MAX).is_empty());
        assert_eq!(partitions.position(&name(0)), Some(40));
    }

    #[test]
    fn a_seek_drops_what_was_fetched_ahead() {
        let mut partitions = partitions(1);
        let wanted = plan(&mut partitions);
        partitions.fetched(&wanted[0], readable(0), 9);
        partitions.seek(&name(0), 40);
        assert!(partitions.take(usize::MAX).is_empty());
        assert_eq!(plan(&mut partitions)[0].fetch_offset, 40);
    }

    #[test]
    fn a_paused_partition_keeps_its_batches() {
        let mut partitions = partitions(2);
        let wanted = plan(&mut partitions);
        partitions.fetched(&wanted[0], readable(0), 9);
        partitions.fetched(&wanted[1], readable(0), 9);
        partitions.set_paused(&name(0), true);
        let taken = partitions.take(usize::MAX);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].topic_partition, name(1));
        partitions.set_paused(&name(0), false);
        assert_eq!(partitions.take(usize::MAX)[0].topic_partition, name(0));
    }

    #[test]
    fn poll_gives_at_most_max_bytes_but_one_batch_at_least() {
        let mut partitions = partitions(1);
        let wanted = plan(&mut partitions);
        let three = Readable {
            batches: vec![batch(0), batch(2), batch(4)],
            next_offset: 7,
            last_epoch: Some(0),
        };
        partitions.fetched(&wanted[0], three, 9);
        assert_eq!(partitions.take(1).len(), 1);
        assert_eq!(partitions.position(&name(0)), Some(2));
        assert_eq!(partitions.take(usize::MAX).len(), 2);
        assert_eq!(
            partitions.position(&name(0)),
            Some(7),
            "behind a control batch"
        );
    }

    #[test]
    fn a_revoked_partition_gives_nothing_more() {
        let mut partitions = partitions(2);
        let wanted = plan(&mut partitions);
        partitions.fetched(&wanted[0], readable(0), 9);
        partitions.assign(&[name(1)], Search::Committed);
        assert!(!partitions.fetched(&wanted[0], readable(2), 9));
        assert!(partitions.take(usize::MAX).is_empty());
        assert_eq!(partitions.names(), [name(1)]);
        assert_eq!(partitions.position(&name(1)), Some(0), "it stays");
    }

    #[test]
    fn out_of_range_asks_for_a_reset_and_remembers_the_offset() {
        let mut partitions = partitions(1);
        let wanted = plan(&mut partitions);
        partitions.out_of_range(&wanted[0], Instant::now());
        let searches = partitions.searches();
        assert_eq!(searches[0].2, Search::Reset { from: Some(0) });
        partitions.found(&name(0), searches[0].1, 5, None);
        assert_eq!(partitions.position(&name(0)), Some(5));
    }

    /// Everything read up to offset 4, but only up to 2 given out; then a leader of epoch 3.
    fn in_doubt() -> (Partitions, Check) {
        let mut partitions = partitions(1);
        for base_offset in [0, 2] {
            let wanted = plan(&mut partitions);
            partitions.fetched(&wanted[0], readable(base_offset), 9);
            if base_offset == 0 {
                partitions.take(1);
            }
        }
        let doubtful = partitions.plan(|_| Some(3), Instant::now());
        assert!(doubtful.has_doubts && doubtful.wanted.is_empty());
        let check = partitions.checks().remove(0);
        assert_eq!((check.fetch_offset, check.last_epoch), (4, 0));
        (partitions, check)
    }

    #[test]
    fn a_new_leader_that_has_what_was_read_is_fetched_from() {
        let (mut partitions, check) = in_doubt();
        assert_eq!(partitions.checked(&check, 3, 4, true), Checked::Good);
        assert!(partitions.checks().is_empty());
        assert_eq!(partitions.take(usize::MAX).len(), 1);
        let plan = partitions.plan(|_| Some(3), Instant::now());
        assert_eq!(plan.wanted[0].fetch_offset, 4);
    }

    #[test]
    fn what_was_fetched_ahead_and_cut_off_is_fetched_again() {
        let (mut partitions, check) = in_doubt();
        assert_eq!(partitions.checked(&check, 3, 3, true), Checked::Good);
        assert!(partitions.take(usize::MAX).is_empty());
        assert_eq!(partitions.position(&name(0)), Some(2));
    }

    #[test]
    fn a_log_that_was_cut_off_below_the_position_is_noticed() {
        let (mut partitions, check) = in_doubt();
        assert_eq!(partitions.checked(&check, 3, 1, true), Checked::CutOff(1));
        assert_eq!(partitions.position(&name(0)), Some(1));
        let (mut partitions, check) = in_doubt();
        assert_eq!(partitions.checked(&check, 3, 1, false), Checked::CutOff(1));
        assert_eq!(partitions.position(&name(0)), None);
    }

    #[test]
    fn an_answer_about_a_position_from_before_a_seek_changes_nothing() {
        let (mut partitions, check) = in_doubt();
        partitions.seek(&name(0), 40);
        assert_eq!(partitions.checked(&check, 3, 1, true), Checked::Good);
        assert_eq!(partitions.position(&name(0)), Some(40));
    }
}
