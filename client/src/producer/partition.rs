//! Order and sequence numbers of one partition's batches, as the sending task keeps them. No IO.
//!
//! Several batches of a partition may be under way at once, always to one broker. If one fails in a way that may
//! pass, nothing new leaves until all that are under way are answered; then the failed ones go first, in their old
//! order and with their old numbers, so that the broker recognises those that it has after all.
//!
//! Numbers are given up only when the broker refuses the oldest batch for its number: it has lost track, or an
//! earlier batch was abandoned and never stored. Then that batch is not stored, and none after it either, so they may
//! all be numbered anew: the partition waits for a new producer id and counts from 0 again.

use std::collections::VecDeque;
use std::sync::Arc;

use moldau_protocol::ErrorCode;
use tokio::time::Instant;

use crate::error::ClientError;
use crate::producer::accumulator::PartitionQueue;
use crate::producer::batch::{Batch, BatchSequence, ProducerId};

/// A partition as the sending task sees it.
#[derive(Debug)]
pub(crate) struct SendingPartition {
    pub(crate) queue: Arc<PartitionQueue>,
    /// Whether batches belong to transactions. Then numbers are never given up: the transaction is.
    is_transactional: bool,
    /// Batches to be sent again, in their order.
    retries: VecDeque<Batch>,
    /// Places of the batches under way. At most `max_in_flight`.
    in_flight: Vec<u64>,
    /// The broker to which the batches under way were sent.
    in_flight_to: Option<i32>,
    next_order: u64,
    producer: Option<ProducerId>,
    /// Whether the broker has stored a batch with the current producer id.
    ///
    /// A broker that has nothing of a producer takes any sequence number as its first, so until then
    /// a second batch must not overtake one that fails.
    is_known_to_broker: bool,
    next_sequence: i32,
    /// Whether the numbers so far are void and a new producer id is needed.
    needs_new_producer: bool,
    pub(crate) not_before: Option<Instant>,
    pub(crate) last_error: Option<ClientError>,
}

/// What to do with a batch that was answered.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is stored (or was before).
    Stored(Batch),
    /// It will be sent again.
    Retry,
    /// It cannot be stored.
    Failed(Batch, ClientError),
}

impl SendingPartition {
    pub(crate) const fn new(queue: Arc<PartitionQueue>, is_transactional: bool) -> Self {
        Self {
            queue,
            is_transactional,
            retries: VecDeque::new(),
            in_flight: Vec::new(),
            in_flight_to: None,
            next_order: 0,
            producer: None,
            is_known_to_broker: false,
            next_sequence: 0,
            needs_new_producer: false,
            not_before: None,
            last_error: None,
        }
    }

    pub(crate) fn has_retries(&self) -> bool {
        !self.retries.is_empty()
    }

    /// Whether this partition cannot go on with `producer`.
    pub(crate) fn needs_other_than(&self, producer: Option<ProducerId>) -> bool {
        self.needs_new_producer && self.producer == producer
    }

    /// Whether a batch may leave to `broker` now.
    pub(crate) fn may_send(&self, broker: i32, now: Instant) -> bool {
        if self.not_before.is_some_and(|not_before| now < not_before) {
            return false;
        }
        if self.in_flight.is_empty() {
            return true;
        }
        // While failed batches wait and others are under way, it is not known yet which of those failed too.
        let is_first = self.producer.is_some() && !self.is_known_to_broker;
        let waits_for_answers = self.has_retries()
            || self.needs_new_producer
            || is_first
            || self.is_beyond_memory_of_broker();
        !waits_for_answers && self.in_flight_to == Some(broker)
    }

    /// Whether one more batch would be more than a broker remembers beside the oldest one under way. That one may be
    /// on its way for the second time, and those after it stored long ago.
    fn is_beyond_memory_of_broker(&self) -> bool {
        let oldest = self.in_flight.iter().min();
        self.producer.is_some()
            && oldest.is_some_and(|oldest| self.next_order - oldest >= REMEMBERED_BATCHES)
    }

    /// The next batch to send, numbered, or `None` if the queue has none or must wait for a producer id.
    ///
    /// `producer` is the producer id in use, `None` without idempotence.
    pub(crate) fn next_batch(
        &mut self,
        broker: i32,
        producer: Option<ProducerId>,
    ) -> Option<Batch> {
        if self.needs_new_producer || (self.producer != producer && self.in_flight.is_empty()) {
            self.adopt(producer)?;
        }
        let mut batch = match self.retries.pop_front() {
            Some(batch) => batch,
            None => self.first_time()?,
        };
        batch.attempts += 1;
        self.in_flight.push(batch.order);
        self.in_flight_to = Some(broker);
        Some(batch)
    }

    /// Size of the [next batch](Self::next_batch) in bytes, about.
    pub(crate) fn next_size(&self) -> Option<usize> {
        let retried = self.retries.front().map(Batch::size);
        retried.or_else(|| self.queue.next_size())
    }

