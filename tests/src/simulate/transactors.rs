//! Simulated transactional producers (KIP-890): they write to several partitions, and commit or
//! abort what they wrote; some die in between.

use std::fmt;

use moldau_protocol::ErrorCode;
use moldau_protocol::KString;
use moldau_protocol::batch::{Compression, RecordBatch, RecordBatchBuilder};
use rand::RngExt;
use rand::rngs::SmallRng;

/// A producer id and its epoch; with transaction version 2, each epoch has one transaction.
pub(super) type Identity = (i64, i16);

/// A producer with a transactional id.
#[derive(Debug)]
pub(super) struct Transactor {
    index: usize,
    state: State,
    /// Counts the requests; an answer to an older one comes too late.
    attempt: u64,
    is_waiting: bool,
    next_record: u64,
}

#[derive(Debug)]
enum State {
    /// It has no epoch, or none any more.
    Beginning,
    Open(Open),
}

/// A transaction, from its first record on or before.
#[derive(Debug)]
struct Open {
    identity: Identity,
    /// By partition.
    sequences: Vec<i32>,
    /// A batch that is sent until it is answered.
    unanswered: Option<(usize, RecordBatch)>,
    written: usize,
    goal: usize,
    /// Whether it is to be committed, once that was decided.
    end: Option<bool>,
}

/// What a transactional producer asks for.
#[derive(Clone, Debug)]
pub(super) enum TransactorRequest {
    Begin,
    Write {
        partition: usize,
        batch: RecordBatch,
    },
    End {
        identity: Identity,
        committed: bool,
    },
}

/// What it is told.
#[derive(Clone, Debug)]
pub(super) enum TransactorAnswer {
    Begun(Result<Identity, ErrorCode>),
    Written(Result<i64, ErrorCode>),
    Ended(Result<Identity, ErrorCode>),
}

/// Who asks, and as which of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FromTransactor {
    pub(super) index: usize,
    pub(super) attempt: u64,
}

impl Transactor {
    pub(super) const fn new(index: usize) -> Self {
        Self {
            index,
            state: State::Beginning,
            attempt: 0,
            is_waiting: false,
            next_record: 0,
        }
    }

    /// What it sends now, if anything. A `calm` one only wants to end what it began.
    pub(super) fn act(
        &mut self,
        calm: bool,
        (partitions, now_ms): (usize, i64),
        random: &mut SmallRng,
    ) -> Option<(FromTransactor, TransactorRequest)> {
        if self.is_waiting && !random.random_bool(if calm { 0.02 } else { 0.1 }) {
            return None;
        }
        if !calm && random.random_range(0..60) == 0 {
            self.begin_anew();
        }
        let request = match &mut self.state {
            State::Beginning => TransactorRequest::Begin,
            State::Open(open) => {
                let is_full = open.written >= open.goal || (calm && open.written > 0);
                if open.unanswered.is_none() && !is_full {
                    if calm {
                        return None;
                    }
                    let partition = random.random_range(0..partitions);
                    let name = format!("tx-{}/{}", self.index, self.next_record);
                    self.next_record += 1;
                    let batch = open.batch(partition, &name, now_ms);
                    open.unanswered = Some((partition, batch));
                }
                match &open.unanswered {
                    Some((partition, batch)) => TransactorRequest::Write {
                        partition: *partition,
                        batch: batch.clone(),
                    },
                    None => TransactorRequest::End {
                        identity: open.identity,
                        committed: *open.end.get_or_insert_with(|| random.random_bool(0.7)),
                    },
                }
            }
        };
        self.attempt += 1;
        self.is_waiting = true;
        let from = FromTransactor {
            index: self.index,
            attempt: self.attempt,
        };
        Some((from, request))
    }

    /// An answer has come. Returns the transaction that begins.
    pub(super) fn answered(
        &mut self,
        attempt: u64,
        answer: &TransactorAnswer,
        partitions: usize,
        random: &mut SmallRng,
    ) -> Option<Identity> {
        if attempt != self.attempt {
            return None;
        }
        self.is_waiting = false;
        match answer {
            TransactorAnswer::Begun(Ok(identity)) | TransactorAnswer::Ended(Ok(identity)) => {
                self.state = State::Open(Open {
                    identity: *identity,
                    sequences: vec![0; partitions],
                    unanswered: None,
                    written: 0,
                    goal: random.random_range(1..5),
                    end: None,
                });
                return Some(*identity);
            }
            TransactorAnswer::Written(Ok(_)) => {
                if let State::Open(open) = &mut self.state
                    && let Some((partition, _)) = open.unanswered.take()
                {
                    open.sequences[partition] += 1;
                    open.written += 1;
                }
            }
            TransactorAnswer::Begun(Err(code))
            | TransactorAnswer::Written(Err(code))
            | TransactorAnswer::Ended(Err(code)) => {
                if is_fatal(*code) {
                    self.begin_anew();
                }
            }
        }
        None
    }

    /// Forgets everything, as a process that starts again.
    pub(super) fn begin_anew(&mut self) {
        self.state = State::Beginning;
        self.is_waiting = false;
        self.attempt += 1;
    }

    /// Whether nothing of it is open, as far as it knows.
    pub(super) const fn is_done(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.written == 0 && open.unanswered.is_none())
    }
}

impl Open {
    fn batch(&self, partition: usize, name: &str, now_ms: i64) -> RecordBatch {
        let (id, epoch) = self.identity;
        let builder = RecordBatchBuilder::new(Compression::None);
        let mut builder = builder
            .producer(id, epoch, self.sequences[partition])
            .transactional(true);
        builder.append(now_ms, Some(name.as_bytes()), Some(b"value"), &[]);
        RecordBatch::parse(builder.build()).expect("a batch just built")
    }
}

/// Whether the producer cannot go on with its epoch; all else is tried again.
const fn is_fatal(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::InvalidProducerEpoch
            | ErrorCode::ProducerFenced
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::InvalidTxnState
            | ErrorCode::OutOfOrderSequenceNumber
    )
}

impl fmt::Display for Transactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transactor {}: {:?}", self.index, self.state)
    }
}

pub(super) fn transactional_id(index: usize) -> KString {
    KString::from(format!("tx-{index}"))
}
