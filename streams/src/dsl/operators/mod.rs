//! The nodes of the DSL.

pub(crate) mod aggregate;
pub(crate) mod branch;
pub(crate) mod fallible;
pub(crate) mod final_results;
pub(crate) mod foreign_key;
pub(crate) mod global_join;
pub(crate) mod grace_join;
pub(crate) mod join;
pub(crate) mod map_async;
pub(crate) mod processor;
pub(crate) mod routed_sink;
pub(crate) mod session_aggregate;
pub(crate) mod sink;
pub(crate) mod sliding_aggregate;
pub(crate) mod source;
pub(crate) mod stateless;
pub(crate) mod stream_join;
pub(crate) mod suppress;
pub(crate) mod table;
pub(crate) mod table_aggregate;
pub(crate) mod table_join;
pub(crate) mod table_store;
pub(crate) mod transform_values;
pub(crate) mod window_aggregate;
