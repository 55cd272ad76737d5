//! Records to chunks of columns.

mod chunk;
mod codec;
mod reader;

pub use chunk::{Chunk, RowKind};
pub use codec::RowCodec;
pub use reader::{BadRecord, RecordView, RowReader};
