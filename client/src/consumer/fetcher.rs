//! Fetching ahead: one task per broker that leads an assigned partition, each with one request under way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use moldau_protocol::messages::fetch::{FetchRequest, FetchResponse, PartitionData};
use moldau_protocol::{ApiKey, ErrorCode, Records};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::client::Client;
use crate::consumer::config::{ConsumerConfig, Isolation};
use crate::consumer::fetch_session::{FetchSession, SessionAnswer};
use crate::consumer::partitions::{Ends, Partitions, Plan, Wanted};
use crate::consumer::readable::{ReadOptions, Readable, readable};
use crate::error::ClientError;
use crate::metadata::{BrokerEndpoint, ClusterMetadata, NewLeader};
use crate::topic_partition::TopicPartition;
use crate::transport::Purpose;

/// The partitions of one consumer and the tasks that fetch them.
#[derive(Debug)]
pub(crate) struct Fetcher {
    client: Client,
    config: Arc<ConsumerConfig>,
    purpose: Purpose,
    partitions: Mutex<Partitions>,
    /// Tells the tasks that there may be something to fetch.
    changed: watch::Sender<u64>,
    /// Tells poll that there is something to give out.
    pub(crate) ready: Notify,
    tasks: Mutex<HashMap<i32, AbortHandle>>,
    chores: Mutex<Option<AbortHandle>>,
    /// Whether leaders or positions may be missing.
    pub(crate) has_chores: AtomicBool,
    pub(crate) has_chores_running: AtomicBool,
}

