//! Settings of one log.

/// Settings of one log; the defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment is rolled before it grows past this many bytes.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is rolled when a record is this much younger than its first batch.
    pub segment_ms: i64,
    /// `segment.index.bytes`: a segment is rolled when one of its indexes has this many bytes.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: an index entry is written after this many bytes of batches.
    pub index_interval_bytes: u32,
    /// `retention.ms`: segments whose youngest record is older are deleted; -1 keeps them.
    pub retention_ms: i64,
    /// `retention.bytes`: the oldest segments beyond this size are deleted; -1 keeps them.
    pub retention_bytes: i64,
    /// `file.delete.delay.ms`: how long deleted files stay, under another name, before they are
    /// removed.
    pub file_delete_delay_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: 7 * DAY_MS,
            segment_index_bytes: 10 * 1024 * 1024,
            index_interval_bytes: 4096,
            retention_ms: 7 * DAY_MS,
            retention_bytes: -1,
            file_delete_delay_ms: 60_000,
        }
    }
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
