//! Error codes of responses.
//!
//! Long because it is a table: each of Kafka's codes with its number, its name, its message and whether it may be
//! tried again. A new code has a line in each part; the compiler or a test finds the one that lacks it.

use std::fmt;

/// Why a request, or a part of it, failed. Messages carry the plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(i16)]
pub enum ErrorCode {
    /// The broker failed in an unexpected way.
    UnknownServerError = -1,
    /// No error.
    #[default]
    None = 0,
    /// The offset is outside the partition's log.
    OffsetOutOfRange = 1,
    /// A record batch is corrupt or malformed.
    CorruptMessage = 2,
    /// This broker has no such topic or partition.
    UnknownTopicOrPartition = 3,
    /// The fetch size is not allowed.
    InvalidFetchSize = 4,
    /// The partition has no leader at the moment.
    LeaderNotAvailable = 5,
    /// This broker neither leads nor follows the partition.
    NotLeaderOrFollower = 6,
    /// The request did not finish in time.
    RequestTimedOut = 7,
    /// The broker is not available.
    BrokerNotAvailable = 8,
    /// The replica is not available.
    ReplicaNotAvailable = 9,
    /// A record batch is larger than the topic allows.
    MessageTooLarge = 10,
    /// The controller has moved to another node.
    StaleControllerEpoch = 11,
    /// The metadata committed with an offset is too large.
    OffsetMetadataTooLarge = 12,
    /// The connection ended before a response came.
    NetworkException = 13,
    /// The coordinator is still loading its state.
    CoordinatorLoadInProgress = 14,
    /// There is no coordinator at the moment.
    CoordinatorNotAvailable = 15,
    /// This broker is not the coordinator.
    NotCoordinator = 16,
    /// The topic's name is not valid for this operation.
    InvalidTopicException = 17,
    /// The batch is larger than a log segment.
    RecordListTooLarge = 18,
    /// Fewer replicas are in sync than the topic demands.
    NotEnoughReplicas = 19,
    /// The records were appended, but to fewer in-sync replicas than demanded.
    NotEnoughReplicasAfterAppend = 20,
    /// Acks must be 0, 1 or -1.
    InvalidRequiredAcks = 21,
    /// The group has moved to another generation.
    IllegalGeneration = 22,
    /// The member shares no protocol with the group.
    InconsistentGroupProtocol = 23,
    /// The group id is not valid.
    InvalidGroupId = 24,
    /// The group does not know this member.
    UnknownMemberId = 25,
    /// The session timeout is outside the allowed range.
    InvalidSessionTimeout = 26,
    /// The group is rebalancing, so the member must join again.
    RebalanceInProgress = 27,
    /// The offset commit is too large.
    InvalidCommitOffsetSize = 28,
    /// Not allowed on this topic.
    TopicAuthorizationFailed = 29,
    /// Not allowed on this group.
    GroupAuthorizationFailed = 30,
    /// Not allowed on this cluster.
    ClusterAuthorizationFailed = 31,
    /// A record's timestamp is outside the allowed range.
    InvalidTimestamp = 32,
    /// The broker does not offer this SASL mechanism.
    UnsupportedSaslMechanism = 33,
    /// The request does not fit the state of authentication.
    IllegalSaslState = 34,
    /// This version of the request is not supported.
    UnsupportedVersion = 35,
    /// A topic of this name exists already.
    TopicAlreadyExists = 36,
    /// The number of partitions is not valid.
    InvalidPartitions = 37,
    /// The replication factor is below 1 or above the number of brokers.
    InvalidReplicationFactor = 38,
    /// The replica assignment is not valid.
    InvalidReplicaAssignment = 39,
    /// A setting is not valid.
    InvalidConfig = 40,
    /// This node is not the controller.
    NotController = 41,
    /// The request contradicts the protocol.
    InvalidRequest = 42,
    /// The log's record format cannot do this.
    UnsupportedForMessageFormat = 43,
    /// A policy of the cluster forbids this.
    PolicyViolation = 44,
    /// The producer skipped a sequence number.
    OutOfOrderSequenceNumber = 45,
    /// The producer repeated a sequence number.
    DuplicateSequenceNumber = 46,
    /// The producer's epoch is old.
    InvalidProducerEpoch = 47,
    /// The transaction is not in a state for this.
    InvalidTxnState = 48,
    /// The producer id does not belong to the transactional id.
    InvalidProducerIdMapping = 49,
    /// The transaction timeout is longer than the broker allows.
    InvalidTransactionTimeout = 50,
    /// Another operation on this transaction is still running.
    ConcurrentTransactions = 51,
    /// A newer transaction coordinator has taken over.
    TransactionCoordinatorFenced = 52,
    /// Not allowed to use this transactional id.
    TransactionalIdAuthorizationFailed = 53,
    /// Security features are turned off.
    SecurityDisabled = 54,
    /// The operation was not tried because another of the request failed.
    OperationNotAttempted = 55,
    /// The broker's disk failed.
    KafkaStorageError = 56,
    /// The broker has no such log directory.
    LogDirNotFound = 57,
    /// Authentication failed.
    SaslAuthenticationFailed = 58,
    /// The broker has no state of this producer any more.
    UnknownProducerId = 59,
    /// The partition is being reassigned.
    ReassignmentInProgress = 60,
    /// Delegation tokens are turned off.
    DelegationTokenAuthDisabled = 61,
    /// There is no such delegation token.
    DelegationTokenNotFound = 62,
    /// The delegation token belongs to another principal.
    DelegationTokenOwnerMismatch = 63,
    /// Delegation tokens need an authenticated connection.
    DelegationTokenRequestNotAllowed = 64,
    /// Not allowed on this delegation token.
    DelegationTokenAuthorizationFailed = 65,
    /// The delegation token has expired.
    DelegationTokenExpired = 66,
    /// The type of principal is not supported.
    InvalidPrincipalType = 67,
    /// The group still has members.
    NonEmptyGroup = 68,
    /// There is no such group.
    GroupIdNotFound = 69,
    /// The broker does not know the fetch session.
    FetchSessionIdNotFound = 70,
    /// The fetch session has moved to another epoch.
    InvalidFetchSessionEpoch = 71,
    /// The partition's leader has no listener of this name.
    ListenerNotFound = 72,
    /// Deleting topics is turned off.
    TopicDeletionDisabled = 73,
    /// The leader epoch is older than the broker's.
    FencedLeaderEpoch = 74,
    /// The leader epoch is newer than the broker's.
    UnknownLeaderEpoch = 75,
    /// The client cannot read the compression of the records.
    UnsupportedCompressionType = 76,
    /// The broker has registered again since.
    StaleBrokerEpoch = 77,
    /// The leader does not know yet which records are committed.
    OffsetNotAvailable = 78,
    /// The member must join again with the id it was given.
    MemberIdRequired = 79,
    /// The preferred leader is not available.
    PreferredLeaderNotAvailable = 80,
    /// The group is full.
    GroupMaxSizeReached = 81,
    /// Another member uses the same group instance id.
    FencedInstanceId = 82,
    /// No replica may become leader.
    EligibleLeadersNotAvailable = 83,
    /// The partition has the wanted leader already.
    ElectionNotNeeded = 84,
    /// The partition is not being reassigned.
    NoReassignmentInProgress = 85,
    /// The group consumes the topic, so its offsets cannot be deleted.
    GroupSubscribedToTopic = 86,
    /// The broker refused a record.
    InvalidRecord = 87,
    /// An open transaction holds offsets that are not final yet.
    UnstableOffsetCommit = 88,
    /// The quota is used up for now.
    ThrottlingQuotaExceeded = 89,
    /// A newer producer uses the same transactional id.
    ProducerFenced = 90,
    /// There is no such resource.
    ResourceNotFound = 91,
    /// The resource exists already.
    DuplicateResource = 92,
    /// The credential does not meet the requirements.
    UnacceptableCredential = 93,
    /// The sender or receiver is not one of the voters.
    InconsistentVoterSet = 94,
    /// The update's version is not valid.
    InvalidUpdateVersion = 95,
    /// A feature could not be updated.
    FeatureUpdateFailed = 96,
    /// The forwarded principal cannot be read.
    PrincipalDeserializationFailure = 97,
    /// There is no such snapshot.
    SnapshotNotFound = 98,
    /// The position is outside the snapshot.
    PositionOutOfRange = 99,
    /// This broker has no topic of this id.
    UnknownTopicId = 100,
    /// A broker of this id is registered already.
    DuplicateBrokerRegistration = 101,
    /// No broker of this id is registered.
    BrokerIdNotRegistered = 102,
    /// The topic id is not the log's.
    InconsistentTopicId = 103,
    /// The request is for another cluster.
    InconsistentClusterId = 104,
    /// There is no such transactional id.
    TransactionalIdNotFound = 105,
    /// The fetch session mixes requests with and without topic ids.
    FetchSessionTopicIdError = 106,
    /// The replica may not join the in-sync replicas.
    IneligibleReplica = 107,
    /// The change made another broker the leader.
    NewLeaderElected = 108,
    /// The offset lies in remote storage.
    OffsetMovedToTieredStorage = 109,
    /// The member's epoch is old, so it must join again.
    FencedMemberEpoch = 110,
    /// The group instance id is still in use.
    UnreleasedInstanceId = 111,
    /// The group does not offer this assignor.
    UnsupportedAssignor = 112,
    /// The member's epoch is not the newest.
    StaleMemberEpoch = 113,
    /// The request went to the wrong kind of endpoint.
    MismatchedEndpointType = 114,
    /// The kind of endpoint is not supported.
    UnsupportedEndpointType = 115,
    /// There is no controller of this id.
    UnknownControllerId = 116,
    /// The telemetry subscription is not the client's newest.
    UnknownSubscriptionId = 117,
    /// The telemetry is larger than the broker accepts.
    TelemetryTooLarge = 118,
    /// The registration is not valid.
    InvalidRegistration = 119,
    /// The transaction met an error and must be aborted.
    TransactionAbortable = 120,
    /// The record is not in a state for this acknowledgement.
    InvalidRecordState = 121,
    /// The broker does not know the share session.
    ShareSessionNotFound = 122,
    /// The share session has moved to another epoch.
    InvalidShareSessionEpoch = 123,
    /// The share group's state has moved to another epoch.
    FencedStateEpoch = 124,
    /// The voter's key is not that of the receiver.
    InvalidVoterKey = 125,
    /// The voter is one already.
    DuplicateVoter = 126,
    /// There is no such voter.
    VoterNotFound = 127,
    /// The regular expression is not valid.
    InvalidRegularExpression = 128,
    /// The client must start again from its bootstrap servers.
    RebootstrapRequired = 129,
    /// The topology is not valid.
    StreamsInvalidTopology = 130,
    /// The topology's epoch is not valid.
    StreamsInvalidTopologyEpoch = 131,
    /// A newer topology has replaced this one.
    StreamsTopologyFenced = 132,
    /// The broker has no room for another share session.
    ShareSessionLimitReached = 133,
}

