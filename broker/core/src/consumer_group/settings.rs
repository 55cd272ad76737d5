//! What consumer groups depend on: `group.consumer.*` of the broker, and the settings of one group.

use std::collections::BTreeMap;

use moldau_protocol::types::KString;

use super::assignor::Assignor;

/// The broker settings that consumer groups depend on, or those of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerGroupSettings {
    /// `group.consumer.session.timeout.ms`, or `consumer.session.timeout.ms` of a group.
    pub session_timeout_ms: i32,
    /// `group.consumer.min.session.timeout.ms`: what a group may set at least.
    pub min_session_timeout_ms: i32,
    /// `group.consumer.max.session.timeout.ms`: what a group may set at most.
    pub max_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`, or `consumer.heartbeat.interval.ms` of a group.
    pub heartbeat_interval_ms: i32,
    /// `group.consumer.min.heartbeat.interval.ms`: what a group may set at least.
    pub min_heartbeat_interval_ms: i32,
    /// `group.consumer.max.heartbeat.interval.ms`: what a group may set at most.
    pub max_heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`, or `consumer.assignment.interval.ms` of a group:
    /// a new target assignment is computed at most once in this time.
    pub assignment_interval_ms: i32,
    /// `group.consumer.min.assignment.interval.ms`: what a group may set at least.
    pub min_assignment_interval_ms: i32,
    /// `group.consumer.max.assignment.interval.ms`: what a group may set at most.
    pub max_assignment_interval_ms: i32,
    /// `group.consumer.max.size`
    pub max_size: usize,
    /// `group.consumer.assignors`, the default first; never empty.
    pub assignors: &'static [Assignor],
    /// `group.consumer.migration.policy`
    pub migration_policy: MigrationPolicy,
}

impl Default for ConsumerGroupSettings {
    fn default() -> Self {
        Self {
            session_timeout_ms: 45_000,
            min_session_timeout_ms: 45_000,
            max_session_timeout_ms: 60_000,
            heartbeat_interval_ms: 5_000,
            min_heartbeat_interval_ms: 5_000,
            max_heartbeat_interval_ms: 15_000,
            assignment_interval_ms: 1_000,
            min_assignment_interval_ms: 0,
            max_assignment_interval_ms: 15_000,
            max_size: i32::MAX as usize,
            assignors: &[Assignor::Uniform, Assignor::Range],
            migration_policy: MigrationPolicy::Bidirectional,
        }
    }
}

impl ConsumerGroupSettings {
    /// The settings of a group that has some of its own. A value outside the broker's bounds, which
    /// may have changed since it was set, counts as the nearest bound.
    #[must_use]
    pub fn of_group(&self, own: Option<&BTreeMap<KString, KString>>) -> Self {
        let mut settings = *self;
        let value = |name: &str| -> Option<i32> { own?.get(name)?.trim().parse().ok() };
        if let Some(ms) = value(SESSION_TIMEOUT_MS) {
            settings.session_timeout_ms =
                within(ms, self.min_session_timeout_ms, self.max_session_timeout_ms);
        }
        if let Some(ms) = value(HEARTBEAT_INTERVAL_MS) {
            settings.heartbeat_interval_ms = within(
                ms,
                self.min_heartbeat_interval_ms,
                self.max_heartbeat_interval_ms,
            );
        }
        if let Some(ms) = value(ASSIGNMENT_INTERVAL_MS) {
            settings.assignment_interval_ms = within(
                ms,
                self.min_assignment_interval_ms,
                self.max_assignment_interval_ms,
            );
        }
        settings
    }

    /// The assignor that members use who name none.
    pub(crate) fn default_assignor(&self) -> Assignor {
        self.assignors.first().copied().unwrap_or_default()
    }
}

/// Unlike `clamp`, bounds that contradict each other do no harm.
fn within(value: i32, min: i32, max: i32) -> i32 {
    value.min(max).max(min)
}

/// Whether a group may change its protocol while it has members (`group.consumer.migration.policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Neither way.
    Disabled,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Both ways.
    #[default]
    Bidirectional,
}

impl MigrationPolicy {
    /// The policy of this name, in whatever case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "disabled" => Some(Self::Disabled),
            "upgrade" => Some(Self::Upgrade),
            "downgrade" => Some(Self::Downgrade),
            "bidirectional" => Some(Self::Bidirectional),
            _ => None,
        }
    }

    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Upgrade => "upgrade",
            Self::Downgrade => "downgrade",
            Self::Bidirectional => "bidirectional",
        }
    }

    pub(crate) fn allows_upgrade(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    pub(crate) fn allows_downgrade(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}

/// The session timeout of one group's members.
pub(crate) const SESSION_TIMEOUT_MS: &str = "consumer.session.timeout.ms";
/// How often one group's members are to send heartbeats.
pub(crate) const HEARTBEAT_INTERVAL_MS: &str = "consumer.heartbeat.interval.ms";
/// How often one group's target assignment is computed at most.
pub(crate) const ASSIGNMENT_INTERVAL_MS: &str = "consumer.assignment.interval.ms";
