//! Consumer groups and their offsets.

use crate::config::setting::{Rule, Setting};

#[rustfmt::skip]
pub(super) const ROWS: &[Setting] = &[
    Setting::int("group.consumer.assignment.interval.ms", "1000", "Default of the group setting `consumer.assignment.interval.ms`.").rule(Rule::AtLeast(0)).dynamic(),
    Setting::list("group.consumer.assignors", "uniform,range", "Assignors that groups of the new protocol may use, `uniform` and `range`; the first is the default."),
    Setting::int("group.consumer.heartbeat.interval.ms", "5000", "Default of the group setting `consumer.heartbeat.interval.ms`.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("group.consumer.max.assignment.interval.ms", "15000", "Longest `consumer.assignment.interval.ms` of a group.").rule(Rule::AtLeast(0)).dynamic(),
    Setting::int("group.consumer.max.heartbeat.interval.ms", "15000", "Longest `consumer.heartbeat.interval.ms` of a group.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("group.consumer.max.session.timeout.ms", "60000", "Longest `consumer.session.timeout.ms` of a group.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("group.consumer.max.size", "2147483647", "Members that a group of the new protocol may have.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::string("group.consumer.migration.policy", "bidirectional", "Whether a group may change between the classic and the new protocol while it has members.").rule(Rule::OneOfAnyCase(&["disabled", "downgrade", "upgrade", "bidirectional"])).dynamic(),
    Setting::int("group.consumer.min.assignment.interval.ms", "0", "Shortest `consumer.assignment.interval.ms` of a group.").rule(Rule::AtLeast(0)).dynamic(),
    Setting::int("group.consumer.min.heartbeat.interval.ms", "5000", "Shortest `consumer.heartbeat.interval.ms` of a group.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("group.consumer.min.session.timeout.ms", "45000", "Shortest `consumer.session.timeout.ms` of a group.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("group.consumer.session.timeout.ms", "45000", "Default of the group setting `consumer.session.timeout.ms`.").rule(Rule::AtLeast(1)).dynamic(),
    Setting::int("group.initial.rebalance.delay.ms", "0", "How long a new group waits for more members before its first rebalance (Kafka: 3000).").rule(Rule::AtLeast(0)),
    Setting::int("group.max.session.timeout.ms", "1800000", "Longest session timeout that a member of a classic group may ask for.").rule(Rule::AtLeast(1)),
    Setting::int("group.max.size", "2147483647", "Members that a classic group may have.").rule(Rule::AtLeast(1)),
    Setting::int("group.min.session.timeout.ms", "6000", "Shortest session timeout that a member of a classic group may ask for.").rule(Rule::AtLeast(1)),
    Setting::int("offset.metadata.max.bytes", "4096", "Longest metadata text of a committed offset.").rule(Rule::AtLeast(0)),
    Setting::long("offsets.retention.check.interval.ms", "600000", "How often expired committed offsets are looked for.").rule(Rule::AtLeast(1)),
    Setting::int("offsets.retention.minutes", "10080", "How long the committed offsets of an empty group are kept.").rule(Rule::AtLeast(1)),
    Setting::int("offsets.topic.num.partitions", "50", "Partitions of `__consumer_offsets` when it is created.").rule(Rule::AtLeast(1)),
    Setting::short("offsets.topic.replication.factor", "3", "Replicas of `__consumer_offsets`, at most one on each live node.").rule(Rule::AtLeast(1)),
    Setting::int("offsets.topic.segment.bytes", "104857600", "Largest segment file of `__consumer_offsets`.").rule(Rule::AtLeast(1_048_576)),
];
