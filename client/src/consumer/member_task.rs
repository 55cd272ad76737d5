//! The task of a group membership: JoinGroup, SyncGroup, Heartbeat, LeaveGroup (classic protocol, KIP-62, KIP-394).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use moldau_protocol::messages::heartbeat::HeartbeatRequest;
use moldau_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use moldau_protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use moldau_protocol::messages::sync_group::SyncGroupRequest;
use moldau_protocol::{ApiKey, ErrorCode, KString, Request};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::backoff::Retry;
use crate::client::Client;
use crate::consumer::assignor::{Assignor, GroupSubscriptions, MemberAssignment};
use crate::consumer::config::ConsumerConfig;
use crate::consumer::group_protocol as protocol;
use crate::consumer::membership::{Command, Joined, Phase, PollClock, ended};
use crate::consumer::subscription::Subscription;
use crate::coordinator::{CoordinatorKind, coordinator_moved};
use crate::error::ClientError;
use crate::offsets::GroupMetadata;
use crate::topic_partition::TopicPartition;
use crate::transport::Purpose;

/// The state of the task.
pub(crate) struct MemberTask {
    client: Client,
    config: Arc<ConsumerConfig>,
    assignor: Arc<dyn Assignor>,
    committer: GroupMetadata,
    purpose: Purpose,
    phase: Arc<watch::Sender<Phase>>,
    polls: Arc<PollClock>,
    /// Whether the coordinator counts this member, so that it must send heartbeats.
    is_member: bool,
    next_heartbeat: Instant,
    /// If this member leads the group: what the assignment was made from.
    led: Option<Led>,
    subscription: Subscription,
    /// The topics subscribed to; of a pattern those that there were at the last look.
    topics: Vec<KString>,
    look_at: Instant,
    /// What is read while the group rebalances, by a cooperative assignor.
    owned: Vec<TopicPartition>,
}

/// What the group's leader looks after: a change of these numbers needs another assignment.
#[derive(Debug)]
struct Led {
    partition_counts: BTreeMap<KString, i32>,
    topics: BTreeSet<KString>,
    refresh_at: Instant,
}

/// What to do after a join or sync that did not succeed.
enum Again {
    /// At once: the coordinator gave or took a member id.
    Now,
    /// After a wait.
    Later(ClientError),
}

