//! What a partition must hold.

use std::collections::BTreeMap;

use moldau_core::config::FlushMode;
use moldau_protocol::batch::RecordBatch;

use super::partition::{Partition, Round};
use super::shard::batches_of;

/// One partition as its clients may expect it.
#[derive(Debug)]
pub(super) struct Model {
    name: String,
    flush: FlushMode,
    /// Every batch by its base offset, also those that were deleted since.
    batches: BTreeMap<i64, RecordBatch>,
    start: i64,
    end: i64,
    high_watermark: i64,
    /// Everything below was promised to survive a loss of power, if the flush mode promises that.
    promised: i64,
    /// Batches that the disk refused or lost. A loss of power may bring one back where nothing was
    /// synced since: that the file was cut there before need not be on the disk either.
    refused: Vec<RecordBatch>,
    /// What each producer must write next: its epoch and sequence number.
    expected: BTreeMap<i64, (i16, i32)>,
    may_forget: bool,
}

/// How the broker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The files stay as they were written.
    Kill,
    /// What was not synced may be gone.
    PowerLoss,
}

impl Model {
    pub(super) fn new(name: String, flush: FlushMode) -> Self {
        Self {
            name,
            flush,
            batches: BTreeMap::new(),
            start: 0,
            end: 0,
            high_watermark: 0,
            promised: 0,
            refused: Vec::new(),
            expected: BTreeMap::new(),
            may_forget: false,
        }
    }

    /// Takes in what a writer's round did.
    pub(super) fn written(&mut self, round: &Round) {
        for batch in &round.written {
            assert_eq!(
                batch.base_offset(),
                self.end,
                "{}: offsets are dense",
                self.name
            );
            self.end = batch.next_offset();
            self.follow_producer(batch);
            self.batches.insert(batch.base_offset(), batch.clone());
        }
        self.refused.extend(round.refused.iter().cloned());
    }

    /// A producer was told that its batch lies at `base_offset`.
    pub(super) fn acknowledged(&self, batch: &RecordBatch, base_offset: i64, acks_all: bool) {
        let name = &self.name;
        let found = self.batches.get(&base_offset);
        let Some(found) = found else {
            panic!("{name}: an answer names offset {base_offset}, where no batch begins");
        };
        assert_eq!(
            found.crc(),
            batch.crc(),
            "{name}: an answer names offset {base_offset}, where another batch lies"
        );
        // Below the start it is deleted, which only what was readable can be.
        assert!(
            !acks_all || found.next_offset() <= self.high_watermark,
            "{name}: acks=all is answered for {base_offset} before it is committed"
        );
    }

    /// A consumer got these batches.
    pub(super) fn seen(&mut self, batches: &[RecordBatch]) {
        for batch in batches {
            let written = self.batches.get(&batch.base_offset());
            assert_eq!(
                written,
                Some(batch),
                "{}: a consumer sees the batch at {} as it was written",
                self.name,
                batch.base_offset()
            );
            self.promised = self.promised.max(batch.next_offset());
        }
    }

    /// Checks the offsets, after any step.
    pub(super) fn check(&mut self, partition: &Partition) {
        let (name, leader) = (&self.name, &partition.leader);
        let start = leader.log_start_offset().0;
        let high_watermark = leader.high_watermark().0;
        let stable = leader.last_stable_offset().0;
        assert!(
            high_watermark >= self.high_watermark,
            "{name}: the high watermark falls from {} to {high_watermark}",
            self.high_watermark
        );
        assert!(start >= self.start, "{name}: the log start falls");
        assert!(
            stable <= high_watermark && high_watermark <= self.end && start <= high_watermark,
            "{name}: start {start}, stable {stable}, high watermark {high_watermark}, end {}",
            self.end
        );
        assert_eq!(leader.log_end_offset().0, self.end, "{name}: log end");
        // A log that failed takes nothing any more; what it says of its end may be wrong.
        if let Some(log) = partition.log.as_ref().filter(|log| log.failure().is_none()) {
            assert_eq!(log.log_end_offset(), self.end, "{name}: end of the file");
            assert!(
                self.flush != FlushMode::Commit || high_watermark <= log.durable_offset(),
                "{name}: committed before it is durable"
            );
        }
        self.start = start;
        self.high_watermark = high_watermark;
        self.promised = self.promised.max(high_watermark);
    }

    /// First offset that may be gone after such an end.
    pub(super) fn kept(&self, partition: &Partition, end: End) -> i64 {
        match (end, self.flush) {
            (End::Kill, _) => self.end,
            (End::PowerLoss, FlushMode::Commit) => self.promised,
            (End::PowerLoss, FlushMode::Os | FlushMode::Interval { .. }) => {
                let durable = partition.log.as_ref().map(|log| log.durable_offset());
                // What was on the disk when the broker started was there already.
                durable.unwrap_or(0)
            }
        }
    }

