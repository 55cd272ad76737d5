//! The runtime half: tasks, stores, changelogs, restore and the commit cycle.
//!
//! An [`Application`] is a list of [`SubTopology`]s. Each has source topics, stores and a factory
//! of [`TaskProgram`]s; the runtime makes one task per sub-topology and partition, and a program
//! sees nothing but runs of [`Record`]s and its [`TaskContext`]. [`Streams::start`] runs an
//! application against a cluster, [`LocalDriver`] the very same tasks in memory, with a virtual
//! clock.

mod application;
mod cache_budget;
mod cluster;
mod config;
mod context;
mod error;
mod global;
mod internal_topic;
mod local;
mod metrics;
mod named_metrics;
mod offset_metadata;
mod partition_counts;
mod partition_group;
mod plan;
mod program;
mod punctuation;
mod query;
mod record;
mod store;
mod task;
mod task_id;
mod uncaught_error;

pub use application::{
    Application, CoPartition, SourceRole, SourceTopic, SourceTopics, StartAt, SubTopology,
};
pub use cache_budget::CacheBudget;
pub use cluster::{Streams, StreamsHandle};
pub use config::{ProcessingGuarantee, StreamsConfig};
pub use context::TaskContext;
pub use error::StreamsError;
pub use global::{GlobalIndex, GlobalStore, GlobalTable, GlobalUpdate};
pub(crate) use internal_topic::REPARTITION_SUFFIX;
pub use internal_topic::{InternalTopic, PartitionCount};
pub use local::{CommitMode, LocalConfig, LocalDriver, LocalRecord, LocalTopicRecord};
pub use metrics::{
    CacheMetrics, InputMetrics, LatencyMetrics, StoreMetrics, StreamsMetrics, StreamsState,
    TaskMetrics, TaskRunState,
};
pub use named_metrics::NamedMetric;
pub use program::{ProgramFactory, TaskProgram};
pub use punctuation::{PunctuationId, PunctuationType};
pub use query::{QueryAnswer, QueryEntry, QueryKind, StoreQuery};
pub use record::{OutputRecord, Record};
pub(crate) use store::CompactBytes;
pub use store::{
    KeyValueStore, SessionIter, SessionStore, SessionWindow, StoreIter, StoreKind, StorePlace,
    StoreSpec, StoredValue, VersionIter, VersionPut, VersionedStore, VersionedValue, WindowIter,
    WindowStore,
};
pub use task_id::{SourceIndex, StoreIndex, TaskId};
pub use uncaught_error::{UncaughtErrorAction, UncaughtErrorHandler};
