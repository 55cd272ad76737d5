//! The transaction coordinator and its partition, as `broker/src/coordinator` runs them, with the
//! markers that are on their way.

use std::collections::{BTreeMap, VecDeque};

use moldau_core::ids::AppendId;
use moldau_core::producer_state::Marker;
use moldau_core::transaction::{
    Markers, TransactionAction, TransactionCoordinator, TransactionSettings,
};
use moldau_protocol::ErrorCode;
use moldau_protocol::batch::{EndTransactionMarker, RecordBatch};

use super::mistake::Mistake;
use super::partition::{Append, Partition, Reply};
use super::shard::{Answer, batch_of, batches_of};

#[derive(Debug)]
pub(super) struct TransactionShard {
    pub(super) coordinator: TransactionCoordinator,
    /// Appends in order, with their outcome once it is there.
    appends: VecDeque<(AppendId, Option<Result<(), ErrorCode>>)>,
    /// Ends of transactions that are told to their partitions.
    telling: BTreeMap<u64, Telling>,
    last_telling: u64,
}

/// An end that some partitions do not know yet.
#[derive(Debug)]
struct Telling {
    markers: Markers,
    /// Data partitions without the marker, and whether it is on its way there.
    left: BTreeMap<usize, bool>,
}

impl TransactionShard {
    /// Replays a partition and takes its lead.
    pub(super) fn load(partition: &mut Partition, life: i32, now_ms: i64) -> Self {
        let mut shard = Self {
            coordinator: replay(partition, life),
            appends: VecDeque::new(),
            telling: BTreeMap::new(),
            last_telling: 0,
        };
        let actions = shard.coordinator.loaded(now_ms);
        let answers = shard.act(actions, partition, now_ms);
        assert!(answers.is_empty(), "nobody has asked yet");
        shard
    }

    /// Carries out what the coordinator wants.
    pub(super) fn act(
        &mut self,
        actions: Vec<TransactionAction>,
        partition: &mut Partition,
        now_ms: i64,
    ) -> Vec<Answer> {
        let mut answers = Vec::new();
        for action in actions {
            match action {
                TransactionAction::Respond { token, response } => answers.push((token, response)),
                TransactionAction::Append { id, records } => {
                    partition.push(Append::plain(
                        batch_of(&records, now_ms),
                        true,
                        Reply::Coordinator(id),
                    ));
                    self.appends.push_back((id, None));
                }
                TransactionAction::WriteMarkers(markers) => {
                    let partitions = markers.partitions.iter();
                    let left = partitions.map(|(_, index)| {
                        let index = usize::try_from(*index).expect("a partition's number");
                        (index, false)
                    });
                    let left = left.collect();
                    self.last_telling += 1;
                    self.telling
                        .insert(self.last_telling, Telling { markers, left });
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
        let Some((id, Some(outcome))) = self.appends.front().copied() else {
            return Vec::new();
        };
        self.appends.pop_front();
        let actions = match outcome {
            Ok(()) => self.coordinator.committed(id, now_ms),
            Err(code) => self.coordinator.append_failed(id, code, now_ms),
        };
        self.act(actions, partition, now_ms)
    }

    pub(super) fn has_news(&self) -> bool {
        self.appends
            .front()
            .is_some_and(|(_, outcome)| outcome.is_some())
    }

    /// The markers that can be sent now: which end, and to which partition.
    pub(super) fn markers_to_send(&self) -> Vec<(u64, usize)> {
        let telling = self.telling.iter();
        let left = telling.flat_map(|(id, telling)| {
            let left = telling.left.iter().filter(|(_, underway)| !**underway);
            left.map(|(partition, _)| (*id, *partition))
        });
        left.collect()
    }

    /// The marker of an end for one partition, which is on its way from now on.
    pub(super) fn send_marker(&mut self, id: u64, partition: usize, now_ms: i64) -> Option<Append> {
        let telling = self.telling.get_mut(&id)?;
        *telling.left.get_mut(&partition)? = true;
        let markers = &telling.markers;
        let end = EndTransactionMarker {
            committed: markers.committed,
            coordinator_epoch: markers.coordinator_epoch,
        };
        let (producer_id, epoch) = (markers.producer_id.0, markers.producer_epoch.0);
        let batch = RecordBatch::parse(end.to_batch(0, now_ms, 0, producer_id, epoch));
        Some(Append {
            marker: Some(Marker {
                committed: markers.committed,
                coordinator_epoch: markers.coordinator_epoch,
                transaction_version: markers.transaction_version,
            }),
            ..Append::plain(
                batch.expect("a marker just built"),
                true,
                Reply::Marker { id, partition },
            )
        })
    }

    /// What became of a marker; once all are there, the coordinator is told.
    pub(super) fn marker_outcome(
        &mut self,
        (id, data_partition): (u64, usize),
        outcome: Result<(), ErrorCode>,
        partition: &mut Partition,
        now_ms: i64,
    ) -> Vec<Answer> {
        let Some(telling) = self.telling.get_mut(&id) else {
            return Vec::new();
        };
        match outcome {
            Ok(())
            | Err(ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced) => {
                telling.left.remove(&data_partition);
            }
            Err(_) => {
                telling.left.insert(data_partition, false);
            }
        }
        if !telling.left.is_empty() {
            return Vec::new();
        }
        let Some(Telling { markers, .. }) = self.telling.remove(&id) else {
            return Vec::new();
        };
        let (id, epoch) = (markers.producer_id, markers.producer_epoch);
        let actions =
            self.coordinator
                .markers_written(&markers.transactional_id, id, epoch, now_ms);
        self.act(actions, partition, now_ms)
    }

    /// Whether nothing is on its way.
    pub(super) fn is_settled(&self) -> bool {
        self.appends.is_empty() && self.telling.is_empty()
    }
}

fn replay(partition: &Partition, life: i32) -> TransactionCoordinator {
    let mut coordinator = TransactionCoordinator::new(SETTINGS, life);
    let batches = match &partition.log {
        Some(log) => batches_of(&log.snapshot()),
        None => Vec::new(),
    };
    for batch in &batches {
        for record in batch.records().expect("records of our own batch") {
            let record = record.expect("a record of our own batch");
            let key = record.key.expect("coordinators write keys");
            let replayed = coordinator.replay(&key, record.value.as_ref());
            replayed.expect("a record that the coordinator wrote");
        }
    }
    coordinator
}

/// Whether a marker is left out although it is said to be written.
pub(super) fn skips_marker(mistake: Option<Mistake>) -> bool {
    mistake == Some(Mistake::SkipMarkers)
}

/// Ids are forgotten soon, so that it happens.
const SETTINGS: TransactionSettings = TransactionSettings {
    max_timeout_ms: 900_000,
    expiration_ms: 604_800_000,
    expiry_interval_ms: 3_600_000,
};
