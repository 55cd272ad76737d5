//! The inputs of one task, merged by timestamp.
//!
//! Kafka Streams' rules: the input whose first waiting record is oldest comes next; a task does
//! not run while an input is empty that may still get older records (KIP-695).

use std::collections::VecDeque;

use super::record::Record;
use super::task_id::SourceIndex;

/// The waiting records of all inputs of one task.
#[derive(Debug)]
pub(crate) struct PartitionGroup {
    queues: Vec<RecordQueue>,
    max_task_idle_ms: i64,
    /// Since when the group waits for inputs that are empty although all of them was read.
    idle_since_ms: Option<i64>,
    /// Counts what was added and taken, for [`RecordQueue::waits_since`].
    turn: u64,
}

/// Records of one input that may be processed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) queue: usize,
    pub(crate) length: usize,
}

#[derive(Debug)]
struct RecordQueue {
    source: SourceIndex,
    chunks: VecDeque<Chunk>,
    buffered: usize,
    /// Largest timestamp taken, -1 before the first.
    partition_time: i64,
    /// Records known to be in the partition and not yet here; `None` while nothing is known.
    fetch_lag: Option<i64>,
    /// Offset to commit once all that was taken is processed.
    next_offset: Option<i64>,
    /// Since when its first record waits for its turn: since another one was taken, or since the
    /// queue was empty. Of equal timestamps, the one that waits longest comes first.
    waits_since: u64,
}

/// One fetched batch: its records, and the offset behind it (gaps and control records included).
#[derive(Debug)]
struct Chunk {
    records: Vec<Record>,
    head: usize,
    end_offset: i64,
}

impl PartitionGroup {
    pub(crate) fn new(sources: impl Iterator<Item = SourceIndex>, max_task_idle_ms: i64) -> Self {
        Self {
            queues: sources.map(RecordQueue::new).collect(),
            max_task_idle_ms,
            idle_since_ms: None,
            turn: 0,
        }
    }

    /// Adds a fetched batch to the end of a queue.
    pub(crate) fn add(&mut self, queue: usize, records: Vec<Record>, end_offset: i64) {
        self.turn += 1;
        let queue = &mut self.queues[queue];
        if queue.buffered == 0 {
            queue.waits_since = self.turn;
        }
        queue.buffered += records.len();
        queue.chunks.push_back(Chunk {
            records,
            head: 0,
            end_offset,
        });
        queue.skip_empty_chunks();
    }

    /// How many records of a partition are known to exist and were not added yet.
    pub(crate) fn set_fetch_lag(&mut self, queue: usize, lag: Option<i64>) {
        self.queues[queue].fetch_lag = lag;
    }

    /// Restores what the last commit's metadata says.
    pub(crate) fn set_partition_time(&mut self, queue: usize, timestamp: i64) {
        self.queues[queue].partition_time = timestamp;
    }

    /// Sets the offset to commit before anything was taken.
    pub(crate) fn set_next_offset(&mut self, queue: usize, offset: i64) {
        self.queues[queue].next_offset = Some(offset);
    }

    pub(crate) fn partition_time(&self, queue: usize) -> i64 {
        self.queues[queue].partition_time
    }

    /// Offset to commit: the first one not processed, or `None` if nothing was taken yet.
    pub(crate) fn next_offset(&self, queue: usize) -> Option<i64> {
        self.queues[queue].next_offset
    }

    pub(crate) fn buffered(&self, queue: usize) -> usize {
        self.queues[queue].buffered
    }

    /// Whether a record waits in any queue.
    pub(crate) fn has_waiting(&self) -> bool {
        self.queues.iter().any(|queue| queue.buffered > 0)
    }

    /// Timestamp of the first record that waits in a queue.
    pub(crate) fn head_timestamp(&self, queue: usize) -> Option<i64> {
        self.queues[queue].head_timestamp()
    }

    /// Of the queues with the oldest records, this one comes next.
    pub(crate) fn prefer(&mut self, queue: usize) {
        self.queues[queue].waits_since = 0;
    }

