//! The group settings of Kafka 4.3.
//!
//! Those of share and streams groups are refused by name.

use super::setting::{Rule, Setting, SettingKind};

/// The group settings, ordered by name.
#[must_use]
pub fn group_settings() -> &'static [Setting] {
    GROUP_SETTINGS
}

/// The row of one group setting.
#[must_use]
pub fn group_setting(name: &str) -> Option<&'static Setting> {
    GROUP_SETTINGS.iter().find(|setting| setting.name == name)
}

const SHARE: &str = "this version has no share groups";
const STREAMS_GROUPS: &str = "this version has no streams groups";
const OFFLOAD: &str = "assignments are computed where the group is coordinated";

// One row a line.
#[rustfmt::skip]
const GROUP_SETTINGS: &[Setting] = &[
    Setting::int("consumer.assignment.interval.ms", "1000", "Shortest time between two assignments of a consumer group.").rule(Rule::AtLeast(0)).default_from("group.consumer.assignment.interval.ms"),
    Setting::refused("consumer.assignor.offload.enable", SettingKind::Boolean, None, OFFLOAD),
    Setting::int("consumer.heartbeat.interval.ms", "5000", "How often members of a consumer group tell that they are alive.").rule(Rule::AtLeast(1)).default_from("group.consumer.heartbeat.interval.ms"),
    Setting::int("consumer.session.timeout.ms", "45000", "How long a member of a consumer group may be silent before it is taken for dead.").rule(Rule::AtLeast(1)).default_from("group.consumer.session.timeout.ms"),
    Setting::refused("share.assignment.interval.ms", SettingKind::Int, Some("1000"), SHARE),
    Setting::refused("share.assignor.offload.enable", SettingKind::Boolean, None, SHARE),
    Setting::refused("share.auto.offset.reset", SettingKind::String, Some("latest"), SHARE),
    Setting::refused("share.delivery.count.limit", SettingKind::Int, Some("5"), SHARE),
    Setting::refused("share.heartbeat.interval.ms", SettingKind::Int, Some("5000"), SHARE),
    Setting::refused("share.isolation.level", SettingKind::String, Some("read_uncommitted"), SHARE),
    Setting::refused("share.partition.max.record.locks", SettingKind::Int, Some("2000"), SHARE),
    Setting::refused("share.record.lock.duration.ms", SettingKind::Int, Some("30000"), SHARE),
    Setting::refused("share.renew.acknowledge.enable", SettingKind::Boolean, Some("true"), SHARE),
    Setting::refused("share.session.timeout.ms", SettingKind::Int, Some("45000"), SHARE),
    Setting::refused("streams.assignment.interval.ms", SettingKind::Int, Some("1000"), STREAMS_GROUPS),
    Setting::refused("streams.assignor.offload.enable", SettingKind::Boolean, None, STREAMS_GROUPS),
    Setting::refused("streams.heartbeat.interval.ms", SettingKind::Int, Some("5000"), STREAMS_GROUPS),
    Setting::refused("streams.initial.rebalance.delay.ms", SettingKind::Int, Some("3000"), STREAMS_GROUPS),
    Setting::refused("streams.num.standby.replicas", SettingKind::Int, Some("0"), STREAMS_GROUPS),
    Setting::refused("streams.session.timeout.ms", SettingKind::Int, Some("45000"), STREAMS_GROUPS),
];
