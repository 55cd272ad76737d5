//! The task of a group membership by the new protocol (KIP-848): ConsumerGroupHeartbeat.
//!
//! The coordinator shares partitions out. It tells this member its partitions by and by: first only those that it
//! keeps, and, once it has said that it gave up the others, those that others have given up. Poll takes each
//! assignment over and says so (`Command::Adopted`), which the next heartbeat passes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use moldau_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    RequestTopicPartitions,
};
use moldau_protocol::{ApiKey, ErrorCode, KString, Uuid};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::consumer::config::ConsumerConfig;
use crate::consumer::membership::{Command, Joined, Phase, PollClock, ended};
use crate::consumer::subscription::Subscription;
use crate::coordinator::{CoordinatorKind, coordinator_moved};
use crate::error::ClientError;
use crate::offsets::GroupMetadata;
use crate::topic_partition::TopicPartition;
use crate::transport::{Connection, Purpose};

/// The state of the task.
pub(crate) struct EpochTask {
    client: Client,
    config: Arc<ConsumerConfig>,
    /// The generation is the member's epoch.
    member: GroupMetadata,
    purpose: Purpose,
    phase: Arc<watch::Sender<Phase>>,
    polls: Arc<PollClock>,
    is_member: bool,
    subscription: Option<Subscription>,
    /// Whether the next heartbeat says everything, and not only what has changed.
    says_all: bool,
    subscription_changed: bool,
    /// What poll reads.
    owned: Vec<TopicPartition>,
    owned_changed: bool,
    /// What the coordinator wants this member to read.
    target: BTreeMap<Uuid, Vec<i32>>,
    /// Whether the name of a topic of `target` is not known yet.
    has_nameless: bool,
    interval: Duration,
    backoff: Backoff,
    next_heartbeat: Instant,
}

