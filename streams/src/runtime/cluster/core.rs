//! What all threads of an application are made from.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use moldau_client::consumer::{AssignmentStrategy, OffsetReset};
use moldau_client::{Client, Consumer, ConsumerConfig, Isolation, ProducerConfig};
use tokio::sync::Semaphore;

use super::assignor::TaskAssignor;
use super::current_plan::CurrentPlan;
use super::process_id::ProcessId;
use super::shared::Shared;
use super::task_set::TaskSet;
use super::thread::{End, StreamThread};
use super::writer::Writer;
use crate::runtime::application::Application;
use crate::runtime::config::StreamsConfig;
use crate::runtime::error::StreamsError;
use crate::runtime::plan::{Plan, patterns};
use crate::runtime::task::TaskSettings;
use crate::runtime::uncaught_error::UncaughtErrorAction;

/// What all threads of an application are made from.
pub(super) struct Core {
    pub(super) client: Client,
    pub(super) application: Arc<Application>,
    pub(super) plan: Arc<CurrentPlan>,
    pub(super) config: StreamsConfig,
    pub(super) settings: TaskSettings,
    pub(super) shared: Arc<Shared>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) process_id: ProcessId,
    /// `host:port` where this process answers queries.
    pub(super) host: Option<String>,
    /// The runtime that carries the network.
    pub(super) runtime: tokio::runtime::Handle,
}

impl Core {
    /// The life of one thread: it ends when the application is closed, or by an error, unless
    /// the handler of such errors wants another thread in its place.
    pub(super) fn run_thread(self: &Arc<Self>, index: usize) {
        while !self.shared.is_closing() {
            let error = match StreamThread::new(index, Arc::clone(self)) {
                Ok(thread) => match thread.run() {
                    End::Closed => break,
                    End::Failed(error) => error,
                },
                Err(error) => error,
            };
            match self.config.uncaught_error.action(&error) {
                UncaughtErrorAction::ReplaceThread => {
                    tracing::error!(%error, thread = index + 1, "stream thread failed and is replaced");
                    self.shared.counters.thread_replaced();
                    // Replacing a thread that fails at once must not keep a core busy.
                    self.runtime.block_on(self.shared.wait(REPLACE_WAIT));
                }
                UncaughtErrorAction::StopClient => self.shared.fail(error),
                UncaughtErrorAction::StopApplication => {
                    self.shared.ask_all_to_stop();
                    let announced = StreamThread::new(index, Arc::clone(self));
                    if let Ok(thread) = announced {
                        thread.announce_stop(ANNOUNCE_LIMIT);
                    }
                    self.shared.fail(error);
                }
            }
        }
    }

    /// A new member of the group, for the topics of a plan; must be called inside the runtime.
    pub(super) fn consumer(&self, thread: usize, plan: &Plan) -> Result<Consumer, StreamsError> {
        let group = &self.application.application_id;
        let instance = self.config.group_instance_id.as_ref();
        let isolation = if self.config.is_exactly_once() {
            Isolation::ReadCommitted
        } else {
            Isolation::ReadUncommitted
        };
        let mut consumer = self.client.consumer(ConsumerConfig {
            // Each thread is a member of its own.
            group_instance_id: instance.map(|instance| format!("{instance}-{}", thread + 1)),
            session_timeout_ms: self.config.session_timeout_ms,
            heartbeat_interval_ms: heartbeat_interval_ms(self.config.session_timeout_ms),
            auto_offset_reset: OffsetReset::Earliest,
            // A source topic that was deleted must not come back empty.
            allow_auto_create_topics: false,
            isolation,
            assignor: AssignmentStrategy::Custom(Arc::new(TaskAssignor {
                plan: Arc::clone(&self.plan),
                shared: Arc::clone(&self.shared),
                process_id: self.process_id.to_string(),
                thread,
                host: self.host.clone(),
                num_standby_replicas: self.config.num_standby_replicas,
                stateful: self.stateful(),
            })),
            ..ConsumerConfig::group(group.clone())
        });
        self.subscribe(&mut consumer, plan)?;
        Ok(consumer)
    }

    /// Makes a member join for the topics of a plan; must be called inside the runtime.
    pub(super) fn subscribe(
        &self,
        consumer: &mut Consumer,
        plan: &Plan,
    ) -> Result<(), StreamsError> {
        let topics: Vec<_> = plan.topics().into_iter().collect();
        let subscribed = match patterns(&self.application).first() {
            // A group can be joined for topics that are to come, not for none.
            Some(pattern) if topics.is_empty() => consumer.subscribe_pattern(pattern.text()),
            _ => consumer.subscribe(&topics),
        };
        let group = &self.application.application_id;
        subscribed.map_err(|error| StreamsError::client(format!("join group \"{group}\""), error))
    }

    /// The writing side of a thread; must be called inside the runtime.
    pub(super) fn writer(&self, thread: usize) -> Writer {
        let group = self.application.application_id.clone();
        let client = self.client.clone();
        let config = ProducerConfig {
            batch_size: BATCH_BYTES,
            max_block_ms: self.config.max_block_ms,
            transaction_timeout_ms: self.config.transaction_timeout_ms,
            ..ProducerConfig::default()
        };
        if !self.config.is_exactly_once() {
            return Writer::at_least_once(client, group, config);
        }
        let id = format!("{group}-{}-{}", self.process_id, thread + 1);
        Writer::exactly_once(client, group, id, config)
    }

    /// Sub-topologies whose stores have changelogs.
    fn stateful(&self) -> BTreeSet<usize> {
        let parts = self.application.sub_topologies.iter().enumerate();
        parts
            .filter(|(_, parts)| parts.stores.iter().any(|store| store.changelog.is_some()))
            .map(|(index, _)| index)
            .collect()
    }

    pub(super) fn tasks(&self, plan: Arc<Plan>) -> TaskSet {
        TaskSet::new(
            Arc::clone(&self.application),
            plan,
            self.settings.clone(),
            self.client.clone(),
            Arc::clone(&self.permits),
            self.config.is_exactly_once(),
            Arc::clone(&self.shared),
        )
    }
}

/// Kafka's 3 seconds, and less for short session time-outs.
fn heartbeat_interval_ms(session_timeout_ms: i32) -> u64 {
    let third = u64::try_from(session_timeout_ms / 3).unwrap_or(1);
    third.clamp(1, 3_000)
}

/// A thread writes what thousands of records have caused at once, so small batches only cost requests.
const BATCH_BYTES: usize = 64 * 1024;
const REPLACE_WAIT: Duration = Duration::from_millis(500);
/// How long a thread waits for the group to hear that the application is to stop.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(60);
