//! The settings that coordinators of groups depend on, out of those of the broker.

use moldau_core::coordinator::CoordinatorSettings;
use moldau_core::group::GroupSettings;

use crate::config::BrokerConfig;

pub(super) fn of(config: &BrokerConfig) -> CoordinatorSettings {
    CoordinatorSettings {
        group: GroupSettings {
            min_session_timeout_ms: config.group_min_session_timeout_ms,
            max_session_timeout_ms: config.group_max_session_timeout_ms,
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
            max_size: usize::try_from(config.group_max_size).unwrap_or(usize::MAX),
            ..GroupSettings::default()
        },
        consumer_group: config.consumer_groups,
        offset_metadata_max_bytes: usize::try_from(config.offset_metadata_max_bytes).unwrap_or(0),
        offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: i64::try_from(
            config.offsets_retention_check_interval_ms,
        )
        .unwrap_or(i64::MAX),
    }
}