impl EpochTask {
    pub(crate) fn new(
        client: Client,
        config: Arc<ConsumerConfig>,
        group_id: KString,
        phase: Arc<watch::Sender<Phase>>,
        polls: Arc<PollClock>,
    ) -> Self {
        let mut member = GroupMetadata::outsider(group_id);
        member.group_instance_id = config.group_instance_id.clone().map(KString::from);
        member.member_id = KString::from(random_id().to_string());
        Self {
            interval: Duration::from_millis(config.heartbeat_interval_ms),
            backoff: Backoff::retries(client.config()),
            client,
            config,
            member,
            purpose: Purpose::unique(),
            phase,
            polls,
            is_member: false,
            subscription: None,
            says_all: true,
            subscription_changed: false,
            owned: Vec::new(),
            owned_changed: false,
            target: BTreeMap::new(),
            has_nameless: false,
            next_heartbeat: Instant::now(),
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, closing: Arc<Notify>) {
        let mut done = None;
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Join { subscription, .. }) => self.subscribe(subscription),
                    Some(Command::Adopted(joined)) => self.adopted(&joined),
                    Some(Command::Leave(reply)) => {
                        done = Some(reply);
                        break;
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(self.next_heartbeat), if self.subscription.is_some() => {
                    tokio::select! {
                        () = self.heartbeat() => {}
                        () = closing.notified() => break,
                    }
                }
            }
        }
        self.leave().await;
        self.client.transport().forget(self.purpose);
        ended(commands, done).await;
    }

    fn subscribe(&mut self, subscription: Subscription) {
        self.subscription_changed = self.subscription.as_ref() != Some(&subscription);
        self.subscription = Some(subscription);
        if !self.is_member {
            self.member.generation_id = 0;
            self.says_all = true;
        }
        self.polls.restart();
        self.next_heartbeat = Instant::now();
    }

    /// Poll reads what it was told to; the coordinator is told at once.
    fn adopted(&mut self, joined: &Joined) {
        if self.is_member && joined.member.member_id == self.member.member_id {
            self.owned_changed |= self.owned != joined.partitions;
            self.owned.clone_from(&joined.partitions);
            if self.owned_changed {
                self.next_heartbeat = Instant::now();
            }
        }
    }

    async fn heartbeat(&mut self) {
        if self.is_member && self.polls.since_last_poll_ms() > self.config.max_poll_interval_ms {
            tracing::warn!(
                group = %self.member.group_id,
                max_poll_interval_ms = self.config.max_poll_interval_ms,
                "leaving the group: poll was not called in time; do less between two polls"
            );
            self.leave().await;
            self.lost();
            return;
        }
        let result = match self.version().await {
            Ok((connection, version)) => {
                let request = self.request(version);
                let limit = self.client.request_timeout();
                connection.call(version, request, limit).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(response) => self.answered(response).await,
            Err(error) if error.is_retriable() => {
                tracing::debug!(%error, "heartbeat failed");
                self.forget_coordinator();
                self.again_later();
            }
            Err(error) => self.refused(error),
        }
    }

    /// The coordinator's connection, and a version that can say what is subscribed to.
    async fn version(&self) -> Result<(Connection, i16), ClientError> {
        let connection = self.connection().await?;
        let version = connection.version(ApiKey::ConsumerGroupHeartbeat)?;
        if version < FIRST_WITH_PATTERN
            && matches!(self.subscription, Some(Subscription::Pattern(_)))
        {
            return Err(ClientError::Unsupported {
                address: connection.address().to_owned(),
                api: ApiKey::ConsumerGroupHeartbeat.name(),
                version: Some(FIRST_WITH_PATTERN),
            });
        }
        Ok((connection, version))
    }

    fn request(&mut self, version: i16) -> ConsumerGroupHeartbeatRequest {
        let is_joining = !self.is_member;
        let all = std::mem::take(&mut self.says_all) || is_joining;
        let says_topics = std::mem::take(&mut self.subscription_changed) || all;
        let says_owned = std::mem::take(&mut self.owned_changed) || all;
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: self.member.group_id.clone(),
            member_id: self.member.member_id.clone(),
            member_epoch: self.member.generation_id,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if all {
            request.instance_id = self.member.group_instance_id.clone();
            request.rebalance_timeout_ms =
                i32::try_from(self.config.max_poll_interval_ms).unwrap_or(i32::MAX);
            request.server_assignor = self.config.group_remote_assignor.clone().map(KString::from);
        }
        if says_topics {
            match &self.subscription {
                Some(Subscription::Topics(topics)) => {
                    request.subscribed_topic_names = Some(topics.clone());
                    // An empty pattern takes an earlier one back.
                    request.subscribed_topic_regex =
                        (!is_joining && version >= FIRST_WITH_PATTERN).then_some(KString::EMPTY);
                }
                Some(Subscription::Pattern(pattern)) => {
                    request.subscribed_topic_names = Some(Vec::new());
                    request.subscribed_topic_regex = Some(pattern.text().clone());
                }
                None => {}
            }
        }
        if says_owned {
            request.topic_partitions = Some(self.owned_by_id());
        }
        request
    }

    fn owned_by_id(&self) -> Vec<RequestTopicPartitions> {
        let cluster = self.client.cluster_metadata();
        let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for name in &self.owned {
            if let Some(id) = cluster.topic_id(&name.topic) {
                topics.entry(id).or_default().push(name.partition);
            }
        }
        topics
            .into_iter()
            .map(|(topic_id, partitions)| RequestTopicPartitions {
                topic_id,
                partitions,
                ..RequestTopicPartitions::default()
            })
            .collect()
    }

    async fn answered(&mut self, response: ConsumerGroupHeartbeatResponse) {
        let code = ErrorCode::from_code(response.error_code);
        match code {
            ErrorCode::None => {}
            ErrorCode::UnknownMemberId | ErrorCode::FencedMemberEpoch => {
                tracing::info!(group = %self.member.group_id, code = code.name(), "lost the membership");
                self.lost();
                return;
            }
            ErrorCode::CoordinatorLoadInProgress => return self.again_later(),
            code if coordinator_moved(code) => {
                self.forget_coordinator();
                return self.again_later();
            }
            code => return self.refused(self.refusal(code, response.error_message.as_deref())),
        }
        self.backoff = Backoff::retries(self.client.config());
        if let Some(id) = response.member_id.filter(|id| !id.is_empty()) {
            self.member.member_id = id.detached();
        }
        let has_new_epoch = self.member.generation_id != response.member_epoch;
        self.member.generation_id = response.member_epoch;
        self.is_member = true;
        let interval = u64::try_from(response.heartbeat_interval_ms).unwrap_or(0);
        self.interval = Duration::from_millis(interval.max(1));
        self.next_heartbeat = Instant::now() + self.interval;
        let has_new_target = response.assignment.is_some();
        if let Some(assignment) = response.assignment {
            self.target = target(&assignment);
        }
        let is_waited_for = !matches!(*self.phase.borrow(), Phase::Stable(_));
        if has_new_target || has_new_epoch || is_waited_for || self.has_nameless {
            self.publish().await;
        }
    }

    /// Tells poll what to read. Topics whose names are not known yet follow with a later heartbeat.
    async fn publish(&mut self) {
        let ids: Vec<_> = self.target.keys().copied().collect();
        let names = match self.client.metadata().names(&ids).await {
            Ok(names) => names,
            Err(error) => {
                tracing::debug!(%error, "names of assigned topics are not known yet");
                std::collections::HashMap::new()
            }
        };
        self.has_nameless = names.len() < ids.len();
        if self.has_nameless {
            let wait = Duration::from_millis(self.client.config().retry_backoff_ms);
            self.next_heartbeat = self.next_heartbeat.min(Instant::now() + wait);
        }
        let mut partitions = BTreeSet::new();
        for (id, numbers) in &self.target {
            if let Some(topic) = names.get(id) {
                partitions.extend(numbers.iter().map(|partition| TopicPartition {
                    topic: topic.clone(),
                    partition: *partition,
                }));
            }
        }
        let joined = Joined {
            member: self.member.clone(),
            partitions: partitions.into_iter().collect(),
            rejoins: false,
        };
        self.phase.send_replace(Phase::Stable(Arc::new(joined)));
    }

    /// The group has gone on without this member.
    fn lost(&mut self) {
        self.forget();
        self.phase.send_replace(Phase::Lost);
    }

    fn refused(&mut self, error: ClientError) {
        self.forget();
        self.phase.send_replace(Phase::Failed(error));
    }

    /// Not a member any more; poll says when to join again.
    fn forget(&mut self) {
        self.is_member = false;
        self.subscription = None;
        self.member.generation_id = 0;
        self.owned.clear();
        self.target.clear();
        self.has_nameless = false;
    }

    fn again_later(&mut self) {
        self.says_all = true;
        self.next_heartbeat = Instant::now() + self.backoff.next_wait();
    }

    /// Leaves; a static member only says that it will be back.
    async fn leave(&mut self) {
        if !self.is_member {
            return;
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.member.group_id.clone(),
            member_id: self.member.member_id.clone(),
            instance_id: self.member.group_instance_id.clone(),
            member_epoch: match self.member.group_instance_id {
                Some(_) => LEAVE_STATIC,
                None => LEAVE,
            },
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let leaving = async {
            let connection = self.connection().await?;
            let version = connection.version(ApiKey::ConsumerGroupHeartbeat)?;
            connection.call(version, request, LEAVE_WITHIN).await
        };
        if !matches!(tokio::time::timeout(LEAVE_WITHIN, leaving).await, Ok(Ok(_))) {
            tracing::debug!(group = %self.member.group_id, "could not tell the coordinator about leaving");
        }
        self.is_member = false;
    }

    async fn connection(&self) -> Result<Connection, ClientError> {
        self.client
            .coordinator_connection(CoordinatorKind::Group, &self.member.group_id, self.purpose)
            .await
    }

    fn forget_coordinator(&self) {
        self.client
            .coordinators()
            .forget(CoordinatorKind::Group, &self.member.group_id);
    }

    fn refusal(&self, code: ErrorCode, message: Option<&str>) -> ClientError {
        if code == ErrorCode::FencedInstanceId {
            return ClientError::Fenced {
                object: self.member.to_string(),
                code,
            };
        }
        let hint = match code {
            ErrorCode::UnreleasedInstanceId => Some(
                "another member has this `group_instance_id`; give each its own, or wait until its session ends",
            ),
            ErrorCode::UnsupportedAssignor => {
                Some("the broker has no assignor of the name in `group_remote_assignor`")
            }
            _ => message,
        };
        let object = format!("group \"{}\"", self.member.group_id);
        ClientError::broker(code.code(), hint, object)
    }
}

fn target(assignment: &Assignment) -> BTreeMap<Uuid, Vec<i32>> {
    let topics = assignment.topic_partitions.iter();
    topics
        .map(|topic| (topic.topic_id, topic.partitions.clone()))
        .collect()
}

/// An id that no other member has: 128 random bits.
fn random_id() -> Uuid {
    Uuid(rand::random())
}

/// The first version of ConsumerGroupHeartbeat that has patterns.
const FIRST_WITH_PATTERN: i16 = 1;

/// The epoch by which a member leaves.
const LEAVE: i32 = -1;

/// The epoch by which a static member leaves for a while.
const LEAVE_STATIC: i32 = -2;

/// A coordinator that does not answer within this time finds out by itself that the member is gone.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
