//! Noticing that a source topic was deleted under a running application, and that topics of a
//! pattern have come or gone.
//!
//! A consumer only finds that nothing comes any more: for it the topic may be about to move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use moldau_client::Client;

use super::core::Core;
use super::setup::{add_matching, prepare};
use super::shared::Shared;
use crate::runtime::error::StreamsError;
use crate::runtime::internal_topic::is_internal;
use crate::runtime::plan::{external_topics, patterns};

/// Watches the source topics of an application in the background, until it is closed.
pub(super) fn start(core: &Arc<Core>) {
    let topics = external_topics(&core.application);
    if !topics.is_empty() {
        let shared = Arc::clone(&core.shared);
        tokio::spawn(watch_topics(core.client.clone(), topics, shared));
    }
    if !patterns(&core.application).is_empty() {
        tokio::spawn(watch_patterns(Arc::clone(core)));
    }
}

/// Looks for the topics from time to time, until the application is closed; ends it if one of them
/// is gone.
async fn watch_topics(client: Client, topics: BTreeSet<String>, shared: Arc<Shared>) {
    let mut missing: BTreeMap<&str, u32> = BTreeMap::new();
    while !shared.is_closing() {
        for topic in &topics {
            shared.wait(INTERVAL).await;
            if shared.is_closing() {
                return;
            }
            // A broker that has just started may not know all topics yet.
            let times = missing.entry(topic).or_default();
            *times = match client.partition_count(topic).await {
                Ok(None) => *times + 1,
                Ok(Some(_)) | Err(_) => 0,
            };
            if *times >= GONE_AFTER {
                shared.fail(StreamsError::MissingTopic {
                    topic: topic.clone(),
                });
                return;
            }
        }
    }
}

/// Looks from time to time which topics match the patterns of sources, until the application is
/// closed, and makes another plan when others do.
async fn watch_patterns(core: Arc<Core>) {
    let mut seen_once = None;
    loop {
        core.shared.wait(INTERVAL).await;
        if core.shared.is_closing() {
            return;
        }
        let plan = core.plan.get();
        let matching = match matching(&core).await {
            Ok(matching) => matching,
            Err(error) => {
                tracing::warn!(%error, "topics that match a pattern cannot be looked for, trying again");
                continue;
            }
        };
        let known = plan.topics_by_pattern().into_iter();
        if known.eq(matching.iter().map(String::as_str)) {
            seen_once = None;
        } else if seen_once.as_ref() != Some(&matching) {
            // A broker that has just started may not know all topics yet.
            seen_once = Some(matching);
        } else {
            tracing::info!(topics = ?matching, "topics that match a pattern have come or gone");
            seen_once = None;
            match prepare(&core.client, &core.application, &core.config).await {
                Ok(plan) => core.plan.set(plan),
                Err(StreamsError::Client { error, .. }) if error.is_retriable() => {
                    tracing::warn!(%error, "they cannot be read yet, trying again");
                }
                Err(error) => return core.shared.fail(error),
            }
        }
    }
}

async fn matching(core: &Core) -> Result<BTreeSet<String>, StreamsError> {
    let mut counts = BTreeMap::new();
    add_matching(&core.client, &core.application, &mut counts).await?;
    let application_id = &core.application.application_id;
    let names = counts.into_keys();
    Ok(names
        .filter(|name| !is_internal(application_id, name))
        .collect())
}

/// Time between two questions.
const INTERVAL: Duration = Duration::from_secs(2);
/// So many answers in a row that there is no such topic are believed.
const GONE_AFTER: u32 = 2;
