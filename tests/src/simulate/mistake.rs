//! Deliberate mistakes of the shell, which the simulation must notice.

use std::fmt;
use std::str::FromStr;

/// A mistake that a broker's shell could make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// `acks=all` is answered before the sync.
    AnswerBeforeSync,
    /// The leader is told of a sync that never happened.
    SkipSync,
    /// A repeated batch is appended again.
    AppendDuplicates,
    /// A restart forgets the idempotent producers.
    ForgetProducers,
    /// A failed write leaves the leader as if it had succeeded.
    IgnoreFailedWrite,
    /// Consumers may read up to the log end.
    ReadPastHighWatermark,
    /// A coordinator takes its append for committed at once.
    CommitBeforeAppend,
    /// The replay of a coordinator skips the last batch.
    SkipLastBatch,
    /// The outcomes of a coordinator's appends reach it in the wrong order.
    ReorderOutcomes,
    /// The checkpoint says more is on the disk than is.
    CheckpointTooFar,
    /// A clean shutdown is marked without closing the logs.
    MarkWithoutClosing,
    /// Transactional batches are appended without asking whether the partition takes part.
    SkipVerification,
    /// The coordinator is told of markers that were never written.
    SkipMarkers,
    /// The index of aborted transactions stays empty.
    ForgetAborted,
}

impl Mistake {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::AnswerBeforeSync,
        Self::SkipSync,
        Self::AppendDuplicates,
        Self::ForgetProducers,
        Self::IgnoreFailedWrite,
        Self::ReadPastHighWatermark,
        Self::CommitBeforeAppend,
        Self::SkipLastBatch,
        Self::ReorderOutcomes,
        Self::CheckpointTooFar,
        Self::MarkWithoutClosing,
        Self::SkipVerification,
        Self::SkipMarkers,
        Self::ForgetAborted,
    ];
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Mistake {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|mistake| mistake.to_string().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = Self::ALL.map(|mistake| mistake.to_string()).join(", ");
            format!("unknown mistake \"{text}\"; one of {names}")
        })
    }
}
