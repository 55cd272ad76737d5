//! What transactions were promised, and what readers of committed records see of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use moldau_protocol::batch::{EndTransactionMarker, RecordBatch};

use super::partition::Partition;
use super::shard::batches_of;
use super::transactors::Identity;

/// All transactions.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Those that the promises hold for: not those that a disk without syncs may have lost.
    known: BTreeMap<Identity, Transaction>,
    /// How transactions ended, as the markers of any partition say.
    decided: BTreeMap<Identity, bool>,
    pub(super) committed: u64,
    pub(super) aborted: u64,
}

#[derive(Debug, Default)]
struct Transaction {
    /// The producer has asked for it.
    may_commit: bool,
    /// What the producer was told.
    promised: Option<bool>,
    /// The batches that were acknowledged, by partition and offset.
    batches: BTreeSet<(usize, i64)>,
}

impl Transactions {
    /// A producer begins a transaction.
    pub(super) fn begun(&mut self, identity: Identity) {
        self.known.entry(identity).or_default();
    }

    /// A producer asks for its end.
    pub(super) fn asks_to_end(&mut self, identity: Identity, committed: bool) {
        if let Some(transaction) = self.known.get_mut(&identity) {
            transaction.may_commit |= committed;
        }
    }

    /// A batch was acknowledged.
    pub(super) fn written(&mut self, identity: Identity, partition: usize, offset: i64) {
        if let Some(transaction) = self.known.get_mut(&identity) {
            transaction.batches.insert((partition, offset));
        }
    }

    /// An end was acknowledged.
    pub(super) fn ended(&mut self, identity: Identity, committed: bool) {
        if committed {
            self.committed += 1;
        } else {
            self.aborted += 1;
        }
        if let Some(transaction) = self.known.get_mut(&identity) {
            let before = transaction.promised.replace(committed);
            assert!(
                before.is_none_or(|before| before == committed),
                "transaction {identity:?} is answered as committed and as aborted"
            );
        }
    }

    /// A disk that need not keep what is not synced has lost some.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Checks one partition; returns the offsets of the batches that count as committed.
    pub(super) fn check(&mut self, index: usize, partition: &Partition) -> BTreeSet<i64> {
        let Some(log) = &partition.log else {
            return BTreeSet::new();
        };
        if log.failure().is_some() {
            return BTreeSet::new();
        }
        let snapshot = log.snapshot();
        let batches = batches_of(&snapshot);
        let high_watermark = partition.leader.high_watermark().0;
        let scan = Scan::of(&batches, high_watermark);
        for (identity, committed) in &scan.ends {
            self.check_end(index, *identity, *committed);
        }
        let start = partition.leader.log_start_offset().0;
        let stable = partition.leader.last_stable_offset().0;
        let expected = scan.first_unstable.unwrap_or(high_watermark);
        let expected = expected.max(start).min(high_watermark);
        // A transaction whose first records were deleted seems to begin later than it did.
        assert!(
            stable == expected || (start > 0 && stable <= expected),
            "partition {index}: the last stable offset is {stable}, not {expected}"
        );
        let from = snapshot.log_start_offset();
        let aborted = snapshot.aborted_transactions(from, stable);
        let mut aborted: Vec<(i64, i64)> = aborted
            .expect("read the index of aborted transactions")
            .into_iter()
            .map(|aborted| (aborted.first_offset, aborted.producer_id))
            .collect();
        aborted.sort_unstable();
        let seen = seen_by_consumer(&batches, &aborted, stable);
        // The log start may lie within a batch, and then the last stable offset with it.
        let whole = batches.iter().filter(|batch| batch.next_offset() <= stable);
        let committed: BTreeSet<i64> = whole
            .map(RecordBatch::base_offset)
            .filter(|offset| scan.committed.contains(offset))
            .collect();
        assert_eq!(
            seen, committed,
            "partition {index}: what a reader of committed records sees, and what is committed"
        );
        seen
    }

