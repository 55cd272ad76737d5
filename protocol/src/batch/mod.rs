//! Record batches of format version 2.
//!
//! ```text
//! offset  size  field
//!      0     8  base offset               outside the CRC
//!      8     4  length of what follows    outside the CRC
//!     12     4  partition leader epoch    outside the CRC
//!     16     1  magic, always 2           outside the CRC
//!     17     4  CRC32C of all that follows
//!     21     2  attributes: 0-2 compression, 3 timestamp type, 4 transactional, 5 control,
//!               6 base timestamp is the delete horizon
//!     23     4  last offset delta
//!     27     8  base timestamp
//!     35     8  max timestamp
//!     43     8  producer id, or -1
//!     51     2  producer epoch, or -1
//!     53     4  base sequence, or -1
//!     57     4  number of records
//!     61     …  records, compressed as a whole
//! ```
//!
//! A record is a varint length, one unused byte of attributes, timestamp and offset as varint
//! deltas to the batch, then key, value and headers, each with a varint length (-1 is null).

mod builder;
mod control;
mod error;
mod header;
mod iter;
mod record;
mod record_ref;
mod view;

pub use builder::RecordBatchBuilder;
pub use control::{ControlRecordType, EndTransactionMarker};
pub use error::BatchError;
pub use header::{BATCH_HEADER_SIZE, BatchHeader, TimestampType, set_producer};
pub use iter::BatchIter;
pub use record::{Record, RecordHeader, RecordIter};
pub use record_ref::{HeaderRefIter, RecordRef, RecordRefIter};
pub use view::RecordBatch;

pub use crate::compression::Compression;
