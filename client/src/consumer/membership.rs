//! Membership in a group, as poll sees it.
//!
//! The membership's task (`member_task` for the classic protocol, `epoch_task` for the new one) talks to the
//! coordinator. It tells its phase; poll acts on it: it gives partitions up, and only then lets the task go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use moldau_protocol::{ApiKey, KString};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::consumer::config::{AssignmentStrategy, ConsumerConfig, GroupProtocol};
use crate::consumer::epoch_task::EpochTask;
use crate::consumer::member_task::MemberTask;
use crate::consumer::subscription::Subscription;
use crate::coordinator::CoordinatorKind;
use crate::error::ClientError;
use crate::offsets::GroupMetadata;
use crate::topic_partition::TopicPartition;
use crate::transport::Purpose;

/// A handle to the membership's task. When it is dropped, the member leaves the group.
#[derive(Debug)]
pub(crate) struct Membership {
    commands: mpsc::Sender<Command>,
    pub(crate) phase: watch::Receiver<Phase>,
    set_phase: Arc<watch::Sender<Phase>>,
    polls: Arc<PollClock>,
    closing: Arc<Notify>,
    keeps_partitions: Arc<AtomicBool>,
}

/// What poll asks of the task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Join, or join again.
    Join {
        subscription: Subscription,
        /// What is read now, and goes on being read while the group rebalances.
        owned: Vec<TopicPartition>,
    },
    /// Poll reads what it was told to.
    Adopted(Arc<Joined>),
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
    pub(crate) member: GroupMetadata,
    pub(crate) partitions: Vec<TopicPartition>,
    /// Whether a member that gave partitions up has to join again, so that others can have them: by the classic
    /// protocol.
    pub(crate) rejoins: bool,
}

impl Membership {
    pub(crate) fn start(client: Client, config: Arc<ConsumerConfig>, group_id: KString) -> Self {
        let (commands, queue) = mpsc::channel(QUEUED_COMMANDS);
        let (set_phase, phase) = watch::channel(Phase::Idle);
        let set_phase = Arc::new(set_phase);
        let polls = Arc::new(PollClock::new());
        let closing = Arc::new(Notify::new());
        let keeps_partitions = Arc::new(AtomicBool::new(false));
        let task = run(
            Task {
                client,
                config,
                group_id,
                phase: Arc::clone(&set_phase),
                polls: Arc::clone(&polls),
                keeps_partitions: Arc::clone(&keeps_partitions),
            },
            queue,
            Arc::clone(&closing),
        );
        tokio::spawn(task);
        Self {
            commands,
            phase,
            set_phase,
            polls,
            closing,
            keeps_partitions,
        }
    }

    /// Whether partitions are read on while the group rebalances, until they are to go to somebody else.
    pub(crate) fn keeps_partitions(&self) -> bool {
        self.keeps_partitions.load(Ordering::Acquire)
    }

    /// Tells the task that poll reads what it was told to.
    pub(crate) fn adopted(&self, joined: Arc<Joined>) {
        // A queue that is full has a join in it, after which everything is told anew.
        let _ = self.commands.try_send(Command::Adopted(joined));
    }

    /// Lets the task join. Its phase is `Joining` from here on.
    pub(crate) fn join(&self, subscription: &Subscription, owned: Vec<TopicPartition>) {
        self.set_phase.send_replace(Phase::Joining);
        let command = Command::Join {
            subscription: subscription.clone(),
            owned,
        };
        if self.commands.try_send(command).is_err() {
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

/// What a membership's task is made of.
struct Task {
    client: Client,
    config: Arc<ConsumerConfig>,
    group_id: KString,
    phase: Arc<watch::Sender<Phase>>,
    polls: Arc<PollClock>,
    keeps_partitions: Arc<AtomicBool>,
}

/// Finds out the protocol, and runs the task of it.
async fn run(task: Task, commands: mpsc::Receiver<Command>, closing: Arc<Notify>) {
    let protocol = tokio::select! {
        protocol = protocol(&task) => protocol,
        () = closing.notified() => return ended(commands, None).await,
    };
    let Task {
        client,
        config,
        group_id,
        phase,
        polls,
        keeps_partitions,
    } = task;
    if protocol == GroupProtocol::Consumer {
        keeps_partitions.store(true, Ordering::Release);
        let task = EpochTask::new(client, config, group_id, phase, polls);
        return Box::pin(task.run(commands, closing)).await;
    }
    keeps_partitions.store(
        config.assignor.assignor().is_cooperative(),
        Ordering::Release,
    );
    let task = MemberTask::new(client, config, group_id, phase, polls);
    Box::pin(task.run(commands, closing)).await;
}

/// Which protocol the group is joined by. Waits for a coordinator if that depends on the broker.
async fn protocol(task: &Task) -> GroupProtocol {
    if task.config.group_protocol != GroupProtocol::Automatic {
        return task.config.group_protocol;
    }
    if matches!(task.config.assignor, AssignmentStrategy::Custom(_)) {
        return GroupProtocol::Classic;
    }
    let mut backoff = Backoff::retries(task.client.config());
    loop {
        let connection = task
            .client
            .coordinator_connection(CoordinatorKind::Group, &task.group_id, Purpose::SHARED)
            .await;
        match connection {
            Ok(connection) => {
                let has_it = connection.feature("group.version") >= 1
                    && connection.version(ApiKey::ConsumerGroupHeartbeat).is_ok();
                return if has_it {
                    GroupProtocol::Consumer
                } else {
                    GroupProtocol::Classic
                };
            }
            // The classic task says what is wrong.
            Err(error) if !error.is_retriable() => return GroupProtocol::Classic,
            Err(error) => tracing::debug!(group = %task.group_id, %error, "no coordinator yet"),
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// After the end of a task: answers the one who waits for it.
pub(crate) async fn ended(
    mut commands: mpsc::Receiver<Command>,
    mut done: Option<oneshot::Sender<()>>,
) {
    while done.is_none() {
        match commands.recv().await {
            Some(Command::Leave(reply)) => done = Some(reply),
            Some(Command::Join { .. } | Command::Adopted(_)) => {}
            None => return,
        }
    }
    if let Some(reply) = done {
        // Whoever closed the consumer may have stopped waiting.
        let _ = reply.send(());
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

/// Poll sends one command and waits for its effect, or one after another as fast as the coordinator answers; what does
/// not fit is told anew by a later one.
const QUEUED_COMMANDS: usize = 16;
