//! Which batches of a fetched partition a consumer may see. No IO.

use std::collections::BTreeSet;

use bytes::Bytes;
use moldau_protocol::batch::{BatchError, BatchIter, ControlRecordType, RecordBatch};
use moldau_protocol::messages::fetch::AbortedTransaction;

/// What is readable in the records of one partition's fetch answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readable {
    pub(crate) batches: Vec<RecordBatch>,
    /// Where the next fetch begins; beyond batches that are left out, too.
    pub(crate) next_offset: i64,
    /// Leader epoch of the last record before that, where known.
    pub(crate) last_epoch: Option<i32>,
}

/// How records are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadOptions {
    pub(crate) fetch_offset: i64,
    pub(crate) check_crcs: bool,
    /// Whether batches of aborted transactions are left out.
    pub(crate) read_committed: bool,
}

/// Takes the batches from `fetch_offset` on, without control batches and aborted data.
pub(crate) fn readable(
    records: Bytes,
    aborted: &[AbortedTransaction],
    options: ReadOptions,
) -> Result<Readable, BatchError> {
    let mut aborted = AbortedProducers::new(aborted);
    let mut readable = Readable {
        batches: Vec::new(),
        next_offset: options.fetch_offset,
        last_epoch: None,
    };
    for batch in BatchIter::new(records) {
        let batch = batch?;
        if options.check_crcs {
            batch.verify_crc()?;
        }
        let is_aborted = options.read_committed && aborted.contains(&batch)?;
        if batch.last_offset() < options.fetch_offset {
            continue;
        }
        readable.next_offset = batch.next_offset();
        let epoch = batch.partition_leader_epoch();
        readable.last_epoch = (epoch >= 0).then_some(epoch);
        if !batch.is_control() && !is_aborted {
            readable.batches.push(batch);
        }
    }
    Ok(readable)
}

/// The producers whose transaction is aborted at the current place in the log.
struct AbortedProducers<'a> {
    /// Aborted transactions that begin further on, in order of their first offsets.
    ahead: std::iter::Peekable<std::vec::IntoIter<&'a AbortedTransaction>>,
    now: BTreeSet<i64>,
}

impl<'a> AbortedProducers<'a> {
    fn new(aborted: &'a [AbortedTransaction]) -> Self {
        let mut ahead: Vec<_> = aborted.iter().collect();
        ahead.sort_by_key(|transaction| transaction.first_offset);
        Self {
            ahead: ahead.into_iter().peekable(),
            now: BTreeSet::new(),
        }
    }

    /// Whether `batch`, the next one in the log, belongs to an aborted transaction.
    fn contains(&mut self, batch: &RecordBatch) -> Result<bool, BatchError> {
        while let Some(transaction) = self
            .ahead
            .next_if(|transaction| transaction.first_offset <= batch.last_offset())
        {
            self.now.insert(transaction.producer_id);
        }
        if batch.is_control() {
            if is_abort_marker(batch)? {
                self.now.remove(&batch.producer_id());
            }
            return Ok(false);
        }
        Ok(batch.is_transactional() && self.now.contains(&batch.producer_id()))
    }
}

fn is_abort_marker(batch: &RecordBatch) -> Result<bool, BatchError> {
    let Some(record) = batch.records()?.next().transpose()? else {
        return Ok(false);
    };
    let kind = record.key.as_deref().and_then(ControlRecordType::from_key);
    Ok(kind == Some(ControlRecordType::Abort))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use moldau_protocol::batch::{Compression, EndTransactionMarker, RecordBatchBuilder};

    use super::*;

    /// A batch of two records at `offset`, of a transaction if `producer` is not -1.
    fn data(offset: i64, producer: i64) -> Bytes {
        let mut builder = RecordBatchBuilder::new(Compression::None)
            .base_offset(offset)
            .producer(producer, 0, 0)
            .transactional(producer >= 0);
        builder.append(0, None, Some(b"a"), &[]);
        builder.append(0, None, Some(b"b"), &[]);
        builder.build()
    }

    fn marker(offset: i64, producer: i64, committed: bool) -> Bytes {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 0,
        };
        marker.to_batch(offset, 0, 0, producer, 0)
    }

    fn check(log: &[Bytes], aborted: &[(i64, i64)], fetch_offset: i64, expected: (&[i64], i64)) {
        let aborted: Vec<_> = aborted
            .iter()
            .map(|(producer_id, first_offset)| AbortedTransaction {
                producer_id: *producer_id,
                first_offset: *first_offset,
                ..AbortedTransaction::default()
            })
            .collect();
        let mut records = BytesMut::new();
        for batch in log {
            records.extend_from_slice(batch);
        }
        let options = ReadOptions {
            fetch_offset,
            check_crcs: true,
            read_committed: true,
        };
        let readable = readable(records.freeze(), &aborted, options).unwrap();
        let offsets: Vec<_> = readable
            .batches
            .iter()
            .map(RecordBatch::base_offset)
            .collect();
        assert_eq!((offsets.as_slice(), readable.next_offset), expected);
    }

    #[test]
    fn aborted_data_and_markers_are_left_out() {
        let log = [
            data(0, -1),
            data(2, 7),
            data(4, 8),
            marker(6, 7, false),
            data(7, 7),
            marker(9, 7, true),
            marker(10, 8, true),
        ];
        check(&log, &[(7, 2)], 0, (&[0, 4, 7], 11));
    }

    #[test]
    fn an_offset_inside_a_batch_gets_the_whole_batch() {
        check(&[data(0, -1), data(2, -1)], &[], 3, (&[2], 4));
    }

    #[test]
    fn control_batches_alone_still_move_the_position() {
        check(&[marker(5, 7, true)], &[], 5, (&[], 6));
    }

    #[test]
    fn a_batch_that_is_cut_off_is_left_for_the_next_fetch() {
        let cut = data(2, -1).slice(..70);
        check(&[data(0, -1), cut], &[], 0, (&[0], 2));
    }

    #[test]
    fn nothing_keeps_the_position() {
        check(&[], &[], 9, (&[], 9));
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        let mut bytes = BytesMut::from(data(0, -1));
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        let options = ReadOptions {
            fetch_offset: 0,
            check_crcs: true,
            read_committed: false,
        };
        assert!(matches!(
            readable(bytes.freeze(), &[], options),
            Err(BatchError::Corrupt { .. })
        ));
    }
}
