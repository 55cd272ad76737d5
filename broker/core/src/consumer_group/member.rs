//! One member of a consumer group: what it says of itself, and what it holds.

use std::collections::BTreeSet;

use bytes::Bytes;
use moldau_protocol::Message;
use moldau_protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use moldau_protocol::types::KString;

use super::partitions::HeldPartitions;

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<KString>,
    pub(crate) rack_id: Option<KString>,
    pub(crate) client_id: KString,
    pub(crate) client_host: KString,
    /// Names of topics, whether they exist or not.
    pub(crate) topics: BTreeSet<KString>,
    /// A regular expression that names of topics match as a whole; never empty.
    pub(crate) regex: Option<KString>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) server_assignor: Option<KString>,
    /// Set while the member speaks the classic protocol to this group.
    pub(crate) classic: Option<ClassicMember>,
}

/// What a member of the classic protocol said when it joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassicMember {
    pub(crate) session_timeout_ms: i32,
    /// The protocols it speaks with its subscription under each, best first; never empty.
    pub(crate) protocols: Vec<ClassicProtocol>,
}

/// A protocol and a subscription in the form of the embedded consumer protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassicProtocol {
    pub(crate) name: KString,
    pub(crate) metadata: Bytes,
}

impl ClassicMember {
    /// The protocol that the member is told it speaks.
    pub(crate) fn protocol_name(&self) -> KString {
        self.protocols
            .first()
            .map(|protocol| protocol.name.clone())
            .unwrap_or_default()
    }

    /// The version of the embedded protocol that it understands.
    pub(crate) fn embedded_version(&self) -> i16 {
        let metadata = self.protocols.first().map(|protocol| &protocol.metadata);
        match metadata.map(|metadata| metadata.as_ref()) {
            Some([high, low, ..]) => i16::from_be_bytes([*high, *low]),
            _ => 0,
        }
    }

    pub(crate) fn subscription(&self) -> Option<ConsumerProtocolSubscription> {
        let metadata = self.protocols.first()?.metadata.clone();
        ConsumerProtocolSubscription::decode_versioned_or_newer(metadata).ok()
    }
}

/// How far a member has come on its way to the target assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It holds what the target of its epoch gives it.
    #[default]
    Stable,
    /// It must give partitions up before it can go on.
    UnrevokedPartitions,
    /// It is in the newest epoch but waits for partitions that others still hold.
    UnreleasedPartitions,
    /// Written by a newer version.
    Unknown,
}

impl MemberState {
    pub(crate) const fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    pub(crate) const fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// What a member holds, as the coordinator has last told it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CurrentAssignment {
    /// 0 before the first assignment; [`LEFT_STATIC_EPOCH`] while a static member is away.
    pub(crate) member_epoch: i32,
    /// The epoch before, whose answer may have been lost.
    pub(crate) previous_member_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) assigned: HeldPartitions,
    /// Held until the member no longer lists them.
    pub(crate) pending_revocation: HeldPartitions,
}

impl CurrentAssignment {
    pub(crate) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.member_epoch == epoch
    }
}

/// The epoch of a member that joins.
pub(crate) const JOIN_EPOCH: i32 = 0;
/// The epoch by which a member says that it leaves for good.
pub(crate) const LEAVE_EPOCH: i32 = -1;
/// The epoch by which a static member says that it will come back.
pub(crate) const LEFT_STATIC_EPOCH: i32 = -2;
