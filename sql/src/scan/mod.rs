//! Bounded reads of topics: what is there when the statement is planned, and nothing later.

mod bounds;
mod exec;
mod fetch;
mod filters;
mod table;

pub use bounds::{PartitionRange, pin};
pub(crate) use fetch::RangeReader;
pub use table::{ScanResolver, TopicTable};
