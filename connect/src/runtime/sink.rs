//! What a sink does for the runtime.

use std::future::Future;
use std::ops::Range;
use std::time::Instant;

use moldau_client::TopicPartition;

use super::cluster::{Committed, Reader};
use super::error::ConnectError;

/// Brings lines to the outside and commits their offsets when they are there.
pub(crate) trait Sink: Send {
    /// Partitions are read from now on, each from this offset; `metadata` is what this sink
    /// noted with its last commit.
    fn assigned(
        &mut self,
        reader: &mut impl Reader,
        partitions: Vec<(TopicPartition, Committed)>,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;

    /// Partitions are taken away after this.
    fn revoked(
        &mut self,
        reader: &mut impl Reader,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;

    /// Takes lines in the order of their offsets.
    fn write(
        &mut self,
        reader: &mut impl Reader,
        partition: &TopicPartition,
        lines: Lines,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;

    /// Called after each poll: commits what is due.
    fn tick(
        &mut self,
        reader: &mut impl Reader,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;

    /// When `tick` has something to do though no record comes.
    fn deadline(&self) -> Option<Instant>;

    /// The connector is being closed.
    fn close(
        &mut self,
        reader: &mut impl Reader,
    ) -> impl Future<Output = Result<(), ConnectError>> + Send;
}

/// Lines of one partition, each with its line end.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lines {
    pub(crate) bytes: Vec<u8>,
    /// Ascending by offset.
    pub(crate) entries: Vec<LineEntry>,
}

/// One record among [`Lines`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LineEntry {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    /// Within the bytes; empty for a record that was left out.
    pub(crate) range: Range<usize>,
}

impl Lines {
    pub(crate) fn line(&self, entry: &LineEntry) -> &[u8] {
        self.bytes.get(entry.range.clone()).unwrap_or_default()
    }

    /// Number of records that are not left out.
    pub(crate) fn count(&self) -> u64 {
        self.entries
            .iter()
            .filter(|entry| !entry.range.is_empty())
            .count() as u64
    }
}
