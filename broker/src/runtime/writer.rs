//! The writer threads.
//!
//! Each has one bounded queue. It takes everything that waits there, sorts it by partition, and appends what
//! belongs to one partition by one write. While a write runs, the next ones gather: the busier the broker, the
//! larger its writes.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use moldau_protocol::{ErrorCode, Uuid};
use tokio::sync::mpsc;

use super::append::{Append, append_all};
use super::partition::Partition;
use super::{Syncs, TailCache, lock, now_ms};
use crate::alarm::Alarm;

/// The queues of the writer threads.
///
/// The threads end when this is dropped and their queues are empty.
#[derive(Debug)]
pub(crate) struct Writers {
    queues: Vec<mpsc::Sender<Command>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What all writers use.
#[derive(Debug)]
pub(crate) struct WriterShared {
    pub(crate) tail: Arc<TailCache>,
    pub(crate) syncs: Arc<Syncs>,
    pub(crate) alarm: Alarm,
}

#[derive(Debug)]
enum Command {
    Append(Append),
    Stop,
}

/// The place of one append in the queue of its writer.
#[derive(Debug)]
pub(crate) struct Slot<'a>(mpsc::Permit<'a, Command>);

impl Slot<'_> {
    pub(crate) fn fill(self, append: Append) {
        self.0.send(Command::Append(append));
    }
}

impl Writers {
    /// Starts `threads` writers, each with room for `queue` appends.
    ///
    /// # Errors
    ///
    /// When the system gives no more threads.
    pub(crate) fn start(threads: usize, queue: usize, shared: WriterShared) -> io::Result<Self> {
        let shared = Arc::new(shared);
        let mut queues = Vec::new();
        let mut handles = Vec::new();
        for index in 0..threads.max(1) {
            let (sender, receiver) = mpsc::channel(queue.max(1));
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new()
                .name(format!("moldau-write-{index}"))
                .spawn(move || run(receiver, &shared))?;
            queues.push(sender);
            handles.push(thread);
        }
        Ok(Self {
            queues,
            threads: Mutex::new(handles),
        })
    }

    /// Waits until the writer of `partition` takes one more append; in the order of the calls.
    ///
    /// # Errors
    ///
    /// `REQUEST_TIMED_OUT` when the queue stays full for `limit`, `NOT_LEADER_OR_FOLLOWER` when the writers have stopped.
    pub(crate) async fn slot(
        &self,
        partition: &Partition,
        limit: Duration,
    ) -> Result<Slot<'_>, ErrorCode> {
        let queue = self
            .queue(partition)
            .ok_or(ErrorCode::NotLeaderOrFollower)?;
        let permit = tokio::time::timeout(limit, queue.reserve()).await;
        let permit = permit.map_err(|_| ErrorCode::RequestTimedOut)?;
        permit.map(Slot).map_err(|_| ErrorCode::NotLeaderOrFollower)
    }

    /// A place in the queue of the partition's writer if there is one now.
    pub(crate) fn free_slot(&self, partition: &Partition) -> Option<Slot<'_>> {
        self.queue(partition)?.try_reserve().ok().map(Slot)
    }

    fn queue(&self, partition: &Partition) -> Option<&mpsc::Sender<Command>> {
        self.queues.get(place(
            partition.topic_id,
            partition.index,
            self.queues.len(),
        ))
    }

    /// Lets the writers finish what is queued, and waits for them; later appends are not answered.
    pub(crate) fn stop(&self) {
        for queue in &self.queues {
            let _ = queue.blocking_send(Command::Stop);
        }
        for thread in lock(&self.threads).drain(..) {
            let _ = thread.join();
        }
    }
}

/// Spreads partitions over writers; neighbours of one topic get different ones.
fn place(topic: Uuid, partition: i32, writers: usize) -> usize {
    let hash = topic.0.iter().fold(0_usize, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    hash.wrapping_add(usize::try_from(partition).unwrap_or(0)) % writers.max(1)
}

fn run(mut queue: mpsc::Receiver<Command>, shared: &WriterShared) {
    let _guard = shared.alarm.guard();
    let mut commands = Vec::with_capacity(MAX_TAKEN);
    let mut taken = Vec::with_capacity(MAX_TAKEN);
    let mut group = Vec::new();
    let mut stopped = false;
    while !stopped && queue.blocking_recv_many(&mut commands, MAX_TAKEN) > 0 {
        let now_ms = now_ms();
        for command in commands.drain(..) {
            match command {
                Command::Append(append) => taken.push(append),
                Command::Stop => stopped = true,
            }
        }
        // A stable sort: appends to one partition stay in the order in which they came.
        taken.sort_by_key(|append| Arc::as_ptr(&append.partition) as usize);
        for append in taken.drain(..) {
            if group
                .last()
                .is_some_and(|last: &Append| !Arc::ptr_eq(&last.partition, &append.partition))
            {
                append_all(shared, &mut group, now_ms);
            }
            group.push(append);
        }
        append_all(shared, &mut group, now_ms);
    }
}

/// Appends that a writer takes from its queue at once.
const MAX_TAKEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_one_topic_are_spread_over_the_writers() {
        let places: Vec<usize> = (0..4)
            .map(|partition| place(Uuid([7; 16]), partition, 2))
            .collect();
        assert_eq!(places[0], places[2]);
        assert_ne!(places[0], places[1]);
    }
}
