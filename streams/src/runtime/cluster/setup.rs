//! What must be there before the threads start: source topics and internal topics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use moldau_client::Client;
use moldau_client::admin::NewTopic;
use tokio::time::Instant;

use crate::runtime::application::Application;
use crate::runtime::config::StreamsConfig;
use crate::runtime::error::StreamsError;
use crate::runtime::internal_topic::InternalTopic;
use crate::runtime::plan::{Plan, external_topics, patterns};

/// Waits for the source topics, works out the tasks and creates the internal topics.
pub(super) async fn prepare(
    client: &Client,
    application: &Application,
    config: &StreamsConfig,
) -> Result<Plan, StreamsError> {
    let deadline = Instant::now() + Duration::from_millis(config.missing_topic_timeout_ms);
    let mut counts = BTreeMap::new();
    for topic in external_topics(application) {
        let count = wait_for_topic(client, &topic, deadline).await?;
        counts.insert(topic, count);
    }
    add_matching(client, application, &mut counts).await?;
    let plan = Plan::resolve(application, &counts)?;
    for (topic, partitions) in &plan.internal_topics {
        ensure_internal_topic(client, topic, *partitions, config.replication_factor).await?;
    }
    Ok(plan)
}

/// Adds the topics that match the patterns of sources, with their partition counts.
pub(super) async fn add_matching(
    client: &Client,
    application: &Application,
    counts: &mut BTreeMap<String, i32>,
) -> Result<(), StreamsError> {
    for pattern in patterns(application) {
        let text = pattern.text();
        let failed = |error| StreamsError::client(format!("list topics like \"{text}\""), error);
        for topic in pattern.topics(client).await.map_err(failed)? {
            // One that was deleted since is not there.
            let count = client.partition_count(&topic).await.map_err(failed)?;
            counts.extend(count.map(|count| (topic.to_string(), count)));
        }
    }
    Ok(())
}

async fn wait_for_topic(
    client: &Client,
    topic: &str,
    deadline: Instant,
) -> Result<i32, StreamsError> {
    let mut said = false;
    loop {
        let action = || format!("look up source topic \"{topic}\"");
        let count = client.partition_count(topic).await;
        if let Some(count) = count.map_err(|error| StreamsError::client(action(), error))? {
            return Ok(count);
        }
        if Instant::now() >= deadline {
            return Err(StreamsError::MissingTopic {
                topic: topic.to_owned(),
            });
        }
        if !said {
            tracing::warn!(topic, "source topic does not exist yet, waiting for it");
            said = true;
        }
        tokio::time::sleep(MISSING_TOPIC_RETRY.min(deadline - Instant::now())).await;
    }
}

async fn ensure_internal_topic(
    client: &Client,
    topic: &InternalTopic,
    partitions: i32,
    replication_factor: i16,
) -> Result<(), StreamsError> {
    let action = || format!("create internal topic \"{}\"", topic.name);
    let mut new = NewTopic::new(topic.name.clone(), partitions);
    new.replication_factor = replication_factor;
    new.configs.clone_from(&topic.configs);
    let known = client.partition_count(&topic.name).await;
    let is_old = known.is_ok_and(|count| count.is_some());
    let ensured = client.admin().ensure_topic(new).await;
    ensured.map_err(|error| StreamsError::client(action(), error))?;
    let deadline = Instant::now() + METADATA_LIMIT;
    loop {
        let count = client.partition_count(&topic.name).await;
        match count.map_err(|error| StreamsError::client(action(), error))? {
            Some(count) if count == partitions && is_old => {
                return check_cleanup_policy(client, topic).await;
            }
            Some(count) if count == partitions => return Ok(()),
            Some(count) => {
                return Err(StreamsError::InternalTopic {
                    topic: topic.name.clone(),
                    reason: format!("it has {count} partitions, but {partitions} are needed"),
                });
            }
            // Created a moment ago; not every broker knows it yet.
            None if Instant::now() < deadline => tokio::time::sleep(METADATA_RETRY).await,
            None => {
                return Err(StreamsError::InternalTopic {
                    topic: topic.name.clone(),
                    reason: "it was created, but brokers do not show it".to_owned(),
                });
            }
        }
    }
}

/// Refuses a topic that would delete what has to stay, or was made for a store of another kind.
async fn check_cleanup_policy(client: &Client, topic: &InternalTopic) -> Result<(), StreamsError> {
    let configs = match client.admin().describe_topic_configs(&topic.name).await {
        Ok(configs) => configs,
        Err(error) => {
            // Not everybody may read settings; then nobody can tell.
            tracing::debug!(%error, topic = topic.name, "the settings of an internal topic are not known");
            return Ok(());
        }
    };
    let is_policy = |name: &str| name == CLEANUP_POLICY;
    let has = configs.iter().find(|entry| is_policy(&entry.name));
    let has = has.and_then(|entry| entry.value.as_deref());
    let needed = topic.configs.iter().find(|(name, _)| is_policy(name));
    let (Some(has), Some((_, needed))) = (has, needed) else {
        return Ok(());
    };
    let set = |policy: &str| -> BTreeSet<String> {
        policy
            .split(',')
            .map(|part| part.trim().to_owned())
            .collect()
    };
    if set(has) == set(needed) {
        return Ok(());
    }
    Err(StreamsError::InternalTopic {
        topic: topic.name.clone(),
        reason: format!("its `{CLEANUP_POLICY}` is {has}, but {needed} is needed"),
    })
}

const CLEANUP_POLICY: &str = "cleanup.policy";
const MISSING_TOPIC_RETRY: Duration = Duration::from_millis(500);
const METADATA_RETRY: Duration = Duration::from_millis(50);
const METADATA_LIMIT: Duration = Duration::from_secs(30);
