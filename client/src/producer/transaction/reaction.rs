//! What an error means for a transaction: try again, abort, or give the producer up.

use moldau_protocol::ErrorCode;

use crate::error::ClientError;

/// What is to be done after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// The same request again.
    Retry,
    /// The transaction has to be aborted; the producer can go on with another.
    Abort,
    /// Another producer has the transactional id now.
    Fenced,
    /// This producer cannot go on.
    Break,
}

/// In which step of a transaction an error came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// InitProducerId.
    Init,
    /// Produce; retries are over when this is asked.
    Produce,
    /// AddPartitionsToTxn.
    AddPartitions,
    /// AddOffsetsToTxn and TxnOffsetCommit.
    SendOffsets,
    /// EndTxn.
    End,
}

/// What `error` means in `step`, as in Kafka's own producer.
pub(crate) fn reaction(step: Step, error: &ClientError) -> Reaction {
    let Some(code) = error.code() else {
        return match error {
            ClientError::Unsupported { .. } => Reaction::Break,
            // The outcome of a batch is final, whatever ended it.
            _ if step == Step::Produce => Reaction::Abort,
            error if error.is_retriable() => Reaction::Retry,
            _ => Reaction::Abort,
        };
    };
    match code {
        ErrorCode::ProducerFenced => Reaction::Fenced,
        // A leader may have forgotten the producer; the coordinator knows better when the transaction is aborted.
        ErrorCode::InvalidProducerEpoch if step == Step::Produce => Reaction::Abort,
        ErrorCode::InvalidProducerEpoch => Reaction::Fenced,
        ErrorCode::TransactionalIdAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::UnsupportedVersion
        | ErrorCode::UnsupportedForMessageFormat
        | ErrorCode::InvalidTransactionTimeout => Reaction::Break,
        ErrorCode::InvalidTxnState if matches!(step, Step::AddPartitions | Step::End) => {
            Reaction::Break
        }
        _ if step == Step::Produce => Reaction::Abort,
        code if code.is_retriable() => Reaction::Retry,
        ErrorCode::UnknownServerError if step == Step::End => Reaction::Break,
        _ if step == Step::Init => Reaction::Break,
        _ => Reaction::Abort,
    }
}

/// The error as the program is told, with the transactional id and what to do.
pub(crate) fn wrapped(id: &str, reaction: Reaction, error: ClientError) -> ClientError {
    let transactional_id = id.to_owned();
    match (reaction, error.code()) {
        (Reaction::Retry, _) => error,
        (Reaction::Fenced, Some(code)) => ClientError::ProducerFenced {
            transactional_id,
            code,
        },
        (Reaction::Abort, _) => ClientError::MustAbort {
            transactional_id,
            cause: Box::new(error),
        },
        (Reaction::Fenced | Reaction::Break, _) => ClientError::ProducerBroken {
            transactional_id,
            cause: Box::new(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(step: Step, code: ErrorCode, expected: Reaction) {
        let error = ClientError::broker(code.code(), None, "test");
        assert_eq!(reaction(step, &error), expected, "{step:?} {code:?}");
    }

    #[test]
    fn errors_are_sorted_as_kafkas_producer_sorts_them() {
        use ErrorCode as Code;
        for step in [
            Step::Init,
            Step::AddPartitions,
            Step::SendOffsets,
            Step::End,
        ] {
            check(step, Code::ProducerFenced, Reaction::Fenced);
            check(step, Code::InvalidProducerEpoch, Reaction::Fenced);
            check(step, Code::ConcurrentTransactions, Reaction::Retry);
            check(step, Code::CoordinatorLoadInProgress, Reaction::Retry);
            check(step, Code::NotCoordinator, Reaction::Retry);
            check(
                step,
                Code::TransactionalIdAuthorizationFailed,
                Reaction::Break,
            );
        }
        check(Step::Produce, Code::InvalidProducerEpoch, Reaction::Abort);
        check(
            Step::Produce,
            Code::OutOfOrderSequenceNumber,
            Reaction::Abort,
        );
        check(Step::Produce, Code::TransactionAbortable, Reaction::Abort);
        check(Step::Produce, Code::NotEnoughReplicas, Reaction::Abort);
        check(
            Step::AddPartitions,
            Code::TopicAuthorizationFailed,
            Reaction::Abort,
        );
        check(
            Step::AddPartitions,
            Code::TransactionAbortable,
            Reaction::Abort,
        );
        check(Step::AddPartitions, Code::InvalidTxnState, Reaction::Break);
        check(Step::SendOffsets, Code::IllegalGeneration, Reaction::Abort);
        check(Step::SendOffsets, Code::UnknownMemberId, Reaction::Abort);
        check(Step::SendOffsets, Code::FencedInstanceId, Reaction::Abort);
        check(
            Step::SendOffsets,
            Code::GroupAuthorizationFailed,
            Reaction::Abort,
        );
        check(Step::End, Code::InvalidProducerIdMapping, Reaction::Abort);
        check(Step::End, Code::InvalidTxnState, Reaction::Break);
        check(Step::End, Code::TransactionAbortable, Reaction::Abort);
    }

    #[test]
    fn a_lost_connection_is_tried_again_but_a_lost_batch_is_not() {
        let error = ClientError::Disconnected {
            address: "a:1".to_owned(),
            reason: "reset".to_owned(),
        };
        assert_eq!(reaction(Step::End, &error), Reaction::Retry);
        assert_eq!(reaction(Step::Produce, &error), Reaction::Abort);
    }

    #[test]
    fn the_error_names_the_transactional_id_and_the_remedy() {
        let cause = ClientError::broker(ErrorCode::InvalidRecord.code(), None, "topic \"a\"");
        let text = wrapped("billing", Reaction::Abort, cause.clone()).to_string();
        assert!(
            text.contains("\"billing\"") && text.contains("`abort`"),
            "{text}"
        );
        let text = wrapped("billing", Reaction::Break, cause).to_string();
        assert!(
            text.contains("\"billing\"") && text.contains("start another"),
            "{text}"
        );
        let fenced = ClientError::broker(ErrorCode::ProducerFenced.code(), None, "x");
        let text = wrapped("billing", Reaction::Fenced, fenced).to_string();
        assert!(
            text.contains("\"billing\"") && text.contains("another producer"),
            "{text}"
        );
    }
}