impl ErrorCode {
    /// All codes, in ascending order.
    pub const ALL: [Self; 135] = [
        Self::UnknownServerError,
        Self::None,
        Self::OffsetOutOfRange,
        Self::CorruptMessage,
        Self::UnknownTopicOrPartition,
        Self::InvalidFetchSize,
        Self::LeaderNotAvailable,
        Self::NotLeaderOrFollower,
        Self::RequestTimedOut,
        Self::BrokerNotAvailable,
        Self::ReplicaNotAvailable,
        Self::MessageTooLarge,
        Self::StaleControllerEpoch,
        Self::OffsetMetadataTooLarge,
        Self::NetworkException,
        Self::CoordinatorLoadInProgress,
        Self::CoordinatorNotAvailable,
        Self::NotCoordinator,
        Self::InvalidTopicException,
        Self::RecordListTooLarge,
        Self::NotEnoughReplicas,
        Self::NotEnoughReplicasAfterAppend,
        Self::InvalidRequiredAcks,
        Self::IllegalGeneration,
        Self::InconsistentGroupProtocol,
        Self::InvalidGroupId,
        Self::UnknownMemberId,
        Self::InvalidSessionTimeout,
        Self::RebalanceInProgress,
        Self::InvalidCommitOffsetSize,
        Self::TopicAuthorizationFailed,
        Self::GroupAuthorizationFailed,
        Self::ClusterAuthorizationFailed,
        Self::InvalidTimestamp,
        Self::UnsupportedSaslMechanism,
        Self::IllegalSaslState,
        Self::UnsupportedVersion,
        Self::TopicAlreadyExists,
        Self::InvalidPartitions,
        Self::InvalidReplicationFactor,
        Self::InvalidReplicaAssignment,
        Self::InvalidConfig,
        Self::NotController,
        Self::InvalidRequest,
        Self::UnsupportedForMessageFormat,
        Self::PolicyViolation,
        Self::OutOfOrderSequenceNumber,
        Self::DuplicateSequenceNumber,
        Self::InvalidProducerEpoch,
        Self::InvalidTxnState,
        Self::InvalidProducerIdMapping,
        Self::InvalidTransactionTimeout,
        Self::ConcurrentTransactions,
        Self::TransactionCoordinatorFenced,
        Self::TransactionalIdAuthorizationFailed,
        Self::SecurityDisabled,
        Self::OperationNotAttempted,
        Self::KafkaStorageError,
        Self::LogDirNotFound,
        Self::SaslAuthenticationFailed,
        Self::UnknownProducerId,
        Self::ReassignmentInProgress,
        Self::DelegationTokenAuthDisabled,
        Self::DelegationTokenNotFound,
        Self::DelegationTokenOwnerMismatch,
        Self::DelegationTokenRequestNotAllowed,
        Self::DelegationTokenAuthorizationFailed,
        Self::DelegationTokenExpired,
        Self::InvalidPrincipalType,
        Self::NonEmptyGroup,
        Self::GroupIdNotFound,
        Self::FetchSessionIdNotFound,
        Self::InvalidFetchSessionEpoch,
        Self::ListenerNotFound,
        Self::TopicDeletionDisabled,
        Self::FencedLeaderEpoch,
        Self::UnknownLeaderEpoch,
        Self::UnsupportedCompressionType,
        Self::StaleBrokerEpoch,
        Self::OffsetNotAvailable,
        Self::MemberIdRequired,
        Self::PreferredLeaderNotAvailable,
        Self::GroupMaxSizeReached,
        Self::FencedInstanceId,
        Self::EligibleLeadersNotAvailable,
        Self::ElectionNotNeeded,
        Self::NoReassignmentInProgress,
        Self::GroupSubscribedToTopic,
        Self::InvalidRecord,
        Self::UnstableOffsetCommit,
        Self::ThrottlingQuotaExceeded,
        Self::ProducerFenced,
        Self::ResourceNotFound,
        Self::DuplicateResource,
        Self::UnacceptableCredential,
        Self::InconsistentVoterSet,
        Self::InvalidUpdateVersion,
        Self::FeatureUpdateFailed,
        Self::PrincipalDeserializationFailure,
        Self::SnapshotNotFound,
        Self::PositionOutOfRange,
        Self::UnknownTopicId,
        Self::DuplicateBrokerRegistration,
        Self::BrokerIdNotRegistered,
        Self::InconsistentTopicId,
        Self::InconsistentClusterId,
        Self::TransactionalIdNotFound,
        Self::FetchSessionTopicIdError,
        Self::IneligibleReplica,
        Self::NewLeaderElected,
        Self::OffsetMovedToTieredStorage,
        Self::FencedMemberEpoch,
        Self::UnreleasedInstanceId,
        Self::UnsupportedAssignor,
        Self::StaleMemberEpoch,
        Self::MismatchedEndpointType,
        Self::UnsupportedEndpointType,
        Self::UnknownControllerId,
        Self::UnknownSubscriptionId,
        Self::TelemetryTooLarge,
        Self::InvalidRegistration,
        Self::TransactionAbortable,
        Self::InvalidRecordState,
        Self::ShareSessionNotFound,
        Self::InvalidShareSessionEpoch,
        Self::FencedStateEpoch,
        Self::InvalidVoterKey,
        Self::DuplicateVoter,
        Self::VoterNotFound,
        Self::InvalidRegularExpression,
        Self::RebootstrapRequired,
        Self::StreamsInvalidTopology,
        Self::StreamsInvalidTopologyEpoch,
        Self::StreamsTopologyFenced,
        Self::ShareSessionLimitReached,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The error of a number; one that is unknown counts as [`ErrorCode::UnknownServerError`].
    #[must_use]
    pub fn from_code(code: i16) -> Self {
        let index = usize::try_from(i32::from(code) - i32::from(Self::UnknownServerError.code()));
        let known = index.ok().and_then(|index| Self::ALL.get(index)).copied();
        known.unwrap_or(Self::UnknownServerError)
    }

    /// Whether there is no error.
    #[must_use]
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// `Ok` if there is no error, so that `?` can be used on a response's code.
    ///
    /// # Errors
    /// The error, if there is one.
    pub const fn ok(self) -> Result<(), Self> {
        if self.is_none() { Ok(()) } else { Err(self) }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::CorruptMessage
                | Self::UnknownTopicOrPartition
                | Self::LeaderNotAvailable
                | Self::NotLeaderOrFollower
                | Self::RequestTimedOut
                | Self::ReplicaNotAvailable
                | Self::NetworkException
                | Self::CoordinatorLoadInProgress
                | Self::CoordinatorNotAvailable
                | Self::NotCoordinator
                | Self::NotEnoughReplicas
                | Self::NotEnoughReplicasAfterAppend
                | Self::NotController
                | Self::ConcurrentTransactions
                | Self::KafkaStorageError
                | Self::FetchSessionIdNotFound
                | Self::InvalidFetchSessionEpoch
                | Self::ListenerNotFound
                | Self::FencedLeaderEpoch
                | Self::UnknownLeaderEpoch
                | Self::OffsetNotAvailable
                | Self::PreferredLeaderNotAvailable
                | Self::EligibleLeadersNotAvailable
                | Self::ElectionNotNeeded
                | Self::UnstableOffsetCommit
                | Self::ThrottlingQuotaExceeded
                | Self::UnknownTopicId
                | Self::InconsistentTopicId
                | Self::FetchSessionTopicIdError
                | Self::ShareSessionNotFound
                | Self::InvalidShareSessionEpoch
                | Self::ShareSessionLimitReached
        )
    }