    /// Whether a record may be processed now without risk that an older one comes.
    pub(crate) fn is_ready(&mut self, wall_clock_ms: i64) -> bool {
        if !self.has_waiting() {
            return false;
        }
        let mut must_idle = false;
        if self.max_task_idle_ms >= 0 {
            for queue in self.queues.iter().filter(|queue| queue.buffered == 0) {
                match queue.fetch_lag {
                    Some(lag) if lag <= 0 => must_idle = true,
                    Some(_) | None => return false,
                }
            }
        }
        if !must_idle {
            self.idle_since_ms = None;
            return true;
        }
        let since = *self.idle_since_ms.get_or_insert(wall_clock_ms);
        wall_clock_ms.saturating_sub(since) >= self.max_task_idle_ms
    }

    /// The longest run of one input that no other input has an older record for.
    ///
    /// The first record of the run may tie with another input; those take turns. A run ends with
    /// its chunk at the latest, and with the first record that reaches `until_timestamp`.
    pub(crate) fn next_run(&self, max_records: usize, until_timestamp: i64) -> Option<Run> {
        let (index, queue) = self
            .queues
            .iter()
            .enumerate()
            .filter(|(_, queue)| queue.buffered > 0)
            .min_by_key(|(_, queue)| queue.head())?;
        let others = self
            .queues
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index);
        let limit = others.filter_map(|(_, queue)| queue.head_timestamp()).min();
        let waiting = queue.chunks.front()?.waiting();
        let waiting = &waiting[..waiting.len().min(max_records.max(1))];
        let mut length = match limit {
            None => waiting.len(),
            Some(limit) => {
                let rest = waiting[1..].iter();
                1 + rest.take_while(|record| record.timestamp < limit).count()
            }
        };
        if until_timestamp < i64::MAX {
            let mut run = waiting[..length].iter();
            let reaches = run.position(|record| record.timestamp >= until_timestamp);
            length = reaches.map_or(length, |position| position + 1);
        }
        Some(Run {
            queue: index,
            length,
        })
    }

    /// The records of a run that [`next_run`](Self::next_run) has chosen.
    pub(crate) fn records(&self, run: Run) -> (SourceIndex, &[Record]) {
        let queue = &self.queues[run.queue];
        let waiting = queue.chunks.front().map_or(&[][..], Chunk::waiting);
        (queue.source, &waiting[..run.length])
    }

    /// Takes a run away, after it was processed.
    pub(crate) fn consume(&mut self, run: Run) {
        self.turn += 1;
        self.idle_since_ms = None;
        let queue = &mut self.queues[run.queue];
        queue.waits_since = self.turn;
        queue.buffered -= run.length;
        if let Some(chunk) = queue.chunks.front_mut() {
            let taken = &chunk.records[chunk.head..chunk.head + run.length];
            let largest = taken.iter().map(|record| record.timestamp).max();
            queue.partition_time = queue.partition_time.max(largest.unwrap_or(-1));
            chunk.head += run.length;
            queue.next_offset = chunk.waiting().first().map(|record| record.offset);
        }
        queue.skip_empty_chunks();
    }
}

impl RecordQueue {
    fn new(source: SourceIndex) -> Self {
        Self {
            source,
            chunks: VecDeque::new(),
            buffered: 0,
            partition_time: -1,
            fetch_lag: None,
            next_offset: None,
            waits_since: 0,
        }
    }

    fn head_timestamp(&self) -> Option<i64> {
        let chunk = self.chunks.front()?;
        Some(chunk.waiting().first()?.timestamp)
    }

    fn head(&self) -> Option<(i64, u64)> {
        Some((self.head_timestamp()?, self.waits_since))
    }

    fn skip_empty_chunks(&mut self) {
        while self
            .chunks
            .front()
            .is_some_and(|chunk| chunk.waiting().is_empty())
        {
            if let Some(chunk) = self.chunks.pop_front() {
                self.next_offset = Some(chunk.end_offset);
            }
        }
    }
}

