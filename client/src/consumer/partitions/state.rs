//! One partition of a consumer, what is buffered of it, and what is asked of brokers about it.

use std::collections::VecDeque;

use moldau_protocol::batch::RecordBatch;
use tokio::time::Instant;

use crate::consumer::batch::FetchedBatch;
use crate::topic_partition::TopicPartition;

/// One partition.
#[derive(Clone, Debug)]
pub(super) struct PartitionState {
    /// Changes with every seek, so that answers to earlier fetches are recognised and dropped.
    pub(super) epoch: u64,
    pub(super) place: Place,
    pub(super) is_paused: bool,
    pub(super) is_in_flight: bool,
    pub(super) buffered_bytes: usize,
    pub(super) ends: Option<Ends>,
    /// Not fetched before this time: the last fetch failed.
    pub(super) not_before: Option<Instant>,
    /// Leader epoch of the last record before the fetch offset, where known.
    pub(super) last_epoch: Option<i32>,
    /// The leader's epoch under which the fetch offset is known to be in the log; -1 before the first.
    pub(super) good_under: i32,
    /// Whether the leader has to be asked first whether its log still has what was read.
    pub(super) is_in_doubt: bool,
}

/// Where a partition ended at the last fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// First offset that is not in every in-sync replica yet.
    pub(crate) high_watermark: i64,
    /// First offset that this consumer may not read yet: of committed records only, where the first open transaction
    /// begins.
    pub(crate) readable: i64,
}

/// A position that is to be checked with a new leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) name: TopicPartition,
    pub(super) epoch: u64,
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
pub(super) enum Place {
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
pub(super) struct Buffered {
    pub(super) name: TopicPartition,
    pub(super) epoch: u64,
    pub(super) batches: VecDeque<RecordBatch>,
    pub(super) next_offset: i64,
    pub(super) high_watermark: i64,
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

impl PartitionState {
    /// Whether a leader of this epoch can be fetched from. If not, it has to be asked about the last record first.
    pub(super) const fn is_good_under(&mut self, leader_epoch: i32) -> bool {
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

    pub(super) fn give(&mut self, from: &Buffered, batch: RecordBatch) -> FetchedBatch {
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

    pub(super) const fn move_to(&mut self, offset: i64) {
        if let Place::Known { position, .. } = &mut self.place {
            *position = offset;
        }
    }
}

impl Buffered {
    pub(super) fn size(&self) -> usize {
        self.batches.iter().map(RecordBatch::size_in_bytes).sum()
    }
}
