//! One group coordinator and its partition, as `broker/src/coordinator` runs them.

use std::collections::VecDeque;
use std::sync::Arc;

use moldau_core::coordinator::{Action, Coordinator, CoordinatorRecord, CoordinatorSettings};
use moldau_core::ids::{AppendId, Token};
use moldau_core::metadata::MetadataImage;
use moldau_log::{LogSnapshot, ReadRequest, SimStorage};
use moldau_protocol::batch::{BatchIter, Compression, RecordBatch, RecordBatchBuilder};
use moldau_protocol::{ErrorCode, ResponseKind};

use super::mistake::Mistake;
use super::partition::{Append, Partition, Reply};

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) coordinator: Coordinator,
    mistake: Option<Mistake>,
    /// Appends in order, with their outcome once it is there.
    appends: VecDeque<(AppendId, Option<Result<(), ErrorCode>>)>,
}

/// An answer to the request of this token.
pub(super) type Answer = (Token, ResponseKind);

impl Shard {
    /// Replays a partition and takes its lead.
    pub(super) fn load(
        partition: &Partition,
        settings: CoordinatorSettings,
        image: &Arc<MetadataImage>,
        (mistake, now_ms): (Option<Mistake>, i64),
    ) -> Self {
        let mut coordinator = replay(partition, settings, image, mistake);
        let actions = coordinator.loaded(now_ms);
        assert!(actions.is_empty(), "nothing is to be done after a replay");
        Self {
            coordinator,
            mistake,
            appends: VecDeque::new(),
        }
    }

    /// Carries out what the coordinator wants.
    pub(super) fn act(
        &mut self,
        actions: Vec<Action>,
        partition: &mut Partition,
        now_ms: i64,
    ) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                Action::Respond { token, response } => answers.push((token, response)),
                Action::AppendMarker { .. } => {
                    unreachable!("the simulated clients commit no offsets in transactions")
                }
                Action::Append { id, records, .. } => {
                    partition.push(Append::plain(
                        batch_of(&records, now_ms),
                        true,
                        Reply::Coordinator(id),
                    ));
                    if self.mistake == Some(Mistake::CommitBeforeAppend) {
                        actions.extend(self.coordinator.committed(id, now_ms));
                    } else {
                        self.appends.push_back((id, None));
                    }
                }
            }
        }
        answers
    }

    /// Notes what became of an append.
    pub(super) fn note(&mut self, id: AppendId, result: Result<(), ErrorCode>) {
        if let Some(append) = self.appends.iter_mut().find(|(other, _)| *other == id) {
            append.1 = Some(result);
        }
    }

    /// Tells the coordinator the next outcome, if it is there.
    pub(super) fn tell(&mut self, partition: &mut Partition, now_ms: i64) -> Vec<Answer> {
        let index = match self.mistake {
            Some(Mistake::ReorderOutcomes) => self.appends.iter().rposition(|(_, o)| o.is_some()),
            _ => Some(0),
        };
        let outcome = index.and_then(|index| self.appends.get(index).copied());
        let Some((id, Some(outcome))) = outcome else {
            return Vec::new();
        };
        self.appends.retain(|(other, _)| *other != id);
        let actions = match outcome {
            Ok(()) => self.coordinator.committed(id, now_ms),
            Err(code) => self.coordinator.append_failed(id, code, now_ms),
        };
        self.act(actions, partition, now_ms)
    }

    pub(super) fn has_news(&self) -> bool {
        self.appends.iter().any(|(_, outcome)| outcome.is_some())
    }

    /// Whether no append is on its way, so that log and coordinator must agree.
    pub(super) fn is_settled(&self) -> bool {
        self.appends.is_empty()
    }
}

pub(super) fn batch_of(records: &[CoordinatorRecord], now_ms: i64) -> RecordBatch {
    let mut builder = RecordBatchBuilder::new(Compression::None);
    for record in records {
        builder.append(now_ms, Some(&record.key), record.value.as_deref(), &[]);
    }
    RecordBatch::parse(builder.build()).expect("a batch just built")
}

/// The coordinator that the partition's records tell of.
pub(super) fn replay(
    partition: &Partition,
    settings: CoordinatorSettings,
    image: &Arc<MetadataImage>,
    mistake: Option<Mistake>,
) -> Coordinator {
    let mut coordinator = Coordinator::new(settings);
    coordinator.metadata_changed(image);
    let mut batches = match &partition.log {
        Some(log) => batches_of(&log.snapshot()),
        None => Vec::new(),
    };
    if mistake == Some(Mistake::SkipLastBatch) {
        batches.pop();
    }
    for batch in batches.iter().filter(|batch| !batch.is_control()) {
        for record in batch.records().expect("records of our own batch") {
            let record = record.expect("a record of our own batch");
            let key = record.key.expect("coordinators write keys");
            let replayed = coordinator.replay(&key, record.value.as_ref());
            replayed.expect("a record that the coordinator wrote");
        }
    }
    coordinator
}

/// All batches of a log, as a reader gets them.
pub(super) fn batches_of(snapshot: &LogSnapshot<SimStorage>) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let mut offset = snapshot.log_start_offset();
    let end = snapshot.log_end_offset();
    while offset < end {
        let request = ReadRequest {
            offset,
            up_to_offset: end,
            max_bytes: READ_BYTES,
            at_least_one: true,
        };
        let slice = snapshot.read(&request).expect("read a log below its end");
        let slice = slice.expect("there is a batch below the log end");
        let bytes = slice.read_bytes().expect("read a slice of a log");
        for batch in BatchIter::new(bytes) {
            let batch = batch.expect("a batch of the log");
            assert!(batch.verify_crc().is_ok(), "a torn batch is served");
            batches.push(batch);
        }
        assert!(slice.next_offset > offset, "reading gets on");
        offset = slice.next_offset;
    }
    batches
}

const READ_BYTES: usize = 1 << 16;
