//! Settings of the engine.

use std::path::PathBuf;

/// Settings of an [`Engine`](super::Engine).
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Compacted topic that keeps streams, tables and queries.
    pub catalog_topic: String,
    /// Prefix of the consumer groups and internal topics of queries.
    pub application_prefix: String,
    /// Where queries keep what they may lose; without it they keep it in memory.
    pub state_dir: Option<PathBuf>,
    /// A name that no other engine on this catalog has (`group.instance.id` of its queries): after a crash a new engine
    /// of that name takes its queries over at once. Without it, queries wait until their groups have given up the one
    /// that crashed, for `session.timeout.ms` (45 s).
    pub instance: Option<String>,
    /// How often a query commits, in milliseconds.
    pub commit_interval_ms: u64,
    /// A push query with `GROUP BY` fails beyond so many groups.
    pub max_push_groups: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            catalog_topic: "__sql_catalog".to_owned(),
            application_prefix: "moldau-sql-".to_owned(),
            state_dir: None,
            instance: None,
            commit_interval_ms: 1_000,
            max_push_groups: 1_000_000,
        }
    }
}
