//! Group coordinators at work.
//!
//! Core decides; here its decisions are carried out. One [`Shard`] per partition of `__consumer_offsets` holds a
//! coordinator. A request runs under the shard's lock: what core wants appended stands in the writer's queue in the
//! same order, and answers leave when core says so, which is after the append is committed.
//! A shard replays its partition before its first request.

mod shard;
mod timer;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use moldau_core::coordinator::{Action, Caller, Coordinator, CoordinatorSettings, partition_for};
use moldau_core::group::GroupSettings;
use moldau_core::ids::Token;
use moldau_protocol::{ErrorCode, KString, ResponseKind};
use tokio::task::JoinSet;
use tracing::error;

use self::shard::Shard;
use self::timer::Timer;
use crate::config::BrokerConfig;
use crate::handlers::RequestContext;
use crate::metadata::{CONSUMER_OFFSETS, Images};
use crate::runtime::{Partitions, Writers};

/// All coordinators of this node.
#[derive(Debug)]
pub(crate) struct Coordinators {
    settings: CoordinatorSettings,
    /// `request.timeout.ms`
    append_limit: Duration,
    partitions: Arc<Partitions>,
    writers: Arc<Writers>,
    images: Images,
    /// By partition of `__consumer_offsets`.
    shards: RwLock<Vec<Arc<Shard>>>,
    timer: Arc<Timer>,
    tokens: AtomicU64,
}

impl Coordinators {
    pub(crate) fn new(
        config: &BrokerConfig,
        partitions: Arc<Partitions>,
        writers: Arc<Writers>,
        images: Images,
    ) -> Self {
        Self {
            settings: settings(config),
            append_limit: Duration::from_millis(config.request_timeout_ms),
            partitions,
            writers,
            images,
            shards: RwLock::default(),
            timer: Arc::default(),
            tokens: AtomicU64::new(0),
        }
    }

    /// Lets the coordinator of `group` handle a request; `call` gets the coordinator, the caller and the time.
    ///
    /// # Errors
    ///
    /// `COORDINATOR_NOT_AVAILABLE` when there is no `__consumer_offsets` yet, `COORDINATOR_LOAD_IN_PROGRESS` when too
    /// much waits already; clients try both again.
    pub(crate) async fn call(
        &self,
        group: &str,
        context: &RequestContext,
        call: impl FnOnce(&mut Coordinator, &Caller, i64) -> Vec<Action> + Send,
    ) -> Result<ResponseKind, ErrorCode> {
        let shard = self.shard_of(group)?;
        let caller = Caller {
            token: Token(self.tokens.fetch_add(1, Ordering::Relaxed)),
            api_version: context.version,
            client_id: context.client_id.clone(),
            client_host: context.client.host.clone(),
        };
        let token = caller.token;
        shard
            .call(token, |coordinator, now_ms| {
                call(coordinator, &caller, now_ms)
            })
            .await
    }

    /// Reads from the coordinator of `group`.
    ///
    /// # Errors
    ///
    /// As [`Coordinators::call`].
    pub(crate) async fn read<R>(
        &self,
        group: &str,
        read: impl FnOnce(&Coordinator) -> R + Send,
    ) -> Result<R, ErrorCode> {
        self.shard_of(group)?.read(read).await
    }

    /// Reads from every coordinator.
    ///
    /// # Errors
    ///
    /// The first partition that cannot be replayed.
    pub(crate) async fn read_all<R>(
        &self,
        read: impl Fn(&Coordinator) -> R + Send + Sync,
    ) -> Result<Vec<R>, ErrorCode> {
        let mut results = Vec::new();
        for shard in self.shards() {
            results.push(shard.read(&read).await?);
        }
        Ok(results)
    }

    /// Drops what groups committed for deleted topics.
    pub(crate) async fn topics_deleted(&self, names: &[KString]) {
        for shard in self.shards() {
            let done = shard
                .act(|coordinator, _| coordinator.topics_deleted(names))
                .await;
            if let Err(code) = done {
                error!(
                    code = code.name(),
                    "cannot drop the offsets of deleted topics"
                );
            }
        }
    }

    /// Replays every partition that has records, so that members' timers run from the start.
    pub(crate) async fn load_all(&self) {
        let mut loading = JoinSet::new();
        for shard in self.shards() {
            loading.spawn(async move { shard.read(|_| ()).await });
        }
        while let Some(loaded) = loading.join_next().await {
            if let Ok(Err(code)) = loaded {
                error!(code = code.name(), "cannot load group coordinator");
            }
        }
    }

    /// Tells coordinators when their time-outs are due, until the future is dropped.
    pub(crate) fn run_timers(&self) -> impl Future<Output = ()> + '_ {
        self.timer.run(|| self.shards())
    }

    /// Answers every request that waits, because the node stops.
    pub(crate) fn resign(&self) {
        for shard in self.shards() {
            shard.resign(ErrorCode::NotCoordinator);
        }
    }

    /// Reads from every coordinator that is loaded, without waiting.
    pub(crate) fn read_loaded<R>(&self, read: impl Fn(&Coordinator) -> R) -> Vec<R> {
        self.shards()
            .iter()
            .filter_map(|shard| shard.read_now(&read))
            .collect()
    }

    fn shard_of(&self, group: &str) -> Result<Arc<Shard>, ErrorCode> {
        let shards = self.shards();
        let count = i32::try_from(shards.len()).unwrap_or(0);
        if count == 0 {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let index = usize::try_from(partition_for(group, count)).unwrap_or(0);
        shards
            .get(index)
            .cloned()
            .ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// One shard per partition that `__consumer_offsets` has now.
    fn shards(&self) -> Vec<Arc<Shard>> {
        let known = self
            .shards
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let Some(topic) = self.partitions.topic(CONSUMER_OFFSETS) else {
            return Vec::new();
        };
        let same = known.len() == topic.partitions.len()
            && known
                .first()
                .is_some_and(|shard| shard.topic_id() == topic.id);
        if same {
            return known;
        }
        let mut shards = self
            .shards
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        shards.retain(|shard| shard.topic_id() == topic.id);
        for partition in topic.partitions.iter().skip(shards.len()) {
            shards.push(Shard::new(
                Arc::clone(partition),
                Arc::clone(&self.writers),
                Arc::clone(&self.timer),
                self.images.clone(),
                self.settings,
                self.append_limit,
            ));
        }
        shards.clone()
    }
}

fn settings(config: &BrokerConfig) -> CoordinatorSettings {
    CoordinatorSettings {
        group: GroupSettings {
            min_session_timeout_ms: config.group_min_session_timeout_ms,
            max_session_timeout_ms: config.group_max_session_timeout_ms,
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
            max_size: usize::try_from(config.group_max_size).unwrap_or(usize::MAX),
            ..GroupSettings::default()
        },
        consumer_group: config.consumer_groups,
        offset_metadata_max_bytes: usize::try_from(config.offset_metadata_max_bytes).unwrap_or(0),
        offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: i64::try_from(
            config.offsets_retention_check_interval_ms,
        )
        .unwrap_or(i64::MAX),
    }
}
