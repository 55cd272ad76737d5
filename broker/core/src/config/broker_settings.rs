//! The broker settings that mean something on one node, for DescribeConfigs.

use super::setting::{Rule, Setting, SettingKind, Support};

/// The broker settings, ordered by name.
#[must_use]
pub fn broker_settings() -> &'static [Setting] {
    BROKER_SETTINGS
}

/// The row of one broker setting.
#[must_use]
pub fn broker_setting(name: &str) -> Option<&'static Setting> {
    let index = BROKER_SETTINGS
        .binary_search_by(|setting| setting.name.cmp(name))
        .ok()?;
    BROKER_SETTINGS.get(index)
}

/// A broker setting whose values the broker itself checks at start.
const fn row(
    name: &'static str,
    kind: SettingKind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        default,
        rule: Rule::Any,
        synonym: None,
        support: Support::Full,
        doc,
    }
}

const BROKER_SETTINGS: &[Setting] = &[
    row(
        "advertised.listeners",
        SettingKind::List,
        None,
        "Addresses that clients are told to connect to; unset, each client is told the address it came in on.",
    ),
    row(
        "auto.create.topics.enable",
        SettingKind::Boolean,
        Some("true"),
        "Whether a topic that is asked for is created.",
    ),
    row(
        "broker.id",
        SettingKind::Int,
        Some("1"),
        "The node's id under its older name.",
    ),
    row(
        "broker.rack",
        SettingKind::String,
        None,
        "The rack the node stands in.",
    ),
    row(
        "compression.type",
        SettingKind::String,
        Some("producer"),
        "Default of the topic setting `compression.type`.",
    ),
    row(
        "connections.max.idle.ms",
        SettingKind::Long,
        Some("600000"),
        "How long a connection may be silent.",
    ),
    row(
        "default.replication.factor",
        SettingKind::Int,
        Some("1"),
        "Replicas of topics that are created without a number.",
    ),
    row(
        "delete.topic.enable",
        SettingKind::Boolean,
        Some("true"),
        "Whether topics can be deleted.",
    ),
    row(
        "fetch.max.bytes",
        SettingKind::Int,
        Some("57671680"),
        "Largest answer to a fetch.",
    ),
    row(
        "flush",
        SettingKind::String,
        Some("auto"),
        "Default of the topic setting `flush`.",
    ),
    row(
        "group.initial.rebalance.delay.ms",
        SettingKind::Int,
        Some("3000"),
        "How long a new group waits for more members before its first rebalance.",
    ),
    row(
        "group.max.session.timeout.ms",
        SettingKind::Int,
        Some("1800000"),
        "Longest session timeout a member may ask for.",
    ),
    row(
        "group.max.size",
        SettingKind::Int,
        Some("2147483647"),
        "Members a group may have.",
    ),
    row(
        "group.min.session.timeout.ms",
        SettingKind::Int,
        Some("6000"),
        "Shortest session timeout a member may ask for.",
    ),
    row(
        "listeners",
        SettingKind::List,
        Some("PLAINTEXT://:9092"),
        "Addresses the node listens on.",
    ),
    row(
        "log.cleaner.delete.retention.ms",
        SettingKind::Long,
        Some("86400000"),
        "Default of the topic setting `delete.retention.ms`.",
    ),
    row(
        "log.cleaner.enable",
        SettingKind::Boolean,
        Some("true"),
        "Whether compacted topics are compacted.",
    ),
    row(
        "log.cleaner.max.compaction.lag.ms",
        SettingKind::Long,
        Some("9223372036854775807"),
        "Default of the topic setting `max.compaction.lag.ms`.",
    ),
    row(
        "log.cleaner.min.cleanable.ratio",
        SettingKind::Double,
        Some("0.5"),
        "Default of the topic setting `min.cleanable.dirty.ratio`.",
    ),
    row(
        "log.cleaner.min.compaction.lag.ms",
        SettingKind::Long,
        Some("0"),
        "Default of the topic setting `min.compaction.lag.ms`.",
    ),
    row(
        "log.cleanup.policy",
        SettingKind::List,
        Some("delete"),
        "Default of the topic setting `cleanup.policy`.",
    ),
    row(
        "log.dirs",
        SettingKind::List,
        Some("./moldau-data"),
        "The data directory.",
    ),
    row(
        "log.flush.interval.messages",
        SettingKind::Long,
        Some("9223372036854775807"),
        "Default of the topic setting `flush.messages`.",
    ),
    row(
        "log.flush.interval.ms",
        SettingKind::Long,
        Some("9223372036854775807"),
        "Default of the topic setting `flush.ms`.",
    ),
    row(
        "log.index.interval.bytes",
        SettingKind::Int,
        Some("4096"),
        "Default of the topic setting `index.interval.bytes`.",
    ),
    row(
        "log.index.size.max.bytes",
        SettingKind::Int,
        Some("10485760"),
        "Default of the topic setting `segment.index.bytes`.",
    ),
    row(
        "log.message.timestamp.after.max.ms",
        SettingKind::Long,
        Some("3600000"),
        "Default of the topic setting `message.timestamp.after.max.ms`.",
    ),
    row(
        "log.message.timestamp.before.max.ms",
        SettingKind::Long,
        Some("9223372036854775807"),
        "Default of the topic setting `message.timestamp.before.max.ms`.",
    ),
    row(
        "log.message.timestamp.type",
        SettingKind::String,
        Some("CreateTime"),
        "Default of the topic setting `message.timestamp.type`.",
    ),
    row(
        "log.retention.bytes",
        SettingKind::Long,
        Some("-1"),
        "Default of the topic setting `retention.bytes`.",
    ),
    row(
        "log.retention.check.interval.ms",
        SettingKind::Long,
        Some("300000"),
        "How often old segments are looked for.",
    ),
    row(
        "log.retention.hours",
        SettingKind::Int,
        Some("168"),
        "As `log.retention.ms`, in hours; counts where neither milliseconds nor minutes are set.",
    ),
    row(
        "log.retention.minutes",
        SettingKind::Int,
        None,
        "As `log.retention.ms`, in minutes; counts where milliseconds are not set.",
    ),
    row(
        "log.retention.ms",
        SettingKind::Long,
        Some("604800000"),
        "Default of the topic setting `retention.ms`.",
    ),
    row(
        "log.roll.hours",
        SettingKind::Int,
        Some("168"),
        "As `log.roll.ms`, in hours; counts where milliseconds are not set.",
    ),
    row(
        "log.roll.ms",
        SettingKind::Long,
        Some("604800000"),
        "Default of the topic setting `segment.ms`.",
    ),
    row(
        "log.segment.bytes",
        SettingKind::Int,
        Some("1073741824"),
        "Default of the topic setting `segment.bytes`.",
    ),
    row(
        "log.segment.delete.delay.ms",
        SettingKind::Long,
        Some("60000"),
        "Default of the topic setting `file.delete.delay.ms`.",
    ),
    row(
        "max.connections",
        SettingKind::Int,
        Some("2147483647"),
        "Connections the node accepts.",
    ),
    row(
        "max.incremental.fetch.session.cache.slots",
        SettingKind::Int,
        Some("1000"),
        "Fetch sessions that are kept at once.",
    ),
    row(
        "message.max.bytes",
        SettingKind::Int,
        Some("1048588"),
        "Default of the topic setting `max.message.bytes`.",
    ),
    row(
        "min.insync.replicas",
        SettingKind::Int,
        Some("1"),
        "Default of the topic setting `min.insync.replicas`.",
    ),
    row("node.id", SettingKind::Int, Some("1"), "The node's id."),
    row(
        "num.partitions",
        SettingKind::Int,
        Some("1"),
        "Partitions of topics that are created without a number.",
    ),
    row(
        "offset.metadata.max.bytes",
        SettingKind::Int,
        Some("4096"),
        "Longest metadata text of a committed offset.",
    ),
    row(
        "offsets.retention.check.interval.ms",
        SettingKind::Long,
        Some("600000"),
        "How often expired committed offsets are looked for.",
    ),
    row(
        "offsets.retention.minutes",
        SettingKind::Int,
        Some("10080"),
        "How long the committed offsets of an empty group are kept.",
    ),
    row(
        "offsets.topic.num.partitions",
        SettingKind::Int,
        Some("50"),
        "Partitions of `__consumer_offsets`.",
    ),
    row(
        "offsets.topic.replication.factor",
        SettingKind::Short,
        Some("3"),
        "Replicas of `__consumer_offsets`, at most one on each live node.",
    ),
    row(
        "offsets.topic.segment.bytes",
        SettingKind::Int,
        Some("104857600"),
        "Largest segment file of `__consumer_offsets`.",
    ),
    row(
        "process.roles",
        SettingKind::List,
        Some("broker,controller"),
        "What the node does in the cluster.",
    ),
    row(
        "producer.id.expiration.ms",
        SettingKind::Int,
        Some("86400000"),
        "How long an idempotent producer that is silent is remembered.",
    ),
    row(
        "socket.request.max.bytes",
        SettingKind::Int,
        Some("104857600"),
        "Largest request.",
    ),
    row(
        "unclean.leader.election.enable",
        SettingKind::Boolean,
        Some("false"),
        "Default of the topic setting `unclean.leader.election.enable`.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::topic_settings;

    #[test]
    fn rows_are_ordered_by_name_and_every_default_has_its_type() {
        assert!(BROKER_SETTINGS.is_sorted_by(|left, right| left.name < right.name));
        for setting in BROKER_SETTINGS {
            if let Some(default) = setting.default {
                assert_eq!(setting.check(default), Ok(()), "{}", setting.name);
            }
        }
    }

    #[test]
    fn the_default_of_a_topic_setting_is_that_of_its_broker_setting() {
        for setting in topic_settings() {
            if let Some(broker) = setting.synonym.and_then(broker_setting) {
                assert_eq!(broker.default, setting.default, "{}", setting.name);
            }
        }
    }
}
