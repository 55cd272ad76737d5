//! What the runtime runs: source topics, stores and programs, without any idea of their meaning.

use std::fmt;

use moldau_client::consumer::Pattern;

use super::global::GlobalTable;
use super::internal_topic::InternalTopic;
use super::program::ProgramFactory;
use super::store::StoreSpec;
use super::task_id::SourceIndex;

/// A whole streams application.
#[derive(Clone, Debug)]
pub struct Application {
    /// Consumer group, and prefix of all internal topics.
    pub application_id: String,
    /// Parts that are joined by topics only; a task's id counts from 0 in this order.
    pub sub_topologies: Vec<SubTopology>,
    /// Topics that every instance reads as a whole; programs look them up by
    /// [`GlobalIndex`](super::GlobalIndex).
    pub global_tables: Vec<GlobalTable>,
}

impl Application {
    /// The application as JSON: its sub-topologies with their topics and stores, as they run.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let names = |topics: &[InternalTopic]| -> Vec<String> {
            topics.iter().map(|topic| topic.name.clone()).collect()
        };
        let sub_topologies = self.sub_topologies.iter().enumerate();
        let sub_topologies: Vec<_> = sub_topologies
            .map(|(index, parts)| {
                let sources = parts.sources.iter().map(|source| {
                    let role = format!("{:?}", source.role).to_lowercase();
                    match &source.topics {
                        SourceTopics::Named(topic) => {
                            serde_json::json!({ "topic": topic, "role": role })
                        }
                        SourceTopics::Matching(pattern) => {
                            serde_json::json!({ "pattern": pattern.text().as_str(), "role": role })
                        }
                    }
                });
                let stores = parts.stores.iter().map(|store| {
                    let changelog = store.changelog.as_ref().map(|topic| &topic.name);
                    serde_json::json!({ "name": store.name, "changelog": changelog })
                });
                serde_json::json!({
                    "id": index,
                    "sources": sources.collect::<Vec<_>>(),
                    "repartition_topics": names(&parts.repartition_topics),
                    "stores": stores.collect::<Vec<_>>(),
                })
            })
            .collect();
        let globals = self.global_tables.iter();
        let globals: Vec<_> = globals
            .map(|table| serde_json::json!({ "topic": table.topic, "store": table.store }))
            .collect();
        serde_json::json!({
            "application_id": self.application_id,
            "sub_topologies": sub_topologies,
            "global_tables": globals,
        })
    }
}

/// One part of an application: everything that must run in the same task.
#[derive(Clone)]
pub struct SubTopology {
    /// What it reads. A topic is the source of at most one sub-topology.
    pub sources: Vec<SourceTopic>,
    /// Sources that must have the same number of partitions, because a join or a shared store
    /// meets equal keys of theirs in one task.
    pub copartitioned: Vec<CoPartition>,
    /// Repartition topics that this sub-topology writes; another one, or itself, has them as source.
    pub repartition_topics: Vec<InternalTopic>,
    /// Its stores; each task has its own part of each.
    pub stores: Vec<StoreSpec>,
    /// Makes the program of one task.
    pub program: ProgramFactory,
}

/// A topic that a sub-topology reads, or several of which it reads the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// Which.
    pub topics: SourceTopics,
    /// Where to start when the group has no committed offset.
    pub start_at: StartAt,
    /// How its records are meant; for descriptions and metrics.
    pub role: SourceRole,
}

/// Which topics a source reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceTopics {
    /// The topic with this full name.
    Named(String),
    /// All topics whose names match, also those that are created while the application runs; but
    /// not its own internal ones.
    Matching(Pattern),
}

impl SourceTopic {
    /// A stream, read from its beginning.
    #[must_use]
    pub fn stream(topic: impl Into<String>) -> Self {
        Self {
            topics: SourceTopics::Named(topic.into()),
            start_at: StartAt::Earliest,
            role: SourceRole::Stream,
        }
    }

    /// All topics whose names match, read as one stream from their beginnings.
    #[must_use]
    pub const fn matching(pattern: Pattern) -> Self {
        Self {
            topics: SourceTopics::Matching(pattern),
            start_at: StartAt::Earliest,
            role: SourceRole::Stream,
        }
    }

    /// A table's changelog, read from its beginning.
    #[must_use]
    pub fn table(topic: impl Into<String>) -> Self {
        Self {
            role: SourceRole::Table,
            ..Self::stream(topic)
        }
    }

    /// The same topic, with another place to start.
    #[must_use]
    pub fn start_at(mut self, start_at: StartAt) -> Self {
        self.start_at = start_at;
        self
    }
}

/// Where a source without a committed offset starts (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At the first record that is still there; Kafka Streams' default.
    #[default]
    Earliest,
    /// At the end: only what is written from now on.
    Latest,
}

/// How the records of a source are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRole {
    /// Each record is a fact of its own.
    Stream,
    /// Each record replaces the one with the same key.
    Table,
    /// An internal topic between two sub-topologies.
    Repartition,
}

/// Sources that must have the same number of partitions, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoPartition {
    /// The sources.
    pub sources: Vec<SourceIndex>,
    /// Name of the operator that needs it, for the error text.
    pub operator: String,
}

impl fmt::Debug for SubTopology {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SubTopology")
            .field("sources", &self.sources)
            .field("copartitioned", &self.copartitioned)
            .field("repartition_topics", &self.repartition_topics)
            .field("stores", &self.stores)
            .finish_non_exhaustive()
    }
}
