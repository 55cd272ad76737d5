//! The wire format, checked against bytes that Kafka's own classes wrote and against hostile bytes.

mod allocation;
mod debug_tree;
mod error_table;
mod frames;
mod golden;
mod golden_batches;
mod golden_messages;
mod hostile;
mod properties;
mod records;
mod schema_codec;
mod zero_copy;
