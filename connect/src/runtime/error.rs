//! Why a connector stopped.

use moldau_client::ClientError;

use crate::formats::FormatError;
use crate::transforms::TransformError;

/// Why a connector cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The cluster does not do what was asked.
    #[error(transparent)]
    Cluster(#[from] ClientError),
    /// A file or folder on this machine.
    #[error("{action} {object}: {source}")]
    File {
        action: &'static str,
        object: String,
        source: std::io::Error,
    },
    /// An object store.
    #[error("{action}: {reason}")]
    Store {
        action: String,
        reason: String,
        /// Waiting will not help; somebody has to change a setting.
        permanent: bool,
    },
    /// A record that cannot be handled, with `tolerance: none`.
    #[error(
        "{place}: {problem}\n  hint: `errors: {{ tolerance: all, dead_letter: TOPIC }}` sets such records aside"
    )]
    Record {
        place: String,
        problem: RecordProblem,
    },
    /// Somebody else works on the same; both begin anew.
    #[error("{0}")]
    Lost(String),
    /// The connector is being closed in the middle of its work; not an error at all.
    #[error("the connector is being closed")]
    Closing,
    /// Something is not as it must be.
    #[error("{0}")]
    State(String),
}

/// Why a single record cannot be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordProblem {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Transform(#[from] TransformError),
    #[error("{0}")]
    TooLarge(String),
}

impl RecordProblem {
    /// Where in the pipeline it arose, in the words of Kafka Connect's dead-letter headers.
    pub(crate) fn stage(&self) -> &'static str {
        match self {
            Self::Format(_) => "VALUE_CONVERTER",
            Self::Transform(_) => "TRANSFORMATION",
            Self::TooLarge(_) => "KAFKA_PRODUCE",
        }
    }
}

impl ConnectError {
    /// Whether waiting may help without anybody's doing.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Cluster(error) => error.is_retriable(),
            Self::Store { permanent, .. } => !permanent,
            Self::Lost(_) | Self::Closing => true,
            Self::File { .. } | Self::Record { .. } | Self::State(_) => false,
        }
    }
}
