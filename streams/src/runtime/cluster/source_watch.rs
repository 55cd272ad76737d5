//! Noticing that a source topic was deleted under a running application.
//!
//! A consumer only finds that nothing comes any more: for it the topic may be about to move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use moldau_client::Client;

use super::shared::Shared;
use crate::runtime::error::StreamsError;

/// Looks for the topics from time to time, until the application is closed; ends it if one of them
/// is gone.
pub(super) async fn watch(client: Client, topics: BTreeSet<String>, shared: Arc<Shared>) {
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

/// Time between two questions.
const INTERVAL: Duration = Duration::from_secs(2);
/// So many answers in a row that there is no such topic are believed.
const GONE_AFTER: u32 = 2;