impl Fetcher {
    pub(crate) fn new(client: Client, config: Arc<ConsumerConfig>) -> Arc<Self> {
        Arc::new(Self {
            client,
            purpose: Purpose::unique(),
            partitions: Mutex::new(Partitions::new(&config)),
            config,
            changed: watch::Sender::new(0),
            ready: Notify::new(),
            tasks: Mutex::default(),
            chores: Mutex::default(),
            has_chores: AtomicBool::new(false),
            has_chores_running: AtomicBool::new(false),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Partitions> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn config(&self) -> &ConsumerConfig {
        &self.config
    }

    pub(crate) fn keep_chores(&self, task: AbortHandle) {
        *self.chores.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    /// To be called when poll has made room for more.
    pub(crate) fn more(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// To be called after partitions were changed in a way that lets more be fetched.
    pub(crate) fn wake_tasks(self: &Arc<Self>) {
        self.start_missing_tasks();
        self.more();
    }

    /// Starts a task for each broker that leads one of the partitions.
    fn start_missing_tasks(self: &Arc<Self>) {
        let cluster = self.client.cluster_metadata();
        let names = self.lock().names();
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            let Some((broker, _)) = cluster.leader(&name.topic, name.partition) else {
                continue;
            };
            tasks.entry(broker).or_insert_with(|| {
                let task = run(Arc::downgrade(self), broker, self.changed.subscribe());
                tokio::spawn(task).abort_handle()
            });
        }
    }

    /// Ends all tasks.
    pub(crate) fn stop(&self) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, task) in tasks.drain() {
            task.abort();
        }
        let chores = self.chores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chores) = &*chores {
            chores.abort();
        }
        self.client.transport().forget(self.purpose);
    }

    /// Makes sure that the leaders of all partitions are known or asked for, and starts what is missing.
    pub(crate) async fn find_leaders(self: &Arc<Self>) {
        let seen = self.client.metadata().snapshot();
        let names = self.lock().names();
        let all_known = names
            .iter()
            .all(|name| seen.cluster.leader(&name.topic, name.partition).is_some());
        if !all_known || self.client.metadata().is_old() {
            self.client
                .metadata()
                .want(names.iter().map(|name| &name.topic));
            self.client.refresh_metadata(seen.version).await;
        }
        self.wake_tasks();
    }

    fn plan(&self, broker: i32, cluster: &ClusterMetadata) -> Plan {
        let leads = |name: &TopicPartition| {
            let (leader, epoch) = cluster.leader(&name.topic, name.partition)?;
            (leader == broker).then_some(epoch)
        };
        self.lock().plan(leads, Instant::now())
    }

    async fn fetch(
        &self,
        broker: i32,
        plan: &Plan,
        session: &mut FetchSession,
        cluster: &ClusterMetadata,
    ) -> Result<SessionAnswer, ClientError> {
        let connection = self.client.broker_connection(broker, self.purpose).await?;
        let has_ids = plan
            .wanted
            .iter()
            .all(|wanted| cluster.topic_id(&wanted.name.topic).is_some());
        let most = if has_ids { i16::MAX } else { LAST_WITH_NAMES };
        let version = connection.version_at_most(ApiKey::Fetch, most)?;
        let max_partition_bytes = self.config.max_partition_bytes;
        let parts = session.request(&plan.wanted, cluster, version, max_partition_bytes);
        let max_wait_ms = if plan.others_are_full {
            self.config.max_wait_ms.min(SHORT_WAIT_MS)
        } else {
            self.config.max_wait_ms
        };
        let request = FetchRequest {
            max_wait_ms,
            min_bytes: self.config.min_bytes,
            max_bytes: i32::try_from(plan.max_bytes).unwrap_or(i32::MAX),
            isolation_level: self.config.isolation.code(),
            session_id: parts.session_id,
            session_epoch: parts.session_epoch,
            topics: parts.topics,
            forgotten_topics_data: parts.forgotten,
            ..FetchRequest::default()
        };
        let wait = Duration::from_millis(u64::try_from(max_wait_ms).unwrap_or(0));
        let limit = self.client.request_timeout() + wait;
        let result = connection.call(version, request, limit).await;
        let response: FetchResponse = result.inspect_err(|_| session.reset())?;
        self.learn(&response, session);
        session.answered(response).map_err(|code| {
            let object = format!("fetch from {}", connection.address());
            ClientError::broker(code.code(), None, object)
        })
    }

    /// Takes leaders that the broker named for partitions that moved (KIP-951).
    fn learn(&self, response: &FetchResponse, session: &FetchSession) {
        let partitions = response.responses.iter().flat_map(|topic| {
            let answers = topic.partitions.iter();
            answers.map(move |answer| (session.name(topic), answer))
        });
        let leaders: Vec<_> = partitions
            .filter(|(_, answer)| answer.current_leader.leader_id >= 0)
            .map(|(topic, answer)| NewLeader {
                name: TopicPartition {
                    topic,
                    partition: answer.partition_index,
                },
                leader: answer.current_leader.leader_id,
                leader_epoch: answer.current_leader.leader_epoch,
            })
            .collect();
        let endpoints: Vec<_> = response
            .node_endpoints
            .iter()
            .map(|node| BrokerEndpoint {
                id: node.node_id,
                host: node.host.to_string(),
                port: node.port,
                rack: node.rack.as_ref().map(ToString::to_string),
            })
            .collect();
        self.client.metadata().learn(&leaders, &endpoints);
    }

    /// Takes an answer. Gives whether the metadata seems to be out of date.
    fn take(&self, plan: &Plan, result: Result<SessionAnswer, ClientError>) -> bool {
        let not_before =
            Instant::now() + Duration::from_millis(self.client.config().retry_backoff_ms);
        let mut answer = match result {
            Ok(answer) => answer,
            Err(error) if is_lost_session(&error) => {
                // Nothing is wrong with the partitions: the next request starts another session.
                let mut partitions = self.lock();
                for wanted in &plan.wanted {
                    partitions.unchanged(wanted);
                }
                return false;
            }
            Err(error) => {
                let mut partitions = self.lock();
                for wanted in &plan.wanted {
                    if error.is_retriable() {
                        partitions.failed(wanted, not_before);
                    } else {
                        partitions.refused(wanted, error.clone(), not_before);
                    }
                }
                drop(partitions);
                tracing::debug!(%error, "fetch failed");
                self.ready.notify_one();
                return true;
            }
        };
        let mut is_stale = false;
        for wanted in &plan.wanted {
            let partition = answer.partitions.remove(&wanted.name);
            if partition.is_none() && answer.is_incremental {
                self.lock().unchanged(wanted);
                continue;
            }
            is_stale |= self.take_partition_answer(wanted, partition, not_before);
        }
        is_stale
    }

    fn take_partition_answer(
        &self,
        wanted: &Wanted,
        answer: Option<PartitionData>,
        not_before: Instant,
    ) -> bool {
        let Some(answer) = answer else {
            self.lock().failed(wanted, not_before);
            return true;
        };
        match ErrorCode::from_code(answer.error_code) {
            ErrorCode::None => {}
            ErrorCode::OffsetOutOfRange => {
                self.lock().out_of_range(wanted, not_before);
                self.ready.notify_one();
                return false;
            }
            code if code.is_retriable() => {
                self.lock().failed(wanted, not_before);
                return true;
            }
            code => {
                let object = format!("fetch of {} at offset {}", wanted.name, wanted.fetch_offset);
                let error = ClientError::broker(code.code(), None, object);
                self.lock().refused(wanted, error, not_before);
                self.ready.notify_one();
                return false;
            }
        }
        let ends = self.ends(&answer);
        match self.read(wanted, answer) {
            Ok(readable) => {
                if self.lock().fetched(wanted, readable, ends) {
                    self.ready.notify_one();
                }
            }
            Err(error) => {
                self.lock().refused(wanted, error, not_before);
                self.ready.notify_one();
            }
        }
        false
    }

    fn ends(&self, answer: &PartitionData) -> Ends {
        let is_committed_only = self.config.isolation == Isolation::ReadCommitted;
        let high_watermark = answer.high_watermark;
        Ends {
            high_watermark,
            readable: match answer.last_stable_offset {
                stable if is_committed_only && stable >= 0 => stable.min(high_watermark),
                _ => high_watermark,
            },
        }
    }

    fn read(&self, wanted: &Wanted, answer: PartitionData) -> Result<Readable, ClientError> {
        let object = || {
            format!(
                "records of {} at offset {}",
                wanted.name, wanted.fetch_offset
            )
        };
        let records = joined(answer.records)
            .ok_or_else(|| ClientError::protocol(object(), "they are not in memory"))?;
        let in_process = self.client.transport().is_in_process();
        let options = ReadOptions {
            fetch_offset: wanted.fetch_offset,
            check_crcs: self.config.check_crcs.unwrap_or(!in_process),
            read_committed: self.config.isolation == Isolation::ReadCommitted,
        };
        let aborted = answer.aborted_transactions.unwrap_or_default();
        readable(records, &aborted, options).map_err(|error| ClientError::protocol(object(), error))
    }
}

/// The task of one broker. Ends when the consumer is gone.
async fn run(fetcher: Weak<Fetcher>, broker: i32, mut changed: watch::Receiver<u64>) {
    let mut session = FetchSession::default();
    while let Some(strong) = fetcher.upgrade() {
        changed.mark_unchanged();
        let snapshot = strong.client.metadata().snapshot();
        let plan = strong.plan(broker, &snapshot.cluster);
        if plan.has_doubts {
            strong.has_chores.store(true, Ordering::Release);
            strong.ready.notify_one();
        }
        if plan.wanted.is_empty() {
            drop(strong);
            let wake_at = plan
                .wake_at
                .unwrap_or_else(|| Instant::now() + LONGEST_SLEEP);
            tokio::select! {
                result = changed.changed() => if result.is_err() { return },
                () = tokio::time::sleep_until(wake_at) => {}
            }
            continue;
        }
        let result = strong
            .fetch(broker, &plan, &mut session, &snapshot.cluster)
            .await;
        if strong.take(&plan, result) {
            strong.client.refresh_metadata(snapshot.version).await;
            strong.wake_tasks();
        }
    }
}

/// Whether the broker only has no session any more.
fn is_lost_session(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Some(
            ErrorCode::FetchSessionIdNotFound
                | ErrorCode::InvalidFetchSessionEpoch
                | ErrorCode::FetchSessionTopicIdError
        )
    )
}

/// Records in one piece. Over TCP they always are; in process a broker may give several, which are joined.
fn joined(records: Option<Records>) -> Option<Bytes> {
    let records = records.unwrap_or_default();
    records.as_bytes().or_else(|| records.to_bytes())
}

/// The last version of Fetch that names topics.
const LAST_WITH_NAMES: i16 = 12;

/// Longest wait of a broker while other partitions may be wanted again soon.
const SHORT_WAIT_MS: i32 = 20;

/// An idle task looks around at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
