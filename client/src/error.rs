//! The one error type of this crate.

use moldau_protocol::ErrorCode;

/// What went wrong, one variant per reaction that a caller may want to have.
///
/// Cheap enough to clone: one failed batch gives the same error to every record in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The time allowed for an operation passed; whether it took effect is unknown.
    #[error("{operation} did not finish within {after_ms} ms")]
    Timeout {
        /// What was attempted, with its object: `produce to orders-0`.
        operation: String,
        /// The limit that passed.
        after_ms: u64,
    },
    /// No connection could be made.
    #[error(
        "cannot connect to {address}: {reason}\n  hint: check that a broker listens there and that its advertised address can be reached from here"
    )]
    Connect {
        /// `host:port`, or several of them where all bootstrap servers failed.
        address: String,
        /// What the operating system or the handshake said.
        reason: String,
    },
    /// A connection broke while a request was on its way.
    #[error("connection to {address} was lost: {reason}")]
    Disconnected {
        /// `host:port`.
        address: String,
        /// What was seen on the connection.
        reason: String,
    },
    /// The broker answered with an error code.
    #[error("{object}: {}{}", code.name(), message.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Broker {
        /// Kafka's error code.
        code: ErrorCode,
        /// The broker's own words, if it sent some.
        message: Option<String>,
        /// What the request was about: `topic "orders"`, `group "billing"`.
        object: String,
    },
    /// The topic does not exist.
    #[error(
        "topic \"{topic}\" does not exist\n  hint: create it first, or check the spelling (names are case-sensitive)"
    )]
    UnknownTopic {
        /// The name asked for.
        topic: String,
    },
    /// The topic exists, the partition does not.
    #[error(
        "topic \"{topic}\" has no partition {partition}, it has {partitions}\n  hint: partitions are counted from 0"
    )]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The partition asked for.
        partition: i32,
        /// How many there are.
        partitions: i32,
    },
    /// Someone else has taken over (a newer generation, instance or producer epoch): rejoin, do not retry.
    #[error(
        "{object} is fenced: {}\n  hint: partitions have moved to another member or instance; poll again to rejoin, and lower the work between two polls if this comes back",
        code.name()
    )]
    Fenced {
        /// What is fenced: `member "x" of group "billing"`, `producer 7`.
        object: String,
        /// The code that said so.
        code: ErrorCode,
    },
    /// The open transaction cannot be committed; nothing of it will be seen by readers of committed records.
    #[error(
        "the transaction of \"{transactional_id}\" must be aborted: {cause}\n  hint: call `abort`, then `begin` and send the same records again"
    )]
    MustAbort {
        /// Whose transaction.
        transactional_id: String,
        /// What went wrong in it.
        cause: Box<Self>,
    },
    /// Another producer was started with the same transactional id, or the transaction took too long.
    #[error(
        "transactional id \"{transactional_id}\" is fenced: {}\n  hint: another producer has taken it over, or a transaction took longer than `transaction_timeout_ms`; close this producer, and start one only if no other runs",
        code.name()
    )]
    ProducerFenced {
        /// Whose producer.
        transactional_id: String,
        /// The code that said so.
        code: ErrorCode,
    },
    /// A transactional producer cannot go on.
    #[error(
        "the producer of transactional id \"{transactional_id}\" cannot go on: {cause}\n  hint: close it and start another"
    )]
    ProducerBroken {
        /// Whose producer.
        transactional_id: String,
        /// What went wrong.
        cause: Box<Self>,
    },
    /// A call does not fit the state of the transaction.
    #[error("transactional id \"{transactional_id}\": {reason}")]
    TransactionState {
        /// Whose producer.
        transactional_id: String,
        /// What the state is and which call would fit.
        reason: String,
    },
    /// There is no valid offset to read from and [`OffsetReset::Error`](crate::OffsetReset::Error) was asked for.
    #[error(
        "topic \"{topic}\" partition {partition}: {}\n  hint: seek to an offset, or set `auto_offset_reset` to earliest or latest",
        offset.map_or_else(|| "no committed offset".to_owned(), |offset| format!("offset {offset} is out of range"))
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset asked for, or `None` where nothing was committed.
        offset: Option<i64>,
    },
    /// The log was cut off below what was read already, and [`OffsetReset::Error`](crate::OffsetReset::Error) was
    /// asked for: records that were given out are not in the log any more.
    #[error(
        "topic \"{topic}\" partition {partition}: the log ends at offset {end} now, below the position {position}\n  hint: records that were read are lost in the cluster; seek to {end} to go on"
    )]
    LogTruncated {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The next offset that would have been read.
        position: i64,
        /// Where the log that was read differs from the log as it is.
        end: i64,
    },
    /// A record does not fit.
    #[error(
        "record for topic \"{topic}\" is {size} bytes, the limit is {limit}\n  hint: raise `max_request_size` and the topic's `max.message.bytes`, or send smaller records"
    )]
    RecordTooLarge {
        /// The topic.
        topic: String,
        /// Size of the record with its overhead, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The peer sent bytes that do not follow the protocol, or a batch with a wrong checksum.
    #[error("{object}: {reason}")]
    Protocol {
        /// Where the bytes came from: `fetch response of 127.0.0.1:9092`.
        object: String,
        /// What is wrong with them.
        reason: String,
    },
    /// Client and broker have no version of a request in common.
    #[error(
        "{address} does not support {api}{}\n  hint: the cluster is older than Kafka 3.9 or does not implement this request",
        version.map(|version| format!(" in version {version}")).unwrap_or_default()
    )]
    Unsupported {
        /// `host:port`.
        address: String,
        /// Kafka's name of the request.
        api: &'static str,
        /// The version that is needed, where one is needed.
        version: Option<i16>,
    },
    /// The producer or consumer was closed.
    #[error("{object} is closed")]
    Closed {
        /// `producer`, `consumer`, `client`.
        object: &'static str,
    },
    /// A setting or an argument makes no sense.
    #[error("{setting}: {reason}")]
    Config {
        /// Name of the setting or argument.
        setting: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
}

