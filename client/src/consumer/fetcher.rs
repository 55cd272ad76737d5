//! Fetching ahead: one task per broker that leads an assigned partition, each with one request under way.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use moldau_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use moldau_protocol::{ErrorCode, Records};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::client::Client;
use crate::consumer::config::{ConsumerConfig, Isolation};
use crate::consumer::partitions::{Partitions, Plan, Wanted};
use crate::consumer::readable::{ReadOptions, Readable, readable};
use crate::error::ClientError;
use crate::metadata::ClusterMetadata;
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
            cluster
                .leader(&name.topic, name.partition)
                .is_some_and(|(leader, _)| leader == broker)
        };
        self.lock().plan(leads, Instant::now())
    }

    async fn fetch(
        &self,
        broker: i32,
        plan: &Plan,
        cluster: &ClusterMetadata,
    ) -> Result<FetchResponse, ClientError> {
        let connection = self.client.broker_connection(broker, self.purpose).await?;
        let version = connection.version(moldau_protocol::ApiKey::Fetch)?;
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
            topics: topics(&plan.wanted, cluster, self.config.max_partition_bytes),
            ..FetchRequest::default()
        };
        let wait = Duration::from_millis(u64::try_from(max_wait_ms).unwrap_or(0));
        let limit = self.client.request_timeout() + wait;
        let response: FetchResponse = connection.call(version, request, limit).await?;
        ClientError::check(response.error_code, || {
            format!("fetch from {}", connection.address())
        })?;
        Ok(response)
    }

    /// Takes an answer. Gives whether the metadata seems to be out of date.
    fn take(&self, plan: &Plan, result: Result<FetchResponse, ClientError>) -> bool {
        let not_before =
            Instant::now() + Duration::from_millis(self.client.config().retry_backoff_ms);
        let mut response = match result {
            Ok(response) => response,
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
            let answer = take_partition(&mut response, &wanted.name);
            is_stale |= self.take_partition_answer(wanted, answer, not_before);
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
        let high_watermark = answer.high_watermark;
        match self.read(wanted, answer) {
            Ok(readable) => {
                if self.lock().fetched(wanted, readable, high_watermark) {
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
    while let Some(strong) = fetcher.upgrade() {
        changed.mark_unchanged();
        let snapshot = strong.client.metadata().snapshot();
        let plan = strong.plan(broker, &snapshot.cluster);
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
        let result = strong.fetch(broker, &plan, &snapshot.cluster).await;
        if strong.take(&plan, result) {
            strong.client.refresh_metadata(snapshot.version).await;
            strong.wake_tasks();
        }
    }
}

/// The partitions by topic, in the order of `wanted`, which is the order in which brokers fill the answer.
fn topics(wanted: &[Wanted], cluster: &ClusterMetadata, max_bytes: i32) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for wanted in wanted {
        let TopicPartition { topic, partition } = &wanted.name;
        let leader = cluster.leader(topic, *partition);
        let partition = FetchPartition {
            partition: *partition,
            current_leader_epoch: leader.map_or(-1, |(_, epoch)| epoch),
            fetch_offset: wanted.fetch_offset,
            partition_max_bytes: max_bytes,
            ..FetchPartition::default()
        };
        match topics.iter_mut().find(|known| known.topic == *topic) {
            Some(known) => known.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: topic.clone(),
                partitions: vec![partition],
                ..FetchTopic::default()
            }),
        }
    }
    topics
}

fn take_partition(response: &mut FetchResponse, name: &TopicPartition) -> Option<PartitionData> {
    response
        .responses
        .iter_mut()
        .filter(|topic| topic.topic == name.topic)
        .flat_map(|topic| &mut topic.partitions)
        .find(|answer| answer.partition_index == name.partition)
        .map(std::mem::take)
}

/// Records in one piece. Over TCP they always are; in process a broker may give several, which are joined.
fn joined(records: Option<Records>) -> Option<Bytes> {
    let records = records.unwrap_or_default();
    records.as_bytes().or_else(|| records.to_bytes())
}

/// Longest wait of a broker while other partitions may be wanted again soon.
const SHORT_WAIT_MS: i32 = 20;

/// An idle task looks around at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
