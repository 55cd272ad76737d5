//! The coordinator of the groups that live in one partition of `__consumer_offsets`.
//!
//! Requests and timeouts give [`Action`]s. Whatever must survive a restart leaves as
//! [`Action::Append`]; offsets change, and answers that depend on them leave, only once the shell
//! says that the append is committed. A new leader of the partition builds the same state by
//! replaying its records. Kafka's record formats are used, so either can read the other's topic.
//!
//! A group id names a classic group or a consumer group (KIP-848), never both.
//!
//! Not done: share groups and streams groups (KIP-932, KIP-1071), whose records are skipped.

mod clean_up;
mod consumer_groups;
mod group_requests;
mod maintenance;
mod membership;
mod offset_requests;
mod pending;
mod queries;
mod records;
mod taken_back;
mod timers;
mod txn_offsets;
mod undecided_offsets;

use std::collections::BTreeMap;
use std::sync::Arc;

use moldau_protocol::ResponseKind;
use moldau_protocol::error_code::ErrorCode;
use moldau_protocol::types::KString;

use self::clean_up::Leftover;
use self::pending::Pending;
pub use self::queries::GroupSummary;
pub use self::records::{CoordinatorRecord, ReplayError};
use self::timers::Timers;
pub use self::txn_offsets::{OffsetsMarker, TransactionalProducer};
use self::undecided_offsets::UndecidedOffsets;
use crate::consumer_group::{ConsumerGroup, ConsumerGroupSettings};
use crate::group::Group;
pub use crate::group::{Caller, GroupSettings};
use crate::ids::{AppendId, Token};
use crate::metadata::MetadataImage;
use crate::offsets::OffsetStore;
pub use crate::offsets::{
    CommittedOffset, offset_fetch_error, offset_fetch_groups, offset_fetch_response,
};

/// One partition of `__consumer_offsets` and its groups.
#[derive(Debug)]
pub struct Coordinator {
    settings: CoordinatorSettings,
    /// Classic groups, and those that only store offsets.
    groups: BTreeMap<KString, Group>,
    /// Invariant: no group is in `groups` as well.
    consumer_groups: BTreeMap<KString, ConsumerGroup>,
    /// The topics there are.
    image: Arc<MetadataImage>,
    /// Grows whenever the image's topics change.
    topics_version: u64,
    /// What is committed; changes on their way are in `pending`.
    offsets: OffsetStore,
    /// What is committed in transactions that have not ended.
    transactions: UndecidedOffsets,
    /// Appends that are not committed, in order. As many as requests are let in at once.
    pending: BTreeMap<AppendId, Pending>,
    next_append: u64,
    timers: Timers,
    /// Groups of whose log something is still to be removed.
    unclean: BTreeMap<KString, Leftover>,
}

/// The broker settings that coordinators depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoordinatorSettings {
    /// What groups depend on.
    pub group: GroupSettings,
    /// What consumer groups depend on.
    pub consumer_group: ConsumerGroupSettings,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
}

impl Default for CoordinatorSettings {
    fn default() -> Self {
        Self {
            group: GroupSettings::default(),
            consumer_group: ConsumerGroupSettings::default(),
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}

/// What the shell is to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Answer a request. Every token is answered exactly once.
    Respond {
        /// The request.
        token: Token,
        /// Its answer.
        response: ResponseKind,
    },
    /// Append the records as one batch, after those of earlier appends; then call
    /// [`Coordinator::committed`] or [`Coordinator::append_failed`].
    Append {
        /// Names the append in that call.
        id: AppendId,
        /// In whose name, if the records belong to a transaction.
        producer: Option<TransactionalProducer>,
        /// Never empty.
        records: Vec<CoordinatorRecord>,
    },
    /// Append the marker that ends a transaction, after what was appended earlier; then as above.
    AppendMarker {
        /// Names the append.
        id: AppendId,
        /// What to write.
        marker: OffsetsMarker,
    },
}

impl Coordinator {
    /// A coordinator without groups.
    #[must_use]
    pub fn new(settings: CoordinatorSettings) -> Self {
        Self {
            settings,
            groups: BTreeMap::new(),
            consumer_groups: BTreeMap::new(),
            image: Arc::default(),
            topics_version: 0,
            offsets: OffsetStore::default(),
            transactions: UndecidedOffsets::default(),
            pending: BTreeMap::new(),
            next_append: 0,
            timers: Timers::default(),
            unclean: BTreeMap::new(),
        }
    }

    /// Takes over changed settings. Timers that run keep their time; whatever begins later follows.
    pub fn settings_changed(&mut self, settings: CoordinatorSettings) {
        if self.settings == settings {
            return;
        }
        self.settings = settings;
        for group in self.groups.values_mut() {
            group.settings_changed(settings.group);
        }
    }

    /// The last record was replayed: sessions begin.
    pub fn loaded(&mut self, now_ms: i64) -> Vec<Action> {
        for group in self.groups.values_mut() {
            group.loaded(now_ms);
            self.timers.set(group.group_id(), group.poll_timeout());
        }
        self.load_consumer_groups(now_ms);
        self.timers.next_maintenance_ms =
            Some(now_ms.saturating_add(self.settings.offsets_retention_check_interval_ms));
        Vec::new()
    }

    /// Gives the partition up: everyone who waits is answered with `error`, for example
    /// NOT_COORDINATOR, and later calls of `committed` do nothing.
    pub fn resign(&mut self, error: ErrorCode) -> Vec<Action> {
        let mut actions = Vec::new();
        let mut out = crate::group::Outbox::default();
        for group in self.groups.values_mut() {
            group.fail_waiting(error, &mut out);
        }
        for (_, pending) in std::mem::take(&mut self.pending) {
            pending.give_up(error, &mut out, &mut actions);
        }
        self.groups.clear();
        self.consumer_groups.clear();
        self.offsets = OffsetStore::default();
        self.transactions = UndecidedOffsets::default();
        self.timers = Timers::default();
        self.unclean.clear();
        actions.extend(
            out.responses
                .into_iter()
                .map(|(token, response)| Action::Respond { token, response }),
        );
        actions
    }
}

/// The partition of `__consumer_offsets` that coordinates a group: Java's hash of its id.
#[must_use]
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    let hash = group_id.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    hash.checked_abs().unwrap_or_default() % partitions.max(1)
}

#[cfg(test)]
mod clean_up_tests;
#[cfg(test)]
mod consumer_fixture;
#[cfg(test)]
mod consumer_model_tests;
#[cfg(test)]
mod consumer_tests;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod migration_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod offset_tests;
#[cfg(test)]
mod taken_back_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod txn_offset_tests;
