//! A refusal that reaches the client: Kafka's error code and a sentence.

use moldau_protocol::error_code::ErrorCode;

/// Why one object of a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The code the client reacts to.
    pub code: ErrorCode,
    /// What a person reads.
    pub message: String,
}

impl Rejection {
    /// A refusal with its reason.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
