//! The transactions of one partition (KIP-98): which are open, and which ended but may be open again
//! after a crash because their marker is not committed.

use std::collections::BTreeMap;

use moldau_protocol::batch::EndTransactionMarker;

use crate::ids::{Offset, ProducerId};

/// What a control batch says that ends a producer's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Whether the transaction is committed; else it is aborted.
    pub committed: bool,
    /// Fences coordinators that lost their partition of `__transaction_state`.
    pub coordinator_epoch: i32,
    /// From 2 on (KIP-890) the marker's producer epoch is above the one of the records that it ends.
    /// 0 where it is not known: the log does not tell.
    pub transaction_version: i16,
}

impl From<EndTransactionMarker> for Marker {
    fn from(marker: EndTransactionMarker) -> Self {
        Self {
            committed: marker.committed,
            coordinator_epoch: marker.coordinator_epoch,
            transaction_version: 0,
        }
    }
}

/// A transaction that had records in the partition and was ended by a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTransaction {
    /// Whose transaction it was.
    pub producer_id: ProducerId,
    /// Offset of its first record.
    pub first_offset: Offset,
    /// Offset of the marker.
    pub last_offset: Offset,
    /// Whether it was committed; else it was aborted.
    pub committed: bool,
    /// First offset of the oldest other transaction that is open, else the one after the marker.
    pub last_stable_offset: Offset,
}

/// Proof that a partition was part of a transaction at some time: it is void as soon as a marker of
/// the producer comes, so that a late record cannot open a transaction that nobody would end
/// (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(pub(super) u32);

/// First offsets of transactions that hold back the last stable offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Transactions {
    /// Neither committed nor aborted.
    open: BTreeMap<Offset, ProducerId>,
    /// Ended, by the offset of the marker, which is not below the high watermark yet.
    uncommitted: BTreeMap<Offset, Offset>,
}

impl Transactions {
    pub(super) fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.open.keys().next();
        let uncommitted = self.uncommitted.keys().next();
        open.into_iter().chain(uncommitted).min().copied()
    }

    /// First offset of the oldest open transaction.
    pub(super) fn first_open(&self) -> Option<Offset> {
        self.open.keys().next().copied()
    }

    /// Follows the change of one producer's open transaction.
    pub(super) fn change(
        &mut self,
        producer_id: ProducerId,
        before: Option<Offset>,
        after: Option<Offset>,
    ) {
        if before == after {
            return;
        }
        if let Some(offset) = before {
            self.open.remove(&offset);
        }
        if let Some(offset) = after {
            self.open.insert(offset, producer_id);
        }
    }

    /// A marker was appended at `marker`.
    pub(super) fn completed(&mut self, first_offset: Offset, marker: Offset) {
        self.uncommitted.insert(first_offset, marker);
    }

    /// The marker was not written after all.
    pub(super) fn undo_completed(&mut self, first_offset: Offset) {
        self.uncommitted.remove(&first_offset);
    }

    /// Everything below `high_watermark` is committed.
    pub(super) fn committed_below(&mut self, high_watermark: Offset) {
        if !self.uncommitted.is_empty() {
            self.uncommitted
                .retain(|_, marker| *marker >= high_watermark);
        }
    }
}
