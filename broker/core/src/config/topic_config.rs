//! All settings of one topic as typed values.

use std::collections::BTreeMap;
use std::str::FromStr;

use moldau_protocol::batch::TimestampType;
use moldau_protocol::compression::Compression;
use moldau_protocol::types::KString;

use super::flush::{FlushMode, FlushSetting};
use super::{TopicDefaults, list_items, topic_setting};
use crate::partition::ProduceRules;

/// The settings in force for one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy`
    pub cleanup: CleanupPolicy,
    /// `compression.type`
    pub compression: CompressionSetting,
    /// `compression.gzip.level` or `compression.zstd.level`, whichever the codec takes; the codec's own if `None`.
    pub compression_level: Option<i32>,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// `flush`, or what `flush.messages` and `flush.ms` say where `flush` is not set.
    pub flush: FlushSetting,
    /// `index.interval.bytes`
    pub index_interval_bytes: i32,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`
    pub max_message_bytes: i32,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `retention.bytes`; -1 is no limit.
    pub retention_bytes: i64,
    /// `retention.ms`; -1 is no limit.
    pub retention_ms: i64,
    /// `segment.bytes`
    pub segment_bytes: i32,
    /// `segment.index.bytes`
    pub segment_index_bytes: i32,
    /// `segment.ms`
    pub segment_ms: i64,
}

/// What `cleanup.policy` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    /// The last value of each key is kept.
    pub compact: bool,
    /// Old segments are dropped.
    pub delete: bool,
}

/// What `compression.type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionSetting {
    /// As the producer sent it.
    Producer,
    /// Always this codec.
    Codec(Compression),
}

impl TopicConfig {
    /// The settings of a topic with these values of its own; unset ones come from the defaults.
    #[must_use]
    pub fn resolve(
        overrides: Option<&BTreeMap<KString, KString>>,
        defaults: &TopicDefaults,
    ) -> Self {
        let values = Values {
            overrides,
            defaults,
        };
        Self {
            cleanup: CleanupPolicy::parse(&values.text("cleanup.policy")),
            compression: CompressionSetting::parse(&values.text("compression.type")),
            compression_level: values.compression_level(),
            delete_retention_ms: values.number("delete.retention.ms"),
            file_delete_delay_ms: values.number("file.delete.delay.ms"),
            flush: values.flush(),
            index_interval_bytes: values.number("index.interval.bytes"),
            max_compaction_lag_ms: values.number("max.compaction.lag.ms"),
            max_message_bytes: values.number("max.message.bytes"),
            timestamp_after_max_ms: values.number("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: values.number("message.timestamp.before.max.ms"),
            timestamp_type: parse_timestamp_type(&values.text("message.timestamp.type")),
            min_cleanable_dirty_ratio: values.number("min.cleanable.dirty.ratio"),
            min_compaction_lag_ms: values.number("min.compaction.lag.ms"),
            min_insync_replicas: values.number("min.insync.replicas"),
            retention_bytes: values.number("retention.bytes"),
            retention_ms: values.number("retention.ms"),
            segment_bytes: values.number("segment.bytes"),
            segment_index_bytes: values.number("segment.index.bytes"),
            segment_ms: values.number("segment.ms"),
        }
    }

    /// When acknowledged records are on disk, for a partition with this many replicas.
    #[must_use]
    pub const fn flush_mode(&self, replicas: usize) -> FlushMode {
        self.flush.mode(replicas)
    }

    /// What a produced batch is checked against.
    #[must_use]
    pub const fn produce_rules(&self) -> ProduceRules {
        ProduceRules {
            max_message_bytes: self.max_message_bytes,
            timestamp_type: self.timestamp_type,
            timestamp_before_max_ms: self.timestamp_before_max_ms,
            timestamp_after_max_ms: self.timestamp_after_max_ms,
            compression: self.compression,
            compression_level: self.compression_level,
            require_keys: self.cleanup.compact,
        }
    }
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::resolve(None, &TopicDefaults::default())
    }
}

impl CleanupPolicy {
    fn parse(text: &str) -> Self {
        Self {
            compact: list_items(text).any(|item| item == "compact"),
            delete: list_items(text).any(|item| item == "delete"),
        }
    }
}

impl CompressionSetting {
    fn parse(text: &str) -> Self {
        match text {
            "uncompressed" => Self::Codec(Compression::None),
            "gzip" => Self::Codec(Compression::Gzip),
            "snappy" => Self::Codec(Compression::Snappy),
            "lz4" => Self::Codec(Compression::Lz4),
            "zstd" => Self::Codec(Compression::Zstd),
            _ => Self::Producer,
        }
    }
}

fn parse_timestamp_type(text: &str) -> TimestampType {
    if text == "LogAppendTime" {
        TimestampType::LogAppendTime
    } else {
        TimestampType::CreateTime
    }
}