    /// A batch that never was sent: gets its place and its numbers.
    fn first_time(&mut self) -> Option<Batch> {
        let mut batch = self.queue.take()?;
        batch.order = self.next_order;
        self.next_order += 1;
        self.number(&mut batch);
        Some(batch)
    }

    fn number(&mut self, batch: &mut Batch) {
        batch.sequence = self.producer.map(|producer| BatchSequence {
            producer,
            base_sequence: self.next_sequence,
        });
        self.next_sequence = sequence_after(self.next_sequence, batch.record_count());
    }

    /// Starts to count from 0 with another producer id. Only while nothing is under way.
    fn adopt(&mut self, producer: Option<ProducerId>) -> Option<()> {
        if !self.in_flight.is_empty() || self.needs_other_than(producer) {
            return None;
        }
        // What was sent under the old id and is not answered for good keeps its numbers,
        // unless they are void: the broker can only recognise it by them.
        if !self.needs_new_producer && !self.retries.is_empty() {
            return Some(());
        }
        self.producer = producer;
        self.is_known_to_broker = false;
        self.next_sequence = 0;
        self.needs_new_producer = false;
        let mut retries = std::mem::take(&mut self.retries);
        for batch in &mut retries {
            self.number(batch);
        }
        self.retries = retries;
        Some(())
    }

    /// Takes the answer to a batch that was under way.
    pub(crate) fn answered(
        &mut self,
        batch: Batch,
        result: Result<(), ClientError>,
        not_before: Instant,
    ) -> Verdict {
        self.in_flight.retain(|order| *order != batch.order);
        let Err(error) = result else {
            self.not_before = None;
            self.last_error = None;
            self.is_known_to_broker = true;
            return Verdict::Stored(batch);
        };
        if error.code() == Some(ErrorCode::DuplicateSequenceNumber) {
            self.is_known_to_broker = true;
            return Verdict::Stored(batch);
        }
        if batch.sequence.is_some() && numbers_are_in_doubt(&error) {
            // An earlier batch that failed explains the gap; without one the numbers are void.
            let earlier = self.retries.iter().map(|batch| batch.order);
            let explained = earlier
                .chain(self.in_flight.iter().copied())
                .any(|order| order < batch.order);
            let is_fenced = error.code() == Some(ErrorCode::InvalidProducerEpoch);
            if self.is_transactional && (is_fenced || !explained) {
                return Verdict::Failed(batch, error);
            }
            self.needs_new_producer |= !explained;
            return self.retry(batch, error, not_before);
        }
        if error.is_retriable() {
            return self.retry(batch, error, not_before);
        }
        self.take_numbers_back(&batch);
        Verdict::Failed(batch, error)
    }

    fn retry(&mut self, batch: Batch, error: ClientError, not_before: Instant) -> Verdict {
        tracing::debug!(
            partition = %self.queue.topic_partition,
            attempts = batch.attempts,
            %error,
            "batch failed, sending it again"
        );
        self.not_before = Some(not_before);
        self.last_error = Some(error);
        let place = self
            .retries
            .iter()
            .position(|other| other.order > batch.order)
            .unwrap_or(self.retries.len());
        self.retries.insert(place, batch);
        Verdict::Retry
    }

    /// After a batch that the broker refused and has not counted. If others follow it, the broker
    /// will refuse them for their numbers.
    fn take_numbers_back(&mut self, batch: &Batch) {
        let Some(sequence) = batch.sequence else {
            return;
        };
        let is_last = self.in_flight.is_empty() && self.retries.is_empty();
        if is_last && self.producer == Some(sequence.producer) {
            self.next_sequence = sequence.base_sequence;
        }
    }

    /// Takes batches out that were opened before `oldest`: their time is up.
    pub(crate) fn take_expired(&mut self, oldest: Instant) -> Vec<Batch> {
        let mut expired = Vec::new();
        while self
            .retries
            .front()
            .is_some_and(|batch| batch.created_at() < oldest)
        {
            let Some(batch) = self.retries.pop_front() else {
                break;
            };
            expired.push(batch);
        }
        while let Some(batch) = self.queue.take_older_than(oldest) {
            expired.push(batch);
        }
        expired
    }

    /// Takes all batches that are not under way.
    pub(crate) fn take_all(&mut self) -> Vec<Batch> {
        let mut batches: Vec<_> = std::mem::take(&mut self.retries).into();
        while let Some(batch) = self.queue.take() {
            batches.push(batch);
        }
        batches
    }
}

/// Whether the broker does not know where in the sequence the producer is.
fn numbers_are_in_doubt(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch
        )
    )
}

/// Batches of a producer that a broker remembers per partition, to recognise repeated ones.
pub(crate) const REMEMBERED_BATCHES: u64 = 5;

/// Sequence numbers go from 0 to `i32::MAX` and then on from 0.
const fn sequence_after(sequence: i32, records: u32) -> i32 {
    ((sequence as i64 + records as i64) & 0x7fff_ffff) as i32
}
