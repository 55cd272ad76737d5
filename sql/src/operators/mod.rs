//! The operators of continuous queries: columns in, columns out, synchronous, built once.

mod aggregate;
mod pipeline;
mod stage;
mod state;

pub use aggregate::AggregateOperator;
pub use pipeline::Pipeline;
pub use stage::apply;
pub use state::{AggregateState, MemoryState, Stored};
