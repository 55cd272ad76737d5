//! What members and the group's leader tell each other beside topics and partitions, as JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What a member tells the leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SubscriptionData {
    /// Process that the member belongs to.
    pub(super) process_id: String,
    /// Whether the whole application is to stop.
    pub(super) stop: bool,
    /// `host:port` where the process answers queries.
    pub(super) host: Option<String>,
    /// Tasks that the member was given last and that have all of their state.
    pub(super) active: Vec<String>,
    /// Tasks that it was given last and that are still being restored.
    pub(super) restoring: Vec<String>,
    /// Generation of the group in which it was given them.
    pub(super) generation: i32,
    /// Standby tasks of the process that are about up to date.
    pub(super) standby: Vec<String>,
    /// Tasks that the process has state of on its disk, and since when each ran there the last
    /// time, in milliseconds since 1970.
    pub(super) on_disk: BTreeMap<String, u64>,
}

/// What the leader tells a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AssignmentData {
    /// Whether the whole application is to stop.
    pub(super) stop: bool,
    /// Tasks that the member is to run.
    pub(super) active: Vec<String>,
    /// Standby tasks that the member is to keep.
    pub(super) standby: Vec<String>,
    /// What runs where, for queries.
    pub(super) hosts: BTreeMap<String, HostTasks>,
}

/// The tasks of a process that answers queries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HostTasks {
    pub(super) active: Vec<String>,
    pub(super) standby: Vec<String>,
}

/// Bytes of such data.
pub(super) fn encode(data: &impl Serialize) -> Option<Bytes> {
    serde_json::to_vec(data).ok().map(Bytes::from)
}

/// Reads such data; what another version has written and cannot be read counts as empty.
pub(super) fn decode<T: Default + for<'a> Deserialize<'a>>(bytes: Option<&Bytes>) -> T {
    let data = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
    data.unwrap_or_default()
}
