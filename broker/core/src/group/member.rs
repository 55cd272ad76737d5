//! One member of a classic group.

use bytes::Bytes;
use moldau_protocol::messages::join_group::JoinGroupRequestProtocol;
use moldau_protocol::types::KString;

use crate::ids::Token;

/// A member: who it is, what it can do, and what it waits for.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) member_id: KString,
    pub(super) group_instance_id: Option<KString>,
    pub(super) client_id: KString,
    pub(super) client_host: KString,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// The protocols it speaks with its metadata for each, best first.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// When it is taken for dead. Does not count while it waits for an answer.
    pub(super) session_deadline_ms: i64,
    /// Whether its first JoinGroup is not answered yet: it cannot send heartbeats.
    pub(super) is_new: bool,
    /// Its JoinGroup that waits.
    pub(super) join: Option<Token>,
    /// Its SyncGroup that waits.
    pub(super) sync: Option<Token>,
}

/// A protocol and a member's metadata for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: KString,
    pub(super) metadata: Bytes,
}

impl Member {
    pub(super) fn refresh_session(&mut self, now_ms: i64) {
        self.session_deadline_ms = now_ms.saturating_add(i64::from(self.session_timeout_ms));
    }

    /// When the member is removed if nothing happens.
    pub(super) const fn expiry_ms(&self) -> Option<i64> {
        // A member whose request waits cannot send heartbeats, but is known to live. A new member
        // could be gone, and come back under another id again and again, so it must not stay.
        let waits = self.join.is_some() || self.sync.is_some();
        if waits && !self.is_new {
            None
        } else {
            Some(self.session_deadline_ms)
        }
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|own| own.name == protocol)
    }

    /// What it says under a protocol; empty if it does not speak it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let own = self.protocols.iter().find(|own| own.name == protocol);
        own.map(|own| own.metadata.clone()).unwrap_or_default()
    }
}

/// The protocols of a request as state that outlives the request's frame.
pub(super) fn protocols(requested: &[JoinGroupRequestProtocol]) -> Vec<Protocol> {
    let protocol = |protocol: &JoinGroupRequestProtocol| Protocol {
        name: protocol.name.detached(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    requested.iter().map(protocol).collect()
}
