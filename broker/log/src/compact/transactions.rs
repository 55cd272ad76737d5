//! Which batches belong to aborted transactions, and which markers nothing needs any more.

use std::collections::{BTreeMap, BTreeSet};

use moldau_protocol::batch::{BatchError, BatchHeader, EndTransactionMarker, RecordBatch};

use crate::index::AbortedTransaction;

/// Follows the transactions of a log from batch to batch, from the first one on.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Aborted transactions that begin later, the earliest one last.
    later: Vec<AbortedTransaction>,
    /// Aborted transactions in which the walk is, by producer, and whether batches of them were met.
    aborted: BTreeMap<i64, (AbortedTransaction, bool)>,
    /// Producers with batches of a transaction that was not aborted and whose marker is to come.
    committed: BTreeSet<i64>,
}

/// What is known of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// No batch of its transaction is left, so nobody needs it.
    pub(super) is_obsolete: bool,
    /// The aborted transaction that readers must still know, as batches of it were there.
    pub(super) aborted: Option<AbortedTransaction>,
}

impl Transactions {
    /// Knows these aborted transactions, in any order.
    pub(super) fn new(mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_by_key(|aborted| std::cmp::Reverse(aborted.first_offset));
        Self {
            later: aborted,
            ..Self::default()
        }
    }

    /// Meets a batch with records; returns whether its transaction was aborted.
    pub(super) fn meet_batch(&mut self, header: &BatchHeader) -> bool {
        self.enter_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        if let Some((_, has_batches)) = self.aborted.get_mut(&header.producer_id) {
            *has_batches = true;
            return true;
        }
        self.committed.insert(header.producer_id);
        false
    }

    /// Meets a control batch.
    ///
    /// # Errors
    /// It cannot be decoded.
    pub(super) fn meet_marker(&mut self, batch: &RecordBatch) -> Result<Marker, BatchError> {
        self.enter_up_to(batch.last_offset());
        let needed = Marker {
            is_obsolete: false,
            aborted: None,
        };
        if batch.record_count() == 0 {
            return Ok(needed); // lost its marker already
        }
        Ok(match EndTransactionMarker::from_batch(batch)? {
            None => needed,
            Some(EndTransactionMarker {
                committed: true, ..
            }) => Marker {
                is_obsolete: !self.committed.remove(&batch.producer_id()),
                ..needed
            },
            Some(_) => {
                let ended = self.aborted.remove(&batch.producer_id());
                let aborted = ended.and_then(|(entry, has_batches)| has_batches.then_some(entry));
                Marker {
                    is_obsolete: aborted.is_none(),
                    aborted,
                }
            }
        })
    }

    fn enter_up_to(&mut self, offset: i64) {
        while let Some(next) = self.later.pop_if(|next| next.first_offset <= offset) {
            self.aborted
                .entry(next.producer_id)
                .or_insert((next, false));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use moldau_protocol::batch::{Compression, RecordBatchBuilder};

    use super::*;

    fn batch(producer_id: i64, offset: i64) -> BatchHeader {
        let mut builder = RecordBatchBuilder::new(Compression::None)
            .base_offset(offset)
            .producer(producer_id, 0, 0)
            .transactional(true);
        builder.append(1, Some(b"k"), Some(b"v"), &[]);
        *parsed(builder.build()).header()
    }

    fn marker(producer_id: i64, offset: i64, committed: bool) -> RecordBatch {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 0,
        };
        parsed(marker.to_batch(offset, 1, 0, producer_id, 0))
    }

    fn parsed(bytes: Bytes) -> RecordBatch {
        RecordBatch::parse(bytes).unwrap()
    }

    fn aborted(producer_id: i64, first_offset: i64, last_offset: i64) -> AbortedTransaction {
        AbortedTransaction {
            producer_id,
            first_offset,
            last_offset,
            last_stable_offset: last_offset + 1,
        }
    }

    #[test]
    fn batches_of_interleaved_transactions_are_told_apart() {
        let entry = aborted(1, 0, 4);
        let mut transactions = Transactions::new(vec![aborted(1, 7, 8), entry]);
        assert!(transactions.meet_batch(&batch(1, 0)));
        assert!(!transactions.meet_batch(&batch(2, 1)));
        assert!(transactions.meet_batch(&batch(1, 2)));
        let committed = transactions.meet_marker(&marker(2, 3, true)).unwrap();
        assert!(!committed.is_obsolete);
        let ended = transactions.meet_marker(&marker(1, 4, false)).unwrap();
        assert_eq!((ended.is_obsolete, ended.aborted), (false, Some(entry)));
        assert!(
            !transactions.meet_batch(&batch(1, 5)),
            "the next one was committed"
        );
        assert!(
            !transactions
                .meet_marker(&marker(1, 6, true))
                .unwrap()
                .is_obsolete
        );
        assert!(transactions.meet_batch(&batch(1, 7)));
    }

    #[test]
    fn a_marker_without_batches_is_obsolete() {
        let mut transactions = Transactions::new(vec![aborted(1, 0, 4)]);
        let abort = transactions.meet_marker(&marker(1, 4, false)).unwrap();
        assert_eq!((abort.is_obsolete, abort.aborted), (true, None));
        assert!(
            transactions
                .meet_marker(&marker(2, 5, true))
                .unwrap()
                .is_obsolete
        );
    }
}
