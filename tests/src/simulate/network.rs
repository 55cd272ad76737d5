//! Requests and responses on their way: any of them may be the next to arrive, twice, or never.

use moldau_protocol::batch::RecordBatch;
use moldau_protocol::{ErrorCode, RequestKind, ResponseKind};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::transactors::{FromTransactor, TransactorAnswer, TransactorRequest};

/// A request on its way to the broker.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has few of them at a time")]
pub(super) enum Request {
    Produce(Produce),
    /// Anything for a group coordinator.
    Group {
        from: FromMember,
        body: RequestKind,
    },
    Transactor {
        from: FromTransactor,
        body: TransactorRequest,
    },
}

/// One batch for one partition.
#[derive(Clone, Debug)]
pub(super) struct Produce {
    pub(super) producer: usize,
    pub(super) partition: usize,
    /// Number of the batch's first record among those of the producer in the partition.
    pub(super) number: u64,
    pub(super) batch: RecordBatch,
    pub(super) acks_all: bool,
}

/// Who asks a coordinator, and as which of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FromMember {
    pub(super) group: usize,
    pub(super) member: usize,
    pub(super) attempt: u64,
}

/// A response on its way to a client.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has few of them at a time")]
pub(super) enum Response {
    Produced {
        producer: usize,
        partition: usize,
        number: u64,
        result: Result<i64, ErrorCode>,
    },
    Group {
        to: FromMember,
        body: ResponseKind,
    },
    Transactor {
        to: FromTransactor,
        answer: TransactorAnswer,
    },
}

/// All that is on its way.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) requests: Vec<Request>,
    pub(super) responses: Vec<Response>,
}

impl Network {
    pub(super) fn send(&mut self, request: Request) {
        if self.requests.len() < MAX_UNDERWAY {
            self.requests.push(request);
        }
    }

    pub(super) fn answer(&mut self, response: Response) {
        self.responses.push(response);
    }

    /// Takes a request out; mostly an old one.
    pub(super) fn take_request(&mut self, random: &mut SmallRng) -> Option<Request> {
        let index = pick(self.requests.len(), random)?;
        Some(self.requests.remove(index))
    }

    pub(super) fn take_response(&mut self, random: &mut SmallRng) -> Option<Response> {
        let index = pick(self.responses.len(), random)?;
        Some(self.responses.remove(index))
    }

    /// Lets a request arrive twice.
    pub(super) fn double_request(&mut self, random: &mut SmallRng) {
        if let Some(index) = pick(self.requests.len(), random) {
            let again = self.requests[index].clone();
            self.send(again);
        }
    }
}

/// The first of them in half of the cases, else any.
fn pick(count: usize, random: &mut SmallRng) -> Option<usize> {
    if count == 0 {
        return None;
    }
    Some(if random.random_bool(0.5) {
        0
    } else {
        random.random_range(0..count)
    })
}

/// Requests under way at most; more are lost.
const MAX_UNDERWAY: usize = 200;
