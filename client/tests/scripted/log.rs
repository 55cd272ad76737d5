//! One partition of the scripted broker.

use std::collections::{BTreeSet, HashMap};

use bytes::{Bytes, BytesMut};
use moldau_protocol::ErrorCode;
use moldau_protocol::batch::{BatchHeader, ControlRecordType, EndTransactionMarker, RecordBatch};

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) start_offset: i64,
    pub(crate) end_offset: i64,
    producers: HashMap<i64, ProducerState>,
}

#[derive(Debug)]
struct ProducerState {
    epoch: i16,
    /// The last five batches: first sequence, last sequence, base offset.
    last: Vec<(i32, i32, i64)>,
}

impl Log {
    /// Appends a batch as a broker does: a repeat gets its first offset, a gap is refused.
    pub(crate) fn append(&mut self, bytes: &Bytes) -> Result<i64, ErrorCode> {
        let batch = RecordBatch::parse(bytes.clone()).map_err(|_| ErrorCode::CorruptMessage)?;
        batch.verify_crc().map_err(|_| ErrorCode::CorruptMessage)?;
        if batch.producer_id() >= 0
            && let Some(state) = self.producers.get(&batch.producer_id())
        {
            let numbers = (batch.base_sequence(), batch.last_sequence());
            let repeat = state.last.iter().find(|(first, last, _)| {
                batch.producer_epoch() == state.epoch && (*first, *last) == numbers
            });
            if let Some((_, _, offset)) = repeat {
                return Ok(*offset);
            }
            let expected = state
                .last
                .last()
                .filter(|_| batch.producer_epoch() == state.epoch)
                .map_or(0, |(_, last, _)| last.wrapping_add(1));
            if batch.producer_epoch() < state.epoch {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
            if batch.base_sequence() != expected {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
        }
        let offset = self.store(&batch);
        self.remember(&batch, offset);
        Ok(offset)
    }

    /// Ends a producer's transaction.
    pub(crate) fn append_marker(&mut self, producer_id: i64, epoch: i16, committed: bool) {
        let marker = EndTransactionMarker {
            committed,
            coordinator_epoch: 0,
        };
        let marker = marker.to_batch(0, 0, 0, producer_id, epoch);
        self.store(&RecordBatch::parse(marker).unwrap());
        if let Some(state) = self.producers.get_mut(&producer_id)
            && state.epoch != epoch
        {
            state.epoch = epoch;
            state.last.clear();
        }
    }

    fn store(&mut self, batch: &RecordBatch) -> i64 {
        let offset = self.end_offset;
        self.end_offset += i64::from(batch.last_offset_delta()) + 1;
        let mut header = batch.header_bytes();
        BatchHeader::patch_base_offset(&mut header, offset);
        let mut stored = BytesMut::from(&header[..]);
        stored.extend_from_slice(&batch.payload());
        self.batches
            .push(RecordBatch::parse(stored.freeze()).unwrap());
        offset
    }

    fn remember(&mut self, batch: &RecordBatch, offset: i64) {
        if batch.producer_id() < 0 {
            return;
        }
        let state = self
            .producers
            .entry(batch.producer_id())
            .or_insert_with(|| ProducerState {
                epoch: batch.producer_epoch(),
                last: Vec::new(),
            });
        if state.epoch != batch.producer_epoch() {
            state.epoch = batch.producer_epoch();
            state.last.clear();
        }
        state
            .last
            .push((batch.base_sequence(), batch.last_sequence(), offset));
        if state.last.len() > 5 {
            state.last.remove(0);
        }
    }

    /// Loses all that is known of producers, as after their ids expire. Their next batch is then refused.
    pub(crate) fn forget_producers(&mut self) {
        for state in self.producers.values_mut() {
            state.last = vec![(i32::MAX - 1, i32::MAX - 1, -1)];
        }
    }

    pub(crate) fn read(&self, offset: i64, max_bytes: usize) -> Bytes {
        let mut bytes = BytesMut::new();
        for batch in &self.batches {
            if batch.last_offset() < offset {
                continue;
            }
            if !bytes.is_empty() && bytes.len() + batch.size_in_bytes() > max_bytes {
                break;
            }
            bytes.extend_from_slice(batch.bytes());
        }
        bytes.freeze()
    }

    /// Values of committed transactions, as they lie in the log.
    pub(crate) fn committed_values(&self) -> Vec<String> {
        let mut open: HashMap<i64, Vec<usize>> = HashMap::new();
        let mut committed = BTreeSet::new();
        for (index, batch) in self.batches.iter().enumerate() {
            let batches = open.entry(batch.producer_id()).or_default();
            if !batch.is_control() {
                batches.push(index);
                continue;
            }
            let marker = batch.records().unwrap().next().unwrap().unwrap();
            let kind = ControlRecordType::from_key(&marker.key.unwrap());
            let ended = std::mem::take(batches);
            if kind == Some(ControlRecordType::Commit) {
                committed.extend(ended);
            }
        }
        values(committed.iter().map(|index| &self.batches[*index]))
    }

    pub(crate) fn values(&self) -> Vec<String> {
        values(self.batches.iter())
    }
}

fn values<'a>(batches: impl Iterator<Item = &'a RecordBatch>) -> Vec<String> {
    let records = batches.flat_map(|batch| batch.records().unwrap());
    records
        .map(|record| {
            let value = record.unwrap().value.unwrap_or_default();
            String::from_utf8_lossy(&value).into_owned()
        })
        .collect()
}