    /// Compares the log after a restart with what must be there, given that all below `kept` must.
    /// Returns whether anything was lost, which only a flush mode that says so allows.
    ///
    /// `deleting` says that the broker ended while it deleted old segments.
    pub(super) fn recovered(&mut self, partition: &Partition, kept: i64, deleting: bool) -> bool {
        let name = &self.name;
        let found = match &partition.log {
            Some(log) => batches_of(&log.snapshot()),
            None => Vec::new(),
        };
        let start = partition.leader.log_start_offset().0;
        let end = partition.leader.log_end_offset().0;
        assert!(end >= kept, "{name}: offsets {end} to {kept} are lost");
        assert!(
            start <= self.start || deleting,
            "{name}: the log begins at {start}, it began at {}",
            self.start
        );
        let mut next = found.first().map_or(end, RecordBatch::base_offset);
        assert!(next <= start, "{name}: records from {start} on are lost");
        for batch in &found {
            let base_offset = batch.base_offset();
            assert_eq!(base_offset, next, "{name}: a gap in the log");
            next = batch.next_offset();
            let before = self.batches.get(&base_offset);
            // The checksum does not cover the leader epoch: a hole there in what was not synced is not seen.
            let same = |before: &RecordBatch| {
                before == batch || (base_offset >= kept && before.crc() == batch.crc())
            };
            let written = before.is_some_and(same);
            let came_back = base_offset >= kept && self.refused.contains(batch);
            assert!(
                written || came_back,
                "{name}: nobody wrote the batch at {base_offset} there: {}; before there was {:?}; \
                 refused were {:?}; all below {kept} must be there",
                title(batch),
                self.batches.get(&base_offset).map(title),
                self.refused.iter().map(title).collect::<Vec<_>>(),
            );
        }
        assert_eq!(next, end, "{name}: the log ends with its last batch");
        let lost = end < self.end;
        self.adopt(found, start, end);
        self.check_producers(partition);
        lost
    }

    /// The leader knows after a restart what each producer wrote last. One that it was allowed to
    /// forget may begin with any number, as in Kafka.
    fn check_producers(&mut self, partition: &Partition) {
        let known = partition.leader.producers().to_snapshot().producer_entries;
        let is_known = |id: &i64| known.iter().any(|entry| entry.producer_id == *id);
        let may_forget = self.may_forget;
        self.expected.retain(|id, _| !may_forget || is_known(id));
        for (id, (epoch, next)) in &self.expected {
            // The last entry of a producer is its newest batch.
            let entry = known.iter().rfind(|entry| entry.producer_id == *id);
            let knows = entry.map(|entry| {
                let next = entry.last_sequence.wrapping_add(1) & i32::MAX;
                (entry.epoch, next)
            });
            assert!(
                knows == Some((*epoch, *next)),
                "{}: the leader knows {knows:?} of producer {id}, not epoch {epoch} and sequence {next}; \
                 there are {:?}",
                self.name,
                partition.files()
            );
        }
    }

    /// Producers were silent for so long that the leader may have forgotten them.
    pub(super) fn allow_to_forget(&mut self) {
        self.may_forget = true;
    }

    /// Goes on from what a restart found.
    fn adopt(&mut self, found: Vec<RecordBatch>, start: i64, end: i64) {
        let first = found.first().map_or(end, RecordBatch::base_offset);
        let before = self.batches.range(first..).map(|(_, batch)| batch);
        let lost = before.filter(|batch| !found.contains(batch));
        self.refused.extend(lost.cloned());
        self.batches.retain(|base_offset, _| *base_offset < first);
        let found = found.into_iter().map(|batch| (batch.base_offset(), batch));
        self.batches.extend(found);
        (self.start, self.end, self.high_watermark) = (start, end, start);
        self.promised = end;
        self.expected.clear();
        let batches: Vec<RecordBatch> = self.batches.values().cloned().collect();
        for batch in &batches {
            self.follow_producer(batch);
        }
    }

    /// Checks that a producer's batches are there once and in order.
    fn follow_producer(&mut self, batch: &RecordBatch) {
        if batch.producer_id() < 0 {
            return;
        }
        let (epoch, sequence) = (batch.producer_epoch(), batch.base_sequence());
        if let Some((known_epoch, expected)) = self.expected.get(&batch.producer_id()) {
            let (name, offset) = (&self.name, batch.base_offset());
            assert!(
                epoch >= *known_epoch,
                "{name}: the batch at {offset} is of an older epoch than the one before"
            );
            assert!(
                epoch > *known_epoch || sequence == *expected || batch.is_control(),
                "{name}: the batch at {offset} has sequence {sequence} instead of {expected}"
            );
        }
        if batch.is_control() {
            // A marker may bump the epoch, which begins without a batch.
            let known = self.expected.get(&batch.producer_id());
            if known.is_none_or(|(known_epoch, _)| epoch > *known_epoch) {
                self.expected.insert(batch.producer_id(), (epoch, 0));
            }
            return;
        }
        let next = batch.last_sequence().wrapping_add(1) & i32::MAX;
        self.expected.insert(batch.producer_id(), (epoch, next));
    }
}

/// Where a batch lies, and whose it is.
pub(super) fn title(batch: &RecordBatch) -> String {
    let (offset, id) = (batch.base_offset(), batch.producer_id());
    let (epoch, sequence) = (batch.producer_epoch(), batch.base_sequence());
    match id {
        ..0 => format!("{offset}"),
        _ => format!("{offset} of {id}/{epoch}/{sequence}"),
    }
}
