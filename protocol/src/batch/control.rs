//! Control records: markers in the log that no consumer sees.

use bytes::Bytes;

use super::{BatchError, Record, RecordBatch, RecordBatchBuilder};
use crate::compression::Compression;

/// What a control record says; its key is a version and this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecordType {
    /// The producer's transaction is aborted.
    Abort,
    /// The producer's transaction is committed.
    Commit,
    /// A new leader of the metadata quorum.
    LeaderChange,
    /// The beginning of a metadata snapshot.
    SnapshotHeader,
    /// The end of a metadata snapshot.
    SnapshotFooter,
    /// The version of the quorum's protocol.
    KraftVersion,
    /// The voters of the quorum.
    KraftVoters,
    /// A number that this version does not know, to be skipped.
    Unknown(i16),
}

/// The record that ends a producer's transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Whether the transaction is committed; else it is aborted.
    pub committed: bool,
    /// Epoch of the transaction coordinator, which fences old coordinators.
    pub coordinator_epoch: i32,
}

impl ControlRecordType {
    /// The number on the wire.
    #[must_use]
    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KraftVersion => 5,
            Self::KraftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    /// The type of a number.
    #[must_use]
    pub const fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KraftVersion,
            6 => Self::KraftVoters,
            id => Self::Unknown(id),
        }
    }

    /// Reads the key of a control record; `None` if it is no such key.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let (version, rest) = key.split_first_chunk()?;
        let (id, _) = rest.split_first_chunk()?;
        (i16::from_be_bytes(*version) >= 0).then(|| Self::from_id(i16::from_be_bytes(*id)))
    }

    /// The key of a control record.
    #[must_use]
    pub const fn to_key(self) -> [u8; 4] {
        let [high, low] = self.id().to_be_bytes();
        [0, 0, high, low]
    }
}

impl EndTransactionMarker {
    /// Reads the marker of a control batch; `None` if the batch holds another control record.
    ///
    /// # Errors
    /// The batch is no control batch or its record is malformed.
    pub fn from_batch(batch: &RecordBatch) -> Result<Option<Self>, BatchError> {
        let invalid = || BatchError::InvalidControlRecord {
            base_offset: batch.base_offset(),
        };
        if !batch.is_control() {
            return Err(invalid());
        }
        let record = batch.records()?.next().ok_or_else(invalid)??;
        let kind = record
            .key
            .as_deref()
            .and_then(ControlRecordType::from_key)
            .ok_or_else(invalid)?;
        let committed = match kind {
            ControlRecordType::Commit => true,
            ControlRecordType::Abort => false,
            _ => return Ok(None),
        };
        let coordinator_epoch = Self::coordinator_epoch(&record).ok_or_else(invalid)?;
        Ok(Some(Self {
            committed,
            coordinator_epoch,
        }))
    }

    /// The control batch that ends the transaction of a producer.
    #[must_use]
    pub fn to_batch(
        self,
        base_offset: i64,
        timestamp: i64,
        leader_epoch: i32,
        producer_id: i64,
        producer_epoch: i16,
    ) -> Bytes {
        let mut builder = RecordBatchBuilder::new(Compression::None)
            .base_offset(base_offset)
            .leader_epoch(leader_epoch)
            .producer(producer_id, producer_epoch, -1)
            .transactional(true)
            .control(true);
        let kind = if self.committed {
            ControlRecordType::Commit
        } else {
            ControlRecordType::Abort
        };
        let mut value = [0; 6];
        value[2..].copy_from_slice(&self.coordinator_epoch.to_be_bytes());
        builder.append(timestamp, Some(&kind.to_key()), Some(&value), &[]);
        builder.build()
    }

    fn coordinator_epoch(record: &Record) -> Option<i32> {
        let (version, rest) = record.value.as_deref()?.split_first_chunk()?;
        let (epoch, _) = rest.split_first_chunk()?;
        (i16::from_be_bytes(*version) >= 0).then(|| i32::from_be_bytes(*epoch))
    }
}