impl ClientError {
    /// Whether the same call may succeed if it is simply made again.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Connect { .. } | Self::Disconnected { .. } => true,
            Self::Broker { code, .. } => code.is_retriable(),
            Self::UnknownTopic { .. }
            | Self::UnknownPartition { .. }
            | Self::Fenced { .. }
            | Self::MustAbort { .. }
            | Self::ProducerFenced { .. }
            | Self::ProducerBroken { .. }
            | Self::TransactionState { .. }
            | Self::OffsetOutOfRange { .. }
            | Self::LogTruncated { .. }
            | Self::RecordTooLarge { .. }
            | Self::Protocol { .. }
            | Self::Unsupported { .. }
            | Self::Closed { .. }
            | Self::Config { .. } => false,
        }
    }

    /// The broker's error code, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. }
            | Self::Fenced { code, .. }
            | Self::ProducerFenced { code, .. } => Some(*code),
            Self::MustAbort { cause, .. } | Self::ProducerBroken { cause, .. } => cause.code(),
            _ => None,
        }
    }

    pub(crate) fn broker(code: i16, message: Option<&str>, object: impl Into<String>) -> Self {
        let code = ErrorCode::from_code(code);
        Self::Broker {
            code,
            message: message.filter(|text| !text.is_empty()).map(str::to_owned),
            object: object.into(),
        }
    }

    pub(crate) fn check(code: i16, object: impl FnOnce() -> String) -> Result<(), Self> {
        if code == 0 {
            return Ok(());
        }
        Err(Self::broker(code, None, object()))
    }

    pub(crate) fn protocol(object: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Protocol {
            object: object.into(),
            reason: reason.to_string(),
        }
    }
}