    /// Kafka's name, in capitals.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one line for each code")]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownServerError => "UNKNOWN_SERVER_ERROR",
            Self::None => "NONE",
            Self::OffsetOutOfRange => "OFFSET_OUT_OF_RANGE",
            Self::CorruptMessage => "CORRUPT_MESSAGE",
            Self::UnknownTopicOrPartition => "UNKNOWN_TOPIC_OR_PARTITION",
            Self::InvalidFetchSize => "INVALID_FETCH_SIZE",
            Self::LeaderNotAvailable => "LEADER_NOT_AVAILABLE",
            Self::NotLeaderOrFollower => "NOT_LEADER_OR_FOLLOWER",
            Self::RequestTimedOut => "REQUEST_TIMED_OUT",
            Self::BrokerNotAvailable => "BROKER_NOT_AVAILABLE",
            Self::ReplicaNotAvailable => "REPLICA_NOT_AVAILABLE",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::StaleControllerEpoch => "STALE_CONTROLLER_EPOCH",
            Self::OffsetMetadataTooLarge => "OFFSET_METADATA_TOO_LARGE",
            Self::NetworkException => "NETWORK_EXCEPTION",
            Self::CoordinatorLoadInProgress => "COORDINATOR_LOAD_IN_PROGRESS",
            Self::CoordinatorNotAvailable => "COORDINATOR_NOT_AVAILABLE",
            Self::NotCoordinator => "NOT_COORDINATOR",
            Self::InvalidTopicException => "INVALID_TOPIC_EXCEPTION",
            Self::RecordListTooLarge => "RECORD_LIST_TOO_LARGE",
            Self::NotEnoughReplicas => "NOT_ENOUGH_REPLICAS",
            Self::NotEnoughReplicasAfterAppend => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
            Self::InvalidRequiredAcks => "INVALID_REQUIRED_ACKS",
            Self::IllegalGeneration => "ILLEGAL_GENERATION",
            Self::InconsistentGroupProtocol => "INCONSISTENT_GROUP_PROTOCOL",
            Self::InvalidGroupId => "INVALID_GROUP_ID",
            Self::UnknownMemberId => "UNKNOWN_MEMBER_ID",
            Self::InvalidSessionTimeout => "INVALID_SESSION_TIMEOUT",
            Self::RebalanceInProgress => "REBALANCE_IN_PROGRESS",
            Self::InvalidCommitOffsetSize => "INVALID_COMMIT_OFFSET_SIZE",
            Self::TopicAuthorizationFailed => "TOPIC_AUTHORIZATION_FAILED",
            Self::GroupAuthorizationFailed => "GROUP_AUTHORIZATION_FAILED",
            Self::ClusterAuthorizationFailed => "CLUSTER_AUTHORIZATION_FAILED",
            Self::InvalidTimestamp => "INVALID_TIMESTAMP",
            Self::UnsupportedSaslMechanism => "UNSUPPORTED_SASL_MECHANISM",
            Self::IllegalSaslState => "ILLEGAL_SASL_STATE",
            Self::UnsupportedVersion => "UNSUPPORTED_VERSION",
            Self::TopicAlreadyExists => "TOPIC_ALREADY_EXISTS",
            Self::InvalidPartitions => "INVALID_PARTITIONS",
            Self::InvalidReplicationFactor => "INVALID_REPLICATION_FACTOR",
            Self::InvalidReplicaAssignment => "INVALID_REPLICA_ASSIGNMENT",
            Self::InvalidConfig => "INVALID_CONFIG",
            Self::NotController => "NOT_CONTROLLER",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::UnsupportedForMessageFormat => "UNSUPPORTED_FOR_MESSAGE_FORMAT",
            Self::PolicyViolation => "POLICY_VIOLATION",
            Self::OutOfOrderSequenceNumber => "OUT_OF_ORDER_SEQUENCE_NUMBER",
            Self::DuplicateSequenceNumber => "DUPLICATE_SEQUENCE_NUMBER",
            Self::InvalidProducerEpoch => "INVALID_PRODUCER_EPOCH",
            Self::InvalidTxnState => "INVALID_TXN_STATE",
            Self::InvalidProducerIdMapping => "INVALID_PRODUCER_ID_MAPPING",
            Self::InvalidTransactionTimeout => "INVALID_TRANSACTION_TIMEOUT",
            Self::ConcurrentTransactions => "CONCURRENT_TRANSACTIONS",
            Self::TransactionCoordinatorFenced => "TRANSACTION_COORDINATOR_FENCED",
            Self::TransactionalIdAuthorizationFailed => "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            Self::SecurityDisabled => "SECURITY_DISABLED",
            Self::OperationNotAttempted => "OPERATION_NOT_ATTEMPTED",
            Self::KafkaStorageError => "KAFKA_STORAGE_ERROR",
            Self::LogDirNotFound => "LOG_DIR_NOT_FOUND",
            Self::SaslAuthenticationFailed => "SASL_AUTHENTICATION_FAILED",
            Self::UnknownProducerId => "UNKNOWN_PRODUCER_ID",
            Self::ReassignmentInProgress => "REASSIGNMENT_IN_PROGRESS",
            Self::DelegationTokenAuthDisabled => "DELEGATION_TOKEN_AUTH_DISABLED",
            Self::DelegationTokenNotFound => "DELEGATION_TOKEN_NOT_FOUND",
            Self::DelegationTokenOwnerMismatch => "DELEGATION_TOKEN_OWNER_MISMATCH",
            Self::DelegationTokenRequestNotAllowed => "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
            Self::DelegationTokenAuthorizationFailed => "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
            Self::DelegationTokenExpired => "DELEGATION_TOKEN_EXPIRED",
            Self::InvalidPrincipalType => "INVALID_PRINCIPAL_TYPE",
            Self::NonEmptyGroup => "NON_EMPTY_GROUP",
            Self::GroupIdNotFound => "GROUP_ID_NOT_FOUND",
            Self::FetchSessionIdNotFound => "FETCH_SESSION_ID_NOT_FOUND",
            Self::InvalidFetchSessionEpoch => "INVALID_FETCH_SESSION_EPOCH",
            Self::ListenerNotFound => "LISTENER_NOT_FOUND",
            Self::TopicDeletionDisabled => "TOPIC_DELETION_DISABLED",
            Self::FencedLeaderEpoch => "FENCED_LEADER_EPOCH",
            Self::UnknownLeaderEpoch => "UNKNOWN_LEADER_EPOCH",
            Self::UnsupportedCompressionType => "UNSUPPORTED_COMPRESSION_TYPE",
            Self::StaleBrokerEpoch => "STALE_BROKER_EPOCH",
            Self::OffsetNotAvailable => "OFFSET_NOT_AVAILABLE",
            Self::MemberIdRequired => "MEMBER_ID_REQUIRED",
            Self::PreferredLeaderNotAvailable => "PREFERRED_LEADER_NOT_AVAILABLE",
            Self::GroupMaxSizeReached => "GROUP_MAX_SIZE_REACHED",
            Self::FencedInstanceId => "FENCED_INSTANCE_ID",
            Self::EligibleLeadersNotAvailable => "ELIGIBLE_LEADERS_NOT_AVAILABLE",
            Self::ElectionNotNeeded => "ELECTION_NOT_NEEDED",
            Self::NoReassignmentInProgress => "NO_REASSIGNMENT_IN_PROGRESS",
            Self::GroupSubscribedToTopic => "GROUP_SUBSCRIBED_TO_TOPIC",
            Self::InvalidRecord => "INVALID_RECORD",
            Self::UnstableOffsetCommit => "UNSTABLE_OFFSET_COMMIT",
            Self::ThrottlingQuotaExceeded => "THROTTLING_QUOTA_EXCEEDED",
            Self::ProducerFenced => "PRODUCER_FENCED",
            Self::ResourceNotFound => "RESOURCE_NOT_FOUND",
            Self::DuplicateResource => "DUPLICATE_RESOURCE",
            Self::UnacceptableCredential => "UNACCEPTABLE_CREDENTIAL",
            Self::InconsistentVoterSet => "INCONSISTENT_VOTER_SET",
            Self::InvalidUpdateVersion => "INVALID_UPDATE_VERSION",
            Self::FeatureUpdateFailed => "FEATURE_UPDATE_FAILED",
            Self::PrincipalDeserializationFailure => "PRINCIPAL_DESERIALIZATION_FAILURE",
            Self::SnapshotNotFound => "SNAPSHOT_NOT_FOUND",
            Self::PositionOutOfRange => "POSITION_OUT_OF_RANGE",
            Self::UnknownTopicId => "UNKNOWN_TOPIC_ID",
            Self::DuplicateBrokerRegistration => "DUPLICATE_BROKER_REGISTRATION",
            Self::BrokerIdNotRegistered => "BROKER_ID_NOT_REGISTERED",
            Self::InconsistentTopicId => "INCONSISTENT_TOPIC_ID",
            Self::InconsistentClusterId => "INCONSISTENT_CLUSTER_ID",
            Self::TransactionalIdNotFound => "TRANSACTIONAL_ID_NOT_FOUND",
            Self::FetchSessionTopicIdError => "FETCH_SESSION_TOPIC_ID_ERROR",
            Self::IneligibleReplica => "INELIGIBLE_REPLICA",
            Self::NewLeaderElected => "NEW_LEADER_ELECTED",
            Self::OffsetMovedToTieredStorage => "OFFSET_MOVED_TO_TIERED_STORAGE",
            Self::FencedMemberEpoch => "FENCED_MEMBER_EPOCH",
            Self::UnreleasedInstanceId => "UNRELEASED_INSTANCE_ID",
            Self::UnsupportedAssignor => "UNSUPPORTED_ASSIGNOR",
            Self::StaleMemberEpoch => "STALE_MEMBER_EPOCH",
            Self::MismatchedEndpointType => "MISMATCHED_ENDPOINT_TYPE",
            Self::UnsupportedEndpointType => "UNSUPPORTED_ENDPOINT_TYPE",
            Self::UnknownControllerId => "UNKNOWN_CONTROLLER_ID",
            Self::UnknownSubscriptionId => "UNKNOWN_SUBSCRIPTION_ID",
            Self::TelemetryTooLarge => "TELEMETRY_TOO_LARGE",
            Self::InvalidRegistration => "INVALID_REGISTRATION",
            Self::TransactionAbortable => "TRANSACTION_ABORTABLE",
            Self::InvalidRecordState => "INVALID_RECORD_STATE",
            Self::ShareSessionNotFound => "SHARE_SESSION_NOT_FOUND",
            Self::InvalidShareSessionEpoch => "INVALID_SHARE_SESSION_EPOCH",
            Self::FencedStateEpoch => "FENCED_STATE_EPOCH",
            Self::InvalidVoterKey => "INVALID_VOTER_KEY",
            Self::DuplicateVoter => "DUPLICATE_VOTER",
            Self::VoterNotFound => "VOTER_NOT_FOUND",
            Self::InvalidRegularExpression => "INVALID_REGULAR_EXPRESSION",
            Self::RebootstrapRequired => "REBOOTSTRAP_REQUIRED",
            Self::StreamsInvalidTopology => "STREAMS_INVALID_TOPOLOGY",
            Self::StreamsInvalidTopologyEpoch => "STREAMS_INVALID_TOPOLOGY_EPOCH",
            Self::StreamsTopologyFenced => "STREAMS_TOPOLOGY_FENCED",
            Self::ShareSessionLimitReached => "SHARE_SESSION_LIMIT_REACHED",
        }
    }

    /// What went wrong, in a few words.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one line for each code")]
    pub const fn message(self) -> &'static str {
        match self {
            Self::UnknownServerError => "the broker failed in an unexpected way",
            Self::None => "no error",
            Self::OffsetOutOfRange => "the offset is outside the partition's log",
            Self::CorruptMessage => "a record batch is corrupt or malformed",
            Self::UnknownTopicOrPartition => "this broker has no such topic or partition",
            Self::InvalidFetchSize => "the fetch size is not allowed",
            Self::LeaderNotAvailable => "the partition has no leader at the moment",
            Self::NotLeaderOrFollower => "this broker neither leads nor follows the partition",
            Self::RequestTimedOut => "the request did not finish in time",
            Self::BrokerNotAvailable => "the broker is not available",
            Self::ReplicaNotAvailable => "the replica is not available",
            Self::MessageTooLarge => "a record batch is larger than the topic allows",
            Self::StaleControllerEpoch => "the controller has moved to another node",
            Self::OffsetMetadataTooLarge => "the metadata committed with an offset is too large",
            Self::NetworkException => "the connection ended before a response came",
            Self::CoordinatorLoadInProgress => "the coordinator is still loading its state",
            Self::CoordinatorNotAvailable => "there is no coordinator at the moment",
            Self::NotCoordinator => "this broker is not the coordinator",
            Self::InvalidTopicException => "the topic's name is not valid for this operation",
            Self::RecordListTooLarge => "the batch is larger than a log segment",
            Self::NotEnoughReplicas => "fewer replicas are in sync than the topic demands",
            Self::NotEnoughReplicasAfterAppend => {
                "the records were appended, but to fewer in-sync replicas than demanded"
            }
            Self::InvalidRequiredAcks => "acks must be 0, 1 or -1",
            Self::IllegalGeneration => "the group has moved to another generation",
            Self::InconsistentGroupProtocol => "the member shares no protocol with the group",
            Self::InvalidGroupId => "the group id is not valid",
            Self::UnknownMemberId => "the group does not know this member",
            Self::InvalidSessionTimeout => "the session timeout is outside the allowed range",
            Self::RebalanceInProgress => "the group is rebalancing, so the member must join again",
            Self::InvalidCommitOffsetSize => "the offset commit is too large",
            Self::TopicAuthorizationFailed => "not allowed on this topic",
            Self::GroupAuthorizationFailed => "not allowed on this group",
            Self::ClusterAuthorizationFailed => "not allowed on this cluster",
            Self::InvalidTimestamp => "a record's timestamp is outside the allowed range",
            Self::UnsupportedSaslMechanism => "the broker does not offer this SASL mechanism",
            Self::IllegalSaslState => "the request does not fit the state of authentication",
            Self::UnsupportedVersion => "this version of the request is not supported",
            Self::TopicAlreadyExists => "a topic of this name exists already",
            Self::InvalidPartitions => "the number of partitions is not valid",
            Self::InvalidReplicationFactor => {
                "the replication factor is below 1 or above the number of brokers"
            }
            Self::InvalidReplicaAssignment => "the replica assignment is not valid",
            Self::InvalidConfig => "a setting is not valid",
            Self::NotController => "this node is not the controller",
            Self::InvalidRequest => "the request contradicts the protocol",
            Self::UnsupportedForMessageFormat => "the log's record format cannot do this",
            Self::PolicyViolation => "a policy of the cluster forbids this",
            Self::OutOfOrderSequenceNumber => "the producer skipped a sequence number",
            Self::DuplicateSequenceNumber => "the producer repeated a sequence number",
            Self::InvalidProducerEpoch => "the producer's epoch is old",
            Self::InvalidTxnState => "the transaction is not in a state for this",
            Self::InvalidProducerIdMapping => {
                "the producer id does not belong to the transactional id"
            }
            Self::InvalidTransactionTimeout => {
                "the transaction timeout is longer than the broker allows"
            }
            Self::ConcurrentTransactions => {
                "another operation on this transaction is still running"
            }
            Self::TransactionCoordinatorFenced => "a newer transaction coordinator has taken over",
            Self::TransactionalIdAuthorizationFailed => "not allowed to use this transactional id",
            Self::SecurityDisabled => "security features are turned off",
            Self::OperationNotAttempted => {
                "the operation was not tried because another of the request failed"
            }
            Self::KafkaStorageError => "the broker's disk failed",
            Self::LogDirNotFound => "the broker has no such log directory",
            Self::SaslAuthenticationFailed => "authentication failed",
            Self::UnknownProducerId => "the broker has no state of this producer any more",
            Self::ReassignmentInProgress => "the partition is being reassigned",
            Self::DelegationTokenAuthDisabled => "delegation tokens are turned off",
            Self::DelegationTokenNotFound => "there is no such delegation token",
            Self::DelegationTokenOwnerMismatch => {
                "the delegation token belongs to another principal"
            }
            Self::DelegationTokenRequestNotAllowed => {
                "delegation tokens need an authenticated connection"
            }
            Self::DelegationTokenAuthorizationFailed => "not allowed on this delegation token",
            Self::DelegationTokenExpired => "the delegation token has expired",
            Self::InvalidPrincipalType => "the type of principal is not supported",
            Self::NonEmptyGroup => "the group still has members",
            Self::GroupIdNotFound => "there is no such group",
            Self::FetchSessionIdNotFound => "the broker does not know the fetch session",
            Self::InvalidFetchSessionEpoch => "the fetch session has moved to another epoch",
            Self::ListenerNotFound => "the partition's leader has no listener of this name",
            Self::TopicDeletionDisabled => "deleting topics is turned off",
            Self::FencedLeaderEpoch => "the leader epoch is older than the broker's",
            Self::UnknownLeaderEpoch => "the leader epoch is newer than the broker's",
            Self::UnsupportedCompressionType => {
                "the client cannot read the compression of the records"
            }
            Self::StaleBrokerEpoch => "the broker has registered again since",
            Self::OffsetNotAvailable => "the leader does not know yet which records are committed",
            Self::MemberIdRequired => "the member must join again with the id it was given",
            Self::PreferredLeaderNotAvailable => "the preferred leader is not available",
            Self::GroupMaxSizeReached => "the group is full",
            Self::FencedInstanceId => "another member uses the same group instance id",
            Self::EligibleLeadersNotAvailable => "no replica may become leader",
            Self::ElectionNotNeeded => "the partition has the wanted leader already",
            Self::NoReassignmentInProgress => "the partition is not being reassigned",
            Self::GroupSubscribedToTopic => {
                "the group consumes the topic, so its offsets cannot be deleted"
            }
            Self::InvalidRecord => "the broker refused a record",
            Self::UnstableOffsetCommit => {
                "an open transaction holds offsets that are not final yet"
            }
            Self::ThrottlingQuotaExceeded => "the quota is used up for now",
            Self::ProducerFenced => "a newer producer uses the same transactional id",
            Self::ResourceNotFound => "there is no such resource",
            Self::DuplicateResource => "the resource exists already",
            Self::UnacceptableCredential => "the credential does not meet the requirements",
            Self::InconsistentVoterSet => "the sender or receiver is not one of the voters",
            Self::InvalidUpdateVersion => "the update's version is not valid",
            Self::FeatureUpdateFailed => "a feature could not be updated",
            Self::PrincipalDeserializationFailure => "the forwarded principal cannot be read",
            Self::SnapshotNotFound => "there is no such snapshot",
            Self::PositionOutOfRange => "the position is outside the snapshot",
            Self::UnknownTopicId => "this broker has no topic of this id",
            Self::DuplicateBrokerRegistration => "a broker of this id is registered already",
            Self::BrokerIdNotRegistered => "no broker of this id is registered",
            Self::InconsistentTopicId => "the topic id is not the log's",
            Self::InconsistentClusterId => "the request is for another cluster",
            Self::TransactionalIdNotFound => "there is no such transactional id",
            Self::FetchSessionTopicIdError => {
                "the fetch session mixes requests with and without topic ids"
            }
            Self::IneligibleReplica => "the replica may not join the in-sync replicas",
            Self::NewLeaderElected => "the change made another broker the leader",
            Self::OffsetMovedToTieredStorage => "the offset lies in remote storage",
            Self::FencedMemberEpoch => "the member's epoch is old, so it must join again",
            Self::UnreleasedInstanceId => "the group instance id is still in use",
            Self::UnsupportedAssignor => "the group does not offer this assignor",
            Self::StaleMemberEpoch => "the member's epoch is not the newest",
            Self::MismatchedEndpointType => "the request went to the wrong kind of endpoint",
            Self::UnsupportedEndpointType => "the kind of endpoint is not supported",
            Self::UnknownControllerId => "there is no controller of this id",
            Self::UnknownSubscriptionId => "the telemetry subscription is not the client's newest",
            Self::TelemetryTooLarge => "the telemetry is larger than the broker accepts",
            Self::InvalidRegistration => "the registration is not valid",
            Self::TransactionAbortable => "the transaction met an error and must be aborted",
            Self::InvalidRecordState => "the record is not in a state for this acknowledgement",
            Self::ShareSessionNotFound => "the broker does not know the share session",
            Self::InvalidShareSessionEpoch => "the share session has moved to another epoch",
            Self::FencedStateEpoch => "the share group's state has moved to another epoch",
            Self::InvalidVoterKey => "the voter's key is not that of the receiver",
            Self::DuplicateVoter => "the voter is one already",
            Self::VoterNotFound => "there is no such voter",
            Self::InvalidRegularExpression => "the regular expression is not valid",
            Self::RebootstrapRequired => "the client must start again from its bootstrap servers",
            Self::StreamsInvalidTopology => "the topology is not valid",
            Self::StreamsInvalidTopologyEpoch => "the topology's epoch is not valid",
            Self::StreamsTopologyFenced => "a newer topology has replaced this one",
            Self::ShareSessionLimitReached => "the broker has no room for another share session",
        }
    }
}

impl From<i16> for ErrorCode {
    fn from(code: i16) -> Self {
        Self::from_code(code)
    }
}

impl From<ErrorCode> for i16 {
    fn from(code: ErrorCode) -> Self {
        code.code()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({})", self.message(), self.name())
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_number() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_code(code.code()), code);
        }
        for unknown in [i16::MIN, -2, 1_000, i16::MAX] {
            assert_eq!(ErrorCode::from_code(unknown), ErrorCode::UnknownServerError);
        }
    }
}
