//! Finding out where to read: stored offsets first, then `auto_offset_reset`. Runs beside poll, so that
//! a poll with a short time-out does not start it over and over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::admin::OffsetSpec;
use crate::consumer::config::{Isolation, OffsetReset};
use crate::consumer::fetcher::Fetcher;
use crate::consumer::partitions::Search;
use crate::error::ClientError;
use crate::topic_partition::TopicPartition;

impl Fetcher {
    /// Looks for leaders and positions that are missing, in the background, unless that is under way.
    pub(crate) fn start_chores(self: &Arc<Self>) {
        if self.has_chores_running.swap(true, Ordering::AcqRel) {
            return;
        }
        self.has_chores.store(false, Ordering::Release);
        let fetcher = Arc::clone(self);
        let task = tokio::spawn(async move {
            fetcher.find_leaders().await;
            if let Err(error) = fetcher.search_positions().await {
                fetcher.lock().report(error);
            }
            fetcher.check_positions().await;
            fetcher.has_chores_running.store(false, Ordering::Release);
            fetcher.wake_tasks();
            fetcher.ready.notify_one();
        });
        self.keep_chores(task.abort_handle());
    }

    async fn search_positions(&self) -> Result<(), ClientError> {
        self.search_committed().await?;
        self.reset_positions().await
    }

    async fn search_committed(&self) -> Result<(), ClientError> {
        let mut searches = self.lock().searches();
        searches.retain(|(_, _, search)| *search == Search::Committed);
        if searches.is_empty() {
            return Ok(());
        }
        let committed = match &self.config().group_id {
            Some(group_id) => {
                let names: Vec<_> = searches.iter().map(|(name, ..)| name.clone()).collect();
                let require_stable = self.config().isolation == Isolation::ReadCommitted;
                self.client()
                    .committed_offsets(group_id, Some(&names), require_stable)
                    .await?
            }
            None => std::collections::BTreeMap::default(),
        };
        let mut partitions = self.lock();
        for (name, epoch, _) in searches {
            match committed.get(&name) {
                Some(committed) => {
                    partitions.found(&name, epoch, committed.offset, committed.leader_epoch);
                }
                None => partitions.not_committed(&name, epoch),
            }
        }
        Ok(())
    }

    async fn reset_positions(&self) -> Result<(), ClientError> {
        let searches = self.lock().searches();
        let resets: Vec<_> = searches
            .into_iter()
            .filter_map(|(name, epoch, search)| match search {
                Search::Reset { from } => Some((name, epoch, from)),
                Search::Committed => None,
            })
            .collect();
        let Some((first, _, from)) = resets.first() else {
            return Ok(());
        };
        let spec = match self.config().auto_offset_reset {
            OffsetReset::Earliest => OffsetSpec::Earliest,
            OffsetReset::Latest => OffsetSpec::Latest,
            OffsetReset::Error => {
                return Err(ClientError::OffsetOutOfRange {
                    topic: first.topic.to_string(),
                    partition: first.partition,
                    offset: *from,
                });
            }
        };
        let wanted: Vec<_> = resets
            .iter()
            .map(|(name, ..)| (name.clone(), spec.code()))
            .collect();
        let listed = self
            .client()
            .list_offsets(&wanted, self.config().isolation, self.api_limit())
            .await?;
        let mut partitions = self.lock();
        for (name, epoch, _) in &resets {
            if let Some(listed) = listed.get(name) {
                partitions.found(name, *epoch, listed.offset, None);
            }
        }
        Ok(())
    }

    /// Looks one offset up; a timestamp beyond the last record is the end.
    pub(crate) async fn list_offset(
        &self,
        name: &TopicPartition,
        spec: OffsetSpec,
    ) -> Result<i64, ClientError> {
        let wanted = [(name.clone(), spec.code())];
        let listed = self
            .client()
            .list_offsets(&wanted, self.config().isolation, self.api_limit())
            .await?;
        match listed.get(name) {
            Some(listed) if listed.offset >= 0 => Ok(listed.offset),
            Some(_) if spec != OffsetSpec::Latest => {
                Box::pin(self.list_offset(name, OffsetSpec::Latest)).await
            }
            Some(_) | None => Err(ClientError::protocol(
                format!("offsets of {name}"),
                "the broker gave none",
            )),
        }
    }

    fn api_limit(&self) -> Duration {
        Duration::from_millis(self.client().config().default_api_timeout_ms)
    }
}
