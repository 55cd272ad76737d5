//! Coordinators of groups and of transactions at work.
//!
//! Core decides; here its decisions are carried out. One [`Shard`] per partition of `__consumer_offsets` or
//! `__transaction_state` holds a coordinator. A request runs under the shard's lock: what core wants appended stands in the writer's queue in the
//! same order, and answers leave when core says so, which is after the append is committed.
//! A shard replays its partition before its first request.

mod machine;
mod markers;
mod settings;
mod shard;
mod timer;

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use moldau_core::coordinator::{Caller, Coordinator, OffsetsMarker, partition_for};
use moldau_core::ids::Token;
use moldau_core::transaction::{Markers, TransactionCoordinator, TransactionSettings};
use moldau_protocol::{ErrorCode, KString, ResponseKind};
use tokio::task::JoinSet;
use tracing::error;

use self::machine::{GroupContext, Machine};
pub(crate) use self::markers::{MarkerWriter, marker_code};
use self::shard::{MarkerOutlet, Shard};
use self::timer::Timer;
use crate::config::{BrokerConfig, LiveConfig};
use crate::handlers::RequestContext;
use crate::metadata::{CONSUMER_OFFSETS, Images};
use crate::runtime::{Partitions, Writers};

/// All coordinators of one kind on this node: those of groups, or those of transactions.
pub(crate) struct Coordinators<M: Machine = Coordinator> {
    settings: M::Settings,
    markers: MarkerOutlet,
    /// `request.timeout.ms`
    append_limit: Duration,
    partitions: Arc<Partitions>,
    writers: Arc<Writers>,
    /// By partition of the topic.
    shards: RwLock<Vec<Arc<Shard<M>>>>,
    timer: Arc<Timer>,
    tokens: AtomicU64,
}

impl Coordinators {
    /// The coordinators of groups.
    pub(crate) fn new(
        live: Arc<LiveConfig>,
        partitions: Arc<Partitions>,
        writers: Arc<Writers>,
        images: Images,
    ) -> Self {
        let config = live.now();
        let settings = GroupContext {
            live: Arc::clone(&live),
            images,
        };
        Self::of(settings, &config.config, partitions, writers)
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

    /// Writes the marker that ends a transaction to a partition of `__consumer_offsets`; the offsets committed in
    /// it become the groups' own, or are dropped.
    ///
    /// # Errors
    ///
    /// As [`Coordinators::call`], and what the append says.
    pub(crate) async fn write_marker(
        &self,
        index: i32,
        marker: OffsetsMarker,
    ) -> Result<(), ErrorCode> {
        let shards = self.shards();
        let shard = usize::try_from(index)
            .ok()
            .and_then(|index| shards.get(index))
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let caller = self.caller_of_own();
        let at = (KString::from(CONSUMER_OFFSETS), index);
        let response = shard.call(caller.token, |coordinator, _| {
            coordinator.write_marker(&caller, marker, at)
        });
        marker_code(&response.await?)
    }
}

impl Coordinators<TransactionCoordinator> {
    /// The coordinators of transactions.
    pub(crate) fn of_transactions(
        config: &BrokerConfig,
        partitions: Arc<Partitions>,
        writers: Arc<Writers>,
    ) -> Self {
        let settings = TransactionSettings {
            max_timeout_ms: config.transaction_max_timeout_ms,
            expiration_ms: i64::from(config.transactional_id_expiration_ms),
            expiry_interval_ms: i64::from(config.transaction_remove_expired_interval_ms),
        };
        Self::of(settings, config, partitions, writers)
    }

    /// Decides who tells partitions the end of their transactions. To be called once, before any request.
    pub(crate) fn tell_by(&self, tell: impl Fn(Markers) + Send + Sync + 'static) {
        let _ = self.markers.set(Box::new(tell));
    }

    /// The markers of a transaction are in all of its partitions.
    pub(crate) async fn markers_written(&self, markers: &Markers) -> Result<(), ErrorCode> {
        let shard = self.shard_of(&markers.transactional_id)?;
        let done = shard.act(|coordinator, now_ms| {
            let (id, epoch) = (markers.producer_id, markers.producer_epoch);
            coordinator.markers_written(&markers.transactional_id, id, epoch, now_ms)
        });
        done.await
    }
}

impl<M: Machine> Coordinators<M> {
    fn of(
        settings: M::Settings,
        config: &BrokerConfig,
        partitions: Arc<Partitions>,
        writers: Arc<Writers>,
    ) -> Self {
        Self {
            settings,
            markers: Arc::default(),
            append_limit: Duration::from_millis(config.request_timeout_ms),
            partitions,
            writers,
            shards: RwLock::default(),
            timer: Arc::default(),
            tokens: AtomicU64::new(0),
        }
    }

    /// Lets the coordinator of a group or a transactional id handle a request; `call` gets the coordinator, the caller and the time.
    ///
    /// # Errors
    ///
    /// `COORDINATOR_NOT_AVAILABLE` when there is no such topic yet, `COORDINATOR_LOAD_IN_PROGRESS` when too
    /// much waits already; clients try both again.
    pub(crate) async fn call(
        &self,
        group: &str,
        context: &RequestContext,
        call: impl FnOnce(&mut M, &Caller, i64) -> Vec<M::Action> + Send,
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
        read: impl FnOnce(&M) -> R + Send,
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
        read: impl Fn(&M) -> R + Send + Sync,
    ) -> Result<Vec<R>, ErrorCode> {
        let mut results = Vec::new();
        for shard in self.shards() {
            results.push(shard.read(&read).await?);
        }
        Ok(results)
    }

    /// Replays every partition that has records, so that members' timers run from the start.
    pub(crate) async fn load_all(&self) {
        let mut loading = JoinSet::new();
        for shard in self.shards() {
            loading.spawn(async move { shard.read(|_| ()).await });
        }
        while let Some(loaded) = loading.join_next().await {
            if let Ok(Err(code)) = loaded {
                error!(code = code.name(), "cannot load coordinator");
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
    pub(crate) fn read_loaded<R>(&self, read: impl Fn(&M) -> R) -> Vec<R> {
        self.shards()
            .iter()
            .filter_map(|shard| shard.read_now(&read))
            .collect()
    }

    /// For requests that this node makes itself.
    fn caller_of_own(&self) -> Caller {
        Caller {
            token: Token(self.tokens.fetch_add(1, Ordering::Relaxed)),
            api_version: 0,
            client_id: KString::EMPTY,
            client_host: KString::EMPTY,
        }
    }

    /// The partition of the topic that coordinates a group or a transactional id.
    ///
    /// # Errors
    ///
    /// `COORDINATOR_NOT_AVAILABLE` when there is no such topic yet.
    pub(crate) fn partition_of(&self, id: &str) -> Result<i32, ErrorCode> {
        let topic = self
            .partitions
            .topic(M::TOPIC)
            .ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let count = i32::try_from(topic.partitions.len()).unwrap_or(0);
        Ok(partition_for(id, count))
    }

    fn shard_of(&self, group: &str) -> Result<Arc<Shard<M>>, ErrorCode> {
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

    /// One shard per partition that the topic has now.
    fn shards(&self) -> Vec<Arc<Shard<M>>> {
        let known = self
            .shards
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let Some(topic) = self.partitions.topic(M::TOPIC) else {
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
                self.settings.clone(),
                Arc::clone(&self.markers),
                self.append_limit,
            ));
        }
        shards.clone()
    }
}

impl<M: Machine> fmt::Debug for Coordinators<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinators")
            .field("topic", &M::TOPIC)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