    fn check_end(&mut self, index: usize, identity: Identity, committed: bool) {
        let before = *self.decided.entry(identity).or_insert(committed);
        assert_eq!(
            before, committed,
            "partition {index}: transaction {identity:?} is torn: committed here, aborted there"
        );
        let Some(transaction) = self.known.get(&identity) else {
            return;
        };
        assert!(
            transaction.promised.is_none_or(|told| told == committed),
            "partition {index}: transaction {identity:?} ended otherwise than its producer was told"
        );
        assert!(
            transaction.may_commit || !committed,
            "partition {index}: transaction {identity:?} is committed, but nobody asked for it"
        );
    }

    /// At the end, with everything decided: what was promised is there, by partition. `shown` is what
    /// readers of committed records get: from the log start, below which everything is deleted.
    pub(super) fn check_promises(&self, seen: &[BTreeSet<i64>], shown: &[Range<i64>]) {
        for (identity, transaction) in &self.known {
            for (partition, offset) in &transaction.batches {
                let is_seen = seen[*partition].contains(offset);
                let is_shown = shown[*partition].contains(offset);
                assert!(
                    transaction.promised != Some(true) || is_seen || !is_shown,
                    "transaction {identity:?} was committed, but its batch at {offset} of \
                     partition {partition} is not seen"
                );
                assert!(
                    transaction.may_commit || !is_seen,
                    "the batch at {offset} of partition {partition} is seen, but transaction \
                     {identity:?} was never to be committed"
                );
            }
        }
    }
}

/// What the batches of a log say of its transactions.
#[derive(Default)]
struct Scan {
    /// First offset of a transaction that is open, or whose marker is not committed.
    first_unstable: Option<i64>,
    /// Base offsets of batches outside of transactions, and of committed ones.
    committed: BTreeSet<i64>,
    /// Transactions by their markers.
    ends: Vec<(Identity, bool)>,
}

impl Scan {
    fn of(batches: &[RecordBatch], high_watermark: i64) -> Self {
        let mut scan = Self::default();
        // The batches of each producer's open transaction.
        let mut open: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        let mut unstable = BTreeSet::new();
        for batch in batches {
            let (producer_id, offset) = (batch.producer_id(), batch.base_offset());
            if batch.is_control() {
                let marker = EndTransactionMarker::from_batch(batch);
                let marker = marker.expect("a whole marker").expect("a marker");
                let ended = open.remove(&producer_id).unwrap_or_default();
                unstable.extend(ended.first().filter(|_| offset >= high_watermark).copied());
                if marker.committed {
                    scan.committed.extend(ended);
                }
                let identity = (producer_id, batch.producer_epoch() - 1);
                scan.ends.push((identity, marker.committed));
            } else if batch.is_transactional() {
                open.entry(producer_id).or_default().push(offset);
            } else {
                scan.committed.insert(offset);
            }
        }
        unstable.extend(open.values().filter_map(|batches| batches.first().copied()));
        scan.first_unstable = unstable.first().copied();
        scan
    }
}

/// What a client shows that was given these aborted transactions, by first offset.
fn seen_by_consumer(batches: &[RecordBatch], aborted: &[(i64, i64)], stable: i64) -> BTreeSet<i64> {
    let mut aborted = aborted.iter().copied().peekable();
    let mut dropped = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for batch in batches.iter().take_while(|b| b.next_offset() <= stable) {
        while let Some((_, id)) = aborted.next_if(|(first, _)| *first <= batch.last_offset()) {
            dropped.insert(id);
        }
        if batch.is_control() {
            let marker = EndTransactionMarker::from_batch(batch);
            if marker.is_ok_and(|marker| marker.is_some_and(|marker| !marker.committed)) {
                dropped.remove(&batch.producer_id());
            }
        } else if !(batch.is_transactional() && dropped.contains(&batch.producer_id())) {
            seen.insert(batch.base_offset());
        }
    }
    seen
}
