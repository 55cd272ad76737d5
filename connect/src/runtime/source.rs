//! What a source gives to the runtime.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::error::ConnectError;

/// Gets records from outside.
pub(crate) trait Source: Send {
    /// Goes on from what was stored; called once, before the first poll.
    fn restore(&mut self, stored: Stored) -> Result<(), ConnectError>;

    /// Waits for the next records. May give an empty batch when it has looked at everything and
    /// nothing was there. May be dropped, but then the source is not used again.
    fn poll(&mut self) -> impl Future<Output = Result<SourceBatch, ConnectError>> + Send;
}

/// The progress of a source as the offsets topic has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stored {
    pub(crate) entries: Vec<(Value, Value)>,
    /// The connector never ran before.
    pub(crate) first_start: bool,
}

/// What a source gives at once.
#[derive(Debug, Default)]
pub(crate) struct SourceBatch {
    pub(crate) records: Vec<SourceRecord>,
    /// Stored before the records are written; replaces what waits to be stored under its key.
    pub(crate) before: Vec<OffsetEntry>,
    /// Stored some time after the records are acknowledged.
    pub(crate) after: Vec<OffsetEntry>,
    /// There will be nothing more.
    pub(crate) finished: bool,
}

/// One record from outside.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SourceRecord {
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    /// The key unless the document wants another one.
    pub(crate) default_key: Option<String>,
    pub(crate) value: Value,
    /// The bytes behind `value`, for encodings `text` and `raw`.
    pub(crate) raw: Option<Bytes>,
    /// Tells the record again after a restart; without it a record may come twice.
    pub(crate) tag: Option<PositionTag>,
}

/// Which record of its source this is. It travels with the record in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PositionTag {
    /// The part of the source, for example the content of one file. Has no colon.
    pub(crate) part: Arc<str>,
    /// Rises within the part.
    pub(crate) position: u64,
    /// A hash of the record, so that a part mistaken for another one loses nothing.
    pub(crate) check: u32,
}

/// Progress of one part; `None` forgets it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OffsetEntry {
    pub(crate) key: Value,
    pub(crate) value: Option<Value>,
}
