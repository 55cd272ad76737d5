//! The newest batches of each partition, kept in memory as the very bytes that the producer sent.
//!
//! Consumers at the end of a log are served from here without a system call for the file. One budget covers all
//! partitions; the batch that is oldest among all of them goes first.

use std::collections::VecDeque;
use std::sync::{Mutex, Weak};

use bytes::{Bytes, BytesMut};
use moldau_protocol::Records;

use super::lock;
use super::partition::Partition;

/// The newest batches of one partition: a run without gaps that ends at the log end.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    batches: Mutex<VecDeque<TailBatch>>,
}

/// One batch: its header with the final offset, and the rest of it.
#[derive(Debug, Clone)]
pub(crate) struct TailBatch {
    base_offset: i64,
    last_offset: i64,
    header: Bytes,
    payload: Bytes,
}

/// What a tail gives to one fetch.
#[derive(Debug)]
pub(crate) struct TailRead {
    pub(crate) records: Records,
    /// Where to read on.
    pub(crate) next_offset: i64,
}

impl TailBatch {
    /// Small batches are copied together: one piece to write, and the frame they came in is not kept alive by them.
    pub(crate) fn new(base_offset: i64, last_offset: i64, header: &[u8], payload: &Bytes) -> Self {
        if payload.len() > MAX_COPIED {
            let header = Bytes::copy_from_slice(header);
            return Self {
                base_offset,
                last_offset,
                header,
                payload: payload.clone(),
            };
        }
        let mut whole = BytesMut::with_capacity(header.len() + payload.len());
        whole.extend_from_slice(header);
        whole.extend_from_slice(payload);
        Self {
            base_offset,
            last_offset,
            header: whole.freeze(),
            payload: Bytes::new(),
        }
    }

    fn len(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    fn weight(&self) -> usize {
        self.len() + ENTRY_OVERHEAD
    }
}

impl Tail {
    /// Batches from the one that holds `offset`, below `up_to`, at most `max_bytes`; `None` when `offset` is older
    /// than the tail.
    ///
    /// With `at_least_one`, the first batch is given even when it is larger.
    pub(crate) fn read(
        &self,
        offset: i64,
        up_to: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Option<TailRead> {
        let batches = lock(&self.batches);
        if batches.front()?.base_offset > offset {
            return None;
        }
        let first = batches.partition_point(|batch| batch.last_offset < offset);
        let mut records = Records::new();
        let mut next_offset = offset;
        for batch in batches.range(first..) {
            if batch.last_offset >= up_to {
                break;
            }
            let first = at_least_one && records.is_empty();
            if !first && records.len() + batch.len() > max_bytes {
                break;
            }
            records.push(batch.header.clone());
            records.push(batch.payload.clone());
            next_offset = batch.last_offset + 1;
        }
        Some(TailRead {
            records,
            next_offset,
        })
    }

    /// Forgets everything, for example because the log was cut.
    pub(crate) fn clear(&self) -> usize {
        let mut batches = lock(&self.batches);
        let freed = batches.iter().map(TailBatch::weight).sum();
        batches.clear();
        freed
    }

    /// Forgets the batches that end below `offset`.
    fn clear_below(&self, offset: i64) -> usize {
        let mut batches = lock(&self.batches);
        let count = batches.partition_point(|batch| batch.last_offset < offset);
        batches.drain(..count).map(|batch| batch.weight()).sum()
    }

    fn push(&self, batch: TailBatch) {
        let mut batches = lock(&self.batches);
        debug_assert!(
            batches
                .back()
                .is_none_or(|last| last.last_offset < batch.base_offset)
        );
        batches.push_back(batch);
    }

    fn pop(&self) -> usize {
        let mut batches = lock(&self.batches);
        let freed = batches.pop_front().map_or(0, |batch| batch.weight());
        if batches.is_empty() {
            *batches = VecDeque::new();
        }
        freed
    }
}

/// The budget of all tails.
#[derive(Debug)]
pub(crate) struct TailCache {
    limit: usize,
    state: Mutex<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    used: usize,
    /// One entry per batch, oldest first.
    order: VecDeque<Entry>,
}

/// One batch of the cache. If its partition dropped its batches already, it stands for nothing.
#[derive(Debug)]
struct Entry {
    partition: Weak<Partition>,
    appended_ms: i64,
}

impl TailCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::new(CacheState::default()),
        }
    }

    /// Adds the batches that were just appended to `partition`, and drops the oldest ones beyond the budget.
    pub(crate) fn push(
        &self,
        partition: &std::sync::Arc<Partition>,
        batches: impl IntoIterator<Item = TailBatch>,
        now_ms: i64,
    ) {
        if self.limit == 0 {
            return;
        }
        let mut state = lock(&self.state);
        for batch in batches {
            state.used += batch.weight();
            partition.tail.push(batch);
            state.order.push_back(Entry {
                partition: std::sync::Arc::downgrade(partition),
                appended_ms: now_ms,
            });
        }
        while state.used > self.limit && state.drop_oldest() {}
    }

    /// Drops what was appended before `before_ms`: whoever follows the log has read it. Returns the bytes freed.
    pub(crate) fn drop_older(&self, before_ms: i64) -> usize {
        let mut state = lock(&self.state);
        let used = state.used;
        while state
            .order
            .front()
            .is_some_and(|oldest| oldest.appended_ms < before_ms)
        {
            state.drop_oldest();
        }
        if state.order.is_empty() {
            state.order = VecDeque::new();
        }
        used - state.used
    }

    /// Drops the batches of a partition that end below `offset`.
    pub(crate) fn forget_below(&self, partition: &Partition, offset: i64) {
        let mut state = lock(&self.state);
        let freed = partition.tail.clear_below(offset);
        state.used -= freed.min(state.used);
    }

    /// Drops what is kept of a partition.
    pub(crate) fn forget(&self, partition: &Partition) {
        let mut state = lock(&self.state);
        let freed = partition.tail.clear();
        state.used -= freed.min(state.used);
    }
}

impl CacheState {
    /// Drops the oldest batch; `false` when there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.order.pop_front() else {
            return false;
        };
        let partition = oldest.partition.upgrade();
        let freed = partition.map_or(0, |partition| partition.tail.pop());
        self.used -= freed.min(self.used);
        true
    }
}

/// Batches up to this size are copied, so that header and payload are one piece.
pub(crate) const MAX_COPIED: usize = 4096;

/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD: usize = 160;
