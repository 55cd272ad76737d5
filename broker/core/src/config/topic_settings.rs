//! The topic settings of Kafka 4.3, and our own `flush`.

use super::setting::{Rule, Setting, SettingKind, Support};

/// All topic settings, ordered by name.
#[must_use]
pub fn topic_settings() -> &'static [Setting] {
    TOPIC_SETTINGS
}

/// The row of one topic setting.
#[must_use]
pub fn topic_setting(name: &str) -> Option<&'static Setting> {
    let index = TOPIC_SETTINGS
        .binary_search_by(|setting| setting.name.cmp(name))
        .ok()?;
    TOPIC_SETTINGS.get(index)
}

const TOPIC_SETTINGS: &[Setting] = &[
    Setting {
        name: "cleanup.policy",
        kind: SettingKind::List,
        default: Some("delete"),
        rule: Rule::ListOf(&["compact", "delete"]),
        synonym: Some("log.cleanup.policy"),
        support: Support::Full,
        doc: "What happens to old records: `delete` drops old segments, `compact` keeps the last value of each key.",
    },
    Setting {
        name: "compression.gzip.level",
        kind: SettingKind::Int,
        default: Some("-1"),
        rule: Rule::Between(-1, 9),
        synonym: Some("compression.gzip.level"),
        support: Support::DefaultOnly,
        doc: "Level of gzip where the broker compresses; -1 is the codec's own default.",
    },
    Setting {
        name: "compression.lz4.level",
        kind: SettingKind::Int,
        default: Some("9"),
        rule: Rule::Between(1, 17),
        synonym: Some("compression.lz4.level"),
        support: Support::DefaultOnly,
        doc: "Level of lz4 where the broker compresses.",
    },
    Setting {
        name: "compression.type",
        kind: SettingKind::String,
        default: Some("producer"),
        rule: Rule::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        synonym: Some("compression.type"),
        support: Support::Full,
        doc: "Codec of stored batches; `producer` keeps what the producer chose.",
    },
    Setting {
        name: "compression.zstd.level",
        kind: SettingKind::Int,
        default: Some("3"),
        rule: Rule::Between(-131_072, 22),
        synonym: Some("compression.zstd.level"),
        support: Support::DefaultOnly,
        doc: "Level of zstd where the broker compresses.",
    },
    Setting {
        name: "delete.retention.ms",
        kind: SettingKind::Long,
        default: Some("86400000"),
        rule: Rule::AtLeast(0),
        synonym: Some("log.cleaner.delete.retention.ms"),
        support: Support::Full,
        doc: "How long tombstones stay in a compacted topic.",
    },
    Setting {
        name: "file.delete.delay.ms",
        kind: SettingKind::Long,
        default: Some("60000"),
        rule: Rule::AtLeast(0),
        synonym: Some("log.segment.delete.delay.ms"),
        support: Support::Full,
        doc: "How long a dropped segment's file stays on disk.",
    },
    Setting {
        name: "flush",
        kind: SettingKind::String,
        default: Some("auto"),
        rule: Rule::Flush,
        synonym: Some("flush"),
        support: Support::Full,
        doc: "When acknowledged records are on disk: `commit` before the answer, `os` left to the operating system, or within an interval such as `100ms`; `auto` is `commit` for a single replica and `os` for several.",
    },
    Setting {
        name: "flush.messages",
        kind: SettingKind::Long,
        default: Some("9223372036854775807"),
        rule: Rule::AtLeast(1),
        synonym: Some("log.flush.interval.messages"),
        support: Support::Only(&["1", "9223372036854775807"]),
        doc: "1 means the same as `flush=commit`.",
    },
    Setting {
        name: "flush.ms",
        kind: SettingKind::Long,
        default: Some("9223372036854775807"),
        rule: Rule::AtLeast(0),
        synonym: Some("log.flush.interval.ms"),
        support: Support::Full,
        doc: "Longest time until written records are on disk; the same as `flush=<interval>`.",
    },
    Setting {
        name: "follower.replication.throttled.replicas",
        kind: SettingKind::List,
        default: Some(""),
        rule: Rule::Any,
        synonym: None,
        support: Support::DefaultOnly,
        doc: "Replicas whose replication is throttled on the follower's side.",
    },
    Setting {
        name: "index.interval.bytes",
        kind: SettingKind::Int,
        default: Some("4096"),
        rule: Rule::AtLeast(0),
        synonym: Some("log.index.interval.bytes"),
        support: Support::Full,
        doc: "Bytes of log between two entries of the offset index.",
    },
    Setting {
        name: "leader.replication.throttled.replicas",
        kind: SettingKind::List,
        default: Some(""),
        rule: Rule::Any,
        synonym: None,
        support: Support::DefaultOnly,
        doc: "Replicas whose replication is throttled on the leader's side.",
    },
    Setting {
        name: "local.retention.bytes",
        kind: SettingKind::Long,
        default: Some("-2"),
        rule: Rule::AtLeast(-2),
        synonym: Some("log.local.retention.bytes"),
        support: Support::DefaultOnly,
        doc: "Size kept locally by a tiered topic; -2 is `retention.bytes`.",
    },
    Setting {
        name: "local.retention.ms",
        kind: SettingKind::Long,
        default: Some("-2"),
        rule: Rule::AtLeast(-2),
        synonym: Some("log.local.retention.ms"),
        support: Support::DefaultOnly,
        doc: "Time kept locally by a tiered topic; -2 is `retention.ms`.",
    },
    Setting {
        name: "max.compaction.lag.ms",
        kind: SettingKind::Long,
        default: Some("9223372036854775807"),
        rule: Rule::AtLeast(1),
        synonym: Some("log.cleaner.max.compaction.lag.ms"),
        support: Support::Full,
        doc: "Longest time a record of a compacted topic stays uncompacted.",
    },
    Setting {
        name: "max.message.bytes",
        kind: SettingKind::Int,
        default: Some("1048588"),
        rule: Rule::AtLeast(0),
        synonym: Some("message.max.bytes"),
        support: Support::Full,
        doc: "Largest record batch, as compressed by the producer.",
    },
    Setting {
        name: "message.timestamp.after.max.ms",
        kind: SettingKind::Long,
        default: Some("3600000"),
        rule: Rule::AtLeast(0),
        synonym: Some("log.message.timestamp.after.max.ms"),
        support: Support::Full,
        doc: "How far ahead of the broker's clock a record's timestamp may be.",
    },
    Setting {
        name: "message.timestamp.before.max.ms",
        kind: SettingKind::Long,
        default: Some("9223372036854775807"),
        rule: Rule::AtLeast(0),
        synonym: Some("log.message.timestamp.before.max.ms"),
        support: Support::Full,
        doc: "How far behind the broker's clock a record's timestamp may be.",
    },
    Setting {
        name: "message.timestamp.type",
        kind: SettingKind::String,
        default: Some("CreateTime"),
        rule: Rule::OneOf(&["CreateTime", "LogAppendTime"]),
        synonym: Some("log.message.timestamp.type"),
        support: Support::Full,
        doc: "Whose clock stamps the records: the producer's or the broker's.",
    },
    Setting {
        name: "min.cleanable.dirty.ratio",
        kind: SettingKind::Double,
        default: Some("0.5"),
        rule: Rule::Ratio,
        synonym: Some("log.cleaner.min.cleanable.ratio"),
        support: Support::Full,
        doc: "Share of uncompacted bytes from which a log is compacted.",
    },
    Setting {
        name: "min.compaction.lag.ms",
        kind: SettingKind::Long,
        default: Some("0"),
        rule: Rule::AtLeast(0),
        synonym: Some("log.cleaner.min.compaction.lag.ms"),
        support: Support::Full,
        doc: "Shortest time a record of a compacted topic stays uncompacted.",
    },
    Setting {
        name: "min.insync.replicas",
        kind: SettingKind::Int,
        default: Some("1"),
        rule: Rule::AtLeast(1),
        synonym: Some("min.insync.replicas"),
        support: Support::Full,
        doc: "In-sync replicas that `acks=all` needs.",
    },
    Setting {
        name: "preallocate",
        kind: SettingKind::Boolean,
        default: Some("false"),
        rule: Rule::Any,
        synonym: Some("log.preallocate"),
        support: Support::DefaultOnly,
        doc: "Whether segment files get their full size at once.",
    },
    Setting {
        name: "remote.log.copy.disable",
        kind: SettingKind::Boolean,
        default: Some("false"),
        rule: Rule::Any,
        synonym: None,
        support: Support::DefaultOnly,
        doc: "Whether a tiered topic stops copying segments.",
    },
    Setting {
        name: "remote.log.delete.on.disable",
        kind: SettingKind::Boolean,
        default: Some("false"),
        rule: Rule::Any,
        synonym: None,
        support: Support::DefaultOnly,
        doc: "Whether tiered data is deleted when tiering is switched off.",
    },
    Setting {
        name: "remote.storage.enable",
        kind: SettingKind::Boolean,
        default: Some("false"),
        rule: Rule::Any,
        synonym: None,
        support: Support::DefaultOnly,
        doc: "Whether old segments move to remote storage.",
    },
    Setting {
        name: "retention.bytes",
        kind: SettingKind::Long,
        default: Some("-1"),
        rule: Rule::Any,
        synonym: Some("log.retention.bytes"),
        support: Support::Full,
        doc: "Size from which a partition's oldest segments are dropped; -1 is no limit.",
    },
    Setting {
        name: "retention.ms",
        kind: SettingKind::Long,
        default: Some("604800000"),
        rule: Rule::AtLeast(-1),
        synonym: Some("log.retention.ms"),
        support: Support::Full,
        doc: "Age from which a partition's segments are dropped; -1 is no limit.",
    },
    Setting {
        name: "segment.bytes",
        kind: SettingKind::Int,
        default: Some("1073741824"),
        rule: Rule::AtLeast(1_048_576),
        synonym: Some("log.segment.bytes"),
        support: Support::Full,
        doc: "Largest segment file.",
    },
    Setting {
        name: "segment.index.bytes",
        kind: SettingKind::Int,
        default: Some("10485760"),
        rule: Rule::AtLeast(4),
        synonym: Some("log.index.size.max.bytes"),
        support: Support::Full,
        doc: "Largest index file of a segment.",
    },
    Setting {
        name: "segment.jitter.ms",
        kind: SettingKind::Long,
        default: Some("0"),
        rule: Rule::AtLeast(0),
        synonym: Some("log.roll.jitter.ms"),
        support: Support::DefaultOnly,
        doc: "Random part of the time after which a segment is rolled.",
    },
    Setting {
        name: "segment.ms",
        kind: SettingKind::Long,
        default: Some("604800000"),
        rule: Rule::AtLeast(1),
        synonym: Some("log.roll.ms"),
        support: Support::Full,
        doc: "Age from which the active segment is rolled.",
    },
    Setting {
        name: "unclean.leader.election.enable",
        kind: SettingKind::Boolean,
        default: Some("false"),
        rule: Rule::Any,
        synonym: Some("unclean.leader.election.enable"),
        support: Support::DefaultOnly,
        doc: "Whether a replica that is not in sync may become leader.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_ordered_by_name_and_every_default_is_valid() {
        assert!(TOPIC_SETTINGS.is_sorted_by(|left, right| left.name < right.name));
        for setting in TOPIC_SETTINGS {
            if let Some(default) = setting.default {
                assert_eq!(setting.check(default), Ok(()), "{}", setting.name);
            }
        }
    }

    #[test]
    fn all_33_settings_of_kafka_and_flush_are_there() {
        assert_eq!(TOPIC_SETTINGS.len(), 34);
    }
}
