//! Records to chunks of columns.

mod chunk;
mod codec;
mod reader;

#[cfg(test)]
mod tests;

pub use chunk::{Chunk, RowKind};
pub use codec::RowCodec;
pub use reader::{BadRecord, RecordView, RowReader};
