//! The topic settings of Kafka 4.3, and our own `flush`.

use super::setting::{Rule, Setting};

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

#[rustfmt::skip]
const TOPIC_SETTINGS: &[Setting] = &[
    Setting::list("cleanup.policy", "delete", "What happens to old records: `delete` drops old segments, `compact` keeps the last value of each key.").rule(Rule::ListOf(&["compact", "delete"])).default_from("log.cleanup.policy"),
    Setting::int("compression.gzip.level", "-1", "Level of gzip where the broker compresses; -1 is the codec's own default.").rule(Rule::Between(-1, 9)).default_from("compression.gzip.level"),
    Setting::int("compression.lz4.level", "9", "Level of lz4 where the broker compresses.").rule(Rule::Between(1, 17)).default_from("compression.lz4.level").default_only(),
    Setting::string("compression.type", "producer", "Codec of stored batches; `producer` keeps what the producer chose.").rule(Rule::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])).default_from("compression.type"),
    Setting::int("compression.zstd.level", "3", "Level of zstd where the broker compresses.").rule(Rule::Between(-131_072, 22)).default_from("compression.zstd.level"),
    Setting::long("delete.retention.ms", "86400000", "How long tombstones stay in a compacted topic.").rule(Rule::AtLeast(0)).default_from("log.cleaner.delete.retention.ms"),
    Setting::long("file.delete.delay.ms", "60000", "How long a dropped segment's file stays on disk.").rule(Rule::AtLeast(0)).default_from("log.segment.delete.delay.ms"),
    Setting::string("flush", "auto", "When acknowledged records are on disk: `commit` before the answer, `os` left to the operating system, or within an interval such as `100ms`; `auto` is `commit` for a single replica and `os` for several.").rule(Rule::Flush).default_from("log.flush"),
    Setting::long("flush.messages", "9223372036854775807", "1 means the same as `flush=commit`.").rule(Rule::AtLeast(1)).default_from("log.flush.interval.messages").only(&["1", "9223372036854775807"]),
    Setting::long("flush.ms", "9223372036854775807", "Longest time until written records are on disk; the same as `flush=<interval>`.").rule(Rule::AtLeast(0)).default_from("log.flush.interval.ms"),
    Setting::list("follower.replication.throttled.replicas", "", "Replicas whose replication is throttled on the follower's side.").default_only(),
    Setting::int("index.interval.bytes", "4096", "Bytes of log between two entries of the offset index.").rule(Rule::AtLeast(0)).default_from("log.index.interval.bytes"),
    Setting::list("leader.replication.throttled.replicas", "", "Replicas whose replication is throttled on the leader's side.").default_only(),
    Setting::long("local.retention.bytes", "-2", "Size kept locally by a tiered topic; -2 is `retention.bytes`.").rule(Rule::AtLeast(-2)).default_from("log.local.retention.bytes").default_only(),
    Setting::long("local.retention.ms", "-2", "Time kept locally by a tiered topic; -2 is `retention.ms`.").rule(Rule::AtLeast(-2)).default_from("log.local.retention.ms").default_only(),
    Setting::long("max.compaction.lag.ms", "9223372036854775807", "Longest time a record of a compacted topic stays uncompacted.").rule(Rule::AtLeast(1)).default_from("log.cleaner.max.compaction.lag.ms"),
    Setting::int("max.message.bytes", "1048588", "Largest record batch, as compressed by the producer.").rule(Rule::AtLeast(0)).default_from("message.max.bytes"),
    Setting::long("message.timestamp.after.max.ms", "3600000", "How far ahead of the broker's clock a record's timestamp may be.").rule(Rule::AtLeast(0)).default_from("log.message.timestamp.after.max.ms"),
    Setting::long("message.timestamp.before.max.ms", "9223372036854775807", "How far behind the broker's clock a record's timestamp may be.").rule(Rule::AtLeast(0)).default_from("log.message.timestamp.before.max.ms"),
    Setting::string("message.timestamp.type", "CreateTime", "Whose clock stamps the records: the producer's or the broker's.").rule(Rule::OneOf(&["CreateTime", "LogAppendTime"])).default_from("log.message.timestamp.type"),
    Setting::double("min.cleanable.dirty.ratio", "0.5", "Share of uncompacted bytes from which a log is compacted.").rule(Rule::Ratio).default_from("log.cleaner.min.cleanable.ratio"),
    Setting::long("min.compaction.lag.ms", "0", "Shortest time a record of a compacted topic stays uncompacted.").rule(Rule::AtLeast(0)).default_from("log.cleaner.min.compaction.lag.ms"),
    Setting::int("min.insync.replicas", "1", "In-sync replicas that `acks=all` needs.").rule(Rule::AtLeast(1)).default_from("min.insync.replicas"),
    Setting::boolean("preallocate", "false", "Whether segment files get their full size at once.").default_from("log.preallocate").default_only(),
    Setting::boolean("remote.log.copy.disable", "false", "Whether a tiered topic stops copying segments.").default_only(),
    Setting::boolean("remote.log.delete.on.disable", "false", "Whether tiered data is deleted when tiering is switched off.").default_only(),
    Setting::boolean("remote.storage.enable", "false", "Whether old segments move to remote storage.").default_only(),
    Setting::long("retention.bytes", "-1", "Size from which a partition's oldest segments are dropped; -1 is no limit.").default_from("log.retention.bytes"),
    Setting::long("retention.ms", "604800000", "Age from which a partition's segments are dropped; -1 is no limit.").rule(Rule::AtLeast(-1)).default_from("log.retention.ms"),
    Setting::int("segment.bytes", "1073741824", "Largest segment file.").rule(Rule::AtLeast(1_048_576)).default_from("log.segment.bytes"),
    Setting::int("segment.index.bytes", "10485760", "Largest index file of a segment.").rule(Rule::AtLeast(4)).default_from("log.index.size.max.bytes"),
    Setting::long("segment.jitter.ms", "0", "Random part of the time after which a segment is rolled.").rule(Rule::AtLeast(0)).default_from("log.roll.jitter.ms").default_only(),
    Setting::long("segment.ms", "604800000", "Age from which the active segment is rolled.").rule(Rule::AtLeast(1)).default_from("log.roll.ms"),
    Setting::boolean("unclean.leader.election.enable", "false", "Whether a replica that is not in sync may become leader.").default_from("unclean.leader.election.enable").default_only(),
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
