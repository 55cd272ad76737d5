//! Stream processing on Kafka topics: Kafka Streams' semantics, names and bytes, in Rust.
//!
//! A [`Builder`] makes a [`Topology`] of typed streams and tables; a topology can be described,
//! tested without a broker ([`Topology::test`]) and run.
//!
//! The crate has two halves. [`runtime`] assigns tasks to partitions, feeds them records in
//! timestamp order, keeps their stores in changelog topics and commits; it knows nothing of what
//! a record means. The DSL, at the root of this crate, compiles to programs of the runtime.

mod dsl;
pub mod runtime;

pub use bytes::Bytes as Raw;
#[cfg(feature = "avro")]
pub use dsl::Avro;
pub use dsl::{
    Branches, BufferConfig, Builder, CogroupedKStream, Consumed, Data, EagerBuffer, Fits,
    ForeignKey, ForeignKeyJoin, GlobalKTable, GlobalKey, HasGrace, Hopping, HoppingSize, InFlight,
    Inner, JoinRhs, Json, KGroupedStream, KGroupedTable, KStream, KTable, Left, Materialized,
    NeedsGrace, OnError, Origin, Outer, Processor, ProcessorContext, ProcessorError, ProcessorInit,
    ProcessorRecord, ProcessorSessionStore, ProcessorStore, ProcessorStoreSpec,
    ProcessorVersionedStore, ProcessorWindowStore, Punctuation, RecordContext, RecordPart,
    Repartitioned, SendTo, Serde, SerdeContext, SerdeError, SessionWindowedCogroupedKStream,
    SessionWindowedKStream, Sessions, Sliding, StoreAccess, StreamGlobalJoin, StreamJoined,
    StreamStreamJoin, StreamTableJoin, StreamWindow, StrictBuffer, Suppressed, TableTableJoin,
    TableValue, Target, TestDriver, TestInput, TestOutput, TestStore, TestVersionedStore,
    TestWindowStore, TimeWindowedCogroupedKStream, TimeWindowedKStream, Topic, TopicPattern,
    Topology, TransformContext, Tumbling, ValueContext, ValueProcessor, ValueTransformer, Window,
    WindowBounds, Windowed, WindowedBy, windowed,
};
#[cfg(any(feature = "avro", feature = "protobuf"))]
pub use dsl::{FixedSchemas, HttpSchemaRegistry, SchemaRegistry, SchemaText, use_schema_registry};
#[cfg(feature = "protobuf")]
pub use dsl::{Proto, ProtoMessage};
pub use moldau_client::{KString, KString as Str, RecordHeader};
pub use runtime::{
    CommitMode, LocalConfig, ProcessingGuarantee, PunctuationId, PunctuationType, SessionWindow,
    StartAt, StreamsConfig, StreamsError, StreamsHandle, StreamsMetrics, StreamsState,
    UncaughtErrorAction, UncaughtErrorHandler, VersionPut,
};
