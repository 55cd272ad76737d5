//! The typed DSL: streams and tables that compile to programs of the runtime.

mod branch;
mod buffer_value;
mod builder;
mod change_bytes;
mod cogrouped;
mod compile;
mod consumed;
mod data;
mod dead_letter;
mod describe;
mod describe_order;
mod emit;
mod fallible;
mod foreign_key_join;
mod global_table;
mod graph;
mod grouped;
mod grouped_table;
mod join;
mod join_windows;
mod kstream;
mod ktable;
mod map_async;
mod materialized;
mod murmur3;
mod node;
mod on_error;
mod operators;
mod pending_store;
mod processor;
mod processor_store;
mod processor_time_stores;
mod program;
mod repartition;
mod routing;
mod serde;
mod session_stream;
mod sessions;
mod sliding;
mod store_bytes;
mod store_codec;
mod stream_join;
mod stream_table_join;
mod strict_names;
mod subscription;
mod suppress;
mod suppressed;
mod table_join;
mod test_driver;
mod to_table;
mod topic;
mod topology;
mod transform_values;
mod typed_store;
mod value_list;
mod windowed;
mod windowed_by;
mod windowed_stream;
mod windows;

pub use branch::Branches;
pub use builder::Builder;
pub use cogrouped::{
    CogroupedKStream, SessionWindowedCogroupedKStream, TimeWindowedCogroupedKStream,
};
pub use consumed::Consumed;
pub use data::Data;
pub use foreign_key_join::{ForeignKey, ForeignKeyJoin};
pub use global_table::{GlobalKTable, GlobalKey, StreamGlobalJoin};
pub use grouped::KGroupedStream;
pub use grouped_table::KGroupedTable;
pub use join::{Inner, JoinRhs, Left, Outer};
pub use join_windows::{StreamJoined, StreamWindow};
pub use kstream::{Fits, KStream};
pub use ktable::KTable;
pub use map_async::InFlight;
pub use materialized::Materialized;
pub use on_error::OnError;
pub use processor::{
    Origin, Processor, ProcessorContext, ProcessorError, ProcessorInit, ProcessorRecord,
    ProcessorSessionStore, ProcessorStore, ProcessorStoreSpec, ProcessorVersionedStore,
    ProcessorWindowStore, Punctuation, StoreAccess, ValueContext, ValueProcessor,
};
pub use repartition::Repartitioned;
pub use routing::{RecordContext, SendTo, Target};
#[cfg(feature = "avro")]
pub use serde::Avro;
#[cfg(any(feature = "avro", feature = "protobuf"))]
pub use serde::{
    FixedSchemas, HttpSchemaRegistry, SchemaRegistry, SchemaText, use_schema_registry,
};
pub use serde::{Json, RecordPart, Serde, SerdeContext, SerdeError};
#[cfg(feature = "protobuf")]
pub use serde::{Proto, ProtoMessage};
pub use session_stream::SessionWindowedKStream;
pub use sessions::Sessions;
pub use sliding::Sliding;
pub use stream_join::StreamStreamJoin;
pub use stream_table_join::StreamTableJoin;
pub use suppressed::{BufferConfig, EagerBuffer, StrictBuffer, Suppressed};
pub use table_join::TableTableJoin;
pub use test_driver::{
    TestDriver, TestInput, TestOutput, TestStore, TestVersionedStore, TestWindowStore, windowed,
};
pub use to_table::TableValue;
pub use topic::{Topic, TopicPattern};
pub use topology::Topology;
pub use transform_values::{TransformContext, ValueTransformer};
pub use windowed::{Window, WindowBounds, Windowed};
pub use windowed_by::WindowedBy;
pub use windowed_stream::TimeWindowedKStream;
pub use windows::{HasGrace, Hopping, HoppingSize, NeedsGrace, Tumbling};
