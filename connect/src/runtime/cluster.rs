//! What connectors need of a cluster, so that their tests can stop it at any point.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use moldau_client::{ClientError, RecordHeader, TopicPartition};

use super::error::ConnectError;
use crate::config::connector::ReadFrom;
use crate::formats::StoredRecord;

/// A record to be written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct OutRecord {
    pub(crate) topic: String,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<RecordHeader>,
}

/// Where a record was written; the offset is unknown when a retry found it there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) partition: i32,
    pub(crate) offset: Option<i64>,
}

/// A position of a group and what it noted with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) metadata: String,
}

/// A topic that a connector needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicKind {
    /// With the broker's defaults.
    Ordinary,
    /// One partition, compacted.
    Compacted,
}

/// A cluster, as connectors see it.
pub(crate) trait Cluster: Clone + Send + Sync + 'static {
    type Writer: Writer;
    type Reader: Reader;

    /// Creates the topic if it is missing.
    fn ensure_topic(
        &self,
        name: &str,
        kind: TopicKind,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;

    /// First and next offset of each partition.
    fn offsets(
        &self,
        topic: &str,
    ) -> impl Future<Output = Result<BTreeMap<i32, (i64, i64)>, ConnectError>> + Send;

    /// Reads the records of `ranges` (start included, end not), one partition after the other in
    /// any order, and hands them to `visit`.
    fn read(
        &self,
        topic: &str,
        ranges: BTreeMap<i32, (i64, i64)>,
        visit: impl FnMut(StoredRecord) + Send,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;

    fn writer(&self) -> Self::Writer;

    /// Joins a group.
    fn reader(
        &self,
        group: &str,
        topics: &[String],
        read_from: ReadFrom,
    ) -> Result<Self::Reader, ConnectError>;
}

/// Writes records.
pub(crate) trait Writer: Send + Sync {
    /// Writes all and waits until they are acknowledged; the results are in the order of the records.
    fn write(
        &self,
        records: Vec<OutRecord>,
    ) -> impl Future<Output = Vec<Result<Placed, ClientError>>> + Send;

    /// Waits until nothing is on its way any more.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What one [`Reader::poll`] gives: records, or a change of the assignment.
#[derive(Debug, Default)]
pub(crate) struct Polled {
    pub(crate) records: Vec<(TopicPartition, Vec<StoredRecord>)>,
    /// Finish and commit these before the next poll.
    pub(crate) revoked: Vec<TopicPartition>,
    /// Read from now on, from their committed offset.
    pub(crate) assigned: Vec<TopicPartition>,
    /// The revoked ones belong to somebody else already.
    pub(crate) lost: bool,
}

/// A member of a group.
pub(crate) trait Reader: Send {
    fn poll(
        &mut self,
        timeout: Duration,
    ) -> impl Future<Output = Result<Polled, ConnectError>> + Send;

    fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), ConnectError>;

    /// Offset of the next record that `poll` gives.
    fn position(&self, partition: &TopicPartition) -> Option<i64>;

    fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<BTreeMap<TopicPartition, Committed>, ConnectError>> + Send;

    /// Stores positions, all or none of them.
    fn commit(
        &mut self,
        offsets: Vec<(TopicPartition, Committed)>,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;

    fn close(self) -> impl Future<Output = ()> + Send;
}