impl Chunk {
    fn waiting(&self) -> &[Record] {
        &self.records[self.head..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(timestamps: &[i64]) -> Vec<Record> {
        let record = |(offset, timestamp): (usize, &i64)| Record {
            partition: 0,
            offset: offset as i64,
            timestamp: *timestamp,
            key: None,
            value: None,
            headers: Vec::new(),
        };
        timestamps.iter().enumerate().map(record).collect()
    }

    fn group(inputs: &[&[i64]], max_task_idle_ms: i64) -> PartitionGroup {
        let mut group = PartitionGroup::new((0..inputs.len()).map(SourceIndex), max_task_idle_ms);
        for (queue, timestamps) in inputs.iter().enumerate() {
            group.add(queue, records(timestamps), timestamps.len() as i64);
        }
        group
    }

    /// Runs as `queue:timestamps`, until nothing is left.
    fn runs(mut group: PartitionGroup) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(run) = group.next_run(100, i64::MAX) {
            let (source, records) = group.records(run);
            let timestamps: Vec<_> = records.iter().map(|r| r.timestamp.to_string()).collect();
            seen.push(format!("{}:{}", source.0, timestamps.join(",")));
            group.consume(run);
        }
        seen
    }

    #[test]
    fn one_input_comes_as_whole_batches_in_offset_order() {
        assert_eq!(runs(group(&[&[5, 3, 9]], 0)), ["0:5,3,9"]);
    }

    #[test]
    fn inputs_interleave_by_the_timestamp_of_their_first_waiting_record() {
        let merged = runs(group(&[&[1, 2, 10], &[3, 4]], 0));
        assert_eq!(merged, ["0:1,2", "1:3,4", "0:10"]);
    }

    #[test]
    fn an_out_of_order_record_waits_behind_the_head_of_its_partition() {
        let merged = runs(group(&[&[5, 1], &[2, 6]], 0));
        assert_eq!(merged, ["1:2", "0:5,1", "1:6"]);
    }

    #[test]
    fn equal_timestamps_take_turns() {
        let merged = runs(group(&[&[7, 7], &[7, 7]], 0));
        assert_eq!(merged, ["0:7", "1:7", "0:7", "1:7"]);
    }

    #[test]
    fn of_equal_timestamps_the_one_that_waits_longest_comes_first() {
        let mut group = group(&[&[7], &[7, 7]], 0);
        let take = |group: &mut PartitionGroup| {
            let run = group.next_run(1, i64::MAX).expect("a run");
            group.consume(run);
            run.queue
        };
        assert_eq!([0; 2].map(|_| take(&mut group)), [0, 1]);
        // The first was empty when this came, and the second's next one has waited since before.
        group.add(0, records(&[7]), 2);
        assert_eq!([0; 2].map(|_| take(&mut group)), [1, 0]);
    }

    #[test]
    fn the_offset_to_commit_covers_gaps_at_the_end_of_a_batch() {
        let mut group = PartitionGroup::new([SourceIndex(0)].into_iter(), 0);
        group.add(0, records(&[1, 2]), 9);
        let run = group.next_run(1, i64::MAX).expect("a run");
        group.consume(run);
        assert_eq!(group.next_offset(0), Some(1));
        let run = group.next_run(1, i64::MAX).expect("a run");
        group.consume(run);
        assert_eq!(group.next_offset(0), Some(9));
        assert_eq!(group.partition_time(0), 2);
        group.add(0, Vec::new(), 12);
        assert_eq!(group.next_offset(0), Some(12));
    }

    #[test]
    fn a_run_ends_with_the_first_record_that_reaches_a_time() {
        let mut group = group(&[&[1, 5, 3, 9]], 0);
        let run = group.next_run(100, 5).expect("a run");
        assert_eq!(run.length, 2);
        group.consume(run);
        assert_eq!(group.next_run(100, 10).expect("a run").length, 2);
    }

    #[test]
    fn an_empty_input_is_waited_for_while_its_lag_is_unknown_or_positive() {
        let mut group = group(&[&[1], &[]], 0);
        assert!(!group.is_ready(0));
        group.set_fetch_lag(1, Some(3));
        assert!(!group.is_ready(1_000_000));
        group.set_fetch_lag(1, Some(0));
        assert!(group.is_ready(0));
    }

    #[test]
    fn an_input_read_to_its_end_is_waited_for_as_long_as_the_idle_time() {
        let mut group = group(&[&[1], &[]], 50);
        group.set_fetch_lag(1, Some(0));
        assert!(!group.is_ready(1_000));
        assert!(!group.is_ready(1_049));
        assert!(group.is_ready(1_050));
    }

    #[test]
    fn a_negative_idle_time_waits_for_nothing() {
        assert!(group(&[&[1], &[]], -1).is_ready(0));
        assert!(!group(&[&[], &[]], -1).is_ready(0));
    }
}
