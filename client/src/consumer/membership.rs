//! Membership in a group by the classic protocol, as poll sees it.
//!
//! The membership's task (see `member_task`) joins, syncs and sends heartbeats. It tells its phase;
//! poll acts on it: it gives partitions up, and only then lets the task join again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moldau_protocol::KString;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::client::Client;
use crate::consumer::config::ConsumerConfig;
use crate::consumer::member_task::MemberTask;
use crate::error::ClientError;
use crate::offsets::GroupMetadata;
use crate::topic_partition::TopicPartition;

/// A handle to the membership's task. When it is dropped, the member leaves the group.
#[derive(Debug)]
pub(crate) struct Membership {
    commands: mpsc::Sender<Command>,
    pub(crate) phase: watch::Receiver<Phase>,
    set_phase: Arc<watch::Sender<Phase>>,
    polls: Arc<PollClock>,
    closing: Arc<Notify>,
}

/// What poll asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Join, or join again, for these topics.
    Join(Vec<KString>),
    /// Leave and end.
    Leave(oneshot::Sender<()>),
}

/// How things stand with the group.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Not a member.
    Idle,
    /// A join is under way.
    Joining,
    /// A member with an assignment.
    Stable(Arc<Joined>),
    /// The group rebalances: partitions are to be given up, then the member joins again.
    Rebalancing,
    /// The group went on without this member.
    Lost,
    /// The group refuses this member.
    Failed(ClientError),
}

/// What a completed rebalance gave this member.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) committer: GroupMetadata,
    pub(crate) partitions: Vec<TopicPartition>,
}

impl Membership {
    pub(crate) fn start(client: Client, config: Arc<ConsumerConfig>, group_id: KString) -> Self {
        let (commands, queue) = mpsc::channel(QUEUED_COMMANDS);
        let (set_phase, phase) = watch::channel(Phase::Idle);
        let set_phase = Arc::new(set_phase);
        let polls = Arc::new(PollClock::new());
        let closing = Arc::new(Notify::new());
        let task = MemberTask::new(
            client,
            config,
            group_id,
            Arc::clone(&set_phase),
            Arc::clone(&polls),
        );
        tokio::spawn(task.run(queue, Arc::clone(&closing)));
        Self {
            commands,
            phase,
            set_phase,
            polls,
            closing,
        }
    }

    /// Lets the task join. Its phase is `Joining` from here on.
    pub(crate) fn join(&self, topics: &[KString]) {
        self.set_phase.send_replace(Phase::Joining);
        if self
            .commands
            .try_send(Command::Join(topics.to_vec()))
            .is_err()
        {
            self.set_phase
                .send_replace(Phase::Failed(ClientError::Closed { object: "consumer" }));
        }
    }

    /// Makes a member that has an assignment join again, as after a rebalance.
    pub(crate) fn rejoin(&self) {
        self.set_phase.send_if_modified(|phase| {
            let is_stable = matches!(phase, Phase::Stable(_));
            if is_stable {
                *phase = Phase::Rebalancing;
            }
            is_stable
        });
    }

    /// Notes that poll runs, until the guard is dropped.
    pub(crate) fn polling(&self) -> Polling {
        self.polls.0.store(POLLING, Ordering::Relaxed);
        Polling(Arc::clone(&self.polls))
    }

    /// Leaves the group, waiting for the coordinator a little.
    pub(crate) async fn leave(self) {
        let (done, left) = oneshot::channel();
        self.closing.notify_one();
        if self.commands.send(Command::Leave(done)).await.is_ok() {
            // An error only means that the task has ended already.
            let _ = left.await;
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.closing.notify_one();
    }
}

/// When poll ran last, for `max_poll_interval_ms`.
#[derive(Debug)]
pub(crate) struct PollClock(AtomicU64, Instant);

impl PollClock {
    fn new() -> Self {
        Self(AtomicU64::new(0), Instant::now())
    }

    fn now(&self) -> u64 {
        self.1.elapsed().as_millis() as u64
    }

    /// Milliseconds since the last poll ended; 0 while one runs.
    pub(crate) fn since_last_poll_ms(&self) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            POLLING => 0,
            ended_at => self.now().saturating_sub(ended_at),
        }
    }

    pub(crate) fn restart(&self) {
        let now = self.now();
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ended_at| {
                (ended_at != POLLING).then_some(now)
            });
    }
}

/// A poll that runs.
#[derive(Debug)]
pub(crate) struct Polling(Arc<PollClock>);

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.0.store(self.0.now(), Ordering::Relaxed);
    }
}

/// Stands for "poll runs now".
const POLLING: u64 = u64::MAX;

/// Poll sends one command and waits for its effect, so two are enough.
const QUEUED_COMMANDS: usize = 2;
