//! Punctuations: calls that a program asks for at intervals of stream time or of the wall clock.
//!
//! The rules are Kafka Streams': a punctuation fires at most once per check, with the time as it is
//! then; intervals that were missed collapse, and the schedule goes on in step with its beginning.

use std::collections::{BTreeMap, BTreeSet};

/// The clock that a punctuation follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PunctuationType {
    /// The largest timestamp taken from the inputs; stands still while nothing comes. The first
    /// call comes with the first record, the next when stream time reaches a multiple of the
    /// interval.
    StreamTime,
    /// The clock of the machine; of the test driver, its virtual clock. The first call comes one
    /// interval after the punctuation was scheduled.
    WallClockTime,
}

/// One punctuation of one task, to tell several apart and to cancel it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PunctuationId(pub(crate) u64);

/// The punctuations of one task.
#[derive(Debug, Default)]
pub(crate) struct PunctuationQueue {
    /// By due time, then in the order they were scheduled.
    due: BTreeSet<(PunctuationType, i64, PunctuationId)>,
    intervals: BTreeMap<PunctuationId, Schedule>,
    next_id: u64,
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    clock: PunctuationType,
    interval_ms: i64,
    next_ms: i64,
}

impl PunctuationQueue {
    /// Adds a punctuation that is due at `first_ms` and then every `interval_ms`, which is positive.
    pub(crate) fn schedule(
        &mut self,
        clock: PunctuationType,
        first_ms: i64,
        interval_ms: i64,
    ) -> PunctuationId {
        let id = PunctuationId(self.next_id);
        self.next_id += 1;
        let schedule = Schedule {
            clock,
            interval_ms: interval_ms.max(1),
            next_ms: first_ms,
        };
        self.intervals.insert(id, schedule);
        self.due.insert((clock, first_ms, id));
        id
    }

    /// Ends a punctuation; one that is unknown or ended already changes nothing.
    pub(crate) fn cancel(&mut self, id: PunctuationId) {
        if let Some(schedule) = self.intervals.remove(&id) {
            self.due.remove(&(schedule.clock, schedule.next_ms, id));
        }
    }

    /// When the next punctuation of a clock is due.
    pub(crate) fn next_due(&self, clock: PunctuationType) -> Option<i64> {
        let first = (clock, i64::MIN, PunctuationId(0));
        let mut rest = self.due.range(first..);
        rest.next()
            .filter(|(of, _, _)| *of == clock)
            .map(|(_, due, _)| *due)
    }

    /// Takes the next punctuation that is due at `now_ms`, and schedules it anew after that.
    pub(crate) fn take(&mut self, clock: PunctuationType, now_ms: i64) -> Option<PunctuationId> {
        let due_ms = self.next_due(clock).filter(|due| *due <= now_ms)?;
        let (_, _, id) = *self.due.range((clock, due_ms, PunctuationId(0))..).next()?;
        self.due.remove(&(clock, due_ms, id));
        if let Some(schedule) = self.intervals.get_mut(&id) {
            schedule.next_ms = next_after(due_ms, schedule.interval_ms, now_ms);
            self.due.insert((clock, schedule.next_ms, id));
        }
        Some(id)
    }
}

/// The first step of a schedule after `now_ms`, which is not before `due_ms`.
fn next_after(due_ms: i64, interval_ms: i64, now_ms: i64) -> i64 {
    let missed = now_ms.saturating_sub(due_ms) / interval_ms;
    let steps = missed.saturating_add(1).saturating_mul(interval_ms);
    due_ms.saturating_add(steps)
}

#[cfg(test)]
mod tests {
    use super::PunctuationType::{StreamTime, WallClockTime};
    use super::*;

    #[test]
    fn missed_intervals_collapse_into_one_call_and_the_schedule_keeps_its_step() {
        let mut queue = PunctuationQueue::default();
        let id = queue.schedule(StreamTime, 0, 100);
        assert_eq!(queue.take(StreamTime, 30), Some(id));
        assert_eq!(queue.take(StreamTime, 99), None);
        assert_eq!(queue.take(StreamTime, 350), Some(id));
        assert_eq!(queue.take(StreamTime, 350), None);
        assert_eq!(queue.next_due(StreamTime), Some(400));
        assert_eq!(queue.take(StreamTime, 400), Some(id));
        assert_eq!(queue.next_due(StreamTime), Some(500));
    }

    #[test]
    fn clocks_are_apart_and_equal_times_fire_in_the_order_of_their_schedules() {
        let mut queue = PunctuationQueue::default();
        let wall = queue.schedule(WallClockTime, 10, 10);
        let first = queue.schedule(StreamTime, 0, 5);
        let second = queue.schedule(StreamTime, 0, 7);
        assert_eq!(queue.take(StreamTime, 3), Some(first));
        assert_eq!(queue.take(StreamTime, 3), Some(second));
        assert_eq!(queue.take(StreamTime, 3), None);
        assert_eq!(queue.take(WallClockTime, 9), None);
        assert_eq!(queue.take(WallClockTime, 10), Some(wall));
    }

    #[test]
    fn a_cancelled_punctuation_is_gone_at_once() {
        let mut queue = PunctuationQueue::default();
        let id = queue.schedule(StreamTime, 0, 5);
        assert_eq!(queue.take(StreamTime, 0), Some(id));
        queue.cancel(id);
        queue.cancel(id);
        assert_eq!(queue.take(StreamTime, i64::MAX), None);
        assert_eq!(queue.next_due(StreamTime), None);
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        let mut queue = PunctuationQueue::default();
        let id = queue.schedule(StreamTime, 0, i64::MAX);
        assert_eq!(queue.take(StreamTime, i64::MAX - 1), Some(id));
        assert_eq!(queue.take(StreamTime, i64::MAX - 1), None);
    }
}
