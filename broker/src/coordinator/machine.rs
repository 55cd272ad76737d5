//! What a shard asks of the core that it runs.

use std::fmt;
use std::sync::Arc;

use moldau_core::coordinator::{
    Action, Coordinator, CoordinatorRecord, OffsetsMarker, TransactionalProducer,
};
use moldau_core::ids::{AppendId, ProducerId, Token};
use moldau_core::transaction::{
    Markers, TransactionAction, TransactionCoordinator, TransactionSettings,
};
use moldau_protocol::batch::{BatchError, EndTransactionMarker, RecordBatch};
use moldau_protocol::{ErrorCode, ResponseKind};
use tracing::warn;

use super::settings;
use crate::config::LiveConfig;
use crate::metadata::{CONSUMER_OFFSETS, Images, TRANSACTION_STATE};

/// A deterministic coordinator over one partition of an internal topic.
pub(crate) trait Machine: Sized + Send + 'static {
    /// What it depends on beside the partition.
    type Settings: Clone + fmt::Debug + Send + Sync + 'static;
    /// What it wants done.
    type Action;
    /// The topic that holds its records.
    const TOPIC: &'static str;

    /// A coordinator without any state; the epoch is that of the partition's leader.
    fn create(settings: &Self::Settings, leader_epoch: i32) -> Self;
    /// Follows what has changed around it; before each call.
    fn refresh(&mut self, _settings: &Self::Settings) {}
    /// Takes over one batch of the partition.
    fn replay_batch(&mut self, batch: &RecordBatch) -> Result<(), BatchError>;
    /// The partition is replayed.
    fn loaded(&mut self, now_ms: i64) -> Vec<Self::Action>;
    /// An append is committed.
    fn committed(&mut self, id: AppendId, now_ms: i64) -> Vec<Self::Action>;
    /// An append failed.
    fn append_failed(&mut self, id: AppendId, code: ErrorCode, now_ms: i64) -> Vec<Self::Action>;
    /// When it wants to be called.
    fn poll_timeout(&self) -> Option<i64>;
    /// Its time has come.
    fn handle_timeout(&mut self, now_ms: i64) -> Vec<Self::Action>;
    /// Answers all that waits.
    fn resign(&mut self, code: ErrorCode) -> Vec<Self::Action>;
    /// What an action means for the shard.
    fn step(action: Self::Action) -> Step;
}

/// What a shard is to do.
#[derive(Debug)]
pub(crate) enum Step {
    Respond {
        token: Token,
        response: ResponseKind,
    },
    Append {
        id: AppendId,
        what: Appended,
    },
    /// Tell the partitions of a transaction how it ended, beside everything else.
    WriteMarkers(Markers),
}

/// What a shard appends to its partition.
#[derive(Debug)]
pub(crate) enum Appended {
    Records {
        producer: Option<TransactionalProducer>,
        records: Vec<CoordinatorRecord>,
    },
    Marker(OffsetsMarker),
}

/// What group coordinators depend on.
#[derive(Debug, Clone)]
pub(crate) struct GroupContext {
    /// The broker's settings, which may change at any time.
    pub(crate) live: Arc<LiveConfig>,
    /// Members of consumer groups get partitions of the topics that there are.
    pub(crate) images: Images,
}

impl Machine for Coordinator {
    type Settings = GroupContext;
    type Action = Action;
    const TOPIC: &'static str = CONSUMER_OFFSETS;

    fn create(settings: &Self::Settings, _leader_epoch: i32) -> Self {
        Self::new(settings::of(&settings.live.now().config))
    }

    fn refresh(&mut self, settings: &Self::Settings) {
        self.metadata_changed(&settings.images.newest());
        self.settings_changed(settings::of(&settings.live.now().config));
    }

    fn replay_batch(&mut self, batch: &RecordBatch) -> Result<(), BatchError> {
        let producer_id = ProducerId(batch.producer_id());
        if batch.is_control() {
            if let Some(marker) = EndTransactionMarker::from_batch(batch)? {
                self.replay_marker(producer_id, marker.committed);
            }
            return Ok(());
        }
        for record in batch.records()? {
            let record = record?;
            let Some(key) = &record.key else { continue };
            let replayed = if batch.header().is_transactional() {
                self.replay_in_transaction(producer_id, key, record.value.as_ref())
            } else {
                self.replay(key, record.value.as_ref())
            };
            if let Err(error) = replayed {
                warn!(offset = record.offset, %error, "skipping record of __consumer_offsets");
            }
        }
        Ok(())
    }

    fn loaded(&mut self, now_ms: i64) -> Vec<Action> {
        self.loaded(now_ms)
    }

    fn committed(&mut self, id: AppendId, now_ms: i64) -> Vec<Action> {
        self.committed(id, now_ms)
    }

    fn append_failed(&mut self, id: AppendId, code: ErrorCode, now_ms: i64) -> Vec<Action> {
        self.append_failed(id, code, now_ms)
    }

    fn poll_timeout(&self) -> Option<i64> {
        self.poll_timeout()
    }

    fn handle_timeout(&mut self, now_ms: i64) -> Vec<Action> {
        self.handle_timeout(now_ms)
    }

    fn resign(&mut self, code: ErrorCode) -> Vec<Action> {
        self.resign(code)
    }

    fn step(action: Action) -> Step {
        match action {
            Action::Respond { token, response } => Step::Respond { token, response },
            Action::Append {
                id,
                producer,
                records,
            } => Step::Append {
                id,
                what: Appended::Records { producer, records },
            },
            Action::AppendMarker { id, marker } => Step::Append {
                id,
                what: Appended::Marker(marker),
            },
        }
    }
}

impl Machine for TransactionCoordinator {
    type Settings = TransactionSettings;
    type Action = TransactionAction;
    const TOPIC: &'static str = TRANSACTION_STATE;

    fn create(settings: &Self::Settings, leader_epoch: i32) -> Self {
        Self::new(*settings, leader_epoch)
    }

    fn replay_batch(&mut self, batch: &RecordBatch) -> Result<(), BatchError> {
        if batch.is_control() {
            return Ok(());
        }
        for record in batch.records()? {
            let record = record?;
            let Some(key) = &record.key else { continue };
            if let Err(error) = self.replay(key, record.value.as_ref()) {
                warn!(offset = record.offset, %error, "skipping record of __transaction_state");
            }
        }
        Ok(())
    }

    fn loaded(&mut self, now_ms: i64) -> Vec<TransactionAction> {
        self.loaded(now_ms)
    }

    fn committed(&mut self, id: AppendId, now_ms: i64) -> Vec<TransactionAction> {
        self.committed(id, now_ms)
    }

    fn append_failed(
        &mut self,
        id: AppendId,
        code: ErrorCode,
        now_ms: i64,
    ) -> Vec<TransactionAction> {
        self.append_failed(id, code, now_ms)
    }

    fn poll_timeout(&self) -> Option<i64> {
        self.poll_timeout()
    }

    fn handle_timeout(&mut self, now_ms: i64) -> Vec<TransactionAction> {
        self.handle_timeout(now_ms)
    }

    fn resign(&mut self, code: ErrorCode) -> Vec<TransactionAction> {
        self.resign(code)
    }

    fn step(action: TransactionAction) -> Step {
        match action {
            TransactionAction::Respond { token, response } => Step::Respond { token, response },
            TransactionAction::Append { id, records } => Step::Append {
                id,
                what: Appended::Records {
                    producer: None,
                    records,
                },
            },
            TransactionAction::WriteMarkers(markers) => Step::WriteMarkers(markers),
        }
    }
}