/// The strongest value of each setting: the topic's, the node's, Kafka's.
struct Values<'a> {
    overrides: Option<&'a BTreeMap<KString, KString>>,
    defaults: &'a TopicDefaults,
}

impl Values<'_> {
    fn set(&self, name: &str) -> Option<&KString> {
        self.overrides
            .and_then(|values| values.get(name))
            .or_else(|| self.defaults.changed(name))
    }

    fn text(&self, name: &str) -> KString {
        let default = || {
            topic_setting(name)
                .and_then(|setting| setting.default)
                .unwrap_or_default()
        };
        self.set(name)
            .cloned()
            .unwrap_or_else(|| KString::from_static(default()))
    }

    /// Values are checked when they are set, so one that does not parse was written by a later
    /// version; the table's default is the best guess then.
    fn number<T: FromStr + Default>(&self, name: &str) -> T {
        let default = topic_setting(name)
            .and_then(|setting| setting.default)
            .unwrap_or_default();
        let parse = |text: &str| text.trim().parse().ok();
        parse(&self.text(name))
            .or_else(|| parse(default))
            .unwrap_or_default()
    }

    fn compression_level(&self) -> Option<i32> {
        match CompressionSetting::parse(&self.text("compression.type")) {
            CompressionSetting::Codec(Compression::Gzip) => {
                Some(self.number("compression.gzip.level")).filter(|level| *level != GZIP_DEFAULT)
            }
            CompressionSetting::Codec(Compression::Zstd) => {
                Some(self.number("compression.zstd.level"))
            }
            CompressionSetting::Codec(_) | CompressionSetting::Producer => None,
        }
    }

    fn flush(&self) -> FlushSetting {
        if let Some(setting) = self.set("flush").and_then(|text| FlushSetting::parse(text)) {
            return setting;
        }
        if self.number::<i64>("flush.messages") == 1 {
            return FlushSetting::Fixed(FlushMode::Commit);
        }
        match self.number::<i64>("flush.ms") {
            i64::MAX => FlushSetting::Auto,
            0 => FlushSetting::Fixed(FlushMode::Commit),
            ms => FlushSetting::Fixed(FlushMode::Interval { ms }),
        }
    }
}

/// The level that stands for gzip's own.
const GZIP_DEFAULT: i32 = -1;

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(overrides: &[(&'static str, &'static str)]) -> TopicConfig {
        let values = overrides
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect();
        TopicConfig::resolve(Some(&values), &TopicDefaults::default())
    }

    #[test]
    fn a_topic_without_settings_has_kafkas_defaults() {
        let config = TopicConfig::default();
        assert_eq!(
            config.cleanup,
            CleanupPolicy {
                compact: false,
                delete: true
            }
        );
        assert_eq!(config.retention_ms, 604_800_000);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert_eq!(config.timestamp_type, TimestampType::CreateTime);
        assert_eq!(config.compression, CompressionSetting::Producer);
        assert_eq!(config.flush_mode(1), FlushMode::Commit);
    }

    #[test]
    fn a_topics_own_value_beats_the_nodes_default() {
        let mut defaults = TopicDefaults::default();
        defaults.set("retention.ms", "1000".into()).unwrap();
        defaults.set("retention.bytes", "5000".into()).unwrap();
        let values = BTreeMap::from([("retention.ms".into(), "2000".into())]);
        let config = TopicConfig::resolve(Some(&values), &defaults);
        assert_eq!(
            (config.retention_ms, config.retention_bytes),
            (2_000, 5_000)
        );
    }

    #[test]
    fn kafkas_flush_settings_choose_a_mode_unless_flush_is_set() {
        let commit = FlushSetting::Fixed(FlushMode::Commit);
        assert_eq!(resolve(&[("flush.messages", "1")]).flush, commit);
        assert_eq!(resolve(&[("flush.ms", "0")]).flush, commit);
        assert_eq!(
            resolve(&[("flush.ms", "50")]).flush,
            FlushSetting::Fixed(FlushMode::Interval { ms: 50 })
        );
        assert_eq!(
            resolve(&[("flush.ms", "50"), ("flush", "os")]).flush,
            FlushSetting::Fixed(FlushMode::Os)
        );
    }

    #[test]
    fn a_level_counts_for_its_own_codec_only() {
        let level = |codec| {
            let values = [
                ("compression.type", codec),
                ("compression.gzip.level", "9"),
                ("compression.zstd.level", "-5"),
            ];
            resolve(&values).produce_rules().compression_level
        };
        assert_eq!(level("gzip"), Some(9));
        assert_eq!(level("zstd"), Some(-5));
        assert_eq!((level("snappy"), level("producer")), (None, None));
        assert_eq!(
            resolve(&[("compression.type", "gzip")]).compression_level,
            None
        );
    }

    #[test]
    fn compacted_topics_need_keys() {
        assert!(
            resolve(&[("cleanup.policy", "compact,delete")])
                .produce_rules()
                .require_keys
        );
        assert!(!resolve(&[]).produce_rules().require_keys);
    }
}