impl MemberTask {
    pub(crate) fn new(
        client: Client,
        config: Arc<ConsumerConfig>,
        group_id: KString,
        phase: Arc<watch::Sender<Phase>>,
        polls: Arc<PollClock>,
    ) -> Self {
        let mut committer = GroupMetadata::outsider(group_id);
        committer.group_instance_id = config.group_instance_id.clone().map(KString::from);
        Self {
            assignor: config.assignor.assignor(),
            client,
            config,
            committer,
            purpose: Purpose::unique(),
            phase,
            polls,
            is_member: false,
            next_heartbeat: Instant::now(),
            led: None,
            subscription: Subscription::Topics(Vec::new()),
            topics: Vec::new(),
            look_at: Instant::now(),
            owned: Vec::new(),
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, closing: Arc<Notify>) {
        let mut done = None;
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Join { subscription, owned }) => {
                        self.subscription = subscription;
                        self.owned = owned;
                        tokio::select! {
                            () = self.join() => {}
                            () = closing.notified() => break,
                        }
                    }
                    // The coordinator of this protocol need not know.
                    Some(Command::Adopted(_)) => {}
                    Some(Command::Leave(reply)) => {
                        done = Some(reply);
                        break;
                    }
                    None => break,
                },
                () = tokio::time::sleep_until(self.next_heartbeat), if self.is_member => self.heartbeat().await,
            }
        }
        self.leave("the consumer is closing").await;
        self.client.transport().forget(self.purpose);
        ended(commands, done).await;
    }

    async fn join(&mut self) {
        self.led = None;
        let phase = match self.join_group().await {
            Ok(joined) => {
                self.is_member = true;
                self.next_heartbeat = self.heartbeat_at();
                self.polls.restart();
                Phase::Stable(Arc::new(joined))
            }
            Err(error) => Phase::Failed(error),
        };
        self.phase.send_replace(phase);
    }

    /// Joins and syncs until that succeeds, is refused, or `default_api_timeout_ms` has passed since the last
    /// answer that made sense.
    async fn join_group(&mut self) -> Result<Joined, ClientError> {
        let mut retry = Retry::api(self.client.config());
        loop {
            match self.subscription.topics(&self.client).await {
                Ok(topics) => self.topics = topics,
                Err(error) => {
                    retry.after(error).await?;
                    continue;
                }
            }
            let again = match self.join_once().await? {
                Ok(response) => {
                    retry = Retry::api(self.client.config());
                    match self.sync_once(&response).await? {
                        Ok(joined) => return Ok(joined),
                        Err(again) => again,
                    }
                }
                Err(again) => again,
            };
            match again {
                Again::Now => {}
                Again::Later(error) => retry.wait(error).await?,
            }
        }
    }

    async fn join_once(&mut self) -> Result<Result<JoinGroupResponse, Again>, ClientError> {
        let owned = (self.owned.as_slice(), self.committer.generation_id);
        let metadata = protocol::subscription(
            &self.topics,
            self.assignor.subscription_user_data(),
            self.assignor.is_cooperative().then_some(owned),
        )?;
        let rebalance_timeout = i32::try_from(self.config.max_poll_interval_ms).unwrap_or(i32::MAX);
        let request = JoinGroupRequest {
            group_id: self.committer.group_id.clone(),
            session_timeout_ms: self.config.session_timeout_ms,
            rebalance_timeout_ms: rebalance_timeout,
            member_id: self.committer.member_id.clone(),
            group_instance_id: self.committer.group_instance_id.clone(),
            protocol_type: protocol::PROTOCOL_TYPE,
            protocols: vec![JoinGroupRequestProtocol {
                name: KString::copy_from(self.assignor.name()),
                metadata,
                ..JoinGroupRequestProtocol::default()
            }],
            ..JoinGroupRequest::default()
        };
        // The coordinator holds the answer back until all members have joined.
        let limit = Duration::from_millis(self.config.max_poll_interval_ms) + JOIN_MARGIN;
        let response = match self.call(request, limit).await {
            Ok(response) => response,
            Err(error) => return self.again(error).map(Err),
        };
        let code = ErrorCode::from_code(response.error_code);
        if code == ErrorCode::MemberIdRequired {
            self.committer.member_id = response.member_id.detached();
            return Ok(Err(Again::Now));
        }
        if let Err(error) = self.check(code) {
            return self.again(error).map(Err);
        }
        self.committer.member_id = response.member_id.detached();
        self.committer.generation_id = response.generation_id;
        Ok(Ok(response))
    }

    async fn sync_once(
        &mut self,
        joined: &JoinGroupResponse,
    ) -> Result<Result<Joined, Again>, ClientError> {
        let assignments = if joined.leader == joined.member_id {
            protocol::assignments(&self.assign(joined).await?)?
        } else {
            Vec::new()
        };
        let request = SyncGroupRequest {
            group_id: self.committer.group_id.clone(),
            generation_id: self.committer.generation_id,
            member_id: self.committer.member_id.clone(),
            group_instance_id: self.committer.group_instance_id.clone(),
            protocol_type: Some(protocol::PROTOCOL_TYPE),
            protocol_name: Some(KString::copy_from(self.assignor.name())),
            assignments,
            ..SyncGroupRequest::default()
        };
        let limit = Duration::from_millis(self.config.max_poll_interval_ms) + JOIN_MARGIN;
        let response = match self.call(request, limit).await {
            Ok(response) => response,
            Err(error) => return self.again(error).map(Err),
        };
        let code = ErrorCode::from_code(response.error_code);
        if code == ErrorCode::RebalanceInProgress {
            return Ok(Err(Again::Now));
        }
        if let Err(error) = self.check(code) {
            return self.again(error).map(Err);
        }
        let assignment = protocol::read_assignment(response.assignment)?;
        tracing::info!(
            group = %self.committer.group_id,
            generation = self.committer.generation_id,
            partitions = assignment.partitions.len(),
            "joined the group"
        );
        self.assignor
            .on_assignment(&assignment, self.committer.generation_id);
        Ok(Ok(Joined {
            member: self.committer.clone(),
            partitions: assignment.partitions,
            rejoins: true,
        }))
    }

    /// As the group's leader: shares the partitions out.
    async fn assign(
        &mut self,
        joined: &JoinGroupResponse,
    ) -> Result<BTreeMap<KString, MemberAssignment>, ClientError> {
        let members = joined
            .members
            .iter()
            .map(protocol::read_subscription)
            .collect::<Result<Vec<_>, _>>()?;
        let topics: BTreeSet<KString> = members
            .iter()
            .flat_map(|member| member.topics.iter().cloned())
            .collect();
        let partition_counts = self.partition_counts(&topics).await?;
        let group = GroupSubscriptions {
            members,
            partition_counts,
        };
        let assigned = self.assignor.assign(&group)?;
        self.led = Some(Led {
            partition_counts: group.partition_counts,
            topics,
            refresh_at: Instant::now() + MISSING_TOPIC_AFTER,
        });
        Ok(assigned)
    }

    /// Asks how many partitions the topics have. A topic that is just being created is waited for a little.
    async fn partition_counts(
        &self,
        topics: &BTreeSet<KString>,
    ) -> Result<BTreeMap<KString, i32>, ClientError> {
        let names: Vec<_> = topics.iter().cloned().collect();
        let metadata = self.client.metadata();
        metadata.want(&names);
        let mut retry = Retry::api(self.client.config());
        let mut waits_for_topics = Retry::new(self.client.config(), CREATED_WITHIN);
        loop {
            let create = self.config.allow_auto_create_topics;
            match metadata.ask(Some(&names), create).await {
                Ok(response) => metadata.store(&response),
                Err(error) => {
                    retry.after(error).await?;
                    continue;
                }
            }
            let cluster = metadata.cluster();
            let counts: BTreeMap<_, _> = names
                .iter()
                .filter_map(|name| Some((name.clone(), cluster.partition_count(name)?)))
                .collect();
            let missing = names.iter().find(|name| !counts.contains_key(*name));
            let Some(missing) = missing.filter(|_| create) else {
                return Ok(counts);
            };
            let error = ClientError::UnknownTopic {
                topic: missing.to_string(),
            };
            if waits_for_topics.wait(error).await.is_err() {
                return Ok(counts);
            }
        }
    }

    async fn heartbeat(&mut self) {
        self.next_heartbeat = self.heartbeat_at();
        if self.polls.since_last_poll_ms() > self.config.max_poll_interval_ms {
            tracing::warn!(
                group = %self.committer.group_id,
                max_poll_interval_ms = self.config.max_poll_interval_ms,
                "leaving the group: poll was not called in time; do less between two polls"
            );
            self.leave("poll was not called within max.poll.interval.ms")
                .await;
            self.phase.send_replace(Phase::Lost);
            return;
        }
        let request = HeartbeatRequest {
            group_id: self.committer.group_id.clone(),
            generation_id: self.committer.generation_id,
            member_id: self.committer.member_id.clone(),
            group_instance_id: self.committer.group_instance_id.clone(),
            ..HeartbeatRequest::default()
        };
        let limit =
            Duration::from_millis(u64::try_from(self.config.session_timeout_ms).unwrap_or(0))
                .min(self.client.request_timeout());
        let code = match self.call(request, limit).await {
            Ok(response) => ErrorCode::from_code(response.error_code),
            Err(error) => {
                tracing::debug!(%error, "heartbeat failed");
                self.forget_coordinator();
                self.next_heartbeat = self.retry_at();
                return;
            }
        };
        match code {
            ErrorCode::None => {
                self.watch_pattern().await;
                self.watch_topics().await;
            }
            ErrorCode::RebalanceInProgress => self.rebalance(),
            ErrorCode::FencedInstanceId => {
                let error = self.check(code).err();
                self.forget_member();
                let error = error.unwrap_or(ClientError::Closed { object: "consumer" });
                self.phase.send_replace(Phase::Failed(error));
            }
            ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration => {
                tracing::info!(group = %self.committer.group_id, code = code.name(), "lost the membership");
                self.forget_member();
                self.phase.send_replace(Phase::Lost);
            }
            code => {
                if coordinator_moved(code) {
                    self.forget_coordinator();
                }
                self.next_heartbeat = self.retry_at();
            }
        }
    }

    /// With a pattern: topics that appear or go need another subscription.
    async fn watch_pattern(&mut self) {
        let Subscription::Pattern(_) = &self.subscription else {
            return;
        };
        if Instant::now() < self.look_at {
            return;
        }
        let max_age = Duration::from_millis(self.client.config().metadata_max_age_ms);
        self.look_at = Instant::now() + max_age.min(MISSING_TOPIC_AFTER);
        match self.subscription.topics(&self.client).await {
            Ok(topics) if topics != self.topics => self.rebalance(),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "topics could not be listed"),
        }
    }

    /// As the group's leader: a topic that appears or gets more partitions needs another assignment.
    async fn watch_topics(&mut self) {
        let Some(led) = &mut self.led else {
            return;
        };
        let metadata = self.client.metadata();
        metadata.want(&led.topics);
        let is_missing = led.partition_counts.len() < led.topics.len();
        if metadata.is_old() || (is_missing && Instant::now() >= led.refresh_at) {
            led.refresh_at = Instant::now() + MISSING_TOPIC_AFTER;
            let seen = metadata.snapshot().version;
            self.client.refresh_metadata(seen).await;
        }
        let cluster = metadata.cluster();
        let has_changed = led.topics.iter().any(|topic| {
            let count = cluster.partition_count(topic);
            count.is_some() && count.as_ref() != led.partition_counts.get(topic)
        });
        if has_changed {
            self.rebalance();
        }
    }

    fn rebalance(&self) {
        self.phase.send_if_modified(|phase| {
            let is_stable = matches!(phase, Phase::Stable(_));
            if is_stable {
                *phase = Phase::Rebalancing;
            }
            is_stable
        });
    }

    /// Leaves the group; a static member stays in it until its session ends, so that it can come back.
    async fn leave(&mut self, reason: &'static str) {
        if self.committer.member_id.is_empty() || self.committer.group_instance_id.is_some() {
            return;
        }
        let left = tokio::time::timeout(LEAVE_WITHIN, self.leave_group(reason)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!(group = %self.committer.group_id, "could not tell the coordinator about leaving");
        }
        self.forget_member();
    }

    async fn leave_group(&self, reason: &'static str) -> Result<(), ClientError> {
        let connection = self.connection().await?;
        let version = connection.version(ApiKey::LeaveGroup)?;
        let mut request = LeaveGroupRequest {
            group_id: self.committer.group_id.clone(),
            ..LeaveGroupRequest::default()
        };
        if version >= 3 {
            request.members = vec![MemberIdentity {
                member_id: self.committer.member_id.clone(),
                reason: Some(KString::from_static(reason)),
                ..MemberIdentity::default()
            }];
        } else {
            request.member_id = self.committer.member_id.clone();
        }
        let response = connection.call(version, request, LEAVE_WITHIN).await?;
        ClientError::check(response.error_code, || self.committer.to_string())
    }

    async fn call<R: Request>(
        &self,
        request: R,
        limit: Duration,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection().await?;
        connection
            .call(connection.version(R::KEY)?, request, limit)
            .await
    }

    async fn connection(&self) -> Result<crate::transport::Connection, ClientError> {
        self.client
            .coordinator_connection(
                CoordinatorKind::Group,
                &self.committer.group_id,
                self.purpose,
            )
            .await
    }

    fn check(&self, code: ErrorCode) -> Result<(), ClientError> {
        match code {
            ErrorCode::None => Ok(()),
            code if self.committer.is_fenced_by(code) => Err(ClientError::Fenced {
                object: self.committer.to_string(),
                code,
            }),
            code => Err(ClientError::broker(
                code.code(),
                refusal_hint(code),
                format!("group \"{}\"", self.committer.group_id),
            )),
        }
    }

    /// Sorts the errors of joining: those that another attempt may cure, and those that are for the program.
    fn again(&mut self, error: ClientError) -> Result<Again, ClientError> {
        let code = error.code();
        if matches!(
            code,
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration)
        ) {
            self.forget_member();
            return Ok(Again::Now);
        }
        if code == Some(ErrorCode::RebalanceInProgress) {
            return Ok(Again::Later(error));
        }
        if error.is_retriable() {
            self.forget_coordinator();
            return Ok(Again::Later(error));
        }
        self.forget_member();
        Err(error)
    }

    fn forget_member(&mut self) {
        self.is_member = false;
        self.led = None;
        self.owned.clear();
        self.committer.member_id = KString::EMPTY;
        self.committer.generation_id = -1;
    }

    fn forget_coordinator(&self) {
        self.client
            .coordinators()
            .forget(CoordinatorKind::Group, &self.committer.group_id);
    }

    fn heartbeat_at(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.config.heartbeat_interval_ms)
    }

    fn retry_at(&self) -> Instant {
        let wait = self.client.config().retry_backoff_ms;
        Instant::now() + Duration::from_millis(wait.min(self.config.heartbeat_interval_ms))
    }
}

const fn refusal_hint(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::InconsistentGroupProtocol => Some(
            "its members share partitions out in another way; use the same `assignor` in all of them",
        ),
        ErrorCode::InvalidSessionTimeout => Some(
            "the broker's `group.min.session.timeout.ms` and `group.max.session.timeout.ms` do not allow it",
        ),
        _ => None,
    }
}

/// The coordinator answers a join after the rebalance time-out at the latest, and a little.
const JOIN_MARGIN: Duration = Duration::from_secs(5);

/// A coordinator that does not answer within this time finds out by itself that the member is gone.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

/// How long a rebalance waits for a topic that the broker may be creating.
const CREATED_WITHIN: Duration = Duration::from_secs(2);

/// How often the leader looks for subscribed topics that do not exist yet, and a member for topics of its pattern.
const MISSING_TOPIC_AFTER: Duration = Duration::from_secs(5);
